"""Read the maps of another method: a folder of arrays, or an HDF5 file of CAMs."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from semples.data.cam_file import CamFile, ImageCams
from semples.data.manifest import Manifest
from semples.errors import SemplesError
from semples.files import digest, sha256


class CamFolder:
    """Reader of another method's CAMs: a folder of <id>.npy, (present classes, h, w) or (all classes, h, w).

    Maps are in class order; the labels of the images say which are present. Values may be any finite numbers: each map
    is scaled to [0, 1] where it is used. Pickled arrays are refused: they can run code.
    """

    def __init__(self, path: Path, images: Manifest) -> None:
        rows = zip(images.table["id"], images.label_matrix(), strict=True)
        self.labels = {image: np.flatnonzero(row) for image, row in rows}
        self.path, self.classes = Path(path), len(images.classes)

    def read(self, image: str) -> ImageCams:
        """Return the maps of one image; `height` and `width` are those of the maps."""
        path, present = self.path / f"{image}.npy", self.labels[image]
        try:
            score = np.load(path, allow_pickle=False)
            if score.dtype.kind not in "fiub":
                raise ValueError(f"values of type {score.dtype}")
        except (ValueError, OSError, EOFError) as error:
            problem = f"unreadable: {error}" if path.exists() else "no such file"
            expected, remedy = "a plain float array for every image", "save it with numpy.save"
            raise SemplesError(path, problem, expected, remedy) from error
        if score.ndim != 3 or len(score) not in (len(present), self.classes) or not score.size:
            expected = f"({len(present)} present classes or all {self.classes}, height, width), without background"
            raise SemplesError(path, f"an array of shape {score.shape}", expected, "save a map for every label")
        if not np.isfinite(score).all():
            raise SemplesError(path, "a value that is not finite", "finite numbers", "export the CAMs again")
        classes = present if len(score) == len(present) else np.arange(self.classes)
        return ImageCams(score.astype(np.float32), classes, *score.shape[1:])

    def check(self, images: Manifest, maps: str) -> None:
        """Read every array once; print what they hold, or raise an error for what does not fit or may mean two things.

        Args:
            maps: `all`: arrays have a map of every class; `auto`: of the present classes or of all, if it is clear.
        """
        low, high, kinds, background = np.inf, -np.inf, {"present", "all"}, maps == "auto"
        for row in tqdm(images.table.itertuples(), "reading CAMs", len(images), unit="image", mininterval=2):
            score, labels = self.read(row.id).score, len(self.labels[row.id])
            height, width = score.shape[1:]
            if height != width and abs(height * row.width - width * row.height) > row.width + row.height:
                problem, expected = f"maps of {width}x{height}", f"the shape of {row.width}x{row.height} pixels"
                raise SemplesError(self.path / f"{row.id}.npy", problem, expected, "save (classes, height, width)")
            low, high = min(low, score.min()), max(high, score.max())
            kinds &= {kind for kind, count in (("present", labels), ("all", self.classes)) if len(score) == count}
            background &= len(score) == labels + 1
        if not kinds or (kinds == {"all"} and background):
            problem = "all classes, or of the background and the labels" if kinds else "all classes, and some of labels"
            remedy = "save maps[1:], without background, or set `cpl.start_maps: all`"
            raise SemplesError(self.path, f"arrays of {problem}", "maps of one meaning", remedy)
        print(f"{self.path}: {len(images)} arrays, a map for {'every label' if 'present' in kinds else 'every class'},")
        print(f"in the order {', '.join(images.classes.names)}; values {low:.4g} to {high:.4g} are scaled to [0, 1]")


def open_cams(path: Path, images: Manifest, maps: str = "auto") -> CamFile | CamFolder:
    """Open the CAMs of all images: an HDF5 file of this format, or another method's folder of arrays, which is read."""
    if Path(path).is_dir():
        folder = CamFolder(path, images)
        folder.check(images, maps)
        return folder
    file = CamFile(path)
    file.require_classes(images.classes.names)
    if missing := sorted({*images.table["id"]} - {*file.ids}):
        problem, remedy = f"no maps of {len(missing)} images such as {missing[0]!r}", "run `semples cams` on this split"
        raise SemplesError(path, problem, f"all {len(images)} images", remedy)
    return file


def cams_digest(path: Path) -> str:
    """Return the digest of an HDF5 file of CAMs, or of all arrays of a folder."""
    files = sorted(path.rglob("*.npy")) if path.is_dir() else [path]
    return digest([[str(file.relative_to(path)) if path.is_dir() else file.name, sha256(file)] for file in files])
