"""segment: a segmentation network trained on pseudo masks, and its masks of the validation split."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.optim import SGD, Optimizer
from tqdm import tqdm

from semples.files import atomic_path, provenance, require, sha256, write_json
from semples.images import expect_size, read_image, write_mask
from semples.loader import MaskTransform, Photographs, batches
from semples.manifest import Manifest, read_manifest
from semples.models.inference import as_batch, averaged
from semples.models.segmenters import Segmenter
from semples.models.tasks import SegmentTask
from semples.settings import Segment, Settings
from semples.stages.cams import same_size_batches
from semples.stages.learning import Job, adamw, learn, used_settings
from semples.stages.weights import load_backbone
from semples.training import make_fabric


def run(settings: Settings, seed: int, manifest: Path, masks: Path, out: Path) -> None:
    """Train on `masks`/<id>.png; write `out`/model.safetensors, metrics.jsonl and the folder predictions.

    predictions has a palette PNG for every image of the validation split, and for the images of the figures.
    """
    job = Job(settings, "segment", seed, manifest, out)
    images, chosen = job.images(), settings.segment
    if len(images) == 1:  # batch normalisation needs two pictures in a step: two crops of the same
        images = Manifest(pd.concat([images.table] * 2, ignore_index=True), images.classes)
    paths = _mask_paths(images, masks)
    torch.manual_seed(seed)
    network = _new_network(chosen, len(images.classes))
    transform = MaskTransform(chosen.crop, chosen.scale)
    dataset = Photographs(images, transform, settings.run.cache_gb, paths)
    loader = batches(dataset, chosen.batch, seed, settings.run.workers)
    used = used_settings(settings, "segment")
    # other pseudo masks must not resume this checkpoint
    inputs = {"manifest": images.digest(), "masks": sha256(require(masks / "provenance.json", "crf"))}
    learn(job, SegmentTask(network), loader, _optimizer(network, chosen), used, inputs)
    everything = read_manifest(manifest)
    shown = everything.split(settings.data.train).with_labels().sample(settings.figures.images, settings.figures.seed)
    judged = everything.split(settings.data.val)
    _predict(network, [judged, shown], settings, out / "predictions")


def _mask_paths(images: Manifest, masks: Path) -> list[str]:
    """A mask for every image, each of its image's size: looked at before an hour is spent."""
    paths = []
    for row in images.table.itertuples():
        path = require(masks / f"{row.id}.png", "crf")
        expect_size(path, (row.width, row.height))
        paths.append(str(path))
    return paths


def _new_network(chosen: Segment, classes: int) -> Segmenter:
    network = Segmenter(chosen.encoder, classes, chosen.decoder_channels, imagenet=chosen.weights == "imagenet")
    if chosen.weights not in ("imagenet", "none"):
        load_backbone(network.network.encoder, Path(chosen.weights), "segment.weights")
    return network


def _optimizer(network: Segmenter, chosen: Segment) -> Optimizer:
    """The encoder learns at `lr`, everything else `head_lr_factor` times faster."""
    encoder = network.encoder_parameters()
    inside = {id(parameter) for parameter in encoder}
    decoder = [parameter for parameter in network.parameters() if id(parameter) not in inside]
    if chosen.optimizer == "adamw":
        return adamw(network, chosen, torch.nn.ParameterList(decoder), chosen.head_lr_factor)
    groups = [
        {"params": encoder, "lr": chosen.lr},
        {"params": decoder, "lr": chosen.lr * chosen.head_lr_factor},
    ]
    return SGD(groups, momentum=0.9, weight_decay=chosen.weight_decay, fused=True)


@torch.inference_mode()
def _predict(network: Segmenter, sets: list[Manifest], settings: Settings, out: Path) -> None:
    """Write the masks of all images, each at its own size."""
    table = pd.concat([s.table for s in sets]).drop_duplicates("id", ignore_index=True)
    images = Manifest(table, sets[0].classes)
    chosen, palette = settings.segment, images.classes.palette()
    fabric = make_fabric(settings.run.device, settings.precision)
    model = fabric.setup_module(network.eval())
    with (
        atomic_path(out) as folder,
        tqdm(total=len(images), desc="predict", unit="image", mininterval=2) as bar,
    ):
        write_json(folder / "provenance.json", provenance("segment", used_settings(settings, "segment")))
        for rows in same_size_batches(images, settings.cams.batch):
            batch = as_batch([read_image(images.table["image"][r]) for r in rows], fabric.device, chosen.test_size)
            shape = (int(images.table["height"][rows[0]]), int(images.table["width"][rows[0]]))
            scores = averaged(lambda x: model(x).softmax(1), batch, chosen.test_scales, True, shape)
            for row, mask in zip(rows, scores.argmax(dim=1).cpu().numpy().astype(np.uint8), strict=True):
                path = folder / f"{images.table['id'][row]}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_mask(path, mask, palette)
            bar.update(len(rows))
