"""download: fetch VOC 2012 with the masks of SBD, or COCO 2014, into a folder that `data.root` can name."""

from pathlib import Path

from semples.config.settings import Settings
from semples.data.download.archives import ARCHIVES, unpack
from semples.data.download.fetch import fetch
from semples.errors import SemplesError
from semples.files import write_json


def run(settings: Settings, out: Path) -> None:
    """Fetch what the folder `out` lacks; write `out`/downloaded.json when it is complete."""
    source, download = settings.data.source, settings.download
    if source not in ARCHIVES:
        raise SemplesError("data.source", repr(source), f"one of {list(ARCHIVES)}", "name one that can be fetched")
    if unknown := set(download.mirrors) - {a.file for archives in ARCHIVES.values() for a in archives}:
        names = ", ".join(archive.file for archive in ARCHIVES[source])
        raise SemplesError("download.mirrors", sorted(unknown)[0], f"one of {names}", "correct the file name")
    for archive in ARCHIVES[source]:
        if (out / archive.folder).exists():
            print(f"{out / archive.folder} is there")
            continue
        path, urls = out / archive.file, [*download.mirrors.get(archive.file, []), *archive.urls]
        if is_missing := not path.exists():
            fetch(urls, path, archive.digest, archive.size, download.attempts, reserve=archive.unpacked_size)
        unpack(path, archive.folder, out, limit=2 * archive.unpacked_size)
        if is_missing:  # an archive that somebody put there stays
            path.unlink()
        print(f"{archive.file}: {out / archive.folder}")
    write_json(out / "downloaded.json", {a.file: {"digest": a.digest, "folder": a.folder} for a in ARCHIVES[source]})
