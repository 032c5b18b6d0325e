"""Read and write the HDF5 file of CAMs, format version 1, which docs/hdf5.md specifies.

/                 NX_class="NXroot", format="semples.cams", format_version=1, default="images"
/classes, /ids    UTF-8: class names, and image ids in the order of the manifest
/images/<id>      NX_class="NXdata", signal="score", classes, height, width; in an index a link into a shard
    score         (present classes, h, w) in [0, 1]
/provenance       command, settings and digests of the inputs
/shards           in an index only: names and SHA-256 of its files

A checksum covers all that a reader needs. Strings have a fixed length, because HDF5 stores others without checksum.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from semples.data.images import resize_map
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.files import require, sha256
from semples.provenance import without_machine
from semples.runtime.parallel import shard_slice

FORMAT, VERSION = "semples.cams", 1
UINT8_SCALE = 255


@dataclass(frozen=True)
class ImageCams:
    """The class activation maps of one image; height and width are those of the image in pixels."""

    score: np.ndarray
    """float32 (present classes, h, w) in [0, 1], at the stored resolution."""
    classes: np.ndarray
    """int64 (present classes,): index of each map's class, from 0."""
    height: int
    width: int

    def full_size(self) -> np.ndarray:
        """Return the maps resized bilinearly to the image: float32 (present classes, height, width)."""
        return resize_map(self.score, self.height, self.width)


class CamWriter(AbstractContextManager["CamWriter"]):
    """Writer of a new file; equal inputs give equal bytes. Use it inside `files.atomic_path`.

    Args:
        class_names, ids: Those of the manifest, in its order.
        dtype: uint8, float16 or float32, the type of the stored scores.
        provenance: Command, settings and digests of the inputs.
    """

    def __init__(
        self, path: Path, class_names: Sequence[str], ids: Sequence[str], dtype: str, provenance: dict[str, str]
    ) -> None:
        self.file = h5py.File(path, "w", libver="latest", track_order=False, locking="best-effort")
        self.dtype = dtype
        _describe(self.file, NX_class="NXroot", format=FORMAT, default="images")
        self.file.attrs["format_version"] = VERSION
        self.write_texts("classes", class_names)
        self.write_texts("ids", ids)
        _describe(self.file.create_group("images"), NX_class="NXcollection", default=_key(ids[0]))
        _describe(self.file.create_group("provenance"), **provenance)

    def write_texts(self, name: str, texts: Sequence[str] | Sequence[Sequence[str]]) -> None:
        """Write a dataset of UTF-8 strings as one chunk with a checksum."""
        data = _fixed_length(texts)
        self.file.create_dataset(name, data=data, chunks=data.shape, fletcher32=True, track_times=False)

    def add(self, image: str, score: np.ndarray, classes: np.ndarray, height: int, width: int) -> None:
        """Write the `ImageCams` of an image id as one compressed chunk with a checksum; `score` may be any float."""
        if problem := _problem(score):
            remedy = "train the generator with a lower learning rate"
            raise SemplesError(f"CAMs of image {image!r}", problem, "finite scores in [0, 1]", remedy)
        group = self.file["images"].create_group(_key(image))
        _describe(group, NX_class="NXdata", signal="score", axes=[".", ".", "."])
        group.attrs.update({"classes": classes.astype(np.int64), "height": height, "width": width})
        data = (np.rint(score * UINT8_SCALE) if self.dtype == "uint8" else score).astype(self.dtype)
        options = {"track_times": False, "compression": "gzip", "shuffle": True, "fletcher32": True}
        dataset = group.create_dataset("score", data=data, chunks=score.shape, **options)
        if self.dtype == "uint8":
            dataset.attrs["scale_factor"] = 1 / UINT8_SCALE

    def __exit__(self, *_error: object) -> None:
        self.file.close()


class CamFile(AbstractContextManager["CamFile"]):
    """Reader of a file of CAMs or an index of shards; `read` returns the maps of an image by its id.

    Raises:
        SemplesError: The file is missing, damaged or of another version, or a shard is of another run.
    """

    def __init__(self, path: Path) -> None:
        self.path = require(Path(path), "cams")
        with self._clear_errors():
            self.file = h5py.File(path, "r", locking="best-effort")
            name, version = as_text(self.file.attrs.get("format")), self.file.attrs.get("format_version")
            if (name, version) != (FORMAT, VERSION):
                self.file.close()
                problem, expected = f"format {name!r} version {version}", f"{FORMAT!r} version {VERSION}"
                raise SemplesError(self.path, problem, expected, "run `semples cams` again")
            self.class_names: tuple[str, ...] = tuple(self.file["classes"].asstr()[:])
            attributes = self.file["provenance"].attrs
            self.provenance: dict[str, str] = {name: as_text(attributes[name]) for name in attributes}
            names = self.file["shards"].asstr()[:, 0] if "shards" in self.file else []
        # shards stay open, so that links into them need not open them again
        self.shards = [CamFile(self.path.parent / name) for name in names]
        for shard in self.shards:
            if without_machine(shard.provenance) != without_machine(self.provenance):
                problem, expected = "a shard of another run", f"a shard of the run that wrote {self.path.name}"
                raise SemplesError(shard.path, problem, expected, "run `semples cams` again for all shards")

    @cached_property
    def ids(self) -> list[str]:
        """All image ids, in the order of the manifest; read when first needed."""
        with self._clear_errors():
            return list(self.file["ids"].asstr()[:])

    def read(self, image: str, shape: tuple[int, int] | None = None) -> ImageCams:
        """Return the maps of one image, which has the `shape` (height, width); raise SemplesError if there are none."""
        key, where, remedy = _key(image), f"{self.path}, image {image!r}", "run `semples cams` again"
        with self._clear_errors():
            if key not in self.file["images"] and image not in self.ids:
                expected = f"one of its {len(self.ids)} ids"
                raise SemplesError(self.path, f"no image {image!r}", expected, "run `semples cams` on this split")
            group = self.file["images"][key]
            score = group["score"][:]
            score = score / np.float32(UINT8_SCALE) if score.dtype == np.uint8 else score.astype(np.float32)
            maps = ImageCams(score, group.attrs["classes"], int(group.attrs["height"]), int(group.attrs["width"]))
        problem = _problem(score)
        if len(maps.classes) != len(score) or not set(maps.classes.tolist()) <= set(range(len(self.class_names))):
            problem = f"{len(score)} maps of the classes {maps.classes}, of {len(self.class_names)} classes"
        elif shape and (maps.height, maps.width) != tuple(shape):
            problem = "maps of {}x{} pixels, of an image of {}x{}".format(maps.width, maps.height, *shape[::-1])
        if problem:
            raise SemplesError(where, problem, "finite scores in [0, 1] that fit the manifest", remedy)
        return maps

    def require_classes(self, names: tuple[str, ...]) -> None:
        """Raise SemplesError unless the file's classes are the manifest's."""
        if self.class_names != tuple(names):
            problem, expected = f"classes {self.class_names}", f"the manifest's {names}"
            raise SemplesError(self.path, problem, expected, "run `semples cams` again")

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Turn h5py's errors about a damaged file into SemplesError."""
        try:
            yield
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            remedy = "delete it and run `semples cams` again"
            raise SemplesError(self.path, f"unreadable: {error}", "a whole HDF5 file", remedy) from error

    def close(self) -> None:
        """Close the file and its shards."""
        for part in [*self.shards, self.file]:
            part.close()

    def __exit__(self, *_error: object) -> None:
        self.close()


def images_of(cams: Path, manifest: Path, shard: str | None) -> Manifest:
    """Return the images whose CAMs lie in a file, in its order, or a share of them such as "2-of-4".

    Raises:
        SemplesError: `manifest` does not list them, or has other classes.
    """
    images = read_manifest(manifest)
    with CamFile(cams) as file:
        file.require_classes(images.classes.names)
        ids = file.ids[shard_slice(shard, len(file.ids))]
    table = images.table.set_index("id", drop=False)
    if unknown := [image for image in ids if image not in table.index]:
        problem, remedy = f"{len(unknown)} images such as {unknown[0]!r}", "name the manifest that they are of"
        raise SemplesError(cams, problem, f"images of {manifest}", remedy)
    return Manifest(table.loc[ids].reset_index(drop=True), images.classes)


def join_shards(shards: Sequence[Path], out: Path) -> None:
    """Write the index `out` that reads `shards`, files of one run, as one; they must lie in its folder or below."""
    if outside := [path for path in shards if not path.resolve().is_relative_to(out.parent.resolve())]:
        raise SemplesError(outside[0], "a shard elsewhere", f"a file in {out.parent} or below", "write it there")
    files = {path.resolve().relative_to(out.parent.resolve()).as_posix(): CamFile(path) for path in shards}
    first = next(iter(files.values()))
    ids = [image for file in files.values() for image in file.ids]
    for file in files.values():
        if without_machine(file.provenance) != without_machine(first.provenance) or len({*ids}) < len(ids):
            problem = "a shard of another run, or with images of another shard"
            raise SemplesError(file.path, problem, f"one like {first.path}", "run `semples cams` again for all shards")
    with CamWriter(out, first.class_names, ids, "float16", first.provenance) as index:
        index.write_texts("shards", [[name, sha256(file.path)] for name, file in files.items()])
        for name, file in files.items():
            for key in map(_key, file.ids):
                index.file["images"][key] = h5py.ExternalLink(name, f"/images/{key}")
            file.close()


def _problem(score: np.ndarray) -> str:
    """Return what is wrong with the scores of an image, "" if they are finite and in [0, 1]."""
    if not np.isfinite(score).all():
        return "a score that is not finite"
    return "" if score.min(initial=0) >= 0 and score.max(initial=0) <= 1 else f"scores {score.min()} to {score.max()}"


def _key(image: str) -> str:
    """Return the group name of an image id, in which '/' is escaped, because it would nest groups."""
    return image.replace("%", "%25").replace("/", "%2F")


def _fixed_length(texts: str | Sequence) -> np.ndarray:
    """Encode a string, or nested sequences of strings, as UTF-8 of one fixed length."""
    encoded = np.char.encode(np.asarray(texts, dtype=str), "utf-8")
    return encoded.astype(h5py.string_dtype("utf-8", max(1, encoded.dtype.itemsize)))


def _describe(group: h5py.Group, **attributes: str | list[str]) -> None:
    for name, text in attributes.items():
        data = _fixed_length(text)
        group.attrs.create(name, data, dtype=data.dtype)


def as_text(value: Any) -> Any:
    """Decode a string attribute; return anything else unchanged."""
    return value.decode() if isinstance(value, bytes) else value
