"""Products by oneDNN are PyTorch's own up to rounding, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from semples.models.generators import build_generator
from semples.runtime.cpu import OneDnn, fuse, quick_steps


@pytest.mark.parametrize("name", ["vit_cam", "weaktr"])
@torch.no_grad()
def test_maps_are_those_of_pytorch(name):
    torch.manual_seed(0)
    generator = build_generator(name, 3, "deit_tiny_patch16_224").eval()
    images = torch.rand(2, 3, 368, 320)  # 460 tokens: more than are asked at once
    expected = generator(images).cams
    names = set(generator.state_dict())
    fuse(generator)
    with OneDnn():
        found = generator(images).cams
    assert not torch.equal(found, expected)  # it did go another way
    assert torch.allclose(found, expected, atol=1e-4 * expected.max().item())
    assert set(generator.state_dict()) == names


def test_attention_with_a_mask_is_pytorchs_own():
    query = torch.rand(1, 2, 5, 4)
    mask = torch.eye(5, dtype=torch.bool)
    with OneDnn():
        found = F.scaled_dot_product_attention(query, query, query, attn_mask=mask)
    assert torch.allclose(found, query)


def gradients(layer: nn.Module, rows: torch.Tensor) -> list[torch.Tensor]:
    """Output, and gradients of rows and parameters of a loss that weighs every output."""
    rows = rows.clone().requires_grad_()
    out = layer(rows)
    wanted = [rows, *(p for p in layer.parameters() if p.requires_grad)]
    return [out.detach(), *torch.autograd.grad((out * torch.arange(out.shape[-1])).sin().sum(), wanted)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_gradients_of_a_layer_are_those_of_pytorch(bias, frozen, monkeypatch):
    torch.manual_seed(0)
    layer, rows = nn.Linear(48, 32, bias=bias).requires_grad_(not frozen), torch.randn(3, 7, 48)
    expected = gradients(layer, rows)
    calls = []
    monkeypatch.setattr("semples.runtime.cpu._product", counted(calls))
    with quick_steps(torch.device("cpu")):
        found = gradients(layer, rows)
    assert len(calls) == (2 if frozen else 3)
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        assert torch.allclose(one, two, atol=1e-4)


def counted(calls: list):
    """oneDNN's product, which notes that it was called."""
    from semples.runtime.cpu import _product

    def product(*args, **kwargs):
        calls.append(args[0].shape)
        return _product(*args, **kwargs)

    return product


def test_mixed_precision_is_left_alone(monkeypatch):
    calls = []
    monkeypatch.setattr("semples.runtime.cpu._product", counted(calls))
    with torch.autocast("cpu", torch.bfloat16), OneDnn():
        nn.Linear(8, 4)(torch.rand(2, 8))
    assert not calls
