"""Whatever a user writes into config.yaml, --config or SEMPLES_RUN: right, or one clear error that names it."""

import json
import random
import re

import pytest
from pydantic import BaseModel

from semples.cli import main
from semples.config import load
from semples.config.parse import parse_yaml, read_json_text, read_yaml, require_plain
from semples.config.settings import Config, Run, Settings
from semples.config.variants import merge
from semples.errors import SemplesError

HOSTILE = [
    *(None, True, False, 0, -1, 2**70, -1e-9, 1e30, float("nan"), float("inf"), [], {}, [[]], [None], [0, 0], [1, 0.1]),
    *("", " ", "null", "nan", "inf", "1e999", "../x", "a/b", "{x}", "a{}b", "x ", " x", "-x", ".x", "a b", "a;b"),
    *("a'b", 'a"b', "$(touch x)", "a\nb", "a\x00b", "\ud800", "ü", "gpu", "none", "./x", "~/x", "x.py:Y", "local-dir:"),
    *({"a": 1}, {"a": {"b": []}}, {"": 1}, {1: 2}, ["a", 1], ["a", "a"], [True], {"a": float("nan")}, "x" * 300),
]


def fields(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every field, sections too."""
    paths = []
    for name, field in model.model_fields.items():
        paths.append((*prefix, name))
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            paths += fields(field.annotation, (*prefix, name))
    return paths


def nested(path: tuple[str, ...], value: object) -> dict:
    for part in reversed(path):
        value = {part: value}
    return value


@pytest.mark.parametrize("path", fields(Config), ids=".".join)
def test_a_hostile_value_is_taken_or_refused_by_name(path):
    messages: list[str] = []
    for value in HOSTILE:
        try:
            settings = load.check(Config, {"name": "mine"} | nested(path, value), "mine.yaml")
        except SemplesError as error:
            messages.append(str(error))
        else:
            text = settings.model_dump_json()
            assert json.loads(text, parse_constant=pytest.fail)
            assert Config.model_validate_json(text) == settings
    assert all(text.startswith("mine.yaml") and (path[-1] in text or "plain" in text) for text in messages)


REFUSED = """
seeds: [0, 0]|seeds: []|seeds: [-1]|seeds: [1.5]|seeds: [true]|seeds: 3|name: a/b|name: ..|name: 'a '|name: '{x}'
name: -x|name: .x|name: 2024|name: ü|name: "a\\nb"|experiments: {a/b: {}}|experiments: {'': {}}
experiments: {a: {}, A: {}}|experiments: {a: {}}, variants: {A: {}}
experiments: {classifier: null, slm: null, csr-manual: null, csr-learned: null}|experiments: [a]
tables: {slm: {title: x}}|tables: {'a b': {title: x}}|tables: {t: {title: x, columns: []}}|tables: {t: 3}
tables: {t: {title: x, sweeps: {csr.w_prompt: [1, 1.0]}}}
tables: {t: {title: x, sweeps: {csr.w_prompt: [0.12345678, 0.12345679]}}}|run: {device: gpu}|run: {threads: 0}
slm: {accumulate: 33}|csr: {batch: 8, accumulate: 9}|run: {devices: 4}, slm: {accumulate: 9}|slm: {accumulate: 0}
run: {shards: true}|run: {cache_gb: .inf}|run: {devices: 64}|slm: {lr: .nan}|slm: {lr: '1e999'}|slm: {lr: -1}
slm: {epochs: yes}|slm: {epochs: 2.5}|slm: [1]|cams: {scales: []}|cams: {scales: [1, 1]}|cams: {scales: [0]}
cams: {resize: 0}|segment: {test_size: 0}|segment: {test_scales: []}|segment: {scale: [2, 1]}
classify: {augment: {crop_scale: [1, 0.1]}}|classify: {augment: {crop_scale: [0, 1]}}
segment: {network: mask2former}|segment: {encoder: ../x}|segment: {weights: imagnet}|generator: {weights: imagenet}
generator: {name: weektr}|generator: {options: {a: 1}}|guide: {template: a photo}|guide: {template: '{} {}'}
guide: {words: [' ']}|guide: {sha256: abc}|guide: {model: ''}|cpl: {start: csr}|cpl: {length: 60}
cpl: {source: manual}|masks_from: joint, cpl: {source: manual}|data: {train: 'a;b'}|data: {train: nope}
data: {root: x}|data: {val_fraction: 1}|segment: {confidence: true}|preset: ../tables/mini|preset: [mini]|recipe: x
segment: {network: none, labels: truth}|run: {decode_on: device, augment_on: loader}
cpl: {source: embedding, initial: sky}|cpl: {source: picture}
1: 2|no: x|~: x|classify: {epochs: 1, epochs: 2}|name: !!timestamp x|x: !!int ''|x: =|? [1]: 2
"""


@pytest.mark.parametrize("text", REFUSED.strip().replace("\n", "|").split("|"))
def test_a_wrong_setting_is_refused_when_it_is_read(tmp_path, text):
    path = tmp_path / "config.yaml"
    preset = "" if "preset" in text else "preset: mini, "
    path.write_text(f"{{{preset}{text}}}", encoding="utf-8")
    with pytest.raises(SemplesError):
        load.load(read_yaml(path), str(path))


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("name: null", "name", "mini"),
        ("run:", "run.threads", 1),
        ("experiments: {slm: 'null'}", "experiments.slm", None),
        ("cams: {resize: 'null'}", "cams.resize", None),
        ("slm: {lr: '0.01', epochs: '3'}", "slm.lr", 0.01),
        ("seeds: ['3', '4']", "seeds", [3, 4]),
        ("cams: {flip: 'false'}", "cams.flip", False),
        ("segment: {weights: ~/w.pth}", "segment.weights", "/home/me/w.pth"),
        ("guide: {model: 'local-dir:~/guide'}", "guide.model", "local-dir:/home/me/guide"),
        ("run: {cache_folder: $SCRATCH/cache}", "run.cache_folder", "/scratch/cache"),
    ],
)
def test_what_can_be_right_is_right(monkeypatch, text, key, value):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SCRATCH", "/scratch")
    settings = load.load(parse_yaml(f"{{preset: mini, {text}}}", "test")).model_dump()
    for part in key.split("."):
        settings = settings.get(part)
    assert settings == value


@pytest.mark.parametrize("data", [{"source": "photos", "root": "x"}, {"root": "x"}, {"source": "coco"}])
def test_data_of_ones_own_need_a_preset(data):
    with pytest.raises(SemplesError, match=r"`preset: (photos|coco14)`"):
        load.load({"data": data})


def test_an_empty_configuration_asks_for_a_preset(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("# nothing\n")
    assert main(["config"]) == 1
    assert "preset: photos" in capsys.readouterr().err
    assert load.load({"seeds": [1]}).preset == "mini"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"preset: mini\nslm: {lr: 1}\nslm: {lr: 2}\n", "line 3: the key 'slm' a second time"),
        (b"preset: mini\ndata:\n\troot: x\n", "line 3: .*\\\\t"),
        (b"preset: mini\nname: caf\xe9\n", "line 2: a character that is not utf-8"),
        (b"\x00\x01\xff", "broken YAML"),
        (b"preset: mini\nname: a: b\n", "line 2"),
        (b"- a\n", "a list"),
        (b"[" * 5000, "deep nesting"),
        (b"&a {slm: *a}", "nested more than 20"),
        (b"x: !!python/object/apply:os.system [id]", "line 1"),
        (b"name: " + b"x" * 6_000_000, "more than 5000000 bytes"),
    ],
)
def test_a_broken_file_names_the_line(tmp_path, monkeypatch, capsys, text, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_bytes(text)
    assert main(["config"]) == 1
    assert re.search(words, capsys.readouterr().err)


def test_a_bomb_of_aliases_is_refused_before_it_is_written_out():
    value: list = ["x"]
    for _ in range(10):
        value = [value] * 10
    with pytest.raises(SemplesError, match="more than 500000 values"):
        require_plain({"name": value}, "config.yaml")


def test_a_byte_order_mark_and_utf_16_are_read(tmp_path):
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "config.yaml").write_text("preset: mini\n", encoding=encoding)
        assert read_yaml(tmp_path / "config.yaml") == {"preset": "mini"}


@pytest.mark.parametrize(
    "text", ["{bad", "{", '{"slm": {"lr": NaN}}', '{"a": 1, "a": 2}', '{"a":' * 9999, '{"name": "\\ud800"}']
)
def test_broken_json_settings(tmp_path, capsys, text):
    assert main(["data", "--config", text, "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("error: --config\n")


@pytest.mark.parametrize(
    "text", ["", "[]", "x", "null", '{"device": "gpu"}', '{"threads": 0}', '{"threads": 1, "threads": 2}']
)
def test_a_broken_semples_run(tmp_path, capsys, monkeypatch, text):
    monkeypatch.setenv("SEMPLES_RUN", text)
    assert main(["data", "--config", '{"data": {"source": "mini"}}', "--out", str(tmp_path / "out")]) == 1
    assert "SEMPLES_RUN" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", ".", "missing.yaml", "a\0b", "/dev/null/x"])
def test_a_configuration_that_is_no_file(tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert main(["config", "--config", name]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_damaged_files_never_end_in_another_error(tmp_path):
    draw = random.Random(0)
    original, messages = (load.PRESETS / "mini.yaml").read_bytes(), []
    for _ in range(150):
        text = bytearray(original)
        for _ in range(draw.randint(1, 4)):
            at, kind = draw.randrange(len(text)), draw.randrange(3)
            text[at : at + kind] = bytes([draw.choice(b"\t\n:{}[]&*!|>'\"#%@`-?,0\xff\x00a")]) * draw.randrange(3)
        (tmp_path / "mine.yaml").write_bytes(text)
        try:
            assert load.check(Config, merge(read_yaml(tmp_path / "mine.yaml"), {"name": "x"}), "mine.yaml")
        except SemplesError as error:
            messages.append(str(error))
    assert len(messages) > 30
    assert all("mine.yaml" in text for text in messages)


def test_a_swept_path_makes_a_name_that_is_no_path():
    sweep = {"t": {"title": "T", "sweeps": {"segment.weights": ["./a/b.pth", "none"]}}}
    names = load.load({"preset": "mini", "tables": sweep}).variants
    assert {"segment.weights-._a_b.pth", "segment.weights-none"} <= set(names)


def test_settings_of_a_stage_are_read_back():
    assert load.read(Settings().model_dump_json()) == Settings()
    assert load.check(Run, read_json_text(Run().model_dump_json(), "run"), "run") == Run()
