"""Training images with their masks from a manifest: decoded, augmented together."""

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from semples.data.images import IGNORE, read_mask
from semples.data.manifest import Manifest
from semples.data.training_images import Photographs


class MaskedPhotographs(Photographs):
    """Images with their masks, and with `confidence` how sure every pixel of the mask is.

    An item has `image` float (3, crop, crop) in [0, 1], `mask` int64 (crop, crop), and `confidence` float (crop, crop)
    in [0, 1]. `masks` and `confidence` are paths in the order of the manifest.
    """

    def __init__(
        self, manifest: Manifest, transform, cache_gb: float, masks: list[str], confidence: list[str] | None = None
    ) -> None:
        super().__init__(manifest, transform, cache_gb)
        self.targets = [masks] if confidence is None else [masks, confidence]

    def _augmented(self, index: int) -> dict[str, Tensor]:
        image, target = self.transform(*self._decoded(index))
        item = {"image": image, "mask": target[0].long()}
        if len(target) > 1:
            item["confidence"] = target[1].float() / 255
        return item

    def _target(self, index: int, shape: tuple[int, int]) -> Tensor:
        """Mask, and confidence where it is used: uint8 (1 or 2, h, w)."""
        planes = [torch.from_numpy(read_mask(paths[index], shape)) for paths in self.targets]
        return tv_tensors.Mask(torch.stack(planes))


class MaskTransform:
    """Random rescaling, crop, flip and colour jitter of an image with its mask.

    What lies outside the image is mean grey and void. `jitter` is the strength of the changes of brightness, contrast
    and saturation; hue changes by a quarter of it at most.
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

    def __call__(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (3, h, w) and (planes, h, w) -> float in [0, 1] (3, crop, crop) and uint8 (planes, crop, crop)."""
        low, high = self.scale
        factor = low + (high - low) * torch.rand(()).item()
        size = [max(1, round(side * factor)) for side in image.shape[-2:]]
        return self.augment(v2.functional.resize(image, size, antialias=True), v2.functional.resize(mask, size))
