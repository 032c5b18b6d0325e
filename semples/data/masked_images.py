"""Training images with masks: decoded and augmented together."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from semples.data.decoded_cache import image_shapes, in_memory
from semples.data.images import IGNORE, read_mask
from semples.data.manifest import Manifest


def mask_targets(
    images: Manifest, memory_gb: float, masks: list[str], confidence: list[str] | None = None
) -> Callable[[int], dict[str, Tensor]]:
    """Return the function that gives the targets of image `index`: `mask`, and with a path of it `confidence`.

    Args:
        memory_gb: Masks are kept in memory where their images are (data.decoded_cache.decoder).
        masks, confidence: Paths in the order of the manifest.
    Returns:
        Of tv_tensors.Mask uint8 (height, width).
    """
    paths = {"mask": masks} | ({} if confidence is None else {"confidence": confidence})
    return in_memory(partial(_read_masks, paths, image_shapes(images)), images, memory_gb)


def _read_masks(paths: dict[str, list[str]], shapes: list[tuple[int, int]], index: int) -> dict[str, Tensor]:
    planes = {name: read_mask(Path(files[index]), shapes[index]) for name, files in paths.items()}
    return {name: tv_tensors.Mask(torch.from_numpy(plane)) for name, plane in planes.items()}


class MaskTransform:
    """Random rescaling, crop, flip and colour jitter of an image with its mask; mean grey and void around it.

    Args:
        crop: Side of the square crop in pixels.
        scale: Smallest and largest factor of the rescaling.
        jitter: Strength of the changes of brightness, contrast and saturation; hue changes by a quarter of it at most.
    """

    def __init__(self, crop: int, scale: tuple[float, float], jitter: float = 0.0) -> None:
        self.crop, self.scale = crop, scale
        grey = {tv_tensors.Image: 124, tv_tensors.Mask: IGNORE}
        self.augment = v2.Compose(
            [
                v2.RandomCrop(crop, pad_if_needed=True, fill=grey),
                v2.RandomHorizontalFlip(0.5),
                *([v2.ColorJitter(jitter, jitter, jitter, min(0.5, jitter / 4))] if jitter else []),
                v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
                v2.ToPureTensor(),
            ]
        )

    def __call__(self, image: Tensor, mask: Tensor, *confidence: Tensor) -> list[Tensor]:
        """Augment an image uint8 (3, h, w) with its mask, and with a confidence, both uint8 (h, w).

        Returns:
            float32 (3, crop, crop) in [0, 1], int64 (crop, crop), and float32 (crop, crop) in [0, 1].
        """
        low, high = self.scale
        factor = low + (high - low) * torch.rand(()).item()
        size = [max(1, round(side * factor)) for side in image.shape[-2:]]
        image = v2.functional.resize(image, size, antialias=True)
        image, mask, *rest = self.augment(image, *(v2.functional.resize(plane, size) for plane in (mask, *confidence)))
        return [image, mask.long(), *(plane.float() / 255 for plane in rest)]
