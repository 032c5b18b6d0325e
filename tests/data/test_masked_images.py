"""Training images with masks: void padding, moves in step, colour jitter, confidence."""

import cv2
import numpy as np
import torch
from torchvision import tv_tensors

from semples.data.augment import MaskTransform
from semples.data.decoded_cache import decoder
from semples.data.manifest import read_manifest
from semples.data.training_images import TrainingBatches, TrainingImages, mask_targets


def picture(height: int = 20, width: int = 30) -> tv_tensors.Image:
    return tv_tensors.Image(torch.randint(0, 256, (3, height, width), dtype=torch.uint8))


def test_mask_moves_with_its_image_and_padding_is_void():
    torch.manual_seed(0)
    image = torch.zeros(3, 10, 10, dtype=torch.uint8)
    mask = torch.zeros(1, 10, 10, dtype=torch.uint8)
    image[:, :4], mask[:, :4] = 255, 3
    found, moved = MaskTransform(32, (1.0, 1.0))(tv_tensors.Image(image), tv_tensors.Mask(mask))
    assert found.shape == (3, 32, 32)
    assert ((found > 0.9).all(0) == (moved[0] == 3)).all()
    assert (moved == 255).sum() == 32 * 32 - 100


def test_rescaled_masks_hold_whole_class_indices_only():
    mask = torch.zeros(1, 20, 20, dtype=torch.uint8)
    mask[:, 5:15, 5:15] = 7
    for _ in range(10):
        _, moved = MaskTransform(16, (0.5, 2.0))(picture(20, 20), tv_tensors.Mask(mask))
        assert set(moved.unique().tolist()) <= {0, 7, 255}


def test_jitter_changes_colours_and_no_mask():
    image, mask = picture(16, 16), tv_tensors.Mask(torch.randint(0, 3, (1, 16, 16), dtype=torch.uint8))
    masks, images = set(), set()
    for _ in range(10):
        found, moved = MaskTransform(16, (1, 1), jitter=0.5)(image, mask)
        assert 0 <= found.min() <= found.max() <= 1
        images.add(round(found.mean().item(), 6))
        masks.add(int(moved.sum()))
    assert len(images) == 10
    assert masks == {int(mask.sum())}


def test_confidence_is_cropped_with_its_mask(odd_photos, tmp_path):
    manifest = read_manifest(odd_photos)
    confidence = []
    for place, mask in enumerate(manifest.table["mask"]):
        sure = np.where(cv2.imread(mask, cv2.IMREAD_UNCHANGED) > 0, 255, 51).astype(np.uint8)
        confidence.append(str(tmp_path / f"confidence {place}.png"))
        cv2.imwrite(confidence[-1], sure)
    targets = mask_targets(manifest, 1.0, list(manifest.table["mask"]), confidence)
    data = TrainingImages(
        list(manifest.table["id"]), decoder(manifest, 1.0, None), targets, MaskTransform(24, (0.5, 2.0))
    )
    (batch,) = TrainingBatches(data, 3, seed=0, workers=0).start(0)
    inside, valid = (batch["mask"] > 0) & (batch["mask"] < 255), batch["mask"] < 255
    assert batch["confidence"].shape == batch["mask"].shape == (3, 24, 24)
    assert torch.allclose(batch["confidence"][valid], torch.where(inside, 1.0, 0.2)[valid])
