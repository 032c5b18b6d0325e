"""data: a data set becomes a manifest."""

from dataclasses import replace
from pathlib import Path

from semples.errors import SemplesError
from semples.files import atomic_path
from semples.importers import mini, voc
from semples.manifest import Classes, write_manifest
from semples.settings import Settings


def run(settings: Settings, out: Path) -> None:
    """Write the folder `out` with manifest.csv, classes.csv and, for `mini`, the pictures."""
    data = settings.data
    with atomic_path(out) as partial:
        partial.mkdir(parents=True)
        if data.source == "mini":
            classes, table = mini.classes(), mini.table(partial, data.scenes, data.seed)
        elif data.source == "coco":
            raise SemplesError(
                "data.source",
                "'coco', for which this version has no importer",
                "a manifest of COCO",
                "write manifest.csv and classes.csv (semples/manifest.py says how) into the folder `data`",
            )
        else:
            classes, table = voc.classes(), voc.table(_root(data.root))
        write_manifest(partial / "manifest.csv", table, _renamed(classes, data.texts))
    labelled = (table["labels"] != "").sum()
    print(f"{len(table)} images, {labelled} with labels, {len(classes)} classes: {out / 'manifest.csv'}")


def _root(root: str) -> Path:
    if not root or not Path(root).is_dir():
        raise SemplesError(
            "data.root",
            repr(root),
            "the folder of the data set",
            "set `data.root` in config.yaml to where it lies",
        )
    return Path(root)


def _renamed(classes: Classes, texts: dict[str, str]) -> Classes:
    if unknown := set(texts) - set(classes.names):
        raise SemplesError(
            "data.texts",
            f"class {sorted(unknown)[0]!r}",
            f"one of {', '.join(classes.names)}",
            "correct the name",
        )
    return replace(classes, texts=tuple(texts.get(n, t) for n, t in zip(classes.names, classes.texts, strict=True)))
