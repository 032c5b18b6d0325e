"""Estimate the hours, the GPU memory and the disk of a job before it starts.

The size of the data set comes from its manifest or, before there is one, from known numbers or the list of its files.
The operations and sizes of the presets' networks lie in network_counts.json; network_counts.py counts other networks.
speed.py has the speed of the stages, measured or assumed. Snakemake imports this module while it plans, so it imports
neither numpy nor torch.
"""

import csv
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from semples.config.settings import Config, Settings
from semples.data.importers import listing
from semples.errors import SemplesError
from semples.planning.graph import LEARNING
from semples.planning.layout import Layout
from semples.planning.speed import Speed, assumed_speed

COUNTS = Path(__file__).with_name("network_counts.json")
LIVE_ACTIVATIONS = 3  # layer outputs in memory during inference: input, output, a branch
SAM_PROMPT_GFLOP = 3.6  # of the mask decoder, for all sizes of SAM and SAM 2
CHECKPOINTED = 1 / 3  # of the layer outputs that training keeps with activation checkpointing
GUIDE_BYTES = {2: 3, 4: 4}  # of the guide's layer outputs, by those of the others: sums of blocks are float32
PAIR_VALUES = 1  # millions in float32 for a pair: seven images of 224 pixels, its views and what they are made from
MAP_BYTES = 140  # of WeakTr's attention maps, for a pair of tokens: six heads, products and their softmax
SHORTEST, MARGIN = 60, 3  # minimum minutes of a job, and the factor on its estimate
TEXT_SHARE = 0.1  # operations of a text of some ten tokens, relative to an image's, in the towers of a CLIP
CENTRE_IMAGES = 1000  # most images whose mean embedding `guide.centre` takes
NOUNS = 1994  # of the package's list of words
UNKNOWN = 720  # minutes of a job while the size of the data set is not known
ASSUMED_SIDE = 1024  # pixels of the longer side of photographs whose size is not known yet
# VOC 2012 with SBD, COCO 2014 and the miniature: images per split, mean pixels and labels per image, classes
KNOWN: dict[str, tuple[dict[str, int], float, float, int]] = {
    "voc": ({"train": 1464, "train_aug": 10582, "val": 1449, "trainval": 2913}, 182_000.0, 1.5, 20),
    "coco": ({"train": 82081, "val": 40137}, 277_000.0, 2.9, 80),
    "mini": ({}, 64.0**2, 1.5, 6),  # `data.scenes` has the splits
}


class Size(NamedTuple):
    """Images of the training and the validation split, mean pixels and labels per image, and classes."""

    train: int
    val: int
    pixels: float
    labels: float
    classes: int


class Cost(NamedTuple):
    """Estimate of one job."""

    hours: float
    gpu_gb: float
    disk_gb: float
    measured: bool
    """Whether the hours come from a speed that was measured for these networks on this machine."""


class Network(NamedTuple):
    """Counts of a forward pass of one image: GFLOP; parameters and values of layer outputs, in millions."""

    gflop: float
    parameters: float
    outputs: float  # of all layers; training keeps them in memory
    largest: float  # of one layer; inference keeps LIVE_ACTIVATIONS of them in memory
    head: float = 0.0  # GFLOP of the head on a frozen backbone; 0 where that is not counted


Count = Callable[[str, Settings, int], Network]
"""A function that counts the `generator`, `segmenter` or `guide` of settings, for a number of classes."""


def size_of(config: Config, folder: Path = Path()) -> Size:
    """Return the size of the data set that `config` names; `folder` is the one in which the workflow runs.

    Raises:
        SemplesError: The images are the user's own, and `data.root` does not exist.
    """
    manifest, data = folder / Layout.of(config.name).path("data", "manifest"), config.data
    if manifest.exists() and (rows := _rows(manifest)):
        pixels = sum(float(row["width"]) * float(row["height"]) for row in rows) / len(rows)
        classes = len(_rows(manifest.with_name("classes.csv")))
    elif data.source in KNOWN:
        counts, pixels, labels, classes = KNOWN[data.source]
        counts = counts or data.scenes
        return Size(counts.get(data.train, 0), counts.get(data.val, 0), pixels, labels, classes)
    elif not data.root or not Path(data.root).exists():
        remedy = "run `snakemake data` first"
        raise SemplesError(manifest, "no such file", "the manifest, which has the number of images", remedy)
    else:
        rows, pixels = listing.list_images(data), 0.75 * (data.max_side or ASSUMED_SIDE) ** 2
        classes = len({name for row in rows for name in row["labels"].split(";") if name})
    counts = Counter(name for row in rows for name in row["split"].split(";"))
    numbers = [len(row["labels"].split(";")) for row in rows if row["labels"]]
    return Size(counts[data.train], counts[data.val], pixels, sum(numbers) / max(len(numbers), 1), classes)


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def runtime_minutes(stage: str, settings: Settings, size: Size | None) -> int:
    """Return the minutes that a job requests from the scheduler: three times its estimate, at least an hour.

    The estimate has assumed speeds: the job runs on another machine than the one that plans.
    """
    if size is None:
        return UNKNOWN
    device = "cpu" if settings.run.device == "cpu" else "cuda"
    shards = settings.run.shards if stage in ("cams", "refine", "crf") else 1
    hours = job_cost(stage, settings, size, assumed_speed(device), known_network).hours
    return max(SHORTEST, math.ceil(60 * MARGIN * hours / shards))


def network_key(kind: str, settings: Settings) -> str:
    """Return the key in network_counts.json of the `generator`, `segmenter`, `guide` or `sam` of settings."""
    generator, segment = settings.generator, settings.segment
    return {
        "generator": f"{generator.name} {generator.backbone} {generator.image_size} {generator.fusion_reduction}",
        "segmenter": f"{segment.network} {segment.encoder} {segment.decoder_channels} {segment.crop}",
        "guide": settings.guide.model,
        "sam": settings.refine.sam.weights,
    }[kind]


def stored_network(kind: str, settings: Settings) -> Network | None:
    """Return the stored counts, which are for the 80 classes of COCO; fewer classes cost a little less."""
    counts = json.loads(COUNTS.read_text(encoding="utf-8"))[kind].get(network_key(kind, settings))
    return Network(*counts) if counts else None


def known_network(kind: str, settings: Settings, _classes: int = 0) -> Network:
    """Return the stored counts, or those of the largest of its kind: too much time costs less than too little."""
    largest = max(json.loads(COUNTS.read_text(encoding="utf-8"))[kind].values())
    return stored_network(kind, settings) or Network(*largest)


def rate_key(stage: str, settings: Settings) -> str:
    """Return what a measured rate of a stage holds for: its arithmetic, threads, networks, and the part that learns."""
    stage = "csr" if stage == "joint" else stage
    by_guide = stage == "guide" or (stage == "cams" and settings.masks_from == "guide")
    alone = {"classify": "generator", "cams": "generator", "segment": "segmenter", "segment_masks": "segmenter"}
    kinds = ["guide"] if by_guide else [alone[stage]] if stage in alone else ["generator", "guide"]
    networks = [network_key(kind, settings) for kind in kinds]
    learns = getattr(getattr(settings, stage, None), "trainable", "")
    threads = "" if stage == "cams" else f"{settings.run.threads} threads"  # of cams, each has images of its own
    return ", ".join(filter(None, [stage, settings.precision, threads, learns, *networks]))


def job_cost(stage: str, settings: Settings, size: Size, speed: Speed, count: Count) -> Cost:
    """Return the estimate of one job of a stage."""
    gflop, megabytes = work(stage, settings, size, count)
    rate, measured = speed.rate(stage, rate_key(stage, settings))
    measured |= not gflop and stage != "refine" and bool(speed.measured)
    pixels = _seconds_of_pixels(stage, settings, size, speed)
    workers = settings.run.workers if stage in LEARNING else 0  # that decode while the device computes
    seconds = max(gflop / rate, pixels / workers) if workers else gflop / rate + pixels
    if stage in ("crf", "data") or (stage == "cams" and speed.device == "cpu"):
        seconds /= settings.run.threads
    hours = (speed.value("start_seconds") + seconds) / 3600
    return Cost(hours, megabytes / 1e3, _disk(stage, settings, size, speed, count), measured)


def _seconds_of_pixels(stage: str, settings: Settings, size: Size, speed: Speed) -> float:
    """Return the seconds on one core of CRF, refinement or decoding: every epoch anew if the images fit nowhere."""
    if stage == "crf" and settings.crf.preset != "none":
        labels = size.train * size.pixels * (1 + size.labels)
        return labels * settings.crf.iterations / speed.value("crf_pixels_per_second")
    if stage == "refine":
        return _refine_seconds(settings, size, speed)
    training = settings.csr if stage == "joint" else getattr(settings, stage, None)
    epochs = getattr(training, "epochs", 1)
    fits = settings.run.cache_folder or 4 * size.train * size.pixels <= settings.run.cache_gb * 1e9
    return (1 if fits else epochs) * size.train * size.pixels / speed.value("decode_pixels_per_second")


def work(stage: str, settings: Settings, size: Size, count: Count) -> tuple[float, float]:
    """Return GFLOP and MB of GPU memory. A backward pass counts as two forward ones, a trained number as 16 bytes."""
    imported = stage == "cams" and settings.masks_from == "foreign"
    if stage == "guide":
        words = len(settings.guide.words) or (0 if settings.guide.model == "mini" else NOUNS)
        images = min(CENTRE_IMAGES, size.train) if settings.guide.centre != "none" else 0
        return (images + TEXT_SHARE * words) * count("guide", settings, size.classes).gflop, 0.0
    if imported or stage in ("crf", "data") or (stage == "cpl" and settings.cpl.source == "manual"):
        return 0.0, 0.0
    if stage == "refine":
        return _sam_work(settings, size) if settings.refine.kind == "sam" else (0.0, 0.0)
    width = 4 if settings.precision == "32-true" else 2  # bytes of an activation
    if stage == "cams" and settings.masks_from == "guide":
        return _guide_maps_work(settings, size, count("guide", settings, size.classes))
    network = count("segmenter" if stage.startswith("segment") else "generator", settings, size.classes)
    if stage in ("cams", "segment_masks"):
        cams, segment = settings.cams, settings.segment
        images, side, crop, scales, flip = (
            (size.train, cams.resize, settings.generator.image_size, cams.scales, cams.flip)
            if stage == "cams"
            else (size.val, segment.test_size, segment.crop, segment.test_scales, segment.test_flip)
        )
        pixels = side**2 if side else size.pixels
        share, largest = pixels / crop**2, max(scales) ** 2  # relative to the crop that was counted, and of a view
        live = share * largest * LIVE_ACTIVATIONS * network.largest * width
        live += _attention_mb(settings, pixels * largest) if stage == "cams" else 0.0
        passes = sum(scale**2 for scale in scales) * (1 + flip)
        return images * share * passes * network.gflop, 4 * network.parameters + cams.batch * live
    return _training_work(stage, settings, size, network, count)


def _training_work(stage: str, settings: Settings, size: Size, network: Network, count: Count) -> tuple[float, float]:
    """Return GFLOP and MB of GPU memory of a training."""
    training = settings.csr if stage == "joint" else getattr(settings, stage)
    frozen_backbone = stage != "segment" and settings.generator.frozen()
    whole = stage == "segment" or (stage != "cpl" and training.trainable == "all" and not frozen_backbone)
    again = settings.run.checkpointing and stage != "segment" and settings.generator.name in ("weaktr", "vit_cam")
    image, once = (3 + again if whole else 1) * network.gflop, 0.0
    if frozen_backbone and settings.run.cache_folder and not training.augment.changes():
        once = (2 if training.augment.flip else 1) * network.gflop  # for the file of features
        image = 3 * network.head or network.gflop
    learned = network.parameters if whole else 0.0
    frozen = network.parameters - learned
    width = 4 if settings.precision == "32-true" else 2  # bytes of an activation
    megabytes = LIVE_ACTIVATIONS * network.largest * width + _attention_mb(settings, settings.generator.image_size**2)
    if whole:
        megabytes = network.outputs * width * (CHECKPOINTED if again else 1)
    if stage not in ("classify", "segment"):
        guide, again = count("guide", settings, size.classes), settings.run.checkpointing
        # per label, the guide embeds the background; in slm and csr also the object, with gradients to the pixels
        passes, outputs = (
            (1, LIVE_ACTIVATIONS * guide.largest) if stage == "cpl" else (4 + 2 * again, 2 * guide.outputs)
        )
        image += passes * size.labels * guide.gflop
        if stage == "cpl":
            views = settings.cpl.cached_views()
            once, image = (once + views * image, 0.0) if views else (once, image)
            image += _prompts_work(settings, size, guide)
        outputs *= GUIDE_BYTES[width] * (CHECKPOINTED if again and stage != "cpl" else 1)
        megabytes += size.labels * (outputs + 4 * PAIR_VALUES)
        frozen += guide.parameters + learned
    images = math.ceil(training.batch / training.accumulate)
    return size.train * (once + training.epochs * image), 16 * learned + 4 * frozen + images * megabytes


def _prompts_work(settings: Settings, size: Size, guide: Network) -> float:
    """Return the GFLOP that prompts take in cpl, per image: the text encoder with gradients, once a step."""
    if settings.cpl.source == "embedding":
        return 0.0
    sentences, steps = 1 if settings.cpl.shared else size.classes, max(1, size.train // settings.cpl.batch)
    return 3 * TEXT_SHARE * guide.gflop * sentences * steps / max(1, size.train)


def _attention_mb(settings: Settings, pixels: float) -> float:
    """Return the MB that attention maps of an image take in WeakTr; other generators make none."""
    return 1e-6 * MAP_BYTES * (pixels / 16**2) ** 2 if settings.generator.name == "weaktr" else 0.0


def _guide_maps_work(settings: Settings, size: Size, guide: Network) -> tuple[float, float]:
    """Return GFLOP and MB of GPU memory of maps by the guide: a pass of every tile of every scale."""
    section = settings.guide_maps
    tiles = sum(max(1, math.ceil((scale - 1) / max(0.1, 1 - section.overlap)) + 1) ** 2 for scale in section.scales)
    passes = size.train * tiles * (1 + section.flip)
    return passes * guide.gflop, 4 * guide.parameters + 4 * guide.outputs


def _refine_seconds(settings: Settings, size: Size, speed: Speed) -> float:
    """Return the seconds of a refinement without a network."""
    section = settings.refine
    pixels = size.train * size.pixels / section.stride() ** 2
    if section.kind == "superpixels":
        pixels *= len(section.superpixels.sizes)
        return pixels / speed.value("superpixel_pixels_per_second") / settings.run.threads
    if section.kind == "pamr":
        terms = pixels * 8 * len(section.pamr.dilations) * section.pamr.iterations * size.labels
        return terms / speed.value("pamr_terms_per_second")
    return 0.0


def _sam_work(settings: Settings, size: Size) -> tuple[float, float]:
    """Return GFLOP and MB of GPU memory of SAM: an encoded image, and its prompts. A model not known is the largest."""
    section, network = settings.refine.sam, known_network("sam", settings)
    prompts = section.points**2 if section.use == "segments" else math.ceil(size.labels)
    masks = 3 * min(prompts, section.batch) * size.pixels / section.stride**2 / 1e6  # millions of logits
    live = LIVE_ACTIVATIONS * (network.largest + masks)
    return size.train * (network.gflop + prompts * SAM_PROMPT_GFLOP), 4 * (network.parameters + live)


def _disk(stage: str, settings: Settings, size: Size, speed: Speed, count: Count) -> float:
    """Return the GB of a job's outputs."""
    kinds = dict.fromkeys(("classify", "slm", "csr", "joint"), "generator") | {"guide": "guide", "segment": "segmenter"}
    if stage in kinds:
        return 4e-3 * count(kinds[stage], settings, size.classes).parameters
    masks = size.pixels * speed.value("mask_bytes_per_pixel")
    item_bytes = {"uint8": 1, "float16": 2, "float32": 4}[settings.cams.dtype]
    maps = size.pixels * size.labels * item_bytes * speed.value("cam_compression")
    image_bytes = {"crf": masks, "segment_masks": masks}
    image_bytes |= {"cams": maps / settings.cams.stride**2, "refine": maps / settings.refine.stride() ** 2}
    return (size.val if stage == "segment_masks" else size.train) * image_bytes.get(stage, 0.0) / 1e9
