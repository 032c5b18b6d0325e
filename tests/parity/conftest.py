"""Tensors of the published code (tests/golden), the tiny networks that they belong to, and the table of differences."""

import json
from collections.abc import Callable

import numpy as np
import open_clip
import pytest
import torch
from golden_files import GOLDEN, PARITY
from open_clip.model import CLIP
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer

from semples.models.generators import build_generator
from semples.models.generators.weaktr import WeakTr
from semples.models.guide import IMAGENET_MEAN, IMAGENET_STD, Guide

DIFFERENCE = "difference from the published code"


@pytest.fixture
def agrees(request) -> Callable:
    """`agrees(subject, ours, published, most)` fails where the largest absolute difference is above `most`.

    With `relative` it is the norm of the difference over the published norm. The table of all is printed at the end.
    """

    def compare(subject: str, ours, published, most: float, relative: bool = False) -> None:
        ours, published = (torch.as_tensor(np.asarray(values), dtype=torch.float64) for values in (ours, published))
        assert ours.shape == published.shape
        assert torch.equal(ours.isnan(), published.isnan())
        difference = (ours - published).nan_to_num(0)
        size = difference.norm() / published.norm() if relative else difference.abs().max()
        request.node.user_properties.append((DIFFERENCE, (subject, size.item(), most)))
        assert size <= most, f"{subject}: {size:.3g}"

    return compare


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, np.ndarray]]:
    """Return the arrays of a file in tests/golden by their names."""
    return lambda name: dict(np.load(GOLDEN / f"{name}.npz"))


@pytest.fixture(scope="session")
def golden_clip(golden) -> CLIP:
    """The tiny CLIP of guide_tiny.npz."""
    z = golden("guide_tiny")
    state = {name.removeprefix("state/"): torch.from_numpy(z[name]).float() for name in z if name.startswith("state/")}
    table = torch.zeros(49408, 64)
    table[torch.from_numpy(z["token_embedding/ids"]).long()] = torch.from_numpy(z["token_embedding/rows"]).float()
    clip = CLIP(**json.loads((GOLDEN / "guide_tiny_open_clip_config.json").read_text())["model_cfg"])
    clip.load_state_dict(state | {"token_embedding.weight": table})
    return clip.eval()


@pytest.fixture(scope="session")
def golden_guide(golden_clip) -> Guide:
    """The guide of the published steps."""
    section, tokenizer = PARITY.guide, open_clip.SimpleTokenizer(context_length=77)
    return Guide(golden_clip, tokenizer, section.normalisation, section.fill, section.align_corners)


@register_model
def vit_of_golden_tensors(pretrained: bool = False, **options) -> VisionTransformer:
    """The backbone of weaktr_tiny.npz."""
    passed = ("num_classes", "drop_path_rate", "dynamic_img_size", "dynamic_img_pad")
    shape = {"img_size": 224, "patch_size": 16, "embed_dim": 48, "depth": 3, "num_heads": 3, "mlp_ratio": 4}
    model = VisionTransformer(**{**shape, **{name: options[name] for name in passed}})
    model.default_cfg = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    return model


@pytest.fixture(scope="session")
def golden_weaktr(golden) -> Callable[..., WeakTr]:
    """Return the tiny WeakTr for 5 classes, or with tensors in place of those of other shapes for `classes`."""

    def build(classes: int = 5, pool: str = "max", changed: dict | None = None) -> WeakTr:
        options = {"fusion_pool": pool, "position_resize": PARITY.generator.position_resize}
        model = build_generator("weaktr", classes, "vit_of_golden_tensors", fusion_reduction=4, **options)
        z = golden("weaktr_tiny") | (changed or {})
        state = {n.removeprefix("state/"): torch.from_numpy(z[n]).float() for n in z if n.startswith("state/")}
        model.load_state_dict(state)
        return model

    return build


def pytest_terminal_summary(terminalreporter):
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    properties = [pair for report in reports if report.when == "call" for pair in report.user_properties]
    if rows := sorted(row for name, row in properties if name == DIFFERENCE):
        terminalreporter.section("largest differences from the published code")
        terminalreporter.write_line(f"{'subject':<64}{'difference':>12}{'tolerance':>12}")
        for subject, difference, most in rows:
            terminalreporter.write_line(f"{subject:<64}{difference:>12.1e}{most:>12.0e}")
