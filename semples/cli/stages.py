"""Subcommands of the stages that make something: data to segment."""

import argparse
from importlib import import_module
from pathlib import Path

from semples.cli.arguments import PATHS, common, settings_of
from semples.runtime.gpu_lease import lease_gpus

LEARNING = (
    ("classify", "classifier whose maps everything starts from", "manifest"),
    ("slm", "segment-label matching", "manifest", "guide", "start"),
    ("cpl", "contrastive prompt learning", "manifest", "guide", "generator?"),
    ("csr", "class-associated semantic refinement", "manifest", "guide", "start", "prompts"),
    ("joint", "prompts and generator together", "manifest", "guide", "start"),
    ("segment", "segmentation network trained on pseudo masks", "manifest", "masks?"),
)


def add(commands) -> None:
    """Add them to the parser's `commands`."""
    _stage(commands, "download", "VOC 2012 or COCO 2014 from the web")
    _data(commands)
    _stage(commands, "guide", "the frozen image-text model and its text embeddings", "classes", "manifest?")
    for name, help_text, *paths in LEARNING:
        _stage(commands, name, help_text, *paths, seed=True)
    _stage(commands, "cams", "maps of whole images into one HDF5 file", "manifest", "generator", split=True, shard=True)
    _stage(commands, "segment_masks", "masks of the validation images by a trained network", "manifest", "checkpoint")
    _stage(commands, "crf", "CAMs become palette PNG pseudo masks", "manifest", "cams", "evaluation?", shard=True)


def _stage(
    commands, name: str, help_text: str, *paths: str, seed: bool = False, split: bool = False, shard: bool = False
) -> None:
    """A subcommand that calls `run(settings, ...)` of the module semples.stages.<name> with its flags by name.

    A path that ends in "?" may be left out, or stand there without a value.
    """
    command = common(commands, name, help_text)
    optional = {path.removesuffix("?") for path in paths if path.endswith("?")}
    paths = tuple(path.removesuffix("?") for path in paths)
    for path in paths:
        may_lack = path in optional
        nargs = "?" if may_lack else None
        command.add_argument(f"--{path}", type=Path, required=not may_lack, nargs=nargs, help=PATHS[path])
    if seed:
        command.add_argument("--seed", type=int, default=0, help="seed of everything random")
    if split:
        command.add_argument("--split", required=True, help="split of the manifest")
    if shard:
        command.add_argument("--shard", metavar="N-of-M", help="the share of the images that this job takes")
    names = [*paths, *(flag for flag, used in (("seed", seed), ("split", split), ("shard", shard)) if used)]

    def call(given: argparse.Namespace) -> None:
        settings = settings_of(given)
        if seed or name in ("cams", "segment_masks"):
            lease_gpus(settings.run.device, settings.run.devices if seed else 1)  # those with a seed learn
        # imported here: `semples tables` should not wait for torch
        module = import_module(f"semples.stages.{name}")
        renamed = {("classes_file" if key == "classes" else key): getattr(given, key) for key in names}
        module.run(settings, out=given.out, **renamed)

    command.set_defaults(call=call)


def _data(commands) -> None:
    command = common(commands, "data", "a data set becomes a manifest; `data check` looks at it before any training")
    command.add_argument("what", nargs="?", choices=["check"], help="report on the data set instead")

    def call(given: argparse.Namespace) -> None:
        if given.what == "check":
            from semples.tools import check

            check.run(settings_of(given), given.out)
        else:
            from semples.stages import data

            data.run(settings_of(given), given.out)

    command.set_defaults(call=call)
