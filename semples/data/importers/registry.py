"""Load a data set by the importer of its name."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pandas as pd

from semples.config.settings import Data
from semples.data.manifest import Classes, split_counts
from semples.errors import SemplesError


def load_data_set(data: Data, folder: Path, processes: int) -> tuple[Classes, pd.DataFrame]:
    """Run the importer that the settings name.

    Args:
        folder: Folder for masks and images that the importer writes, by `processes` processes.
    Returns:
        Classes, and a table with the columns id, image, mask, split and labels; paths may be relative to `folder`.
    Raises:
        SemplesError: `data.root` does not exist, `data.texts` names an unknown class, or the data set is broken.
    """
    if data.source != "mini" and not (data.root and Path(data.root).exists()):
        remedy = "set `data.root` in config.yaml" + (", or run `semples download`" if data.source != "photos" else "")
        raise SemplesError("data.root", repr(data.root), "the path of the data set", remedy)
    classes, table = import_module(f"semples.data.importers.{data.source}").load(data, folder, processes)
    if unknown := set(data.texts) - set(classes.names):
        expected = f"one of {', '.join(classes.names)}"
        raise SemplesError("data.texts", f"class {sorted(unknown)[0]!r}", expected, "correct the name")
    texts = tuple(data.texts.get(name, text) for name, text in zip(classes.names, classes.texts, strict=True))
    _print_summary(data, classes, table)
    return replace(classes, texts=texts), table


def _print_summary(data: Data, classes: Classes, table: pd.DataFrame) -> None:
    """Print what was understood: the images, labels and masks of every split, and the index of every class in masks."""
    trained = pd.Series(dtype=int)
    for split in split_counts(table):
        rows = table[[split in cell.split(";") for cell in table["split"]]]
        counts = rows["labels"].str.split(";").explode().value_counts().reindex(classes.names, fill_value=0)
        trained = counts if split == data.train else trained
        texts = [f"{index} {name} ({counts[name]})" for index, name in enumerate(classes.names, start=1)]
        masks = rows["mask"][rows["mask"] != ""]
        source = f"{len(masks)} masks, such as {masks.iloc[0]}" if len(masks) else "no masks, so it is not evaluated"
        print(f"split {split}: {len(rows)} images, {(rows['labels'] != '').sum()} with labels, {source}")
        print(f"  index in masks, class and its images: {', '.join(texts)}")
    if untrained := [name for name, count in trained.items() if not count]:
        print(f"on no image of the split {data.train}: {', '.join(untrained)}", flush=True)
