"""What the stage `data` finds before any training: in files, in masks, and in the set as a whole."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from semples.cli import main
from semples.config.settings import Data, Run, Settings
from semples.data.images import image_size, read_image, read_mask, voc_palette
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.stages import data

pytestmark = pytest.mark.fault("bad files tried")

LABELS = {"a": "cat", "b": "dog", "c": "cat", "d": "dog"}
OBJECT = np.zeros((8, 12), np.uint8)
OBJECT[2:6, 3:9] = 1


@pytest.fixture
def zoo(tmp_path) -> Callable[[Callable[[int], Image.Image], str], Path]:
    """Write photographs of cats (class 1) and dogs (class 2) with the masks that a function of the class draws."""

    def call(mask: Callable[[int], Image.Image], suffix: str = "png") -> Path:
        root = tmp_path / "zoo"
        root.mkdir()
        lines = ["image,labels,mask,split"]
        for name, label in LABELS.items():
            Image.effect_noise((12, 8), 60).convert("RGB").save(root / f"{name}.png")
            mask(1 if label == "cat" else 2).save(root / f"{name}-mask.{suffix}")
            lines.append(f"{name}.png,{label},{name}-mask.{suffix},{'train' if name in 'ab' else 'val'}")
        (root / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
        return root

    return call


def settings(root: Path, **keys) -> Settings:
    return Settings(data=Data(source="photos", root=str(root), **keys), run=Run(threads=2))


def made(root: Path, out: Path, **keys) -> Manifest:
    data.run(settings(root, **keys), out)
    return read_manifest(out / "manifest.csv")


def grey(values: np.ndarray, mode: str = "L") -> Image.Image:
    return Image.fromarray(values.astype(np.uint8)).convert(mode)


def palette(values: np.ndarray, colours: list[int]) -> Image.Image:
    image = Image.fromarray(values.astype(np.uint8)).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(colours)
    return image


VOC = voc_palette()
WRONG = {
    "RGB": lambda k: grey(OBJECT * 60 * k, "RGB"),
    "RGBA": lambda k: grey(OBJECT * k, "RGBA"),
    "LA": lambda k: grey(OBJECT * k, "LA"),
    "1": lambda k: grey(OBJECT * 255, "1"),
    "I;16": lambda k: Image.fromarray((OBJECT * k).astype(np.uint16)),
    "above the classes": lambda k: grey(OBJECT * 9),
    "another size": lambda k: grey((OBJECT * k)[1:]),
    "0 and 255": lambda k: grey(OBJECT * 255),
    "void alone": lambda k: grey(OBJECT * 0 + 255),
    "classes exchanged": lambda k: grey(OBJECT * (3 - k)),
    "one index for all classes": lambda k: grey(OBJECT),
    "from one": lambda k: grey(OBJECT * k + 1),
    "background not first": lambda k: palette((OBJECT == 0) * 1, [*VOC[k], 0, 0, 0]),
    "adaptive palette": lambda k: palette(OBJECT, [0, 0, 0, *VOC[k]]),
}


@pytest.mark.parametrize("draw", WRONG.values(), ids=WRONG)
def test_wrong_masks_are_found_by_data_and_listed_by_check(zoo, tmp_path, draw):
    root = zoo(draw)
    with pytest.raises(SemplesError) as error:
        made(root, tmp_path / "out")
    assert re.search(r"[abcd]-mask\.png", str(error.value))
    assert not (tmp_path / "out").exists()
    config = json.dumps(settings(root).model_dump() | {"generator": {"name": "conv_cam", "image_size": 64}})
    assert main(["data", "check", "--config", config, "--out", str(tmp_path / "check")]) == 0
    problems = pd.read_csv(tmp_path / "check/problems.csv")
    assert error.value.args[1] in " ".join(problems["what"])


def test_a_jpeg_is_no_mask(zoo, tmp_path):
    with pytest.raises(SemplesError, match="lossy JPEG"):
        made(zoo(lambda k: grey(OBJECT * k), "jpg"), tmp_path / "out")


@pytest.mark.parametrize(
    ("masks", "draw"),
    [
        ("indices", lambda k: grey(OBJECT * k)),
        ("indices", lambda k: palette(OBJECT * k, VOC.ravel().tolist())),
        ("object", lambda k: grey(OBJECT * 255)),
        ("object", lambda k: grey(OBJECT)),
        ("object", lambda k: grey(OBJECT * 255, "1")),
        ("object", lambda k: grey(OBJECT * 255, "RGBA")),
        ("colours", lambda k: palette(OBJECT, [0, 0, 0, *VOC[k]])),
        ("colours", lambda k: Image.fromarray(VOC[OBJECT * k])),
        ("from_one", lambda k: grey(OBJECT * k + 1)),
    ],
)
def test_the_setting_says_what_the_values_mean(zoo, tmp_path, masks, draw, capsys):
    images = made(zoo(draw), tmp_path / "out", masks=masks)
    for row in images.table.itertuples():
        assert np.array_equal(read_mask(row.mask), OBJECT * (1 if row.labels == "cat" else 2))
    printed = capsys.readouterr().out
    assert "1 cat (1), 2 dog (1)" in printed
    assert "4 masks with 0 background, 1 cat, 2 dog" in printed


def test_void_and_background_of_other_values(zoo, tmp_path):
    border = OBJECT + 1
    border[0], border[1] = 0, 255
    images = made(zoo(lambda k: grey(np.where(border == 2, k + 1, border))), tmp_path / "out", masks="from_one")
    mask = read_mask(images.table["mask"][0])
    assert (mask[:2] == 255).all()
    assert np.array_equal(mask[2:], OBJECT[2:])


def test_colours_that_no_class_has(zoo, tmp_path):
    with pytest.raises(SemplesError, match=r"mask\.png\n  found:    the colour #0a141e"):
        made(zoo(lambda k: palette(OBJECT, [0, 0, 0, 10, 20, 30])), tmp_path / "out", masks="colours")


def test_two_classes_of_one_colour_cannot_be_told_apart(zoo, tmp_path):
    root = zoo(lambda k: Image.fromarray(VOC[OBJECT * k]))
    for colour in ("#000000", "#008000", "#e0e0c0"):
        (root / "classes.csv").write_text(f"name,colour\ncat,{colour}\ndog,#008000\n")
        with pytest.raises(SemplesError, match="of one colour"):
            made(root, tmp_path / "out", masks="colours")


def test_an_object_of_two_labels_is_no_one_thing(zoo, tmp_path):
    root = zoo(lambda k: grey(OBJECT * 255))
    (root / "labels.csv").write_text((root / "labels.csv").read_text().replace("a.png,cat", "a.png,cat;dog"))
    with pytest.raises(SemplesError, match=r"a-mask\.png\n  found:    2 labels"):
        made(root, tmp_path / "out", masks="object")


def test_the_check_can_be_switched_off(zoo, tmp_path):
    root = zoo(WRONG["classes exchanged"])
    made(root, tmp_path / "out", decode_check=False)
    Image.effect_noise((120, 80), 60).convert("RGB").save(root / "d.jpg")
    (root / "d.jpg").write_bytes((root / "d.jpg").read_bytes()[:3000])
    grey(OBJECT.repeat(10, 0).repeat(10, 1)).save(root / "d-mask.png")
    (root / "labels.csv").write_text((root / "labels.csv").read_text().replace("d.png", "d.jpg"))
    made(root, tmp_path / "again", decode_check=False)
    with pytest.raises(SemplesError, match=r"d\.jpg\n  found:    unreadable"):
        made(root, tmp_path / "checked")


def test_a_few_masks_of_other_classes_are_no_error(zoo, tmp_path):
    root = zoo(lambda k: grey(OBJECT * k))
    for name in "efghi":
        Image.effect_noise((12, 8), 60).convert("RGB").save(root / f"{name}.png")
        grey(OBJECT).save(root / f"{name}-mask.png")
    with open(root / "labels.csv", "a", encoding="utf-8") as file:
        file.writelines(f"\n{name}.png,{'dog' if name in 'ef' else 'cat'},{name}-mask.png,val" for name in "efghi")
    assert len(made(root, tmp_path / "out")) == 9


def deep(path: Path, peak: float, dtype: type, channels: int = 1) -> Path:
    import cv2

    values = np.linspace(0, peak, 48).reshape(6, 8).astype(dtype)
    cv2.imwrite(str(path), values if channels == 1 else np.repeat(values[..., None], channels, axis=2))
    return path


@pytest.mark.parametrize("peak", [1023, 4095, 16383])
@pytest.mark.parametrize(("name", "channels"), [("x.png", 1), ("x.tif", 1), ("x.png", 3), ("x.tif", 3)])
def test_bits_below_sixteen_need_the_value_of_white(tmp_path, name, channels, peak):
    path = deep(tmp_path / name, peak, np.uint16, channels)
    with pytest.raises(SemplesError, match=r"white is not known(.|\n)*data\.white"):
        read_image(path)
    image = read_image(path, white=peak)
    assert (image.min(), image.max()) == (0, 255)
    assert np.abs(image[..., 0].ravel() - np.linspace(0, 255, 48)).max() < 1.3


def test_sixteen_bits_are_read_as_ever(tmp_path):
    for name, channels in {"x.png": 1, "y.png": 3, "z.tif": 1}.items():
        image = read_image(deep(tmp_path / name, 65535, np.uint16, channels))
        assert image.max() == 255
        assert image.shape == (6, 8, 3)
    Image.new("I;16", (3, 2)).save(tmp_path / "black.png")
    assert read_image(tmp_path / "black.png").max() == 0


NUMBERS = [("F", 1.0, 1.0), ("F", 255.0, 255), ("I", 255, 255), ("I", 10**6, 10**6)]


@pytest.mark.parametrize(("mode", "peak", "white"), NUMBERS)
def test_numbers_of_unknown_range(tmp_path, mode, peak, white):
    Image.new(mode, (8, 6), peak).save(tmp_path / "x.tif")
    with pytest.raises(SemplesError, match="white is not known"):
        read_image(tmp_path / "x.tif")
    assert (read_image(tmp_path / "x.tif", white) == 255).all()


def test_copies_of_deep_pictures_have_the_range_of_the_setting(tmp_path):
    (tmp_path / "photos/cat").mkdir(parents=True)
    for name in ("a.png", "b.tif"):
        deep(tmp_path / "photos/cat" / name, 4095, np.uint16)
    Image.new("RGB", (8, 6), "white").save(tmp_path / "photos/cat/c.jpg")
    images = made(tmp_path / "photos", tmp_path / "out", white=4095)
    assert [read_image(path).max() for path in images.table["image"]] == [255, 255, 255]
    assert Path(images.table["image"][2]).name == "c.jpg"
    with pytest.raises(SemplesError, match=r"a\.png"):
        made(tmp_path / "photos", tmp_path / "again")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["tif", "jpg", "png", "webp"])
def test_orientation_is_applied_once(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (30, 20)).save(tmp_path / f"x.{suffix}", exif=exif)
    width, height = image_size(tmp_path / f"x.{suffix}")
    assert (width, height) == ((20, 30) if orientation >= 5 else (30, 20))
    assert read_image(tmp_path / f"x.{suffix}").shape == (height, width, 3)


def test_a_bomb_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (30, 20)).save(tmp_path / "x.png")
    for read in (read_image, image_size, read_mask):
        with pytest.raises(SemplesError, match="decompression bomb"):
            read(tmp_path / "x.png")


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "1", "L", "RGBA", "LA", "P", "LAB"])
def test_what_decoding_accepts_is_read_later(tmp_path, mode):
    (tmp_path / "photos/cat").mkdir(parents=True)
    for number in range(2):
        Image.new(mode, (8, 6)).save(tmp_path / f"photos/cat/{number}.tif")
    images = made(tmp_path / "photos", tmp_path / "out")
    assert [read_image(path).shape for path in images.table["image"]] == [(6, 8, 3)] * 2


def test_half_files_are_found_wherever_they_lie(tmp_path):
    (tmp_path / "photos/cat").mkdir(parents=True)
    for number in range(6):
        Image.effect_noise((90, 60), 60).convert("RGB").save(tmp_path / f"photos/cat/{number}.jpg")
    for number in range(6):
        path = tmp_path / f"photos/cat/{number}.jpg"
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3])
        with pytest.raises(SemplesError, match=rf"{number}\.jpg\n  found:    unreadable"):
            made(tmp_path / "photos", tmp_path / "out")
        path.write_bytes(whole)
