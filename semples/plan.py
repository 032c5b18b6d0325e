"""Which stage needs what: the settings and the stages that an output depends on.

Variants share every stage whose settings, and whose upstream stages' settings, they have in common. Such an output
belongs to the first variant that has them: its folder carries that variant's name.
"""

from functools import cache

from semples.config import variant
from semples.errors import SemplesError
from semples.files import digest
from semples.settings import Config, Settings

LEARNING = ("classify", "slm", "cpl", "csr", "segment")
SECTIONS: dict[str, tuple[str, ...]] = {
    "data": ("data",),
    "guide": ("guide",),
    "classify": ("data", "precision", "generator", "classify"),
    "slm": ("data", "precision", "guide", "generator", "slm"),
    "cpl": ("data", "precision", "guide", "generator", "cpl"),
    "csr": ("data", "precision", "guide", "generator", "csr"),
    "cams": ("precision", "masks_from", "generator", "cams"),
    "evaluate": ("evaluate", "crf"),
    "crf": ("crf",),
    "segment": ("data", "precision", "cams", "segment", "figures"),
    "figures": ("figures",),
}


def upstream(stage: str, settings: Settings) -> tuple[str, ...]:
    """The stages whose outputs `stage` reads."""
    if stage == "cams":
        return (settings.masks_from,)
    if stage == "csr":
        return ("guide", settings.csr.start, "cpl")
    return {
        "data": (),
        "guide": ("data",),
        "classify": ("data",),
        "slm": ("guide", "classify"),
        "cpl": ("guide", "slm"),
        "evaluate": ("cams",),
        "crf": ("cams", "evaluate"),
        "segment": ("crf",),
    }[stage]


def stage_settings(settings: Settings, stage: str) -> dict:
    """The settings that a stage's command reads, as plain values; a change in any other does not concern it."""
    return settings.model_dump(include=set(SECTIONS[stage]), mode="json")


def fingerprint(settings: Settings, stage: str) -> str:
    """Digest of all settings that the stage's outputs depend on."""
    return digest(
        [stage_settings(settings, stage), [fingerprint(settings, name) for name in upstream(stage, settings)]]
    )


def stages_of(settings: Settings, stage: str = "segment") -> set[str]:
    """The stages that a variant runs, up to `stage`."""
    return {stage}.union(*(stages_of(settings, name) for name in upstream(stage, settings)))


def expect_masks(settings: Settings, judged: set[str]) -> None:
    """An error if a threshold is to be chosen on true masks and the training split is not among the `judged` ones."""
    policy = settings.crf.threshold.policy
    if policy != "fixed" and settings.data.train not in judged:
        raise SemplesError(
            "crf.threshold.policy",
            f"{policy!r}, and no true mask in split {settings.data.train!r}",
            "true masks, or the policy 'fixed'",
            "give masks to the data set, or set `crf.threshold: {policy: fixed}`",
        )


class Plan:
    """The variants of a configuration, and who owns which output."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings = {name: variant(config, name) for name in config.experiments}
        self.owner = cache(self._owner)

    def _owner(self, stage: str, name: str) -> str:
        """The variant whose folder holds this stage's output for the variant `name`."""
        wanted = fingerprint(self.settings[name], stage)
        owners = (
            other
            for other, found in self.settings.items()
            if stage in stages_of(found) and fingerprint(found, stage) == wanted
        )
        return next(owners)

    def folder(self, stage: str, name: str, seed: int | str | None = None) -> str:
        """Folder of a stage's output for a variant: results/<name>/<stage>/<owner>[/seed<seed>]."""
        parts = ["results", self.config.name, stage, self.owner(stage, name)]
        return "/".join(parts if seed is None else [*parts, f"seed{seed}"])
