"""cams: write the CAMs of whole images into one HDF5 file."""

from pathlib import Path

from tqdm import tqdm

from semples.config.settings import Settings
from semples.data.cam_file import CamWriter
from semples.data.manifest import Manifest, read_manifest
from semples.files import atomic_path
from semples.inference.cams import batches_of_scores
from semples.provenance import machine, provenance
from semples.runtime.parallel import shard_slice
from semples.training.job import used_settings
from semples.weights.generators import trained_generator


def run(settings: Settings, manifest: Path, split: str, generator: Path, out: Path, shard: str | None = None) -> None:
    """Write the CAMs of the present classes of every labelled image of `split` to the HDF5 file `out`.

    `generator` is model.safetensors of the stage `masks_from`; `shard` a share of the images, such as "2-of-4".
    """
    images = read_manifest(manifest).split(split).with_labels()
    inputs = {"manifest": images.digest(), "split": split, "stride": str(settings.cams.stride)}
    images = Manifest(images.table[shard_slice(shard, len(images))].reset_index(drop=True), images.classes)
    model, weights = trained_generator(settings, len(images.classes), generator, settings.masks_from)
    made_from = provenance("cams", used_settings(settings, "generator", "cams"), weights=weights, **inputs)
    made_from |= machine(1, settings.run.device)  # threads share the images
    ids, names = list(images.table["id"]), images.classes.names
    bar = tqdm(total=len(images), desc="cams", unit="image", mininterval=2)
    with bar, atomic_path(out) as partial, CamWriter(partial, names, ids, settings.cams.dtype, made_from) as writer:
        for batch in batches_of_scores(settings, model, images):
            for row, score, classes in batch:
                image = images.table.iloc[row]
                writer.add(image["id"], score, classes, image["height"], image["width"])
            bar.update(len(batch))
    print(f"{len(images)} images: {out}")
