"""`semples inspect` in words and pictures, and the page of `semples gallery` in a real browser."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_checks import check_page, in_browser
from PIL import Image

from semples.cli import main
from semples.data.cam_file import CamWriter
from semples.data.manifest import Classes, read_manifest, write_manifest
from semples.files import write_text

CLASSES = ("dog", "cat")


def write_cams(path: Path, manifest: Path, dtype: str = "float16") -> Path:
    """CAMs of odd_photos: a gradient from left to right; the first image's is as good as its mask."""
    images = read_manifest(manifest)
    with CamWriter(path, CLASSES, list(images.table["id"]), dtype, {"packages": "semples 0", "settings": "{}"}) as file:
        for number, row in enumerate(images.table.itertuples()):
            score = np.linspace(0, 1, row.width)[None, None].repeat(row.height, axis=1)
            if number == 0:
                score = np.zeros((1, row.height, row.width))
                score[:, 5:20, 5:20] = 1
            file.add(row.id, score, np.array([number % 2]), row.height, row.width)
    return path


@pytest.fixture
def cams(odd_photos, tmp_path) -> Path:
    return write_cams(tmp_path / "cams.h5", odd_photos)


def test_overview_has_tree_provenance_and_statistics(cams, capsys):
    assert main(["inspect", str(cams)]) == 0
    text = capsys.readouterr().out
    assert "format=semples.cams" in text
    assert "packages: semples 0" in text
    assert "images/odd 1  score (1, 33, 64) of 33x64 pixels: cat" in text
    assert re.search(r"cat: 1 maps, mean 0\.500, above 0\.5 50\.0 %", text)


def test_an_image_is_previewed_from_low_to_high(cams, capsys):
    assert main(["inspect", str(cams), "--image", "odd 1", "--class", "cat"]) == 0
    line = capsys.readouterr().out.splitlines()[-1][2:]
    assert (line[0], line[-1]) == (" ", "@")
    assert [" .:-=+*#%@".index(shade) for shade in line] == sorted(" .:-=+*#%@".index(shade) for shade in line)


def test_a_class_without_a_map_and_a_missing_image_are_errors(cams, capsys):
    assert main(["inspect", str(cams), "--image", "odd 1", "--class", "dog"]) == 1
    assert "no map of 'dog' for this image\n  expected: one of cat" in capsys.readouterr().err
    assert main(["inspect", str(cams), "--image", "nobody"]) == 1
    assert "no image 'nobody'" in capsys.readouterr().err


def test_overlay_is_a_picture(cams, odd_photos, tmp_path):
    flags = ["--image", "odd 1", "--manifest", str(odd_photos), "--save", str(tmp_path / "maps.png")]
    assert main(["inspect", str(cams), *flags]) == 0
    with Image.open(tmp_path / "maps.png") as picture:
        assert len(set(picture.convert("L").getdata())) > 50


def test_comparison_names_the_image_that_differs_most(cams, odd_photos, tmp_path, capsys):
    other = write_cams(tmp_path / "other.h5", odd_photos, "uint8")
    assert main(["inspect", str(cams), "--compare", str(other)]) == 0
    text = capsys.readouterr().out
    assert "1 of 3 images in common have equal maps" in text
    assert re.search(r"odd [12]: largest difference 0\.00", text)


KEYS = """
  const pressed = [];
  main.querySelector("[tabindex='0']").focus();
  for (const key of ["ArrowRight", "End", "ArrowRight", "ArrowLeft", "Home"]) {
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    pressed.push(document.activeElement.dataset.id);
  }
  document.body.dataset.pressed = pressed.join();
"""


def shown(dom: str) -> list[str]:
    """Ids of the images that are not hidden, in the page's order."""
    articles = re.findall(r"<article ([^>]*)>", dom)
    return [re.search(r'data-id="([^"]*)"', one)[1] for one in articles if "hidden" not in one]


@pytest.fixture
def page(cams, odd_photos, tmp_path) -> Path:
    page = tmp_path / "a folder" / "gallery.html"
    assert main(["gallery", str(cams), "--manifest", str(odd_photos), "--out", str(page)]) == 0
    return page


def test_a_gallery_is_one_file_that_everybody_can_use(page):
    text = page.read_text()
    check_page(text)
    assert not re.search(r"https?://|src=\"(?!data:)", text)
    assert text.count("<img ") == text.count('loading="lazy"') == 3 * 4
    assert "</span>cat</figcaption>" in text  # the colours of a mask have names


def test_gallery_in_a_browser(page):
    everything = in_browser(page, KEYS)
    first, second, last = shown(everything)
    assert last == "odd 0"  # its map is its mask
    assert "3 of 3 images" in everything
    assert f'data-pressed="{second},{last},{last},{second},{first}"' in everything
    cats = in_browser(page, fragment="#cat")
    assert shown(cats) == ["odd 1"]
    assert "1 of 3 images" in cats


def test_a_manifest_of_other_images_is_an_error(cams, odd_photos, tmp_path, capsys):
    odd_photos.write_text(odd_photos.read_text().replace("\nodd 1,", "\nother,"))
    assert main(["gallery", str(cams), "--manifest", str(odd_photos), "--out", str(tmp_path / "page.html")]) == 1
    assert "no image 'odd 1'\n  expected: the manifest of these CAMs" in capsys.readouterr().err


def test_gallery_without_masks_is_sorted_by_confidence(cams, odd_photos, tmp_path):
    table = odd_photos.read_text().splitlines()
    write_text(odd_photos, "\n".join(re.sub(r"odd \d mask.png", "", line) for line in table) + "\n")
    page = tmp_path / "gallery.html"
    assert main(["gallery", str(cams), "--manifest", str(odd_photos), "--images", "2", "--out", str(page)]) == 0
    text = page.read_text()
    assert "worst IoU" not in text
    values = [float(value) for value in re.findall(r'data-confidence="([\d.]+)"', text)]
    assert len(values) == 2
    assert values == sorted(values)
    assert "truth" not in text


def test_silx_opens_the_default_map(cams):
    """The NeXus chain as silx follows it: root, default, NXdata, signal."""
    pytest.importorskip("silx")
    import silx.io
    from silx.io.nxdata import get_default

    with silx.io.open(str(cams)) as file:
        data = get_default(file)
        assert data is not None
        assert data.signal.shape == (1, 40, 50)


def test_h5glance_lists_the_maps(cams):
    pytest.importorskip("h5glance")
    command = [sys.executable, "-m", "h5glance", "--attrs", str(cams)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(r"score.*\(?1 ?[x×] ?40 ?[x×] ?50|score.*1, 40, 50", text), text
    assert "NXdata" in text


HOSTILE = "\"><script>alert(1)</script>&'$x"


@pytest.fixture
def hostile(tmp_path) -> Path:
    """CAMs of one image whose class, id and file have markup in their names; the mask is void everywhere."""
    folder = tmp_path / "results" / "cams" / "v" / "seed0"
    folder.mkdir(parents=True)
    names = (HOSTILE, "mask", "photograph")
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "photo.png")
    Image.fromarray(np.full((20, 30), 255, np.uint8)).save(tmp_path / "void.png")
    table = pd.DataFrame([{"id": "<b>id", "image": "photo.png", "mask": "void.png", "split": "train"}])
    table = table.assign(width=30, height=20, labels=";".join(names))
    write_manifest(tmp_path / "manifest.csv", table, Classes(names, names, ("#010101", "#020202", "#030303")))
    path = folder / "<i>cams.h5"
    with CamWriter(path, names, ["<b>id"], "float16", {"packages": "<u>1", "settings": "[1"}) as file:
        file.add("<b>id", np.full((3, 20, 30), 0.5), np.arange(3), 20, 30)
    return path


def test_names_with_markup_are_text_in_the_gallery(hostile, tmp_path):
    assert (
        main(["gallery", str(hostile), "--manifest", str(tmp_path / "manifest.csv"), "--out", str(tmp_path / "p.html")])
        == 0
    )
    page = (tmp_path / "p.html").read_text()
    tags = re.findall(r"<(\w+)", page)
    assert tags.count("script") == 1  # its own
    assert not {"b", "i", "u"} & set(tags)
    assert page.count("<figure>") == 6  # photograph, truth, mask and a map of each class, whatever its name
    assert "IoU" not in page.partition("<article")[2].partition("</article>")[0]  # nothing but void


def test_settings_that_are_no_json_are_printed_as_they_are(hostile, capsys):
    assert main(["inspect", str(hostile)]) == 0
    assert "settings: [1" in capsys.readouterr().out


def test_another_file_than_cams_is_one_clear_error(tmp_path, capsys):
    (tmp_path / "cams.h5").write_text("{}")
    for command in (["inspect"], ["gallery", "--out", str(tmp_path / "p.html"), "--manifest", str(tmp_path / "m.csv")]):
        assert main([command[0], str(tmp_path / "cams.h5"), *command[1:]]) == 1
        assert "Traceback" not in capsys.readouterr().err
