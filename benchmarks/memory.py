"""Count the peak GPU memory of a job of every stage, on any machine, and show it beside the estimate of `semples plan`.

    python -m benchmarks.memory --config config.yaml

Tensors are fake: they have shapes and no values, and nothing is computed. The tensors that live at the same time are
added up. Mixed precision follows CUDA's rules for matrix products, convolutions, norms and softmax. A GPU needs more:
CUDA itself, the work spaces of its libraries, and what fragmentation wastes. None of that is counted.
"""

import argparse
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import open_clip
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from semples.config.load import load
from semples.config.parse import read_yaml
from semples.config.settings import Settings
from semples.inference.views import average_views, stored_size
from semples.models.guide import Guide
from semples.models.parts import Batch
from semples.models.prompts import PromptBank
from semples.models.segment_task import SegmentTask
from semples.models.segmenters import Segmenter
from semples.models.tasks import ClassifyTask, JointTask, MaskTask, PromptTask
from semples.planning.cost import Size, known_network, size_of, work
from semples.planning.network_counts import bare_guide
from semples.stages.tables.formats import markdown
from semples.training.job import set_checkpointing
from semples.weights.generators import bare_generator

STAGES = ("classify", "slm", "cpl", "csr", "joint", "cams", "segment", "segment_masks")
PHOTOGRAPH = (375, 500)  # height and width of most images of VOC
FLOAT32 = ((F, "layer_norm"), (F, "group_norm"), (F, "softmax"), (Tensor, "softmax"))


class Live(TorchDispatchMode):
    """Adds up the bytes of the tensors that live at the same time; `peak` is their largest sum."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None) -> Any:
        """Count the storages that an operation allocates, until they are freed."""
        outputs = function(*args, **kwargs or {})
        for tensor in tree_leaves(outputs):
            if isinstance(tensor, Tensor) and id(storage := tensor.untyped_storage()) not in self.known:
                self.known.add(id(storage))
                self.bytes += storage.nbytes()
                weakref.finalize(storage, self._free, id(storage), storage.nbytes())
        self.peak = max(self.peak, self.bytes)
        return outputs

    def _free(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.bytes -= size


@contextmanager
def cuda_rules() -> Iterator[None]:
    """Compute as on CUDA in this block: norms and softmax in float32 under autocast, a batch in one part."""
    with ExitStack() as stack:
        stack.enter_context(patch("semples.models.tasks.CPU_PART", sys.maxsize))
        for owner, name in FLOAT32:
            stack.enter_context(patch.object(owner, name, _in_float32(getattr(owner, name))))
        yield


def _in_float32(function: Callable) -> Callable:
    return lambda values, *args, **kwargs: function(values.float(), *args, **kwargs)


def main() -> None:
    """Print a row per stage: settings of a step, estimated and counted GB."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="names a preset")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    args = parser.parse_args()
    settings = load(read_yaml(args.config), str(args.config))
    size, rows = size_of(settings), []
    for stage in args.stages:
        estimated = work(stage, settings, size, known_network)[1] / 1e3
        counted = peak(stage, settings, size) / 1e9
        rows.append([stage, *_step(stage, settings), f"{estimated:.2f}", f"{counted:.2f}"])
        print(rows[-1], flush=True)
    print(markdown(pd.DataFrame(rows, columns=["stage", "images", "parts", "estimated GB", "counted GB"])))


def _step(stage: str, settings: Settings) -> tuple[int, int]:
    """Return the images of a step, and its parts."""
    if stage in ("cams", "segment_masks"):
        return settings.cams.batch, 1
    training = settings.csr if stage == "joint" else getattr(settings, stage)
    return training.batch, training.accumulate


def peak(stage: str, settings: Settings, size: Size) -> int:
    """Return the bytes of all tensors of a job, where they are most."""
    inference = stage in ("cams", "segment_masks")
    with torch.device("meta"):  # outside of the fake mode, as timm reads values of tensors
        module = _network(stage, settings, size.classes) if inference else _task(stage, settings, size.classes)
    with FakeTensorMode(allow_non_fake_inputs=True), Live() as live, cuda_rules():
        module.to_empty(device="cpu")
        autocast = partial(torch.autocast, "cpu", torch.bfloat16, enabled=settings.precision != "32-true")
        if inference:
            with torch.no_grad(), autocast():
                _views(stage, settings, module.eval())
        else:
            _train(stage, settings, size, module.train(), autocast)
    return live.peak


def _train(stage: str, settings: Settings, size: Size, task: Any, autocast: Callable) -> None:
    """Compute two parts of a step; the second one finds the gradients of the first."""
    set_checkpointing(task, settings.run.checkpointing)
    states = 1 if stage == "segment" and settings.segment.optimizer == "sgd" else 2
    learned = [parameter for parameter in task.learner.parameters() if parameter.requires_grad]
    optimizer = [torch.empty_like(parameter) for parameter in learned for _ in range(states)]
    images, parts = _step(stage, settings)
    for _ in range(2):
        batch = _part(stage, settings, -(-images // parts), size)
        with autocast():
            losses = task(batch)
        losses["loss"].backward()
        del losses, batch
    del optimizer


def _views(stage: str, settings: Settings, network: nn.Module) -> None:
    """Run a batch of photographs through the network of an inference stage."""
    cams, segment = settings.cams, settings.segment
    images = torch.empty(cams.batch, 3, *PHOTOGRAPH)
    if stage == "cams":
        stored = stored_size(*PHOTOGRAPH, cams.stride)
        average_views(lambda view: network(view).cams, images, cams.scales, cams.flip, stored)
    else:
        average_views(lambda view: network(view).softmax(1), images, segment.test_scales, segment.test_flip, PHOTOGRAPH)


def _network(stage: str, settings: Settings, classes: int) -> nn.Module:
    return bare_generator(settings.generator, classes) if stage == "cams" else _segmenter(settings, classes)


def _segmenter(settings: Settings, classes: int) -> Segmenter:
    segment = settings.segment
    with torch.device("cpu"):  # some encoders cannot be made on the device meta
        return Segmenter(segment.network, segment.encoder, classes, segment.decoder_channels)


def _task(stage: str, settings: Settings, classes: int) -> nn.Module:
    """Return the task of a stage, as the stage makes it, with random weights."""
    if stage == "segment":
        return SegmentTask(_segmenter(settings, classes))
    generator = bare_generator(settings.generator, classes)
    if stage == "classify":
        return ClassifyTask(generator, settings.classify.trainable == "head")
    guide = _guide(settings)
    texts = torch.empty(classes, guide.clip.visual.output_dim)
    bank = PromptBank(classes, settings.cpl.length, guide.width)
    prompt_terms = settings.cpl.model_dump(include={"w_text", "text_term"})
    if stage == "cpl":
        return PromptTask(bank, generator, guide, texts, eps=settings.cpl.eps, **prompt_terms)
    section = settings.slm if stage == "slm" else settings.csr
    terms = section.model_dump(include={"w_bg", "eps", "w_area", "w_class", "w_prompt", "logit_scale"})
    terms["head_only"] = section.trainable == "head"
    if stage == "joint":
        joint = {"prompt_terms": prompt_terms, "final_period": settings.cpl.final_period}
        return JointTask(generator, bank, guide, texts, **terms, **joint)
    prompts = texts.unsqueeze(1) if stage == "csr" else None
    return MaskTask(generator, guide, texts, prompts=prompts, **terms)


def _guide(settings: Settings) -> Guide:
    clip = bare_guide(settings.guide.model)
    with torch.device("cpu"):
        return Guide(clip, open_clip.SimpleTokenizer(context_length=clip.context_length), "imagenet")


def _part(stage: str, settings: Settings, images: int, size: Size) -> Batch:
    """Return the values of a part of a batch, with as many pairs as images have on average."""
    if stage == "segment":
        side = settings.segment.crop
        mask = torch.empty(images, side, side)
        weights = {"image_weight": torch.empty(images), "pixel_weight": torch.empty_like(mask)}
        return {"image": torch.empty(images, 3, side, side), "mask": mask.long(), **weights}
    side, pairs = settings.generator.image_size, round(images * size.labels)
    index = {name: torch.empty(pairs, dtype=torch.long) for name in ("pair_image", "pair_class")}
    weights = {name: torch.empty(pairs) for name in ("pair_share", "pair_weight")}
    labels = {"labels": torch.empty(images, size.classes), "image_weight": torch.empty(images)}
    return {"image": torch.empty(images, 3, side, side), **labels, **index, **weights}


if __name__ == "__main__":
    main()
