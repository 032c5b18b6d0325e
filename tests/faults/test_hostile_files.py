"""Whatever lies under a path of a command line, the command ends with the one clear error and without a traceback."""

import json
from pathlib import Path

import pytest

from semples.cli import main
from semples.cli.arguments import flag_of
from semples.cli.commands import COMMANDS

pytestmark = pytest.mark.fault("bad files tried")
BODIES = {
    "nothing": None,
    "empty": b"",
    "text": b"hello, this is no file of yours\n",
    "binary": bytes(range(256)) * 9,
    "broken JSON": b'{"kind": "cams", "policies": {',
    "JSON list": b"[1, 2, 3]\n",
    "JSON of another thing": b'{"a": 1}\n',
    "deep JSON": b'{"a":' * 100_000,
    "a table of another thing": b"name,price\napple,1\n",
    "UTF-16": "name,text,colour\nKöln,a,#000000\n".encode("utf-16"),
    "folder": "folder",
}
VALUES = {"--table": '{"name": "t", "title": "t", "rows": [], "legend": "", "source": "mini"}', "--threshold": "0.5"}
VALUES |= {
    "--library": "timm",
    "--threshold": "0.5",
    "--split": "train",
    "--model": "resnet10t",
    "--max-side": "64",
    "--format": "coco",
}
# those that make their inputs, have a test of their own, or print settings that cannot be read
MAKE_THEIR_OWN = {"init", "download", "data", "weights", "plan", "report", "report-bug", "config", "verify"}


def line(row, path: Path, out: Path) -> list[str]:
    """Return a complete command line of a row in which every input is `path`."""
    words = row.name.split()
    for key in row.flags.split():
        (flag, *_), options = flag_of(key.split("|")[0])
        value = VALUES.get(flag, str(path))
        if flag == "--out":
            words += [flag, str(out)]
        elif flag == "--config":
            words += [flag, json.dumps({"run": {"device": "cpu", "threads": 1}})]
        elif "=PATH" in options.get("metavar", ""):
            words += [flag, f"variant:0={path}"]
        elif not flag.startswith("-") and options.get("nargs") != "?":
            words += [value] * (options["nargs"] if isinstance(options.get("nargs"), int) else 1)
        elif options.get("required") or "|" in key or key == "words":
            words += [flag, value]
    return words


READING = [row for row in COMMANDS if row.name not in MAKE_THEIR_OWN]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("row", READING, ids=lambda row: row.name)
def test_a_hostile_file_is_one_clear_error(row, body, tmp_path, capsys):
    path, content = tmp_path / "in" / "given", BODIES[body]
    path.parent.mkdir()
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    assert main(line(row, path, tmp_path / "out")) == 1
    text = capsys.readouterr().err
    assert "error: " in text
    assert "remedy: " in text
    assert "Traceback" not in text
    assert "partial-" not in text
    left = [item for item in (tmp_path / "out").rglob("*") if item.is_file() and "checkpoints" not in item.parts]
    assert not left
