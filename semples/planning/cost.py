"""What a job takes before it starts: hours, GPU memory and disk, as an estimate.

A network's floating-point operations and sizes come from network_counts.json, or for a network in hand from
network_counts.py. calibration.json says how fast the stages got through them where they were measured, and where that
was. Snakemake asks this module while it plans: it imports neither numpy nor torch.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from semples.config.settings import Settings
from semples.planning.size import Size

CALIBRATION = Path(__file__).with_name("calibration.json")
COUNTS = Path(__file__).with_name("network_counts.json")
LIVE_ACTIVATIONS = 3  # layers' outputs that inference holds at a time: input, output, a branch
ITEM_BYTES = {"uint8": 1, "float16": 2, "float32": 4}
SHORTEST, MARGIN = 60, 3  # minutes that a job asks for at least, and how many times its estimate
UNKNOWN = 720  # minutes that a job asks for where nobody knows the size of the data set yet
SHARDED = ("cams", "crf")


class Network(NamedTuple):
    """One forward pass of one image."""

    gflop: float
    parameters: float
    """Millions."""
    outputs: float
    """Millions of numbers that all layers put out, which training keeps."""
    largest: float
    """Millions of numbers that the largest layer puts out; inference holds a few such at a time."""


Count = Callable[[str, Settings, int], Network]
"""A function that counts the `generator`, `segmenter` or `guide` of settings, for a number of classes."""


class Cost(NamedTuple):
    """Estimate of one job."""

    hours: float
    memory: float
    """GB on a GPU."""
    disk: float
    """GB."""


def runtime_minutes(stage: str, settings: Settings, size: Size | None) -> int:
    """Return the minutes that a job asks the scheduler for: three times its estimate, at least an hour."""
    if size is None:
        return UNKNOWN
    device = "cpu" if settings.run.device == "cpu" else "cuda"
    shards = settings.run.shards if stage in SHARDED else 1
    hours = job_cost(stage, settings, size, device, known_network).hours
    return max(SHORTEST, math.ceil(60 * MARGIN * hours / shards))


def network_key(kind: str, settings: Settings) -> str:
    """Return the key in network_counts.json of the `generator`, `segmenter` or `guide` of settings."""
    generator, segment = settings.generator, settings.segment
    if kind == "guide":
        return settings.guide.model
    if kind == "generator":
        return f"{generator.name} {generator.backbone} {generator.image_size} {generator.fusion_reduction}"
    return f"{segment.network} {segment.encoder} {segment.decoder_channels} {segment.crop}"


def known_network(kind: str, settings: Settings, _classes: int = 0) -> Network:
    """Return the stored counts, which are for the 80 classes of COCO; fewer classes cost a little less.

    A network without counts of its own gets those of the largest of its kind: time that is asked for in vain costs
    less than a job that is stopped before its end.
    """
    known = json.loads(COUNTS.read_text(encoding="utf-8"))[kind]
    return Network(*known.get(network_key(kind, settings), max(known.values())))


def job_cost(stage: str, settings: Settings, size: Size, device: str, count: Count) -> Cost:
    """Return the estimate of one job of a stage on `device`, `cpu` or `cuda`; a stage that learns nothing costs 0."""
    speed = json.loads(CALIBRATION.read_text(encoding="utf-8"))
    gflop, megabytes = _work(stage, settings, size, count)
    rates = speed["gflop_per_second"][device]
    seconds = speed["start_seconds"] + gflop / rates.get(stage.removesuffix("_masks"), rates["all"])
    if stage == "crf" and settings.crf.preset != "none":
        pixels = size.train * size.pixels * (1 + size.labels) * settings.crf.iterations
        seconds += pixels / speed["crf_pixels_per_second"] / settings.run.threads
    return Cost(seconds / 3600, megabytes / 1e3, _disk(stage, settings, size, speed, count))


def _work(stage: str, settings: Settings, size: Size, count: Count) -> tuple[float, float]:
    """GFLOP and MB of GPU memory of a job. A backward pass counts as two forward ones, a trained number as 16 bytes."""
    if stage in ("guide", "crf") or (stage == "cpl" and settings.cpl.source == "manual"):
        return 0.0, 0.0
    width = 4 if settings.precision == "32-true" else 2  # bytes of an activation
    if stage == "segment_masks":
        segment, network = settings.segment, count("segmenter", settings, size.classes)
        share = (segment.test_size**2 if segment.test_size else size.pixels) / segment.crop**2
        work = size.val * share * (1 + segment.test_flip), segment.test_scales
        return _inference(*work, settings.cams.batch * share, network, width)
    if stage == "segment":
        segment, network = settings.segment, count("segmenter", settings, size.classes)
        memory = 16 * network.parameters + segment.batch * network.outputs * width
        return 3 * size.train * segment.epochs * network.gflop, memory
    generator = count("generator", settings, size.classes)
    if stage == "cams":
        side = settings.cams.resize
        share = (side**2 if side else size.pixels) / settings.generator.image_size**2
        work = size.train * share * (1 + settings.cams.flip), settings.cams.scales
        return _inference(*work, settings.cams.batch * share, generator, width)
    training = settings.csr if stage == "joint" else getattr(settings, stage)
    whole = stage != "cpl" and training.trainable == "all"
    image = (3 if whole else 1) * generator.gflop
    learned = generator.parameters if whole else 0.0
    frozen, outputs = generator.parameters, generator.outputs
    if stage == "classify":
        frozen -= learned
    else:
        guide = count("guide", settings, size.classes)
        # of every label the background goes through the guide; in slm and csr the object too, and gradients to pixels
        image += (1 if stage == "cpl" else 4) * size.labels * guide.gflop
        outputs += 2 * size.labels * guide.outputs
        frozen += guide.parameters
    return size.train * training.epochs * image, 16 * learned + 4 * frozen + training.batch * outputs * width


def _inference(passes: float, scales: list[float], batch: float, network: Network, width: int) -> tuple[float, float]:
    """GFLOP and MB of a network that is shown images at several scales; passes and batch count training crops."""
    live = batch * max(scales) ** 2 * LIVE_ACTIVATIONS * network.largest
    return passes * sum(scale**2 for scale in scales) * network.gflop, 4 * network.parameters + live * width


def _disk(stage: str, settings: Settings, size: Size, speed: dict, count: Count) -> float:
    """GB that a job leaves."""
    kinds = {
        "guide": "guide",
        "segment": "segmenter",
        **dict.fromkeys(("classify", "slm", "csr", "joint"), "generator"),
    }
    if stage in kinds:
        return 4e-3 * count(kinds[stage], settings, size.classes).parameters
    masks = size.pixels * speed["mask_bytes_per_pixel"] / 1e9
    if stage in ("crf", "segment_masks"):
        return masks * (size.train if stage == "crf" else size.val)
    if stage == "cams":
        stored = size.pixels / settings.cams.stride**2 * size.labels * ITEM_BYTES[settings.cams.dtype]
        return size.train * stored * speed["cam_compression"] / 1e9
    return 0.0
