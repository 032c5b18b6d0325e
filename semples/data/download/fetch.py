"""Download one file: try several sources, resume what broke off, and check size and digest.

The bytes received lie in `<name>.part`. `<name>.part.source` holds their address and ETag, so that only bytes of the
same file are joined. The name itself appears once size and digest are right.
"""

import hashlib
import shutil
import time
from pathlib import Path

import requests
from tqdm import tqdm

from semples.errors import SemplesError

TIMEOUT = (10, 60)  # seconds to connect, and between two bytes
CHUNK = 1 << 16  # bytes; a broken connection loses the bytes of an incomplete chunk
PAUSE = 2.0  # seconds before the second attempt; each further pause is twice as long
TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}


class PermanentError(Exception):
    """A source will not give the file; after an OSError it may give the rest at the next attempt."""


def fetch(
    urls: list[str], path: Path, digest: str | None = None, size: int | None = None, attempts: int = 5, reserve: int = 0
) -> None:
    """Download `path` from the first of `urls` that gives it.

    Args:
        urls: Addresses in order of preference.
        digest: `<algorithm>:<hex digits>`; None is not checked.
        size: Bytes; None is not checked.
        attempts: Requests per address, while it fails by transient errors.
        reserve: Bytes of disk that must stay free.
    Raises:
        SemplesError: No address gives the file, or the disk is too small.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in urls:
        try:
            return _fetch_from(url, path, digest, size, attempts, reserve)
        except PermanentError as failure:
            failures.append(f"{url}: {failure}")
    remedy = "try again later (the partial file is resumed), or add another address to `download.mirrors`"
    raise SemplesError(path, "; ".join(failures) or "no address", "one source that gives the whole file", remedy)


def require_room(folder: Path, needed: int, purpose: str) -> None:
    """Raise SemplesError unless the disk of `folder` has `needed` bytes free for `purpose`."""
    if needed > (free := shutil.disk_usage(folder).free):
        expected = f"{needed / 1e9:.1f} GB for {purpose}"
        raise SemplesError(folder, f"{free / 1e9:.1f} GB free", expected, "free some space, or use another disk")


def _fetch_from(url: str, path: Path, digest: str | None, size: int | None, attempts: int, reserve: int) -> None:
    part, reason = path.with_name(f"{path.name}.part"), ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            resumed = _receive(url, part, digest, size, reserve)
        except OSError as error:  # those of requests, too
            reason = str(error)
            continue
        if digest is None or _has_digest(part, digest):
            part.replace(path)
            return _discard_partial(part)
        _discard_partial(part)
        reason = f"the file does not have the digest {digest}"
        if not resumed:  # a file received in one piece will be the same next time
            break
    raise PermanentError(reason)


def _receive(url: str, part: Path, digest: str | None, size: int | None, reserve: int) -> bool:
    """Complete `part`; return whether a part of it was there before."""
    source = part.with_name(f"{part.name}.source")
    present, headers = _resume_headers(url, part, source, digest)
    if present and present == size:
        return True
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:  # the range starts beyond the end: `part` is of another file
            _discard_partial(part)
            raise OSError("the server does not have this range")
        if response.status_code not in (200, 206):
            kind = OSError if response.status_code in TRANSIENT_STATUS else PermanentError
            raise kind(f"status {response.status_code} {response.reason}")
        if response.status_code == 200:  # the server ignores ranges, or has another file now
            present = 0
        length = _content_length(response, present, size)
        name = part.name.removesuffix(".part")
        require_room(part.parent, length - present + reserve, f"{name} and its unpacked files")
        source.write_text(f"{url}\n{response.headers.get('ETag', '')}", encoding="utf-8")
        bar = tqdm(desc=name, initial=present, total=length, unit="B", unit_scale=True, mininterval=2)
        with open(part, "ab" if present else "wb") as file, bar:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if (received := part.stat().st_size) != length:
        if received > length:
            _discard_partial(part)
        raise OSError(f"{received} of {length} bytes arrived")
    return present > 0


def _resume_headers(url: str, part: Path, source: Path, digest: str | None) -> tuple[int, dict[str, str]]:
    """Return the number of bytes to resume after, and the request headers for the rest.

    Bytes are joined if `source` has the same address and a strong ETag, or if the digest of the file is known.
    """
    headers = {"Accept-Encoding": "identity", "User-Agent": "semples"}
    if not (part.exists() and source.exists()):
        return 0, headers
    address, _, etag = source.read_text(encoding="utf-8", errors="replace").partition("\n")
    present, same = part.stat().st_size, address == url and etag.startswith('"')
    if not present or not (same or digest):
        return 0, headers
    return present, headers | {"Range": f"bytes={present}-"} | ({"If-Range": etag} if same else {})


def _content_length(response: requests.Response, present: int, size: int | None) -> int:
    """Return the length of the whole file in bytes, as the server states it and as it was published."""
    if response.status_code == 206:
        span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if not total.isdigit() or not span.startswith(f"{present}-"):
            raise PermanentError(f"an unexpected range: {response.headers.get('Content-Range')}")
        length = int(total)
    else:
        length = int(response.headers.get("Content-Length") or size or 0)
    if not length:
        raise PermanentError("the server does not say how long the file is")
    if size and length != size:
        raise PermanentError(f"{length} bytes, {size} were published")
    return length


def _has_digest(path: Path, digest: str) -> bool:
    algorithm, _, digits = digest.partition(":")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == digits


def _discard_partial(part: Path) -> None:
    """Remove a partial file and the note of its source."""
    part.unlink(missing_ok=True)
    part.with_name(f"{part.name}.source").unlink(missing_ok=True)
