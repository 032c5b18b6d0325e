"""import-labels: turn an export of Label Studio or CVAT into labels.csv and masks, for `data.source: photos`."""

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from tqdm import tqdm

from semples.data.csv_file import write_csv
from semples.data.images import class_colours, write_mask
from semples.data.importers.annotations import Annotation, read_annotations
from semples.data.manifest import Classes, Manifest, read_manifest, write_classes
from semples.data.names import means_no_object
from semples.errors import SemplesError
from semples.files import atomic_path

COLUMNS = ["id", "image", "mask", "split", "labels"]


def run(export: Path, manifest: Path, out: Path) -> None:
    """Write `out`/labels.csv, classes.csv and masks/<id>.png: the images of the manifest with what the export says.

    An image of the export gets its labels, and its mask if it has one. All other images keep labels, mask and split.

    Args:
        export: File of Label Studio or CVAT.
        manifest: manifest.csv of the images.
    Raises:
        SemplesError: An image of the export is not in the manifest or means several of its images, or the export cannot
            be read.
    """
    images = read_manifest(manifest.absolute())
    names = list(images.classes.names)
    rows = {row["id"]: {key: row[key] for key in COLUMNS} for row in images.table.to_dict("records")}
    sizes = {row.id: (row.height, row.width) for row in images.table.itertuples()}
    masks: dict[str, np.ndarray] = {}
    annotated = 0
    for annotation in tqdm(read_annotations(export), "annotations", unit="image", mininterval=2):
        image, labels = _image(annotation, images, export), [k for k in annotation.labels if not means_no_object(k)]
        if not labels and not annotation.masked:
            continue  # nobody has annotated it yet
        annotated += 1
        names += [name for name in dict.fromkeys(labels) if name not in names]
        rows[image]["labels"] = ";".join(sorted(set(labels), key=names.index))
        annotation.layers = [layer for layer in annotation.layers if not means_no_object(layer[0])]
        mask = annotation.mask(names, *sizes[image], export)
        if mask is not None:
            masks[image] = mask
            rows[image]["mask"] = f"masks/{image}.png"
    new = names[len(images.classes) :]
    colours = (*images.classes.colours, *class_colours(len(names))[len(images.classes) :])
    classes = Classes(tuple(names), (*images.classes.texts, *new), colours)
    with atomic_path(out) as folder:
        folder.mkdir(parents=True)
        for image, mask in masks.items():
            path = folder / "masks" / f"{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_mask(path, mask, classes.palette())
        write_csv(folder / "labels.csv", pd.DataFrame(list(rows.values()), columns=COLUMNS))
        write_classes(folder / "classes.csv", classes)
    note = f"; new classes: {', '.join(new)}" if new else ""
    print(f"{annotated} annotated images, {len(masks)} masks, {len(rows)} images in all{note}: {out}")


def _image(annotation: Annotation, images: Manifest, where: Path) -> str:
    """Return the id of the image that an annotation means: that with its path, or the only one with its name."""
    name = PurePosixPath(annotation.name)
    stem = name.with_suffix("").as_posix() if name.suffix else annotation.name
    ids = list(images.table["id"])
    if stem in ids or annotation.name in ids:
        return stem if stem in ids else annotation.name
    same = [image for image in ids if PurePosixPath(image).name == PurePosixPath(stem).name]
    if len(same) != 1:
        problem = f"{annotation.name}: {len(same)} images of that name" if same else f"no image {annotation.name!r}"
        raise SemplesError(where, problem, "images of the manifest", "name the manifest that was exported")
    return same[0]
