"""`semples refine`: every kind from file to file, shards, the evaluation of refined maps, and mistakes."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file
from tiny_sam import tiny_sam

from semples.cli import main
from semples.config.load import load
from semples.data.cam_file import CamFile, CamWriter
from semples.data.images import read_mask, write_mask
from semples.data.manifest import Classes, Manifest, read_manifest, write_manifest
from semples.errors import SemplesError
from semples.evaluation.evaluation_file import read_evaluation
from semples.files import read_json
from semples.planning.targets import Targets
from semples.stages import weights

SEGMENTS = {"points": 4, "use": "segments", "least_iou": 0, "least_stability": 0}
KINDS = [{"kind": "superpixels"}, {"kind": "pamr"}, {"kind": "sam", "sam": SEGMENTS}]


def run(command: str, refine: dict, *flags: object, **settings: object) -> int:
    device = {"device": "cpu", "threads": 1}
    values = {"refine": refine, "run": device, "precision": "32-true", "cams": {"dtype": "float32"}, **settings}
    return main([command, "--config", json.dumps(values), *map(str, flags)])


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Manifest:
    """Five pictures with a bright rectangle, which the mask shows; three have one size, and two of these one label."""
    folder, rng, rows = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0), []
    for number, (height, width) in enumerate([(40, 48), (40, 48), (40, 48), (33, 50), (60, 30)]):
        picture = rng.integers(0, 30, (height, width, 3), np.uint8)
        mask = np.zeros((height, width), np.uint8)
        mask[10:26, 8:24] = 1
        picture[mask == 1] += 200
        cv2.imwrite(str(folder / f"{number}.png"), picture)
        write_mask(folder / f"{number} mask.png", mask, np.zeros((256, 3), np.uint8))
        labels = "dog;cat" if number == 1 else "dog"
        rows.append([f"p{number}", f"{number}.png", f"{number} mask.png", "train", width, height, labels])
    table = pd.DataFrame(rows, columns=["id", "image", "mask", "split", "width", "height", "labels"])
    write_manifest(folder / "manifest.csv", table, Classes(("dog", "cat"), ("dog", "cat"), ("#ff0000", "#00ff00")))
    return read_manifest(folder / "manifest.csv")


@pytest.fixture(scope="module")
def cams(images, tmp_path_factory) -> Path:
    """CAMs of the pictures at stride 4: the rectangle, moved by three pixels."""
    path = tmp_path_factory.mktemp("cams") / "cams.h5"
    with CamWriter(path, images.classes.names, list(images.table["id"]), "float32", {"weights": "of a test"}) as file:
        for row, labels in zip(images.table.itertuples(), images.label_matrix(), strict=True):
            blurred = np.zeros((row.height, row.width), np.float32)
            blurred[13:29, 11:27] = 0.9
            blurred = cv2.GaussianBlur(blurred, (0, 0), 3)
            score = cv2.resize(blurred, (-(-row.width // 4), -(-row.height // 4)), interpolation=cv2.INTER_AREA)
            file.add(row.id, np.stack([score / (n + 1) for n in range(int(labels.sum()))]), np.flatnonzero(labels),
                     row.height, row.width)  # fmt: skip
    return path


@pytest.fixture(scope="module")
def sam(tmp_path_factory) -> Path:
    """A folder with a random SAM."""
    folder = tmp_path_factory.mktemp("sam") / "model"
    tiny_sam("sam").save_pretrained(folder)
    return folder


def refined(images: Manifest, cams: Path, out: Path, refine: dict, *flags: object) -> dict[str, np.ndarray]:
    manifest = Path(images.table["image"][0]).with_name("manifest.csv")
    assert run("refine", refine, "--manifest", manifest, "--cams", cams, "--out", out, *flags) == 0
    with CamFile(out) as file:
        return {image: file.read(image).score for image in file.ids}


@pytest.mark.parametrize("refine", KINDS, ids=lambda refine: refine["kind"])
def test_a_refined_file_is_one_of_cams(images, cams, sam, tmp_path, refine):
    flags = ("--weights", sam) if refine["kind"] == "sam" else ()
    scores = refined(images, cams, tmp_path / "refined.h5", refine, *flags)
    stride = load({"preset": "mini", "refine": refine}).refine.stride()
    with CamFile(cams) as before, CamFile(tmp_path / "refined.h5") as file:
        assert file.ids == before.ids
        assert file.provenance["command"] == "semples refine"
        assert file.provenance["weights"] == "of a test"
        for row in images.table.itertuples():
            old, new = before.read(row.id), file.read(row.id, (row.height, row.width))
            assert np.array_equal(old.classes, new.classes)
            assert new.score.shape[1:] == (-(-row.height // stride), -(-row.width // stride))
            assert not np.array_equal(new.full_size(), old.full_size())
            ratio = new.score.max(axis=(1, 2)) / old.score.max(axis=(1, 2))
            assert (ratio < 1 + 1e-6).all()
            assert refine["kind"] == "sam" or (ratio > 0.9).all()  # maps keep their highest score
    parts: dict[str, np.ndarray] = {}
    for shard in ("1-of-2", "2-of-2"):
        parts |= refined(images, cams, tmp_path / f"{shard}.h5", refine, "--shard", shard, *flags)
    assert all(np.allclose(parts[image], scores[image], atol=1e-6) for image in scores)
    assert list(parts) == list(scores)


@pytest.mark.parametrize("refine", KINDS[:2], ids=lambda refine: refine["kind"])
def test_refined_maps_have_the_edges_of_the_picture(images, cams, tmp_path, refine):
    """The evaluation of the refined maps is of a kind of its own, and crf makes masks of its threshold without CRF."""
    manifest = Path(images.table["image"][0]).with_name("manifest.csv")
    refined(images, cams, tmp_path / "refined.h5", refine)
    miou = {}
    for kind, path in (("cams", cams), ("refine", tmp_path / "refined.h5")):
        flags = ("--manifest", manifest, "--split", "train", "--cams", path, "--out", tmp_path / f"{kind}.json")
        assert run("evaluate", refine, *flags) == 0
        evaluation = read_evaluation(tmp_path / f"{kind}.json")
        assert evaluation.kind == kind
        miou[kind] = evaluation.policies["oracle"].miou
    assert miou["refine"] > miou["cams"] + 0.02
    table = [flag for kind in miou for flag in (f"moved:0={tmp_path / kind}.json",)]
    assert main(["tables", "results", "--evaluation", *table, "--out", str(tmp_path / "tables")]) == 0
    header, _, row = (tmp_path / "tables/results.md").read_text().splitlines()[:3]
    cells = dict(zip(header.split("|"), row.split("|"), strict=True))
    cells = {title.strip(): value.strip() for title, value in cells.items()}
    assert cells["refined CAM, oracle threshold, train"] == f"{100 * miou['refine']:.1f}"
    assert cells["CAM, oracle threshold, train"] == f"{100 * miou['cams']:.1f}"
    flags = ("--manifest", manifest, "--cams", tmp_path / "refined.h5", "--evaluation", tmp_path / "refine.json")
    crf = {"preset": "none", "threshold": {"policy": "oracle"}}
    assert run("crf", refine, *flags, "--out", tmp_path / "masks", crf=crf) == 0
    with CamFile(tmp_path / "refined.h5") as file:
        score = file.read("p0").full_size()[0]
    threshold = read_json(tmp_path / "refine.json", "evaluate")["policies"]["oracle"]["threshold"]
    assert np.array_equal(read_mask(tmp_path / "masks/p0.png"), score > np.float32(threshold))


def test_images_of_one_size_are_refined_in_a_batch_as_alone(images, cams, tmp_path):
    both = [
        refined(images, cams, tmp_path / f"{batch}.h5", {"kind": "pamr", "pamr": {"batch": batch}}) for batch in (1, 8)
    ]
    assert all(np.allclose(both[0][image], both[1][image], atol=1e-6) for image in both[0])


@pytest.fixture
def hub(monkeypatch, sam) -> list[str]:
    """The folder in the place of what the hub hands out; the ids that were asked for."""
    import transformers

    asked: list[str] = []
    for name in ("AutoConfig", "SamModel"):
        read = getattr(transformers, name).from_pretrained

        def from_pretrained(source, *, read=read, **options):
            asked.append(str(source))
            return read(sam, **options)

        monkeypatch.setattr(getattr(transformers, name), "from_pretrained", from_pretrained)
    return asked


def test_downloaded_weights_are_those_of_the_folder(hub, images, cams, sam, tmp_path):
    file = tmp_path / "sam.safetensors"
    assert main(["weights", "--library", "sam", "--model", "facebook/sam-vit-base", "--out", str(file)]) == 0
    assert set(hub) == {"facebook/sam-vit-base"}
    assert len(load_file(file)) == len(tiny_sam("sam").state_dict())
    one = refined(images, cams, tmp_path / "folder.h5", KINDS[2], "--weights", sam)
    other = refined(images, cams, tmp_path / "file.h5", KINDS[2], "--weights", file)
    assert all(np.array_equal(one[image], other[image]) for image in one)


def test_without_a_network_the_download_is_one_clear_error(monkeypatch, tmp_path, capsys):
    def unreachable(*_arguments, **_options):
        raise OSError("no network")

    monkeypatch.setattr(weights, "pretrained_sam", unreachable)
    assert main(["weights", "--library", "sam", "--model", "a/b", "--out", str(tmp_path / "sam.safetensors")]) == 1
    assert "weights sam/a/b\n  found:    no network" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def spoil_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")


def drop_a_tensor(folder: Path) -> None:
    from safetensors.torch import save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["vision_encoder.pos_embed"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_config, "a model of type 'bert'"),
        (drop_a_tensor, "no weights for 1 tensors such as vision_encoder.pos_embed"),
        (lambda folder: (folder / "config.json").unlink(), "unreadable"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 40), "unreadable"),
    ],
)
def test_a_broken_sam_is_one_clear_error(images, cams, tmp_path, capsys, spoil, words):
    tiny_sam("sam").save_pretrained(tmp_path / "sam")
    spoil(tmp_path / "sam")
    manifest = Path(images.table["image"][0]).with_name("manifest.csv")
    flags = ("--manifest", manifest, "--cams", cams, "--weights", tmp_path / "sam", "--out", tmp_path / "refined.h5")
    assert run("refine", KINDS[2], *flags) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "refined.h5").exists()


def test_a_kind_or_a_flag_that_is_missing_is_named(images, cams, tmp_path, capsys):
    manifest = Path(images.table["image"][0]).with_name("manifest.csv")
    flags = ("--manifest", manifest, "--cams", cams, "--out", tmp_path / "refined.h5")
    assert run("refine", {}, *flags) == 1
    assert "refine.kind\n  found:    none" in capsys.readouterr().err
    assert run("refine", {"kind": "sam"}, *flags) == 1
    assert "--weights\n  found:    nothing" in capsys.readouterr().err


def test_what_sam_lacks_ends_the_plan(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    targets = Targets(load({"preset": "mini", "refine": {"kind": "sam", "sam": {"weights": "./sam"}}}))
    with pytest.raises(SemplesError, match=r"refine\.sam\.weights\n  found:    no such file or folder: \./sam"):
        targets.require_inputs()
    targets.require_packages()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SemplesError, match="the optional extra `sam`"):
        targets.require_packages()
    Targets(load({"preset": "mini", "refine": {"kind": "pamr"}})).require_packages()


def test_only_experiments_that_ask_for_it_are_refined():
    rows = {"plain": {}, "pixels": {"refine": {"kind": "superpixels"}}, "sam": {"refine": {"kind": "sam"}}}
    guide = {"masks_from": "guide", "refine": {"kind": "pamr"}}
    dropped = dict.fromkeys(["classifier", "slm", "csr-manual", "csr-learned"])
    targets = Targets(load({"preset": "mini", "experiments": dropped | rows | {"guide": guide}}))
    jobs = targets.jobs(["results"])
    assert {job.variant for job in jobs["refine"]} == {"pixels", "sam", "guide"}
    assert {job.variant for job in jobs["cams"]} == {"plain", "guide"}
    assert {job.variant for job in jobs["weights"]} == {"sam/facebook/sam-vit-base"}
    graph, at = targets.graph, "results/mini/{}/{}/seed0/cams.h5"
    assert graph.input_of("crf", "maps", "plain", 0) == [at.format("cams", "plain")]
    assert graph.input_of("crf", "maps", "pixels", 0) == [at.format("refine", "pixels")]
    assert graph.input_of("crf", "evaluation", "pixels", 0) == ["results/mini/evaluate/pixels/seed0/refine.json"]
    (path,) = graph.input_of("refine", "weights", "sam", 0)
    assert path == "results/mini/weights/sam/facebook/sam-vit-base.safetensors"
    assert graph.input_of("refine", "weights", "pixels", 0) == []
    assert "Maps refined by: pixels superpixels, sam sam, guide pamr." in targets.note()
