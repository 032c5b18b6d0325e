"""data: turn a data set into a manifest."""

from pathlib import Path

import pandas as pd

from semples.config.settings import Data, Settings
from semples.data.importers.registry import load_data_set
from semples.data.manifest import split_counts, write_manifest
from semples.data.scan import scan_images
from semples.errors import SemplesError
from semples.files import atomic_path


def run(settings: Settings, out: Path) -> None:
    """Write the folder `out` with manifest.csv, classes.csv, and the images that an importer draws."""
    data, processes = settings.data, settings.run.threads
    with atomic_path(out) as partial:
        partial.mkdir(parents=True)
        classes, listed = load_data_set(data, partial, processes)
        table, left_out = scan_images(listed, classes, data, partial, processes)
        _require_splits(table, data)
        write_manifest(partial / "manifest.csv", table, classes)
    for problem in left_out:
        print(f"left out: {problem}")
    labelled = (table["labels"] != "").sum()
    print(f"{len(table)} images, {labelled} with labels, {len(classes)} classes: {out / 'manifest.csv'}")


def _require_splits(table: pd.DataFrame, data: Data) -> None:
    """Raise SemplesError unless the splits that train and validate have images."""
    counts = split_counts(table)
    for key in ("train", "val"):
        if (name := getattr(data, key)) not in counts:
            where, expected = f"data.{key}", f"one of {list(counts)}"
            raise SemplesError(where, f"split {name!r} without an image", expected, f"correct `{where}`")
