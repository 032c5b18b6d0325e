"""The HDF5 file of CAMs, format version 1 (docs/hdf5.md).

/                 attrs NX_class="NXroot", format="semples.cams", format_version=1, default="images"
/classes          class names, UTF-8
/ids              image ids in manifest order, UTF-8
/images/<id>      attrs NX_class="NXdata", signal="score", classes, height, width
    score         (present classes, h, w) in [0, 1]
/provenance       attrs: what the file was made from
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from semples.errors import SemplesError
from semples.files import digest, require, sha256
from semples.images import resize_map
from semples.manifest import Manifest

FORMAT, VERSION = "semples.cams", 1


@dataclass(frozen=True)
class ImageCams:
    """The maps of one image."""

    score: np.ndarray
    """float32 (present classes, h, w) in [0, 1], at the stored resolution."""
    classes: np.ndarray
    """int64 (present classes,): index of each map's class, from 0."""
    height: int
    """Height of the image in pixels."""
    width: int
    """Width of the image in pixels."""

    def full_size(self) -> np.ndarray:
        """float32 (present classes, height, width), bilinear."""
        return resize_map(self.score, self.height, self.width)


class CamWriter:
    """Writes a new file; equal inputs give equal bytes. Use it inside `files.atomic_path`."""

    def __init__(self, path: Path, class_names: tuple[str, ...], ids: list[str], dtype: str, made_from: dict) -> None:
        self.file = h5py.File(path, "w", libver="latest", track_order=False)
        self.dtype = dtype
        attrs = {"NX_class": "NXroot", "format": FORMAT, "format_version": VERSION, "default": "images"}
        self.file.attrs.update(attrs)
        text = h5py.string_dtype("utf-8")
        self.file.create_dataset("classes", data=list(class_names), dtype=text, track_times=False)
        self.file.create_dataset("ids", data=ids, dtype=text, track_times=False)
        images = self.file.create_group("images")
        images.attrs.update({"NX_class": "NXcollection", "default": _key(ids[0])})
        self.file.create_group("provenance").attrs.update(made_from)

    def add(self, image: str, score: np.ndarray, classes: np.ndarray, height: int, width: int) -> None:
        """Store the maps (present classes, h, w) of one image, in one compressed, checksummed chunk."""
        group = self.file["images"].create_group(_key(image))
        group.attrs.update({"NX_class": "NXdata", "signal": "score", "axes": ["."] * 3})
        group.attrs.update({"classes": classes.astype(np.int64), "height": height, "width": width})
        group.create_dataset(
            "score",
            data=score.astype(self.dtype),
            chunks=score.shape,
            compression="gzip",
            shuffle=True,
            fletcher32=True,
            track_times=False,
        )

    def __enter__(self) -> "CamWriter":
        return self

    def __exit__(self, *_error: object) -> None:
        self.file.close()


class CamFile:
    """Reads a file of CAMs, any image by its id."""

    def __init__(self, path: Path) -> None:
        self.path = require(Path(path), "cams")
        try:
            self.file = h5py.File(path, "r")
        except OSError as error:
            raise self._corrupt(error) from error
        found = (self.file.attrs.get("format"), self.file.attrs.get("format_version"))
        if found != (FORMAT, VERSION):
            self.file.close()
            raise SemplesError(
                path,
                f"format {found[0]!r} version {found[1]}",
                f"{FORMAT!r} version {VERSION}",
                "export the CAMs again",
            )
        self.class_names = tuple(self.file["classes"].asstr()[:])
        self.provenance = dict(self.file["provenance"].attrs)

    @cached_property
    def ids(self) -> list[str]:
        """All image ids, in the order of the manifest; read when asked for, as one image needs no other."""
        return list(self.file["ids"].asstr()[:])

    def read(self, image: str) -> ImageCams:
        """The maps of one image."""
        try:
            group = self.file["images"][_key(image)]
            score = group["score"][:].astype(np.float32)
        except KeyError as error:
            raise SemplesError(
                self.path,
                f"no image {image!r}",
                f"one of its {len(self.ids)} ids",
                "export the CAMs of this split",
            ) from error
        except OSError as error:
            raise self._corrupt(error) from error
        return ImageCams(score, group.attrs["classes"], int(group.attrs["height"]), int(group.attrs["width"]))

    def expect_classes(self, names: tuple[str, ...]) -> None:
        """An error unless the file's classes are the manifest's."""
        if self.class_names != tuple(names):
            raise SemplesError(
                self.path, f"classes {self.class_names}", f"the manifest's {names}", "export the CAMs again"
            )

    def _corrupt(self, error: OSError) -> SemplesError:
        return SemplesError(self.path, f"unreadable: {error}", "a whole HDF5 file", "delete it and export it again")

    def __enter__(self) -> "CamFile":
        return self

    def __exit__(self, *_error: object) -> None:
        self.file.close()


class CamFolder:
    """Another method's CAMs: a folder with <id>.npy, float (present classes, h, w) or (all classes, h, w).

    The maps of present classes are in class order; `labels` are the class indices of every image, by id. Pickled
    arrays are not read: they can run code.
    """

    def __init__(self, path: Path, labels: dict[str, np.ndarray], classes: int) -> None:
        self.path, self.labels, self.classes = require(Path(path), "cams"), labels, classes

    def read(self, image: str) -> ImageCams:
        """The maps of one image; its size in pixels is that of the maps."""
        path, present = require(self.path / f"{image}.npy", "cams"), self.labels[image]
        try:
            score = np.load(path, allow_pickle=False).astype(np.float32)
        except (ValueError, OSError, EOFError) as error:
            raise SemplesError(
                path, f"unreadable: {error}", "a plain float array", "save it with numpy.save"
            ) from error
        if score.ndim != 3 or len(score) not in (len(present), self.classes):
            raise SemplesError(
                path,
                f"an array of shape {score.shape}",
                f"({len(present)} present classes or all {self.classes}, height, width)",
                "save a map for every label",
            )
        found = present if len(score) == len(present) else np.arange(self.classes)
        return ImageCams(score, found, *score.shape[1:])


def open_cams(path: Path, images: Manifest) -> CamFile | CamFolder:
    """CAMs of another method: the project's HDF5 file, or a folder of arrays."""
    if not Path(path).is_dir():
        file = CamFile(path)
        file.expect_classes(images.classes.names)
        return file
    rows = zip(images.table["id"], images.label_matrix(), strict=True)
    return CamFolder(path, {image: np.flatnonzero(row) for image, row in rows}, len(images.classes))


def cams_digest(path: Path) -> str:
    """Digest of an HDF5 file of CAMs, or of all arrays of a folder."""
    files = sorted(path.glob("*.npy")) if path.is_dir() else [path]
    return digest([[file.name, sha256(file)] for file in files])


def _key(image: str) -> str:
    """An image id as the name of an HDF5 group: '/' would nest groups."""
    return image.replace("%", "%25").replace("/", "%2F")
