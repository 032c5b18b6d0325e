"""Jobs ask for the time that the estimate says, which Snakemake can afford to ask for while it plans."""

import csv
import subprocess
import sys

import pytest
import torch

from semples.config.load import load
from semples.planning.cost import (
    COUNTS,
    Size,
    job_cost,
    known_network,
    network_key,
    runtime_minutes,
    size_of,
    work,
)
from semples.planning.network_counts import _count, count_network
from semples.planning.speed import assumed_speed
from semples.planning.targets import Targets
from semples.tools.plan import Plan

PRESETS = ("mini", "voc12", "coco14", "photos")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", ["generator", "segmenter", "guide"])
def test_stored_counts_are_those_of_the_networks(preset, kind):
    variants = {network_key(kind, s): s for s in Targets(load({"preset": preset})).graph.settings.values()}
    for key, settings in variants.items():
        assert f'"{key}"' in COUNTS.read_text(encoding="utf-8")
        assert known_network(kind, settings) == pytest.approx(count_network(kind, settings, 80), abs=1e-4), key


def test_stored_counts_of_sam_are_those_of_its_encoder():
    transformers = pytest.importorskip("transformers", reason="the optional extra sam is not installed")
    with torch.device("meta"):
        sam = transformers.SamModel(transformers.SamConfig()).requires_grad_(False)
        encoder = _count(sam.vision_encoder, 1024)
    stored = known_network("sam", load({"preset": "mini"}))  # facebook/sam-vit-base
    assert (stored.gflop, stored.outputs) == pytest.approx((encoder.gflop, encoder.outputs), abs=1e-3)
    assert stored.parameters == pytest.approx(sum(p.numel() for p in sam.parameters()) / 1e6, abs=1e-4)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"kind": "superpixels"}, {"kind": "superpixels", "superpixels": {"stride": 1}}),
        ({"kind": "superpixels"}, {"kind": "superpixels", "superpixels": {"sizes": [100, 200]}}),
        ({"kind": "pamr"}, {"kind": "pamr", "pamr": {"iterations": 20}}),
        ({"kind": "sam"}, {"kind": "sam", "sam": {"use": "segments"}}),
        ({"kind": "sam"}, {"kind": "sam", "sam": {"weights": "./unknown"}}),  # counts as the largest
    ],
)
def test_a_refinement_costs_what_it_does(less, more):
    size = Size(10_000, 100, 180_000, 1.5, 20)
    hours = [
        job_cost("refine", load({"preset": "voc12", "refine": refine}), size, assumed_speed("cpu"), known_network).hours
        for refine in (less, more)
    ]
    assert 0.01 < hours[0] < hours[1] / 1.5


def test_an_unknown_network_counts_as_the_largest_of_its_kind():
    own = load({"preset": "mini", "generator": {"name": "mine.py:Mine"}})
    largest = max(known_network("generator", load({"preset": p})).gflop for p in PRESETS)
    assert known_network("generator", own).gflop >= largest


def test_coco_asks_for_more_than_its_estimate():
    config = load({"preset": "coco14"})
    jobs = Plan(config, size_of(config), "cuda").rows().set_index("stage")
    for stage in ("slm", "csr"):
        hours = jobs["hours"][stage] / jobs["jobs"][stage]
        assert hours > 12
        assert runtime_minutes(stage, config, size_of(config)) == pytest.approx(3 * 60 * hours, abs=5)


@pytest.mark.parametrize("stage", ["classify", "slm", "cpl", "csr", "joint", "cams", "crf", "segment", "segment_masks"])
def test_the_miniature_asks_for_an_hour(stage):
    config = load({"preset": "mini"})
    assert runtime_minutes(stage, config, size_of(config)) == 60


def test_stored_features_cost_one_pass_and_the_head():
    whole = {"crop_scale": [1, 1], "randaugment": 0, "erasing": 0, "flip": 0.5}
    frozen = {"name": "frozen_vit", "backbone": "test_vit"}
    size = Size(1000, 0, 50_000, 1.5, 20)

    def gigaflop(epochs: int, cache: str, **augment) -> float:
        chosen = {"epochs": epochs, "augment": {**whole, **augment}}
        user = {"preset": "voc12", "generator": frozen, "run": {"cache_folder": cache}, "classify": chosen}
        return work("classify", load(user), size, count_network)[0] / size.train

    network = count_network("generator", load({"preset": "voc12", "generator": frozen}), 20)
    assert 0 < network.head < network.gflop / 2
    assert gigaflop(10, "") == pytest.approx(10 * network.gflop)
    assert gigaflop(10, "/fast") == pytest.approx(2 * network.gflop + 10 * 3 * network.head)
    assert gigaflop(10, "/fast", flip=0) == pytest.approx(network.gflop + 10 * 3 * network.head)
    assert gigaflop(10, "/fast", erasing=0.2) == pytest.approx(10 * network.gflop)


def test_backgrounds_that_are_kept_cost_their_passes_once():
    size = Size(1000, 0, 50_000, 1.5, 20)

    def gigaflop(epochs: int, source: str = "learned", **augment) -> float:
        cpl = {"epochs": epochs, "source": source, "augment": {"crop_scale": [1, 1], "flip": 0.5, **augment}}
        return work("cpl", load({"preset": "voc12", "cpl": cpl}), size, count_network)[0] / size.train

    generator, guide = (count_network(kind, load({"preset": "voc12"}), 20) for kind in ("generator", "guide"))
    each_pass = generator.gflop + 1.5 * guide.gflop
    prompts = gigaflop(20) / 20 - 2 * each_pass / 20  # of an epoch
    assert 0 < prompts < each_pass / 2
    assert gigaflop(60) == pytest.approx(2 * each_pass + 60 * prompts)
    assert gigaflop(60, flip=0) == pytest.approx(each_pass + 60 * prompts)
    assert gigaflop(60, crop_scale=[0.5, 1]) == pytest.approx(60 * (each_pass + prompts))
    assert gigaflop(1) == pytest.approx(each_pass + prompts)
    assert gigaflop(60, "embedding") == pytest.approx(2 * each_pass)  # no text encoder


def test_shards_share_the_time():
    size = Size(1_000_000, 100, 277_000, 2.9, 80)
    one, four = (load({"preset": "voc12", "run": {"shards": shards}}) for shards in (1, 4))
    assert runtime_minutes("cams", one, size) > 3 * runtime_minutes("cams", four, size) > 180
    assert runtime_minutes("slm", one, size) == runtime_minutes("slm", four, size)


def estimated(stage: str, changes: dict) -> tuple[float, float]:
    """Hours and GB of GPU memory of a job of the preset voc12."""
    size = Size(10_000, 100, 182_000, 1.5, 20)
    return job_cost(stage, load({"preset": "voc12", **changes}), size, assumed_speed("cuda"), known_network)[:2]


@pytest.mark.parametrize("stage", ["classify", "slm", "cpl", "csr", "joint", "segment"])
def test_parts_take_less_memory_and_the_same_time(stage):
    section = "csr" if stage == "joint" else stage
    (hours, memory), (same, less) = (estimated(stage, {section: {"accumulate": parts}}) for parts in (1, 2))
    assert hours == same
    assert 0.4 * memory < less < 0.8 * memory


def test_checkpointing_takes_less_memory_and_more_time():
    plain, again = ({"run": {"checkpointing": enable}} for enable in (False, True))
    for stage in ("classify", "slm", "csr", "joint"):
        (hours, memory), (more, less) = (estimated(stage, changes) for changes in (plain, again))
        assert 1.2 * hours < more < 1.6 * hours
        assert less < 0.6 * memory
    assert estimated("segment", plain) == estimated("segment", again)


def test_attention_maps_of_large_images_take_memory():
    large, small = (estimated("cams", {"cams": {"batch": batch}})[1] for batch in (64, 8))
    assert large > 8
    assert small < 2


def test_the_size_is_that_of_the_manifest_or_of_the_listing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one.jpg", "two.jpg", "three.jpg"):
        (tmp_path / name).write_bytes(b"never opened")
    (tmp_path / "labels.csv").write_text(
        "image,split,labels\none.jpg,train,cat;dog\ntwo.jpg,train,cat\nthree.jpg,val,\n"
    )
    config = load({"preset": "photos", "data": {"root": str(tmp_path), "max_side": 200}})
    assert size_of(config) == Size(2, 1, 30_000, 1.5, 2)
    folder = tmp_path / "results/photos/data"
    folder.mkdir(parents=True)
    (folder / "classes.csv").write_text("name,text,colour\ncat,cat,#000000\ndog,dog,#ffffff\n")
    rows = [("train;val", "cat", 40, 20), ("train", "", 60, 20), ("val", "dog;cat", 20, 40)]
    with open(folder / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([("split", "labels", "width", "height"), *rows])
    assert size_of(config) == Size(2, 2, 2800 / 3, 1.5, 2)


def test_nobody_knows_the_size_of_a_data_set_that_is_not_there():
    assert Targets(load({"preset": "photos"})).minutes("slm", "semples") == 720


def test_planning_needs_neither_numpy_nor_torch():
    heavy = ("numpy", "pandas", "torch", "cv2")
    code = f"import sys; sys.modules.update(dict.fromkeys({heavy})); import semples.planning.targets as targets;"
    code += "from semples.config.load import load; t = targets.Targets(load({'preset': 'coco14'}));"
    code += "assert t.minutes('slm', 'slm') > 60 * 15.9"
    subprocess.run([sys.executable, "-c", code], check=True)
