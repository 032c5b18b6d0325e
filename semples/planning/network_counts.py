"""Count the operations and sizes of networks, which are built without weights."""

import json
from functools import cache
from pathlib import Path

import open_clip
import torch
from open_clip.model import CLIP
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from semples.config.settings import Generator, GuideSettings, Segment, Settings
from semples.mini import GUIDE_WEIGHTS
from semples.models.segmenters import Segmenter
from semples.planning.cost import Network
from semples.weights.generators import bare_generator

FALLBACK_GUIDE = "ViT-B-32"  # for a guide whose configuration is not available


def count_network(kind: str, settings: Settings, classes: int) -> Network:
    """Count the `generator` or `segmenter` of settings on a training crop, or the image tower of the `guide`."""
    section = {"generator": settings.generator, "segmenter": settings.segment, "guide": settings.guide}[kind]
    return _counted(type(section), section.model_dump_json(), classes)


@cache
def _counted(model: type[Generator | Segment | GuideSettings], values: str, classes: int) -> Network:
    """Count the network of one section of the settings, given as JSON."""
    section = model.model_validate_json(values)
    if isinstance(section, Segment):
        # some encoders cannot be made on the device meta
        segmenter = Segmenter(section.network, section.encoder, classes, section.decoder_channels).to("meta")
    with torch.device("meta"):
        if isinstance(section, Segment):
            return _count(segmenter, -(-section.crop // 32) * 32)
        if isinstance(section, Generator):
            return _count(bare_generator(section, classes), section.image_size)
        visual = bare_guide(section.model).visual
        return _count(visual, visual.image_size[0])


def bare_guide(model: str) -> CLIP:
    """Return the open_clip model of a guide with random weights."""
    config = _guide_config(model)
    return CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])


def _guide_config(model: str) -> dict:
    file = (GUIDE_WEIGHTS if model == "mini" else Path(model.removeprefix("local-dir:"))) / "open_clip_config.json"
    if file.is_file():
        return json.loads(file.read_text(encoding="utf-8"))["model_cfg"]
    return open_clip.get_model_config(model) or open_clip.get_model_config(FALLBACK_GUIDE)


def _count(module: nn.Module, side: int) -> Network:
    """Count one forward pass of a square image with this side."""
    outputs: list[int] = []

    def add_size(_module: nn.Module, _inputs: tuple, output: object) -> None:
        if isinstance(output, torch.Tensor):
            outputs.append(output.numel())

    for part in module.modules():
        if not list(part.children()):
            part.register_forward_hook(add_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(torch.zeros(1, 3, side, side))
    parameters = sum(parameter.numel() for parameter in module.parameters())
    head = sum(counter.get_flop_counts().get("FrozenVit.token_head", {}).values())
    total = counter.get_total_flops()
    return Network(total / 1e9, parameters / 1e6, sum(outputs) / 1e6, max(outputs) / 1e6, head / 1e9)
