"""Record what an output was made from: command, settings, versions and code."""

import ast
import json
import platform
import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from semples import __version__
from semples.files import PACKAGE, digest

MACHINE, MADE_ON = "machine", "Made on: "  # key of records, and what stands before it in notes
VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "sve": "SVE", "asimd": "NEON"}  # by flag, widest first
PACKAGES = ("semples", "torch", "open_clip_torch", "timm", "segmentation_models_pytorch", "pydensecrf2", "pydensecrf")


def provenance(command: str, settings: dict, **inputs: str) -> dict[str, str]:
    """Return what an output was made from, as strings without time, host or path: equal inputs give equal records."""
    return {
        "command": f"semples {command}",
        "settings": json.dumps(settings, sort_keys=True),
        "packages": ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name))),
        **inputs,
    }


def machine(threads: int, device: str = "cpu") -> dict[str, str]:
    """Return, under the key `machine`, the processor with its widest vectors, the GPU and the threads of a job.

    The last digits of a result depend on them. They stand beside its record and are no part of it: another machine may
    go on with what this one made.
    """
    path, torch = Path("/proc/cpuinfo"), sys.modules.get("torch")
    lines = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    fields: dict[str, str] = dict(re.findall(r"^(model name|flags|Features)\s*: (.*)$", lines, re.MULTILINE))
    flags = fields.get("flags", "").split() + fields.get("Features", "").split()
    vectors = next((name for flag, name in VECTORS.items() if flag in flags), "")
    parts = [fields.get("model name", platform.machine()), vectors]
    parts.append(torch.cuda.get_device_name() if torch and device != "cpu" and torch.cuda.is_available() else "")
    return {MACHINE: ", ".join(filter(None, [*parts, f"{threads} thread{'s' * (threads > 1)}"]))}


def without_machine(record: dict[str, str]) -> dict[str, str]:
    """Return what a record says of the inputs alone."""
    return {key: value for key, value in record.items() if key != MACHINE}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return __version__ if package == "semples" else ""


@cache
def code_digest(module: str) -> str:
    """Return a digest of a module and all its imports from semples, without comments and docstrings.

    The workflow gives it to every rule as a parameter, so that a change of code reruns the rule.
    """
    trees: dict[str, str] = {}
    waiting = [module]
    while waiting:
        path = PACKAGE.parent.joinpath(*(name := waiting.pop()).split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in trees or not path.exists():
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
                node.body = node.body[1:]
            elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("semples"):
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        trees[name] = ast.dump(tree)
    return digest(trees)
