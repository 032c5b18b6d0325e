"""The page of a run: whole in one file, under its limit, and without an error in a real browser."""

import re

import numpy as np
import pandas as pd
import pytest
from page_checks import check_page, in_browser
from PIL import Image

from semples.cli import main
from semples.data.cam_file import CamWriter
from semples.stages.tables import formats, results
from semples.tools import report

COUNT = """addEventListener("load", () => {
  const seen = [...document.images].filter(image => image.complete && image.naturalWidth > 0)
  document.body.dataset.pictures = `${seen.length} of ${document.images.length}`
})"""


@pytest.fixture
def base(tmp_path, monkeypatch):
    """The folder of a run with a table and two figures, one of them large."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("preset: mini\nseeds: [0, 1]\n")
    base = tmp_path / "results/mini"
    for folder in ("tables", "figures"):
        (base / folder).mkdir(parents=True)
    cells = pd.DataFrame({"": ["a"], "mIoU": ["1.0"]})
    formats.write(cells, base / "tables", "table_3", "Loss <terms>", "One & two.\nThree.\n")
    (tmp_path / "words.csv").write_text("class,list,rank,word,cosine,lift\nboat,nearest,1,sea | <lake>,0.5,0\n")
    results.run_words([("csr", 0, tmp_path / "words.csv")], base / "tables")
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), np.uint8)
    Image.fromarray(noise).save(base / "figures/panel.png")
    Image.fromarray(noise[:40, :40]).save(base / "figures/training.png")
    return base


def test_the_page_has_tables_captions_and_commands(base):
    assert main(["report"]) == 0
    page = (base / "paper.html").read_text()
    for part in (
        "Table 3: Loss &lt;terms&gt;",
        "<td>1.0</td>",
        '<p class="legend">One &amp; two.</p><p class="legend">Three.</p></section>',
        "<h3>words</h3>",
        "<td>sea | &lt;lake&gt; (0.50)</td>",
        "1 prompts",
        "Images drawn at random",
        "snakemake --cores all results tables figures",
        "seeds 0, 1",
    ):
        assert part in page, part
    assert page.index("Table 3") < page.index("1 prompts")
    assert 'alt="Loss of every trained stage over its epochs, first seed"' in page
    check_page(page)
    assert "data:image/jpeg" in page  # the large one
    assert "data:image/png" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_provenance_of_the_maps_is_on_the_page(base):
    path = base / "cams/classifier/seed0/cams.h5"
    path.parent.mkdir(parents=True)
    record = {"settings": '{"cams": {"stride": 4}}', "weights": "abc123"}
    with CamWriter(path, ["boat"], ["a"], "float16", record) as file:
        file.add("a", np.zeros((1, 2, 2)), np.array([0]), 8, 8)
    assert main(["report"]) == 0
    page = (base / "paper.html").read_text()
    assert "weights: abc123" in page
    assert "    stride: 4" in page


def test_a_page_over_the_limit_is_an_error_and_not_there(base, monkeypatch, capsys):
    monkeypatch.setattr(report, "LARGEST", 1000)
    assert main(["report"]) == 1
    assert "lower `figures.images`" in capsys.readouterr().err
    assert not (base / "paper.html").exists()


def test_a_run_without_tables_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("preset: mini\n")
    assert main(["report"]) == 1
    assert "snakemake tables figures" in capsys.readouterr().err


def test_a_browser_shows_every_picture_and_no_error(base):
    assert main(["report"]) == 0
    assert 'data-pictures="2 of 2"' in in_browser(base / "paper.html", COUNT)
