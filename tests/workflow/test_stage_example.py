"""The stage that docs/extending.md shows: in a copy of the package it runs, and Snakemake plans it."""

import re
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np
import outside
import pandas as pd
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
BLOCKS = {  # the files of the page's blocks, in order, and the line above which a block goes; "": the end
    "semples/stages/areas.py": "",
    "semples/cli/commands.py": '    Command("heatmap"',
    "semples/planning/layout.py": '    "submission": {',
    "workflow/rules/masks.smk": "",
}


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """A copy of package and workflow that has the stage."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("semples", "workflow", "envs"):
        copytree(ROOT / name, folder / name, ignore=ignore_patterns("__pycache__"))
    blocks = re.findall(r"```(?:python)?\n(.*?)```", PAGE, re.DOTALL)
    assert sum(block.count("\n") for block in blocks) < 50
    for (name, line), block in zip(BLOCKS.items(), blocks, strict=True):
        assert f"`{name}`" in PAGE
        path = folder / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        assert line in text
        path.write_text(text.replace(line, block + line, 1) if line else f"{text}\n\n{block}", encoding="utf-8")
    return folder


def test_the_stage_writes_its_table(extended, tmp_path):
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.array([[0, 0, 2, 255]], np.uint8)).save(tmp_path / "masks/1.png")
    (tmp_path / "manifest.csv").write_text("id,image,mask,split,width,height,labels\n1,1.png,,train,4,1,dog\n")
    (tmp_path / "classes.csv").write_text("name,text,colour\ncat,cat,#ff0000\ndog,dog,#00ff00\n")
    command = (sys.executable, "-m", "semples", "areas", "--manifest", "manifest.csv", "--masks", "masks")
    outside.run(tmp_path, *command, "--out", "areas.csv", PYTHONPATH=str(extended))
    (row,) = pd.read_csv(tmp_path / "areas.csv").to_dict("records")
    assert row == {"id": 1, "background": 0.6667, "cat": 0, "dog": 0.3333}


def test_snakemake_plans_the_stage(extended, tmp_path):
    (tmp_path / "config.yaml").write_text("preset: mini\n", encoding="utf-8")
    command = (sys.executable, "-m", "snakemake", "--snakefile", extended / "workflow/Snakefile", "--cores", 1, "-n")
    text = outside.run(tmp_path, *command, re.search(r"all (results\S+)", PAGE)[1], PYTHONPATH=str(extended))
    assert re.search(r"^areas +1$", text, re.MULTILINE)
    assert re.search(r"^crf +1$", text, re.MULTILINE)
