"""JPEG files of training images: which torchvision decodes, where, and with which pixels."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from semples.config.load import load
from semples.data import jpeg
from semples.data.augment import label_transform
from semples.data.decoded_cache import decoder
from semples.data.images import read_image
from semples.data.manifest import Classes, Manifest, read_manifest, write_manifest
from semples.data.training_images import TrainingBatches, TrainingImages, label_targets
from semples.errors import SemplesError
from semples.training.job import LearningJob

PLAIN = {
    "baseline": ("RGB", {}),
    "progressive": ("RGB", {"progressive": True}),
    "full-colour": ("RGB", {"subsampling": 0, "quality": 95}),
    "half-colour": ("RGB", {"subsampling": 1}),
    "grey": ("L", {}),
    "upright": ("RGB", {"exif": {0x0112: 1}}),
}
OTHERS = {
    "turned": ("RGB", "JPEG", {"exif": {0x0112: 6}}),
    "print-colours": ("CMYK", "JPEG", {}),
    "png": ("RGB", "PNG", {}),
}


def draw(path: Path, mode: str = "RGB", kind: str = "JPEG", **options) -> Path:
    """Save a picture of soft colours, 41 x 58 pixels; `exif` is a dict of tags."""
    colours = cv2.resize(np.random.default_rng(3).integers(0, 255, (7, 9, 3), np.uint8), (58, 41))
    exif = Image.Exif()
    for tag, value in options.pop("exif", {}).items():
        exif[tag] = value
    Image.fromarray(colours).convert(mode).save(path, kind, exif=exif, **options)
    return path


@pytest.fixture
def photographs(tmp_path) -> Manifest:
    """Four labelled pictures: a plain JPEG, one that EXIF data turn, a PNG, and a grey JPEG."""
    kinds = [("RGB", "JPEG", {}), *(OTHERS[kind] for kind in ("turned", "png")), ("L", "JPEG", {})]
    files = [draw(tmp_path / f"{k} photo", mode, kind, **options) for k, (mode, kind, options) in enumerate(kinds)]
    rows = [(file.name, file.name, "", "train", *read_image(file).shape[1::-1], "dog") for file in files]
    table = pd.DataFrame(rows, columns=["id", "image", "mask", "split", "width", "height", "labels"])
    write_manifest(tmp_path / "manifest.csv", table, Classes(("dog",), ("dog",), ("#ff0000",)))
    return read_manifest(tmp_path / "manifest.csv")


def batch_of(images: Manifest, encoded: bool, workers: int = 0) -> dict[str, torch.Tensor]:
    """Return the only batch of an epoch, decoded in the loader, or after it (`encoded`)."""
    transform = label_transform(16, (0.1, 1), 0.5, 9, 0.5)
    read = decoder(images, 0, None, encoded)
    dataset = TrainingImages(
        list(images.table["id"]), read, label_targets(images), transform, augment_on_device=encoded
    )
    (batch,) = TrainingBatches(dataset, 4, 0, workers).start(0)
    return batch


@pytest.mark.parametrize("kind", PLAIN)
def test_torchvision_decodes_plain_files_as_pillow_does(tmp_path, kind):
    mode, options = PLAIN[kind]
    file = jpeg.read_jpeg(draw(tmp_path / "photo.jpg", mode, **options))
    (image,) = jpeg.decode([file])
    assert np.array_equal(image.permute(1, 2, 0).numpy(), read_image(file.path))


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_left_to_pillow(tmp_path, kind):
    mode, format_, options = OTHERS[kind]
    assert jpeg.read_jpeg(draw(tmp_path / "photo.jpg", mode, format_, **options)) is None


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_decoded_after_the_loader_is_that_of_the_loader(photographs, workers):
    from_loader, from_device = batch_of(photographs, False), batch_of(photographs, True, workers)
    assert from_loader.keys() == from_device.keys()
    assert torch.equal(from_loader["image"], from_device["image"])


def test_only_files_that_are_not_kept_decoded_leave_the_loader_encoded(photographs, tmp_path):
    def encoded(memory_gb: float = 0, folder: Path | None = None) -> list[bool]:
        read = decoder(photographs, memory_gb, folder, encoded=True)
        return [isinstance(read(index), jpeg.Jpeg) for index in range(4)]

    assert encoded() == [True, False, False, True]
    assert encoded(memory_gb=1) == encoded(folder=tmp_path / "decoded") == [False] * 4


@pytest.mark.parametrize("place", ["loader", "device"])
def test_the_setting_says_where_a_training_decodes(photographs, tmp_path, place):
    settings = load({"preset": "mini", "run": {"device": "cpu", "decode_on": place, "cache_gb": 0}})
    job = LearningJob(settings, "classify", 0, tmp_path / "manifest.csv", tmp_path / "out")
    image = job.batches(photographs, None).dataset.read(0)
    assert isinstance(image, jpeg.Jpeg) == (place == "device")


def test_files_that_a_device_cannot_decode_come_from_pillow_with_a_warning(photographs, monkeypatch, caplog):
    def refuse(*_files, **_options):
        raise RuntimeError("nvjpegDecode failed")

    expected = batch_of(photographs, True)
    monkeypatch.setattr(jpeg, "decode_jpeg", refuse)
    assert torch.equal(batch_of(photographs, True)["image"], expected["image"])
    assert "2 images decoded on the CPU, because torchvision could not: nvjpegDecode failed" in caplog.text


@pytest.mark.parametrize("encoded", [False, True])
def test_a_file_that_breaks_after_the_scan_is_an_error_that_names_it(photographs, encoded):
    path = Path(photographs.table["image"][0])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SemplesError, match=r"0 photo\n.*unreadable: image file is truncated"):
        batch_of(photographs, encoded)
