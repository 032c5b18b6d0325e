"""Read the maps of another method: a folder of arrays or pictures, finished masks, or an HDF5 file."""

from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from tqdm import tqdm

from semples.data.cam_file import CamFile, ImageCams
from semples.data.images import IGNORE, read_mask
from semples.data.manifest import Manifest
from semples.errors import SemplesError
from semples.files import digest, sha256


class CamFolder:
    """Reader of another method's CAMs: a folder of <id>.npy, (present classes, h, w) or (all classes, h, w).

    Maps are in class order; the labels of the images say which are present. Values may be any finite numbers: each map
    is scaled to [0, 1] where it is used. Pickled arrays are refused: they can run code.
    """

    suffix, noun, remedy = ".npy", "arrays", "save it with numpy.save"
    ambiguous = True  # whether the number of maps says which classes they are of
    full_size = False  # whether maps must have the size of their image

    def __init__(self, path: Path, images: Manifest) -> None:
        rows = zip(images.table["id"], images.label_matrix(), strict=True)
        self.labels = {image: np.flatnonzero(row) for image, row in rows}
        self.path, self.names = Path(path), images.classes.names
        self.in_range = False  # whether `check` saw values in [0, 1] alone

    def where(self, image: str) -> Path:
        """Return the path of the maps of an image."""
        return self.path / f"{image}{self.suffix}"

    def maps(self, image: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the maps of an image (maps, h, w), and their classes; None where their number says what they are.

        Raises:
            OSError, EOFError, ValueError, KeyError, TypeError: They cannot be read.
        """
        return np.load(self.where(image), allow_pickle=False), None

    def read(self, image: str) -> ImageCams:
        """Return the maps of one image; `height` and `width` are those of the maps."""
        path, present = self.where(image), self.labels[image]
        try:
            score, classes = self.maps(image)
            if score.dtype.kind not in "fiub":
                raise ValueError(f"values of type {score.dtype}")
        except (ValueError, OSError, EOFError, KeyError, TypeError) as error:
            problem = f"unreadable: {error}" if path.exists() else "no such file"
            raise SemplesError(path, problem, "a plain float array for every image", self.remedy) from error
        if classes is not None:
            return ImageCams(score.astype(np.float32), classes, *score.shape[1:])
        if score.ndim != 3 or len(score) not in (len(present), len(self.names)) or not score.size:
            expected = f"({len(present)} present classes or all {len(self.names)}, height, width), without background"
            raise SemplesError(path, f"an array of shape {score.shape}", expected, "save a map for every label")
        if not np.isfinite(score).all():
            raise SemplesError(path, "a value that is not finite", "finite numbers", "export the CAMs again")
        classes = present if len(score) == len(present) else np.arange(len(self.names))
        return ImageCams(score.astype(np.float32), classes, *score.shape[1:])

    def check(self, images: Manifest, maps: str, setting: str = "cpl.start_maps") -> None:
        """Read every array once; print what they hold, or raise an error for what does not fit or may mean two things.

        Args:
            maps: `all`: arrays have a map of every class; `auto`: of the present classes or of all, if it is clear.
            setting: Key of `maps` in the settings, for the error.
        """
        low, high, kinds, background = np.inf, -np.inf, {"present", "all"}, maps == "auto"
        for row in tqdm(images.table.itertuples(), "reading CAMs", len(images), unit="image", mininterval=2):
            score, labels = self.read(row.id).score, len(self.labels[row.id])
            height, width = score.shape[1:]
            if self.full_size and (height, width) != (row.height, row.width):
                problem, expected = f"{width}x{height} pixels", f"{row.width}x{row.height}, the size of its image"
                raise SemplesError(self.where(row.id), problem, expected, "resize the mask without interpolation")
            if height != width and abs(height * row.width - width * row.height) > row.width + row.height:
                problem, expected = f"maps of {width}x{height}", f"the shape of {row.width}x{row.height} pixels"
                raise SemplesError(self.where(row.id), problem, expected, "save (classes, height, width)")
            low, high = min(low, score.min(initial=np.inf)), max(high, score.max(initial=-np.inf))
            kinds &= {kind for kind, count in (("present", labels), ("all", len(self.names))) if len(score) == count}
            background &= len(score) == labels + 1
        if self.ambiguous and (not kinds or (kinds == {"all"} and background)):
            problem = "all classes, or of the background and the labels" if kinds else "all classes, and some of labels"
            remedy = f"save maps[1:], without background, or set `{setting}: all`"
            raise SemplesError(self.path, f"arrays of {problem}", "maps of one meaning", remedy)
        what = f"a map for {'every label' if 'present' in kinds or not self.ambiguous else 'every class'}"
        print(f"{self.path}: {len(images)} {self.noun}, {what},")
        self.in_range = bool(low >= 0 and high <= 1)
        scaling = "" if self.in_range and setting == "foreign.maps" else " are scaled to [0, 1]"
        print(f"in the order {', '.join(images.classes.names)}; values {low:.4g} to {high:.4g}{scaling}")


class PictureFolder(CamFolder):
    """Reader of a folder <id>/<class name>.png for every image: grey pictures of 8 or 16 bits, white is 1."""

    suffix, noun, ambiguous = "", "folders of pictures", False
    remedy = "write a grey PNG for every label, named after its class"

    def maps(self, image: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the maps of the labels of an image."""
        planes = []
        for klass in self.labels[image]:
            with Image.open(self.where(image) / f"{self.names[klass]}.png") as picture:
                if picture.mode not in ("L", "I;16", "I"):
                    raise ValueError(f"{self.names[klass]}.png: mode {picture.mode}, which is not grey")
                planes.append(np.asarray(picture, np.float32) / (255 if picture.mode == "L" else 65535))
        return np.stack(planes), self.labels[image]


class MaskFolder(CamFolder):
    """Reader of finished masks <id>.png: class indices, from which maps of 0 and 1 are made; void becomes 0."""

    suffix, noun, ambiguous = ".png", "masks", False
    full_size = True
    remedy = "save class indices as palette or grey PNG, 0 for background and 255 for void"

    def maps(self, image: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Return a map of 0 and 1 for every class in the mask of an image, and for every label."""
        mask = read_mask(self.where(image))
        values = np.setdiff1d(np.unique(mask), [0, IGNORE]).astype(int) - 1
        if len(values) and values.max() >= len(self.names):
            raise ValueError(f"class index {values.max() + 1} of {len(self.names)} classes")
        classes = np.union1d(values, self.labels[image])
        return (mask == classes[:, None, None] + 1).astype(np.float32), classes


class PlainFile(CamFolder):
    """Reader of an HDF5 file with a dataset for every image at /<id>, of the shape of the arrays of `CamFolder`."""

    noun, remedy = "datasets", "write a dataset /<id> for every image"

    def where(self, image: str) -> Path:
        """Return the file."""
        return self.path

    def maps(self, image: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the dataset of an image."""
        with h5py.File(self.path, "r", locking="best-effort") as file:
            return file[image][:], None


def open_cams(path: Path, images: Manifest, maps: str = "auto", setting: str = "cpl.start_maps") -> CamFile | CamFolder:
    """Open the maps of all images: an HDF5 file of this project, or what a reader above reads, which is checked.

    Args:
        maps, setting: Those of `CamFolder.check`.
    """
    path = Path(path)
    if path.is_dir() or not _is_cam_file(path):
        folder = _kind(path, images)(path, images)
        folder.check(images, maps, setting)
        return folder
    file = CamFile(path)
    file.require_classes(images.classes.names)
    if missing := sorted({*images.table["id"]} - {*file.ids}):
        problem, remedy = f"no maps of {len(missing)} images such as {missing[0]!r}", "run `semples cams` on this split"
        raise SemplesError(path, problem, f"all {len(images)} images", remedy)
    return file


def maps_of(
    cams: CamFile | CamFolder, image: str, classes: list[int], remedy: str = "export the CAMs of every label"
) -> np.ndarray:
    """Return the maps of `classes` of an image in their order, float32 (classes, h, w); an error if one is missing."""
    maps = cams.read(image)
    rows = {klass: row for row, klass in enumerate(maps.classes.tolist())}
    if missing := set(classes) - set(rows):
        where, problem = f"{cams.path}, image {image!r}", f"no map of class {min(missing)}"
        raise SemplesError(where, problem, f"maps of the classes {classes}, counted from 0", remedy)
    return maps.score[[rows[klass] for klass in classes]]


def _is_cam_file(path: Path) -> bool:
    """Return whether a file is missing, damaged or a file of CAMs, of which `CamFile` tells; False for other HDF5."""
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            return "format" in file.attrs
    except OSError:
        return True


def _kind(path: Path, images: Manifest) -> type[CamFolder]:
    """Return the reader of a file or folder, by what it has for the first image."""
    if path.is_file():
        return PlainFile
    first = images.table["id"].iloc[0] if len(images) else ""
    if (path / f"{first}.npy").exists() or not first:
        return CamFolder
    if (path / first).is_dir():
        return PictureFolder
    return MaskFolder if (path / f"{first}.png").exists() else CamFolder


def cams_digest(path: Path) -> str:
    """Return the digest of an HDF5 file, or of all arrays and pictures of a folder."""
    files = sorted([*path.rglob("*.npy"), *path.rglob("*.png")]) if path.is_dir() else [path]
    return digest([[str(file.relative_to(path)) if path.is_dir() else file.name, sha256(file)] for file in files])
