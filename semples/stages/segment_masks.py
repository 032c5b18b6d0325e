"""segment_masks: the trained network's masks of the validation split, and of the images of the figures."""

from pathlib import Path

import pandas as pd
import torch

from semples.config.settings import Settings
from semples.data.manifest import Manifest, read_manifest
from semples.files import atomic_path, write_json
from semples.inference.segmentation import load_segmenter, write_predictions
from semples.provenance import machine, provenance
from semples.runtime.devices import make_fabric
from semples.training.job import used_settings


def run(settings: Settings, manifest: Path, checkpoint: Path, out: Path) -> None:
    """Write the folder `out` with a palette PNG `<id>.png` of every such image, at the image's own size.

    `segment.test_*` say how the network of `checkpoint` is used, `figures` which training images are predicted too.
    """
    torch.set_num_threads(settings.run.threads)
    everything = read_manifest(manifest)
    network = load_segmenter(checkpoint, everything.classes).network
    shown = everything.split(settings.data.train).with_labels().sample(settings.figures.images, settings.figures.seed)
    table = pd.concat([everything.split(settings.data.val).table, shown.table])
    images = Manifest(table.drop_duplicates("id", ignore_index=True), everything.classes)
    fabric = make_fabric(settings.run.device, settings.precision)
    if fabric.device.type == "cuda":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as in training
    with atomic_path(out) as folder:
        made_from = provenance("segment_masks", used_settings(settings, "segment"))
        write_json(folder / "provenance.json", made_from | machine(settings.run.threads, settings.run.device))
        write_predictions(network, images, settings.segment, settings.cams.batch, fabric, folder)
    print(f"{len(images)} masks: {out}")
