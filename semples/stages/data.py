"""data: turn a data set into a manifest."""

import time
from pathlib import Path

from semples.config.settings import Settings
from semples.data.images import IGNORE
from semples.data.importers.registry import load_data_set
from semples.data.manifest import Classes, problems, write_manifest
from semples.data.scan import Scan, scan_images, scanned_table, set_problems
from semples.files import atomic_path


def run(settings: Settings, out: Path) -> None:
    """Write the folder `out` with manifest.csv, classes.csv, drawn masks and copies of images."""
    data, threads = settings.data, settings.run.threads
    with atomic_path(out) as partial:
        partial.mkdir(parents=True)
        classes, listed = load_data_set(data, partial, threads)
        for problem in problems(data.root or data.source, listed, classes):
            raise problem
        started, scans = time.monotonic(), []
        for scan in scan_images(listed, classes, data, partial, threads):
            if scan.error and data.unreadable == "error":
                raise scan.error
            scans.append(scan)
        for problem in set_problems(listed, scans, classes, data):
            raise problem
        print(_decoded(scans, classes, time.monotonic() - started))
        table = scanned_table(listed, scans)
        write_manifest(partial / "manifest.csv", table, classes)
    for scan in scans:
        if scan.error:
            print(f"left out: {scan.error}")
    labelled = (table["labels"] != "").sum()
    print(f"{len(table)} images, {labelled} with labels, {len(classes)} classes: {out / 'manifest.csv'}")


def _decoded(scans: list[Scan], classes: Classes, seconds: float) -> str:
    """Say what was read and which classes the masks show."""
    masks = [scan.colours for scan in scans if scan.colours is not None]
    names = {0: "background", IGNORE: "void", **dict(enumerate(classes.names, start=1))}
    shown = ", ".join(f"{index} {names[index]}" for index in sorted(set().union(*masks)))
    return f"read {len(scans)} images in {seconds:.1f} s" + (f"; {len(masks)} masks with {shown}" if masks else "")
