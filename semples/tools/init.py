"""Write a folder in which the workflow of this package runs."""

import shutil
from importlib.resources import files
from pathlib import Path

from semples.config import load
from semples.errors import SemplesError
from semples.files import atomic_path, snakefile

TEMPLATES = files("semples.tools") / "new_folder"
SOURCE = snakefile().parent
SKIP = shutil.ignore_patterns("__pycache__", "scripts")


def run(folder: Path, preset: str, copy: bool) -> None:
    """Write config.yaml and workflow/ into `folder`, so that `snakemake --cores all` runs there.

    Args:
        folder: Made if it does not exist.
        preset: Name of a preset, or the path of one.
        copy: Copy the rules, so that they can be edited. Otherwise workflow/Snakefile uses those of the package.
    Raises:
        SemplesError: The preset is unknown, or a file that would be written exists; nothing is written then.
    """
    load.load({"preset": preset}, "--preset")
    require_absent(*(folder / name for name in ("config.yaml", "workflow", *(["envs"] if copy else []))))
    folder.mkdir(parents=True, exist_ok=True)
    config = (TEMPLATES / "config.yaml").read_text("utf-8").replace("preset: mini", f"preset: {preset}")
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    if copy:
        shutil.copytree(SOURCE, folder / "workflow", ignore=SKIP)
        shutil.copytree(SOURCE.parent / "envs", folder / "envs", ignore=SKIP)
    else:
        write_workflow(folder / "workflow")


def require_absent(*paths: Path) -> None:
    """Raise SemplesError for the first of the paths that exists."""
    for path in paths:
        if path.exists():
            raise SemplesError(path, "it exists", "a path that does not exist", "name another folder, or move it away")


def write_workflow(path: Path) -> None:
    """Write the folder `path`: a Snakefile that uses the rules of the package, and the profiles."""
    with atomic_path(path) as partial:
        shutil.copytree(SOURCE / "profiles", partial / "profiles", ignore=SKIP)
        (partial / "Snakefile").write_bytes((TEMPLATES / "Snakefile.txt").read_bytes())
