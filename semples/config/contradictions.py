"""Refuse settings that are right one by one, and that a stage would refuse together."""

import re
from collections.abc import Iterator

from semples.config.settings import Settings
from semples.config.settings.inputs import GENERATORS
from semples.errors import SemplesError

LONGEST = {"mini": 18}  # tokens of a prompt in the context of a guide
PLAIN_VITS = (
    r"(hf.hub:|vit_(?!s?relpos)|deit3?_|eva_|eva02_|flexivit_|vitamin_|aimv2_|beit3_|test_vit[234]?(?!\w)).*"  # of timm
)
ENCODERS = {
    "mask2former": r"swin-(tiny|small|base|large)",
    "deeplabv2": r"(?!vit:|swin-|mit_).+",
    "segformer": r"(?!vit:|swin-).+",
    "upernet": r"(?!swin-).+",
    "deeplabv3plus": r"(?!swin-).+",
    "none": ".*",
}


def require_agreement(settings: Settings, where: str) -> None:
    """Raise SemplesError for the first contradiction in the settings of a variant."""
    for key, problem, expected in _contradictions(settings):
        raise SemplesError(where, f"`{key}: {problem}`", expected, "change one of the two")


def _contradictions(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield key, value with what it contradicts, and what is expected."""
    data, cpl, segment, generator = settings.data, settings.cpl, settings.segment, settings.generator
    if data.source == "mini":
        if data.root:
            yield "data.root", f"{data.root}` with `data.source: mini", "a source that reads files, as in preset photos"
        for key, split in (("train", data.train), ("val", data.val)):
            if split not in data.scenes:
                yield f"data.{key}", f"{split}` with `data.source: mini", f"one of `data.scenes`, {list(data.scenes)}"
    if generator.options and generator.name in GENERATORS:
        yield "generator.options", f"{generator.options}` with `generator.name: {generator.name}", "your own generator"
    if generator.frozen() and not re.fullmatch(PLAIN_VITS, generator.backbone):
        expected = "a plain vision transformer of timm, such as vit_small_patch14_dinov2 or vit_base_patch16_clip_224"
        yield "generator.backbone", f"{generator.backbone}` with `generator.name: frozen_vit", expected
    if settings.masks_from == "foreign" and not settings.foreign.path:
        yield "masks_from", "foreign` without `foreign.path", "the maps of another method in `foreign.path`"
    if settings.masks_from == "joint" and cpl.source == "manual":
        yield "cpl.source", "manual` with `masks_from: joint", "learned; csr for prompts written by hand"
    if settings.masks_from == "csr" and cpl.source == "manual" and not (cpl.manual or cpl.manual_by_class):
        yield "cpl.source", "manual` without a word", "words in `cpl.manual` or `cpl.manual_by_class`"
    if cpl.source == "embedding" and cpl.initial:
        yield "cpl.source", f"embedding` with `cpl.initial: {cpl.initial}", "learned, or no initial words"
    longest = LONGEST.get(settings.guide.model, 71)
    prompted = settings.masks_from in ("csr", "joint") and cpl.source == "learned" and segment.labels == "pseudo"
    if prompted and cpl.length > longest and not settings.guide.model.startswith(("hf-hub:", "local-dir:")):
        yield "cpl.length", f"{cpl.length}` with `guide.model: {settings.guide.model}", f"at most {longest}"
    if segment.labels == "truth" and segment.network == "none":
        yield "segment.labels", "truth` with `segment.network: none", "a network that learns from the ground truth"
    if segment.confidence and not settings.crf.confidence:
        yield "segment.confidence", "true` with `crf.confidence: false", "both, as crf writes what segment reads"
    if not re.fullmatch(ENCODERS[segment.network], segment.encoder):
        expected = "an encoder of this network, as docs/segmentation.md lists them"
        yield "segment.encoder", f"{segment.encoder}` with `segment.network: {segment.network}", expected
    if settings.run.decode_on == "device" and settings.run.augment_on == "loader":
        yield "run.decode_on", "device` with `run.augment_on: loader", "`loader`, or augmentation on the device, too"
    for stage in ("classify", "slm", "cpl", "csr", "segment"):
        training, devices = getattr(settings, stage), settings.run.devices
        if training.batch < devices:
            yield "run.devices", f"{devices}` with `{stage}.batch: {training.batch}", "an image per device and step"
        elif training.batch < devices * training.accumulate:
            problem = f"{training.accumulate}` with `{stage}.batch: {training.batch}"
            yield f"{stage}.accumulate", problem + f"` and `run.devices: {devices}" * (devices > 1), "an image per part"
