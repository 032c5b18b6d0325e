"""data check: report what a data set holds and what is wrong with it, before any training."""

from collections import defaultdict
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from semples.config.settings import Config, Settings
from semples.data.csv_file import write_csv
from semples.data.images import IGNORE, read_image, read_mask
from semples.data.importers.listing import unlisted_images
from semples.data.importers.registry import load_data_set
from semples.data.manifest import Classes, Manifest, split_counts
from semples.errors import SemplesError
from semples.files import atomic_path, read_json, sha256, write_json, write_text
from semples.planning.cost import CALIBRATION, Size
from semples.stages.tables.formats import markdown
from semples.tools.plan import device_of, estimate

LISTED = 20  # lines of a list in the report; problems.csv has all
Problem = tuple[str, str, str]  # kind, image id or path, description


class ImageCheck(NamedTuple):
    """What decoding an image and its mask gave: the mask's classes, None without a mask, or the error as `problem`."""

    width: int = 0
    height: int = 0
    sha256: str = ""
    mask_classes: set[str] | None = None
    problem: str = ""


def run(settings: Settings, out: Path) -> None:
    """Write the folder `out`: check.md (printed too), check.json, problems.csv, cooccurrence.png.

    Every image and mask is decoded. Bad files are listed; the data set stays as it is.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent) as scratch, ThreadPool(settings.run.threads) as pool:
        classes, table = load_data_set(settings.data, Path(scratch), settings.run.threads)
        results = pool.imap(partial(_check_image, classes, Path(scratch)), table.to_dict("records"), chunksize=8)
        checks = list(tqdm(results, total=len(table), desc="checking", unit="image", mininterval=2))
    unlisted = [("not in the table", path, "a photograph without a line") for path in unlisted_images(settings.data)]
    problems = pd.DataFrame([*_problems(checks, table), *unlisted], columns=["kind", "where", "what"])
    good = table[[not check.problem for check in checks]].reset_index(drop=True)
    sizes = np.array([(check.width, check.height) for check in checks if not check.problem]).reshape(-1, 2)
    present = Manifest(good, classes).label_matrix()
    counts, pairs = _counts(good, classes), (present.T @ present).astype(int)
    cost, device = _estimate(settings, good, sizes, classes)
    text = _report(f"# Data check: {settings.data.source}, {len(table)} images", counts, sizes, problems, cost, device)
    with atomic_path(out) as folder:
        folder.mkdir()
        write_csv(folder / "problems.csv", problems)
        _draw_cooccurrence(pairs, classes, folder / "cooccurrence.png")
        write_text(folder / "check.md", text)
        values = {"images": len(table), "counts": counts.to_dict(), "cooccurrence": pairs.tolist()}
        kinds = problems["kind"].value_counts().to_dict()
        write_json(folder / "check.json", values | {"problems": kinds, "estimate": cost.to_dict("records")})
    print(text)


def _check_image(classes: Classes, folder: Path, row: dict) -> ImageCheck:
    image, names = folder / row["image"], None
    try:
        height, width = read_image(image).shape[:2]
        if row["mask"]:
            values = set(np.unique(read_mask(folder / row["mask"], (height, width))).tolist()) - {0, IGNORE}
            if (highest := max(values, default=0)) > len(classes):
                raise SemplesError(row["mask"], f"value {highest}", f"0 to {len(classes)}, or 255", "redraw it")
            names = {classes.names[value - 1] for value in values}
        return ImageCheck(width, height, sha256(image), names)
    except SemplesError as error:
        where, problem, expected, _ = error.args
        return ImageCheck(problem=f"{where}: {problem} (expected {expected})")


def _problems(checks: list[ImageCheck], table: pd.DataFrame) -> list[Problem]:
    """Return unreadable files, files of equal bytes, and images whose mask and labels name different classes."""
    unreadable, differing, equal = [], [], defaultdict(list)
    for check, image, split, cell in zip(checks, table["id"], table["split"], table["labels"], strict=True):
        if check.problem:
            unreadable.append(("missing or unreadable", image, check.problem))
            continue
        equal[check.sha256].append((image, f"{image} ({split})", split))
        labels = set(filter(None, cell.split(";")))
        if check.mask_classes is not None and check.mask_classes != labels:
            parts = {"only label": labels - check.mask_classes, "only mask": check.mask_classes - labels}
            texts = [f"{title}: {' '.join(sorted(names))}" for title, names in parts.items() if names]
            differing.append(("labels and mask differ", image, ", ".join(texts)))
    copies = [(first, [title for _, title, _ in others]) for first, *others in equal.values() if others]
    duplicates = [("duplicate", image, f"{'; '.join(titles)}; itself {split}") for (image, _, split), titles in copies]
    return [*unreadable, *duplicates, *differing]


def _counts(table: pd.DataFrame, classes: Classes) -> pd.DataFrame:
    """Return the number of images per class, with any label and in all, with a column per split."""
    columns, index = {}, [*classes.names, "any class", "all images"]
    for name in split_counts(table):
        present = Manifest(table, classes).split(name).label_matrix()
        columns[name] = [*present.sum(axis=0).astype(int), present.any(axis=1).sum(), len(present)]
    return pd.DataFrame(columns, index)


def _draw_cooccurrence(pairs: np.ndarray, classes: Classes, out: Path) -> None:
    """Draw int (classes, classes): images that have both; the diagonal counts the images of each class."""
    share = pairs / np.maximum(np.diag(pairs)[:, None], 1)
    side = max(3.0, 0.28 * len(classes) + 1.5)
    figure = Figure(figsize=(side, side), layout="constrained")
    axis = figure.subplots()
    picture = axis.imshow(share, vmin=0, vmax=1, cmap="viridis")
    axis.set_xticks(range(len(classes)), classes.names, rotation=90, fontsize=7)
    axis.set_yticks(range(len(classes)), classes.names, fontsize=7)
    axis.set_title("share of the row's images that have the column's class", fontsize=8)
    figure.colorbar(picture, shrink=0.6)
    figure.savefig(out, format="png", dpi=120)


def _estimate(settings: Settings, table: pd.DataFrame, sizes: np.ndarray, classes: Classes) -> tuple[pd.DataFrame, str]:
    """Return the cost of the configured run, and the device it holds for; `sizes` are (width, height) per image."""
    device = device_of(settings.run.device)
    data, images, areas = settings.data, split_counts(table), sizes.prod(axis=1).astype(float)
    if data.max_side:
        areas *= np.minimum(1, data.max_side / sizes.max(axis=1)) ** 2
    labels = table["labels"].str.split(";").str.len()[table["labels"] != ""]
    train, val = images.get(data.train, 0), images.get(data.val, 0)
    mean_area, mean_labels = (float(values.mean()) if len(values) else 0.0 for values in (areas, labels))
    config = settings if isinstance(settings, Config) else Config(**settings.model_dump(), name="check")
    return estimate(config, Size(train, val, mean_area, mean_labels, len(classes)), device), device


def _report(
    title: str, counts: pd.DataFrame, sizes: np.ndarray, problems: pd.DataFrame, cost: pd.DataFrame, device: str
) -> str:
    lines = [title, "", "## Problems", "", *(["None.", ""] if problems.empty else [])]
    for kind, group in problems.groupby("kind", sort=False):
        lines += [
            f"{kind}: {len(group)}",
            "",
            *(f"- {row.where}: {row.what}" for row in group.head(LISTED).itertuples()),
        ]
        lines += [f"- and {len(group) - LISTED} more in problems.csv", ""] if len(group) > LISTED else [""]
    lines += ["## Images per class and split", "", markdown(counts.reset_index(names="class"))]
    if len(sizes):
        (width, height), (low, bottom), (high, top) = np.quantile(sizes, [0.5, 0, 1], axis=0).astype(int)
        text = f"Width {low} to {high}, median {width}; height {bottom} to {top}, median {height} pixels;"
        lines += ["## Sizes", "", f"{text} {len(np.unique(sizes, axis=0))} different sizes.", ""]
    total, kind = cost[["hours", "disk GB"]].sum(), "cuda" if device == "cuda" else "cpu"
    lines += [f"## The configured run on {device}: an estimate, not a measurement", ""]
    lines += [markdown(cost.round({"hours": 2, "GPU GB": 1, "disk GB": 2}))]
    lines += [f"About {total['hours']:.1f} hours of jobs one after the other, {total['disk GB']:.1f} GB of disk."]
    lines += [f"Speed from: {read_json(CALIBRATION, 'data')['from'][kind]}.", ""]
    return "\n".join(lines)
