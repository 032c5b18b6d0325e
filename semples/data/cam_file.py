"""The HDF5 file of CAMs, format version 1 (docs/hdf5.md).

/                 attrs NX_class="NXroot", format="semples.cams", format_version=1, default="images"
/classes          class names, UTF-8
/ids              image ids in manifest order, UTF-8
/images/<id>      attrs NX_class="NXdata", signal="score", classes, height, width; in an index a link into a shard
    score         (present classes, h, w) in [0, 1]
/provenance       attrs: what the file was made from
/shards           of an index alone: names and SHA-256 of the files it reads as one

All that a reader needs is under a checksum: scores and names by fletcher32, numbers and links by HDF5's own (their
text has a fixed length, for HDF5 keeps other text in a heap without checksum).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from semples.data.images import resize_map
from semples.data.manifest import Manifest
from semples.errors import SemplesError
from semples.files import digest, require, sha256

FORMAT, VERSION = "semples.cams", 1
UINT8_SCALE = 255
BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # what h5py raises on damaged files


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

    def __init__(
        self, path: Path, class_names: Sequence[str], ids: Sequence[str], dtype: str, made_from: dict[str, str]
    ) -> None:
        self.file = h5py.File(path, "w", libver="latest", track_order=False)
        self.dtype = dtype
        _describe(self.file, NX_class="NXroot", format=FORMAT, default="images")
        self.file.attrs["format_version"] = VERSION
        self.write_texts("classes", class_names)
        self.write_texts("ids", ids)
        images = self.file.create_group("images")
        _describe(images, NX_class="NXcollection", default=_key(ids[0]))
        _describe(self.file.create_group("provenance"), **made_from)

    def write_texts(self, name: str, texts: Sequence[str]) -> None:
        """A dataset of UTF-8 strings, in one checksummed chunk."""
        data = _fixed(texts)
        self.file.create_dataset(name, data=data, chunks=data.shape, fletcher32=True, track_times=False)

    def add(self, image: str, score: np.ndarray, classes: np.ndarray, height: int, width: int) -> None:
        """Store the maps (present classes, h, w) of one image, in one compressed, checksummed chunk."""
        group = self.file["images"].create_group(_key(image))
        _describe(group, NX_class="NXdata", signal="score", axes=[".", ".", "."])
        group.attrs.update({"classes": classes.astype(np.int64), "height": height, "width": width})
        stored = np.rint(score * UINT8_SCALE) if self.dtype == "uint8" else score
        dataset = group.create_dataset(
            "score",
            data=stored.astype(self.dtype),
            chunks=score.shape,
            compression="gzip",
            shuffle=True,
            fletcher32=True,
            track_times=False,
        )
        if self.dtype == "uint8":
            dataset.attrs["scale_factor"] = 1 / UINT8_SCALE

    def __enter__(self) -> "CamWriter":
        return self

    def __exit__(self, *_error: object) -> None:
        self.file.close()


class CamFile:
    """Reads a file of CAMs or an index of shards, any image by its id."""

    def __init__(self, path: Path) -> None:
        self.path, self.shards = require(Path(path), "cams"), []
        with self._whole():
            self.file = h5py.File(path, "r")
        with self._whole():
            self._expect_version()
            self.class_names = tuple(self.file["classes"].asstr()[:])
            attributes = self.file["provenance"].attrs
            self.provenance = {name: str(as_text(attributes[name])) for name in attributes}
            names = self.file["shards"].asstr()[:, 0] if "shards" in self.file else []
        # held open, so that a link into a shard finds it open
        self.shards = [self._shard(self.path.parent / name) for name in names]

    @cached_property
    def ids(self) -> list[str]:
        """All image ids, in the order of the manifest; read when asked for, as one image needs no other."""
        with self._whole():
            return list(self.file["ids"].asstr()[:])

    def read(self, image: str) -> ImageCams:
        """The maps of one image."""
        key = _key(image)
        with self._whole():
            if key not in self.file["images"] and image not in self.ids:
                known = f"one of its {len(self.ids)} ids"
                raise SemplesError(self.path, f"no image {image!r}", known, "export the CAMs of this split")
            group = self.file["images"][key]
            score = group["score"][:]
            score = score / np.float32(UINT8_SCALE) if score.dtype == np.uint8 else score.astype(np.float32)
            return ImageCams(score, group.attrs["classes"], int(group.attrs["height"]), int(group.attrs["width"]))

    def require_classes(self, names: tuple[str, ...]) -> None:
        """An error unless the file's classes are the manifest's."""
        if self.class_names != tuple(names):
            found, expected = f"classes {self.class_names}", f"the manifest's {names}"
            raise SemplesError(self.path, found, expected, "export the CAMs again")

    def _expect_version(self) -> None:
        found = (as_text(self.file.attrs.get("format")), self.file.attrs.get("format_version"))
        if found != (FORMAT, VERSION):
            self.file.close()
            words, expected = f"format {found[0]!r} version {found[1]}", f"{FORMAT!r} version {VERSION}"
            raise SemplesError(self.path, words, expected, "export the CAMs again")

    def _shard(self, path: Path) -> "CamFile":
        shard = CamFile(path)
        if shard.provenance != self.provenance:
            raise SemplesError(path, "a shard of another run", f"one that {self.path.name} was made of", "export again")
        return shard

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """What h5py says of a damaged file, as the one error."""
        try:
            yield
        except BROKEN as error:
            remedy = "delete it and export it again"
            raise SemplesError(self.path, f"unreadable: {error}", "a whole HDF5 file", remedy) from error

    def close(self) -> None:
        """Close the file and its shards."""
        for part in [*self.shards, self.file]:
            part.close()

    def __enter__(self) -> "CamFile":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def join_shards(shards: Sequence[Path], out: Path) -> None:
    """Write the index `out` by which `shards`, files of one run, read as one; they stay where they are, beside it."""
    files = [CamFile(path) for path in shards]
    first = files[0]
    ids = [image for file in files for image in file.ids]
    with CamWriter(out, first.class_names, ids, "float16", first.provenance) as index:
        names = [path.relative_to(out.parent).as_posix() for path in shards]
        index.write_texts("shards", [[name, sha256(path)] for name, path in zip(names, shards, strict=True)])
        for name, file in zip(names, files, strict=True):
            for image in file.ids:
                index.file["images"][_key(image)] = h5py.ExternalLink(name, f"/images/{_key(image)}")
    for file in files:
        file.close()


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
            remedy = "save it with numpy.save"
            raise SemplesError(path, f"unreadable: {error}", "a plain float array", remedy) from error
        if score.ndim != 3 or len(score) not in (len(present), self.classes):
            expected = f"({len(present)} present classes or all {self.classes}, height, width)"
            raise SemplesError(path, f"an array of shape {score.shape}", expected, "save a map for every label")
        found = present if len(score) == len(present) else np.arange(self.classes)
        return ImageCams(score, found, *score.shape[1:])


def open_cams(path: Path, images: Manifest) -> CamFile | CamFolder:
    """CAMs of another method: the project's HDF5 file, or a folder of arrays."""
    if not Path(path).is_dir():
        file = CamFile(path)
        file.require_classes(images.classes.names)
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


def _fixed(texts: Sequence) -> np.ndarray:
    """Strings, nested as they come, as UTF-8 of one fixed length."""
    encoded = np.char.encode(np.asarray(texts, dtype=str), "utf-8")
    return encoded.astype(h5py.string_dtype("utf-8", max(1, encoded.dtype.itemsize)))


def _describe(group: h5py.Group, **attributes: str | list[str]) -> None:
    for name, text in attributes.items():
        data = _fixed(text)
        group.attrs.create(name, data, dtype=data.dtype)


def as_text(value: object) -> object:
    """A string attribute as text; anything else as it is."""
    return value.decode() if isinstance(value, bytes) else value
