"""Whatever a configuration, a table, a COCO file or a file of CAMs holds: it is read rightly, or is one clear error."""

import contextlib
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fault_totals import tried
from hypothesis import given, note
from hypothesis import strategies as st
from PIL import Image

from semples.config import load
from semples.config.parse import parse_yaml
from semples.config.settings import Config, Data
from semples.data.cam_file import CamFile, CamWriter
from semples.data.importers.registry import load_data_set
from semples.data.manifest import COLUMNS, Classes, read_manifest, write_manifest
from semples.data.names import IMAGE_ID, name_problems
from semples.errors import SemplesError
from semples.inference.crf import PRESETS, dense_crf, unary_energy

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
IDS = NAMES.filter(lambda name: not [*name_problems("", "id", [name], IMAGE_ID, "")])  # what a manifest takes


def keys(values: dict, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of all keys of a configuration."""
    deeper = [path for key, value in values.items() if isinstance(value, dict) for path in keys(value, (*above, key))]
    return [*((*above, key) for key in values), *deeper]


KEYS = keys(Config(name="x").model_dump())


@contextlib.contextmanager
def reading():
    """Inside, only the one clear error may be raised."""
    try:
        yield
    except SemplesError as error:
        tried("hostile inputs refused")
        note(str(error))


@given(st.dictionaries(st.sampled_from(KEYS), JSON, min_size=1, max_size=3))
def test_any_value_of_any_setting(changes):
    values: dict = {"preset": "mini"}
    for path, value in changes.items():
        section: dict = values
        for key in path[:-1]:
            section = section[key] if isinstance(section.get(key), dict) else section.setdefault(key, {})
            if not isinstance(section, dict):
                return
        section[path[-1]] = value
    with reading():
        config = load.load(values)
        assert load.load(config.model_dump(mode="json")) == config


@given(st.text() | st.binary())
def test_any_text_as_yaml(text):
    with reading():
        parse_yaml(text, "config.yaml")


LABELS = st.lists(st.integers(0, 2), max_size=2)  # numbers of classes


@given(
    st.lists(st.tuples(IDS | NAMES, NAMES, NAMES, LABELS), min_size=1, max_size=4),
    st.lists(IDS | NAMES, min_size=1, max_size=3),
)
def test_a_manifest_is_read_as_it_was_written(rows, names):
    lines = [
        [name, image, "", split, 3, 4, ";".join(dict.fromkeys(names[number % len(names)] for number in labels))]
        for name, image, split, labels in rows
    ]
    with tempfile.TemporaryDirectory() as folder, reading():
        path = Path(folder) / "manifest.csv"
        colours = tuple("#000000" for _ in names)
        write_manifest(path, pd.DataFrame(lines, columns=COLUMNS), Classes(tuple(names), tuple(names), colours))
        images = read_manifest(path)
        assert images.classes.names == tuple(names)
        for column in ("id", "split", "labels"):
            assert images.table[column].tolist() == [line[COLUMNS.index(column)] for line in lines]


@given(st.binary(max_size=200), st.binary(max_size=80))
def test_any_bytes_as_a_manifest(table, classes):
    with tempfile.TemporaryDirectory() as folder, reading():
        Path(folder, "manifest.csv").write_bytes(b"id,image,mask,split,width,height,labels\n" + table)
        Path(folder, "classes.csv").write_bytes(b"name,text,colour\n" + classes)
        read_manifest(Path(folder, "manifest.csv"))


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_text_as_a_table_of_labels(text):
    with tempfile.TemporaryDirectory() as folder, reading():
        Image.new("RGB", (4, 3)).save(Path(folder, "a.png"))
        body = b"image,labels\na.png,cat\n" + (
            text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        )
        Path(folder, "labels.csv").write_bytes(body)
        load_data_set(Data(source="photos", root=folder), Path(folder, "out"), 1)


NUMBERS = st.none() | st.integers(-2, 99) | st.floats() | st.text(max_size=3)
OUTLINES = (
    JSON
    | st.lists(st.lists(NUMBERS, max_size=8), max_size=2)
    | st.fixed_dictionaries(
        {},
        optional={"counts": st.lists(NUMBERS, max_size=5) | st.text(max_size=5), "size": st.lists(NUMBERS, max_size=3)},
    )
)
ENTRY = st.fixed_dictionaries(
    {"id": NUMBERS, "image_id": st.just(1) | NUMBERS, "category_id": st.just(1) | NUMBERS},
    optional={"iscrowd": NUMBERS, "segmentation": OUTLINES, "bbox": st.lists(NUMBERS, max_size=5), "area": NUMBERS},
)
IMAGE = st.fixed_dictionaries(
    {"id": st.just(1) | NUMBERS}, optional={"file_name": st.just("a.png") | JSON, "width": NUMBERS, "height": NUMBERS}
)
CATEGORY = st.fixed_dictionaries({"id": st.just(1) | NUMBERS}, optional={"name": st.just("cat") | JSON})
COCO = st.fixed_dictionaries(
    {},
    optional={
        "images": st.lists(IMAGE, max_size=3) | JSON,
        "annotations": st.lists(ENTRY, max_size=3) | JSON,
        "categories": st.lists(CATEGORY, max_size=3) | JSON,
    },
)


@given(COCO | JSON)
def test_any_coco_file(values):
    with tempfile.TemporaryDirectory() as folder, reading():
        for split in ("train", "val"):
            (Path(folder) / f"{split}2014").mkdir()
            Image.new("RGB", (40, 30)).save(Path(folder) / f"{split}2014" / "a.png")
        (Path(folder) / "annotations").mkdir()
        for split in ("train", "val"):
            (Path(folder) / f"annotations/instances_{split}2014.json").write_text(json.dumps(values))
        (Path(folder) / "out").mkdir()
        _, table = load_data_set(Data(source="coco", root=folder), Path(folder, "out"), 1)
        assert len(table)


def write_maps(path: Path, ids: list[str], score: np.ndarray, dtype: str) -> None:
    with CamWriter(path, ["cat", "dög"], ids, dtype, {"command": "semples cams"}) as writer:
        for name in ids:
            writer.add(name, score, np.arange(len(score)), 8, 9)


@given(
    st.lists(IDS, min_size=1, max_size=3, unique=True),
    st.sampled_from(["uint8", "float16", "float32"]),
    st.lists(st.floats(0, 1, width=32), min_size=12, max_size=12),
)
def test_maps_are_read_as_they_were_written(ids, dtype, values):
    score = np.array(values, np.float32).reshape(2, 2, 3)
    with tempfile.TemporaryDirectory() as folder:
        write_maps(Path(folder, "cams.h5"), ids, score, dtype)
        with CamFile(Path(folder, "cams.h5")) as cams:
            assert cams.ids == ids
            for name in ids:
                maps = cams.read(name)
                assert np.abs(maps.score - score).max() <= {"uint8": 1 / 500, "float16": 1 / 2000, "float32": 0}[dtype]


@pytest.fixture(scope="module")
def maps(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("maps") / "cams.h5"
    write_maps(path, ["a", "b"], np.linspace(0, 1, 200, dtype=np.float32).reshape(2, 10, 10), "float16")
    return path.read_bytes()


@given(st.integers(0), st.binary(min_size=1, max_size=4), st.booleans())
def test_a_damaged_file_of_maps_gives_no_wrong_map(maps, start, damage, cut):
    start %= len(maps)
    body = maps[:start] if cut else maps[:start] + damage + maps[start + len(damage) :]
    expected = np.linspace(0, 1, 200, dtype=np.float32).reshape(2, 10, 10).astype(np.float16)
    with tempfile.TemporaryDirectory() as folder, reading():
        Path(folder, "cams.h5").write_bytes(body)
        with CamFile(Path(folder, "cams.h5")) as cams:
            for name in ("a", "b"):
                np.testing.assert_array_equal(cams.read(name).score, expected)


@given(
    st.sampled_from(list(PRESETS)),
    st.floats(0, 1, width=32),
    st.lists(st.floats(0, 1, width=32), min_size=24, max_size=24),
)
def test_a_crf_gives_probabilities(preset, threshold, values):
    kernels = PRESETS[preset]
    unary = unary_energy(np.array(values, np.float32).reshape(2, 3, 4), threshold, kernels.soft)
    assert np.isfinite(unary).all()
    probability = dense_crf(np.zeros((3, 4, 3), np.uint8), unary, kernels, 2)
    assert np.isfinite(probability).all()
    assert math.isclose(float(probability.sum()), 12, rel_tol=1e-3)
