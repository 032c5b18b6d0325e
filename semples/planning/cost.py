"""What a run will take, before it starts: hours, GPU memory and disk, as an estimate.

The networks of the settings are built without weights and their floating-point operations counted; calibration.json
says how fast the stages got through them where they were measured, and where that was. Memory is counted, not measured.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import torch
from open_clip.model import CLIP
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from semples.config.settings import Config, Generator, Settings
from semples.mini import GUIDE_WEIGHTS
from semples.models.segmenters import Segmenter
from semples.planning.targets import Targets
from semples.weights.generators import bare_generator

CALIBRATION = Path(__file__).with_name("calibration.json")
LIVE_ACTIVATIONS = 3  # layers' outputs that inference holds at a time: input, output, a branch
FALLBACK_GUIDE = "ViT-B-32"  # for a guide whose configuration is not at hand


@dataclass(frozen=True)
class Size:
    """What a data set weighs: images, pixels an image and labels an image, of the splits that train and validate."""

    train: int
    val: int
    pixels: float
    labels: float
    classes: int


@dataclass(frozen=True)
class Network:
    """One forward pass of one image."""

    gflop: float
    parameters: float
    """Millions."""
    outputs: float
    """Millions of numbers that all layers put out, which training keeps."""
    largest: float
    """Millions of numbers that the largest layer puts out; inference holds a few such at a time."""


def estimate(config: Config, size: Size, device: str, targets: Sequence[str] = ("all",)) -> pd.DataFrame:
    """A row a stage that runs: jobs, hours of all its jobs one after the other, GB of memory on a GPU, GB of disk.

    The hours are those of `device`, `cpu` or `cuda`; `targets` are those of Targets.jobs. Outputs that variants share
    are counted once.
    """
    planned = Targets(config)
    speed = json.loads(CALIBRATION.read_text(encoding="utf-8"))
    jobs = planned.jobs(targets)
    rows = []
    for stage in ("guide", "classify", "slm", "cpl", "csr", "joint", "cams", "crf", "segment", "segment_masks"):
        if not jobs[stage]:
            continue
        costs = [_cost(stage, planned.graph.runs[job.variant], size, speed, device) for job in jobs[stage]]
        hours, memory, disk = np.array(costs).T
        rows.append([stage, len(costs), hours.sum(), memory.max(), disk.sum()])
    return pd.DataFrame(rows, columns=["stage", "jobs", "hours", "GPU GB", "disk GB"])


def _cost(stage: str, settings: Settings, size: Size, speed: dict, device: str) -> tuple[float, float, float]:
    """Hours, GB of GPU memory and GB of disk of one job."""
    gflop, megabytes = _work(stage, settings, size)
    rates = speed["gflop_per_second"][device]
    seconds = speed["start_seconds"] + gflop / rates.get(stage.removesuffix("_masks"), rates["all"])
    if stage == "crf" and settings.crf.preset != "none":
        pixels = size.train * size.pixels * (1 + size.labels) * settings.crf.iterations
        seconds += pixels / speed["crf_pixels_per_second"] / settings.run.threads
    return seconds / 3600, megabytes / 1e3, _disk(stage, settings, size, speed)


def _work(stage: str, settings: Settings, size: Size) -> tuple[float, float]:
    """GFLOP and MB of GPU memory of a job. A backward pass counts as two forward ones, a trained number as 16 bytes."""
    if stage in ("guide", "crf") or (stage == "cpl" and settings.cpl.source == "manual"):
        return 0.0, 0.0
    width = 4 if settings.precision == "32-true" else 2  # bytes of an activation
    generator = _generator(settings, size)
    if stage == "cams":
        side = settings.cams.resize
        shown = (side**2 if side else size.pixels) / settings.generator.image_size**2
        passes = sum(scale**2 for scale in settings.cams.scales) * (1 + settings.cams.flip)
        gflop = size.train * shown * passes * generator.gflop
        held = settings.cams.batch * shown * max(settings.cams.scales) ** 2 * LIVE_ACTIVATIONS * generator.largest
        return gflop, 4 * generator.parameters + held * width
    if stage == "segment_masks":
        chosen, segmenter = settings.segment, _segmenter(settings, size)
        shown = (chosen.test_size**2 if chosen.test_size else size.pixels) / chosen.crop**2
        gflop = size.val * shown * (1 + chosen.test_flip) * sum(s**2 for s in chosen.test_scales) * segmenter.gflop
        held = settings.cams.batch * shown * max(chosen.test_scales) ** 2 * LIVE_ACTIVATIONS * segmenter.largest
        return gflop, 4 * segmenter.parameters + held * width
    of = settings.csr if stage == "joint" else getattr(settings, stage)
    if stage == "segment":
        segmenter = _segmenter(settings, size)
        memory = 16 * segmenter.parameters + of.batch * segmenter.outputs * width
        return 3 * size.train * of.epochs * segmenter.gflop, memory
    whole = stage != "cpl" and of.trainable == "all"
    image = (3 if whole else 1) * generator.gflop
    learned = generator.parameters if whole else 0.0
    if stage == "classify":
        frozen = 4 * (generator.parameters - learned)
        return size.train * of.epochs * image, 16 * learned + frozen + of.batch * generator.outputs * width
    guide = _guide(settings.guide.model)
    # of every label the background goes through the guide; in slm and csr the object too, and gradients to the pixels
    image += (1 if stage == "cpl" else 4) * size.labels * guide.gflop
    outputs = generator.outputs + 2 * size.labels * guide.outputs
    frozen = 4 * (guide.parameters + generator.parameters)
    return size.train * of.epochs * image, 16 * learned + frozen + of.batch * outputs * width


def _disk(stage: str, settings: Settings, size: Size, speed: dict) -> float:
    """GB that a job leaves."""
    if stage == "guide":
        return 4e-3 * _guide(settings.guide.model).parameters
    if stage in ("classify", "slm", "csr", "joint"):
        return 4e-3 * _generator(settings, size).parameters
    masks = size.pixels * speed["mask_bytes_per_pixel"] / 1e9
    if stage == "crf":
        return size.train * masks
    if stage == "segment":
        return 4e-3 * _segmenter(settings, size).parameters
    if stage == "segment_masks":
        return size.val * masks
    if stage == "cams":
        stored = size.pixels / settings.cams.stride**2 * size.labels * np.dtype(settings.cams.dtype).itemsize
        return size.train * stored * speed["cam_compression"] / 1e9
    return 0.0


def _generator(settings: Settings, size: Size) -> Network:
    chosen = settings.generator
    return _counted_generator(chosen.model_dump_json(), size.classes)


def _segmenter(settings: Settings, size: Size) -> Network:
    chosen = settings.segment
    side = -(-chosen.crop // 32) * 32
    return _counted_segmenter(chosen.network, chosen.encoder, chosen.decoder_channels, size.classes, side)


@cache
def _counted_generator(chosen: str, classes: int) -> Network:
    """Count the generator of these settings, given as JSON, on its training crop."""
    settings = Generator.model_validate_json(chosen)
    with torch.device("meta"):
        return _counted(bare_generator(settings, classes), settings.image_size)


@cache
def _counted_segmenter(network: str, encoder: str, width: int, classes: int, side: int) -> Network:
    """Count the segmentation network on a square crop."""
    made = Segmenter(network, encoder, classes, width).to("meta")  # some cannot be made there
    with torch.device("meta"):
        return _counted(made, side)


@cache
def _guide(model: str) -> Network:
    """Count the image tower of the guide at its own input size."""
    folder = GUIDE_WEIGHTS if model == "mini" else Path(model.removeprefix("local-dir:"))
    if (folder / "open_clip_config.json").is_file():
        config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]
    else:
        config = open_clip.get_model_config(model) or open_clip.get_model_config(FALLBACK_GUIDE)
    with torch.device("meta"):
        clip = CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
        return _counted(clip.visual, config["vision_cfg"]["image_size"])


def _counted(module: nn.Module, side: int) -> Network:
    numbers = []

    def note(_module: nn.Module, _inputs: tuple, output: object) -> None:
        if isinstance(output, torch.Tensor):
            numbers.append(output.numel())

    for part in module.modules():
        if not list(part.children()):
            part.register_forward_hook(note)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(torch.zeros(1, 3, side, side))
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return Network(counter.get_total_flops() / 1e9, parameters / 1e6, sum(numbers) / 1e6, max(numbers) / 1e6)
