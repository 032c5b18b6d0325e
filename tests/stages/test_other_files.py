"""Files that are not what tables and figures read: one error with the file's name, no traceback, and no output."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from semples.cli import main
from semples.data.manifest import read_manifest
from semples.errors import SemplesError
from semples.files import read_json, read_json_lines, write_json
from semples.stages.figures import confusions, curves
from semples.stages.tables import evaluations, formats, paper, results

pytestmark = pytest.mark.fault("bad files tried")

CLASSES = {name: {"iou": 0.5} for name in ("background", "dog", "=cat|<b>")}
EVALUATION = {"kind": "crf", "split": "train", "images": 3, "packages": "torch 2", "miou": 0.5, "classes": CLASSES}
CURVE = {"threshold": [0.2, 0.4], "miou": [0.3, 0.5]}
CAMS = {**EVALUATION, "kind": "cams", "policies": {"fixed": {"miou": 0.4, "classes": CLASSES}}, "curve": CURVE}
WRONG = {
    "truncated": json.dumps(EVALUATION)[:60],
    "a list": "[1, 2]",
    "a number": "7",
    "deep": "[" * 100_000,
    "not a number": json.dumps(EVALUATION | {"miou": float("nan")}),
    "infinite": json.dumps(EVALUATION | {"miou": float("inf")}),
    "percent": json.dumps(EVALUATION | {"miou": 55.9}),
    "metrics of a stage": '{"epoch": 1, "loss": 0.5}',
    "metrics of two epochs": '{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.4}\n',
    "another kind": json.dumps(EVALUATION | {"kind": "slm"}),
    "no policy": json.dumps(CAMS | {"policies": {}}),
    "settings": json.dumps({"data": {"source": "mini"}}),
    "a table": "class,list,word\na,b,c\n",
    "binary": "\udcff\udc80",
    "nothing": "",
}


@pytest.fixture(params=WRONG, ids=lambda name: name.replace(" ", "_"))
def other(tmp_path, request):
    path = tmp_path / "other.json"
    path.write_bytes(WRONG[request.param].encode("utf-8", "surrogateescape"))
    return path


def evaluation(path, **changes):
    path.write_text(json.dumps(EVALUATION | changes))
    return path


@pytest.mark.parametrize("command", [["tables", "results"], ["figures", "thresholds"]])
def test_another_file_than_an_evaluation_is_refused(other, tmp_path, capsys, command):
    out = tmp_path / "out" / "figure.png" if command[0] == "figures" else tmp_path / "out"
    assert main([*command, "--evaluation", f"csr:0={other}", "--out", str(out)]) == 1
    text = capsys.readouterr().err
    assert str(other) in text
    assert "Traceback" not in text
    assert not (tmp_path / "out").exists()


def test_a_missing_evaluation_and_a_folder_are_refused(tmp_path, capsys):
    for path in (tmp_path / "none.json", tmp_path):
        assert main(["tables", "results", "--evaluation", f"csr:0={path}", "--out", str(tmp_path / "out")]) == 1
        assert str(path) in capsys.readouterr().err


def test_evaluations_of_two_lists_of_classes_are_refused(tmp_path):
    paths = [evaluation(tmp_path / "a.json"), evaluation(tmp_path / "b.json", classes={"background": {}, "boat": {}})]
    with pytest.raises(SemplesError, match=r"b\.json\n.*boat\n.*a\.json"):
        results.run([(path.stem, 0, path) for path in paths], "", tmp_path / "out")


def test_two_evaluations_of_one_seed_are_refused_and_the_same_file_counts_once(tmp_path):
    paths = [evaluation(tmp_path / "a.json"), evaluation(tmp_path / "b.json", miou=0.7)]
    with pytest.raises(SemplesError, match="csr:0"):
        evaluations.read_evaluations([("csr", 0, path) for path in paths])
    assert len(evaluations.read_evaluations([("csr", 0, paths[0])] * 2)) == 1


def test_a_cell_without_a_pixel_is_a_dash_and_no_nan(tmp_path):
    rows = [("csr", seed, evaluation(tmp_path / f"{seed}.json", miou=value)) for seed, value in enumerate([0.5, None])]
    results.run(rows, "", tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert "| csr       | –" in text
    assert "–: no pixel counts" in text
    for path in tmp_path.glob("results.*"):
        assert "nan" not in path.read_text().lower()
    paper.run(paper.Spec(name="t", title="T", rows=[("csr", "Ours")], source="mini"), rows, tmp_path)
    assert "nan" not in "".join(path.read_text().lower() for path in tmp_path.glob("t.*"))
    assert np.isnan(pd.read_csv(tmp_path / "t.csv")["mean"]).all()


def test_json_has_no_nan_in_either_direction(tmp_path):
    write_json(tmp_path / "a.json", {"a": float("nan"), "b": [1.0, np.float64("nan")], "c": ({"d": 2},)})
    assert read_json(tmp_path / "a.json", "evaluate") == {"a": None, "b": [1.0, None], "c": [{"d": 2}]}
    for constant in ("NaN", "Infinity", "-Infinity", "1e999"):
        (tmp_path / "b.json").write_text(f'{{"a": {constant}}}')
        with pytest.raises(SemplesError, match=f"{constant} is no number"):
            read_json(tmp_path / "b.json", "evaluate")
        with pytest.raises(SemplesError, match=f"{constant} is no number"):
            read_json_lines(tmp_path / "b.json", "slm")


@pytest.mark.parametrize(
    "text", ["", '{"step": 1}\n', json.dumps(EVALUATION), "[]\n", '{"epoch": 1, "loss"', "epoch,loss\n1,2\n"]
)
def test_other_metrics_are_refused(tmp_path, text):
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(SemplesError, match=r"m\.jsonl"):
        curves.run_training([("slm", tmp_path / "m.jsonl")], tmp_path / "m.png")


def test_a_loss_that_is_null_is_a_gap(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"epoch": 1, "loss": null}\n{"epoch": 2, "loss": 0.5}\n')
    curves.run_training([("slm", tmp_path / "m.jsonl")], tmp_path / "m.png")
    assert (tmp_path / "m.png").exists()


def test_curves_need_cams_at_one_grid_of_thresholds(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(CAMS))
    (tmp_path / "b.json").write_text(json.dumps(CAMS | {"curve": {"threshold": [0.1, 0.4], "miou": [0.3, 0.5]}}))
    evaluation(tmp_path / "c.json")
    for wrong in ("b", "c"):
        with pytest.raises(SemplesError, match=rf"{wrong}\.json"):
            curves.run_thresholds([(name, 0, tmp_path / f"{name}.json") for name in ("a", wrong)], tmp_path / "t.png")


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "class,list,word,cosine,lift\n", "", '{"a": 1}'])
def test_other_words_are_refused(tmp_path, text):
    (tmp_path / "w.csv").write_text(text)
    with pytest.raises(SemplesError):
        curves.run_prompts(tmp_path / "w.csv", {}, tmp_path / "p.png")
    if not text.startswith("class"):
        with pytest.raises(SemplesError, match=r"w\.csv"):
            results.run_words([("csr", 0, tmp_path / "w.csv")], tmp_path)


def test_other_tables_have_no_sensitivity(tmp_path):
    (tmp_path / "t.csv").write_text("stage,jobs\nslm,2\n")
    with pytest.raises(SemplesError, match=r"t\.csv"):
        curves.run_sensitivity([tmp_path / "t.csv"], tmp_path / "s.png")


def test_names_are_text_in_every_format(tmp_path):
    name = '=1+1|<script>alert("x")</script>&_%\\'
    frame = pd.DataFrame({"": [name, "[a]", "*b"], f"mIoU {name}": ["1", "2", "3"]})
    formats.write(frame, tmp_path, "t", f"Title {name}", f"Note {name}.\n")
    page = (tmp_path / "t.html").read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 5
    lines = [line for line in (tmp_path / "t.md").read_text().splitlines() if line.startswith("|")]
    assert len(lines) == 5
    assert {line.replace(r"\|", "").count("|") for line in lines} == {3}
    assert "<script" not in "".join(lines)
    latex = (tmp_path / "t.tex").read_text()
    assert r"{}[a] & 2 \\" in latex
    assert r"{}*b & 3 \\" in latex
    assert r"$<$script$>$alert" in latex
    assert r"\&\_\%\textbackslash{} & 1" in latex


def test_class_names_of_results_are_no_formulas(tmp_path):
    results.run([("-v", 0, evaluation(tmp_path / "a.json"))], "", tmp_path / "out")
    assert "'=cat|<b>" in (tmp_path / "out/classes.csv").read_text()
    assert "\n'-v," in (tmp_path / "out/results.csv").read_text()


@pytest.mark.parametrize("change", ["<script>", "<td onclick='x'>", "<img src=x>"])
def test_the_report_takes_no_page_but_a_table_by_semples(tmp_path, monkeypatch, capsys, change):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("preset: mini\n")
    formats.write(pd.DataFrame({"a": ["cell <b>"]}), tmp_path / "results/mini/tables", "table_3", "T", "N.\n")
    assert main(["report"]) == 0
    assert "cell &lt;b&gt;" in (tmp_path / "results/mini/paper.html").read_text()
    path = tmp_path / "results/mini/tables/table_3.html"
    path.write_text(path.read_text().replace("<td>", change))
    assert main(["report"]) == 1
    assert "table_3.html" in capsys.readouterr().err


def test_the_report_refuses_a_broken_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("preset: mini\n")
    path = tmp_path / "results/mini/figures/panel.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:60])
    assert main(["report"]) == 1
    assert "panel.png" in capsys.readouterr().err


def test_masks_of_no_image_are_reported_and_a_missing_one_is_an_error(miniature, tmp_path, caplog, monkeypatch):
    drawn = []
    monkeypatch.setattr(confusions, "_draw", lambda share, names, out: drawn.append(share))
    rows = read_manifest(miniature).split("val").table
    (tmp_path / "confidence").mkdir()
    for row in rows.itertuples():
        for folder in (tmp_path, tmp_path / "confidence"):
            Image.open(row.mask).save(folder / f"{row.id}.png")
    confusions.run(miniature, "val", tmp_path, tmp_path / "c.png")
    assert not caplog.records
    Image.open(rows["mask"].iloc[0]).save(tmp_path / "an.older.one.png")
    confusions.run(miniature, "val", tmp_path, tmp_path / "c.png")
    assert "1 PNG of no image of the manifest, not read: an.older.one" in caplog.text
    assert np.array_equal(*drawn)
    (tmp_path / f"{rows['id'].iloc[1]}.png").unlink()
    with pytest.raises(SemplesError, match=f"1 masks fewer, '{rows['id'].iloc[1]}' among them"):
        confusions.run(miniature, "val", tmp_path, tmp_path / "c.png")


def test_a_truncated_benchmark_is_an_error_that_names_it(tmp_path, capsys):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/slm.tsv").write_text("s\th:m:s\tmax_r")
    assert main(["tables", "cost", "--base", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "slm.tsv" in capsys.readouterr().err
