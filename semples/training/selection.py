"""Which epoch of slm, csr and joint is kept: the judges of settings `selection` (docs/method.md)."""

from collections.abc import Callable

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
from semples.models.masking import masked_views, pair_masks

SEED = 0
THRESHOLDS = np.arange(100) / 100
HARD = 0.5


def training_images(images: Manifest, settings: Settings) -> Manifest:
    """The images that train: all, or with the policy `held-out` those that are not kept out."""
    if settings.selection.policy != "held-out":
        return images
    kept_out = set(_judged(images, settings).table["id"])
    return Manifest(images.table[~images.table["id"].isin(kept_out)].reset_index(drop=True), images.classes)


def epoch_score(
    settings: Settings, images: Manifest, generator: MaskGenerator, guide: Guide, texts: torch.Tensor
) -> Callable[[], float] | None:
    """A function that scores the generator as it is, higher is better; None where the last epoch is kept."""
    if settings.selection.policy == "last":
        return None
    judged = _judged(images, settings)
    if settings.selection.policy == "label-free":
        return lambda: margin(generator, guide, texts, judged, settings)
    return lambda: best_miou(generator, judged, settings)


def _judged(images: Manifest, settings: Settings) -> Manifest:
    chosen = settings.selection
    if chosen.policy == "label-free":
        return images.sample(chosen.images, SEED)
    masked = images.with_masks()
    if len(masked) == 0:
        raise SemplesError(
            "selection.policy",
            f"{chosen.policy!r}, and no training image with a mask",
            "true masks to judge by",
            "use `last` or `label-free`",
        )
    share = chosen.share if chosen.policy == "held-out" else 1.0
    return masked.sample(min(chosen.images, max(1, round(share * len(masked)))), SEED)


def best_miou(generator: MaskGenerator, images: Manifest, settings: Settings) -> float:
    """CAM mIoU at the best background threshold for the true masks of `images`; one scale, no flip."""
    once = settings.cams.model_copy(update={"scales": [1.0], "flip": False})
    device, labels = next(generator.parameters()).device, images.label_matrix()
    total = 0
    for rows in same_size_batches(images, once.batch):
        for row, score, classes in scores(generator.eval(), images, labels, rows, once, device):
            truth = cv2.resize(
                read_mask(images.table["mask"][row]), score.shape[:0:-1], interpolation=cv2.INTER_NEAREST
            )
            total = total + threshold_histogram(truth, score, classes, THRESHOLDS, len(images.classes))
    return float(mean_iou(threshold_confusions(total)).max())


@torch.inference_mode()
def margin(generator: MaskGenerator, guide: Guide, texts: torch.Tensor, images: Manifest, settings: Settings) -> float:
    """How much more the guide finds the class in the foreground than in the background, by hard masks.

    Mean over the pairs of `s(X_fg, t) - s(X_bg, t)`; a pixel is foreground where its scaled map exceeds 0.5.
    """
    device, size = next(generator.parameters()).device, settings.generator.image_size
    labels = torch.from_numpy(images.label_matrix()).to(device)
    generator.eval()
    margins = []
    for first in range(0, len(images), settings.cams.batch):
        rows = slice(first, first + settings.cams.batch)
        batch = torch.cat([as_batch([read_image(path)], device, size) for path in images.table["image"][rows]])
        image, klass = present_pairs(labels[rows])
        mask = pair_masks(generator(batch).cams, image, klass, guide.image_size, 1e-4) > HARD
        views = masked_views(guide.normalise(batch)[image], mask.float(), guide.fill)
        front, back = guide.encode_image(views).chunk(2)
        margins.append(((front - back) * texts.to(device)[klass]).sum(1))
    return torch.cat(margins).mean().item()
