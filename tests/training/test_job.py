"""The optimiser of the learning stages."""

import pytest
import torch
from torch import nn

from semples.config.load import load
from semples.config.settings import Settings
from semples.config.settings.learning import Schedule
from semples.data.manifest import read_manifest
from semples.training.job import LearningJob, adamw, learning_rate_factor

LR, DECAY = 0.01, 0.3


class Transformer(nn.Module):
    """Parameters of every kind that AdamW treats apart."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.ones(1, 1, 4))
        self.pos_embed = nn.Parameter(torch.ones(1, 3, 4))
        self.norm = nn.LayerNorm(4)
        self.block = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)
        self.frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)


@pytest.fixture
def settings():
    return Settings().classify.model_copy(update={"lr": LR, "weight_decay": DECAY})


def groups(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay by the name of the parameter."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_norms_biases_and_tokens_do_not_decay(settings):
    module = Transformer()
    rates_and_decays = groups(module, adamw(module, settings))
    assert {name for name, (_, decay) in rates_and_decays.items() if decay == DECAY} == {"block.weight", "head.weight"}
    assert {name for name, (_, decay) in rates_and_decays.items() if decay == 0} == {
        *("cls_token", "pos_embed", "norm.weight", "norm.bias", "block.bias", "head.bias")
    }


def test_a_step_without_gradient_shrinks_the_weights_that_decay_and_no_others(settings):
    module = Transformer()
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    optimizer = adamw(module, settings)
    sum(0 * parameter.sum() for parameter in module.parameters()).backward()
    optimizer.step()
    for name, parameter in module.named_parameters():
        factor = 1 - LR * DECAY if name in ("block.weight", "head.weight") else 1.0
        assert torch.allclose(parameter, factor * before[name], rtol=1e-6, atol=0), name


def test_the_head_learns_faster_by_its_factor(settings):
    module = Transformer()
    rates = {name: lr for name, (lr, _) in groups(module, adamw(module, settings, module.head, 10.0)).items()}
    assert {name for name, lr in rates.items() if lr == pytest.approx(10 * LR)} == {"head.weight", "head.bias"}
    assert {lr for name, lr in rates.items() if not name.startswith("head")} == {LR}


def test_all_parameters_decay_on_request(settings):
    module = Transformer()
    decays = groups(module, adamw(module, settings.model_copy(update={"decays": "all"})))
    assert {decay for _, decay in decays.values()} == {DECAY}
    assert len(decays) == 8


def test_a_warm_up_rises_to_the_cosine_which_ends_at_the_least_rate(settings):
    schedule = Schedule(warmup_epochs=2, warmup_lr=LR / 10, least_lr=LR / 5)
    factor = learning_rate_factor(settings.model_copy(update={"epochs": 10, "schedule": schedule}))
    assert [factor(share) for share in (0, 0.1)] == pytest.approx([0.1, 0.55])
    assert [factor(share) for share in (0.2, 0.5, 1)] == pytest.approx([0.2 + 0.8 * 0.9045085, 0.6, 0.2])


def test_a_rate_by_epochs_is_an_epoch_late(settings):
    factor = learning_rate_factor(settings.model_copy(update={"epochs": 4, "schedule": Schedule(change="epoch")}))
    rates = [factor(step / 12) for step in range(12)]
    assert rates == pytest.approx(3 * [1] + 3 * [1] + 3 * [0.8535534] + 3 * [0.5])


@pytest.mark.parametrize(
    ("places", "device", "gpu", "on_device"),
    [
        ({"augment_on": "auto"}, "auto", True, True),
        ({"augment_on": "auto"}, "auto", False, False),
        ({"augment_on": "auto"}, "cpu", True, False),
        ({"augment_on": "loader"}, "cuda", True, False),
        ({"augment_on": "device"}, "cpu", False, True),
        ({"decode_on": "device"}, "cpu", False, True),
    ],
)
def test_a_gpu_augments_unless_the_settings_say_otherwise(odd_photos, monkeypatch, places, device, gpu, on_device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    settings = load({"preset": "mini", "run": {"device": device, **places}})
    images = read_manifest(odd_photos)
    batches = LearningJob(settings, "classify", 0, odd_photos, odd_photos.parent).batches(images, None)
    assert batches.dataset.augment_on_device == on_device
