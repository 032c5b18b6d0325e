"""data check: what a data set is and what is wrong with it, before any training."""

from collections import defaultdict
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from semples.config.settings import Config, Settings
from semples.data.images import IGNORE, read_image, read_mask
from semples.data.importers.listing import unlisted_images
from semples.data.importers.registry import load_data_set
from semples.data.manifest import Classes, Manifest, split_counts
from semples.errors import SemplesError
from semples.files import atomic_path, read_json, sha256, write_json, write_text
from semples.planning.cost import CALIBRATION
from semples.planning.network_counts import estimate
from semples.planning.size import Size
from semples.stages.tables.formats import markdown

SHOWN = 20  # lines of a list in the report; problems.csv has all


class Seen(NamedTuple):
    """What one image's files are."""

    id: str
    width: int
    height: int
    sha256: str
    drawn: frozenset[str] | None
    """Names of the classes in the mask; None without a mask."""
    problem: str
    """What is wrong with the files; empty if nothing is."""


def run(settings: Settings, out: Path) -> None:
    """Write the folder `out`: check.md (printed too), check.json, problems.csv, cooccurrence.png.

    Every image and mask is decoded. Nothing is changed, and nothing is left out: bad files are listed.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent) as scratch:
        classes, table = load_data_set(settings.data, Path(scratch), settings.run.threads)
        seen = _examined(table, classes, Path(scratch), settings.run.threads)
    problems = pd.DataFrame(
        [*_unreadable(seen), *_duplicates(seen, table), *_disagreements(seen, table), *_not_named(settings)],
        columns=["kind", "where", "what"],
    )
    good = table[[not row.problem for row in seen]].reset_index(drop=True)
    sizes = [(row.width, row.height) for row in seen if not row.problem]
    counts, pairs = _counts(good, classes), _cooccurrence(good, classes)
    cost, device = _estimate(settings, good, sizes, classes)
    with atomic_path(out) as folder:
        folder.mkdir()
        problems.to_csv(folder / "problems.csv", index=False)
        _draw(pairs, classes, folder / "cooccurrence.png")
        text = _report(settings, len(table), counts, sizes, problems, cost, device)
        write_text(folder / "check.md", text)
        write_json(
            folder / "check.json",
            {
                "images": len(table),
                "counts": counts.to_dict(),
                "cooccurrence": pairs.tolist(),
                "problems": problems["kind"].value_counts().to_dict(),
                "estimate": cost.to_dict("records"),
            },
        )
    print(text)


def _examined(table: pd.DataFrame, classes: Classes, folder: Path, threads: int) -> list[Seen]:
    look = partial(_look, classes, folder)
    with ThreadPool(threads) as pool:
        found = pool.imap(look, table.to_dict("records"), chunksize=8)
        return list(tqdm(found, total=len(table), desc="checking", unit="image", mininterval=2))


def _look(classes: Classes, folder: Path, row: dict) -> Seen:
    image = folder / row["image"]
    try:
        height, width = read_image(image).shape[:2]
        drawn = None
        if row["mask"]:
            values = set(np.unique(read_mask(folder / row["mask"], (height, width))).tolist()) - {0, IGNORE}
            if beyond := {value for value in values if value > len(classes)}:
                raise SemplesError(row["mask"], f"value {max(beyond)}", f"0 to {len(classes)}, or 255", "redraw it")
            drawn = frozenset(classes.names[value - 1] for value in values)
        return Seen(row["id"], width, height, sha256(image), drawn, "")
    except SemplesError as error:
        where, found, expected, _ = error.args
        return Seen(row["id"], 0, 0, "", None, f"{where}: {found} (expected {expected})")


def _unreadable(seen: list[Seen]) -> list[tuple[str, str, str]]:
    return [("missing or unreadable", row.id, row.problem) for row in seen if row.problem]


def _duplicates(seen: list[Seen], table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Files of equal bytes; those in different splits are the ones that spoil a measurement."""
    groups = defaultdict(list)
    for row, split in zip(seen, table["split"], strict=True):
        if row.sha256:
            groups[row.sha256].append((row.id, split))
    return [
        ("duplicate", same[0][0], "; ".join(f"{name} ({split})" for name, split in same[1:]) + f"; itself {same[0][1]}")
        for same in groups.values()
        if len(same) > 1
    ]


def _disagreements(seen: list[Seen], table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Images whose mask and labels name different classes."""
    found = []
    for row, cell in zip(seen, table["labels"], strict=True):
        labels = set(filter(None, cell.split(";")))
        if row.drawn is not None and row.drawn != labels:
            parts = [("only label", labels - row.drawn), ("only mask", row.drawn - labels)]
            what = ", ".join(f"{title}: {' '.join(sorted(names))}" for title, names in parts if names)
            found.append(("labels and mask differ", row.id, what))
    return found


def _not_named(settings: Settings) -> list[tuple[str, str, str]]:
    return [("not in the table", path, "a photograph without a line") for path in unlisted_images(settings.data)]


def _counts(table: pd.DataFrame, classes: Classes) -> pd.DataFrame:
    """Images with every class, with any label and in all, a column a split."""
    columns = {}
    for name in split_counts(table):
        rows = table[[name in cell.split(";") for cell in table["split"]]]
        present = Manifest(rows, classes).label_matrix()
        total = {"any class": int(present.any(axis=1).sum()), "all images": len(rows)}
        columns[name] = dict(zip(classes.names, present.sum(axis=0).astype(int).tolist(), strict=True)) | total
    return pd.DataFrame(columns)


def _cooccurrence(table: pd.DataFrame, classes: Classes) -> np.ndarray:
    """int (classes, classes): images that have both; the diagonal counts each class."""
    present = Manifest(table, classes).label_matrix()
    return (present.T @ present).astype(int)


def _draw(pairs: np.ndarray, classes: Classes, out: Path) -> None:
    """The share of a row's images that have the column's class too."""
    share = pairs / np.maximum(np.diag(pairs)[:, None], 1)
    side = max(3.0, 0.28 * len(classes) + 1.5)
    figure, axis = plt.subplots(figsize=(side, side), layout="constrained")
    shown = axis.imshow(share, vmin=0, vmax=1, cmap="viridis")
    places = range(len(classes))
    axis.set_xticks(places, classes.names, rotation=90, fontsize=7)
    axis.set_yticks(places, classes.names, fontsize=7)
    axis.set_title("share of the row's images that have the column's class", fontsize=8)
    figure.colorbar(shown, shrink=0.6)
    figure.savefig(out, format="png", dpi=120)
    plt.close(figure)


def _estimate(settings: Settings, table: pd.DataFrame, sizes: list, classes: Classes) -> tuple[pd.DataFrame, str]:
    """The cost of the configured run, and the device it holds for."""
    device = settings.run.device if settings.run.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    area = np.array([w * h for w, h in sizes] or [0], float)
    if longest := settings.data.max_side:
        area *= np.minimum(1, longest / np.array([max(side) for side in sizes] or [1])) ** 2
    labels = table["labels"].str.split(";").str.len()[table["labels"] != ""]
    images = split_counts(table)
    train, val = (images.get(name, 0) for name in (settings.data.train, settings.data.val))
    size = Size(train, val, float(area.mean()), float(labels.mean()) if len(labels) else 0.0, len(classes))
    config = settings if isinstance(settings, Config) else Config(**settings.model_dump(), name="check")
    return estimate(config, size, device), device


def _report(
    settings: Settings,
    images: int,
    counts: pd.DataFrame,
    sizes: list[tuple[int, int]],
    problems: pd.DataFrame,
    cost: pd.DataFrame,
    device: str,
) -> str:
    lines = [f"# Data check: {settings.data.source}, {images} images", ""]
    lines += ["## Problems", ""]
    if problems.empty:
        lines += ["None.", ""]
    for kind, group in problems.groupby("kind", sort=False):
        lines += [f"{kind}: {len(group)}", ""]
        lines += [f"- {row.where}: {row.what}" for row in group.head(SHOWN).itertuples()]
        lines += [f"- and {len(group) - SHOWN} more in problems.csv"] if len(group) > SHOWN else []
        lines += [""]
    lines += ["## Images with a class, by split", "", markdown(counts.reset_index(names="class"))]
    if sizes:
        smallest, median, largest = np.quantile(np.array(sizes), [0, 0.5, 1], axis=0).astype(int)
        lines += ["## Sizes", ""]
        lines += [f"Width {smallest[0]} to {largest[0]}, median {median[0]}; height {smallest[1]} to {largest[1]}, "]
        lines[-1] += f"median {median[1]} pixels; {len(set(sizes))} different sizes."
        lines += [""]
    total = cost[["hours", "disk GB"]].sum()
    lines += [f"## The configured run on {device}: an estimate, no measurement", ""]
    lines += [markdown(cost.round({"hours": 2, "GPU GB": 1, "disk GB": 2}))]
    lines += [f"About {total['hours']:.1f} hours of jobs one after the other, {total['disk GB']:.1f} GB of disk."]
    kind = "cuda" if device == "cuda" else "cpu"
    lines += [f"Speed from: {read_json(CALIBRATION, 'data')['from'][kind]}.", ""]
    return "\n".join(lines)
