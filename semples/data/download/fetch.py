"""One file from the web: several sources in order, resumed where it broke off, and never a file that only seems whole.

What has arrived lies under `<name>.part`, with `<name>.part.source` beside it (address and ETag, so that only bytes of
one file are joined). The name itself appears when size and digest are right.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import requests
from tqdm import tqdm

from semples.errors import SemplesError

TIMEOUT = (10, 60)  # seconds to connect, and between two bytes
CHUNK = 1 << 16  # bytes; when a connection breaks, those of a begun chunk are lost
TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}  # answers that may be others in a minute


class PermanentError(Exception):
    """This source will not give the file."""


class TransientError(Exception):
    """This source may give the file, or the rest of it, when asked again."""


def fetch(
    urls: Sequence[str],
    path: Path,
    digest: str | None = None,
    size: int | None = None,
    attempts: int = 5,
    pause: float = 2.0,
    reserve: int = 0,
) -> None:
    """Make `path` from the first of `urls` that gives it.

    `digest` is `<algorithm>:<hex>`, `size` in bytes; None is not checked. A source is asked `attempts` times while it
    fails in passing, with `pause` seconds in between, doubled each time. `reserve` bytes of disk are to stay free.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in urls:
        try:
            _fetch_from(url, path, digest, size, attempts, pause, reserve)
        except PermanentError as failure:
            failures.append(f"{url}: {failure}")
        else:
            return
    raise SemplesError(
        path,
        "; ".join(failures) or "no address",
        "one source that gives the whole file",
        "try again later (what has arrived is kept), or name another address in `download.mirrors`",
    )


def _fetch_from(
    url: str, path: Path, digest: str | None, size: int | None, attempts: int, pause: float, reserve: int
) -> None:
    part, reason = path.with_name(f"{path.name}.part"), ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            resumed = _receive(url, part, digest, size, reserve)
        except (TransientError, requests.RequestException, OSError) as error:
            reason = str(error)
            continue
        if digest is None or _digest(part, digest) == digest:
            _promote(part, path)
            return
        _discard_partial(part)
        reason = f"the file has not the digest {digest}"
        if not resumed:  # what came in one piece will not come better
            break
    raise PermanentError(reason)


def _receive(url: str, part: Path, digest: str | None, size: int | None, reserve: int) -> bool:
    """Bring `part` to its whole length; true if there was something of it before."""
    note = part.with_name(f"{part.name}.source")
    have, headers = _resume_headers(url, part, note, digest)
    if have and have == size:
        return True
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # asked for bytes behind the end: the beginning is of no use
            _discard_partial(part)
            raise TransientError("the server has no such range")
        if answer.status_code not in (200, 206):
            kind = TransientError if answer.status_code in TRANSIENT_STATUS else PermanentError
            raise kind(f"status {answer.status_code} {answer.reason}")
        if answer.status_code == 200:  # the server ignores ranges, or has another file now
            have = 0
        whole = _whole_length(answer, have, size)
        _expect_room(part, whole - have + reserve)
        note.write_text(json.dumps({"url": url, "etag": answer.headers.get("ETag", "")}), encoding="utf-8")
        with open(part, "ab" if have else "wb") as file, _bar(part, have, whole) as bar:
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if (arrived := part.stat().st_size) != whole:
        if arrived > whole:
            _discard_partial(part)
        raise TransientError(f"{arrived} of {whole} bytes arrived")
    return have > 0


def _resume_headers(url: str, part: Path, note: Path, digest: str | None) -> tuple[int, dict[str, str]]:
    """Bytes that are there already and may be gone on from, and the headers that ask for the rest."""
    plain = {"Accept-Encoding": "identity", "User-Agent": "semples"}
    if not (part.exists() and note.exists()):
        return 0, plain
    begun = json.loads(note.read_text(encoding="utf-8"))
    same = begun["url"] == url and begun["etag"].startswith('"')
    have = part.stat().st_size
    if not have or not (same or digest):
        return 0, plain
    return have, plain | {"Range": f"bytes={have}-"} | ({"If-Range": begun["etag"]} if same else {})


def _whole_length(answer: requests.Response, have: int, size: int | None) -> int:
    """Length of the file in bytes, as the server says and as it was published."""
    if answer.status_code == 206:
        span, _, total = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if not total.isdigit() or not span.startswith(f"{have}-"):
            raise PermanentError(f"a range nobody asked for: {answer.headers.get('Content-Range')}")
        said = int(total)
    else:
        said = int(answer.headers.get("Content-Length") or size or 0)
    if not said:
        raise PermanentError("the server does not say how long the file is")
    if size and said != size:
        raise PermanentError(f"{said} bytes, {size} were published")
    return said


def _expect_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise SemplesError(
            part.parent,
            f"{free / 1e9:.1f} GB free",
            f"{needed / 1e9:.1f} GB for {part.name.removesuffix('.part')} and what it unpacks to",
            "make room, or work on another disk",
        )


def _digest(path: Path, like: str) -> str:
    """`<algorithm>:<hex>` of a file, with the algorithm of `like`."""
    algorithm = like.partition(":")[0]
    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _promote(part: Path, path: Path) -> None:
    """Give a complete file its final name."""
    part.replace(path)
    _discard_partial(part)


def _discard_partial(part: Path) -> None:
    """Remove a partial file and the note of its source."""
    part.unlink(missing_ok=True)
    part.with_name(f"{part.name}.source").unlink(missing_ok=True)


def _bar(part: Path, have: int, whole: int) -> tqdm:
    name = part.name.removesuffix(".part")
    return tqdm(desc=name, initial=have, total=whole, unit="B", unit_scale=True, mininterval=2)
