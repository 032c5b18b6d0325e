"""run: make masks, pages to look at and a report of a folder of photographs, with one command.

It writes a folder with config.yaml and the workflow, prints what will run, asks, calls Snakemake there, and writes the
pages from what Snakemake made.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from semples.config.settings import Config
from semples.data.images import image_size
from semples.data.importers.listing import list_images
from semples.errors import SemplesError
from semples.files import read_json
from semples.planning.cost import Size, size_of
from semples.planning.graph import LEARNING, StageGraph, stages_of
from semples.planning.layout import Layout
from semples.planning.targets import Targets
from semples.tools.plan import Plan, device_of, duration
from semples.tools.run_settings import LOCAL, TRAINED, Options, RunFolder

PATIENCE = 0.5  # hours of training on a GPU that `run` starts unasked
SAMPLE = 100  # photographs whose headers give the mean size for the plan
REVIEW_IMAGES, GALLERY_IMAGES = 20, 200
GAIN = "With small networks on 311 photographs of VOC 2012 this gave 43.0 mIoU instead of 42.5 (docs/photographs.md)."


def run(
    photos: Path,
    out: Path | None,
    guide: str | None,
    quick: bool,
    trained: bool,
    segment: bool,
    device: str | None,
    cores: int | None,
    yes: bool,
) -> None:
    """Make masks of all `photos`, a gallery, a review page and a report in the folder `out`.

    Called again, it goes on with the settings that the folder has, and changes only what the options say.

    Args:
        photos: What `data.root` may be: class folders, a folder with labels.csv, or a table.
        out: Folder of the run; None for <photos>-semples in the working folder.
        guide: MODEL/TAG of open_clip, hf-hub:ID or local-dir:FOLDER; None for that of the preset photos.
        quick, trained: Only maps of the guide, or also the stages that train. With neither, a first call trains on a
            GPU if that takes less than half an hour.
        segment: Also train a segmentation network.
        device: `auto`, `cpu` or `cuda`; None for `run.device`.
        cores: Cores that Snakemake uses; None for all.
        yes: Start without asking.
    Raises:
        SemplesError: The photographs are ambiguous or without labels, the folder is another's, nobody can be asked, or
            a stage failed.
        SystemExit: The answer was no.
    """
    if quick and trained:
        raise SemplesError("--quick --trained", "both", "one of the two", "leave one out")
    if not photos.exists():
        raise SemplesError(photos, "no such file or folder", "photographs with labels", "correct the path")
    photos = photos.resolve()
    folder = RunFolder(out or Path(f"{photos.name if photos.is_dir() else photos.stem}-semples"), photos)
    options = Options(guide, quick, trained, segment, device)
    values, config = _plan(folder, options, cores)
    _ask(yes)
    folder.write(values)
    _snakemake(folder.folder, cores)
    last = Outputs(config, folder.folder)
    last.write_pages()
    print(last.summary())


def _plan(folder: RunFolder, options: Options, cores: int | None) -> tuple[dict[str, Any], Config]:
    """Print what will run; return the settings of config.yaml, unchecked and checked."""
    config = folder.config(folder.with_options(options, 1, "cpu"))
    kind, size = device_of(config.run.device), _size(config, folder)
    chain = folder.config(folder.with_options(options._replace(quick=False, trained=True), size.train, kind))
    chain_hours = _hours(chain, size, kind)
    if not folder.values and not options.quick and kind == "cuda" and chain_hours < PATIENCE:
        options = options._replace(trained=True)
    values = folder.with_options(options, size.train, kind)
    folder.require_own(values)
    config = folder.config(values)
    print(f"photographs  {folder.photos}\nfolder       {folder.folder}", *_sources(config), "", sep="\n")
    cores = cores or os.cpu_count() or 1
    run = config.run.model_copy(update={"threads": min(cores, config.run.threads)})
    Plan(config.model_copy(update={"run": run}), size, kind, at_once=cores // run.threads).show()
    if TRAINED not in config.experiments:
        more = duration(chain_hours - _hours(config, size, kind))
        guide = ["--guide", options.guide] if options.guide else []
        command = shlex.join(["semples", "run", str(folder.photos), "--out", str(folder.folder), *guide, "--trained"])
        print(f"\nThis trains nothing. To train on the labels as well takes about {more} more on {kind}:\n  {command}")
        print(GAIN)
    return values, config


def _size(config: Config, folder: RunFolder) -> Size:
    """Return the size of the data set; before its manifest exists, pixels are those of some photographs' headers."""
    size = size_of(config, folder.folder)
    if (folder.folder / Layout.of(config.name).path("data", "manifest")).exists():
        return size
    paths = [row["image"] for row in list_images(config.data)]
    pixels = []
    for path in paths[:: max(1, len(paths) // SAMPLE)]:
        with suppress(SemplesError):  # `data` says what is wrong with it
            width, height = image_size(Path(path))
            pixels.append(width * height * min(1.0, (config.data.max_side or width + height) / max(width, height)) ** 2)
    return size._replace(pixels=sum(pixels) / len(pixels)) if pixels else size


def _hours(config: Config, size: Size, kind: str) -> float:
    return float(Plan(config, size, kind).rows()["hours"].sum())


def _sources(config: Config) -> Iterator[str]:
    """Yield what trains in each variant, and what is downloaded: from where, and its size."""
    guide = config.guide
    for name, settings in StageGraph(config).settings.items():
        stages = stages_of(settings)
        yield f"variant      {name}: trains {', '.join(filter(stages.__contains__, LEARNING)) or 'nothing'}"
    if guide.model.startswith(LOCAL) or Path(guide.pretrained or "").is_file():
        yield f"guide        {guide.model}; no download"
    else:
        source = import_module("semples.weights.guide_source").describe_source(guide.model, guide.pretrained or "")
        yield f"guide        {guide.model} {guide.pretrained or ''}; downloads {source} unless it is cached"
    if names := sorted(job.variant for job in Targets(config).jobs(["all"])["weights"]):
        yield f"weights      {', '.join(names)}, of ImageNet, from huggingface.co unless cached; their size is below"


def _ask(yes: bool) -> None:
    """Return if the answer is yes."""
    if yes:
        return
    if not (sys.stdin and sys.stdin.isatty()):
        raise SemplesError(
            "semples run", "no terminal to ask on", "a terminal, or --yes", "add --yes to start the plan"
        )
    try:
        answer = input("\nStart? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        print("nothing was started")
        raise SystemExit(1)


def _snakemake(folder: Path, cores: int | None) -> None:
    """Run the workflow in its folder. SIGINT and SIGTERM go to it and its jobs, which write their checkpoints.

    Raises:
        SemplesError: Snakemake ended with an error.
        KeyboardInterrupt: It was interrupted.
    """
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores or "all"), "--quiet", "reason", "host"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # the jobs call `python`
    sys.stdout.flush()
    environment, received = os.environ | {"PATH": path}, list[int]()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, process_group=0)

    def pass_on(number: int, _frame: object) -> None:
        received.append(number)
        os.killpg(process.pid, number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code and received:
        raise KeyboardInterrupt
    if code:
        remedy = "correct what the messages above name; then start the same command again: it goes on"
        raise SemplesError(folder, f"Snakemake ended with exit code {code}", "all jobs complete", remedy)


class Outputs(NamedTuple):
    """What the last variant of a run has made, and the pages that show it."""

    config: Config
    folder: Path

    def path(self, stage: str, output: str) -> Path:
        """Return the path of an output of the last variant and the first seed."""
        graph = StageGraph(self.config)
        return self.folder / graph.path(stage, output, Targets(self.config).last, self.config.seeds[0])

    def write_pages(self) -> None:
        """Write gallery, review page and report, each if it is older than the masks or the tables."""
        base = self.folder / Layout.of(self.config.name).base
        cams, masks = self.path("cams", "cams"), self.path("crf", "masks")
        made = masks / "provenance.json"
        threshold = float(read_json(made, "crf", "threshold")["threshold"])
        newest = max(path.stat().st_mtime for path in (made, base / "tables" / "results.csv"))
        arguments: dict[str, tuple] = {
            "gallery": (cams, masks, threshold, GALLERY_IMAGES, self.folder / "gallery.html", None),
            "review": (cams, masks, threshold, REVIEW_IMAGES, None, "cvat", None, self.folder / "review"),
            "report": (self.config, base, self.folder / "report.html"),
        }
        for name, page in self.pages().items():
            if not page.exists() or page.stat().st_mtime < newest:
                import_module(f"semples.tools.{name}").run(*arguments[name])  # imports PyTorch

    def pages(self) -> dict[str, Path]:
        """Return the pages by the name of their command."""
        files = {"review": "review/index.html", "gallery": "gallery.html", "report": "report.html"}
        return {name: self.folder / file for name, file in files.items()}

    def summary(self) -> str:
        """Say where everything lies."""
        lines = {"masks": self.path("crf", "masks"), "maps": self.path("cams", "cams")}
        if Targets(self.config).segmented:
            lines |= {"network": self.path("segment", "model"), "its masks": self.path("segment_masks", "masks")}
        lines |= {**self.pages(), "settings": self.folder / "config.yaml"}
        return "\n" + "\n".join(f"{name:<10}{path}" for name, path in lines.items())
