"""verify: compare the results folders of two runs of one configuration by what their files hold."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from PIL import Image
from safetensors import safe_open
from tqdm import tqdm

from semples.data.cam_file import as_text
from semples.errors import SemplesError
from semples.files import IGNORED, PARTIAL
from semples.provenance import MACHINE, MADE_ON

VOLATILE = ["logs/*", "benchmarks/*", "*/checkpoints/*", "tables/table_9.*", "paper.html", "report.html"]  # times
VOLATILE += ["compiled/*"]
VOLATILE_KEYS = {MACHINE, "seconds", "images_per_s", "peak_memory_mb"}  # the same as columns and keys
VOLATILE_NOTE = re.compile(f"{MADE_ON}[^\n<}}]*".encode())  # the same in pages of tables
PATHS = {"image", "mask"}  # columns of which only the name counts


def run(runs: list[Path]) -> None:
    """Print the files that one of two folders alone has, and those that differ, with their largest difference.

    Raises:
        SemplesError: The folders differ.
    """
    names, others = map(_files, runs)
    for folder, alone in zip(runs, (names - others, others - names), strict=True):
        print("".join(f"only in {folder}: {name}\n" for name in sorted(alone)), end="")
    equal = 0
    for name in tqdm(sorted(names & others), desc="verify", unit="file", mininterval=2):
        difference = _difference(*(folder / name for folder in runs))
        equal += not difference
        print(f"{name}: {difference}\n" if difference else "", end="")
    text = f"{equal} of {len(names & others)} files in both are equal"
    if equal < len(names | others):
        problem, remedy = f"{text}, {len(names ^ others)} are in one alone", "see docs/reproducing.md"
        raise SemplesError(" and ".join(map(str, runs)), problem, "equal results", remedy)
    print(text)


def _files(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise SemplesError(folder, "no such folder", "the results of a run, results/<name>", "correct the path")
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.name not in IGNORED]
    names = {path.as_posix() for path in paths if not any(map(PARTIAL.fullmatch, path.parts))}
    return {name for name in names if not any(fnmatch(name, pattern) for pattern in VOLATILE)}


def _difference(first: Path, second: Path) -> str:
    """Return how many parts of two files differ, the largest difference and a text that differs; "" for equal files."""
    numbers, texts = {}, []
    with ExitStack() as stack:
        parts, others = _parts(first, stack), _parts(second, stack)
        for name in parts | others:
            values = [_value(file.get(name)) for file in (parts, others)]
            if np.isinf(distance := _distance(*values)):
                texts.append(f"; {name}: {' | '.join(map(_short, values))}")
            elif distance:
                numbers[name] = distance
    differ = f"{len(numbers) + len(texts)} of {len(parts | others)} parts differ"
    largest = max(numbers, key=numbers.__getitem__, default="")
    size = [f"; largest difference {numbers[largest]:.3g} in {largest}"] if numbers else []
    return "".join([differ, *size, *texts[:1]]) if numbers or texts else ""


def _parts(path: Path, stack: ExitStack) -> dict[str, Any]:
    """Return the values of a file by name; those of large files are functions that read them."""
    try:
        parts = READERS.get(path.suffix, _digest)(path, stack)
    except Exception as error:
        raise SemplesError(path, f"unreadable: {error}", f"a whole {path.suffix} file", "make it again") from error
    return {name: value for name, value in parts.items() if name.rpartition("@")[2] not in VOLATILE_KEYS}


def _tensors(path: Path, stack: ExitStack) -> dict[str, Any]:
    file = stack.enter_context(safe_open(path, "pt"))
    return dict(file.metadata() or {}) | {name: partial(file.get_tensor, name) for name in sorted(file.keys())}


def _datasets(path: Path, stack: ExitStack) -> dict[str, Any]:
    file = stack.enter_context(h5py.File(path))
    items = {"": file}
    file.visititems(items.__setitem__)  # shards behind links are files of their own
    attributes = {f"{name}@{key}": as_text(value) for name, item in items.items() for key, value in item.attrs.items()}
    data = {name: item for name, item in items.items() if isinstance(item, h5py.Dataset)}
    return attributes | {name: partial(dataset.__getitem__, ()) for name, dataset in data.items()}


def _picture(path: Path, stack: ExitStack) -> dict[str, Any]:
    image = stack.enter_context(Image.open(path))
    return {"pixels": np.asarray(image), "mode": image.mode, "palette": image.getpalette()}


def _columns(path: Path, _: ExitStack) -> dict[str, Any]:
    frame = pd.read_csv(path, keep_default_na=False)
    return dict(frame.assign(**frame[[*PATHS & {*frame}]].map(lambda cell: Path(str(cell)).name)))


def _leaves(path: Path, _: ExitStack) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    value = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
    return dict(_flat(value))


def _digest(path: Path, _: ExitStack) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(VOLATILE_NOTE.sub(b"", path.read_bytes())).hexdigest()}


READERS = {".safetensors": _tensors, ".h5": _datasets, ".png": _picture, ".csv": _columns}
READERS |= {".json": _leaves, ".jsonl": _leaves}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of JSON by the path of their keys."""
    if not isinstance(value, dict | list):
        yield name, value
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if key not in VOLATILE_KEYS:
            yield from _flat(item, f"{name}.{key}".lstrip("."))


def _value(part: Any) -> np.ndarray:
    value = part() if callable(part) else part
    return np.asarray(value.double() if hasattr(value, "double") else value)


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest difference of two arrays; infinite where texts, shapes or NaNs differ."""
    if first.shape != second.shape or not {first.dtype.kind, second.dtype.kind} <= set("biuf"):
        return 0.0 if np.array_equal(first, second) else np.inf
    first, second = first.astype(float), second.astype(float)
    gaps = np.where((first == second) | (np.isnan(first) & np.isnan(second)), 0, np.abs(first - second))
    return float(np.nan_to_num(gaps, nan=np.inf, posinf=np.inf).max(initial=0))


def _short(value: np.ndarray) -> str:
    return repr(value.item())[:60] if value.shape == () else f"{value.dtype} {value.shape}"
