"""download: VOC 2012 with the masks of SBD, or COCO 2014, from the web into a folder that `data.root` can name."""

from pathlib import Path

from semples.config.settings import Download, Settings
from semples.data.download.archives import ARCHIVES, Archive
from semples.data.download.fetch import fetch
from semples.data.download.unpack import unpack
from semples.errors import SemplesError
from semples.files import write_json


def run(settings: Settings, out: Path) -> None:
    """Fill the folder `out`, and write `out`/downloaded.json when all is there; what is there is not fetched again."""
    source = settings.data.source
    if source not in ARCHIVES:
        raise SemplesError(
            "data.source", repr(source), f"one of {list(ARCHIVES)}", "name a data set that can be fetched"
        )
    unknown = set(settings.download.mirrors) - {a.file for found in ARCHIVES.values() for a in found}
    if unknown:
        known = ", ".join(archive.file for archive in ARCHIVES[source])
        raise SemplesError("download.mirrors", sorted(unknown)[0], f"one of {known}", "correct the file name")
    for archive in ARCHIVES[source]:
        if (out / archive.folder).exists():
            print(f"{out / archive.folder} is there")
        else:
            _get(archive, settings.download, out)
    write_json(out / "downloaded.json", {a.file: {"digest": a.digest, "folder": a.folder} for a in ARCHIVES[source]})


def _get(archive: Archive, chosen: Download, out: Path) -> None:
    urls = [*chosen.mirrors.get(archive.file, []), *archive.urls]
    path = out / archive.file
    if not path.exists():
        fetch(urls, path, archive.digest, archive.size, chosen.attempts, reserve=archive.unpacked_size)
    unpack(path, archive.folder, out)
    path.unlink()
    print(f"{archive.file}: {out / archive.folder}")
