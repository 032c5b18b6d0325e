"""PASCAL VOC 2012: labels from the XML annotations, masks from SegmentationClass.

Masks of train_aug come from SegmentationClassAug, or from the .mat files of SBD (Hariharan et al., ICCV 2011).
"""

import re
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd
from scipy.io import loadmat
from tqdm import tqdm

from semples.config.settings import Data
from semples.data.images import class_colours, write_mask
from semples.data.manifest import Classes
from semples.errors import SemplesError
from semples.files import atomic_path
from semples.runtime.parallel import map_processes

NAMES = (  # noqa: SIM905
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep "
    "sofa train tvmonitor"
).split()
# the published code writes "player" in prompts
TEXTS = {"diningtable": "dining table", "person": "player", "pottedplant": "potted plant", "tvmonitor": "tv monitor"}
CLASSES = Classes(tuple(NAMES), tuple(TEXTS.get(name, name) for name in NAMES), class_colours(len(NAMES)))


def load(data: Data, folder: Path, processes: int) -> tuple[Classes, pd.DataFrame]:
    """Return classes and table of the devkit at `data.root`; write SBD's .mat masks as PNG into `folder`/masks."""
    images = table(Path(data.root), data.difficult, data.sbd)
    mat = images["mask"].str.endswith(".mat")
    if count := int(mat.sum()):
        (folder / "masks").mkdir(parents=True)
        work, jobs = partial(_write_sbd_mask, folder, CLASSES.palette()), images["mask"][mat].map(Path)
        images.loc[mat, "mask"] = list(map_processes(work, jobs, processes, "masks of SBD", count))
    return CLASSES, images


def table(root: Path, difficult: str = "included", sbd: str = "") -> pd.DataFrame:
    """Return id, image, mask, split and labels of a devkit, without opening an image.

    Args:
        root: The folder VOC2012, or one that holds it.
        difficult: `included` or `excluded`: whether objects marked difficult give labels.
        sbd: Folder of SBD, or empty; a mask may be one of its .mat files.
    """
    devkit = _devkit(root)
    extra = _extra_masks(devkit, root, sbd)
    splits = {name: _read_split(devkit, name) for name in ("train", "val", "train_aug", "test")}
    official = splits["train"] | splits["val"]
    if not splits["train_aug"] and extra:
        splits["train_aug"] = (set(extra) | splits["train"]) - splits["val"]
    if not (ids := sorted(set().union(*splits.values()))):
        lists = devkit / "ImageSets/Segmentation"
        raise SemplesError(lists, "no split list", "train.txt and val.txt", "complete the devkit")
    masks = extra | {image: devkit / "SegmentationClass" / f"{image}.png" for image in official}
    rows = []
    for image in tqdm(ids, desc="reading annotations", mininterval=2):
        mask, photo = masks.get(image), devkit / "JPEGImages" / f"{image}.jpg"
        labels = [] if image in splits["test"] else _labels(devkit, image, difficult == "included")
        names = [name for name in splits if image in splits[name]]
        path = str(mask) if mask and mask.exists() else ""
        rows.append([image, str(photo), path, ";".join(names), ";".join(labels)])
    return pd.DataFrame(rows, columns=["id", "image", "mask", "split", "labels"])


def _devkit(root: Path) -> Path:
    for folder in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (folder / "JPEGImages").is_dir():
            return folder.resolve()
    expected = "a PASCAL VOC 2012 devkit (JPEGImages, Annotations, SegmentationClass, ImageSets)"
    raise SemplesError(root, "no folder JPEGImages", expected, "set `data.root` to the folder VOCdevkit or VOC2012")


def _extra_masks(devkit: Path, root: Path, sbd: str) -> dict[str, Path]:
    """Return the masks of images outside train and val by id: of SegmentationClassAug, or the .mat files of SBD."""
    masks = {path.stem: path for path in (devkit / "SegmentationClassAug").glob("[!.]*.png")}
    if masks and not sbd:
        return masks
    dataset = Path(sbd) if sbd else root / "benchmark_RELEASE" / "dataset"
    files = {path.stem: path for folder in (dataset, dataset / "cls") for path in folder.glob("[!.]*.mat")}
    if sbd and not files:
        raise SemplesError(sbd, "no .mat file", "the folder cls of SBD, or the one that holds it", "correct `data.sbd`")
    return {name: path.resolve() for name, path in files.items()}


def _write_sbd_mask(folder: Path, palette: np.ndarray, path: Path) -> str:
    """Write the class indices of a .mat file as palette PNG; return its path relative to `folder`."""
    name = f"masks/{path.stem}.png"
    try:
        mask = loadmat(path, variable_names=["GTcls"])["GTcls"]["Segmentation"].item()
    except Exception as error:  # loadmat raises errors of any kind on damaged files
        raise SemplesError(path, f"unreadable: {error}", "a class annotation of SBD", "restore the file") from error
    with atomic_path(folder / name) as partial_file:
        write_mask(partial_file, mask, palette)
    return name


def _read_split(devkit: Path, name: str) -> set[str]:
    """Return the ids of a list: the first column of each line, without folders and suffix, as other projects add."""
    path = devkit / "ImageSets" / "Segmentation" / f"{name}.txt"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.exists() else []
    except ValueError as error:
        raise SemplesError(path, f"unreadable: {error}", "a line of text per image", "save it as UTF-8") from error
    names = (PureWindowsPath(line.split()[0]).name for line in lines if line.strip())
    return {re.sub(r"\.(jpe?g|png)$", "", name, flags=re.IGNORECASE) for name in names}


def _labels(devkit: Path, image: str, difficult: bool) -> list[str]:
    """Return the names of an image's objects in class order, those marked difficult only if `difficult`."""
    path = devkit / "Annotations" / f"{image}.xml"
    try:
        objects = ET.parse(path).findall("object")
    except FileNotFoundError as error:
        raise SemplesError(path, "no such file", "an annotation for every image", "complete the devkit") from error
    except (ET.ParseError, OSError, ValueError, LookupError) as error:  # of XML, and of its encoding
        raise SemplesError(path, f"no XML: {error}", "a VOC annotation", "replace the file") from error
    counted = [entry for entry in objects if difficult or entry.findtext("difficult", "").strip() != "1"]
    names = {entry.findtext("name", "").strip() for entry in counted}
    if unknown := names - set(NAMES):
        raise SemplesError(path, f"object {sorted(unknown)[0]!r}", f"one of {NAMES}", "correct the annotation")
    return [name for name in NAMES if name in names]
