"""Training images: augmentation, order, and what a batch holds."""

import torch
from torchvision import tv_tensors

from semples.loader import EpochSampler, Photographs, batches, label_transform
from semples.manifest import read_manifest


def picture(height: int = 20, width: int = 30) -> tv_tensors.Image:
    return tv_tensors.Image(torch.randint(0, 256, (3, height, width), dtype=torch.uint8))


def test_whole_image_is_squashed_when_the_crop_scale_is_one():
    transform = label_transform(16, (1, 1), flip=0, randaugment=0, erasing=0)
    image = torch.zeros(3, 20, 30, dtype=torch.uint8)
    image[:, :, 15:] = 255
    found = transform(tv_tensors.Image(image))
    assert found.shape == (3, 16, 16)
    assert found[..., :6].max() < 0.05
    assert found[..., 10:].min() > 0.95


def test_augmented_images_stay_in_the_unit_range():
    transform = label_transform(16, (0.08, 1), flip=0.5, randaugment=9, erasing=0)
    for _ in range(20):
        found = transform(picture())
        assert found.dtype == torch.float32
        assert 0 <= found.min() <= found.max() <= 1


def test_a_batch_holds_images_labels_and_pairs(odd_photos):
    manifest = read_manifest(odd_photos)
    loader = batches(Photographs(manifest, label_transform(16, (1, 1), 0.5, 0, 0), 1.0), 3, seed=0, workers=0)
    (batch,) = loader
    assert batch["image"].shape == (3, 3, 16, 16)
    assert batch["labels"].sum(1).tolist() == [1, 1, 1]
    assert torch.equal(batch["pair_class"], batch["labels"].argmax(1))


def test_cached_images_are_the_files_own(odd_photos):
    manifest = read_manifest(odd_photos)
    for limit in (0, 1.0):
        dataset = Photographs(manifest, lambda image: image.clone(), limit)
        first, again = dataset[1]["image"], dataset[1]["image"]
        assert torch.equal(first, again)
        assert (dataset.cache is None) == (limit == 0)


def test_order_depends_on_seed_and_epoch_alone():
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(50, seed)
        sampler.epoch = epoch
        return list(sampler)

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4) != order(1, 4)
    assert sorted(order(0, 3)) == list(range(50))
