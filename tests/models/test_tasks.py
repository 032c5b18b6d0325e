"""Each step changes what it should, and nothing else."""

import copy

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn

from semples.data.training_images import present_pairs
from semples.models.generators import build_generator
from semples.models.masking import masked_views, min_max, scaled_masks
from semples.models.prompts import PromptBank
from semples.models.tasks import ClassifyTask, JointTask, MaskTask, PromptTask


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    labels = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 0]], dtype=torch.float32)
    image, klass = present_pairs(labels)
    return {"image": torch.rand(3, 3, 32, 32), "labels": labels, "pair_image": image, "pair_class": klass}


@pytest.fixture
def texts(tiny_guide) -> torch.Tensor:
    with torch.no_grad():
        return tiny_guide.encode_text(["a photo of dog.", "a photo of cat.", "a photo of cow."])


def changed(before: dict, module: nn.Module) -> set[str]:
    """Names of the values that are not bitwise what they were."""
    return {name for name, value in module.state_dict().items() if not torch.equal(before[name], value)}


def step(task: nn.Module, batch: dict) -> None:
    task.train()
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=10.0)
    task(batch)["loss"].backward()
    optimizer.step()


def test_slm_changes_the_generator_only(tiny_guide, texts, batch):
    generator = build_generator("conv_cam", 3, "")
    task = MaskTask(generator, tiny_guide, texts, w_bg=1, eps=0.1, head_only=False)
    before = copy.deepcopy(task.state_dict())
    step(task, batch)
    names = changed(before, task)
    assert names
    assert all(name.startswith("learner.") for name in names)


def test_csr_with_head_only_changes_the_head_only(tiny_guide, texts, batch):
    generator = build_generator("conv_cam", 3, "")
    prompts = texts.roll(1, 0).unsqueeze(1)
    task = MaskTask(generator, tiny_guide, texts, w_bg=1, eps=0.1, prompts=prompts, w_prompt=1)
    before = copy.deepcopy(task.state_dict())
    step(task, batch)
    names = changed(before, task)
    assert "learner.classifier.weight" in names
    # min-max scaling takes a bias out again: its gradient is rounding, or nothing
    assert names <= {"learner.classifier.weight", "learner.classifier.bias"}


@pytest.mark.parametrize("drop_path", [False, True])
def test_stochastic_depth_acts_in_a_frozen_backbone_on_request(tiny_guide, texts, batch, drop_path):
    generator = build_generator("vit_cam", 3, "deit_tiny_patch16_224", drop_path=0.5)
    task = MaskTask(generator, tiny_guide, texts, w_bg=1, eps=0.1, drop_path=drop_path)

    def maps(training: bool) -> torch.Tensor:
        torch.manual_seed(1)
        task.train(training)
        return generator(batch["image"]).cams

    assert torch.equal(maps(True), maps(False)) != drop_path
    assert torch.equal(maps(False), maps(False))


def test_cpl_changes_the_prompts_only(tiny_guide, texts, batch):
    bank = PromptBank(3, 4, tiny_guide.width)
    generator = build_generator("conv_cam", 3, "")
    task = PromptTask(bank, generator, tiny_guide, texts, w_text=0.1, text_term="repel", eps=1e-4)
    before = copy.deepcopy(task.state_dict())
    step(task, batch)
    assert changed(before, task) == {"learner.vectors"}


def test_backgrounds_in_parts_are_those_of_the_whole_batch(tiny_guide, texts, batch, monkeypatch):
    generator, sizes = build_generator("conv_cam", 3, ""), []
    generator.register_forward_pre_hook(lambda _module, images: sizes.append(len(images[0])))
    bank = PromptBank(3, 4, tiny_guide.width)
    task = PromptTask(bank, generator, tiny_guide, texts, w_text=0.1, text_term="log", eps=1e-4).eval()
    whole = task.backgrounds(batch)
    monkeypatch.setattr("semples.models.tasks.CPU_PART", 2)
    assert torch.allclose(task.backgrounds(batch), whole, atol=1e-6)
    assert sizes == [3, 2, 1]


def test_csr_equals_a_loop_over_pairs(tiny_guide, texts, batch):
    generator = build_generator("conv_cam", 3, "").eval()
    prompts = torch.stack([texts.roll(1, 0), texts.roll(2, 0)], dim=1)
    task = MaskTask(generator, tiny_guide, texts, w_bg=2, eps=0.1, prompts=prompts, w_prompt=3)
    task.eval()
    found = task(batch)["loss"]
    clamp = lambda s: s.clamp(1e-4, 0.9999)  # noqa: E731
    terms = []
    for i, k in batch["labels"].nonzero().tolist():
        score = generator(batch["image"]).cams[i : i + 1, k : k + 1]
        mask = nn.functional.interpolate(score, size=(32, 32), mode="bilinear")
        mask = (mask - mask.min()) / (mask.max() - mask.min() + 0.1)
        pixels = tiny_guide.normalise(batch["image"][i : i + 1])
        front, back = tiny_guide.encode_image(mask * pixels)[0], tiny_guide.encode_image((1 - mask) * pixels)[0]
        term = -clamp(front @ texts[k]).log() - 2 * (1 - clamp(back @ texts[k])).log()
        terms.append(term - 3 * (1 - clamp(prompts[k] @ front)).log().mean())
    assert found.item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-5)


def test_classifier_loss_falls_when_it_learns(batch):
    task = ClassifyTask(build_generator("conv_cam", 3, ""))
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-2)
    losses = []
    for _ in range(10):
        losses.append(task(batch)["loss"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_classify_with_head_only_changes_the_head_only(batch):
    task = ClassifyTask(build_generator("conv_cam", 3, ""), head_only=True)
    before = copy.deepcopy(task.state_dict())
    step(task, batch)
    assert changed(before, task) == {"learner.classifier.weight", "learner.classifier.bias"}


def test_min_max_by_hand():
    maps = torch.tensor([[[0.0, 1.0], [3.0, 2.0]]])
    assert torch.allclose(min_max(maps, 1.0), maps / 4)


def test_masked_views_fill_with_the_mean_colour():
    pixels, mask = torch.rand(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    front, back = masked_views(pixels, mask, torch.zeros(3, 1, 1))
    assert torch.equal(front[..., :2], pixels[0, ..., :2])
    assert front[..., 2:].abs().max() == 0
    assert torch.equal(front + back, pixels[0])


def test_every_mask_is_scaled_by_its_own_map():
    maps = torch.zeros(2, 4, 4)
    maps[1, 0, 0] = 5
    masks = scaled_masks(maps, 4, 1e-4)
    assert masks.shape == (2, 1, 4, 4)
    assert masks[0].max() == 0
    assert masks[1, 0, 0, 0] > 0.99


def test_joint_changes_generator_and_prompts_and_nothing_else(tiny_guide, texts, batch):
    bank, generator = PromptBank(3, 4, tiny_guide.width), build_generator("conv_cam", 3, "")
    task = joint(generator, bank, tiny_guide, texts)
    before = copy.deepcopy(task.state_dict())
    step(task, batch)
    names = changed(before, task)
    assert "learner.prompts.vectors" in names
    assert names - {"learner.prompts.vectors"} == {
        f"learner.generator.classifier.{part}" for part in ("weight", "bias")
    }


def joint(generator, bank, guide, texts) -> JointTask:
    terms = {"w_text": 0.1, "text_term": "repel"}
    return JointTask(
        generator, bank, guide, texts, w_bg=2, eps=0.1, w_prompt=3, prompt_terms=terms, final_period="end_of_word"
    )


def test_joint_is_csr_and_cpl_of_one_batch(tiny_guide, texts, batch):
    bank, generator = PromptBank(3, 4, tiny_guide.width), build_generator("conv_cam", 3, "").eval()
    prompts = tiny_guide.encode_prompts(bank.vectors).detach().unsqueeze(1)
    csr = MaskTask(generator, tiny_guide, texts, w_bg=2, eps=0.1, prompts=prompts, w_prompt=3).eval()
    cpl = PromptTask(bank, generator, tiny_guide, texts, w_text=0.1, text_term="repel", eps=0.1).eval()
    expected = csr(batch)["loss"] + cpl(batch)["loss"]
    found = joint(generator, bank, tiny_guide, texts).eval()(batch)
    assert found["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_area_and_classifier_terms_add_up(tiny_guide, texts, batch):
    generator = build_generator("conv_cam", 3, "").eval()
    plain = MaskTask(generator, tiny_guide, texts, w_bg=2, eps=0.1).eval()(batch)
    more = MaskTask(generator, tiny_guide, texts, w_bg=2, eps=0.1, w_area=0.5, w_class=0.25).eval()(batch)
    expected = plain["loss"] + 0.5 * plain["area"] + 0.25 * ClassifyTask(generator)(batch)["loss"]
    assert more["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_cpl_learns_from_maps_that_the_batch_brings(tiny_guide, texts, batch):
    generator = build_generator("conv_cam", 3, "").eval()
    bank = PromptBank(3, 4, tiny_guide.width)
    arguments = {"w_text": 0.1, "text_term": "log", "eps": 1e-4}
    expected = PromptTask(bank, generator, tiny_guide, texts, **arguments).eval()(batch)
    with torch.no_grad():
        maps = generator(batch["image"]).cams[batch["pair_image"], batch["pair_class"]]
    found = PromptTask(bank, None, tiny_guide, texts, **arguments).eval()(batch | {"pair_maps": maps})
    assert found["loss"].item() == pytest.approx(expected["loss"].item())


def test_shapes_are_checked_in_the_tests():
    with pytest.raises(TypeCheckError, match="mask"):
        masked_views(torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 7), torch.zeros(3, 1, 1))
