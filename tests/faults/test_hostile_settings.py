"""Configurations that are broken or hostile end with the one clear error; nothing is run and nothing is written."""

import json
from pathlib import Path

import pytest

from semples.cli import main

pytestmark = pytest.mark.fault("hostile inputs refused")
NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/abs",
    "-rf",
    "--out",
    "{x}",
    "a{b}",
    "a b",
    "a'b",
    'a"b',
    "$(id)",
    "`id`",
    "a;b",
]
NAMES += [
    "a|b",
    "a&b",
    "a>b",
    "a\nb",
    "a\0b",
    "a*",
    "~",
    "ü",
    "x" * 300,
    ".hidden",
    "a.",
    "a\\b",
    "<b>",
    "=1+1",
    "%s",
    "a,b",
]
YAML = {
    "a tab": b"data:\n\troot: x\n",
    "a second colon": b"name: a: b\n",
    "a list": b"- a\n- b\n",
    "a word": b"hello\n",
    "a number": b"12\n",
    "binary": bytes(range(256)),
    "zeros": bytes(4096),
    "cp1252": "name: Köln\n".encode("cp1252"),
    "half UTF-16": "preset: mini\n".encode("utf-16")[:-1],
    "a key twice": b"seeds: [0]\nseeds: [1]\n",
    "deep lists": b"seeds: " + b"[" * 50_000,
    "deep mappings": b"{a: " * 5_000,
    "an alias of itself": b"seeds: &a [*a]\n",
    "a bomb of aliases": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (k, k, b",".join([b"*%c" % (k - 1)] * 9)) for k in range(98, 107)),
    "code": b"name: !!python/object/apply:os.system ['touch owned']\n",
    "an unknown tag": b"name: !env HOME\n",
    "a merge of nothing": b"<<: 3\n",
    "two documents": b"preset: mini\n---\npreset: mini\n",
    "a number as key": b"1: mini\n",
    "infinity": b"slm: {lr: .inf}\n",
    "NaN": b"slm: {lr: .nan}\n",
    "a huge number": b"slm: {epochs: 1" + b"0" * 5000 + b"}\n",
    "a preset that is a path": b"preset: ../../../../etc/passwd\n",
    "a preset that is a folder": b"preset: /\n",
    "a preset that is a list": b"preset: [mini]\n",
    "a preset that is none": b"preset: null\n",
    "a section that is a list": b"slm: [1]\n",
    "a section that is a word": b"data: photos\n",
    "experiments that are a list": b"experiments: [a]\n",
    "an experiment that is a word": b"experiments: {a: b}\n",
    "tables that are a list": b"tables: [a]\n",
    "an unknown key of a table": b"tables: {a: {title: T, colour: red}}\n",
    "no seed": b"seeds: []\n",
    "a seed twice": b"seeds: [0, 0]\n",
    "a negative seed": b"seeds: [-1]\n",
    "a device that is a command": b"run: {device: '$(touch owned)'}\n",
    "a device that is none": b"run: {device: gpu}\n",
    "yes as a number": b"slm: {epochs: yes}\n",
    "too much of everything": b"a: [" + b"1," * 100_000 + b"1]\n",
}
TEXTS = [
    "{bad",
    "{",
    '{"a":' * 50_000,
    '{"run": {"device": "cpu", "device": "cuda"}}',
    '{"slm": {"lr": NaN}}',
    '{"run": []}',
]
TEXTS += ['{"data": {"root": "a\\u0000b"}}', '{"data": null}', '{"unknown": 1}', '{"guide": {"model": "../../x"}}']


def refused(capsys, *words: str) -> None:
    assert main(list(words)) == 1
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert "expected: " in text
    assert "Traceback" not in text
    assert len(text) < 5000
    assert [path.name for path in Path().iterdir() if path.name != "config.yaml"] == []


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", YAML)
@pytest.mark.parametrize("command", ["config", "plan"])
def test_a_hostile_config_yaml(kind, command, capsys):
    Path("config.yaml").write_bytes(YAML[kind])
    refused(capsys, command)


@pytest.mark.parametrize("name", NAMES, ids=repr)
@pytest.mark.parametrize("key", ["name", "experiments", "tables"])
def test_a_hostile_name(key, name, capsys):
    if key == "name" and name == "":
        pytest.skip("an empty name is that of the preset")
    value = {"name": name, "experiments": {name: {}}, "tables": {name: {"title": "T"}}}[key]
    Path("config.yaml").write_text(json.dumps({"preset": "mini", key: value}))
    refused(capsys, "config")


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:20])
def test_hostile_json(text, capsys, monkeypatch):
    refused(capsys, "data", "--config", text, "--out", "out")


@pytest.mark.parametrize(
    "text", ["{bad", "[1]", "3", '{"a":' * 50_000, '{"device": "$(id)"}', '{"threads": 1e9}', "\udc80"]
)
def test_hostile_settings_of_the_run(text, capsys, monkeypatch):
    config = '{"data": {"source": "mini"}}'
    refused(capsys, "data", "--config", config, "--run", text, "--out", "out")
    monkeypatch.setenv("SEMPLES_RUN", text)
    refused(capsys, "data", "--config", config, "--out", "out")


@pytest.mark.parametrize("path", ["/", "no/such/config.yaml", "/dev/null/x", "x" * 300, "/proc/self/mem"])
def test_a_configuration_that_is_no_file(path, capsys):
    for command in (["config"], ["data", "--out", "out"], ["plan"]):
        refused(capsys, *command, "--config", path)


@pytest.mark.parametrize("pair", ["a", "=1", "seeds=[0", "seeds={", "slm.lr=1", "name=../x", "experiments={a: {b: 1}}"])
def test_a_hostile_setting_of_the_command_line(pair, capsys):
    Path("config.yaml").write_text("preset: mini\n")
    refused(capsys, "plan", "--set", pair)
