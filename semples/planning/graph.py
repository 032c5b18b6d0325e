"""The settings and the stages that an output depends on.

Variants share the output of a stage if their settings for it and for all stages upstream are equal. Its folder carries
the name of the first of these variants.
"""

import json
from functools import cache
from typing import Any, NamedTuple

from semples.config import variants
from semples.config.load import variant
from semples.config.settings import Cams, Config, Settings
from semples.errors import SemplesError
from semples.files import digest
from semples.planning.layout import Layout

LEARNING = ("classify", "slm", "cpl", "csr", "joint", "segment")
GENERATORS = ("classify", "slm", "csr", "joint")
STARTS = ("classify", "slm")  # stages whose generator cpl and csr can start from
STAGE_OF_COLUMN = {"cams": "evaluate", "refine": "evaluate_refine", "crf": "crf", "segment": "segment_masks"}
"""The stage that a column of a table needs."""
EVALUATIONS = {maps: STAGE_OF_COLUMN[maps] for maps in ("cams", "refine")}
"""The stage that evaluates the maps of each stage that writes maps."""
SECTIONS: dict[str, tuple[str, ...]] = {
    "data": ("data",),
    "guide": ("data", "guide"),
    "classify": ("data", "precision", "generator", "classify"),
    "slm": ("data", "precision", "guide", "generator", "selection", "slm"),
    "cpl": ("data", "precision", "guide", "generator", "cpl"),
    "csr": ("data", "precision", "guide", "generator", "selection", "csr"),
    "joint": ("data", "precision", "guide", "generator", "selection", "csr", "cpl"),
    "cams": ("precision", "masks_from", "generator", "cams"),
    "refine": ("precision", "cams", "refine"),
    **dict.fromkeys(EVALUATIONS.values(), ("evaluate", "crf")),
    "crf": ("crf",),
    "segment": ("data", "precision", "cams", "segment"),
    "segment_masks": ("data", "precision", "cams", "segment", "figures"),
    "figures": ("figures",),
    "heatmap": ("data", "guide", "guide_maps", "figures"),
}

UNTRAINED = {  # sections of `cams` where no stage trains a generator
    "foreign": ("masks_from", "foreign", "cams"),
    "guide": ("data", "masks_from", "guide", "guide_maps", "cams"),
}


class StageJob(NamedTuple):
    """One job of a stage."""

    variant: str  # whose folder holds the output
    seed: int | None  # None for a stage without seeds


def upstream(stage: str, settings: Settings) -> dict[str, Settings]:
    """Return the stages whose outputs `stage` reads, and their settings; in a later round, cpl reads the csr before."""
    if stage == "cpl" and settings.rounds > 1:
        return {"guide": settings, "csr": settings.model_copy(update={"rounds": settings.rounds - 1})}
    stages: dict[str, tuple[str, ...]] = {
        "data": (),
        "guide": ("data",),
        "classify": ("data",),
        "slm": ("guide", "classify"),
        "cpl": ("guide", settings.cpl.start) if settings.cpl.start in STARTS else ("guide",),
        "csr": ("guide", settings.csr.start, "cpl"),
        "joint": ("guide", settings.csr.start),
        "cams": ("data",) if settings.masks_from == "foreign" else (settings.masks_from,),
        "refine": ("cams",),
        **{evaluation: (maps,) for maps, evaluation in EVALUATIONS.items()},
        "crf": (maps_of(settings), EVALUATIONS[maps_of(settings)]),
        "segment": ("data",) if settings.segment.labels == "truth" else ("crf",),
        "segment_masks": ("segment",),
    }
    earlier = dict.fromkeys(stages[stage], settings)
    return earlier | ({"cams": guide_run(settings)} if _reads_guide_maps(stage, settings) else {})


def _reads_guide_maps(stage: str, settings: Settings) -> bool:
    if stage == "cpl":
        return settings.cpl.start == "guide" and settings.rounds == 1
    return stage == "cams" and settings.fuses()


def guide_run(settings: Settings) -> Settings:
    """Return the settings of the run whose CAMs are the guide's own maps, which cpl or cams of `settings` reads."""
    cams = settings.cams.model_copy(update={"fuse": "none", "fuse_weight": Cams().fuse_weight})
    return settings.model_copy(update={"masks_from": "guide", "cams": cams})


def maps_of(settings: Settings) -> str:
    """Return the stage whose maps become pseudo masks: `refine`, or `cams` where nothing refines them."""
    return "cams" if settings.refine.kind == "none" else "refine"


def stage_settings(settings: Settings, stage: str) -> dict:
    """Return the settings that a stage's command reads, as plain values."""
    if stage == "cams" and settings.masks_from == "guide":
        settings = guide_run(settings)
    sections = UNTRAINED.get(settings.masks_from, SECTIONS[stage]) if stage == "cams" else SECTIONS[stage]
    include: dict = dict.fromkeys(sections, True)
    if "refine" in include:
        include["refine"] = {"kind", settings.refine.kind}
    return settings.model_dump(include=include, mode="json")


def downloaded_weights(stage: str, settings: Settings) -> str:
    """Return "<library>/<model>" of the weights that `stage` starts from, "" where it downloads none."""
    sections: dict[str, Any] = {"classify": settings.generator, "segment": settings.segment, "refine": settings.refine}
    return sections[stage].downloaded_weights() if stage in sections else ""


def fingerprint(settings: Settings, stage: str) -> str:
    """Return the digest of all settings that the stage's outputs depend on."""
    before = [fingerprint(earlier, name) for name, earlier in upstream(stage, settings).items()]
    return digest([stage_settings(settings, stage), before])


def stages_of(settings: Settings, stage: str = "") -> set[str]:
    """Return the stages that a variant runs, up to `stage`, or all of them."""
    stage = stage or ("crf" if settings.segment.network == "none" else "segment_masks")
    return {stage}.union(*(stages_of(earlier, name) for name, earlier in upstream(stage, settings).items()))


def require_masks(settings: Settings, masked_splits: set[str]) -> None:
    """Raise an error if the settings need ground truth for the training split, and it is not in `masked_splits`."""
    if settings.data.train in masked_splits:
        return
    trained = settings.masks_from not in ("classify", *UNTRAINED) and settings.segment.labels == "pseudo"
    for key, value, *others in (
        ("segment.labels", settings.segment.labels, "pseudo"),
        ("crf.threshold.policy", settings.crf.threshold.policy, "fixed", "label-free"),
        ("selection.policy", settings.selection.policy if trained else "last", "last", "label-free"),
    ):
        if value not in others:
            problem = f"{value!r}, and no ground-truth mask in split {settings.data.train!r}"
            remedy = f"give masks to the data set, or set `{key}: {others[0]}`"
            raise SemplesError(key, problem, f"ground-truth masks, or {' or '.join(others)}", remedy)


class StageGraph:
    """The variants of a configuration, and the folder that holds each of their outputs."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.layout = Layout.of(config.name)
        self.settings = {name: variant(config, name) for name in variants.variants(config)}
        earlier = {
            f"{name}.round{done}": settings.model_copy(update={"rounds": done, "masks_from": "csr"})
            for name, settings in self.settings.items()
            if "csr" in stages_of(settings)
            for done in range(1, settings.rounds)
        }
        earlier |= {
            f"{name}.guide": guide_run(settings)
            for name, settings in (self.settings | earlier).items()
            if any(_reads_guide_maps(stage, settings) for stage in ("cpl", "cams"))
        }
        if taken := self.settings.keys() & earlier.keys():
            problem, expected = f"the name {min(taken)!r}", "another; it is that of a round, or of maps of the guide"
            raise SemplesError("experiments", problem, expected, "rename the experiment")
        self.runs = self.settings | earlier  # no table shows the earlier rounds, and the maps that others read
        self._names = cache(self._first_names)

    def output_of(self, stage: str, name: str) -> str:
        """Return the variant whose folder holds this stage's output for the variant `name`."""
        return self._name(stage, self.runs[name])

    def _name(self, stage: str, settings: Settings) -> str:
        return self._names(stage)[fingerprint(settings, stage)]

    def _first_names(self, stage: str) -> dict[str, str]:
        """Return the first variant that has each output of a stage, by fingerprint."""
        maps = {evaluation: maps for maps, evaluation in EVALUATIONS.items()}.get(stage, stage)
        runs = reversed(self.runs.items())
        return {fingerprint(settings, stage): name for name, settings in runs if maps in stages_of(settings)}

    def collect(self, stage: str, settings: Settings, seed: int, masked: bool, jobs: dict[str, set[StageJob]]) -> None:
        """Add to `jobs` the job of a stage and all jobs before it; EVALUATIONS need a `masked` training split."""
        job = StageJob(self._name(stage, settings), None if stage in ("data", "guide") else seed)
        if job not in jobs[stage]:
            jobs[stage].add(job)
            if source := downloaded_weights(stage, settings):
                jobs["weights"].add(StageJob(source, None))
            for name, earlier in upstream(stage, settings).items():
                if name not in EVALUATIONS.values() or masked:
                    once = name == "cams" and _reads_guide_maps(stage, settings)
                    self.collect(name, earlier, self.config.seeds[0] if once else seed, masked, jobs)

    def before(self, stage: str, name: str) -> list[tuple[str, str]]:
        """Return stage and variant of the outputs that a stage of a variant reads."""
        return [(other, self._name(other, run)) for other, run in upstream(stage, self.runs[name]).items()]

    def has(self, stage: str, name: str) -> bool:
        """Return whether a variant runs a stage; one whose segmentation learns from ground truth makes no CAMs."""
        return stage in stages_of(self.settings[name])

    def path(self, stage: str, output: str, name: str, seed: int | str = "") -> str:
        """Return where one of a stage's outputs lies for a variant; `output` is a key of layout.OUTPUTS[stage]."""
        return self.layout.path(stage, output, self.output_of(stage, name), seed)

    def evaluation(self, column: str, name: str, seed: int | str) -> str:
        """Return where the evaluation that a column of a table shows lies for a variant."""
        return self.layout.path("evaluate", column, self.output_of(STAGE_OF_COLUMN[column], name), seed)

    def input_of(self, stage: str, role: str, name: str, seed: int | str) -> list[str]:
        """Return the files that a stage of a variant reads in one role; empty where it needs none.

        Args:
            role: `generator` to start from, `weights`, pseudo `masks`, the `maps` that become these and their
                `evaluation`, `cams` of another method from which cpl starts, `foreign` maps or the `guide` whose maps
                become CAMs, or the `code` of a user's own generator, so that a change in it reruns its outputs. The
                `maps` of cpl and cams are the guide's own, of the first seed, which serve all seeds.
        """
        settings = self.runs[name]
        before = [earlier for earlier in upstream(stage, settings).items() if earlier[0] in GENERATORS]
        if role == "generator":
            return [self.layout.path(s, "model", self._name(s, run), seed) for s, run in before]
        if role == "masks" and settings.segment.labels == "pseudo":
            return [self.path("crf", "masks", name, seed)]
        if role == "guide":
            return [self.path("guide", "texts", name)] if settings.masks_from == "guide" else []
        if role == "maps" and stage in ("cpl", "cams"):
            if not _reads_guide_maps(stage, settings):
                return []
            owner = self._name("cams", guide_run(settings))
            return [self.layout.path("cams", "cams", owner, self.config.seeds[0])]
        if role == "maps":
            return [self.path(maps_of(settings), "cams", name, seed)]
        if role == "evaluation":
            return [self.evaluation(maps_of(settings), name, seed)]
        weights = downloaded_weights(stage, settings)
        own = settings.refine.own_weights() if stage == "refine" else ""
        path = {
            "cams": settings.cpl.start_file(),
            "foreign": settings.foreign.file(seed) if settings.masks_from == "foreign" else "",
            "weights": self.layout.file("weights", f"{weights}.safetensors") if weights else own,
            "code": settings.generator.own_file(),
        }.get(role)
        return [str(path)] if path else []

    def settings_json(self, stage: str, name: str) -> str:
        """Return the settings of a stage's command for a variant, as one line of JSON."""
        return json.dumps(stage_settings(self.runs[name], stage), sort_keys=True)
