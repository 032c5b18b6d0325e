"""The archives of VOC 2012 and COCO 2014, and unpacking: plain files that stay inside a folder, all or none."""

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml
from tqdm import tqdm

from semples.data.download.fetch import require_room
from semples.errors import SemplesError
from semples.files import atomic_path

# What tarfile and zipfile raise on damaged archives, and on encrypted or unknown compression in a zip.
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


@dataclass(frozen=True)
class Archive:
    """One file to download and unpack; archives.yaml explains the fields."""

    file: str
    urls: Sequence[str]
    folder: str
    digest: str | None
    size: int | None
    unpacked_size: int


ARCHIVES: dict[str, tuple[Archive, ...]] = {
    source: tuple(Archive(**entry) for entry in entries)
    for source, entries in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")).items()
}


def unpack(archive: Path, folder: str, root: Path, limit: int) -> None:
    """Unpack `folder` of a .tar, .tgz or .zip to `root`/`folder`, which appears whole or not at all.

    Args:
        limit: Bytes of the folder; an archive with more is refused.
    Raises:
        SemplesError: The archive is damaged or unsafe, lacks the folder, or needs more disk space than is free.
    """
    extract = _unzip if archive.suffix == ".zip" else _untar
    remedy = "delete it and download it again"
    with atomic_path(root / folder, mark=False) as partial:
        try:
            extract(archive, folder, partial, limit)
        except BROKEN as error:
            raise SemplesError(archive, f"unreadable: {error}", "a whole archive", remedy) from error
        if not partial.exists():
            raise SemplesError(archive, f"no folder {folder}", "the published archive", remedy)


def _untar(archive: Path, folder: str, out: Path, limit: int) -> None:
    with tarfile.open(archive, "r|*") as file:
        file.extraction_filter = getattr(tarfile, "data_filter", None)  # Python before 3.11.4 has none
        for member in tqdm(file, desc=archive.name, unit="file", mininterval=2):
            path = _path_in(folder, archive, member.name, member.isreg() or member.isdir())
            if path and member.isreg():
                limit = _remaining(limit, member.size, archive, out)
                member.name = path
                file.extract(member, out)


def _unzip(archive: Path, folder: str, out: Path, limit: int) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in tqdm(file.infolist(), desc=archive.name, unit="file", mininterval=2):
            plain = stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
            path = _path_in(folder, archive, member.filename, plain)
            if path and not member.is_dir():
                limit = _remaining(limit, member.file_size, archive, out)
                member.filename = path
                file.extract(member, out)


def _remaining(limit: int, size: int, archive: Path, out: Path) -> int:
    """Return what a member of `size` bytes leaves of the limit; raise SemplesError if limit or disk are too small."""
    if size > limit:
        remedy = "do not use this archive; download the published one"
        raise SemplesError(archive, "more bytes than the published archive holds", "no bomb", remedy)
    require_room(out.parent, size, archive.name)
    return limit - size


def _path_in(folder: str, archive: Path, name: str, plain: bool) -> str | None:
    """Return a member's path relative to `folder`, or None if it lies elsewhere in the archive."""
    path, expected = PurePosixPath(name), "plain files inside the archive"
    remedy = "do not use this archive; download the published one"
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise SemplesError(archive, f"{name!r}, which leads outside", expected, remedy)
    if not path.is_relative_to(folder):
        return None
    if not plain:
        raise SemplesError(archive, f"{name!r}, a link or a device", expected, remedy)
    return str(path.relative_to(folder))
