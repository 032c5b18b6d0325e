"""Augmentation of training images: random crop, flip, RandAugment and erasing as timm does them; and of masks."""

import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from timm.data import auto_augment
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from semples.data.images import IGNORE
from semples.errors import SemplesError
from semples.runtime.seeds import seeded

MEAN_COLOUR = tuple(round(255 * value) for value in IMAGENET_DEFAULT_MEAN)


def label_transform(
    size: int, crop_scale: tuple[float, float], flip: float, randaugment: int, erasing: float
) -> v2.Compose:
    """Return the augmentation of images with labels: uint8 (3, h, w) -> float32 (3, size, size).

    The steps and their order are those of timm's `create_transform`, but for the normalisation, which the networks do
    themselves. Values are in [0, 1], those of erased pixels also outside of it.

    Args:
        crop_scale: Least and largest share of the area that a random crop covers; (1, 1) squashes the whole image.
        flip, erasing: Probabilities of a mirror image and of `RandomErasing`.
        randaugment: Magnitude of `RandAugment`, 0 (none) to 10.
    """
    bicubic: dict[str, Any] = {"interpolation": InterpolationMode.BICUBIC, "antialias": True}
    whole = tuple(crop_scale) == (1, 1)
    crop = v2.Resize((size, size), **bicubic) if whole else v2.RandomResizedCrop(size, tuple(crop_scale), **bicubic)
    steps = [crop, v2.RandomHorizontalFlip(flip)]
    steps += [RandAugment(randaugment)] if randaugment else []
    steps += [v2.ToDtype(torch.float32, scale=True)]
    steps += [RandomErasing(erasing)] if erasing else []
    return v2.Compose([*steps, v2.ToPureTensor()])


def is_mirrored(seed: int, flip: float) -> bool:
    """Return whether `label_transform` of the whole image mirrors it under an augmentation seed: its first draw."""
    with seeded(seed):
        return bool(torch.rand(1) < flip)


class RandomErasing(v2.RandomErasing):
    """Fill a random rectangle of an image in [0, 1] with noise that is N(0, 1) after normalisation by ImageNet's.

    As timm's `RandomErasing(mode="pixel")`, which the published code applies to normalised images: one rectangle of 2 %
    to a third of the area, its aspect ratio log-uniform in [0.3, 1 / 0.3], every value a draw of its own. A generator
    with other pixel statistics sees this noise by its own.
    """

    def __init__(self, probability: float) -> None:
        super().__init__(probability, scale=(0.02, 1 / 3), ratio=(0.3, 1 / 0.3), value="random")
        self.mean, self.std = (
            torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        )

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the rectangle and its noise `v`, which is None where no rectangle fits."""
        params = super().make_params(flat_inputs)
        return params if params["v"] is None else {**params, "v": self.mean + self.std * params["v"]}


class RandAugment(v2.Transform):
    """RandAugment of timm, `rand-m<magnitude>-mstd0.5-inc1`, of an image uint8 (3, height, width).

    Twice, one of fifteen operations is drawn and applied with probability 0.5, at a magnitude drawn from
    N(`magnitude`, 0.5) and clipped to [0, 10]. Interpolation is bicubic, and what enters from outside has ImageNet's
    mean colour, as `create_transform` of timm sets them.

    An image on the CPU goes through timm's own operations on Pillow images, one on another device through
    `TENSOR_OPERATIONS`, with the same draws. Both differ from timm in one thing: posterising keeps one bit at least.
    Zero bits, drawn for 2 of 1,000 images at magnitude 9, gave a black image with Pillow 9.5; Pillow 13 refuses it.

    Raises:
        SemplesError: The image comes with maps or masks, which would not move with it.
    """

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, magnitude: int) -> None:
        super().__init__()
        self.on_pillow = _timm_operations(magnitude, {"PosterizeIncreasing": _posterize})
        self.on_tensor = _timm_operations(magnitude, TENSOR_OPERATIONS)

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse masks."""
        if any(isinstance(value, tv_tensors.Mask) for value in flat_inputs):
            actual, expected = "RandAugment of images with maps", "maps of a generator, made after the augmentation"
            raise SemplesError("augment.randaugment", actual, expected, "set it to 0")

    def transform(self, image: Tensor, params: dict[str, Any]) -> Tensor:
        """Return the augmented image."""
        if image.device.type != "cpu":
            return apply_two(self.on_tensor, image)
        pixels = image.permute(1, 2, 0).contiguous().numpy()
        return _to_tensor(apply_two(self.on_pillow, Image.fromarray(pixels)))


def apply_two(operations: list[auto_augment.AugmentOp], image: Any) -> Any:
    """Draw two operations, perhaps twice the same, and let each decide whether it changes the image."""
    for operation in random.choices(operations, k=2):
        image = operation(image)
    return image


def _timm_operations(magnitude: int, replaced: dict[str, Callable]) -> list[auto_augment.AugmentOp]:
    """Return the operations of timm's RandAugment, which draw from Python's generator, with some replaced by name."""
    options = {"img_mean": MEAN_COLOUR, "interpolation": Image.Resampling.BICUBIC}
    operations = auto_augment.rand_augment_transform(f"rand-m{magnitude}-mstd0.5-inc1", options).ops
    for operation in operations:
        operation.aug_fn = replaced.get(operation.name, operation.aug_fn)
    return operations


def _to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    return ImageOps.posterize(image, max(1, bits))


def _by_table(operation: Callable[..., Image.Image], image: Tensor, *level: float, **_: Any) -> Tensor:
    """Apply a Pillow operation that changes every value for itself: look its 256 results up."""
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2))
    return _to_tensor(operation(ramp, *level))[0, 0].to(image.device)[image.long()]


def _auto_contrast(image: Tensor, **_: Any) -> Tensor:
    return v2.functional.autocontrast(image)


def _equalize(image: Tensor, **_: Any) -> Tensor:
    return v2.functional.equalize(image)


def _blend(other: Tensor, image: Tensor, factor: float) -> Tensor:
    """Return `other` + `factor` (`image` - `other`), cut to whole numbers from 0 to 255, as Pillow's Image.blend."""
    return (other + factor * (image.float() - other)).clamp(0, 255).to(torch.uint8)


def _grey(image: Tensor) -> Tensor:
    """Return float32 (1, height, width): Pillow's "L", the luma of ITU-R 601 in fixed point."""
    red, green, blue = image.int()
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16)[None].float()


def _color(image: Tensor, factor: float, **_: Any) -> Tensor:
    return _blend(_grey(image), image, factor)


def _contrast(image: Tensor, factor: float, **_: Any) -> Tensor:
    return _blend((_grey(image).mean() + 0.5).floor(), image, factor)


def _sharpness(image: Tensor, factor: float, **_: Any) -> Tensor:
    """Blend with the image smoothed by Pillow's ImageFilter.SMOOTH, which leaves the outermost pixels alone."""
    kernel = image.new_ones(3, 1, 3, 3, dtype=torch.float32)
    kernel[:, :, 1, 1] = 5
    smooth = image.float()
    smooth[:, 1:-1, 1:-1] = (F.conv2d(image.float()[None], kernel, groups=3)[0] / 13).round()
    return _blend(smooth, image, factor)


def _shear_x(image: Tensor, factor: float, **options: Any) -> Tensor:
    return _affine(image, (1, factor, 0, 0, 1, 0), **options)


def _shear_y(image: Tensor, factor: float, **options: Any) -> Tensor:
    return _affine(image, (1, 0, 0, factor, 1, 0), **options)


def _translate_x(image: Tensor, share: float, **options: Any) -> Tensor:
    return _affine(image, (1, 0, share * image.shape[2], 0, 1, 0), **options)


def _translate_y(image: Tensor, share: float, **options: Any) -> Tensor:
    return _affine(image, (1, 0, 0, 0, 1, share * image.shape[1]), **options)


def _rotate(image: Tensor, degrees: float, **options: Any) -> Tensor:
    """Rotate around the centre, counterclockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = image.shape[2] / 2, image.shape[1] / 2
    return _affine(image, (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y), **options)


def _affine(image: Tensor, matrix: tuple[float, ...], fillcolor: tuple[int, ...], **_: Any) -> Tensor:
    """Return uint8 (3, height, width) as Pillow's Image.transform(AFFINE, BICUBIC): a cubic kernel of a = -1.

    Args:
        matrix: (a, b, c, d, e, f): pixel (x, y) comes from (a x + b y + c, d x + e y + f), pixel centres at halves.
        fillcolor: Colour of what comes from outside.
    """
    a, b, c, d, e, f = matrix
    height, width = image.shape[1:]
    rows, columns = (torch.arange(side, device=image.device) + 0.5 for side in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    x, y = a * x + b * y + c, d * x + e * y + f
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    (left, across), (top, down) = _cubic_taps(x, width), _cubic_taps(y, height)
    taps = image[:, top[:, None], left]  # 3, 4 rows, 4 columns, height, width
    values = ((taps * across).sum(dim=2) * down).sum(dim=1) + 1e-3  # Pillow cuts, in float64
    fill = torch.tensor(fillcolor, device=image.device, dtype=torch.uint8).view(3, 1, 1)
    return values.clamp(0, 255).to(torch.uint8).where(~outside, fill)


def _cubic_taps(position: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return indices and weights, each (4, height, width), of the pixels around positions; those outside repeat."""
    first = (position - 0.5).floor()
    t = position - 0.5 - first
    s = 1 - t
    index = torch.stack([first - 1, first, first + 1, first + 2]).long().clamp(0, side - 1)
    return index, torch.stack([-t * s * s, 1 - t * t * (1 + s), 1 - s * s * (1 + t), -s * t * t])


TENSOR_OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Invert": partial(_by_table, auto_augment.invert),
    "Rotate": _rotate,
    "PosterizeIncreasing": partial(_by_table, _posterize),
    "SolarizeIncreasing": partial(_by_table, auto_augment.solarize),
    "SolarizeAdd": partial(_by_table, auto_augment.solarize_add),
    "ColorIncreasing": _color,
    "ContrastIncreasing": _contrast,
    "BrightnessIncreasing": partial(_by_table, auto_augment.brightness),
    "SharpnessIncreasing": _sharpness,
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateXRel": _translate_x,
    "TranslateYRel": _translate_y,
}


class MaskTransform:
    """Random rescaling, crop, flip and colour jitter of an image with its mask; mean grey and void around it.

    Args:
        crop: Side of the square crop in pixels.
        scale: Smallest and largest factor of the rescaling.
        jitter: Strength of the changes of brightness, contrast and saturation; hue changes by a quarter of it at most.
    """

    def __init__(self, crop: int, scale: tuple[float, float], jitter: float = 0.0) -> None:
        self.scale = scale
        grey = {tv_tensors.Image: 124, tv_tensors.Mask: IGNORE}
        steps = [v2.RandomCrop(crop, pad_if_needed=True, fill=grey), v2.RandomHorizontalFlip(0.5)]
        steps += [v2.ColorJitter(jitter, jitter, jitter, min(0.5, jitter / 4))] if jitter else []
        steps += [v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True), v2.ToPureTensor()]
        self.augment = v2.Compose(steps)

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
