"""Write files whole or not at all, and replace nothing but what semples wrote.

The hidden file `.semples` of a folder lists the outputs that semples wrote there, one a line: size, digest, name. Lines
are only appended, so jobs can write side by side; a line whose file is gone means nothing. An output that is a folder
has its own list inside, with names that begin with "./", which shows files that were added or changed later.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from semples.errors import PARTIAL, SemplesError, fault

PACKAGE = Path(__file__).parent
MARKS = ".semples"
IGNORED = {MARKS, ".snakemake_timestamp", ".DS_Store", "Thumbs.db", "desktop.ini"}  # written by programs, unasked
SAMPLE = 2**21  # bytes at each end of a large file that its digest covers
LONGEST = 200  # bytes of an output's name in the name of its temporary file, which may have 255
UMASK = os.umask(0)
os.umask(UMASK)
FOREIGN = "which semples did not write, or which was changed since"


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
def atomic_path(path: Path, mark: bool = True, inside: Path | None = None) -> Iterator[Path]:
    """Yield a temporary name beside `path`; the file or folder written there replaces `path` if the block ends well.

    Args:
        mark: List the output in `.semples`; without its line it is never replaced.
        inside: Folder output that grows file by file, of which the file `path` is a part: its list gets the line.
    Raises:
        SemplesError: At `path` is something that semples did not write, or that was changed since; or the disk is full,
            the folder read-only, or the like.
    """
    path = Path(path)
    require_replaceable(path, inside=inside)
    partial = path.with_name(f"{_prefix(path)}{os.getpid()}")
    old = path.with_name(f"{partial.name}-old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial, old)  # of a killed process that had the same number
        yield partial
        require_replaceable(path, partial.is_dir(), inside)
        _follow_umask(partial)
        if mark and not _in_partial(path):
            _mark(partial, path, inside)
        if path.is_dir():
            path.rename(old)
        partial.replace(path)
    except Exception as error:
        if isinstance(error, SemplesError) or not (clear := fault(error, path)):
            raise
        raise clear from error
    finally:
        _remove(partial, old)


def require_replaceable(path: Path, folder: bool | None = None, inside: Path | None = None) -> None:
    """Raise an error unless `path` is free, an empty folder, or an output of semples that nobody has changed.

    Args:
        folder: Whether a folder or a file will be written there; None if that is not known yet.
        inside: Folder output that the file is a part of.
    """
    if _in_partial(path):
        return
    problem = ""
    if parent := next((parent for parent in path.parents if parent.is_file()), None):
        path, problem = parent, "a file, where a folder is needed"
    elif path.is_symlink():
        problem = "a symbolic link"
    elif path.exists() and folder is not None and path.is_dir() != folder:
        problem = "a folder" if path.is_dir() else "a file"
    elif path.is_dir() and Path.cwd().is_relative_to(path.resolve()):
        problem = "the working folder, or one above it"
    elif path.exists():
        problem = _unmarked(path, inside)
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not problem and not os.access(nearest, os.W_OK | os.X_OK):
        path, problem = nearest, "a folder in which you may not write"
    if problem:
        expected = f"a new {'path' if folder is None else 'folder' if folder else 'file'}, or semples' own, unchanged"
        raise SemplesError(path, problem, expected, "choose another --out, or move away what is there")


def written_here(path: Path, top: Path) -> bool:
    """Return whether semples wrote the file `path`, by the lists of the folders between it and `top`."""
    folders = [folder for folder in path.parents if folder.is_relative_to(top) and (folder / MARKS).is_file()]
    return any(not _unmarked(path, folder) for folder in folders)


def _unmarked(path: Path, inside: Path | None = None) -> str:
    """Return which file at or below `path` has no mark; "" if all have one."""
    marks = _marks(path if path.is_dir() else inside or path.parent)
    if not path.is_dir():
        mark, names = _fingerprint(path), {path.name, f"./{path.relative_to(inside or path.parent)}"}
        return "" if marks & {f"{mark} {name}" for name in names} else f"a file {FOREIGN}"
    for file in sorted(file for file in path.rglob("*") if file.is_symlink() or not file.is_dir()):
        ignored = file.name in IGNORED or PARTIAL.fullmatch(file.name)
        if not ignored and f"{_fingerprint(file)} ./{file.relative_to(path)}" not in marks:
            return f"a folder with the file {file.relative_to(path)}, {FOREIGN}"
    return ""


def _mark(partial: Path, path: Path, inside: Path | None) -> None:
    """List an output before it gets its name: a crash in between must leave no output without a mark."""
    name = f"./{path.relative_to(inside)}" if inside else path.name
    folder, lines = inside or path.parent, [f"{_fingerprint(partial)} {name}\n"]
    if partial.is_dir():
        files = sorted(file for file in partial.rglob("*") if file.is_file() and file.name != MARKS)
        folder, lines = partial, [f"{_fingerprint(file)} ./{file.relative_to(partial)}\n" for file in files]
    with open(folder / MARKS, "ab+") as marks:
        if marks.tell() and os.pread(marks.fileno(), 1, marks.tell() - 1) != b"\n":
            lines = ["\n", *lines]  # the line before was cut off by a full disk
        marks.write("".join(lines).encode("utf-8", "surrogateescape"))


def _marks(folder: Path) -> set[str]:
    path = folder / MARKS
    return set(path.read_text("utf-8", "surrogateescape").split("\n")) if path.is_file() else set()


def _fingerprint(path: Path) -> str:
    """Return size and digest of a file; large ones are read at both ends only. Equal copies have the same."""
    if path.is_symlink() or not path.is_file():
        return "special"
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(SAMPLE)
        file.seek(max(SAMPLE, size - SAMPLE))
        return f"{size} {hashlib.sha256(start + file.read()).hexdigest()[:16]}"


def _prefix(path: Path) -> str:
    """Return how the names of temporary files beside `path` begin."""
    name = path.name if len(os.fsencode(path.name)) <= LONGEST else f"{path.name[:40]}-{digest(path.name)}"
    return f".{name}.partial-"


def _follow_umask(path: Path) -> None:
    """Let others read what the umask allows: safetensors writes files that their owner alone can read."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file() and not file.stat().st_mode & 0o077:
            file.chmod(0o666 & ~UMASK)


def _in_partial(path: Path) -> bool:
    return any(PARTIAL.fullmatch(part) for part in path.parts)


def _remove(*paths: Path) -> None:
    for path in paths:
        with suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove_leftovers(path: Path) -> None:
    """Remove what killed jobs left beside `path` while they wrote it. Only one job may write `path` at a time."""
    prefix = _prefix(path)
    _remove(*(item for item in path.parent.glob(".*") if item.name.startswith(prefix) and PARTIAL.fullmatch(item.name)))


def link_or_copy(source: Path, path: Path) -> None:
    """Make `path` a hard link to `source`, or a copy where the file system has no hard links."""
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON with sorted keys, whole or not at all; NaN becomes null."""
    write_text(path, json.dumps(_without_nan(value), indent=2, sort_keys=True, allow_nan=False) + "\n")


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if value != value else value


def read_json(path: Path, made_by: str, *keys: str) -> dict:
    """Return the JSON object, with these `keys`, in a file that the command `made_by` writes."""
    value = _json_objects(path, made_by, lambda text: [text])[0]
    if missing := [key for key in keys if key not in value]:
        problem, remedy = f"JSON without {', '.join(missing)}", f"name a file that `semples {made_by}` wrote"
        raise SemplesError(path, problem, f"what `semples {made_by}` wrote", remedy)
    return value


def read_json_lines(path: Path, made_by: str) -> list[dict]:
    """Return the JSON objects, one a line, in a file that the command `made_by` writes."""
    return _json_objects(path, made_by, str.splitlines)


def _json_objects(path: Path, made_by: str, split: Callable[[str], list[str]]) -> list[dict]:
    try:
        text = require(path, made_by).read_text(encoding="utf-8")
        values = [json.loads(part, parse_constant=_finite, parse_float=_finite) for part in split(text)]
    except (ValueError, OSError, RecursionError) as error:
        raise SemplesError(path, f"no JSON: {error}", "JSON", f"run `semples {made_by}` again") from error
    if wrong := [value for value in values if not isinstance(value, dict)]:
        problem = f"a {type(wrong[0]).__name__}"
        raise SemplesError(path, problem, "a JSON object", f"name a file that `semples {made_by}` wrote")
    return values


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no number in JSON")
    return number


def require(path: Path, made_by: str) -> Path:
    """Return `path`, or raise the error that names the command that makes it."""
    path = Path(path)
    if not path.exists():
        raise SemplesError(path, "no such file", "a file", f"make it with `semples {made_by}`")
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """Return the first 16 hex digits of the SHA-256 of a JSON-serialisable value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
