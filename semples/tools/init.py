"""Write a folder in which the workflow of this package runs."""

import shutil
from importlib.resources import files
from pathlib import Path

from semples.config import load
from semples.errors import SemplesError
from semples.files import snakefile

TEMPLATES = files("semples.tools") / "new_folder"


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
    source = snakefile().parent
    for path in (folder / name for name in ("config.yaml", "workflow", *(["envs"] if copy else []))):
        if path.exists():
            raise SemplesError(path, "it exists", "a path that does not exist", "name another folder, or move it away")
    skip = shutil.ignore_patterns("__pycache__", "scripts")
    folder.mkdir(parents=True, exist_ok=True)
    config = (TEMPLATES / "config.yaml").read_text("utf-8").replace("preset: mini", f"preset: {preset}")
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    if copy:
        shutil.copytree(source, folder / "workflow", ignore=skip)
        shutil.copytree(source.parent / "envs", folder / "envs", ignore=skip)
    else:
        shutil.copytree(source / "profiles", folder / "workflow" / "profiles", ignore=skip)
        (folder / "workflow" / "Snakefile").write_bytes((TEMPLATES / "Snakefile.txt").read_bytes())
