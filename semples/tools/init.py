"""Write a folder in which the workflow of this package runs."""

import shutil
from pathlib import Path

from semples.config import load
from semples.errors import SemplesError
from semples.files import snakefile

CONFIG = """\
# Settings that differ from the preset. `semples config show` prints all settings that result from them, and
# `semples config --schema` describes every key.

# Complete settings to start from: `mini` (a drawn world, minutes on two cores), `photos` (your own photographs),
# `voc12` and `coco14` (the data sets of the paper), or the path of a YAML file.
preset: {preset}

# One whole run per seed. With several seeds, the tables show mean and standard deviation.
seeds: [0]

# The folder of the data set; `photos` needs it, `voc12` and `coco14` are downloaded without it.
# data: {{root: path/to/photographs}}

# The folder under results/. Its default is the name of the preset.
# name: my-run

# Keys under `run` change the speed only; a change reruns nothing.
# run: {{threads: 4, device: cpu}}
"""
SNAKEFILE = """\
# Runs the workflow of the installed package `semples` on the settings of config.yaml: snakemake --cores all
from semples.files import snakefile


configfile: "config.yaml"


module semples:
    snakefile:
        str(snakefile())
    config:
        config


use rule * from semples
"""


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
    (folder / "config.yaml").write_text(CONFIG.format(preset=preset), encoding="utf-8")
    if copy:
        shutil.copytree(source, folder / "workflow", ignore=skip)
        shutil.copytree(source.parent / "envs", folder / "envs", ignore=skip)
    else:
        shutil.copytree(source / "profiles", folder / "workflow" / "profiles", ignore=skip)
        (folder / "workflow" / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
