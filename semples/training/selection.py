"""Selection of the epoch of slm, csr and joint that is kept: the policies of settings `selection` (docs/choices.md)."""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch

from semples.config.settings import Settings
from semples.data.images import read_image, read_mask
from semples.data.manifest import Manifest
from semples.data.training_images import present_pairs
from semples.errors import SemplesError
from semples.evaluation.metrics import mean_iou, threshold_confusions, threshold_histogram
from semples.inference.cams import same_size_batches, scores
from semples.inference.views import as_batch
from semples.models.generators import MaskGenerator
from semples.models.guide import Guide
from semples.models.masking import masked_views

SEED = 0
THRESHOLDS = np.arange(100) / 100


def training_images(images: Manifest, settings: Settings) -> Manifest:
    """Return the images that train: all, or with the policy `held-out` those that are not held out."""
    if settings.selection.policy != "held-out":
        return images
    held_out = images.table["id"].isin(_scored_images(images, settings).table["id"])
    return Manifest(images.table[~held_out].reset_index(drop=True), images.classes)


def epoch_score(
    settings: Settings, images: Manifest, generator: MaskGenerator, guide: Guide, texts: torch.Tensor
) -> Callable[[], float] | None:
    """Return a function that scores the generator as it is, higher is better; None where the last epoch is kept.

    Args:
        images: Labelled images of the training split.
        texts: Embeddings (classes, width) of the class names, L2-normalised.
    Raises:
        SemplesError: The policy needs masks, and no image has one.
    """
    if settings.selection.policy == "last":
        return None
    scored = _scored_images(images, settings)
    if settings.selection.policy == "label-free":
        return partial(margin, generator, guide, texts, scored, settings)
    return partial(best_miou, generator, scored, settings)


def _scored_images(images: Manifest, settings: Settings) -> Manifest:
    selection = settings.selection
    if selection.policy == "label-free":
        return images.sample(selection.images, SEED)
    masked = images.with_masks()
    if len(masked) == 0:
        problem = f"{selection.policy!r}, and no training image with a mask"
        raise SemplesError("selection.policy", problem, "masks to evaluate the epochs", "use `last` or `label-free`")
    share = selection.share if selection.policy == "held-out" else 1.0
    return masked.sample(min(selection.images, max(1, round(share * len(masked)))), SEED)


def best_miou(generator: MaskGenerator, images: Manifest, settings: Settings) -> float:
    """Return the CAM mIoU, in [0, 1], at the best background threshold for `images`; one scale, no flip."""
    once = settings.cams.model_copy(update={"scales": [1.0], "flip": False})
    device, labels, classes = next(generator.parameters()).device, images.label_matrix(), len(images.classes)
    histogram = np.zeros((), np.int64)
    for rows in same_size_batches(images, once.batch):
        for row, score, present in scores(generator.eval(), images, labels, rows, once, device):
            mask = read_mask(images.table["mask"][row])
            truth = cv2.resize(mask, score.shape[:0:-1], interpolation=cv2.INTER_NEAREST)
            histogram = histogram + threshold_histogram(truth, score, present, THRESHOLDS, classes)
    return float(mean_iou(threshold_confusions(histogram)).max())


@torch.inference_mode()
def margin(generator: MaskGenerator, guide: Guide, texts: torch.Tensor, images: Manifest, settings: Settings) -> float:
    """Return the mean over the pairs of `s(X_fg, t) - s(X_bg, t)`, in [-2, 2], by hard masks: scaled maps over 0.5."""
    device, size = next(generator.parameters()).device, settings.generator.image_size
    labels = torch.from_numpy(images.label_matrix()).to(device)
    generator.eval()
    margins = []
    for first in range(0, len(images), settings.cams.batch):
        rows = slice(first, first + settings.cams.batch)
        batch = torch.cat([as_batch([read_image(path)], device, size) for path in images.table["image"][rows]])
        image, klass = present_pairs(labels[rows])
        mask = guide.masks(generator(batch).cams[image, klass], 1e-4) > 0.5
        views = masked_views(guide.normalise(batch)[image], mask.float(), guide.fill)
        front, back = guide.encode_image(views).chunk(2)
        margins.append(((front - back) * texts.to(device)[klass]).sum(1))
    return torch.cat(margins).mean().item()
