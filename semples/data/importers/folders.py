"""Read the layout of a folder of photographs: splits, classes, and what is neither."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import NoReturn

from semples.config.settings import Data
from semples.errors import SemplesError

Parts = tuple[str, ...]  # the folders that an image lies in
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".jp2"}
IMAGE_SUFFIXES |= {".ppm", ".pgm", ".tga"}
UNREAD_SUFFIXES = {".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"}
UNREAD_SUFFIXES |= {".psd", ".svg"}
LAYOUTS = "a table (.csv, .tsv, .parquet), a folder with labels.csv, or a folder with one folder per class"
TABLE = "write labels.csv beside them, with the columns image, labels and, if there are any, mask and split"
HIDDEN, SPLIT, IMAGES, MASKS, MASK_OF = (
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"\..*|@eadir|__macosx|__pycache__|#recycle|\$recycle\.bin|system volume information|lost\+found|thumbs\.db",
        r"(?:(?P<train>train(?:ing)?)|(?P<val>val(?:id(?:ation)?)?|dev)|(?P<test>test(?:ing)?))"
        r"(?:[_ -]?(?:set|data|images?|split|\d{1,4}))?",
        r"(jpeg)?images?|imgs?|photos?|photographs|pictures|rgb|leftimg8bit|data(set)?",
        r"(.+[_ -])?(masks|labels|annotations)|mask|label|annotation|anns?|segmentation(s|class(aug)?|object)?|segs?"
        r"|gt(fine|coarse)?|ground[_ ]?truths?|(label|seg)[_ -]?maps?|trimaps?",
        r"(.+?)[ ._-]*(mask|seg|segmentation|labels?|gt)([ _-]?\d+)?",
    )
)


def walk(root: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Return files, folders and the hidden of both below `root`, relative to it; symbolic links are followed."""
    files, folders, hidden = [], [], []
    for folder, names, others in os.walk(root, followlinks=True, onerror=_raise_unopened):
        path, real = Path(folder).relative_to(root), Path(folder).resolve()
        hidden += [path / name for name in (*names, *others) if HIDDEN.fullmatch(name)]
        files += [path / name for name in sorted(others) if not HIDDEN.fullmatch(name)]
        names[:] = [name for name in sorted(names) if not HIDDEN.fullmatch(name)]
        names[:] = [name for name in names if not real.is_relative_to(Path(folder, name).resolve())]  # no circles
        folders += [path / name for name in names]
    return files, folders, hidden


def _raise_unopened(error: OSError) -> NoReturn:
    raise SemplesError(error.filename, f"cannot be opened: {error.strerror}", "a folder", "give yourself access to it")


def image_files(root: Path) -> list[Path]:
    """Return the visible files below `root` with the suffix of an image format that Pillow reads, relative to it."""
    return [path for path in walk(root)[0] if path.suffix.lower() in IMAGE_SUFFIXES]


def read_folders(root: Path, data: Data, classes: set[str]) -> tuple[list[tuple[Path, str, str]], list[str]]:
    """Return path, split and label of every image below `root`, and what else was read or left out.

    Args:
        classes: Names in the classes file, if there is one; folders of other names may be empty.
    """
    files, folders, hidden = walk(root)
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    others = sorted({*files} - {*images, Path("classes.csv")})
    unread = [path for path in others if path.suffix.lower() in UNREAD_SUFFIXES]
    if unread and data.unreadable == "error":
        problem = f"{len(unread)} photographs in formats that are not read ({_kinds(unread)})"
        expected, remedy = " ".join(sorted(IMAGE_SUFFIXES)), "convert them, or set `data.unreadable: left_out`"
        raise SemplesError(root / unread[0], problem, expected, remedy)
    if lost := [path for path in others if not (root / path).exists()]:
        raise SemplesError(root / lost[0], "a symbolic link to nothing", "files and folders", "restore or remove it")
    stems = Counter(path.with_suffix("") for path in images)
    twins = [path for path in images if path.suffix.lower() == ".png" and stems[path.with_suffix("")] == 2]
    masks = [path for path in images if _is_mask(path, stems)] or (twins if 2 < 2 * len(twins) == len(images) else [])
    if masks:
        raise SemplesError(root / masks[0], f"{len(masks)} masks among the photographs, by their names", LAYOUTS, TABLE)
    splits, parts = _read_splits(root, [path.parts[:-1] for path in images], data)
    labels = [names[0] if names else "" for names in parts]
    if images and not any(labels):
        raise SemplesError(root, f"{len(images)} photographs without labels", LAYOUTS, TABLE)
    above = [path.parts[: path.parts.index(label)] for path, label in zip(images, labels, strict=True) if label]
    siblings = {Path(*names) for names in above}
    for folder in folders:
        if folder.parent in siblings and folder.name not in labels and folder.name in (classes or {folder.name}):
            expected, remedy = "photographs of the class", "put some there, remove the folder, or write classes.csv"
            raise SemplesError(root / folder, "a folder without a photograph that is read", expected, remedy)
    names = ", ".join(sorted({path.name for path in hidden}))
    left_out = {f"{len(others)} files that are not read ({_kinds(others)})": others}
    left_out |= {f"{len(hidden)} hidden files and folders ({names})": hidden}
    return list(zip(images, splits, labels, strict=True)), [f"left out: {text}" for text in left_out if left_out[text]]


def _kinds(paths: list[Path]) -> str:
    counts = Counter(path.suffix.lower() or "no suffix" for path in paths)
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))


def _is_mask(path: Path, stems: Counter[Path]) -> bool:
    match = MASK_OF.fullmatch(path.stem)
    beside = path.with_name(match[1]) in stems if match else False
    return beside or any(map(MASKS.fullmatch, path.parts[:-1]))


def _split_of(folder: Parts, data: Data) -> str:
    """Return the split that one folder's name means, or ""."""
    match = SPLIT.fullmatch("".join(folder))
    return getattr(data, str(match.lastgroup)) if match else ""


def _read_splits(root: Path, parts: list[Parts], data: Data) -> tuple[list[str], list[Parts]]:
    """Return the split of each image, or "", and the folders that remain when those of splits are taken away.

    Raises:
        SemplesError: A folder may be a split or a class, or may be a class or a folder above the classes.
    """
    splits = [""] * len(parts)
    while names := {folders[0] for folders in parts if folders}:
        if all(map(SPLIT.fullmatch, names)) and not any(splits):
            splits = [_split_of(folders[:1], data) for folders in parts]
        elif len(names) > 1 or not IMAGES.fullmatch(min(names)):
            break
        parts = [folders[1:] for folders in parts]
    labelled = [folders for folders in parts if folders]
    if labelled and all(_split_of(folders[1:2], data) for folders in labelled) and not any(splits):
        return [_split_of(folders[1:2], data) for folders in parts], [folders[:1] + folders[2:] for folders in parts]
    flat = {folders[0] for folders in labelled if len(folders) == 1}
    other = {name for name in names if SPLIT.fullmatch(name) or IMAGES.fullmatch(name)}
    if other - ({"train"} & flat):  # a train is a vehicle, too
        problem, expected = f"folder {min(other)!r} beside {min(names - other or other)!r}", "classes, or splits, alone"
        raise SemplesError(root, problem, expected, "move one of them away, or " + TABLE)
    below = {folders[:2] for folders in labelled}
    if not flat and (len(names) == 1 or len({name for _, name in below}) < len(below)):
        problem = f"all photographs in folders of {', '.join(sorted(names))}: classes, or folders above the classes?"
        expected, remedy = "photographs in the folder of their class", f"set `data.root` to {min(names)} in it, or "
        raise SemplesError(root, problem, expected, remedy + TABLE)
    return splits, parts
