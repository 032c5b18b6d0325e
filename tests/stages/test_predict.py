"""A trained network in use: predict, submission, export."""

import errno
import json
import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from semples.cli import main
from semples.data.images import read_image, read_mask, voc_palette
from semples.data.importers import voc
from semples.data.manifest import read_manifest, write_manifest
from semples.errors import SemplesError
from semples.inference import segmentation
from semples.inference.segmentation import load_segmenter
from semples.tools import predict
from semples.tools.predict import overlay


def run(command: str, *words: object) -> int:
    return main([command, *map(str, words)])


def test_photographs_become_masks_overlays_and_areas(trained, tmp_path):
    (tmp_path / "in/deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in {"one.png": (90, 70), "deep/two.jpg": (33, 200), "deep/two.png": (5, 7)}.items():
        Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), np.uint8)).save(tmp_path / "in" / name)
    flags = ("--checkpoint", trained / "model.safetensors", "--out", tmp_path / "out", "--max-side", 64)
    assert run("predict", tmp_path / "in", *flags) == 0
    areas = pd.read_csv(tmp_path / "out/areas.csv")
    assert set(areas["image"]) == {"one", "deep/two.jpg", "deep/two.png"}
    assert areas.groupby("image")["pixels"].sum().to_dict() == {"one": 6300, "deep/two.jpg": 6600, "deep/two.png": 35}
    assert areas.groupby("image")["share"].sum().tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    classes = ("background", *load_segmenter(trained / "model.safetensors").classes.names)
    for row in areas.itertuples():
        mask = read_mask(tmp_path / "out/masks" / f"{row.image}.png")
        assert (mask == classes.index(row[2])).sum() == row.pixels
        with Image.open(tmp_path / "out/overlays" / f"{row.image}.png") as picture:
            assert picture.size == mask.shape[::-1]


def test_predict_gives_what_segment_predicted(drawn, trained, tmp_path):
    row = read_manifest(drawn / "data/manifest.csv").split("val").table.iloc[0]
    flags = ("--checkpoint", trained / "model.safetensors", "--out", tmp_path / "out")
    assert run("predict", row["image"], *flags, "--run", '{"device": "cpu"}') == 0
    found = [read_mask(p) for p in (next((tmp_path / "out/masks").iterdir()), trained / f"predictions/{row['id']}.png")]
    assert (found[0] == found[1]).mean() > 0.99  # the stage ran in float32, predict in what the processor has


def test_the_python_face_gives_the_masks_of_the_command(drawn, trained, tmp_path):
    from semples import CamFile, Predictor, read_manifest  # noqa: F401

    row = read_manifest(drawn / "data/manifest.csv").split("val").table.iloc[0]
    flags = ("--checkpoint", trained / "model.safetensors", "--out", tmp_path / "out", "--max-side", 48)
    assert run("predict", row["image"], *flags, "--run", '{"device": "cpu"}') == 0
    predictor = Predictor(str(trained / "model.safetensors"), device="cpu", max_side=48)
    image = read_image(row["image"])
    mask = predictor.predict(image)
    assert (mask.dtype, mask.shape) == (np.uint8, image.shape[:2])
    assert np.array_equal(mask, read_mask(next((tmp_path / "out/masks").iterdir())))
    assert predictor.classes[:2] == ("background", "boat")
    assert predictor.palette.shape == (256, 3)
    for wrong in (image.astype(np.float32), image[..., 0], np.dstack([image, image[..., :1]])):
        with pytest.raises(SemplesError, match=r"expected: RGB uint8 \(height, width, 3\)"):
            predictor.predict(wrong)


def test_importing_the_package_imports_nothing_heavy():
    program = "import sys, semples; sys.exit(bool({'torch', 'numpy', 'pandas', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    with pytest.raises(ImportError, match="Nothing"):
        from semples import Nothing  # noqa: F401


def test_an_overlay_leaves_the_background_and_draws_a_line():
    photo, mask = np.full((20, 20, 3), 100, np.uint8), np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 1
    drawn = overlay(photo, mask, voc_palette())
    assert drawn[0, 0].tolist() == [100, 100, 100]
    assert drawn[10, 10].tolist() == [114, 50, 50]
    assert drawn[5, 10].tolist() == [255, 255, 255]


def test_what_is_no_checkpoint_or_no_photograph_is_one_clear_error(trained, tmp_path, capsys):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    Image.new("RGB", (9, 9)).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    good = trained / "model.safetensors"
    for checkpoint, photo, message in (
        (tmp_path / "other.safetensors", "good.png", "train it with `semples segment`"),
        (tmp_path / "torn.safetensors", "good.png", "a model.safetensors that `semples segment` wrote"),
        (good, "broken.png", "1 of 1 photographs"),
        (good, "empty", "no photograph"),
        (good, "missing", "no such file or folder"),
    ):
        assert run("predict", "--checkpoint", checkpoint, tmp_path / photo, "--out", tmp_path / "out") == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def pictures(folder: Path, *names: str) -> Path:
    """Small photographs of different colours in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + number, 16), (40 * number, 99, 7)).save(folder / name)
    return folder


def counted(monkeypatch) -> list[tuple[int, int]]:
    """The list of sizes of the photographs that the network sees from here on."""
    seen = []
    whole = segmentation.predict_masks

    def predict_masks(network, photos, settings, device):
        seen.extend(photo.shape[1::-1] for photo in photos)
        return whole(network, photos, settings, device)

    monkeypatch.setattr("semples.inference.segmentation.predict_masks", predict_masks)
    return seen


def made(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))


def test_a_broken_photograph_costs_its_own_mask_and_the_next_start_goes_on(trained, tmp_path, capsys, monkeypatch):
    photos, out = pictures(tmp_path / "in", "a.png", "b.png", "c.png", "d.png"), tmp_path / "out"
    (photos / "phone.HEIC").write_bytes(b"what Pillow does not read")
    whole = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(whole[: len(whole) // 2])
    (photos / "c.png").unlink()
    (photos / "c.png").symlink_to(tmp_path / "nowhere.png")
    flags = (photos, "--checkpoint", trained / "model.safetensors", "--out", out)
    assert run("predict", *flags) == 1
    text = capsys.readouterr().err
    assert "3 of 5 photographs" in text
    assert f"{photos / 'phone.HEIC'}: unreadable" in text
    assert f"{photos / 'b.png'}: unreadable" in text
    assert f"{photos / 'c.png'}: No such file" in text
    assert made(out) == ["masks/a.png", "masks/d.png", "overlays/a.png", "overlays/d.png"]
    assert set(pd.read_csv(out / "areas.csv")["image"]) == {"a", "d"}
    first = (out / "masks/a.png").read_bytes()
    (photos / "b.png").write_bytes(whole)
    (photos / "c.png").unlink()
    (photos / "phone.HEIC").unlink()
    seen = counted(monkeypatch)
    assert run("predict", *flags) == 0
    assert seen == [(21, 16)]
    assert set(pd.read_csv(out / "areas.csv")["image"]) == {"a", "b", "d"}
    assert "3 photographs, 2 of them done before" in capsys.readouterr().out
    assert (out / "masks/a.png").read_bytes() == first


def test_masks_of_another_photograph_or_other_settings_are_made_anew(trained, tmp_path, monkeypatch, capsys):
    photos, out = pictures(tmp_path / "in", "a.png", "b.png"), tmp_path / "out"
    flags = (photos, "--checkpoint", trained / "model.safetensors", "--out", out)
    assert run("predict", *flags) == 0
    seen = counted(monkeypatch)
    Image.new("RGB", (33, 44)).save(photos / "a.png")
    assert run("predict", *flags) == 0
    assert seen == [(33, 44)]
    assert read_mask(out / "masks/a.png").shape == (44, 33)
    assert run("predict", *flags, "--scales", 2) == 0
    assert len(seen) == 3
    (photos / "b.png").rename(photos / "z.png")
    assert run("predict", *flags, "--scales", 2) == 0
    assert len(seen) == 4
    assert "1 masks of other photographs stay" in capsys.readouterr().out


def test_a_kill_leaves_whole_masks_from_which_the_next_start_goes_on(trained, tmp_path, monkeypatch):
    photos, out = pictures(tmp_path / "in", "a.png", "b.png", "c.png"), tmp_path / "out"
    flags = (photos, "--checkpoint", trained / "model.safetensors", "--out", out)
    write, calls = predict.write_mask, []

    def killed(path, *arguments):
        write(path, *arguments)
        calls.append(path)
        if len(calls) == 2:
            path.with_name(f"{path.name}1").write_bytes(b"left by a process that is gone")
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(predict, "write_mask", killed)
        assert run("predict", *flags) == 130
    assert made(out)[0] == "masks/a.png"
    seen = counted(monkeypatch)
    assert run("predict", *flags) == 0
    assert seen == [(21, 16), (22, 16)]
    assert [name for name in made(out) if "masks" in name] == ["masks/a.png", "masks/b.png", "masks/c.png"]


def test_its_own_masks_are_no_photographs(trained, tmp_path, capsys, monkeypatch):
    photos = pictures(tmp_path / "in", "a.png", "deep/b.jpg")
    (photos / "notes.txt").write_text("mine")
    (photos / "film.mov").write_text("no picture")
    for folder in (".ipynb_checkpoints", "@eaDir", "__MACOSX"):
        pictures(photos / folder, "a-checkpoint.png")
    flags = (photos, "--checkpoint", trained / "model.safetensors")
    assert run("predict", *flags, "--out", photos / "out") == 0
    seen = counted(monkeypatch)
    assert run("predict", *flags, "--out", photos / "out") == 0
    assert seen == []
    assert "left out: 4 written by semples" in (text := capsys.readouterr().out)
    assert "3 hidden files and folders" in text
    assert "1 .txt" in text
    assert "1 .mov" in text
    assert run("predict", *flags, "--out", tmp_path / "another") == 0
    assert made(tmp_path / "another") == ["masks/a.png", "masks/deep/b.png", "overlays/a.png", "overlays/deep/b.png"]


def test_what_a_person_put_into_the_output_is_never_replaced(trained, tmp_path, capsys):
    photos, out = pictures(tmp_path / "in", "a.png"), tmp_path / "out"
    flags = (photos, "--checkpoint", trained / "model.safetensors", "--out", out)
    assert run("predict", *flags) == 0
    Image.new("L", (20, 16), 3).save(out / "masks/a.png")
    assert run("predict", *flags) == 1
    assert "which semples did not write, or which was changed since" in capsys.readouterr().err
    assert read_mask(out / "masks/a.png").max() == 3


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_ends_the_command_at_once_and_leaves_no_half_file(trained, tmp_path, monkeypatch, capsys, fault):
    photos, out = pictures(tmp_path / "in", "a.png", "b.png", "c.png"), tmp_path / "out"
    write, calls = predict.write_mask, []

    def full(path, *arguments):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise OSError(fault, os.strerror(fault))
        write(path, *arguments)

    monkeypatch.setattr(predict, "write_mask", full)
    assert run("predict", photos, "--checkpoint", trained / "model.safetensors", "--out", out) == 1
    text = capsys.readouterr().err
    assert f"{out / 'masks/b.png'}\n  found:    {os.strerror(fault)}" in text
    assert len(calls) == 2
    assert [path.name for path in (out / "masks").iterdir()] == ["a.png"]


@pytest.mark.parametrize("spoil", ["settings", "classes", "null", "weights", "folder", "pickle"])
def test_a_checkpoint_that_is_spoiled_is_one_clear_error(trained, tmp_path, capsys, spoil):
    good, path = trained / "model.safetensors", tmp_path / "bad.safetensors"
    with safe_open(good, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(good)
    if spoil == "folder":
        path.mkdir()
    elif spoil == "pickle":
        torch.save({"model": tensors}, path)
    else:
        metadata |= {"settings": {"settings": "{", "null": "null"}.get(spoil, metadata["settings"])}
        metadata |= {"classes": "[[1, 2], 3]"} if spoil == "classes" else {}
        first = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
        tensors[first] = tensors[first] * (float("nan") if spoil == "weights" else 1)
        save_file(tensors, path, metadata=metadata)
    photo = pictures(tmp_path / "in", "a.png") / "a.png"
    assert run("predict", photo, "--checkpoint", path, "--out", tmp_path / "out") == 1
    assert "error: " + str(path) in (text := capsys.readouterr().err)
    assert "Traceback" not in text
    assert not (tmp_path / "out").exists()


def test_the_submission_has_the_layout_of_the_test_server(drawn, trained, tmp_path):
    manifest = read_manifest(drawn / "data/manifest.csv")
    table = manifest.split("val").table.assign(split="test", mask="", labels="")
    write_manifest(tmp_path / "manifest.csv", table, manifest.classes)
    flags = ("--checkpoint", trained / "model.safetensors", "--manifest", tmp_path / "manifest.csv")
    for name in ("first.tar", "second.tar"):
        assert run("submission", *flags, "--out", tmp_path / name) == 0
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()
    with tarfile.open(tmp_path / "first.tar") as tar:
        expected = [f"results/VOC2012/Segmentation/comp6_test_cls/{name}.png" for name in sorted(table["id"])]
        assert tar.getnames() == expected
        with Image.open(BytesIO(tar.extractfile(expected[0]).read())) as mask:
            assert mask.mode == "P"
            assert mask.size == (64, 64)
            assert mask.getpalette()[:3] == [0, 0, 0]


def test_the_test_split_of_voc_needs_no_annotation(tmp_path):
    for folder in ("JPEGImages", "Annotations", "ImageSets/Segmentation"):
        (tmp_path / "VOC2012" / folder).mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(tmp_path / "VOC2012/JPEGImages/7.jpg")
    (tmp_path / "VOC2012/ImageSets/Segmentation/test.txt").write_text("7\n")
    row = voc.table(tmp_path).iloc[0]
    assert (row["split"], row["labels"], row["mask"]) == ("test", "", "")


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_an_exported_network_gives_the_same_scores(trained, tmp_path, kind, capsys):
    if kind == "onnx":
        pytest.importorskip("onnxscript", reason="the optional extra export is not installed")
        pytest.importorskip("onnxruntime", reason="the optional extra export is not installed")
    flags = ("--checkpoint", trained / "model.safetensors", "--format", kind, "--size", 48, 80)
    assert run("export", *flags, "--out", tmp_path / "net") == 0
    image = torch.rand(1, 3, 48, 80)
    with torch.no_grad():
        expected = load_segmenter(trained / "model.safetensors").network(image)
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(tmp_path / "net", providers=["CPUExecutionProvider"])
        found = torch.from_numpy(session.run(["scores"], {"image": image.numpy()})[0])
        assert json.loads(session.get_modelmeta().custom_metadata_map["classes"])[:2] == ["background", "boat"]
    else:
        found = torch.jit.load(tmp_path / "net")(image)
    assert torch.allclose(found, expected, atol=1e-4)
    assert "largest difference of a score" in capsys.readouterr().out


def test_an_export_that_differs_is_not_kept(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("semples.tools.export.TOLERANCE", -1.0)
    flags = ("--checkpoint", trained / "model.safetensors", "--format", "torchscript", "--size", 32, 32)
    assert run("export", *flags, "--out", tmp_path / "net") == 1
    assert "scores that differ" in capsys.readouterr().err
    assert not (tmp_path / "net").exists()


def test_a_network_that_onnx_cannot_say_is_one_clear_error(trained, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxscript", reason="the optional extra export is not installed")

    def refuse(*_arguments, **_named):
        raise torch.onnx.OnnxExporterError("no such operator")

    monkeypatch.setattr("torch.onnx.export", refuse)
    flags = ("--checkpoint", trained / "model.safetensors", "--size", 32, 32, "--out", tmp_path / "net")
    assert run("export", *flags) == 1
    assert "use --format torchscript" in capsys.readouterr().err
    assert not (tmp_path / "net").exists()


def test_scales_of_the_command_take_the_place_of_the_trainings(trained, tmp_path, monkeypatch):
    Image.new("RGB", (40, 30)).save(tmp_path / "one.png")
    seen = []
    monkeypatch.setattr(
        "semples.inference.segmentation.predict_masks",
        lambda network, pictures, chosen, device: seen.append(chosen.test_scales) or [np.zeros((30, 40), np.uint8)],
    )
    flags = ("--checkpoint", trained / "model.safetensors", "--out", tmp_path / "out")
    assert run("predict", tmp_path / "one.png", *flags, "--scales", 1, 1.5) == 0
    assert run("predict", tmp_path / "one.png", *flags) == 0
    assert seen == [[1.0, 1.5], [1.0]]
