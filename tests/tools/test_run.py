"""`semples run`: a plan, a question, one folder, and masks with pages in the end; nothing of anybody else's changes."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from test_cli import error

from semples.cli import main
from semples.config.load import load
from semples.data.manifest import read_manifest
from semples.mini import GUIDE_WEIGHTS
from semples.planning.targets import Targets
from semples.tools import run as tool
from semples.tools.run_settings import MEASURED_IMAGES, networks_for

GUIDE = ("--guide", f"local-dir:{GUIDE_WEIGHTS}", "--device", "cpu")


STAND_IN = """import signal, sys
from pathlib import Path
folder = Path(sys.argv[0]).parent
def end(number, frame):
    with open(folder / "received", "a") as file:
        file.write(f"{number} ")
    sys.exit(1)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, end)
(folder / "ready").touch()
signal.pause()
"""  # for Snakemake


@pytest.fixture
def photos(miniature, tmp_path, monkeypatch) -> Path:
    """Class folders of drawn pictures; the working folder is beside them."""
    for row in read_manifest(miniature).table.head(12).itertuples():
        folder = tmp_path / "photos" / row.labels.partition(";")[0]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(row.image, folder)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    return tmp_path / "photos"


@pytest.fixture
def started(monkeypatch) -> list[Path]:
    """The folders in which Snakemake would have run; neither it nor the pages do."""
    folders: list[Path] = []
    monkeypatch.setattr(tool, "_snakemake", lambda folder, cores: folders.append(folder))
    monkeypatch.setattr(tool.Outputs, "write_pages", lambda outputs: None)
    return folders


def semples_run(photos: Path, *flags: object) -> dict:
    """Run the command with --yes; return the settings that it has written."""
    assert main(["run", str(photos), "--yes", *map(str, flags)]) == 0
    return yaml.safe_load(Path("photos-semples/config.yaml").read_text(encoding="utf-8"))


def test_the_plan_comes_before_the_question_and_nothing_is_written_without_an_answer(photos, capsys):
    assert main(["run", str(photos), *GUIDE]) == 1
    plan, problem = capsys.readouterr()
    assert "guide: trains nothing" in plan
    assert "no download" in plan
    assert "| cams   | 1 " in plan
    assert f"semples run {photos} --out photos-semples {' '.join(GUIDE[:2])} --trained" in plan
    assert "minutes more on cpu" in plan
    assert "remedy:   add --yes" in problem
    assert not any(Path().iterdir())


@pytest.mark.parametrize("answer", ["n\n", "\n", ""], ids=["no", "enter", "end"])
def test_only_yes_starts(photos, started, monkeypatch, answer):
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(SystemExit) as end:
        main(["run", str(photos), *GUIDE])
    assert end.value.code == 1
    assert not started
    assert not any(Path().iterdir())


def test_the_first_settings_train_nothing_and_mask_every_photograph(photos, started, capsys):
    config = load(semples_run(photos, *GUIDE))
    jobs = {stage for stage, of_stage in Targets(config).jobs(["all"]).items() if of_stage}
    assert jobs == {"data", "guide", "cams", "crf"}
    assert Targets(config).members("all") == ["results", "panel"]
    assert config.data.root == str(photos)
    assert config.data.val_fraction == 0
    assert started == [Path("photos-semples")]
    assert "masks     photos-semples/results/photos/crf/guide/seed0/masks" in capsys.readouterr().out


def test_what_the_command_line_leaves_out_stays(photos, started):
    first = semples_run(photos, *GUIDE)
    text = Path("photos-semples/config.yaml").read_bytes()
    assert semples_run(photos) == first
    assert Path("photos-semples/config.yaml").read_bytes() == text
    trained = semples_run(photos, "--trained")
    assert semples_run(photos) == trained
    assert trained["guide"] == first["guide"]
    assert set(Targets(load(trained)).jobs(["all"])) >= {"classify", "slm", "cpl", "csr"}
    assert semples_run(photos, "--quick") == first


def test_a_segmentation_network_is_trained_when_asked_for(photos, started):
    graph = Targets(load(semples_run(photos, *GUIDE, "--trained", "--segment"))).graph.settings
    assert [settings.segment.network for settings in graph.values()] == ["none", "deeplabv3plus"]
    assert "deit_tiny" in graph["trained"].segment.encoder


def test_few_photographs_train_for_as_many_steps_as_were_measured():
    measured = networks_for(MEASURED_IMAGES)
    assert networks_for(10 * MEASURED_IMAGES) == measured
    for stage, section in networks_for(40).items():
        if "epochs" in section:
            assert section["epochs"] * 40 >= measured[stage]["epochs"] * MEASURED_IMAGES


def test_on_a_gpu_a_short_training_is_part_of_the_first_run(photos, started, monkeypatch):
    monkeypatch.setattr(tool, "device_of", lambda name: "cuda")
    assert "trained" in semples_run(photos, *GUIDE[:2])["experiments"]
    shutil.rmtree("photos-semples")
    assert "trained" not in semples_run(photos, *GUIDE[:2], "--quick")["experiments"]
    shutil.rmtree("photos-semples")
    monkeypatch.setattr(tool, "PATIENCE", 0.0)
    assert "trained" not in semples_run(photos, *GUIDE[:2])["experiments"]


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("preset: photos\ndata: {root: elsewhere}\n", ()),
        ("shop: {open: true}\n", ()),
        ("preset: photos\ndata: {root: ../../photos}\n", ("--trained",)),  # the same photographs, not written by `run`
    ],
    ids=["other data", "other program", "by hand"],
)
def test_another_s_settings_stay_as_they_are(photos, started, capsys, text, flags):
    path = Path("photos-semples/config.yaml")
    path.parent.mkdir()
    path.write_text(text)
    assert str(path) in error(capsys, "run", photos, "--yes", *flags)
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]
    assert not started


def test_settings_changed_by_hand_are_used_and_not_replaced(photos, started, capsys):
    semples_run(photos, *GUIDE)
    path = Path("photos-semples/config.yaml")
    path.write_text(path.read_text().replace("label-free", "fixed"))
    text = path.read_text()
    assert semples_run(photos)["crf"] == {"threshold": {"policy": "fixed"}}
    assert "changed since" in error(capsys, "run", photos, "--trained")  # before the question
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--quick", "--trained"), "leave one out"),
        (("--guide", "ViT-B-32"), "ViT-B-16/openai"),
        (("--guide", "ViT-B-32/nope"), "one of its tags, openai"),
        (("--guide", "local-dir:nowhere"), "open_clip_config.json"),
        (("--out", "../photos/out"), "among the photographs"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_error(photos, started, capsys, flags, words):
    assert words in error(capsys, "run", photos, "--yes", *flags)
    assert not any(Path().iterdir())


def test_photographs_without_labels_are_an_error_before_the_plan(photos, capsys):
    assert "1 photographs without labels" in error(capsys, "run", _flat(photos), "--yes", *GUIDE)
    assert not any(Path().iterdir())


def _flat(photos: Path) -> Path:
    (photos.parent / "flat").mkdir()
    return Path(shutil.copy(next(photos.rglob("*.png")), photos.parent / "flat")).parent


def test_a_download_is_announced_with_size_and_source(photos, capsys):
    assert main(["run", str(photos), "--device", "cpu"]) == 1
    assert "downloads about 0.6 GB from huggingface.co/timm/vit_base_patch32_clip" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_reaches_snakemake_once_and_ends_with_130(tmp_path, number):
    (tmp_path / "snakemake").mkdir()
    (tmp_path / "snakemake/__init__.py").touch()
    (tmp_path / "snakemake/__main__.py").write_text(STAND_IN)
    code = "import sys\nfrom pathlib import Path\nfrom semples.tools.run import _snakemake\n"
    code += "try: _snakemake(Path(), None)\nexcept KeyboardInterrupt: sys.exit(130)"
    path = os.pathsep.join([str(tmp_path), str(Path(tool.__file__).parents[2])])
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path})
    while not (tmp_path / "snakemake/ready").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=30) == 130
    assert (tmp_path / "snakemake/received").read_text().split() == [str(int(number))]


def test_photographs_to_masks_and_pages_with_one_command_that_goes_on(photos):
    semples_run(photos, *GUIDE)
    folder = Path("photos-semples")
    masks = folder / "results/photos/crf/guide/seed0/masks"
    names = sorted(path.relative_to(photos).with_suffix("") for path in photos.rglob("*.png"))
    assert sorted(path.relative_to(masks).with_suffix("") for path in masks.rglob("*.png")) == names
    pages = [folder / name for name in ("review/index.html", "gallery.html", "report.html")]
    assert "12 of 12 images" in pages[0].read_text()
    times = [path.stat().st_mtime_ns for path in (masks, *pages)]
    pages[2].unlink()
    semples_run(photos)
    assert [path.stat().st_mtime_ns for path in (masks, *pages[:2])] == times[:3]
    assert pages[2].exists()
