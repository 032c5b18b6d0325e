"""Settings that `semples run` writes: the guide's own maps first, and networks of a size that the device can train."""

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from semples.config import load
from semples.config.parse import read_yaml
from semples.config.settings import Config
from semples.config.variants import merge
from semples.errors import SemplesError
from semples.files import require_replaceable, write_text
from semples.planning.layout import OUTPUTS
from semples.tools.init import TEMPLATES, require_absent, write_workflow

GUIDE, TRAINED = "guide", "trained"  # names of the experiments
LOCAL, HUB = "local-dir:", "hf-hub:"
MEASURED_IMAGES = 311  # for which docs/photographs.md chose the epochs of cpu.yaml
HEADER = """# Written by `semples run`. `semples config show` prints all settings that result.
# After a change, start `semples run` again: it keeps this file, and makes again what depends on the change.
"""


class Options(NamedTuple):
    """What the command line asks for; what it leaves out stays as the folder has it."""

    guide: str | None = None
    quick: bool = False
    trained: bool = False
    segment: bool = False
    device: str | None = None


class RunFolder:
    """The folder of a run, with config.yaml and workflow/."""

    def __init__(self, folder: Path, photos: Path) -> None:
        """Read config.yaml if there is one.

        Raises:
            SemplesError: The folder lies among the photographs, has the workflow or the settings of something else.
        """
        self.folder, self.photos, self.path = folder, photos, folder / "config.yaml"
        if photos.is_dir() and folder.resolve().is_relative_to(photos):
            expected, remedy = "a folder apart from them", "name one with --out, or work in another folder"
            raise SemplesError(folder, f"it lies among the photographs in {photos}", expected, remedy)
        self.values: dict[str, Any] = {}
        if self.path.exists():
            self.values = read_yaml(self.path)
            data = self.values.get("data")
            root = str(data.get("root", "")) if isinstance(data, dict) else ""
            if (folder / root).resolve() != photos:
                problem = f"settings for {root or 'something else'}"
                raise SemplesError(self.path, problem, f"settings for {photos}, or no file", "name another --out")
            self.config(self.values)
        else:
            require_absent(folder / "workflow")

    def with_options(self, options: Options, images: int, device: str) -> dict[str, Any]:
        """Return the settings of config.yaml, or first ones, with what the options change.

        Args:
            images: Number of training images, by which epochs grow for a small data set.
            device: `cpu` or `cuda`.
        """
        values = self.values or first_settings(self.photos, device)
        changes: dict[str, Any] = {"run": {"device": options.device}} if options.device else {}
        if options.guide:
            changes["guide"] = guide_settings(options.guide)
        experiments = dict(values.get("experiments") or {})
        networks = networks_for(images) if device == "cpu" else {"segment": {"network": "deeplabv3plus"}}
        segment = {"segment": networks.pop("segment")}
        if options.quick:
            experiments.pop(TRAINED, None)
        if options.trained:
            experiments.setdefault(TRAINED, networks)
        values = merge(values, changes) | ({"experiments": experiments} if experiments else {})
        if options.segment:
            last = list(self.config(values).experiments)[-1]
            values = merge(values, {"experiments": {last: segment}})
        return values

    def config(self, values: dict[str, Any]) -> Config:
        """Return checked settings, with the absolute path of the photographs."""
        config = load.load(values, str(self.path))
        config.data.root = str(self.photos)
        return config

    def require_own(self, values: dict[str, Any]) -> None:
        """Raise SemplesError if config.yaml would have to change, and semples did not write it."""
        if values != self.values:
            require_replaceable(self.path)

    def write(self, values: dict[str, Any]) -> None:
        """Write config.yaml if it changes, and workflow/ if it is missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if values != self.values:
            write_text(self.path, HEADER + yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
        if not (self.folder / "workflow").exists():
            write_workflow(self.folder / "workflow")


def first_settings(photos: Path, device: str) -> dict[str, Any]:
    """Return settings that make masks of all photographs from the guide alone, and train nothing."""
    run = {"threads": os.cpu_count() or 1} | ({"workers": 0} if device == "cpu" else {})
    return {
        "preset": "photos",
        "data": {"root": str(photos), "val_fraction": 0},  # every image trains and gets a mask
        "run": run,
        "crf": {"threshold": {"policy": "label-free"}},  # no ground truth chooses one
        "segment": {"network": "none"},
        "experiments": {"semples": None, GUIDE: {"masks_from": "guide"}},
    }


def networks_for(images: int) -> dict[str, Any]:
    """Return the small networks of cpu.yaml; fewer images than it was chosen for train for as many steps."""
    values = read_yaml(TEMPLATES / "cpu.yaml")
    factor = max(1.0, MEASURED_IMAGES / max(images, 1))
    longer = {k: {"epochs": math.ceil(v["epochs"] * factor)} for k, v in values.items() if "epochs" in v}
    return merge(values, longer)


def guide_settings(name: str) -> dict[str, Any]:
    """Return the section `guide` for MODEL/TAG of open_clip, hf-hub:ID or local-dir:FOLDER.

    Raises:
        SemplesError: The folder lacks a file of the guide, or the model has no tag.
    """
    if name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL)).expanduser().resolve()
        for file in (OUTPUTS["guide"]["config"], OUTPUTS["guide"]["model"]):
            if not (folder / file).is_file():
                raise SemplesError(folder / file, "no such file", "a guide in open_clip's layout", "correct --guide")
        return {"model": f"{LOCAL}{folder}", "pretrained": None}
    if name.startswith(HUB):
        return {"model": name, "pretrained": None}
    model, _, tag = name.partition("/")
    if not tag:
        expected = f"MODEL/TAG such as ViT-B-16/openai, {HUB}ID or {LOCAL}FOLDER"
        raise SemplesError("--guide", name, expected, "add the tag of the weights")
    return {"model": model, "pretrained": tag}
