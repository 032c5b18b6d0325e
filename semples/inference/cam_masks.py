"""Masks of CAMs by label: with the peaks and boxes that prompt SAM, and merged from segments that overlap with them."""

import cv2
import numpy as np
from jaxtyping import Bool, Float

Score = Float[np.ndarray, "labels h w"]
Masks = Bool[np.ndarray, "labels h w"]


def cam_masks(score: Score, threshold: float) -> Masks:
    """Return where a label has the highest score, and at least `threshold` times the highest of its map.

    A label that has the highest score nowhere shares pixels with others; only an empty map has an empty mask.
    """
    high = (score >= threshold * score.max(axis=(1, 2), keepdims=True)) & (score > 0)
    masks = high & (score.argmax(axis=0) == np.arange(len(score))[:, None, None])
    return np.where(masks.any(axis=(1, 2), keepdims=True), masks, high)


def prompts_of(
    score: Float[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"], least_area: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the peak (x, y) and the box (x, y of the first and of the last pixel) of each large part of a mask.

    Args:
        least_area: Area of a part that counts, as a fraction of the largest.
    Returns:
        Float (parts, 2) and (parts, 4), in pixels of the map.
    """
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    numbers = 1 + np.flatnonzero(areas >= least_area * areas.max(initial=0))
    peaks = [np.unravel_index(np.where(parts == number, score, -1).argmax(), score.shape)[::-1] for number in numbers]
    left, top, width, height = stats[numbers, :4].T
    boxes = np.stack([left, top, left + width - 1, top + height - 1], axis=1)
    return np.array(peaks, float).reshape(-1, 2), boxes.astype(float)


def overlapping(segments: Bool[np.ndarray, "segments h w"], masks: Masks, inside: float, covers: float) -> Masks:
    """Return the union of each label's segments, after arXiv 2305.05803; its CAM's mask where it has none.

    A segment belongs to the label with whose mask it has most pixels in common, if more than the fraction `inside` of
    the segment lies in the mask, or if it has more than the fraction `covers` of the mask.
    """
    flat, of_labels = (part.reshape(len(part), masks[0].size).astype(np.float32) for part in (segments, masks))
    common = flat @ of_labels.T  # segments, labels: pixels
    area, label_area = flat.sum(axis=1, keepdims=True), of_labels.sum(axis=1)
    fits = (common > inside * area) | (common > covers * label_area)
    belongs = fits & (common > 0) & (common == common.max(axis=1, keepdims=True))
    unions = [segments[belongs[:, label]].any(axis=0) for label in range(len(masks))]
    return np.stack([union if union.any() else mask for union, mask in zip(unions, masks, strict=True)])
