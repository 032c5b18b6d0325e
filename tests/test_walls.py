"""The walls of docs/architecture.md: which room may import which, and what Snakemake may import while it plans."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "semples"
ROOMS = [
    "errors",
    "files",
    "provenance",
    "colours",
    "figure_style",
    "config",
    "mini",
    "runtime",
    "data",
    "models",
    "weights",
]
ROOMS += ["inference", "evaluation", "training", "planning", "stages", "tools", "cli"]
MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0].removesuffix(".py") in ROOMS
)
VAGUE = {"found", "chosen", "given", "judged", "place", "kept", "here"}


def imports(path: Path) -> set[str]:
    """Dotted names of the package that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "semples":
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("semples.")}
    return {name for name in names if name.split(".")[1] in ROOMS}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_room_imports_only_rooms_above_it(path):
    room, part, *_ = (*path.relative_to(PACKAGE).with_suffix("").parts, "")
    for name in imports(path):
        other = name.split(".")[1]
        assert ROOMS.index(other) <= ROOMS.index(room), f"{room} imports {name}"
        if room == other == "stages":
            assert name.split(".")[2] == part, f"a stage imports {name}"


def test_every_module_lies_in_a_room():
    names = {
        path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "py.typed")
    }
    assert names - {"__init__", "__main__"} == set(ROOMS)


def test_snakemake_plans_without_numpy_and_torch():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('numpy', 'torch', 'pandas', 'cv2', 'PIL', 'h5py')));"
        "import semples.config.load, semples.config.published, semples.planning.graph, semples.planning.targets,"
        " semples.planning.layout, semples.provenance, semples.data.importers.listing"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_variables_have_names_of_the_field(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    assert not names & VAGUE
