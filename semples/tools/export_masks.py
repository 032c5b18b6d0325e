"""export-masks: write masks for CVAT, Label Studio, YOLO, or in the layouts of COCO and VOC."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tqdm import tqdm

from semples.data.exporters import coco, label_studio, voc, yolo
from semples.data.exporters.regions import MaskedImage
from semples.data.images import read_mask
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.files import atomic_path
from semples.planning.layout import OUTPUTS, Layout, manifest_of

MASK_FOLDERS = tuple(OUTPUTS[stage]["masks"] for stage in ("crf", "segment_masks"))


def run(
    results: Path, format: str, manifest: Path | None, least_area: int, outlines: str, prefix: str, out: Path
) -> None:
    """Write the masks of `results` into the folder `out`, as `coco`, `yolo`, `cvat`, `labelstudio` or `voc`.

    Args:
        results: Folder of masks, or the folder of a run that has one such folder.
        manifest: manifest.csv of the images; None for that of the run.
        least_area: Connected regions with fewer pixels become background.
        outlines: `coco` only: `rle` or `polygons`.
        prefix: `labelstudio` only: text before the file names of the images.
    Raises:
        SemplesError: There are several folders of masks, or none, or a mask has another size or class than its image.
    """
    folder = _masks(results)
    listed = read_manifest(manifest or manifest_of(folder))
    rows = listed.table["id"].isin({path.relative_to(folder).with_suffix("").as_posix() for path in _pngs(folder)})
    images = Manifest(listed.table[rows].reset_index(drop=True), listed.classes)
    if not len(images):
        raise SemplesError(folder, "no mask of an image of the manifest", "<id>.png", "name another folder or manifest")
    listed.report_strays(folder)
    with atomic_path(out) as partial_folder:
        count = write_masks(folder, images, partial_folder, format, least_area, outlines, prefix)
    print(f"{len(images)} images, {count} {'masks' if format in ('labelstudio', 'voc') else 'objects'}: {out}")


def write_masks(
    folder: Path,
    images: Manifest,
    out: Path,
    format: str,
    least_area: int = 1,
    outlines: str = "rle",
    prefix: str = "",
) -> int:
    """Write the masks <id>.png of `images` in `folder` into the new folder `out`; return how many objects or masks.

    The other arguments are those of `run`.
    """
    writers: dict[str, Callable[..., int]] = {
        "coco": partial(coco.write, outlines=outlines),
        "yolo": yolo.write,
        "cvat": voc.write_cvat,
        "labelstudio": partial(label_studio.write, prefix=prefix),
        "voc": voc.write,
    }
    out.mkdir(parents=True)
    return writers[format](out, _read(folder, images), images.classes, least_area)


def _pngs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.png") if not path.name.startswith("."))


def _masks(results: Path) -> Path:
    """Return the folder of masks that `results` is or holds."""
    if not results.is_dir():
        raise SemplesError(results, "no such folder", "a folder of masks, or of a run", "correct the path")
    if not Path(Layout(str(results)).path("data", "manifest")).exists():
        return results
    folders = [path for name in MASK_FOLDERS for path in sorted(results.glob(f"*/*/seed*/{name}")) if path.is_dir()]
    if len(folders) != 1:
        names = ", ".join(str(path.relative_to(results)) for path in folders[:6])
        problem = f"{len(folders)} folders of masks: {names}" if folders else "no folder of masks"
        raise SemplesError(results, problem, "one", "name one of them" if folders else "run `snakemake` first")
    return folders[0]


def _read(folder: Path, images: Manifest) -> Iterator[MaskedImage]:
    for row in tqdm(images.table.itertuples(), "masks", len(images), unit="image", mininterval=2):
        path = folder / f"{row.id}.png"
        mask = read_mask(path, (row.height, row.width))
        highest = int(mask[mask < 255].max(initial=0))
        if highest > len(images.classes):
            expected = f"0 to {len(images.classes)}, or 255 for void"
            raise SemplesError(path, f"class index {highest}", expected, "name the manifest of these masks")
        yield MaskedImage(row.id, f"{row.id}{Path(row.image).suffix}", row.split, mask)
