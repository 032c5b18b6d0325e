"""One step of every stage in float64, whole and in parts: the same losses and the same gradients."""

import copy
import json

import pytest
import torch
from torch import nn

from semples.data.training_images import TrainingBatches
from semples.models import parts
from semples.models.generators import build_generator
from semples.models.prompts import PromptBank
from semples.models.segment_task import SegmentTask
from semples.models.segmenters import Segmenter
from semples.models.tasks import ClassifyTask, JointTask, MaskTask, PromptTask
from semples.training.loop import TrainingPlan, fit

IMAGES, CLASSES, SIDE = 7, 3, 32
LABELS = torch.tensor([[1, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0]])
CLASS_WEIGHTS = torch.tensor([0.5, 2.0, 1.0])
TERMS = {"w_bg": 2.4, "eps": 0.1, "w_area": 0.3, "w_class": 0.2, "class_weights": CLASS_WEIGHTS}
PROMPT_TERMS = {"w_text": 0.1, "text_term": "repel"}


class Pictures(torch.utils.data.Dataset):
    """Seven random pictures with labels, maps of their labels, and masks that are partly void."""

    ids = tuple(map(str, range(IMAGES)))

    def __init__(self, *targets: str) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        draw = torch.Generator().manual_seed(key[0])
        mask = torch.randint(0, CLASSES + 1, (SIDE, SIDE), generator=draw)
        mask[: 4 * key[0]] = 255
        item = {
            "image": torch.rand(3, SIDE, SIDE, generator=draw),
            "labels": LABELS[key[0]].float(),
            "pair_maps": torch.rand(int(LABELS[key[0]].sum()), SIDE, SIDE, generator=draw),
            "mask": mask,
            "confidence": torch.rand(SIDE, SIDE, generator=draw),
        }
        return {name: item[name] for name in ("image", *self.targets)}

    def augment_batch(self, batch: dict[str, torch.Tensor], _device: torch.device) -> dict[str, torch.Tensor]:
        return batch


@pytest.fixture(params=["classify", "slm", "cpl", "cpl from maps", "csr", "joint", "segment"])
def stage(request, tiny_guide) -> tuple[nn.Module, tuple[str, ...]]:
    """The task of a stage and the targets of its batches; no batch normalisation in training."""
    torch.manual_seed(0)
    if request.param == "segment":
        network = Segmenter("deeplabv3plus", "tu-resnet10t", CLASSES, 16)
        task = SegmentTask(network, torch.tensor([0.5, 1.0, 2.0, 1.0]))
        task.train = lambda _mode=True: nn.Module.train(task, False)
        return task, ("mask", "confidence")
    guide = copy.deepcopy(tiny_guide)
    texts, prompts = torch.randn(2, CLASSES, 16).div(4).unbind()
    generator = build_generator("weaktr", CLASSES, "deit_tiny_patch16_224")
    bank = PromptBank(CLASSES, 4, guide.width)
    cpl = {"eps": 1e-4, "class_weights": CLASS_WEIGHTS, **PROMPT_TERMS}
    joint = TERMS | {"prompt_terms": PROMPT_TERMS, "final_period": "end_of_word", "w_prompt": 0.5}
    task = {
        "classify": lambda: ClassifyTask(generator),
        "slm": lambda: MaskTask(generator, guide, texts, head_only=False, **TERMS),
        "csr": lambda: MaskTask(generator, guide, texts, prompts=prompts.unsqueeze(1), w_prompt=0.5, **TERMS),
        "cpl": lambda: PromptTask(bank, generator, guide, texts, **cpl),
        "cpl from maps": lambda: PromptTask(bank, None, guide, texts, **cpl),
        "joint": lambda: JointTask(generator, bank, guide, texts, **joint),
    }[request.param]()
    return task, ("labels", "pair_maps") if request.param == "cpl from maps" else ("labels",)


def test_parts_have_the_losses_and_gradients_of_the_whole_batch(stage, tmp_path):
    task, targets = stage
    task.double()
    state = copy.deepcopy(task.learner.state_dict())
    rows, steps = [], []
    for accumulate in (1, 3):
        task.learner.load_state_dict(state)
        learned = [parameter for parameter in task.learner.parameters() if parameter.requires_grad]
        folder = tmp_path / str(accumulate)
        plan = TrainingPlan(1, lambda _: 1.0, 0, "cpu", "64-true", folder, "", accumulate=accumulate)
        batches = TrainingBatches(Pictures(*targets), IMAGES, seed=0, workers=0)
        fit(task, batches, torch.optim.SGD(learned, lr=1.0, fused=True), plan)
        steps.append({name: value - state[name] for name, value in task.learner.state_dict().items()})
        row = json.loads((folder / "metrics.jsonl").read_text())
        rows.append({name: row[name] for name in ("loss", "s_fg", "s_bg", "area", "s_prompt", "s_text") if name in row})
    whole, in_parts = steps
    assert max(change.abs().max() for change in whole.values()) > 1e-3
    for name, change in whole.items():
        assert torch.allclose(change.double(), in_parts[name].double(), rtol=1e-6, atol=1e-6), name
    assert rows[0] == pytest.approx(rows[1], abs=1e-6)


@pytest.mark.parametrize("count", [1, 2])
def test_pairs_without_weight_change_no_loss_and_no_gradient(stage, count, monkeypatch):
    monkeypatch.setattr(parts, "padded_size", lambda pairs: pairs + 3)
    task, targets = stage
    task.double().train()
    batch = next(iter(TrainingBatches(Pictures(*targets), IMAGES, seed=0, workers=0).start(0)))
    batch = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
    results, pairs = [], []
    for pad in (False, True):
        task.zero_grad()
        made = task.parts(batch, count, pad)
        torch.manual_seed(0)
        rows = [task(part) for part in made]
        sum(row["loss"] for row in rows).backward()
        sums = {name: sum(row[name] for row in rows).detach() for name in rows[0]}
        results.append(sums | {n: p.grad for n, p in task.learner.named_parameters() if p.grad is not None})
        pairs.append(sum(len(part.get("pair_image", ())) for part in made))
    plain, padded = results
    assert "labels" not in batch or pairs == [11, 11 + 3 * count]
    assert plain.keys() == padded.keys()
    assert max(value.abs().max() for value in plain.values()) > 1e-3
    for name, value in plain.items():
        assert torch.allclose(value, padded[name], rtol=1e-6, atol=1e-12), name
