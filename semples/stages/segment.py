"""segment: train a segmentation network on pseudo masks."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.optim import SGD, Optimizer
from tqdm import tqdm

from semples.config.settings import Segment, Settings
from semples.data.augment import MaskTransform
from semples.data.decoded_cache import decoder
from semples.data.images import IGNORE, read_mask, require_size
from semples.data.manifest import Manifest, read_manifest
from semples.data.training_images import TrainingBatches, TrainingImages, mask_targets
from semples.errors import SemplesError
from semples.evaluation.metrics import confusion_matrix, mean_iou
from semples.files import digest, require, sha256
from semples.inference.segmentation import describe_classes, predict
from semples.models.segment_task import SegmentTask, median_frequency_weights
from semples.models.segmenters import Segmenter
from semples.runtime.parallel import map_threads
from semples.training.job import LearningJob, adamw, learn, used_settings
from semples.weights.generators import backbone_of, load_backbone, weights_digest, weights_file


def run(
    settings: Settings, seed: int, manifest: Path, masks: Path | None, out: Path, weights: Path | None = None
) -> None:
    """Train on `masks`/<id>.png; write `out`/model.safetensors and metrics.jsonl.

    Args:
        masks: Folder that `semples crf` wrote; `segment.labels: truth` reads the masks of the manifest instead.
        weights: File of `semples weights`, from which the encoder starts with `segment.weights: imagenet`.
    """
    if settings.segment.network == "none":
        raise SemplesError("segment.network", "none", "a network to train", "name one")
    job = LearningJob(settings, "segment", seed, manifest, out)
    images, segment = job.images(), settings.segment
    if segment.labels == "truth":
        images, masks = images.with_masks(), None
    if masks:
        read_manifest(manifest).report_strays(masks)
    targets = _targets(images, masks, settings)
    pixels = _pixels(targets[0], images.classes.names, settings.run.threads)
    torch.manual_seed(seed)
    network = Segmenter(segment.network, segment.encoder, len(images.classes), segment.decoder_channels)
    if start := weights_file(segment, weights):
        load_backbone(backbone_of(network.network.encoder), start, "segment.weights")
    transform, memory_gb = MaskTransform(segment.crop, segment.scale, segment.jitter), settings.run.cache_gb
    decode, read_targets = decoder(images, memory_gb, folder=None), mask_targets(images, memory_gb, *targets)
    dataset = TrainingImages(list(images.table["id"]), decode, read_targets, transform)
    origins = [require(masks / "provenance.json", "crf")] if masks else map(Path, targets[0])
    digests = [sha256(path) for path in origins]  # a training on other masks does not resume this checkpoint
    inputs = {"manifest": images.digest(), "masks": digests[0] if masks else digest(digests), **weights_digest(start)}
    sample = read_manifest(manifest).split(settings.data.val).with_masks().sample(segment.curve_images, seed=0)
    learn(
        job,
        SegmentTask(network, median_frequency_weights(pixels) if segment.class_weights == "balanced" else None),
        TrainingBatches(dataset, segment.batch, seed, settings.run.workers),
        _optimizer(network, segment),
        used_settings(settings, "segment"),
        inputs | {"classes": describe_classes(images.classes)},
        extra_metrics=partial(_miou, sample, settings) if len(sample) else None,
        ema=segment.ema,
    )
    job.finish()


def _targets(images: Manifest, masks: Path | None, settings: Settings) -> list[list[str]]:
    """Return the path of every image's mask and, with `segment.confidence`, that of its confidence."""
    truth = settings.segment.labels == "truth"
    if truth and not len(images):
        split = f"split {settings.data.train!r}"
        raise SemplesError("segment.labels: truth", f"no mask in {split}", "ground truth", "set `labels: pseudo`")
    if not truth and masks is None:
        raise SemplesError("--masks", "nothing", "a folder of pseudo masks", "make it with `semples crf`")
    paths = [list(images.table["mask"]) if masks is None else _files(masks, images)]
    if masks is not None and settings.segment.confidence:
        if not (masks / "confidence").is_dir():
            remedy = "set `crf.confidence: true`, or `segment.confidence: false`"
            raise SemplesError(masks / "confidence", "no such folder", "a PNG for every pseudo mask", remedy)
        paths.append(_files(masks / "confidence", images))
    for width, height, *files in zip(images.table["width"], images.table["height"], *paths, strict=True):
        for path in files:
            require_size(Path(path), (width, height))
    return paths


def _files(folder: Path, images: Manifest) -> list[str]:
    return [str(require(folder / f"{name}.png", "crf")) for name in images.table["id"]]


def _pixels(masks: list[str], names: tuple[str, ...], threads: int) -> torch.Tensor:
    """Count the pixels of every class, background first, and print the shares: int64 (classes + 1,).

    Raises:
        SemplesError: A mask has a class index above the classes, or no mask has a pixel of an object.
    """

    def count(path: str) -> np.ndarray:
        pixels = np.bincount(read_mask(Path(path)).ravel(), minlength=IGNORE + 1)
        if unknown := np.flatnonzero(pixels[len(names) + 1 : IGNORE]).tolist():
            problem, expected = f"class index {len(names) + 1 + unknown[-1]}", f"0 to {len(names)}, or 255 for void"
            raise SemplesError(path, problem, expected, "check the class list")
        return pixels

    bar = tqdm(map_threads(count, masks, threads), "counting pixels", len(masks), unit="mask", mininterval=2)
    pixels = torch.from_numpy(np.sum(list(bar), axis=0))
    titled = zip(("background", *names, "void"), pixels[[*range(len(names) + 1), IGNORE]].tolist(), strict=True)
    print(f"{len(masks)} masks: {', '.join(f'{name} {n / pixels.sum():.1%}' for name, n in titled)} of the pixels")
    if not pixels[1 : len(names) + 1].any():
        remedy = "lower `crf.threshold.value`, or look at the maps"
        raise SemplesError(Path(masks[0]).parent, "masks of background and void alone", "pixels of objects", remedy)
    return pixels[: len(names) + 1]


def _optimizer(network: Segmenter, segment: Segment) -> Optimizer:
    """Return the optimiser; the encoder learns at `lr`, all else `head_lr_factor` times faster."""
    encoder = network.encoder_parameters()
    inside = {id(parameter) for parameter in encoder}
    decoder = [parameter for parameter in network.parameters() if id(parameter) not in inside]
    if segment.optimizer == "adamw":
        return adamw(network, segment, torch.nn.ParameterList(decoder), segment.head_lr_factor)
    groups = [{"params": encoder, "lr": segment.lr}, {"params": decoder, "lr": segment.lr * segment.head_lr_factor}]
    return SGD(groups, momentum=0.9, weight_decay=segment.weight_decay, fused=True)


def _miou(images: Manifest, settings: Settings, network: torch.nn.Module) -> dict[str, float]:
    """Return the mIoU of a network in training, at one scale and without mirror images, which is fast."""
    quick = settings.segment.model_copy(update={"test_scales": [1.0], "test_flip": False, "test_crf": "none"})
    device, training, classes = next(network.parameters()).device, network.training, len(images.classes)
    masks = predict(network.eval(), images, quick, settings.cams.batch, device)
    pairs = ((read_mask(images.table["mask"][row], mask.shape), mask) for row, mask in masks)
    total = np.sum([confusion_matrix(truth, mask, classes) for truth, mask in pairs], axis=0)
    network.train(training)
    return {"val_miou": float(mean_iou(total))} if np.any(total) else {}  # none where the masks are all void
