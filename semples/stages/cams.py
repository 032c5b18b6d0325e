"""cams: maps of whole images into one HDF5 file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from semples.files import atomic_path, provenance
from semples.images import read_image
from semples.manifest import Manifest, read_manifest
from semples.models.generators import MaskGenerator
from semples.models.inference import as_batch, averaged, stored_size
from semples.models.masking import min_max
from semples.settings import Cams, Settings
from semples.stages.learning import used_settings
from semples.stages.weights import trained_generator
from semples.store import CamWriter
from semples.training import make_fabric

MIN_MAX_EPS = 1e-8


def run(settings: Settings, manifest: Path, split: str, generator: Path, out: Path) -> None:
    """Write the CAMs of the present classes of every labelled image of `split` to the HDF5 file `out`."""
    torch.set_num_threads(settings.run.threads)
    images = read_manifest(manifest).split(split).with_labels()
    model, weights = trained_generator(settings, len(images.classes), generator, settings.masks_from)
    fabric = make_fabric(settings.run.device, settings.precision)
    model = fabric.setup_module(model.eval())
    made_from = provenance(
        "cams",
        used_settings(settings, "generator", "cams"),
        weights=weights,
        manifest=images.digest(),
        split=split,
    )
    ids, names = list(images.table["id"]), images.classes.names
    labels = images.label_matrix()
    bar = tqdm(total=len(images), desc="cams", unit="image", mininterval=2)
    with bar, atomic_path(out) as partial, CamWriter(partial, names, ids, settings.cams.dtype, made_from) as writer:
        for rows in same_size_batches(images, settings.cams.batch):
            for row, score, classes in scores(model, images, labels, rows, settings.cams, fabric.device):
                here = images.table.iloc[row]
                writer.add(here["id"], score, classes, here["height"], here["width"])
            bar.update(len(rows))
    print(f"{len(images)} images: {out}")


def same_size_batches(images: Manifest, batch: int) -> Iterator[list[int]]:
    """Rows of the manifest in groups of one image size, at most `batch` each."""
    for _, group in images.table.groupby(["height", "width"], sort=True):
        rows = list(group.index)
        yield from (rows[i : i + batch] for i in range(0, len(rows), batch))


@torch.inference_mode()
def scores(
    model: MaskGenerator, images: Manifest, labels: np.ndarray, rows: list[int], chosen: Cams, device: torch.device
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Row, scores (present, h, w) in [0, 1] and class indices (present,) of each image."""
    table = images.table
    batch = as_batch([read_image(table["image"][row]) for row in rows], device, chosen.resize)
    size = stored_size(table["height"][rows[0]], table["width"][rows[0]], chosen.stride)
    maps = averaged(lambda x: model(x).cams, batch, chosen.scales, chosen.flip, size)
    for row, image in zip(rows, maps, strict=True):
        present = np.flatnonzero(labels[row])
        yield row, min_max(image[torch.from_numpy(present)], MIN_MAX_EPS).cpu().numpy(), present
