"""Where open_clip downloads the weights of a guide from, and how large they are."""

import open_clip
import torch
from open_clip.model import CLIP
from open_clip.pretrained import get_pretrained_cfg

from semples.errors import SemplesError

HUB = "huggingface.co/"


def describe_source(model: str, tag: str) -> str:
    """Return source and size, float32, of the weights `tag` of open_clip's `model`, or of an hf-hub:<id>.

    Raises:
        SemplesError: open_clip has no such model, or no such tag of it.
    """
    if model.startswith("hf-hub:"):
        return f"{HUB}{model.removeprefix('hf-hub:')}"
    config, source = open_clip.get_model_config(model), get_pretrained_cfg(model, tag)
    if not config or not source:
        tags = open_clip.list_pretrained_tags_by_model(model)
        expected = f"one of its tags, {', '.join(tags)}" if tags else "a model that open_clip has weights of"
        raise SemplesError("guide", f"{model}/{tag}", expected, "correct --guide, or `guide` in config.yaml")
    with torch.device("meta"):
        clip = CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    gigabytes = 4e-9 * sum(parameter.numel() for parameter in clip.parameters())
    address = f"{HUB}{source['hf_hub'].rstrip('/')}" if source.get("hf_hub") else source["url"]
    return f"about {gigabytes:.1f} GB from {address}"
