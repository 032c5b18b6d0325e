"""What an output was made from: command, settings, versions and code."""

import ast
import json
from functools import cache
from importlib import metadata

from semples import __version__
from semples.files import PACKAGE, digest

PACKAGES = ("semples", "torch", "open_clip_torch", "timm", "segmentation_models_pytorch", "pydensecrf2", "pydensecrf")


def provenance(command: str, settings: dict, **inputs: str) -> dict[str, str]:
    """What an output was made from, as strings; the same inputs give the same words (no time, host or path)."""
    return {
        "command": f"semples {command}",
        "settings": json.dumps(settings, sort_keys=True),
        "packages": ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name))),
        **inputs,
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return __version__ if package == "semples" else ""


@cache
def code_digest(module: str) -> str:
    """Digest of a module of the package and all it imports from the package, comments and docstrings left out.

    The workflow gives it to every rule, so that results follow the code that makes them.
    """
    seen: dict[str, str] = {}
    _collect(module, seen)
    return digest(seen)


def _collect(module: str, seen: dict[str, str]) -> None:
    path = PACKAGE.parent.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if module in seen or not path.exists():
        return
    tree = _without_docstrings(ast.parse(path.read_text(encoding="utf-8")))
    seen[module] = ast.dump(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("semples"):
            _collect(node.module, seen)
            for alias in node.names:
                _collect(f"{node.module}.{alias.name}", seen)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:]
    return tree
