"""SAM (arXiv 2304.02643) and SAM 2 (arXiv 2408.00714) on one image: masks of prompts, segments of the whole image."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torchvision.ops import masks_to_boxes, nms

from semples.config.settings import Sam
from semples.inference.cam_masks import Score, cam_masks, overlapping, prompts_of
from semples.inference.views import as_batch, resize_part

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
STABILITY_OFFSET = 1.0  # of the logits of a stable mask


class PromptedImage:
    """An image that SAM has embedded, and its answers to prompts.

    SAM sees the image at its own input size, padded to a square with the mean colour; SAM 2 sees it squashed to one.

    Args:
        network: SamModel or Sam2Model of transformers.
        image: float32 (1, 3, height, width) in [0, 1], on the network's device.
        size: (height, width) of the masks.
    """

    def __init__(self, network: Any, image: Tensor, size: tuple[int, int]) -> None:
        self.network, self.size, self.device = network, size, image.device
        side = network.config.prompt_encoder_config.image_size
        side = side if isinstance(side, int) else side[0]
        height, width = image.shape[-2:]
        scale = side / max(height, width)
        padded = network.config.model_type == "sam"
        inner = [int(length * scale + 0.5) if padded else side for length in (height, width)]
        mean, std = (image.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        resized = F.interpolate(image, size=inner, mode="bilinear", align_corners=False, antialias=True)
        pixels = F.pad((resized - mean) / std, (0, side - inner[1], 0, side - inner[0]))
        self.embeddings = network.get_image_embeddings(pixels)
        self.scale = image.new_tensor([inner[1] / width, inner[0] / height])
        self.used = inner[0] / side, inner[1] / side

    def answers(
        self, points: np.ndarray, boxes: np.ndarray | None, several: bool
    ) -> tuple[Float[Tensor, "prompts masks h w"], Float[Tensor, "prompts masks"]]:
        """Return logits of the masks of every prompt, above 0 inside, and the IoU that SAM predicts for them.

        Args:
            points: (prompts, 2), x and y in pixels of the image.
            boxes: (prompts, 4), x and y of the first and of the last pixel; None for prompts of points alone.
            several: Three masks a prompt, instead of one.
        """
        prompts = {"input_points": self._tensor(points)[None, :, None]}
        if boxes is not None:
            prompts["input_boxes"] = self._tensor(boxes.reshape(-1, 2)).reshape(1, -1, 4)
        output = self.network(image_embeddings=self.embeddings, multimask_output=several, **prompts)
        return resize_part(output.pred_masks[0].float(), self.used, self.size), output.iou_scores[0].float()

    def _tensor(self, points: np.ndarray) -> Tensor:
        return torch.from_numpy(points).float().to(self.device) * self.scale


def image_segments(image: PromptedImage, shape: tuple[int, int], settings: Sam) -> Bool[np.ndarray, "segments h w"]:
    """Return the segments of a whole image of `shape` (height, width): those of a grid of points, without duplicates.

    Of the three masks of a point those remain whose predicted IoU and whose stability are high, as in SAM's paper.
    """
    fractions = (np.arange(settings.points) + 0.5) / settings.points
    points = np.stack(np.meshgrid(fractions * shape[1], fractions * shape[0]), axis=-1).reshape(-1, 2) - 0.5
    good_masks, qualities = [], []
    for start in range(0, len(points), settings.batch):
        some = points[start : start + settings.batch]
        logits, quality = (part.flatten(0, 1) for part in image.answers(some, None, several=True))
        core, whole = ((logits > offset).sum(dim=(1, 2)) for offset in (STABILITY_OFFSET, -STABILITY_OFFSET))
        masks, stable = logits > 0, core >= settings.least_stability * whole
        good = (quality >= settings.least_iou) & stable & masks.any(dim=2).any(dim=1)
        good_masks.append(masks[good])
        qualities.append(quality[good])
    masks, quality = torch.cat(good_masks), torch.cat(qualities)
    if len(masks):
        masks = masks[nms(masks_to_boxes(masks), quality, settings.duplicate_iou)]
    return masks.cpu().numpy()


@torch.inference_mode()
def sam_maps(network: Any, image: UInt8[np.ndarray, "height width 3"], score: Score, settings: Sam) -> Score:
    """Return the mean of maps and of SAM's masks of their labels, float32.

    Pixels inside a mask have at least half of the highest score, pixels outside at most half. So a threshold of one
    half gives SAM's masks; a lower one adds pixels by their score, a higher one takes pixels away.
    """
    pixels = as_batch([image], next(network.parameters()).device)
    prompted = PromptedImage(network, pixels, score.shape[1:])
    masks, peaks = cam_masks(score, settings.threshold), score.max(axis=(1, 2), keepdims=True)
    if settings.use == "segments":
        segments = image_segments(prompted, image.shape[:2], settings)
        answers = overlapping(segments, masks, settings.inside, settings.covers)
    else:
        answers = np.stack([_prompted(prompted, *pair, image.shape[:2], settings) for pair in zip(score, masks)])
    return ((score + peaks * answers) / 2).astype(np.float32)


def _prompted(
    image: PromptedImage, score: np.ndarray, mask: np.ndarray, shape: tuple[int, int], settings: Sam
) -> Bool[np.ndarray, "h w"]:
    """Return the union of the masks of a label's prompts."""
    union = np.zeros(mask.shape, bool)
    scale = np.array([shape[1] / mask.shape[1], shape[0] / mask.shape[0]])  # image pixels per pixel of the map
    peaks, boxes = prompts_of(score, mask, settings.least_area)
    for start in range(0, len(peaks), settings.batch):
        some = slice(start, start + settings.batch)
        points, corners = ((part[some].reshape(-1, 2) + 0.5) * scale - 0.5 for part in (peaks, boxes))
        logits, _ = image.answers(points, corners.reshape(-1, 4), several=False)
        union |= (logits[:, 0] > 0).any(dim=0).cpu().numpy()
    return union
