"""A frozen transformer through all learning stages, and its stored features: the same losses, never stale ones."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision import tv_tensors

from semples.cli import main
from semples.config.load import check
from semples.config.settings import Settings
from semples.data.augment import is_mirrored, label_transform
from semples.data.images import read_image
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.models.generators import FrozenVit
from semples.runtime.seeds import seeded
from semples.training.feature_cache import cached_features

WHOLE = {"crop_scale": [1, 1], "flip": 0.5, "randaugment": 0, "erasing": 0}
STAGE = {"epochs": 2, "batch": 8, "lr": 1e-3, "augment": WHOLE}
BASE = {
    "run": {"device": "cpu", "threads": 1},
    "precision": "32-true",
    "data": {"source": "mini"},
    "guide": {"model": "mini"},
    "generator": {"name": "frozen_vit", "backbone": "test_vit", "weights": "none", "image_size": 64},
    **dict.fromkeys(("classify", "slm", "csr"), STAGE),
    "cpl": {**STAGE, "length": 4},
}


def merged(**settings) -> dict:
    return {key: {**BASE[key], **settings[key]} if key in settings else value for key, value in BASE.items()}


def semples(command: str, *flags: object, cache: Path | str = "", **settings) -> int:
    settings["run"] = {**BASE["run"], "cache_folder": str(cache), **settings.get("run", {})}
    return main([command, "--config", json.dumps(merged(**settings)), *map(str, flags)])


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def guide(tmp_path_factory, drawn) -> Path:
    out = tmp_path_factory.mktemp("frozen")
    assert semples("guide", "--classes", drawn / "data/classes.csv", "--out", out) == 0
    return out


def test_all_learning_stages_have_the_same_losses_with_and_without_stored_features(guide, drawn, tmp_path):
    """Through one file of features, from classify to cams."""
    cache, data = tmp_path / "cache", ("--manifest", drawn / "data/manifest.csv")
    for folder, root in (("", tmp_path / "plain"), (cache, tmp_path / "stored")):
        model = {stage: root / stage / "model.safetensors" for stage in ("classify", "slm", "csr")}
        guided = (*data, "--guide", guide)
        prompts = ("--prompts", root / "cpl/prompts.safetensors")
        steps = {
            "classify": data,
            "slm": (*guided, "--start", model["classify"]),
            "cpl": (*guided, "--generator", model["slm"]),
            "csr": (*guided, "--start", model["classify"], *prompts),
            "joint": (*guided, "--start", model["classify"]),
        }
        for stage, flags in steps.items():
            assert semples(stage, *flags, "--out", root / stage, cache=folder) == 0, stage
        cams = ("--split", "train", "--generator", model["csr"], "--out", root / "cams.h5")
        assert semples("cams", *data, *cams) == 0
    for stage in steps:
        plain, stored = losses(tmp_path / "plain" / stage), losses(tmp_path / "stored" / stage)
        assert len(set(plain)) == 2, stage  # it learns
        assert stored == pytest.approx(plain, abs=1e-5), stage
    backbones = [load_file(path) for path in tmp_path.glob("*/c*/model.safetensors") if path.parent.name != "cpl"]
    assert len({float(state["vit.blocks.0.attn.qkv.weight"].sum()) for state in backbones}) == 1
    (features,) = cache.glob("features-*")
    assert np.load(features, mmap_mode="r").shape == (4, 2, 4 * 64, 4, 4)
    assert not list(cache.glob("*partial*"))


def test_a_classifier_with_stored_features_opens_no_image(miniature, tmp_path, monkeypatch):
    flags = ("--manifest", miniature, "--out")
    assert semples("classify", *flags, tmp_path / "one", cache=tmp_path) == 0
    monkeypatch.setattr("semples.data.decoded_cache.read_image", lambda _path: pytest.fail("an image was decoded"))
    monkeypatch.setattr("semples.training.feature_cache.read_image", lambda _path: pytest.fail("computed again"))
    assert semples("classify", *flags, tmp_path / "two", cache=tmp_path, run={"workers": 1}) == 0
    assert losses(tmp_path / "one") == losses(tmp_path / "two")


@pytest.mark.parametrize(
    ("augment", "why"),
    [
        ({"crop_scale": [0.5, 1]}, "`augment.crop_scale` changes the images"),
        ({"randaugment": 9}, "`augment.randaugment` changes the images"),
        ({"erasing": 0.1}, "`augment.erasing` changes the images"),
        ({}, "`run.cache_folder` is empty"),
    ],
)
def test_where_features_can_not_be_stored_the_log_says_why(miniature, tmp_path, caplog, augment, why):
    caplog.set_level("INFO")
    chosen = {"epochs": 1, "augment": {**WHOLE, **augment}}
    cache = tmp_path / "cache" if augment else ""
    assert semples("classify", "--manifest", miniature, "--out", tmp_path / "out", cache=cache, classify=chosen) == 0
    assert [r.message for r in caplog.records if "frozen" in r.message] == [
        f"the frozen backbone computes its features in every epoch, as {why}"
    ]
    assert not cache or not list(cache.glob("features*"))


@pytest.mark.parametrize("flip", [0.0, 0.3, 1.0])
def test_features_are_mirrored_where_the_image_is(flip):
    image = tv_tensors.Image(torch.zeros(3, 4, 4, dtype=torch.uint8))
    image[:, :, 0] = 255
    transform = label_transform(4, (1, 1), flip, 0, 0)
    drawn = []
    for seed in range(40):
        with seeded(seed):
            drawn.append(bool(transform(image)[0, 0, 3] > 0.5))
    assert drawn == [is_mirrored(seed, flip) for seed in range(40)]
    assert (0 < sum(drawn) < 40) == (flip == 0.3)


class World:
    """A frozen transformer and images of which one thing at a time can change."""

    def __init__(self, manifest: Path, folder: Path) -> None:
        self.folder = folder
        self.images = read_manifest(manifest).split("train").sample(5, 0)
        torch.manual_seed(0)
        self.generator = FrozenVit(2, "test_vit")

    def features(self, model: FrozenVit | None = None, images: Manifest | None = None, **settings):
        run = {**BASE["run"], "cache_folder": str(self.folder)}
        values = merged(run=run, **settings)
        checked = check(Settings, values, "test")
        return cached_features(model or self.generator, images or self.images, checked, checked.classify.augment)

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("features-*"))


@pytest.fixture
def world(miniature, tmp_path) -> World:
    return World(miniature, tmp_path / "cache")


def test_anything_that_changes_the_features_makes_another_file(world, tmp_path):
    one = world.features()
    assert world.features().path == one.path
    other = FrozenVit(2, "test_vit", layers=[1, 2, 3, 4])
    other.vit.load_state_dict(world.generator.vit.state_dict())
    heavier = FrozenVit(2, "test_vit")
    heavier.vit.load_state_dict(world.generator.vit.state_dict())
    heavier.vit.blocks[0].mlp.fc1.bias.data += 1e-3
    copies = world.images.table.copy()
    for row, path in enumerate(copies["image"]):
        copies.loc[row, "image"] = str(tmp_path / Path(path).name)
        (tmp_path / Path(path).name).write_bytes(Path(path).read_bytes())
    moved = Manifest(copies, world.images.classes)
    paths = {
        one.path,
        world.features(other).path,
        world.features(heavier).path,
        world.features(generator={**BASE["generator"], "image_size": 66}).path,  # the same grid
        world.features(classify={**STAGE, "augment": {**WHOLE, "flip": 0}}).path,
        world.features(images=moved).path,
    }
    os.utime(tmp_path / Path(world.images.table["image"][3]).name, (1, 1))
    paths.add(world.features(images=moved).path)
    assert len(paths) == 7
    assert set(world.files()) == paths


def test_stored_features_are_those_of_the_images(world):
    stored = world.features()
    transform = label_transform(64, (1, 1), 1, 0, 0)
    image = tv_tensors.Image(torch.from_numpy(read_image(world.images.table["image"][4])).permute(2, 0, 1))
    seed = next(seed for seed in range(99) if is_mirrored(seed, 0.5))
    expected = world.generator.features(transform(image)[None])[0]
    assert torch.allclose(stored(4, seed).float(), expected.float(), atol=5e-3)
    unmirrored = next(seed for seed in range(99) if not is_mirrored(seed, 0.5))
    assert not torch.allclose(stored(4, unmirrored).float(), expected.float(), atol=0.05)


@pytest.mark.parametrize("harm", ["another's", "cut off"])
def test_a_planted_file_is_an_error_and_stays(world, harm):
    path = world.features().path
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)) if harm == "another's" else content[:-1])
    planted = path.read_bytes()
    with pytest.raises(SemplesError, match=r"a file which semples did not write(.|\n)*the features of 5 images"):
        world.features()
    assert path.read_bytes() == planted


def test_a_killed_run_leaves_no_file_and_the_next_one_clears_up(world, monkeypatch):
    path = world.features().path
    whole = path.read_bytes()
    path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(FrozenVit, "features", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            world.features()
    assert world.files() == []
    leftover = path.with_name(f".{path.name}.partial-99999999")
    leftover.write_bytes(b"half")
    assert world.features().path.read_bytes() == whole
    assert not leftover.exists()


def test_a_disk_without_room_is_refused_before_anything_is_written(world, monkeypatch):
    monkeypatch.setattr("semples.data.decoded_cache.shutil.disk_usage", lambda _folder: SimpleNamespace(free=10_000))
    with pytest.raises(SemplesError, match="GB for the features of the frozen backbone"):
        world.features()
    assert world.files() == []


def test_a_backbone_from_a_file_is_the_one_that_is_kept(miniature, tmp_path):
    vit = FrozenVit(2, "test_vit").vit.state_dict()
    save_file(vit, tmp_path / "vit.safetensors")
    generator = {**BASE["generator"], "weights": str(tmp_path / "vit.safetensors")}
    assert semples("classify", "--manifest", miniature, "--out", tmp_path / "out", generator=generator) == 0
    state = load_file(tmp_path / "out/model.safetensors")
    assert all(torch.equal(state[f"vit.{name}"], value) for name, value in vit.items())
