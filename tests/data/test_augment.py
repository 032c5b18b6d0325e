"""Augmentation against timm: statistics of the published code (golden/augmentation.json), operation by operation."""

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from semples.data.augment import RandAugment, RandomErasing, apply_two, label_transform
from semples.errors import SemplesError
from semples.runtime.seeds import seeded

GOLDEN = Path(__file__).parents[1] / "golden"
PUBLISHED = json.loads((GOLDEN / "augmentation.json").read_text(encoding="utf-8"))["published"]
IMAGES = torch.from_numpy(np.load(GOLDEN / "guide_tiny.npz")["images"]).permute(0, 3, 1, 2)
AUGMENT = RandAugment(9)
OPERATIONS = {one.name: (one, other) for one, other in zip(AUGMENT.on_pillow, AUGMENT.on_tensor, strict=True)}
LEVELS = 1  # of 255: values on the border of two whole numbers, which Pillow cuts in float64
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small images are slower with several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def on_cpu(image: Tensor) -> Tensor:
    return AUGMENT(tv_tensors.Image(image))


def on_device(image: Tensor) -> Tensor:
    return apply_two(AUGMENT.on_tensor, image)


def changes(augment, draws: int) -> Tensor:
    """Return the mean absolute change of every draw, in units of the full range; draws alternate between images."""
    change = torch.zeros(draws)
    for draw in range(draws):
        with seeded(draw):
            image = IMAGES[draw % 2].numpy()
            change[draw] = cv2.absdiff(augment(IMAGES[draw % 2]).numpy(), image).mean() / 255
    return change


@pytest.mark.parametrize(("augment", "draws"), [(on_cpu, 800), (on_device, 160)])
def test_randaugment_has_the_statistics_of_the_published_code(augment, draws):
    published, change = PUBLISHED["randaugment_on_guide_tiny_images"], changes(augment, draws)
    unchanged = (change == 0).float()
    print(f"{augment.__name__}: unchanged {unchanged.mean():.3f}, change {change.mean():.4f}, {draws} draws")
    for name, values in {"share_unchanged": unchanged, "mean_absolute_change": change}.items():
        error = (published[f"{name}_standard_error"] ** 2 + values.var() / draws) ** 0.5
        assert abs(values.mean() - published[name]) < 3 * error, name


def test_the_operations_and_their_settings_are_the_published_ones():
    published = PUBLISHED["randaugment"]
    assert list(OPERATIONS) == published["operations"]
    for operation in (*AUGMENT.on_pillow, *AUGMENT.on_tensor):
        assert operation.prob == published["probability_of_each"]
        assert (operation.magnitude, operation.magnitude_std) == (published["magnitude"], published["magnitude_std"])
        assert operation.kwargs == {"resample": Image.Resampling.BICUBIC, "fillcolor": tuple(published["fill"])}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("magnitude", [0, 6.3, 9, 10])
def test_an_operation_on_tensors_is_timm_s(name, magnitude):
    image = IMAGES[0, :, :150, :201]
    for sign in (0.2, 0.8):  # the draw that turns a direction around
        arguments = OPERATIONS[name][0].level_fn, magnitude
        pillow, tensor = (_applied(operation, picture, arguments, sign) for operation, picture in _pairs(name, image))
        expected = torch.from_numpy(np.array(pillow)).permute(2, 0, 1)
        assert tensor.dtype == torch.uint8
        assert (tensor.int() - expected.int()).abs().max() <= LEVELS


def _pairs(name: str, image: Tensor) -> list:
    return list(zip(OPERATIONS[name], (Image.fromarray(image.permute(1, 2, 0).numpy()), image), strict=True))


def _applied(operation, image, arguments, sign):
    level_fn, magnitude = arguments
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "random", lambda: sign)
        level = () if level_fn is None else level_fn(magnitude, operation.hparams)
    return operation.aug_fn(image, *level, **operation.kwargs)


def test_both_paths_draw_the_same():
    for seed in range(12):
        with seeded(seed):
            one = on_cpu(IMAGES[seed % 2])
        with seeded(seed):
            other = on_device(IMAGES[seed % 2])
        # a second operation (equalising, posterising) can make more of the difference of a level
        assert ((one.int() - other.int()).abs() > LEVELS).float().mean() < 0.01
        assert (one.float() - other.float()).abs().mean() < 0.1


@pytest.mark.parametrize("tensors", [False, True])
def test_posterising_keeps_one_bit_where_timm_keeps_none(tensors):
    operation = OPERATIONS["PosterizeIncreasing"][tensors]
    (bits,) = operation.level_fn(10, operation.hparams)
    assert bits == 0
    image = IMAGES[0] if tensors else Image.fromarray(IMAGES[0].permute(1, 2, 0).numpy())
    assert set(np.unique(operation.aug_fn(image, bits, **operation.kwargs))) == {0, 128}


def test_images_with_maps_are_refused():
    image, maps = tv_tensors.Image(IMAGES[0]), tv_tensors.Mask(torch.zeros(1, 224, 224))
    with pytest.raises(SemplesError, match=r"augment\.randaugment"):
        label_transform(64, (1, 1), 0.5, 9, 0)(image, maps)


def erased_blocks(draws: int) -> tuple[list[Tensor], Tensor]:
    """Return the erased pixels (3, pixels) of every image with a block, normalised, and the share of its area."""
    erase, grey, blocks = RandomErasing(0.25), torch.full((3, 224, 224), 0.5), []
    for draw in range(draws):
        with seeded(draw):
            image = erase(grey)
        if (erased := image[0] != 0.5).any():
            blocks.append((image[:, erased] - MEAN[:, None]) / STD[:, None])
    return blocks, torch.tensor([block.shape[1] / 224**2 for block in blocks])


def test_erased_pixels_are_standard_normal_as_the_networks_see_them():
    draws, published = 400, PUBLISHED["random_erasing"]
    blocks, area = erased_blocks(draws)
    noise = torch.cat(blocks, dim=1)
    pixels = noise * STD[:, None] + MEAN[:, None]
    outside = ((pixels < 0) | (pixels > 1)).float().mean()
    print(f"erased: mean {noise.mean():.4f}, deviation {noise.std():.4f}, outside {outside:.4f}")
    print(f"erased: {len(blocks) / draws:.3f} of images, mean area {area.mean():.4f}")
    assert noise.mean(dim=1).abs().max() < 5e-3
    assert (noise.std(dim=1) - 1).abs().max() < 5e-3
    assert outside == pytest.approx(published["share_of_erased_values_outside_0_1_before_normalisation"], abs=1e-3)
    error = (2 * 0.25 * 0.75 / draws) ** 0.5  # of two shares of so many draws
    assert len(blocks) / draws == pytest.approx(published["share_of_images_erased"], abs=3 * error)
    error = area.std().item() * (2 / len(blocks)) ** 0.5
    assert area.mean().item() == pytest.approx(published["mean_erased_area_where_erased"], abs=3 * error)
    assert 0.019 < area.min() < area.max() < 0.334


def test_steps_are_those_of_timm_in_its_order():
    options = {"auto_augment": "rand-m9-mstd0.5-inc1", "re_prob": 0.25, "re_mode": "pixel", "interpolation": "bicubic"}
    theirs = create_transform(224, is_training=True, **options).transforms
    ours = label_transform(224, (0.08, 1), 0.5, 9, 0.25).transforms
    names = [type(step).__name__ for step in theirs]
    assert names == PUBLISHED["steps"][:3] + ["MaybeToTensor" if s == "ToTensor" else s for s in PUBLISHED["steps"][3:]]
    assert [type(step).__name__ for step in ours] == [
        "RandomResizedCrop",
        "RandomHorizontalFlip",
        "RandAugment",
        "ToDtype",
        "RandomErasing",
        "ToPureTensor",
    ]
    assert (ours[0].scale, ours[0].ratio) == (theirs[0].scale, theirs[0].ratio)
    assert ours[0].interpolation == theirs[0].interpolation == InterpolationMode.BICUBIC
    assert (ours[1].p, ours[4].p) == (theirs[1].p, theirs[5].probability) == (0.5, 0.25)
    assert ours[4].scale == (theirs[5].min_area, theirs[5].max_area)
    assert isinstance(ours[4], v2.RandomErasing)
    torch.testing.assert_close(ours[4]._log_ratio, torch.tensor(theirs[5].log_aspect_ratio))
