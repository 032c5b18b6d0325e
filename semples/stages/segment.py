"""segment: train a segmentation network on pseudo masks."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.optim import SGD, Optimizer
from tqdm import tqdm

from semples.config.settings import Segment, Settings
from semples.data.decoded_cache import decoder
from semples.data.images import IGNORE, read_mask, require_size
from semples.data.manifest import Manifest, read_manifest
from semples.data.masked_images import MaskTransform, mask_targets
from semples.data.training_images import TrainingBatches, TrainingImages
from semples.errors import SemplesError
from semples.evaluation.metrics import confusion_matrix, mean_iou
from semples.files import digest, require, sha256
from semples.inference.segmentation import describe_classes, new_network, predict
from semples.models.segment_task import SegmentTask, median_frequency_weights
from semples.models.segmenters import Segmenter
from semples.training.job import LearningJob, adamw, learn, used_settings
from semples.training.loop import poly, warmed_up
from semples.weights.generators import backbone_of, load_backbone, weights_digest, weights_file


def run(
    settings: Settings, seed: int, manifest: Path, masks: Path | None, out: Path, weights: Path | None = None
) -> None:
    """Train on `masks`/<id>.png; write `out`/model.safetensors and metrics.jsonl.

    Args:
        masks: Folder that `semples crf` wrote; not read with `segment.labels: truth`, which learns from the masks of
            the manifest.
        weights: File of `semples weights`, from which the encoder starts with `segment.weights: imagenet`.
    """
    job = LearningJob(settings, "segment", seed, manifest, out)
    images, chosen = job.images(), settings.segment
    if chosen.labels == "truth":
        images = images.with_masks()
    targets = _targets(images, masks, settings)
    torch.manual_seed(seed)
    network = new_network(chosen, len(images.classes))
    if start := weights_file(chosen, weights):
        load_backbone(backbone_of(network.network.encoder), start, "segment.weights")
    transform = MaskTransform(chosen.crop, chosen.scale, chosen.jitter)
    memory_gb = settings.run.cache_gb
    decode = decoder(images, memory_gb, folder=None)
    dataset = TrainingImages(len(images), decode, mask_targets(images, memory_gb, *targets), transform)
    used = used_settings(settings, "segment")
    # other masks must not resume this checkpoint
    if chosen.labels == "truth":
        made_of = digest(list(map(sha256, targets[0])))
    else:
        made_of = sha256(require(masks / "provenance.json", "crf"))
    inputs = {"manifest": images.digest(), "masks": made_of, **weights_digest(start)}
    learn(
        job,
        SegmentTask(network, _class_weights(chosen, targets[0], len(images.classes))),
        TrainingBatches(dataset, chosen.batch, seed, settings.run.workers),
        _optimizer(network, chosen),
        used,
        inputs | {"classes": describe_classes(images.classes)},
        extra_metrics=_curve(read_manifest(manifest).split(settings.data.val), settings),
        schedule=warmed_up(poly, chosen.warmup),
        accumulate=chosen.accumulate,
        ema=chosen.ema,
    )
    job.finish()


def _targets(images: Manifest, masks: Path | None, settings: Settings) -> list[list[str]]:
    """Paths of a mask for every image, and of its confidence where that is used.

    Each has its image's size: looked at before an hour is spent.
    """
    if settings.segment.labels == "truth":
        if len(images) == 0:
            split = f"split {settings.data.train!r}"
            raise SemplesError("segment.labels: truth", f"no mask in {split}", "true masks", "set `labels: pseudo`")
        folders, paths = [], [list(images.table["mask"])]
    else:
        if masks is None:
            raise SemplesError("--masks", "nothing", "a folder of pseudo masks", "make it with `semples crf`")
        folders, paths = [masks], []
    if settings.segment.confidence:
        folders.append(_confidence_folder(masks))
    paths += [[str(require(folder / f"{name}.png", "crf")) for name in images.table["id"]] for folder in folders]
    sizes = list(zip(images.table["width"], images.table["height"], strict=True))
    for row in paths:
        for path, size in zip(row, sizes, strict=True):
            require_size(Path(path), size)
    return paths


def _confidence_folder(masks: Path) -> Path:
    folder = masks / "confidence"
    if not folder.is_dir():
        raise SemplesError(
            folder,
            "no such folder",
            "a confidence PNG for every pseudo mask",
            "set `crf.confidence: true`, or `segment.confidence: false`",
        )
    return folder


def _class_weights(chosen: Segment, masks: list[str], classes: int) -> torch.Tensor | None:
    if chosen.class_weights == "equal":
        return None
    pixels = torch.zeros(IGNORE + 1, dtype=torch.int64)
    for path in tqdm(masks, desc="counting pixels", unit="mask", mininterval=2):
        pixels += torch.bincount(torch.from_numpy(read_mask(Path(path))).flatten(), minlength=IGNORE + 1)
    return median_frequency_weights(pixels[: classes + 1])


def _optimizer(network: Segmenter, chosen: Segment) -> Optimizer:
    """The encoder learns at `lr`, everything else `head_lr_factor` times faster."""
    encoder = network.encoder_parameters()
    inside = {id(parameter) for parameter in encoder}
    decoder = [parameter for parameter in network.parameters() if id(parameter) not in inside]
    if chosen.optimizer == "adamw":
        return adamw(network, chosen, torch.nn.ParameterList(decoder), chosen.head_lr_factor)
    groups = [
        {"params": encoder, "lr": chosen.lr},
        {"params": decoder, "lr": chosen.lr * chosen.head_lr_factor},
    ]
    return SGD(groups, momentum=0.9, weight_decay=chosen.weight_decay, fused=True)


def _curve(judged: Manifest, settings: Settings) -> Callable[[torch.nn.Module], dict[str, float]] | None:
    """mIoU on some validation images after every epoch, at one scale without flip: to be looked at, no more."""
    some = judged.with_masks().sample(settings.segment.curve_images, seed=0)
    return partial(_miou, some, settings) if len(some) else None


def _miou(images: Manifest, settings: Settings, network: Segmenter) -> dict[str, float]:
    quick = settings.segment.model_copy(update={"test_scales": [1.0], "test_flip": False, "test_crf": "none"})
    device, learning = next(network.parameters()).device, network.training
    total = np.zeros((len(images.classes) + 1,) * 2, np.int64)
    for row, mask in predict(network.eval(), images, quick, settings.cams.batch, device):
        total += confusion_matrix(read_mask(images.table["mask"][row], mask.shape), mask, len(images.classes))
    network.train(learning)
    return {"val_miou": float(mean_iou(total))}
