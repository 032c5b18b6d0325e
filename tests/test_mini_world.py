"""The drawn world and the guide that was trained on it."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from semples.mini import GUIDE_WEIGHTS
from semples.mini.world import BACKGROUND_OF, BACKGROUNDS, CLASSES, WORDS, Scene, compose, draw_scene

SCRIPT = Path(__file__).parents[1] / "workflow" / "scripts" / "train_mini_guide.py"
spec = spec_from_file_location(SCRIPT.stem, SCRIPT)
spec.loader.exec_module(training := module_from_spec(spec))


def draw(seed: int, count: int, **chances: float) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [draw_scene(rng, **chances) for _ in range(count)]


def test_same_seed_same_scene():
    one, other = draw(3, 5), draw(3, 5)
    assert all(
        np.array_equal(a.image, b.image) and np.array_equal(a.mask, b.mask) for a, b in zip(one, other, strict=True)
    )
    assert not np.array_equal(one[0].image, draw(4, 1)[0].image)


def test_mask_and_words_and_labels_agree():
    for scene in draw(0, 60):
        assert scene.image.dtype == scene.mask.dtype == np.uint8
        assert scene.image.shape == (64, 64, 3)
        assert scene.mask.shape == (64, 64)
        assert {CLASSES[value - 1] for value in np.unique(scene.mask) if value} == set(scene.objects)
        assert {WORDS[value] for value in np.unique(scene.word_map)} == {*scene.objects, *scene.backgrounds}
        assert np.array_equal(scene.mask > 0, scene.word_map < len(CLASSES))


def test_probabilities():
    scenes = draw(1, 400)
    assert np.mean([len(scene.objects) == 2 for scene in scenes]) == pytest.approx(0.3, abs=0.07)
    beside = [BACKGROUND_OF[name] in scene.backgrounds for scene in scenes for name in scene.objects]
    assert np.mean(beside) == pytest.approx(0.9, abs=0.05)


def test_every_object_covers_a_fair_share():
    scenes = draw(2, 300, two_objects=0.0)
    for index in range(1, len(CLASSES) + 1):
        share = np.mean([(scene.mask == index).mean() for scene in scenes if index in scene.mask])
        assert 0.06 < share < 0.4, CLASSES[index - 1]


def test_compose_without_objects():
    scene = compose(np.random.default_rng(0), [], ["grass"])
    assert scene.objects == ()
    assert scene.backgrounds == ("grass",)
    assert not scene.mask.any()


def test_caption_and_views():
    assert training.caption(["cow", "grass"]) == "a photo of cow and grass."
    word_maps = torch.zeros(1, 64, 64, dtype=torch.uint8)
    word_maps[:, 32:] = 8
    masks = torch.zeros(1, 64, 64)
    masks[:, 32:] = 1
    assert training.name_views(word_maps, masks) == [(8,)]
    assert training.name_views(word_maps, torch.ones(1, 64, 64)) == [(0, 8)]


def test_guide_loss_prefers_the_right_text():
    texts = F.normalize(torch.eye(3) + 0.3, dim=-1)
    scale = torch.tensor(10.0)
    right = training.guide_loss(texts, texts, torch.tensor([0, 1, 2]), scale)
    wrong = training.guide_loss(texts, texts, torch.tensor([1, 2, 0]), scale)
    assert right < wrong


def test_guide_trains_and_loads(tmp_path):
    training.train_guide(tmp_path, seed=0, epochs=(1, 1), scenes=training.BATCH)
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    assert tuple(model.visual.image_mean) == training.MEAN


@pytest.fixture(scope="module")
def shipped():
    """The shipped guide's features of the words, and a function from scenes and masks to image features."""
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{GUIDE_WEIGHTS}")
    model.eval()

    @torch.no_grad()
    def look(scenes: list[Scene], masks: list[np.ndarray]) -> torch.Tensor:
        images = torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2)
        pixels = training.normalise(images) * torch.from_numpy(np.stack(masks)).float()[:, None]
        return model.encode_image(pixels, normalize=True)

    with torch.no_grad():
        texts = model.encode_text(training.tokenize([training.caption([word]) for word in WORDS]), normalize=True)
    return look, texts


def test_shipped_guide_names_objects(shipped):
    look, texts = shipped
    scenes = draw(11, 150, two_objects=0.0)
    named = (look(scenes, [scene.mask > 0 for scene in scenes]) @ texts.T).argmax(1)
    truth = torch.tensor([WORDS.index(scene.objects[0]) for scene in scenes])
    assert (named == truth).float().mean() > 0.8


def test_shipped_guide_names_backgrounds(shipped):
    look, texts = shipped
    rng = np.random.default_rng(12)
    scenes = [compose(rng, [], [name]) for name in BACKGROUNDS for _ in range(8)]
    cosine = look(scenes, [np.ones((64, 64))] * len(scenes)) @ texts.T
    truth = torch.arange(len(BACKGROUNDS)).repeat_interleave(8) + len(CLASSES)
    assert (cosine.argmax(1) == truth).float().mean() > 0.9
    assert cosine.gather(1, truth[:, None]).mean() > 0.5


def test_shipped_guide_fits_the_package():
    assert sum(file.stat().st_size for file in GUIDE_WEIGHTS.iterdir()) < 10e6
