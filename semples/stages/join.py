"""join: join the shards of cams or of crf."""

from pathlib import Path

from semples.data.cam_file import join_shards
from semples.errors import SemplesError
from semples.files import IGNORED, atomic_path, link_or_copy, read_json
from semples.provenance import without_machine


def run(shards: list[Path], out: Path) -> None:
    """Write `out`: an index through which HDF5 files read as one, or one folder with the files of all folders."""
    with atomic_path(out) as partial:
        (_join_folders if shards[0].is_dir() else join_shards)(shards, partial)
    print(f"{len(shards)} shards: {out}")


def _join_folders(shards: list[Path], out: Path) -> None:
    """Link the files of all folders into one; copy them where the file system has no links."""
    first = read_json(shards[0] / "provenance.json", "crf")
    for shard in shards:
        if without_machine(read_json(shard / "provenance.json", "crf")) != without_machine(first):
            raise SemplesError(shard, "a shard of another run", f"one like {shards[0]}", "make it again")
        for path in sorted(path for path in shard.rglob("*") if path.is_file() and path.name not in IGNORED):
            target = out / path.relative_to(shard)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                link_or_copy(path, target)
