"""Which stage needs what: the settings and the stages that an output depends on.

Variants share every stage whose settings, and whose upstream stages' settings, they have in common. Such an output
belongs to the first variant that has them: its folder carries that variant's name.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import NamedTuple

from semples.config import variants
from semples.config.load import variant
from semples.config.settings import Config, Settings
from semples.errors import SemplesError
from semples.files import digest

LEARNING = ("classify", "slm", "cpl", "csr", "joint", "segment")
PROMPTS = ("cpl", "joint")
MASKS = ("crf", "segment_masks")
UNSEEDED = ("data", "guide")
STAGE_OF_COLUMN = {"cams": "evaluate", "crf": "crf", "segment": "segment_masks"}  # the stage of a table's column
FOLDERS = {"segment_masks": "segment"}  # of outputs that lie in another stage's folder
SECTIONS: dict[str, tuple[str, ...]] = {
    "data": ("data",),
    "guide": ("data", "guide"),
    "classify": ("data", "precision", "generator", "classify"),
    "slm": ("data", "precision", "guide", "generator", "selection", "slm"),
    "cpl": ("data", "precision", "guide", "generator", "cpl"),
    "csr": ("data", "precision", "guide", "generator", "selection", "csr"),
    "joint": ("data", "precision", "guide", "generator", "selection", "csr", "cpl"),
    "cams": ("precision", "masks_from", "generator", "cams"),
    "evaluate": ("evaluate", "crf"),
    "crf": ("crf",),
    "segment": ("data", "precision", "cams", "segment"),
    "segment_masks": ("data", "precision", "cams", "segment", "figures"),
    "figures": ("figures",),
    "heatmap": ("data", "guide", "figures"),
}


class StageJob(NamedTuple):
    """One job of a stage: the variant that owns its output, and the seed; None for what has none."""

    variant: str
    seed: int | None


def upstream(stage: str, settings: Settings) -> dict[str, Settings]:
    """The stages whose outputs `stage` reads, and the settings they were made with.

    Those are `settings` themselves, except that the prompts of a later round come from the csr of the round before.
    """
    if stage == "cpl" and settings.rounds > 1:
        return {"guide": settings, "csr": settings.model_copy(update={"rounds": settings.rounds - 1})}
    return dict.fromkeys(_upstream(stage, settings), settings)


def _upstream(stage: str, settings: Settings) -> tuple[str, ...]:
    if stage == "cams":
        return (settings.masks_from,)
    if stage == "cpl":
        return ("guide", settings.cpl.start) if settings.cpl.start in ("classify", "slm") else ("guide",)
    if stage == "csr":
        return ("guide", settings.csr.start, "cpl")
    if stage == "joint":
        return ("guide", settings.csr.start)
    if stage == "segment_masks":
        return ("segment",)
    if stage == "segment":
        return ("data",) if settings.segment.labels == "truth" else ("crf",)
    return {
        "data": (),
        "guide": ("data",),
        "classify": ("data",),
        "slm": ("guide", "classify"),
        "evaluate": ("cams",),
        "crf": ("cams", "evaluate"),
    }[stage]


def stage_settings(settings: Settings, stage: str) -> dict:
    """The settings that a stage's command reads, as plain values; a change in any other does not concern it."""
    return settings.model_dump(include=set(SECTIONS[stage]), mode="json")


def downloaded_weights(stage: str, settings: Settings) -> str:
    """Return "<library>/<model>" of the ImageNet weights that `stage` starts from, "" where it downloads none."""
    section = {"classify": settings.generator, "segment": settings.segment}.get(stage)
    return section.downloaded_weights() if section else ""


def fingerprint(settings: Settings, stage: str) -> str:
    """Digest of all settings that the stage's outputs depend on."""
    before = [fingerprint(found, name) for name, found in upstream(stage, settings).items()]
    return digest([stage_settings(settings, stage), before])


def stages_of(settings: Settings, stage: str = "segment_masks") -> set[str]:
    """The stages that a variant runs, up to `stage`."""
    return {stage}.union(*(stages_of(found, name) for name, found in upstream(stage, settings).items()))


def require_masks(settings: Settings, masked_splits: set[str]) -> None:
    """Raise an error if the settings need ground truth for the training split, and it is not in `masked_splits`."""
    policy = settings.crf.threshold.policy
    if settings.segment.labels == "truth" and settings.data.train not in masked_splits:
        raise SemplesError(
            "segment.labels",
            f"'truth', and no true mask in split {settings.data.train!r}",
            "true masks, or 'pseudo'",
            "give masks to the data set, or set `segment.labels: pseudo`",
        )
    if policy in ("oracle", "held-out") and settings.data.train not in masked_splits:
        raise SemplesError(
            "crf.threshold.policy",
            f"{policy!r}, and no true mask in split {settings.data.train!r}",
            "true masks, or the policy 'fixed' or 'label-free'",
            "give masks to the data set, or set `crf.threshold: {policy: fixed}`",
        )


class StageGraph:
    """The variants of a configuration, and who owns which output.

    Besides the variants there are the earlier rounds of those with several: `<variant>.round<n>`, in no table.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings = {name: variant(config, name) for name in variants.variants(config)}
        earlier = {
            f"{name}.round{done}": settings.model_copy(update={"rounds": done, "masks_from": "csr"})
            for name, settings in self.settings.items()
            if "csr" in stages_of(settings)
            for done in range(1, settings.rounds)
        }
        self.runs = self.settings | earlier
        self._owners = cache(self._find_owners)

    def output_of(self, stage: str, name: str) -> str:
        """The variant whose folder holds this stage's output for the variant `name`."""
        return self._maker(stage, self.runs[name])

    def _maker(self, stage: str, settings: Settings) -> str:
        return self._owners(stage)[fingerprint(settings, stage)]

    def _find_owners(self, stage: str) -> dict[str, str]:
        """The first variant that has each output of a stage, by fingerprint."""
        owners: dict[str, str] = {}
        for name, settings in self.runs.items():
            if stage in stages_of(settings):
                owners.setdefault(fingerprint(settings, stage), name)
        return owners

    def jobs(self, targets: Sequence[str] = ("results",)) -> dict[str, set[StageJob]]:
        """The jobs of every stage that `targets` need; shared ones are there once.

        A target is a name in the configuration's `tables`, `tables` for all of them, `figures`, or `results` for
        `experiments`.
        """
        found: dict[str, set[StageJob]] = defaultdict(set)
        if "figures" in targets:
            last = self.runs[list(self.config.experiments)[-1]]
            self._collect("segment_masks", last, self.config.seeds[0], found)
        for name, stage, seed in self._wanted(targets):
            if stage not in stages_of(self.runs[name]):  # what learns from true masks has no maps to show
                continue
            self._collect(stage, self.runs[name], seed, found)
            if stage in MASKS:
                found["evaluate_masks"].add(StageJob(f"{self.output_of(stage, name)}/{stage}", seed))
        return found

    def _wanted(self, targets: Sequence[str]) -> Iterator[tuple[str, str, int]]:
        """(variant, stage, seed) of the last stages that `targets` show."""
        config = self.config
        if "results" in targets:
            yield from product(config.experiments, STAGE_OF_COLUMN.values(), config.seeds)
        if "figures" in targets:
            yield from product(config.experiments, ["evaluate"], config.seeds)
        for table, chosen in config.tables.items():
            if {table, "tables"} & set(targets) or ("figures" in targets and chosen.sweeps):
                rows = [row.variant for row in variants.rows_of(config, table)]
                shown = [STAGE_OF_COLUMN[column] for column in chosen.columns]
                yield from product(rows, shown, variants.seeds_of(config, table))

    def _collect(self, stage: str, settings: Settings, seed: int, found: dict[str, set[StageJob]]) -> None:
        job = StageJob(self._maker(stage, settings), None if stage in UNSEEDED else seed)
        if job not in found[stage]:
            found[stage].add(job)
            if source := downloaded_weights(stage, settings):
                found["weights"].add(StageJob(source, None))
            for name, before in upstream(stage, settings).items():
                self._collect(name, before, seed, found)

    def has_maps(self, name: str) -> bool:
        """Whether a variant makes CAMs; one whose segmentation learns from true masks does not."""
        return "cams" in stages_of(self.settings[name])

    def folder(self, stage: str, name: str, seed: int | str | None = None) -> str:
        """Folder of a stage's output for a variant: results/<name>/<stage>/<owner>[/seed<seed>]."""
        return self._folder(stage, self.output_of(stage, name), seed)

    def folder_before(self, stage: str, name: str, before: str, seed: int | str | None = None) -> str:
        """Folder of the output of `before` that `stage` of the variant `name` reads."""
        return self._folder(before, self._maker(before, upstream(stage, self.runs[name])[before]), seed)

    def _folder(self, stage: str, owner: str, seed: int | str | None) -> str:
        parts = ["results", self.config.name, FOLDERS.get(stage, stage), owner]
        return "/".join(parts if seed is None else [*parts, f"seed{seed}"])
