"""Maps, weights, masks and evaluations that are damaged, diverged or of something else: one clear error each."""

import errno
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from semples.cli import main
from semples.config.settings import Crf, Settings
from semples.data.cam_file import CamFile, CamWriter, ImageCams
from semples.data.images import read_mask
from semples.data.manifest import read_classes, read_manifest
from semples.errors import SemplesError
from semples.files import write_json
from semples.inference.crf import PRESETS, label_probability
from semples.models.generators import build_generator
from semples.stages import crf, evaluate
from semples.weights.generators import bare_generator, load_module, load_weights, save_module
from semples.weights.guide_folder import open_folder
from semples.weights.tensor_file import read_tensors

pytestmark = pytest.mark.fault("bad files tried")

MADE_FROM = {"packages": "none"}


def write_maps(path, manifest, classes=("dog", "cat"), **sizes):
    """Maps of both classes for the three pictures; `sizes` replaces the size of one, by the last letter of its id."""
    images = read_manifest(manifest)
    with CamWriter(path, classes, list(images.table["id"]), "float32", MADE_FROM) as writer:
        for row in images.table.itertuples():
            height, width = sizes.get(f"n{row.id[-1]}", (row.height, row.width))
            ramp = np.linspace(0, 1, 80).reshape(2, 5, 8)
            writer.add(row.id, ramp, np.arange(2), height, width)
    return path


@pytest.mark.parametrize("preset", [*PRESETS, "none"])
def test_at_threshold_zero_every_pixel_with_a_score_is_an_object(tmp_path, preset):
    score = np.zeros((2, 24, 30), np.float32)
    score[0, :, 20:], score[1, :12, :10] = 0.6, 1.0
    photo = np.zeros((24, 30, 3), np.uint8)
    photo[:, 20:], photo[:12, :10] = 255, (255, 0, 0)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    maps = ImageCams(score, np.arange(2), 24, 30)
    with np.errstate(all="raise"):
        probability = label_probability(maps, tmp_path / "photo.png", Crf(preset=preset), threshold=0.0)
    assert np.isfinite(probability).all()
    mask = probability.argmax(axis=0)
    assert (mask[:, 22:] == 1).all()
    assert (mask[:10, :8] == 2).all()
    assert (mask[15:, :18] == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.5])
def test_scores_that_are_none_are_neither_written_nor_read(tmp_path, odd_photos, value):
    spoiled = np.full((1, 2, 2), 0.5)
    spoiled[0, 1, 1] = value
    write_maps(tmp_path / "maps.h5", odd_photos)
    with CamWriter(tmp_path / "new.h5", ("dog",), ["a"], "float32", MADE_FROM) as writer:
        with pytest.raises(SemplesError, match="image 'a'"):
            writer.add("a", spoiled, np.arange(1), 2, 2)
        writer.add("b", np.ones((1, 2, 2)), np.arange(1), 2, 2)
        dataset = writer.file["images/b/score"]
        dataset[...] = spoiled
    with (
        CamFile(tmp_path / "new.h5") as file,
        pytest.raises(SemplesError, match=r"expected: finite scores in \[0, 1\]"),
    ):
        file.read("b")


def test_maps_of_other_pictures_are_an_error_before_any_mask(tmp_path, odd_photos, capsys):
    def run(command, *flags):
        assert main([command, "--config", "{}", "--manifest", str(odd_photos), *map(str, flags)]) == 1
        return capsys.readouterr().err

    other = write_maps(tmp_path / "size.h5", odd_photos, n1=(9, 9))
    for flags in (("crf", "--cams", other), ("evaluate", "--cams", other, "--split", "val")):
        assert "maps of 9x9 pixels, of an image of 64x33" in run(*flags, "--out", tmp_path / "out")
    unknown = tmp_path / "ids.h5"
    with CamWriter(unknown, ("dog", "cat"), ["odd 0", "another"], "float32", MADE_FROM) as writer:
        for image in ("odd 0", "another"):
            writer.add(image, np.ones((1, 2, 2)), np.arange(1), 40, 50)
    assert "1 images such as 'another'" in run("crf", "--cams", unknown, "--out", tmp_path / "out")
    wrong = tmp_path / "class.h5"
    with CamWriter(wrong, ("dog", "cat"), ["odd 0"], "float32", MADE_FROM) as writer:
        writer.add("odd 0", np.ones((2, 2, 2)), np.array([0, 2]), 40, 50)
    assert "2 maps of the classes [0 2], of 2 classes" in run("crf", "--cams", wrong, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["list.json", "torn.json", "binary.json", "deep.json", "masks.json", "folder"])
def test_what_is_no_evaluation_is_one_clear_error(tmp_path, odd_photos, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "torn.json").write_text('{"policies": {')
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    masks = {"kind": "crf", "split": "val", "images": 3, "packages": "none", "miou": 0.5, "classes": {}}
    (tmp_path / "masks.json").write_text(json.dumps(masks))
    with pytest.raises(SemplesError, match=name):
        crf._threshold(Settings(), tmp_path / "maps.h5", tmp_path / name)


def test_masks_of_void_alone_are_an_error_and_no_nan(tmp_path, odd_photos, recwarn):
    maps = write_maps(tmp_path / "maps.h5", odd_photos)
    for row in read_manifest(odd_photos).table.itertuples():
        Image.fromarray(np.full((row.height, row.width), 255, np.uint8)).save(row.mask)
        Image.new("L", (row.width, row.height)).save(tmp_path / f"{row.id}.png")
    (tmp_path / "provenance.json").write_text(json.dumps(MADE_FROM))
    with pytest.raises(SemplesError, match="only void pixels in the masks of split 'val'"):
        evaluate.run_cams(Settings(), odd_photos, "val", maps, tmp_path / "out.json")
    with pytest.raises(SemplesError, match="only void pixels in the masks of split 'val'"):
        evaluate.run_masks(odd_photos, "val", tmp_path, "crf", tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]


def test_one_picture_with_ground_truth_gives_numbers_without_nan(tmp_path, odd_photos):
    maps = write_maps(tmp_path / "maps.h5", odd_photos)
    rows = list(read_manifest(odd_photos).table.itertuples())
    for row in rows[1:]:
        Image.fromarray(np.full((row.height, row.width), 255, np.uint8)).save(row.mask)
    assert read_mask(rows[0].mask).max() == 1  # the class cat has no pixel at all
    evaluate.run_cams(Settings(), odd_photos, "val", maps, tmp_path / "out.json")
    text = (tmp_path / "out.json").read_text()
    assert "NaN" not in text
    assert "held-out" not in json.loads(text)["policies"]  # one of its two parts has no pixel


def test_masks_without_provenance_name_their_command(tmp_path, odd_photos):
    (tmp_path / "provenance.json").write_text("{}")
    with pytest.raises(SemplesError, match=r"provenance.json\n  found:    JSON without packages"):
        evaluate.run_masks(odd_photos, "val", tmp_path, "crf", tmp_path / "out.json")


@pytest.fixture
def model(tmp_path):
    """A small generator and its file."""
    torch.manual_seed(0)
    generator = build_generator("conv_cam", 2, "")
    save_module(generator, tmp_path / "model.safetensors", {})
    return generator, tmp_path / "model.safetensors"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_neither_written_nor_read(model, tmp_path, value):
    generator, path = model
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(-1)[-1] = value
    save_file(tensors, path)
    torch.save({"model": tensors}, tmp_path / "checkpoint.pth")
    with pytest.raises(SemplesError, match=f"{name}: a value that is not finite"):
        load_module(generator, path, "csr")
    for foreign in (path, tmp_path / "checkpoint.pth"):
        with pytest.raises(SemplesError, match=f"{name}: a value that is not finite"):
            load_weights(generator, foreign)
    generator.load_state_dict(tensors)
    with pytest.raises(SemplesError, match=f"new.safetensors\n  found:    {name}: a value that is not finite"):
        save_module(generator, tmp_path / "new.safetensors", {})
    assert not (tmp_path / "new.safetensors").exists()


class Code:
    """What a hostile checkpoint holds: reading it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_weights_that_are_torn_or_hold_code_are_one_clear_error(model, tmp_path):
    generator, path = model
    whole = path.read_bytes()
    for length in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(SemplesError, match="what `semples csr` wrote"):
            load_module(generator, path, "csr")
        with pytest.raises(SemplesError, match=r"model.safetensors\n  found:    no weights"):
            load_weights(generator, path)
    torch.save({"model": Code(tmp_path / "made")}, tmp_path / "code.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"model": {"epoch": 3}}, tmp_path / "numbers.pth")
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "empty.pth").touch()
    for name in ("code", "list", "numbers", "folder", "empty"):
        with pytest.raises(SemplesError, match=f"{name}.pth\n  found:    no weights"):
            load_weights(generator, tmp_path / f"{name}.pth")
    assert not (tmp_path / "made").exists()
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(SemplesError, match=r"found:    tensors \['a'\]"):
        read_tensors(path, "guide", "texts")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Mine(", r"SyntaxError: .*line 1"),
        ("import numbers\n1 / 0", r"ZeroDivisionError: division by zero \(mine.py, line 2\)"),
        ("raise SystemError('bad')", "SystemError: bad"),
        ("Mine = 3", "Mine: 3"),
        ("from semples.models.generators import MaskGenerator as Mine", "TypeError"),
    ],
)
def test_a_broken_generator_of_the_users_own_names_file_and_line(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    settings = Settings(generator={"name": f"{tmp_path}/mine.py:Mine", "options": {"width": 3}}).generator
    with pytest.raises(SemplesError, match=f"mine.py\n  found:    {message}"):
        bare_generator(settings, 2)


def segmentation(manifest, masks, out, **segment) -> list[str]:
    """A complete command line of a segmentation of one short epoch."""
    network = {"encoder": "tu-resnet10t", "weights": "none", "decoder_channels": 16, "crop": 32, **segment}
    learning = {"epochs": 1, "batch": 2, "test_scales": [1]}
    settings = {"run": {"device": "cpu", "threads": 1}, "segment": network | learning, "figures": {"images": 1}}
    flags = ("--manifest", manifest, "--masks", masks, "--out", out)
    return ["segment", "--config", json.dumps(settings), *map(str, flags)]


@pytest.mark.parametrize(
    ("value", "message"),
    [(7, "class index 7\n  expected: 0 to 2, or 255 for void"), (255, "masks of background and void alone")],
)
def test_pseudo_masks_are_read_before_the_training(tmp_path, odd_photos, capsys, value, message):
    masks = tmp_path / "masks"
    masks.mkdir()
    write_json(masks / "provenance.json", MADE_FROM)
    for row in read_manifest(odd_photos).table.itertuples():
        pixels = np.zeros((row.height, row.width), np.uint8)
        pixels[3:9, 3:9] = value if row.id == "odd 1" or value == 255 else 1
        Image.fromarray(pixels).save(masks / f"{row.id}.png")
    assert main(segmentation(odd_photos, masks, tmp_path / "out")) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out/model.safetensors").exists()


def test_a_curve_over_void_alone_has_no_nan(tmp_path, odd_photos, capsys):
    masks = tmp_path / "masks"
    masks.mkdir()
    write_json(masks / "provenance.json", MADE_FROM)
    for row in read_manifest(odd_photos).table.itertuples():
        Image.open(row.mask).save(masks / f"{row.id}.png")
        Image.fromarray(np.full((row.height, row.width), 255, np.uint8)).save(row.mask)
    assert main(segmentation(odd_photos, masks, tmp_path / "out")) == 0
    (line,) = (tmp_path / "out/metrics.jsonl").read_text().splitlines()
    assert "val_miou" not in json.loads(line)
    assert "NaN" not in line
    assert "3 masks: background 8" in capsys.readouterr().out

    classes = odd_photos.with_name("classes.csv")
    classes.write_text(classes.read_text().replace("dog,dog", "DOG,dog"))
    odd_photos.write_text(odd_photos.read_text().replace(",dog", ",DOG"))
    checkpoint = ("--checkpoint", tmp_path / "out/model.safetensors", "--manifest", odd_photos)
    for command in (("segment_masks", "--config", "{}"), ("submission", "--split", "val")):
        assert main([*command, *map(str, checkpoint), "--out", str(tmp_path / "no")]) == 1
        assert "found:    classes dog, cat\n  expected: the manifest's DOG, cat" in capsys.readouterr().err


def test_a_guide_of_other_classes_is_one_clear_error(tmp_path, odd_photos):
    classes = odd_photos.with_name("classes.csv")
    assert main(["guide", "--config", "{}", "--classes", str(classes), "--out", str(tmp_path / "guide")]) == 0
    lines = classes.read_text().splitlines()
    assert len(open_folder(tmp_path / "guide", Settings(), read_classes(classes))[1]["texts"]) == 2
    for changed in ([lines[0], *lines[:0:-1]], lines[:2]):  # another order, and fewer
        classes.write_text("\n".join(changed))
        with pytest.raises(SemplesError, match="texts of 2 classes"):
            open_folder(tmp_path / "guide", Settings(), read_classes(classes))
    (tmp_path / "guide/texts.safetensors").write_bytes(b"torn")
    with pytest.raises(SemplesError, match=r"texts.safetensors\n  found:    unreadable"):
        open_folder(tmp_path / "guide", Settings(), read_classes(classes))


def test_shards_that_do_not_belong_together_are_one_clear_error(tmp_path, odd_photos, capsys):
    def write_shard(path, *images, **made_from):
        path.parent.mkdir(exist_ok=True)
        with CamWriter(path, ("dog", "cat"), images, "float32", MADE_FROM | made_from) as writer:
            for image in images:
                writer.add(image, np.ones((1, 2, 2)), np.arange(1), 4, 4)
        return path

    first = write_shard(tmp_path / "run/1.h5", "a", "b")
    for second, message in (
        (write_shard(tmp_path / "run/2.h5", "b", "c"), "with images of another shard"),
        (write_shard(tmp_path / "run/3.h5", "c", weights="other"), "a shard of another run"),
        (write_shard(tmp_path / "elsewhere/4.h5", "c"), "a shard elsewhere"),
        (tmp_path / "run/5.h5", "no such file"),
    ):
        assert main(["join", "--shards", str(first), str(second), "--out", str(tmp_path / "run/index.h5")]) == 1
        assert message in (text := capsys.readouterr().err), text
        assert not (tmp_path / "run/index.h5").exists()


@pytest.mark.fault("disks full")
@pytest.mark.parametrize("command", ["crf", "segment_masks", "submission"])
def test_a_full_disk_names_the_output_and_leaves_no_half_file(
    command, drawn, trained, segment_settings, tmp_path, monkeypatch, capsys
):
    manifest, out = drawn / "data/manifest.csv", tmp_path / "out"
    images = read_manifest(manifest).split("train")
    with CamWriter(tmp_path / "maps.h5", images.classes.names, list(images.table["id"]), "uint8", MADE_FROM) as writer:
        for row in images.table.itertuples():
            writer.add(row.id, np.ones((1, 4, 4)), np.arange(1), row.height, row.width)

    def full(path, *_arguments):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for module in ("stages.crf", "inference.segmentation"):
        monkeypatch.setattr(f"semples.{module}.write_mask", full)
    checkpoint = ("--checkpoint", trained / "model.safetensors", "--manifest", manifest, "--out", out)
    flags = {
        "crf": ("--config", segment_settings(), "--manifest", manifest, "--cams", tmp_path / "maps.h5", "--out", out),
        "segment_masks": ("--config", segment_settings(), *checkpoint),
        "submission": ("--split", "val", *checkpoint),
    }
    assert main([command, *map(str, flags[command])]) == 1
    assert f"error: {out}\n  found:    No space left on device\n  expected: free space" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps.h5"]
