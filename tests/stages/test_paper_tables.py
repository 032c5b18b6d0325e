"""The paper's tables: the cells of hand-written evaluations, intervals, and published numbers where they belong."""

import json

import numpy as np
import pandas as pd
import pytest

from semples.config.load import load
from semples.config.published import method_of
from semples.stages.tables import cost, paper, results
from semples.stages.tables.formats import latex, markdown

CLASSES = {"background": {"iou": 0.5, "false_positive": 0.2, "false_negative": 0.3}}


def evaluation(path, miou, **more):
    header = {"kind": "crf", "split": "train", "images": 7, "packages": "torch 2"}
    path.write_text(json.dumps({**header, "miou": miou, "classes": CLASSES, **more}))
    return path


def cams(path, fixed, oracle, **more):
    policies = {
        name: {"miou": miou, "threshold": 0.5, "classes": CLASSES, **more}
        for name, miou in (("fixed", fixed), ("oracle", oracle))
    }
    return evaluation(path, 0, kind="cams", policies=policies)


def spec(**more):
    rows = [{"variant": "ours", "label": "Ours", "method": "WeakTr (DeiT-S)"}, {"variant": "worse", "label": "Worse"}]
    lines = [list(paper.Line(**row)) for row in rows]
    return paper.Spec(**{"name": "t", "title": "A title", "rows": lines, "source": "mini", "note": "A note.", **more})


def rows_of(path):
    """The cells of every line of a Markdown table."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def test_a_cell_has_mean_spread_and_students_interval(tmp_path):
    values = [0.50, 0.52, 0.57]
    rows = [("ours", seed, evaluation(tmp_path / f"{seed}.json", value)) for seed, value in enumerate(values)]
    paper.run(spec(), rows, tmp_path)
    cell = pd.read_csv(tmp_path / "t.csv").iloc[0]
    reach = 4.302653 * np.std(values, ddof=1) * 100 / np.sqrt(3)
    assert cell["mean"] == pytest.approx(53.0)
    assert (cell["ci_low"], cell["ci_high"]) == pytest.approx((53 - reach, 53 + reach), rel=1e-3)
    text = (tmp_path / "t.md").read_text()
    assert f"53.0 ± 3.6 [{53 - reach:.1f}, {53 + reach:.1f}]" in text
    for part in ("A title", "A note.", "seeds 0, 1, 2", "train 7", "torch 2", "there are none for this data set"):
        assert part in text, part


def test_one_seed_shows_the_interval_over_images_where_there_is_one(tmp_path):
    paper.run(spec(), [("ours", 0, evaluation(tmp_path / "a.json", 0.5, interval=[0.4, 0.6]))], tmp_path)
    assert "50.0 [40.0, 60.0]" in (tmp_path / "t.md").read_text()
    paper.run(spec(), [("ours", 0, evaluation(tmp_path / "a.json", 0.5))], tmp_path)
    assert rows_of(tmp_path / "t.md")[2] == ["Ours", "50.0"]


def test_published_numbers_stand_beside_the_cells_and_below_the_rows(tmp_path):
    paper.run(spec(source="voc", published=True), [("ours", 0, cams(tmp_path / "a.json", 0.4, 0.5))], tmp_path)
    lines = rows_of(tmp_path / "t.md")
    oracle = "CAM, oracle threshold, train"
    assert lines[0] == ["", "CAM, fixed threshold, train", oracle, f"{oracle}, published", "further models"]
    assert ["Ours", "40.0", "50.0", "69.4", ""] in lines
    assert ["Worse", "", "", "", ""] in lines
    assert ["CLIMS (ResNet-50), the paper [CVI-SZU/CLIMS README]", "", "", "56.6", ""] in lines
    assert ["SemPLeS (the paper) [its tables were not read]", "", "", "", ""] in lines
    assert not any("ToCo" in line[0] for line in lines)  # nobody published its maps
    cells = pd.read_csv(tmp_path / "t.csv").set_index("policy")
    assert cells.loc["oracle", "published"] == 69.4
    assert np.isnan(cells.loc["fixed", "published"])


def test_segmentation_has_the_published_numbers_on_vocs_test_too(tmp_path):
    rows = [("ours", 0, evaluation(tmp_path / "a.json", 0.5, kind="segment", split="val"))]
    paper.run(spec(source="voc", published=True), rows, tmp_path)
    lines = rows_of(tmp_path / "t.md")
    published = ["segmentation, test, published", "segmentation, val, published"]
    assert lines[0] == ["", "segmentation, val", *published, "further models"]
    assert ["Ours", "50.0", "", "74.0", ""] in lines
    assert ["DuPL [Wu0409/DuPL README]", "", "71.6", "72.2", ""] in lines
    assert ["DiCLIP (ViT-B) [zwyang6/DiCLIP README]", "", "78.9", "78.8", "Stable Diffusion"] in lines


def test_a_published_number_stands_under_its_own_split_alone(tmp_path):
    rows = [("ours", 0, evaluation(tmp_path / "a.json", 0.5, split="train_aug"))]
    paper.run(spec(source="voc", published=True), rows, tmp_path)
    lines = rows_of(tmp_path / "t.md")
    published = ["CAM + CRF, train, published", "CAM + CRF, train_aug, published"]
    assert lines[0] == ["", "CAM + CRF, train_aug", *published, "further models"]
    assert ["Ours", "50.0", "76.5", "", ""] in lines
    assert any(line[0].endswith("[HAL-42/FMA-WSSS README]") and line[1:] == ["", "", "73.9", "SAM"] for line in lines)
    assert np.isnan(pd.read_csv(tmp_path / "t.csv").loc[0, "published"])  # 76.5 is of another split


def test_nothing_evaluated_is_said(tmp_path):
    paper.run(spec(), [], tmp_path)
    assert "no image has a ground-truth mask" in (tmp_path / "t.md").read_text()


def test_only_the_published_settings_are_the_published_method():
    from semples.config.load import load, variant

    config = load({"preset": "voc12", "data": {"root": "VOCdevkit"}})
    assert method_of(variant(config, "classifier")) == "WeakTr (DeiT-S)"
    assert method_of(variant(config, "csr-learned")) == "SemPLeS (the paper)"
    assert method_of(variant(config, "slm")) == method_of(variant(config, "joint")) == ""
    smaller = config.model_copy(update={"data": config.data.model_copy(update={"train": "train"})})
    assert method_of(variant(smaller, "classifier")) == ""


def test_numbers_stay_the_text_they_are(tmp_path):
    text = markdown(pd.DataFrame({"a": ["1.0", "1e3"], "": [1, 20], "c": [0.5, float("nan")]}))
    (tmp_path / "t.md").write_text(text)
    assert rows_of(tmp_path / "t.md")[2:] == [["1.0", "1", "0.5"], ["1e3", "20", "nan"]]


def test_latex_escapes_what_latex_reads():
    text = latex(pd.DataFrame({"a_b": ["50 %"], "c": ["1 ± 2"]}), "A & B", "tab:x")
    assert r"a\_b & c \\" in text
    assert r"50 \% & 1 $\pm$ 2 \\" in text
    assert r"\caption{A \& B}" in text


def test_words_of_prompts_are_listed_by_class(tmp_path):
    lines = [
        f"boat,{kind},{rank},{word},0.5,0.25"
        for kind in ("nearest", "distinctive")
        for rank, word in enumerate(["sea", "lake", "pier", "sand"], 1)
    ]
    (tmp_path / "words.csv").write_text("\n".join(["class,list,rank,word,cosine,lift", *lines]))
    results.run_words([("csr", 1, tmp_path / "words.csv")], tmp_path)
    assert rows_of(tmp_path / "words.md")[2][:4] == ["csr", "1", "boat", "sea (0.50), lake (0.50), pier (0.50)"]


def test_cost_adds_up_the_benchmark_files(tmp_path):
    for name, seconds, memory in (("slm/a.seed0", 1800, 500), ("slm/a.seed1", 3600, 900), ("data", 36, "-")):
        path = tmp_path / f"run/benchmarks/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:0:0\t{memory}\n")
    (tmp_path / "run/slm/a/seed0").mkdir(parents=True)
    (tmp_path / "run/slm/a/seed0/metrics.jsonl").write_text('{"peak_memory_mb": 2500}\n')
    cost.run(tmp_path / "run", "A note.", tmp_path)
    frame = pd.read_csv(tmp_path / "table_9.csv").set_index("stage")
    assert list(frame.index) == ["data", "slm", "all"]
    assert frame.loc["slm", ["jobs", "hours", "seconds", "memory, GB", "learner, GB"]].tolist() == [
        2,
        1.5,
        2700,
        0.9,
        2.5,
    ]
    assert frame.loc["all", "hours"] == pytest.approx(1.51)
    assert "A note." in (tmp_path / "table_9.md").read_text()


def test_refined_maps_stand_between_cams_and_masks_without_published_numbers(tmp_path):
    """The first row has no refined maps; the refined row of VOC is no published method."""
    plain = [("ours", 0, cams(tmp_path / "a.json", 0.3, 0.4)), ("ours", 0, evaluation(tmp_path / "b.json", 0.5))]
    policies = json.loads((tmp_path / "a.json").read_text())["policies"]
    refined = evaluation(tmp_path / "c.json", 0, kind="refine", policies=policies)
    rows = [*plain, *(("worse", 0, path) for path in (tmp_path / "a.json", refined, tmp_path / "b.json"))]
    paper.run(spec(source="voc", published=True), rows, tmp_path)
    header = rows_of(tmp_path / "t.md")[0]
    titles = ["CAM, oracle threshold, train", "refined CAM, oracle threshold, train", "CAM + CRF, train"]
    assert [title for title in header if title in titles] == titles
    assert not [title for title in header if title.startswith("refined") and "published" in title]
    results.run(rows, "", tmp_path)
    assert [title for title in rows_of(tmp_path / "results.md")[0] if title in titles] == titles
    weaktr = {"preset": "voc12", "masks_from": "classify"}
    assert method_of(load(weaktr)) == "WeakTr (DeiT-S)"
    assert method_of(load({**weaktr, "refine": {"kind": "pamr"}})) == ""
