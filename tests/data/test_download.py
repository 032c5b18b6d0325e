"""Downloads from a server on this machine that misbehaves in every way we know of."""

import hashlib
import io
import shutil
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from semples.cli import main
from semples.data.download.archives import ARCHIVES, Archive, unpack
from semples.data.download.fetch import CHUNK, fetch
from semples.errors import SemplesError
from semples.stages import download

pytestmark = pytest.mark.fault("bad files tried")

CONTENT = np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8).tobytes()
KEPT = len(CONTENT) // 4 // CHUNK * CHUNK  # bytes that arrive before a connection is dropped
LIMIT = 50_000_000  # bytes that an archive may unpack to
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Misbehaving(BaseHTTPRequestHandler):
    """Answers a path by the trouble that it names; `/good` has none."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        trouble = self.path.strip("/").partition(".")[0]
        asked = self.headers.get("Range")
        self.server.asked.append((trouble, asked))
        times = sum(name == trouble for name, _ in self.server.asked)
        if trouble == "missing":
            return self.reply(404)
        if trouble == "busy" or (trouble == "busy_at_first" and times < 3):
            return self.reply(503)
        content = self.server.files.get(self.path, CONTENT)
        if trouble == "wrong":
            content = content[::-1]
        if trouble == "short":
            return self.reply(200, content[:-1])
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and trouble != "no_ranges" else 0
        if start >= len(content):
            return self.reply(416)
        body = content[start:]
        headers = {"ETag": f'"{times}"' if trouble == "changing" else '"one"'}
        if trouble == "changing" and self.headers.get("If-Range") != headers["ETag"]:
            start, body = 0, content
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if trouble == "lengthless":
            return self.reply(200, body, {"Connection": "close"}, length=False)
        drops = (trouble in ("drops", "no_ranges", "changing") and times < 4) or trouble == "drops_always"
        sent = body[: len(content) // 4] if drops else body
        return self.reply(206 if start else 200, sent, headers, length=len(body))

    def reply(self, status: int, body: bytes = b"", headers: dict | None = None, length: int | bool = True) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if length is not False:
            self.send_header("Content-Length", str(len(body) if length is True else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = length is False or len(body) != (len(body) if length is True else length)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server():
    """A server with `asked`, (trouble, range) of every request so far, and `files` by path."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving)
    http.asked, http.files = [], {}
    http.url = f"http://127.0.0.1:{http.server_port}"
    http.handle_error = lambda *_: None  # a client that turns away is no news
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield http
    http.shutdown()
    http.server_close()


@pytest.fixture
def get(server, tmp_path, monkeypatch):
    """A function that fetches by the names of troubles; it returns the path."""

    monkeypatch.setattr("semples.data.download.fetch.PAUSE", 0.001)

    def call(*troubles: str, digest: str | None = DIGEST, size: int | None = len(CONTENT), **options) -> Path:
        urls = [f"{server.url}/{name}.bin" for name in troubles]
        fetch(urls, tmp_path / "file.bin", digest, size, **options)
        return tmp_path / "file.bin"

    return call


@pytest.mark.parametrize("trouble", ["good", "drops", "no_ranges", "busy_at_first"])
@pytest.mark.parametrize("known", [True, False], ids=["digest", "no digest"])
def test_the_whole_file_in_the_end(get, tmp_path, trouble, known):
    path = get(trouble) if known else get(trouble, digest=None, size=None)
    assert path.read_bytes() == CONTENT
    assert [left.name for left in tmp_path.iterdir()] == ["file.bin"]


def test_a_dropped_connection_is_gone_on_from(get, server):
    get("drops")
    ranges = [asked for _, asked in server.asked]
    assert ranges == [None, *(f"bytes={times * KEPT}-" for times in (1, 2, 3))]


def test_a_killed_download_is_gone_on_from(get, server):
    with pytest.raises(SemplesError):
        get("drops_always", attempts=2)
    assert get("drops_always", attempts=3).read_bytes() == CONTENT
    assert [asked for _, asked in server.asked][2] == f"bytes={2 * KEPT}-"


def test_a_file_that_changes_meanwhile_is_begun_anew(get):
    assert get("changing", digest=None, size=None).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("trouble", "reason", "requests"),
    [
        ("missing", "status 404", 1),
        ("busy", "status 503", 5),
        ("wrong", "does not have the digest sha256:", 1),
        ("short", "2999999 bytes, 3000000 were published", 1),
    ],
)
def test_one_clear_error_and_nothing_that_passes_for_the_file(get, server, tmp_path, trouble, reason, requests):
    with pytest.raises(SemplesError, match=rf"file\.bin\n  found:    .*{trouble}\.bin: .*{reason}(.|\n)*mirrors"):
        get(trouble)
    assert len(server.asked) == requests
    assert not (tmp_path / "file.bin").exists()


def test_truncated_for_ever(get, tmp_path):
    with pytest.raises(SemplesError, match="Connection broken"):
        get("drops_always", attempts=2)
    assert not (tmp_path / "file.bin").exists()
    assert (tmp_path / "file.bin.part").stat().st_size == 2 * KEPT


def test_without_a_length_nobody_knows_whether_it_is_whole(get, tmp_path):
    with pytest.raises(SemplesError, match="does not say how long"):
        get("lengthless", digest=None, size=None)
    assert not (tmp_path / "file.bin").exists()


def test_nobody_answers(tmp_path, monkeypatch):
    monkeypatch.setattr("semples.data.download.fetch.PAUSE", 0.001)
    with pytest.raises(SemplesError, match=r"127\.0\.0\.1"):
        fetch(["http://127.0.0.1:9/file.bin"], tmp_path / "file.bin", attempts=2)
    assert not list(tmp_path.iterdir())


def test_the_next_source_is_asked(get, server):
    assert get("missing", "busy", "wrong", "good", attempts=2).read_bytes() == CONTENT
    assert [name for name, _ in server.asked] == ["missing", "busy", "busy", "wrong", "good"]


def test_bytes_of_two_sources_are_joined_only_when_a_digest_tells(get, server):
    assert get("drops_always", "good", attempts=1).read_bytes() == CONTENT
    assert server.asked[-1] == ("good", f"bytes={KEPT}-")
    server.asked.clear()
    assert get("drops_always", "good", attempts=1, digest=None).read_bytes() == CONTENT
    assert server.asked[-1] == ("good", None)


def test_leftovers_of_another_file_are_thrown_away(get, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
    (tmp_path / "file.bin.part.source").write_text("elsewhere\n")
    assert get("good").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "note", [b"", b"{", b"\xff\xfe\x00", b"http://127.0.0.1/cut off", b'{"url": "old", "etag": ""}']
)
def test_a_note_of_the_source_that_a_crash_cut_off(get, tmp_path, note):
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
    (tmp_path / "file.bin.part.source").write_bytes(note)
    assert get("good", digest=None, size=None).read_bytes() == CONTENT
    assert [left.name for left in tmp_path.iterdir()] == ["file.bin"]


def test_no_room_is_said_before_anything_is_written(get, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**10, 10**10, 4_000_000))
    assert get("good").read_bytes() == CONTENT
    (tmp_path / "file.bin").unlink()
    with pytest.raises(SemplesError, match=r"0\.0 GB free\n  expected: 2\.0 GB for file\.bin"):
        get("good", reserve=2 * 10**9)
    assert not list(tmp_path.iterdir())


def tar_of(path: Path, members: dict[str, bytes | tuple[bytes, str]]) -> Path:
    """A tar with files, and with links as (type, target)."""
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as pack:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                entry.type, entry.linkname = content
                pack.addfile(entry)
            else:
                entry.size = len(content)
                pack.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("../evil", b"x"),
        ("kit/../../evil", b"x"),
        ("/tmp/evil", b"x"),
        ("kit/link", (tarfile.SYMTYPE, "/etc/passwd")),
        ("kit/hard", (tarfile.LNKTYPE, "kit/good")),
        ("kit/pipe", (tarfile.FIFOTYPE, "")),
    ],
)
def test_an_archive_that_reaches_out_is_refused(tmp_path, name, content):
    archive = tar_of(tmp_path / "a.tgz", {"kit/good": b"good", name: content})
    with pytest.raises(SemplesError, match=r"a\.tgz\n  found:    .*(leads outside|link or a device)"):
        unpack(archive, "kit", tmp_path / "root", LIMIT)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive]


def test_a_zip_that_reaches_out_is_refused(tmp_path):
    link = zipfile.ZipInfo("kit/link")
    link.external_attr = 0o120777 << 16
    for entry in (zipfile.ZipInfo("kit/../../evil"), link):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as pack:
            pack.writestr(entry, "/etc/passwd")
        with pytest.raises(SemplesError, match=r"leads outside|link or a device"):
            unpack(tmp_path / "a.zip", "kit", tmp_path / "root", LIMIT)
        assert not list((tmp_path / "root").rglob("*"))


@pytest.mark.parametrize("damage", ["flipped", "encrypted"])
def test_a_broken_zip_leaves_nothing(tmp_path, damage):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("kit/good", "text " * 1000)
    content = bytearray(archive.read_bytes())
    if damage == "flipped":
        content[40] = 0xFF  # in the compressed bytes: no deflate block begins so
    else:  # the flag bit of encryption, in the entry and in the directory
        content[6] |= 1
        content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(SemplesError, match=r"a\.zip\n  found:    unreadable"):
        unpack(archive, "kit", tmp_path / "root", LIMIT)
    assert not list((tmp_path / "root").rglob("*"))


def test_an_archive_larger_than_the_disk_leaves_nothing(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("kit/zeros", bytes(10_000_000))
    tar_of(tmp_path / "a.tgz", {"kit/zeros": bytes(10_000_000)})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**10, 10**10, 9_000_000))
    for archive in (tmp_path / "a.zip", tmp_path / "a.tgz"):
        with pytest.raises(SemplesError, match=rf"0\.0 GB free(.|\n)*{archive.name}"):
            unpack(archive, "kit", tmp_path / "root", LIMIT)
        assert not list((tmp_path / "root").rglob("*"))


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path):
    zeros = {f"kit/{number}": bytes(1_000_000) for number in range(5)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in zeros.items():
            pack.writestr(name, content)
    tar_of(tmp_path / "a.tgz", zeros)
    for archive in (tmp_path / "a.zip", tmp_path / "a.tgz"):
        with pytest.raises(SemplesError, match="more bytes than the published archive holds"):
            unpack(archive, "kit", tmp_path / "root", 3_500_000)
        assert not list((tmp_path / "root").rglob("*"))


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_broken_archive_leaves_nothing(tmp_path, damage):
    archive = tar_of(tmp_path / "a.tgz", {"kit/good": CONTENT, "kit/more": CONTENT})
    archive.write_bytes(archive.read_bytes()[:-1_000_000] if damage == "cut" else b"no archive")
    with pytest.raises(SemplesError, match=r"a\.tgz\n  found:    unreadable"):
        unpack(archive, "kit", tmp_path / "root", LIMIT)
    assert not list((tmp_path / "root").rglob("*"))


@pytest.fixture
def small_kit(server, tmp_path, monkeypatch) -> Path:
    """VOC in two small archives on the server, in place of the published ones; the folder to download into."""
    archives = []
    kit = {"VOCdevkit/VOC2012/JPEGImages/1.jpg": b"photo", "VOCdevkit/other": b"not wanted"}
    for name, makes, members in (
        ("voc.tar", "VOCdevkit/VOC2012", kit),
        ("sbd.tgz", "benchmark_RELEASE/dataset/cls", {"benchmark_RELEASE/dataset/cls/1.mat": b"mask"}),
    ):
        content = tar_of(tmp_path / name, members).read_bytes()
        server.files[f"/{name}"] = content
        digest = "md5:" + hashlib.md5(content).hexdigest()
        urls = (f"{server.url}/missing.bin", f"{server.url}/{name}")
        archives.append(Archive(name, urls, makes, digest, len(content), 1000))
    monkeypatch.setattr(download, "ARCHIVES", {"voc": tuple(archives)})
    return tmp_path / "downloads/voc"


def test_the_command_fetches_and_unpacks_what_is_missing(small_kit, server, capsys):
    command = ["download", "--config", '{"data": {"source": "voc"}}', "--out", str(small_kit)]
    assert main(command) == 0
    files = {path.relative_to(small_kit).as_posix() for path in small_kit.rglob("*") if path.is_file()}
    assert files == {
        *("VOCdevkit/VOC2012/JPEGImages/1.jpg", "benchmark_RELEASE/dataset/cls/1.mat"),
        *("downloaded.json", ".semples"),
    }
    requests = len(server.asked)
    assert main(command) == 0
    assert len(server.asked) == requests
    assert "is there" in capsys.readouterr().out


def test_an_archive_of_the_user_is_unpacked_and_stays(small_kit, server):
    small_kit.mkdir(parents=True)
    (small_kit / "voc.tar").write_bytes(server.files["/voc.tar"])
    assert main(["download", "--config", '{"data": {"source": "voc"}}', "--out", str(small_kit)]) == 0
    assert (small_kit / "VOCdevkit/VOC2012/JPEGImages/1.jpg").read_bytes() == b"photo"
    assert (small_kit / "voc.tar").read_bytes() == server.files["/voc.tar"]
    assert not (small_kit / "sbd.tgz").exists()


def test_mirrors_are_asked_first(small_kit, server):
    mirrors = f'{{"sbd.tgz": ["{server.url}/busy.bin"]}}'
    config = f'{{"data": {{"source": "voc"}}, "download": {{"attempts": 1, "mirrors": {mirrors}}}}}'
    assert main(["download", "--config", config, "--out", str(small_kit)]) == 0
    assert [name for name, _ in server.asked] == ["missing", "voc", "busy", "missing", "sbd"]


def test_a_mirror_of_an_unknown_file(capsys, tmp_path):
    config = '{"data": {"source": "voc"}, "download": {"mirrors": {"voc.tgz": []}}}'
    assert main(["download", "--config", config, "--out", str(tmp_path / "out")]) == 1
    assert "voc.tgz" in capsys.readouterr().err


def test_the_published_archives_are_complete_entries():
    for archive in (archive for archives in ARCHIVES.values() for archive in archives):
        assert archive.urls
        assert all(url.startswith(("http://", "https://")) and url.endswith(archive.file) for url in archive.urls)
        algorithm, _, digits = archive.digest.partition(":")
        assert len(digits) == 2 * hashlib.new(algorithm).digest_size
