"""PASCAL VOC 2012: labels from the XML objects, masks from SegmentationClass, those of train_aug from
SegmentationClassAug, or from the .mat files of SBD (Hariharan et al., ICCV 2011).
"""

import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path

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

NAMES = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
TEXTS = {
    "diningtable": "dining table",
    "person": "player",
    "pottedplant": "potted plant",
    "tvmonitor": "tv monitor",
}  # method of the published code: `player` names people better than `person`


def classes() -> Classes:
    """The twenty classes in the official order, with the official colours."""
    return Classes(tuple(NAMES), tuple(TEXTS.get(name, name) for name in NAMES), class_colours(len(NAMES)))


def load(data: Data, folder: Path, processes: int) -> tuple[Classes, pd.DataFrame]:
    """The devkit at `data.root`; masks that SBD has as .mat are written into `folder`/masks."""
    found = table(Path(data.root), data.difficult, data.sbd)
    mat = found["mask"].str.endswith(".mat")
    jobs = list(found.loc[mat, ["mask", "id"]].itertuples(index=False, name=None))
    if jobs:
        (folder / "masks").mkdir(parents=True)
        work = partial(_write_sbd_mask, folder, classes().palette())
        found.loc[mat, "mask"] = list(map_processes(work, jobs, processes, "masks of SBD", len(jobs)))
    return classes(), found


def table(root: Path, difficult: str = "included", sbd: str = "") -> pd.DataFrame:
    """id, image, mask, split and labels of the devkit at `root` (the folder VOC2012, or one that holds it).

    A mask may be a .mat file of SBD. No image is opened.
    """
    devkit = _devkit(root)
    extra = _extra_masks(devkit, root, sbd)
    official = {name: _read_split(devkit, name) for name in ("train", "val")}
    train_aug = _read_split(devkit, "train_aug")
    if not train_aug and extra:
        train_aug = (set(extra) | official["train"]) - official["val"]
    splits = official | {"train_aug": train_aug, "test": _read_split(devkit, "test")}
    ids = sorted(set().union(*splits.values()))
    if not ids:
        raise SemplesError(
            devkit / "ImageSets/Segmentation", "no split list", "train.txt and val.txt", "complete the devkit"
        )
    rows, with_difficult = [], difficult == "included"
    for image in tqdm(ids, desc="reading annotations", mininterval=2):
        own = devkit / "SegmentationClass" / f"{image}.png"
        judged = image in official["train"] or image in official["val"]
        unknown = image in splits["test"]  # the server alone knows what it shows
        mask = (own if own.exists() else "") if judged else extra.get(image, "")
        rows.append(
            {
                "id": image,
                "image": str(devkit / "JPEGImages" / f"{image}.jpg"),
                "mask": str(mask),
                "split": ";".join(name for name in splits if image in splits[name]),
                "labels": "" if unknown else ";".join(_labels(devkit / "Annotations" / f"{image}.xml", with_difficult)),
            }
        )
    return pd.DataFrame(rows)


def _devkit(root: Path) -> Path:
    for folder in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (folder / "JPEGImages").is_dir():
            return folder.resolve()
    raise SemplesError(
        root,
        "no folder JPEGImages",
        "a PASCAL VOC 2012 devkit (JPEGImages, Annotations, SegmentationClass, ImageSets)",
        "set `data.root` to the folder VOCdevkit or VOC2012",
    )


def _extra_masks(devkit: Path, root: Path, sbd: str) -> dict[str, Path]:
    """Masks of the images outside train and val, by id: SegmentationClassAug, or the .mat files of SBD."""
    drawn = {path.stem: path for path in (devkit / "SegmentationClassAug").glob("*.png")}
    if drawn and not sbd:
        return drawn
    given = Path(sbd) if sbd else root / "benchmark_RELEASE" / "dataset"
    found = {path.stem: path for folder in (given, given / "cls") for path in folder.glob("*.mat")}
    if sbd and not found:
        raise SemplesError(sbd, "no .mat file", "the folder cls of SBD, or the one that holds it", "correct `data.sbd`")
    return {name: path.resolve() for name, path in found.items()}


def _write_sbd_mask(folder: Path, palette: np.ndarray, job: tuple[str, str]) -> str:
    """Write the class indices of one .mat as palette PNG; its path relative to `folder`."""
    path, image = job
    try:
        mask = loadmat(path, variable_names=["GTcls"])["GTcls"]["Segmentation"].item()
    except Exception as error:  # loadmat raises whatever the bytes make it stumble over
        raise SemplesError(path, f"unreadable: {error}", "a class annotation of SBD", "restore the file") from error
    with atomic_path(folder / "masks" / f"{image}.png") as partial_file:
        write_mask(partial_file, mask, palette)
    return f"masks/{image}.png"


def _read_split(devkit: Path, name: str) -> set[str]:
    path = devkit / "ImageSets" / "Segmentation" / f"{name}.txt"
    return set(path.read_text(encoding="utf-8").split()) if path.exists() else set()


def _labels(path: Path, difficult: bool) -> list[str]:
    """Names of the objects in an annotation in class order, those marked difficult only if `difficult`."""
    try:
        objects = ET.parse(path).findall("object")
    except FileNotFoundError as error:
        raise SemplesError(path, "no such file", "an annotation for every image", "complete the devkit") from error
    except ET.ParseError as error:
        raise SemplesError(path, f"no XML: {error}", "a VOC annotation", "replace the file") from error
    names = {found.findtext("name", "") for found in objects if difficult or found.findtext("difficult") != "1"}
    if unknown := names - set(NAMES):
        raise SemplesError(path, f"object {sorted(unknown)[0]!r}", f"one of {NAMES}", "correct the annotation")
    return [name for name in NAMES if name in names]
