"""The importer that docs/datasets.md shows, run."""

import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from PIL import Image

from semples.config.settings import Data, Run, Settings
from semples.data.manifest import read_manifest
from semples.stages import data

DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"


def test_the_example_works_and_is_short(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert code.count("\n") < 60
    (tmp_path / "tags.py").write_text(code, encoding="utf-8")
    spec = spec_from_file_location("tags", tmp_path / "tags.py")
    spec.loader.exec_module(tags := module_from_spec(spec))
    monkeypatch.setitem(sys.modules, "semples.data.importers.tags", tags)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(6):
        Image.new("RGB", (9, 7)).save(photos / f"{number}.jpg")
    entries = [{"file": f"{number}.jpg", "tags": [["dog"], ["cat", "dog"]][number % 2]} for number in range(6)]
    (photos / "tags.json").write_text(json.dumps(entries))
    tags_data = Data(root=str(photos)).model_copy(update={"source": "tags"})
    data.run(Settings(run=Run(threads=1)).model_copy(update={"data": tags_data}), tmp_path / "out")
    images = read_manifest(tmp_path / "out/manifest.csv")
    assert images.classes.names == ("cat", "dog")
    assert images.table["labels"].tolist() == ["dog", "cat;dog"] * 3
    assert images.table["split"].tolist() == ["val", *["train"] * 4, "val"]
    assert set(images.table["width"]) == {9}
