"""The drawn world and the guide that was trained on it."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from semples.config import load
from semples.mini import GUIDE_WEIGHTS
from semples.mini.shapes import PLAIN
from semples.mini.world import BACKGROUND_OF, BACKGROUNDS, CLASSES, WORDS, Scene, compose, draw_scene
from semples.models.losses import attract, refinement_loss, segment_label_loss

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


def test_a_telling_part_is_a_fair_share_of_every_object():
    scenes = draw(2, 300)
    for index in range(1, len(CLASSES) + 1):
        shares = [scene.telling[scene.mask == index].mean() for scene in scenes if index in scene.mask]
        assert 0.15 < np.mean(shares) < 0.5, CLASSES[index - 1]
    assert not any(scene.telling[scene.mask == 0].any() for scene in scenes)


def test_a_plain_paint_does_not_tell_the_class():
    assert all(sum(paints == others for others in PLAIN.values()) == 2 for paints in PLAIN.values())


def test_words_by_hand_miss_half_of_the_backgrounds():
    words = load.load({"preset": "mini"}).experiments["csr-manual"]["cpl"]["manual_by_class"]
    assert sum(BACKGROUND_OF[name] in words[name] for name in CLASSES) == len(CLASSES) / 2


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


@pytest.fixture(scope="module")
def mask_losses(shipped):
    """Mean losses (class, mask) of slm's foreground term, of slm, and of csr with the own background as prompt."""
    look, texts = shipped
    scenes = draw(13, 240, two_objects=0.0)
    losses = torch.zeros(3, len(CLASSES), len(MASKS))
    for index, name in enumerate(CLASSES):
        own = WORDS.index(BACKGROUND_OF[name])
        mine = [scene for scene in scenes if scene.objects == (name,) and (scene.word_map == own).any()]
        for column, mask in enumerate(MASKS.values()):
            masks = [mask(scene, scene.word_map == own) for scene in mine]
            front, back = look(mine, masks), look(mine, [~mask for mask in masks])
            pairs = front @ texts[index], back @ texts[index], front @ texts[own]
            losses[0, index, column] = attract(pairs[0])
            losses[1, index, column] = segment_label_loss(*pairs[:2], w_bg=2.0)
            losses[2, index, column] = refinement_loss(*pairs, w_bg=2.0, w_prompt=1.0)
    return losses


MASKS = {
    "telling part": lambda scene, own: scene.telling,
    "object": lambda scene, own: scene.mask > 0,
    "object and own background": lambda scene, own: (scene.mask > 0) | own,
}


def test_foreground_term_gives_no_reason_to_cover_the_plain_rest(mask_losses):
    telling, whole, _ = mask_losses[0].mean(0)
    assert (telling - whole).abs() < 0.1


def test_background_term_asks_for_the_plain_rest(mask_losses):
    telling, whole, _ = mask_losses[1].unbind(1)
    assert (whole < telling - 0.3).all()


def test_prompts_lead_away_from_the_own_background(mask_losses):
    _, whole, wide = mask_losses.unbind(2)
    assert (whole[2] < wide[2]).all()
    lead = (wide - whole)[2] - (wide - whole)[1]  # of csr over slm
    assert (lead > 0).all()
    assert lead.mean() > 0.1
