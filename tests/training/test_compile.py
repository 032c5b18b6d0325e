"""Compiled steps: the same learning, no compilation after the first epoch, and one clear error where it cannot work."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from open_clip.model import CLIP
from torch._dynamo.utils import counters

from semples.data.training_images import TrainingBatches
from semples.errors import SemplesError
from semples.models.generators import build_generator
from semples.models.guide import Guide
from semples.models.tasks import MaskTask
from semples.runtime import compiler
from semples.runtime.compiler import compiles
from semples.training.loop import TrainingPlan, fit

IMAGES, BATCH, CLASSES = 30, 10, 3
CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Pictures(torch.utils.data.Dataset):
    """Random pictures with two labels, three of them with one: 17 to 20 pairs in a batch, another number in each."""

    ids = tuple(map(str, range(IMAGES)))

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        draw = torch.Generator().manual_seed(key[0])
        labels = torch.tensor([1.0, float(key[0] > 2), 0.0]).roll(key[0])
        return {"image": torch.rand(3, 32, 32, generator=draw), "labels": labels}

    def augment_batch(self, batch: dict[str, torch.Tensor], _device: torch.device) -> dict[str, torch.Tensor]:
        return batch


def learned(folder: Path, compile_steps: bool) -> tuple[list[int], dict[str, torch.Tensor]]:
    """Train slm; return the number of graphs that were compiled until the end of each epoch, and what it learned."""
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    graphs = []

    def count(_learner) -> dict:
        graphs.append(counters["stats"]["unique_graphs"])
        return {}

    vision = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}
    clip = CLIP(16, vision, {"context_length": 24, "vocab_size": 9, "width": 16, "heads": 2, "layers": 1})
    guide = Guide(clip, None, "imagenet")
    task = MaskTask(build_generator("conv_cam", CLASSES, ""), guide, torch.randn(CLASSES, 16), w_bg=2.0, eps=0.1)
    plan = {"compile": compile_steps, "extra_metrics": count}
    plan = TrainingPlan(3, lambda _: 1.0, 0, "cpu", "32-true", folder, "", **plan)
    parameters = [parameter for parameter in task.learner.parameters() if parameter.requires_grad]
    batches = TrainingBatches(Pictures(), BATCH, seed=0, workers=0)
    fit(task, batches, torch.optim.SGD(parameters, lr=0.1, fused=True), plan)
    return graphs, {name: value.clone() for name, value in task.learner.state_dict().items()}


def main(folder: Path) -> None:
    """Print the graphs of an eager and of a compiled training, and the largest difference of what they learned."""
    none, plain = learned(folder / "plain", False)
    graphs, compiled = learned(folder / "compiled", True)
    difference = max((plain[name] - compiled[name]).abs().max().item() for name in plain)
    print(json.dumps([none, graphs, difference]))


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_nothing_is_compiled_after_the_first_epoch(tmp_path, backend):
    """In a process of its own: torch.compile cannot trace the checks of shapes that these tests switch on."""
    command = [sys.executable, __file__, backend, str(tmp_path)]
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    none, graphs, difference = json.loads(text.splitlines()[-1])
    assert none == [0, 0, 0]
    assert graphs[0] > 0
    assert graphs == graphs[:1] * 3
    assert difference < 1e-5


def test_on_the_cpu_steps_are_compiled_on_request(monkeypatch):
    monkeypatch.setattr(compiler, "BACKEND", "eager")
    assert [compiles(choice, CPU) for choice in ("auto", False, True)] == [False, False, True]


def test_where_compilation_fails_auto_goes_on_without_it(monkeypatch, caplog):
    monkeypatch.setattr(compiler, "_problem", lambda _device: "no compiler")
    with caplog.at_level(logging.WARNING):
        assert not compiles("auto", GPU)
    assert "no compiler" in caplog.text
    assert not compiles(False, GPU)
    with pytest.raises(SemplesError, match=r"run.compile: false"):
        compiles(True, CPU)


def test_the_problem_is_that_of_the_compiler(monkeypatch):
    def broken(*_) -> None:
        raise OSError("no g++\nand so on")

    monkeypatch.setattr(compiler, "BACKEND", broken)
    torch._dynamo.reset()
    assert "no g++" in compiler._problem(CPU)
    monkeypatch.setattr(compiler, "BACKEND", "eager")
    torch._dynamo.reset()
    assert compiler._problem(CPU) == ""


if __name__ == "__main__":
    compiler.BACKEND = sys.argv[1]
    main(Path(sys.argv[2]))
