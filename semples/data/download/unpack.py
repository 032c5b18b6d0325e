"""Unpacking archives from the web: nothing outside the folder, no links, nothing half-unpacked."""

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from semples.errors import SemplesError
from semples.files import atomic_path

BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError)
Member = tuple[str, bool, IO[bytes] | None]


def unpack(archive: Path, wanted: str, root: Path) -> None:
    """Put the folder `wanted` of a .tar, .tgz or .zip at `root`/`wanted`; it appears there whole or not at all.

    A name that leads outside is an error wherever it stands, a link or a device if it is in that folder.
    """
    with atomic_path(root / wanted) as partial:
        try:
            for name, regular, content in tqdm(_members(archive), desc=archive.name, unit="file", mininterval=2):
                inside = _inside(archive, name)
                if not inside.is_relative_to(wanted):
                    continue
                if not regular:
                    raise _refused(archive, f"{name!r}, a link or a device")
                if content:
                    target = partial / inside.relative_to(wanted)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with open(target, "wb") as file:
                        shutil.copyfileobj(content, file, 1 << 20)
        except BROKEN as error:
            raise SemplesError(
                archive, f"unreadable: {error}", "a whole archive", "delete it and fetch it again"
            ) from error
        if not partial.exists():
            raise SemplesError(archive, f"no folder {wanted}", "the published archive", "delete it and fetch it again")


def _members(archive: Path) -> Iterator[Member]:
    """(name, whether it is a plain file or folder, content of a plain file) of every member."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as pack:
            for entry in pack.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                regular = kind in (0, stat.S_IFREG, stat.S_IFDIR)
                if entry.is_dir() or not regular:
                    yield entry.filename, regular, None
                else:
                    with pack.open(entry) as content:
                        yield entry.filename, True, content
        return
    with tarfile.open(archive, "r|*") as pack:
        for entry in pack:
            yield entry.name, entry.isreg() or entry.isdir(), pack.extractfile(entry) if entry.isreg() else None


def _inside(archive: Path, name: str) -> PurePosixPath:
    """The member's path, if it stays inside the folder that the archive is unpacked to."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise _refused(archive, f"{name!r}, which leads outside")
    return path


def _refused(archive: Path, found: str) -> SemplesError:
    return SemplesError(
        archive, found, "plain files inside the archive", "do not use this archive; fetch the published one"
    )
