"""Training images: augmentation, order, and what a batch holds."""

import os
import pickle
import random
import signal
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from torchvision import tv_tensors

from semples.data.augment import label_transform
from semples.data.decoded_cache import decoder
from semples.data.manifest import Manifest, read_manifest
from semples.data.training_images import (
    EpochBatches,
    TrainingBatches,
    TrainingImages,
    label_targets,
)
from semples.errors import SemplesError
from semples.runtime.seeds import seeded


def dataset_of(manifest: Manifest, transform, memory_gb: float = 1.0, folder=None, **options) -> TrainingImages:
    read = decoder(manifest, memory_gb, folder)
    return TrainingImages(list(manifest.table["id"]), read, label_targets(manifest), transform, **options)


def batches(dataset: TrainingImages, workers: int = 0) -> list[dict]:
    return list(TrainingBatches(dataset, 3, seed=0, workers=workers).start(0))


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
    (batch,) = batches(dataset_of(manifest, label_transform(16, (1, 1), 0.5, 0, 0)))
    assert batch["image"].shape == (3, 3, 16, 16)
    assert batch["labels"].sum(1).tolist() == [1, 1, 1]
    assert torch.equal(batch["pair_class"], batch["labels"].argmax(1))


def test_cached_images_are_the_files_own(odd_photos):
    manifest = read_manifest(odd_photos)
    for limit in (0, 1.0):
        dataset = dataset_of(manifest, lambda image: image.clone(), limit)
        first, again = dataset[1, 0]["image"], dataset[1, 0]["image"]
        assert torch.equal(first, again)
        assert isinstance(dataset.read, dict) == (limit > 0)  # a dictionary of the images that were read


def drawn(seed: int, epoch: int, **places: int) -> list[list[tuple[int, int]]]:
    sampler = EpochBatches(50, 8, seed)
    for name, value in {"epoch": epoch, **places}.items():
        setattr(sampler, name, value)
    return list(sampler)


def test_order_and_seeds_depend_on_seed_and_epoch_alone():
    assert drawn(0, 3) == drawn(0, 3)
    assert drawn(0, 3) != drawn(0, 4) != drawn(1, 4)
    indices, seeds = zip(*chain(*drawn(0, 3)), strict=True)
    assert len(set(indices)) == len(set(seeds)) == 48  # the two images of an incomplete batch are left out
    assert set(seeds).isdisjoint(seed for batch in drawn(0, 4) for _, seed in batch)


def test_ranks_share_every_batch_and_a_resumed_run_goes_on_in_the_middle():
    whole = drawn(0, 3)
    parts = [drawn(0, 3, rank=rank, ranks=3) for rank in range(3)]
    assert [sorted(chain(*shares)) for shares in zip(*parts, strict=True)] == [sorted(batch) for batch in whole]
    assert drawn(0, 3, first=4) == whole[4:]


def test_augmentation_is_the_same_in_any_order_and_process(odd_photos):
    dataset = dataset_of(read_manifest(odd_photos), label_transform(16, (0.1, 1), 0.5, 9, 0.5))
    (first,) = batches(dataset)
    torch.rand(5)
    random.random()
    (second,) = batches(dataset, workers=2)
    assert torch.equal(first["image"], second["image"])
    state, python_state = torch.get_rng_state(), random.getstate()
    assert not torch.equal(dataset[0, 1]["image"], dataset[0, 2]["image"])
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python_state


def test_augmentation_can_be_sent_to_a_worker():
    image, transform = picture(), label_transform(16, (0.1, 1), 0.5, 9, 0.5)
    copy = pickle.loads(pickle.dumps(transform))
    for seed in range(8):
        with seeded(seed):
            one = transform(image)
        with seeded(seed):
            assert torch.equal(copy(image), one)


def test_the_file_of_decoded_images_holds_the_files_own_pixels(odd_photos, tmp_path):
    manifest = read_manifest(odd_photos)

    def items(**cache) -> list[torch.Tensor]:
        dataset = dataset_of(manifest, lambda image: image.clone(), 0, **cache)
        return [dataset[index, 0]["image"] for index in (2, 0, 1)]

    expected = items()
    for _ in range(2):  # filled, then read
        assert all(map(torch.equal, items(folder=tmp_path / "cache"), expected))
    (file,) = (tmp_path / "cache").iterdir()
    assert file.stat().st_size == 3 + 3 * (40 * 50 + 33 * 64 + 48 * 31)
    assert file.read_bytes()[:3] == bytes([1, 1, 1])


def test_a_file_larger_than_the_disk_is_refused(odd_photos, tmp_path, monkeypatch):
    monkeypatch.setattr("semples.data.decoded_cache.shutil.disk_usage", lambda _folder: SimpleNamespace(free=10_000))
    with pytest.raises(SemplesError, match="GB free in"):
        dataset_of(read_manifest(odd_photos), None, 0, folder=tmp_path)
    assert not list(tmp_path.glob("*.uint8"))


def test_augmentation_after_the_loader_is_that_of_the_loader(odd_photos):
    manifest, transform = read_manifest(odd_photos), label_transform(16, (0.1, 1), 0.5, 9, 0.5)
    (here,) = batches(dataset_of(manifest, transform))
    later = dataset_of(manifest, transform, augment_on_device=True)
    assert later[0, 1].keys() == {"raw", "seed", "labels"}
    assert later[0, 1]["raw"].dtype == torch.uint8
    (there,) = batches(later)
    assert here.keys() == there.keys()
    assert torch.equal(here["image"], there["image"])


def test_a_batch_with_fewer_images_than_processes_is_refused(odd_photos):
    dataset = dataset_of(read_manifest(odd_photos), label_transform(16, (1, 1), 0.5, 0, 0))
    shared = TrainingBatches(dataset, 8, seed=0, workers=0)
    shared.share(2, 3)
    (batch,) = shared.start(0)
    assert len(batch["image"]) == 1
    with pytest.raises(SemplesError, match="4 processes for batches of 3 images"):
        shared.share(0, 4)


def test_an_epoch_starts_at_any_batch(odd_photos):
    data = TrainingBatches(dataset_of(read_manifest(odd_photos), lambda image: image[:, :16, :16]), 1, 0, workers=0)
    whole = list(data.start(5))
    assert len(data) == len(whole) == 3
    assert all(map(torch.equal, [b["image"] for b in data.start(5, 1)], [b["image"] for b in whole[1:]]))


def unreadable(*_arguments):
    raise SemplesError("photo.jpg", "a truncated JPEG", "a photograph", "replace it")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photograph_that_breaks_in_a_worker_is_the_same_error(odd_photos, workers):
    dataset = dataset_of(read_manifest(odd_photos), unreadable)
    with pytest.raises(SemplesError) as caught:
        batches(dataset, workers)
    assert caught.value.args == ("photo.jpg", "a truncated JPEG", "a photograph", "replace it")


def killed(image: torch.Tensor) -> torch.Tensor:
    if torch.utils.data.get_worker_info():
        os.kill(os.getpid(), signal.SIGKILL)
    return image[:, :16, :16]


def test_a_worker_that_is_killed_is_an_error_that_names_the_setting(odd_photos):
    with pytest.raises(SemplesError, match=r"run\.workers\n(.|\n)*lower `run\.workers`"):
        batches(dataset_of(read_manifest(odd_photos), killed), workers=1)


@pytest.mark.parametrize(("free", "workers"), [(None, 0), (65536, 0), (2**20, 0), (1_600_000, 1), (64e6, 2)])
def test_a_small_shared_memory_has_fewer_workers_and_a_warning(odd_photos, monkeypatch, caplog, free, workers):
    dataset = dataset_of(read_manifest(odd_photos), lambda image: image[:, :30, :30].clone())
    expected = batches(dataset)
    monkeypatch.setattr("semples.runtime.parallel.disk_usage", lambda _path: SimpleNamespace(free=int(free)))
    if free is None:
        monkeypatch.setattr("semples.runtime.parallel.SHARED_MEMORY", "/no such folder")
    loader = TrainingBatches(dataset, 3, seed=0, workers=2)
    assert loader.loader.num_workers == workers
    assert len(caplog.records) == (workers < 2)
    assert all(torch.equal(one["image"], two["image"]) for one, two in zip(loader.start(0), expected, strict=True))


def test_ids_are_those_of_the_batches(odd_photos):
    loader = TrainingBatches(dataset_of(read_manifest(odd_photos), lambda image: image), 1, seed=0, workers=0)
    order = [index for ((index, _),) in loader.sampler]
    loader.share(0, 1)
    assert [loader.ids(0, number) for number in range(len(order))] == [[f"odd {index}"] for index in order]
