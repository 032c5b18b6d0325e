"""What each command imports: a command of a second does not wait for PyTorch. No time is measured."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from semples.cli import main
from semples.data.cam_file import CamWriter
from semples.files import atomic_path, write_json

DATA = '{"data": {"source": "mini", "scenes": {"train": 8, "val": 4}}, "run": {"device": "cpu", "threads": 1}}'
NETWORKS = {"torch", "torchvision", "open_clip", "timm", "transformers", "lightning_fabric"}
TABLES = {"numpy", "pandas", "scipy", "pyarrow"}
PICTURES = {"cv2", "PIL", "matplotlib"}
PROGRAM = "import sys; from semples.cli import main; code = main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
PROGRAM += "; sys.exit(code)"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A working folder with a configuration, a file of CAMs and an evaluation."""
    (tmp_path / "config.yaml").write_text("preset: mini\n")
    with atomic_path(tmp_path / "cams.h5") as path, CamWriter(path, ["cat"], ["a"], "float16", {}) as writer:
        writer.add("a", np.zeros((1, 4, 4), np.float32), np.array([0]), 16, 16)
    numbers = {"miou": 0.5, "interval": [0.4, 0.6], "boundary_iou": 0.5, "classes": {"cat": {"iou": 0.5}}}
    write_json(tmp_path / "a.json", {"kind": "crf", "split": "val", "images": 1, "packages": "torch 2", **numbers})
    return tmp_path


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        (["config"], NETWORKS | TABLES | PICTURES | {"h5py"}),
        (["data", "--config", DATA, "--out", "data"], NETWORKS | {"scipy", "h5py", "matplotlib", "pycocotools"}),
        (["data", "check", "--config", DATA, "--out", "check"], NETWORKS | {"scipy", "h5py", "pycocotools"}),
        (["plan"], NETWORKS | PICTURES | {"scipy", "h5py"}),
        (["plan", "tables", "figures", "--set", "preset=voc12"], NETWORKS | PICTURES | {"scipy", "h5py"}),
        (["inspect", "cams.h5"], NETWORKS | {"scipy", "matplotlib"}),
        (["tables", "results", "--evaluation", "csr:0=a.json", "csr:1=a.json", "--out", "."], NETWORKS | PICTURES),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_command_imports_no_more_than_it_uses(command, absent, folder):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not set(done.stderr.split()) & absent


def test_stages_without_a_guide_do_not_import_open_clip():
    stages = ", ".join(f"semples.stages.{stage}" for stage in ("classify", "cams", "segment", "segment_masks"))
    program = f"import sys, {stages}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "semples.stages.segment_masks" in done.stdout.split()
    assert not {"open_clip", "transformers"} & set(done.stdout.split())


def test_help_imports_the_standard_library_alone():
    program = "import sys, json; from semples.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    program += "sys.stderr.write(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not set(json.loads(done.stderr)) & (NETWORKS | TABLES | PICTURES | {"h5py", "yaml", "pydantic"})
    assert "segment_masks" in done.stdout


def test_a_network_of_no_preset_is_counted(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["plan", "--set", "generator={image_size: 48}"]) == 0
    assert "| classify " in capsys.readouterr().out
