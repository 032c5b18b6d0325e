"""submission: write the masks of a split without ground truth as the tar that the PASCAL VOC test server takes."""

import tarfile
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from semples.config.settings import Run
from semples.data.manifest import read_manifest
from semples.files import atomic_path
from semples.inference.segmentation import load_segmenter, write_predictions
from semples.runtime.devices import make_fabric

_LAYOUT = "results/VOC2012/Segmentation/comp6_test_cls"  # "comp6": trained on more than VOC's own masks
_BATCH = 8


def run(run: Run, checkpoint: Path, manifest: Path, split: str, out: Path) -> None:
    """Write the tar `out` with the palette PNG <id>.png for every image of `split`; equal inputs give equal bytes."""
    torch.set_num_threads(run.threads)
    images = read_manifest(manifest).split(split)
    trained = load_segmenter(checkpoint, images.classes)
    fabric = make_fabric(run.device, "auto")
    with TemporaryDirectory() as folder, atomic_path(out) as partial, tarfile.open(partial, "w") as tar:
        write_predictions(trained.network, images, trained.settings, _BATCH, fabric, Path(folder))
        for image in sorted(images.table["id"]):
            entry = tarfile.TarInfo(f"{_LAYOUT}/{image}.png")  # without owner and time
            data = Path(folder, f"{image}.png").read_bytes()
            entry.size = len(data)
            tar.addfile(entry, BytesIO(data))
    print(f"{len(images)} masks: {out}")
