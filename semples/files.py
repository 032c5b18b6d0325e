"""Writing files whole or not at all, and saying what they were made from."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from semples.errors import SemplesError

PACKAGE = Path(__file__).parent


def snakefile() -> Path:
    """Return the Snakefile of this package: inside the package in an installation, beside it in a checkout."""
    inside = PACKAGE / "workflow" / "Snakefile"
    return inside if inside.exists() else PACKAGE.parent / "workflow" / "Snakefile"


def isolated_package() -> Path:
    """Return a folder in the working directory that holds a link to this package and nothing else, for PYTHONPATH.

    With a whole site-packages folder in PYTHONPATH, a job in a conda environment would import another environment's
    packages. The path is relative and has no characters that a shell or PYTHONPATH reads as its own.
    """
    folder = Path(".snakemake", "semples", digest(str(PACKAGE)))
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (folder / "semples").symlink_to(PACKAGE)
    return folder


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary file or folder name beside `path`; it takes the place of `path` only if the block ends well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield partial
        if path.is_dir():
            shutil.rmtree(path)
        partial.replace(path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what jobs that were killed while they wrote `path` have left beside it; one job writes it at a time."""
    for found in path.parent.glob(f".{escape(path.name)}.partial-*"):
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink()


def link_or_copy(source: Path, place: Path) -> None:
    """The same file under another name; a copy where the file system has no hard links."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON with sorted keys, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path, made_by: str) -> dict:
    """Read a JSON file that the command `made_by` writes."""
    try:
        return json.loads(require(path, made_by).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise SemplesError(path, f"no JSON: {error}", "JSON", f"run `semples {made_by}` again") from error


def require(path: Path, made_by: str) -> Path:
    """`path` itself, or the error that says which command makes it."""
    path = Path(path)
    if not path.exists():
        raise SemplesError(path, "no such file", "a file", f"make it with `semples {made_by}`")
    return path


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """First 16 hex digits of the SHA-256 of a JSON-serialisable value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
