"""The importers by name, and the data set that the settings name."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from semples.config.settings import Data
from semples.data.importers import coco, mini, photos, voc
from semples.data.manifest import Classes
from semples.errors import SemplesError

IMPORTERS = {"mini": mini, "voc": voc, "coco": coco, "photos": photos}


def load_data_set(data: Data, folder: Path, processes: int) -> tuple[Classes, pd.DataFrame]:
    """Classes and table (id, image, mask, split, labels) of the data set; what the importer draws goes to `folder`."""
    if data.source != "mini" and not (data.root and Path(data.root).exists()):
        raise SemplesError(
            "data.root",
            repr(data.root),
            "where the data set lies",
            "set `data.root` in config.yaml" + (", or run `semples download`" if data.source != "photos" else ""),
        )
    classes, table = IMPORTERS[data.source].load(data, folder, processes)
    return _renamed(classes, data.texts), table


def _renamed(classes: Classes, texts: dict[str, str]) -> Classes:
    if unknown := set(texts) - set(classes.names):
        raise SemplesError(
            "data.texts",
            f"class {sorted(unknown)[0]!r}",
            f"one of {', '.join(classes.names)}",
            "correct the name",
        )
    return replace(classes, texts=tuple(texts.get(n, t) for n, t in zip(classes.names, classes.texts, strict=True)))
