"""Generators from elsewhere, other starts of the prompts, joint learning and selection, by the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from safetensors.torch import load_file, save_file
from torch.utils.checkpoint import checkpoint

from semples.cli import main
from semples.config.load import check
from semples.config.settings import Generator, Settings
from semples.data.images import read_image, read_mask, resize_map
from semples.data.manifest import read_manifest
from semples.errors import SemplesError
from semples.inference.views import as_batch
from semples.models.generators import build_generator
from semples.models.guide_maps import label_maps
from semples.stages.heatmap import heat_maps
from semples.training.selection import best_miou, epoch_score, margin, training_images
from semples.weights import guide_folder
from semples.weights.generators import bare_generator, load_weights

BASE = {
    "run": {"device": "cpu", "threads": 1},
    "data": {"source": "mini"},
    "guide": {"model": "mini"},
    "generator": {"name": "conv_cam", "weights": "none", "image_size": 64},
    **{stage: {"epochs": 2, "batch": 8, "augment": {"randaugment": 0}} for stage in ("classify", "slm", "csr")},
    "cpl": {"epochs": 1, "batch": 8, "length": 4},
}
DOCS = Path(__file__).parents[2] / "docs"


def semples(command: str, *flags: object, **settings) -> int:
    sections = {key: value for key, value in settings.items() if isinstance(value, dict)}
    merged = settings | {key: {**BASE.get(key, {}), **sections.get(key, {})} for key in {*BASE, *sections}}
    return main([command, "--config", json.dumps(merged), *map(str, flags)])


def settings_with(**settings) -> Settings:
    return check(Settings, {key: {**BASE.get(key, {}), **settings.get(key, {})} for key in {*BASE, *settings}}, "test")


@pytest.fixture(scope="module")
def made(tmp_path_factory, miniature) -> Path:
    """A folder with a guide and a classifier of the miniature."""
    out = tmp_path_factory.mktemp("learning")
    assert semples("guide", "--classes", miniature.with_name("classes.csv"), "--out", out / "guide") == 0
    assert semples("classify", "--manifest", miniature, "--out", out / "classify") == 0
    return out


def start_flags(made: Path, miniature: Path) -> tuple:
    return "--manifest", miniature, "--guide", made / "guide", "--start", made / "classify/model.safetensors"


@pytest.mark.parametrize(("name", "backbone"), [("weaktr", "deit_tiny_patch16_224"), ("resnet_cam", "resnet10t")])
def test_published_generators_run_from_classify_to_cams(made, miniature, tmp_path, name, backbone):
    generator, data = {"name": name, "backbone": backbone}, ("--manifest", miniature)
    slm = {"epochs": 1, "augment": {"randaugment": 9}, "w_class": 0.1, "class_weights": "balanced"}
    steps = [
        ("classify", *data, "--out", tmp_path / "classify"),
        (
            *("slm", *data, "--guide", made / "guide", "--start", tmp_path / "classify/model.safetensors"),
            *("--out", tmp_path / "slm"),
        ),
        (
            *("cams", *data, "--split", "train", "--generator", tmp_path / "slm/model.safetensors"),
            *("--out", tmp_path / "cams.h5"),
        ),
    ]
    for step in steps:
        assert semples(*step, generator=generator, slm=slm, classify={"epochs": 1}) == 0, step
    before, after = (load_file(tmp_path / stage / "model.safetensors") for stage in ("classify", "slm"))
    changed = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == ({"head", "adaptive_attention_fusion"} if name == "weaktr" else {"classifier"})
    rows = [json.loads(line) for line in (tmp_path / "slm/metrics.jsonl").read_text().splitlines()]
    assert rows[0]["skipped"] == 0


@pytest.mark.parametrize("source", ["learned", "embedding"])
def test_joint_writes_a_generator_and_its_prompts(made, miniature, tmp_path, source):
    assert semples("joint", *start_flags(made, miniature), "--out", tmp_path, cpl={"source": source}) == 0
    state = load_file(tmp_path / "model.safetensors")
    build_generator("conv_cam", 6, "").load_state_dict(state, strict=True)
    assert load_file(tmp_path / "prompts.safetensors")["embeddings"].shape[:2] == (6, 1)
    assert (tmp_path / "words.csv").exists()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(("stage", "name"), [("slm", "conv_cam"), ("classify", "vit_cam")])
def test_a_stage_learns_the_same_with_checkpointing(made, miniature, tmp_path, monkeypatch, stage, name):
    blocks = []
    monkeypatch.setattr("torch.utils.checkpoint.checkpoint", lambda *a, **k: blocks.append(a) or checkpoint(*a, **k))
    monkeypatch.setattr("semples.models.checkpointing.checkpoint", torch.utils.checkpoint.checkpoint)
    flags = start_flags(made, miniature) if stage == "slm" else ("--manifest", miniature)
    generator, once = {"name": name, "backbone": "deit_tiny_patch16_224"}, {"epochs": 1}
    for folder, enable in (("plain", False), ("again", True)):
        run = {"generator": generator, stage: once, "precision": "32-true", "run": {"checkpointing": enable}}
        assert semples(stage, *flags, "--out", tmp_path / folder, **run) == 0
        assert bool(blocks) == enable
    texts = [(tmp_path / folder / "metrics.jsonl").read_text() for folder in ("plain", "again")]
    plain, again = (json.loads(text)["loss"] for text in texts)
    assert plain == pytest.approx(again, abs=1e-4)


def outputs(folder: Path) -> dict:
    """What a stage that learns prompts has written: tensors, words and losses."""
    tensors = [load_file(folder / f"{name}.safetensors") for name in ("model", "prompts")]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    numbers = {name: tensor.tolist() for part in tensors for name, tensor in part.items()}
    return numbers | {"losses": [row["loss"] for row in rows], "words": (folder / "words.csv").read_text()}


@pytest.mark.parametrize(
    ("stage", "module", "flag"), [("cpl", "stages.cpl", "--generator"), ("joint", "training.refinement", "--start")]
)
def test_a_failure_after_the_training_loses_no_step(
    made, miniature, tmp_path, monkeypatch, caplog, stage, module, flag
):
    caplog.set_level("INFO")
    flags = ("--manifest", miniature, "--guide", made / "guide", flag, made / "classify/model.safetensors")
    selection = {"policy": "label-free", "images": 4}
    assert semples(stage, *flags, "--out", tmp_path / "whole", selection=selection) == 0
    with monkeypatch.context() as patch:
        patch.setattr(f"semples.{module}.write_prompts", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            semples(stage, *flags, "--out", tmp_path / "broken", selection=selection)
    monkeypatch.setattr("semples.training.loop._Run._step", lambda *_: pytest.fail("a step was trained again"))
    assert semples(stage, *flags, "--out", tmp_path / "broken", selection=selection) == 0
    epochs = BASE[{"cpl": "cpl", "joint": "csr"}[stage]]["epochs"]
    assert f"resuming after epoch {epochs} of {epochs}, at step {3 * epochs} of {3 * epochs}" in caplog.text
    assert outputs(tmp_path / "broken") == outputs(tmp_path / "whole")
    assert not list(tmp_path.rglob("*.ckpt"))


def test_the_own_generator_of_the_docs_learns(made, miniature, tmp_path):
    text = (DOCS / "generators.md").read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(text.split("```python\n")[1].split("```")[0])
    generator = {"name": f"{tmp_path / 'mine.py'}:Mine", "options": {"width": 6}}
    flags = ("--manifest", miniature, "--out", tmp_path / "classify")
    assert semples("classify", *flags, generator=generator) == 0
    assert load_file(tmp_path / "classify/model.safetensors")["scores.weight"].shape == (6, 6, 1, 1)
    start = ("--guide", made / "guide", "--start", tmp_path / "classify/model.safetensors")
    assert semples("slm", "--manifest", miniature, *start, "--out", tmp_path / "slm", generator=generator) == 0


def test_an_embedding_of_each_class_learns_in_the_place_of_words(made, miniature, tmp_path):
    flags = ("--manifest", miniature, "--guide", made / "guide", "--generator", made / "classify/model.safetensors")
    embedding = {"source": "embedding", "lr": 0.1, "epochs": 12}
    assert semples("cpl", *flags, "--out", tmp_path / "cpl", cpl=embedding) == 0
    learned = load_file(tmp_path / "cpl/prompts.safetensors")["embeddings"][:, 0]
    vectors = load_file(tmp_path / "cpl/model.safetensors")["vectors"]
    assert torch.allclose(learned, torch.nn.functional.normalize(vectors, dim=-1), atol=1e-6)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "cpl/metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.5 * losses[0]
    start = ("--start", made / "classify/model.safetensors", "--prompts", tmp_path / "cpl/prompts.safetensors")
    assert semples("csr", *flags[:4], *start, "--out", tmp_path / "csr") == 0


@pytest.mark.parametrize("kind", ["present", "all"])
def test_prompts_learn_from_another_methods_arrays(made, miniature, tmp_path, kind):
    images = read_manifest(miniature)
    (tmp_path / "cams").mkdir()
    for image, row in zip(images.table["id"], images.label_matrix(), strict=True):
        shape = (int(row.sum()) if kind == "present" else 6, 16, 16)
        np.save(tmp_path / "cams" / f"{image}.npy", np.random.default_rng(0).random(shape))
    flags = ("--manifest", miniature, "--guide", made / "guide", "--out", tmp_path / "cpl")
    assert semples("cpl", *flags, cpl={"start": str(tmp_path / "cams")}) == 0
    assert load_file(tmp_path / "cpl/prompts.safetensors")["embeddings"].shape[:2] == (6, 1)


def test_prompts_start_from_the_guides_own_maps(made, miniature, tmp_path, capsys):
    cams = ("--manifest", miniature, "--split", "train", "--guide", made / "guide", "--out", tmp_path / "guide.h5")
    assert semples("cams", *cams, masks_from="guide", cams={"stride": 4}) == 0
    flags = ("--manifest", miniature, "--guide", made / "guide")
    assert semples("cpl", *flags, "--out", tmp_path / "none", cpl={"start": "guide"}) == 1
    assert "'guide', and no maps" in capsys.readouterr().err
    maps = ("--maps", tmp_path / "guide.h5")
    assert semples("cpl", *flags, *maps, "--out", tmp_path / "guide", cpl={"start": "guide"}) == 0
    assert semples("cpl", *flags, "--out", tmp_path / "path", cpl={"start": str(tmp_path / "guide.h5")}) == 0
    one, two = (load_file(tmp_path / name / "prompts.safetensors")["embeddings"] for name in ("guide", "path"))
    assert torch.equal(one, two)


def test_prompts_of_exported_maps_are_near_those_of_the_generator(made, miniature, tmp_path):
    whole = {"crop_scale": [1, 1], "flip": 0.0}
    cams = ("--manifest", miniature, "--split", "train", "--generator", made / "classify/model.safetensors")
    assert semples("cams", *cams, "--out", tmp_path / "c.h5", cams={"scales": [1.0], "flip": False, "stride": 4}) == 0
    flags, found = ("--manifest", miniature, "--guide", made / "guide"), []
    for name, start, more in (
        ("generator", "classify", ("--generator", made / "classify/model.safetensors")),
        ("maps", str(tmp_path / "c.h5"), ()),
    ):
        chosen = {"start": start, "augment": whole, "eps": 1e-4}
        assert semples("cpl", *flags, *more, "--out", tmp_path / name, cpl=chosen) == 0
        found.append(load_file(tmp_path / name / "prompts.safetensors")["embeddings"])
    assert torch.nn.functional.cosine_similarity(*found, dim=2).min() > 0.99


def test_selection_keeps_the_best_epoch(made, miniature, tmp_path):
    for policy in ("oracle", "held-out", "label-free"):
        out = tmp_path / policy
        assert semples("slm", *start_flags(made, miniature), "--out", out, selection={"policy": policy}) == 0
        scores = [json.loads(line)["selection"] for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert len(scores) == 2
        settings = settings_with(selection={"policy": policy})
        generator = build_generator("conv_cam", 6, "")
        generator.load_state_dict(load_file(out / "model.safetensors"))
        guide, texts, _ = guide_folder.open_folder(made / "guide", settings, read_manifest(miniature).classes)
        images = read_manifest(miniature).split("train").with_labels()
        score = epoch_score(settings, images, generator, guide, texts["texts"])
        assert score() == pytest.approx(max(scores), abs=1e-5)
        assert not list(out.rglob("*.ckpt"))


def test_held_out_images_do_not_train(miniature):
    images = read_manifest(miniature).split("train").with_labels()
    settings = settings_with(selection={"policy": "held-out", "share": 0.25})
    assert len(training_images(images, settings)) == len(images) - round(0.25 * len(images))
    assert len(training_images(images, settings_with())) == len(images)


@pytest.mark.parametrize("stage", ["slm", "joint"])
def test_a_stage_trains_on_no_image_that_is_held_out(made, miniature, tmp_path, monkeypatch, stage):
    trained = set()
    monkeypatch.setattr(
        "semples.data.decoded_cache.read_image", lambda path: trained.add(str(path)) or read_image(path)
    )
    selection = {"policy": "held-out", "share": 0.25}
    assert semples(stage, *start_flags(made, miniature), "--out", tmp_path, selection=selection) == 0
    images = read_manifest(miniature).split("train").with_labels()
    expected = training_images(images, settings_with(selection=selection)).table["image"]
    assert trained == set(map(str, expected))
    assert 0 < len(trained) < len(images)


def test_the_head_of_a_classifier_learns_faster_by_its_factor(miniature, tmp_path, monkeypatch):
    rates = []

    def record(_task, _batches, optimizer, *_) -> None:
        rates.append({group["lr"] for group in optimizer.param_groups})
        raise ZeroDivisionError

    monkeypatch.setattr("semples.training.loop.fit", record)
    with pytest.raises(ZeroDivisionError):
        semples("classify", "--manifest", miniature, "--out", tmp_path, classify={"lr": 0.001, "head_lr_factor": 4.0})
    assert rates == [{0.001, 0.004}]


class Painted(torch.nn.Module):
    """A generator that paints given masks (images, classes, h, w)."""

    def __init__(self, masks: torch.Tensor) -> None:
        super().__init__()
        self.masks = torch.nn.Parameter(masks)

    def forward(self, images: torch.Tensor):
        return type("Maps", (), {"cams": self.masks[: len(images)]})


def test_true_masks_score_higher_than_their_opposite(made, miniature):
    settings = settings_with(cams={"batch": 100, "stride": 1})
    images = read_manifest(miniature).split("train").with_labels()
    truth = np.stack([read_mask(path) for path in images.table["mask"]])
    masks = torch.stack([torch.from_numpy(truth == k + 1) for k in range(6)], dim=1).float()
    guide, texts, _ = guide_folder.open_folder(made / "guide", settings, read_manifest(miniature).classes)
    true, opposite = Painted(masks), Painted(1 - masks)
    assert best_miou(true, images, settings) > 0.99 > best_miou(opposite, images, settings)
    scores = [margin(generator, guide, texts["texts"], images, settings) for generator in (true, opposite)]
    assert scores[0] > 0.05 > scores[1]


def test_a_released_checkpoint_needs_no_training(miniature, tmp_path):
    weaktr = {"name": "weaktr", "backbone": "deit_tiny_patch16_224"}
    torch.manual_seed(0)
    released = build_generator("weaktr", 6, "deit_tiny_patch16_224").state_dict()
    torch.save({"model": released, "epoch": 59}, tmp_path / "released.pth")
    chosen = {"generator": weaktr | {"weights": str(tmp_path / "released.pth")}, "classify": {"epochs": 0}}
    assert semples("classify", "--manifest", miniature, "--out", tmp_path / "out", **chosen) == 0
    found = load_file(tmp_path / "out/model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in released.items())
    assert (tmp_path / "out/metrics.jsonl").read_text() == ""


def test_a_backbone_alone_leaves_the_head_as_drawn(tmp_path):
    generator = bare_generator(Generator(name="weaktr", backbone="deit_tiny_patch16_224"), 3)
    import timm

    vit = timm.create_model("deit_tiny_patch16_224").state_dict()
    save_file(vit, tmp_path / "vit.safetensors")
    head = generator.head.weight.clone()
    load_weights(generator, tmp_path / "vit.safetensors")
    assert torch.equal(generator.head.weight, head)
    assert torch.equal(generator.blocks[0].attn.qkv.weight, vit["blocks.0.attn.qkv.weight"])


def test_a_checkpoint_of_another_size_names_key_and_shape(tmp_path):
    torch.save(build_generator("weaktr", 4, "deit_tiny_patch16_224").state_dict(), tmp_path / "four.pth")
    generator = build_generator("weaktr", 3, "deit_tiny_patch16_224")
    with pytest.raises(SemplesError, match=r"cls_token: \(1, 4, 192\)\n  expected: cls_token: \(1, 3, 192\)"):
        load_weights(generator, tmp_path / "four.pth")


def test_heat_maps_are_a_picture(made, miniature, tmp_path):
    from PIL import Image

    flags = ("--manifest", miniature, "--split", "train", "--guide", made / "guide")
    assert (
        semples("heatmap", *flags, "--text", "water", "a fox", "--out", tmp_path / "h.png", figures={"images": 2}) == 0
    )
    with Image.open(tmp_path / "h.png") as picture:
        assert len(set(picture.convert("L").getdata())) > 10


def test_heat_maps_of_class_names_are_higher_on_objects_than_beside_them(made, miniature):
    images = read_manifest(miniature).split("train").with_labels()
    model, classes, _ = guide_folder.open_folder(made / "guide", settings_with(), images.classes)
    higher = []
    for row, labels in zip(images.table.itertuples(), images.label_matrix(), strict=True):
        image, mask, (k, *_) = read_image(Path(row.image)), read_mask(Path(row.mask)), labels.nonzero()[0]
        heats = heat_maps(model, image, classes["texts"], affinity_blocks=8)
        assert heats.shape == (6, *mask.shape)
        assert 0 <= heats.min() < 0.1 < 0.8 < heats.max() <= 1
        pixels = model.normalise(as_batch([image], torch.device("cpu")))
        drawn = label_maps(model, pixels, classes["texts"], classes["texts"][:0], "gradcam", "cosine", 8)[0].numpy()
        span = np.maximum(np.ptp(drawn, axis=(1, 2), keepdims=True), 1e-8)
        assert np.allclose(heats, resize_map((drawn - drawn.min((1, 2), keepdims=True)) / span, *mask.shape), atol=1e-5)
        higher.append(heats[k][mask == k + 1].mean() - heats[k][mask == 0].mean())
    assert np.mean(higher) > 0.04


@pytest.fixture(params=["mini", "narrow tokens"])
def guide_model(request, tmp_path) -> str:
    """The guide of the miniature, and one whose token vectors are narrower than its embeddings."""
    if request.param == "mini":
        return "mini"
    vision = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}
    text = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    model = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "clip").mkdir()
    config = {"model_cfg": model, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (tmp_path / "clip/open_clip_config.json").write_text(json.dumps(config))
    save_file(CLIP(**model).state_dict(), tmp_path / "clip/open_clip_model.safetensors")
    return f"local-dir:{tmp_path / 'clip'}"


def test_the_centres_are_the_mean_embeddings_of_training_images_and_words(miniature, guide_model, tmp_path):
    flags = ("--classes", miniature.with_name("classes.csv"), "--out", tmp_path / "guide")
    section = {"model": guide_model, "centre": "both"}
    assert semples("guide", *flags, guide=section) == 1  # which images?
    assert semples("guide", *flags, "--manifest", miniature, guide=section) == 0
    settings = settings_with(guide=section)
    guide, texts, _ = guide_folder.open_folder(tmp_path / "guide", settings, read_manifest(miniature).classes)
    paths = read_manifest(miniature).split("train").table["image"]
    batch = as_batch([read_image(path) for path in paths], torch.device("cpu"), guide.image_size)
    named = guide.encode_text(["a photo of a fox."])
    guide.image_centre = guide.text_centre = torch.zeros(1)
    mean = guide.encode_image(guide.normalise(batch)).mean(dim=0)
    assert torch.allclose(texts["image_centre"], mean, atol=1e-5)
    spoken = guide.encode_text([f"a photo of {word}." for word in guide_folder.words_of(tmp_path / "guide")])
    assert torch.allclose(texts["text_centre"], spoken.mean(dim=0), atol=1e-5)
    assert torch.allclose(texts["words"], F.normalize(spoken - spoken.mean(dim=0), dim=-1), atol=1e-5)
    apart = guide.encode_text(["a photo of a fox."]) - texts["text_centre"]
    assert torch.allclose(named, F.normalize(apart, dim=-1), atol=1e-5)


@pytest.mark.parametrize(("limit", "streak"), [(2, 2), (10, 6)])
def test_a_run_that_diverges_is_an_error_and_no_network(miniature, tmp_path, capsys, limit, streak):
    state = build_generator("conv_cam", 6, "").state_dict()
    torch.save(state | {"classifier.weight": torch.full_like(state["classifier.weight"], 3e38)}, tmp_path / "huge.pth")
    flags = ("--manifest", miniature, "--out", tmp_path / "out")
    run = {"skipped_steps": limit}
    assert semples("classify", *flags, generator={"weights": str(tmp_path / "huge.pth")}, run=run) == 1
    error = capsys.readouterr().err.partition("error: ")[2]
    assert error.startswith("classify, epoch 1, step 1, learning rate ")
    assert f"found:    {streak} steps in a row that are not finite" in error
    images = set(read_manifest(miniature).split("train").table["id"])
    named = error.rpartition("images of the step: ")[2].strip().split(", ")
    assert len(named) == 8
    assert set(named) <= images
    assert not list(tmp_path.rglob("*.safetensors"))


def test_prompts_that_are_not_finite_are_an_error_and_not_written(made, miniature, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("semples.stages.cpl.learned_embeddings", lambda *_: torch.full((6, 1, 4), float("nan")))
    flags = ("--manifest", miniature, "--guide", made / "guide", "--generator", made / "classify/model.safetensors")
    assert semples("cpl", *flags, "--out", tmp_path) == 1
    assert "prompts.safetensors\n  found:    embeddings: a value that is not finite" in capsys.readouterr().err
    assert not (tmp_path / "prompts.safetensors").exists()


def test_one_seed_gives_one_file_whatever_its_start_says_of_itself(made, miniature, tmp_path):
    copy = tmp_path / "copy.safetensors"
    save_file(load_file(made / "classify/model.safetensors"), copy, {"packages": "torch 0"})
    flags = ("--manifest", miniature, "--guide", made / "guide")
    for out, start in (("one", made / "classify/model.safetensors"), ("two", copy)):
        assert semples("slm", *flags, "--start", start, "--out", tmp_path / out) == 0
    one, two = (tmp_path / out / "model.safetensors" for out in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
