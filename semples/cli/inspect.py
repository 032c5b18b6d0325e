"""Subcommands that look at CAMs: inspect, gallery."""

import argparse
from pathlib import Path

from semples.cli.arguments import PATHS
from semples.errors import SemplesError


def add(commands) -> None:
    """Add them to the parser's `commands`."""
    _inspect(commands)
    _gallery(commands)


def _inspect(commands) -> None:
    help_text = "what a file of CAMs holds: tree, provenance, statistics, an image's maps"
    command = commands.add_parser("inspect", help=help_text, description=help_text)
    command.add_argument("file", type=Path, help=PATHS["cams"])
    command.add_argument("--image", metavar="ID", help="show this image's maps")
    command.add_argument("--class", dest="klass", metavar="NAME", help="of this class alone")
    command.add_argument("--save", type=Path, metavar="PNG", help="draw the maps over the photograph")
    command.add_argument("--compare", type=Path, metavar="OTHER", help="say where another file differs")
    _manifest(command)

    def call(given: argparse.Namespace) -> None:
        from contextlib import ExitStack

        from semples.data.cam_file import CamFile
        from semples.tools import inspect, overlay

        if given.save and not given.image:
            raise SemplesError("--save", "no image to draw", "--image ID", "name one of the file's ids")
        with ExitStack() as stack:
            file = stack.enter_context(CamFile(given.file))
            other = stack.enter_context(CamFile(given.compare)) if given.compare else None
            lines = inspect.image_report(file, given.image, given.klass) if given.image else inspect.overview(file)
            print("\n".join(lines))
            if other:
                other.require_classes(file.class_names)
                print("\n".join(inspect.comparison(file, other, [given.image] if given.image else file.ids)))
            if given.save:
                overlay.save(file, other, given.image, given.klass, _manifest_of(given), given.save)

    command.set_defaults(call=call)


def _gallery(commands) -> None:
    help_text = "an HTML page of CAMs over their photographs, the worst first, searchable by class"
    command = commands.add_parser("gallery", help=help_text, description=help_text)
    command.add_argument("file", type=Path, help=PATHS["cams"])
    command.add_argument("--masks", type=Path, help="pseudo masks to judge and show instead of thresholded CAMs")
    command.add_argument("--threshold", type=float, default=0.45, help="background threshold (default 0.45)")
    command.add_argument("--images", type=int, default=200, help="most images on the page (default 200)")
    command.add_argument("--out", type=Path, required=True, help="HTML file to write")
    _manifest(command)

    def call(given: argparse.Namespace) -> None:
        from semples.tools import gallery

        gallery.run(given.file, _manifest_of(given), given.masks, given.threshold, given.images, given.out)

    command.set_defaults(call=call)


def _manifest(command: argparse.ArgumentParser) -> None:
    help_text = f"{PATHS['manifest']}; default: that of the run the file lies in"
    command.add_argument("--manifest", type=Path, help=help_text)


def _manifest_of(given: argparse.Namespace) -> Path:
    """What was given, else data/manifest.csv of the run: results/<name>/cams/<variant>/seed<n>/cams.h5."""
    return given.manifest or given.file.resolve().parents[3] / "data" / "manifest.csv"
