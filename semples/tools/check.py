"""data check: report what a data set holds and what is wrong with it, before any training."""

from multiprocessing.pool import ThreadPool
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from semples.config.settings import Config, Settings
from semples.data import manifest
from semples.data.csv_file import write_csv
from semples.data.images import IGNORE
from semples.data.importers.listing import unlisted_images
from semples.data.importers.registry import load_data_set
from semples.data.manifest import Classes, Manifest, split_counts
from semples.data.scan import Scan, scan_images, scanned_table, set_problems
from semples.files import atomic_path, sha256, write_json, write_text
from semples.planning.cost import Size
from semples.planning.speed import speed_here
from semples.stages.tables.formats import markdown
from semples.tools.plan import Plan, device_of

PROBLEM = "{1} (expected {2})"  # text of the arguments of an error
LISTED = 20  # lines of a list in the report; problems.csv has all
Problem = tuple[str, object, str]  # kind, image id, path or setting, description


def run(settings: Settings, out: Path) -> None:
    """Write the folder `out`: check.md (printed too), check.json, problems.csv, cooccurrence.png.

    Every image and mask is decoded. What `semples data` refuses is listed; the data set stays as it is.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    data = settings.data.model_copy(update={"max_side": None, "decode_check": True})
    with TemporaryDirectory(dir=out.parent) as scratch, ThreadPool(settings.run.threads) as pool:
        folder = Path(scratch)
        classes, table = load_data_set(data, folder, settings.run.threads)
        scans = list(scan_images(table, classes, data, folder, settings.run.threads))
        good = scanned_table(table, scans)
        good["sha256"] = pool.map(sha256, [folder / image for image in good["image"]])
    errors = [*manifest.problems(data.root or data.source, table, classes), *set_problems(table, scans, classes, data)]
    refused = [("refused by `semples data`", error.args[0], PROBLEM.format(*error.args)) for error in errors]
    failures = [(scan.row["id"], scan.error.args) for scan in scans if scan.error]
    unreadable = [("missing or unreadable", image, f"{args[0]}: {PROBLEM.format(*args)}") for image, args in failures]
    paths = [*table["image"], *table["mask"]]
    unlisted = [("not in the table", path, "a photograph without a line") for path in unlisted_images(data, paths)]
    listed = [*refused, *unreadable, *_duplicates(good), *_differing(scans, classes), *unlisted]
    problems = pd.DataFrame(listed, columns=["kind", "where", "what"])
    good["labels"] = good["labels"].map(lambda cell: ";".join({*cell.split(";")} & {*classes.names}))
    sizes, present = good[["width", "height"]].to_numpy(), Manifest(good, classes).label_matrix()
    counts, pairs = _counts(good, classes), (present.T @ present).astype(int)
    cost, device = _estimate(settings, good, sizes, classes)
    text = _report(f"# Data check: {data.source}, {len(table)} images", counts, sizes, problems, cost, device)
    with atomic_path(out) as partial:
        partial.mkdir()
        write_csv(partial / "problems.csv", problems)
        _draw_cooccurrence(pairs, classes, partial / "cooccurrence.png")
        write_text(partial / "check.md", text)
        values = {"images": len(table), "counts": counts.to_dict(), "cooccurrence": pairs.tolist()}
        kinds = problems["kind"].value_counts().to_dict()
        write_json(partial / "check.json", values | {"problems": kinds, "estimate": cost.to_dict("records")})
    print(text)


def _duplicates(table: pd.DataFrame) -> list[Problem]:
    """Return images whose files have equal bytes, with their splits."""
    problems: list[Problem] = []
    for _, group in table.groupby("sha256", sort=False):
        (image, split), *others = group[["id", "split"]].itertuples(index=False, name=None)
        copies = "; ".join(f"{name} ({other})" for name, other in others)
        problems += [("duplicate", image, f"{copies}; itself {split}")] if others else []
    return problems


def _differing(scans: list[Scan], classes: Classes) -> list[Problem]:
    """Return images whose mask and labels name different classes."""
    problems: list[Problem] = []
    for scan in scans:
        labels = set(filter(None, scan.row["labels"].split(";")))
        shown = {classes.names[index - 1] for index in scan.colours or () if index not in (0, IGNORE)}
        if scan.colours is not None and shown != labels:
            parts = {"only label": labels - shown, "only mask": shown - labels}
            texts = [f"{title}: {' '.join(sorted(names))}" for title, names in parts.items() if names]
            problems.append(("labels and mask differ", scan.row["id"], ", ".join(texts)))
    return problems


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
    return Plan(config, Size(train, val, mean_area, mean_labels, len(classes)), device).rows(), device


def _report(
    title: str, counts: pd.DataFrame, sizes: np.ndarray, problems: pd.DataFrame, cost: pd.DataFrame, device: str
) -> str:
    lines = [title, "", "## Problems", "", *(["None.", ""] if problems.empty else [])]
    for kind, group in problems.groupby("kind", sort=False):
        lines += [f"{kind}: {len(group)}", ""]
        lines += [f"- {row.where}: {row.what}" for row in group.head(LISTED).itertuples()]
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
    lines += [f"Speed: {speed_here(kind).source()}.", ""]
    return "\n".join(lines)
