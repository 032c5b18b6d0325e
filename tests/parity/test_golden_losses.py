"""Features of the guide, and the steps of classify, slm, cpl and csr, against the published code (tests/golden)."""

import copy

import numpy as np
import pytest
import torch
from golden_files import PARITY
from torch import nn

from semples.data.training_images import present_pairs
from semples.inference.views import as_batch
from semples.models.generators import Maps, MaskGenerator
from semples.models.guide import Guide
from semples.models.masking import masked_views
from semples.models.prompts import PromptBank
from semples.models.tasks import ClassifyTask, MaskTask, PromptTask
from semples.training.job import adamw

SLM, CSR = ({"w_bg", "eps", "w_area", "w_class", "logit_scale", *more} for more in ((), ("w_prompt",)))
TERMS = {"slm": PARITY.slm.model_dump(include=SLM), "csr": PARITY.csr.model_dump(include=CSR)}
PROMPT_TERMS = PARITY.cpl.model_dump(include={"w_text", "text_term", "eps", "final_period"})


class StoredMaps(MaskGenerator):
    """A generator whose maps are parameters."""

    def __init__(self, maps: np.ndarray) -> None:
        super().__init__((0, 0, 0), (1, 1, 1))
        self.maps = nn.Parameter(torch.from_numpy(maps))

    def forward(self, images: torch.Tensor) -> Maps:
        return Maps(self.maps, ())


def batch_of(z: dict[str, np.ndarray], key: str = "images") -> dict[str, torch.Tensor]:
    image, klass = present_pairs(labels := torch.from_numpy(z["labels"]))
    pictures = as_batch(list(z[key]), torch.device("cpu"))
    return {"image": pictures, "labels": labels, "pair_image": image, "pair_class": klass}


@pytest.fixture(scope="module")
def texts(golden, golden_guide) -> torch.Tensor:
    with torch.no_grad():
        return golden_guide.encode_text([f"a photo of {word}." for word in golden("guide_tiny")["class_words"]])


@torch.no_grad()
def test_features_equal_the_published(golden, golden_guide, agrees):
    z = golden("guide_tiny")

    def unit(name: str) -> torch.Tensor:
        return nn.functional.normalize(torch.from_numpy(z[name]), dim=-1)

    pixels = golden_guide.normalise(as_batch(list(z["images"]), torch.device("cpu")))
    sentences = list(map(str, z["sentences"]))
    agrees("features of sentences", golden_guide.encode_text(sentences), unit("text_features"), 1e-6)
    agrees("features of images", golden_guide.encode_image(pixels), unit("image_features"), 3e-6)
    prompts = golden_guide.encode_prompts(torch.from_numpy(z["prompts"]), "bare")
    agrees("features of prompts", prompts, unit("prompt_features"), 2e-6)


@pytest.mark.parametrize("clamped", [False, True], ids=["plain", "clamped"])
@pytest.mark.parametrize("stage", ["slm", "csr", "cpl"])
def test_losses_and_gradients_equal_the_published(stage, clamped, golden, golden_guide, texts, agrees):
    z, guide = golden("losses"), golden_guide
    if clamped:  # some cosines lie where the logarithm has no gradient
        guide = copy.deepcopy(guide)
        guide.clip.visual.ln_post.bias.data = torch.from_numpy(z["clamped/visual.ln_post.bias"])
    generator, batch = StoredMaps(z["maps"]), batch_of(z)
    if stage == "cpl":
        bank = bank_of(z["prompts"])
        losses = PromptTask(bank, generator, guide, texts, **PROMPT_TERMS)(batch)
        learned, name = bank.vectors, "cpl/gradient/prompts"
    else:
        losses = mask_task(stage, generator, guide, texts, z["prompts"], head_only=False)(batch)
        learned, name = generator.maps, f"{stage}/gradient/maps"
    losses["loss"].backward()
    case, prefix = f"{stage}{', clamped cosines' if clamped else ''}", "clamped/" if clamped else ""
    agrees(f"{case}: loss", losses["loss"].detach(), z[f"{prefix}{stage}/loss"], 1e-5)
    agrees(f"{case}: gradient, of its norm", learned.grad, z[f"{prefix}{name}"], 1e-4, relative=True)


def test_the_masked_pictures_equal_the_published(golden, golden_guide, agrees):
    z, batch = golden("losses"), batch_of(golden("losses"))
    maps = torch.from_numpy(z["maps"])[batch["pair_image"], batch["pair_class"]]
    pixels = golden_guide.normalise(batch["image"])[batch["pair_image"]]
    views = masked_views(pixels, golden_guide.masks(maps, PARITY.slm.eps), golden_guide.fill)[..., 3::8, 3::8]
    published = np.concatenate([z["slm/views/foreground"], z["slm/views/background"]])
    agrees("slm: masked pictures", views, published, 1e-5)


def mask_task(stage: str, generator: MaskGenerator, guide: Guide, texts: torch.Tensor, vectors, **others) -> MaskTask:
    prompts = guide.encode_prompts(torch.from_numpy(vectors), "bare").detach().unsqueeze(1) if stage == "csr" else None
    return MaskTask(generator, guide, texts, prompts=prompts, **TERMS[stage], **others)


def bank_of(vectors: np.ndarray) -> PromptBank:
    bank = PromptBank(len(vectors), vectors.shape[1], vectors.shape[2])
    bank.vectors.data = torch.from_numpy(vectors).clone()
    return bank


def test_three_steps_of_cpl_equal_the_published(golden, golden_guide, texts, agrees):
    z, steps = golden("losses"), golden("cpl_steps")
    bank, batch = bank_of(steps["prompts"]), batch_of(z)
    task = PromptTask(bank, StoredMaps(z["maps"]), golden_guide, texts, **PROMPT_TERMS)
    optimizer = adamw(bank, PARITY.cpl)
    for step, rate in enumerate(steps["lr"]):
        for group in optimizer.param_groups:
            group["lr"] = float(rate)
        optimizer.zero_grad()
        loss = task(batch)["loss"]
        loss.backward()
        optimizer.step()
        agrees(f"cpl, step {step + 1}: loss", loss.detach(), steps["loss"][step], 1e-5)
        agrees(f"cpl, step {step + 1}: prompts", bank.vectors.detach(), steps["prompts_after"][step], 1e-4)


@pytest.mark.parametrize("stage", ["slm", "csr"])
def test_gradients_of_weaktrs_head_equal_the_published(stage, golden, golden_guide, golden_weaktr, texts, agrees):
    z, stored = golden("slm_weaktr_tiny"), golden("losses")
    model, batch = golden_weaktr(20, changed=z), batch_of(stored)
    task = mask_task(stage, model, golden_guide, texts, stored["prompts"], head_only=PARITY.slm.trainable == "head")
    loss = task.train()(batch)["loss"]
    loss.backward()
    agrees(f"{stage} with WeakTr: loss", loss.detach(), z[f"{stage}/loss"], 1e-5)
    agrees(f"{stage} with WeakTr: fine maps", model(batch["image"]).cams.detach(), z["fine_maps"], 2e-4)
    compare_gradients(f"{stage} with WeakTr", model, z, f"{stage}/gradient/", agrees)


@pytest.mark.parametrize("pool", ["max", "avg"])
def test_weaktr_and_its_classification_step_equal_the_published(pool, golden, golden_weaktr, agrees):
    z = golden("weaktr_tiny")
    model, batch = golden_weaktr(pool=pool), batch_of(z, "images_224")
    maps = model.eval()(batch["image"])
    names = ("class_tokens", "coarse", "fine")
    for name, logits, most in zip(names, maps.logits, (2e-5, 1e-4, 1e-6), strict=True):
        agrees(f"WeakTr, {pool}: logits of {name.replace('_', ' ')}", logits.detach(), z[f"{pool}/logits_{name}"], most)
    agrees(f"WeakTr, {pool}: fine maps", maps.cams.detach(), z[f"{pool}/fine_maps"], 3e-6)
    loss = ClassifyTask(model).train()(batch)["loss"]
    agrees(f"classify, {pool}: loss", loss.detach(), z[f"classify_{pool}/loss"], 1e-5)
    if pool == "max":
        loss.backward()
        without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
        assert without == set(map(str, z["classify_max/without_gradient"]))
        compare_gradients("classify, max", model, z, "classify_max/gradient/", agrees)


def compare_gradients(case: str, model: nn.Module, z: dict[str, np.ndarray], prefix: str, agrees) -> None:
    """Compare the gradients of all parameters; the table has the largest difference."""
    ours = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    published = {key.removeprefix(prefix): torch.from_numpy(z[key]) for key in z if key.startswith(prefix)}
    assert set(ours) == set(published)
    far = [(ours[name] - value).norm() / value.norm() for name, value in published.items()]
    agrees(f"{case}: {len(far)} gradients, the worst, of its norm", max(far), 0.0, 2e-4)
