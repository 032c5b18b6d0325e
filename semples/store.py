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
from semples.files import require
from semples.images import resize_map

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


def _key(image: str) -> str:
    """An image id as the name of an HDF5 group: '/' would nest groups."""
    return image.replace("%", "%25").replace("/", "%2F")
