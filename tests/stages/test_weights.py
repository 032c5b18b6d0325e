"""`semples weights`: ImageNet weights in a file, from which classify and segment start; libraries have stand-ins."""

import json

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import load_file, save_file

from semples.cli import main
from semples.config.load import load
from semples.inference.segmentation import load_segmenter
from semples.planning.targets import Targets

VIT = "deit_tiny_patch16_224"
STILL = {"epochs": 1, "batch": 4, "lr": 1e-12}
NETWORK = {"decoder_channels": 16, "crop": 32, "curve_images": 0, "class_weights": "equal"}


def semples(command: str, *flags: object) -> int:
    return main([command, *map(str, flags)])


@pytest.fixture
def servers(monkeypatch, tmp_path) -> dict[str, dict[str, torch.Tensor]]:
    """Random weights in the place of what timm and smp download; each as it was handed out, by model."""
    handed_out: dict[str, dict[str, torch.Tensor]] = {}
    create = timm.create_model

    def create_model(name, pretrained=False, **options):
        model = create(name, **options)
        if pretrained:
            model.load_state_dict(handed_out.setdefault(name, _random(model)))
        return model

    def download(repository, filename, revision):
        name = repository.partition("/")[2].partition(".")[0]
        options = smp.encoders.encoders[name]
        state = handed_out.setdefault(name, _random(options["encoder"](**options["params"])))
        save_file(state, tmp_path / "smp.safetensors")
        return tmp_path / "smp.safetensors"

    monkeypatch.setattr("timm.create_model", create_model)
    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", download)
    return handed_out


def _random(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: (0.1 * torch.rand_like(value.float())).to(value.dtype) for name, value in model.state_dict().items()}


def _parameters(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if "running" not in name and value.is_floating_point()}


@pytest.mark.parametrize(("name", "prefix"), [("vit_cam", "vit."), ("weaktr", "")])
def test_a_classifier_starts_from_them_and_draws_its_head_as_without(servers, miniature, tmp_path, name, prefix):
    assert semples("weights", "--library", "timm", "--model", VIT, "--out", tmp_path / "vit.safetensors") == 0
    found = {}
    for weights, flags in {"timm": ("--weights", tmp_path / "vit.safetensors"), "none": ()}.items():
        generator = {"name": name, "backbone": VIT, "weights": weights, "image_size": 32}
        settings = {"generator": generator, "classify": STILL | {"epochs": 0}, "run": {"device": "cpu"}}
        paths = ("--manifest", miniature, "--out", tmp_path / weights)
        assert semples("classify", "--config", json.dumps(settings), *paths, *flags) == 0
        found[weights] = load_file(tmp_path / weights / "model.safetensors")
    backbone = {n: v for n, v in _parameters(servers[VIT]).items() if n not in ("cls_token", "pos_embed")}
    assert len(backbone) > 100
    assert all(torch.equal(found["timm"][prefix + n], value) for n, value in backbone.items())
    head = [n for n in found["none"] if n.startswith(("patch_cam", "head", "adaptive"))]
    assert head
    assert all(torch.equal(found["timm"][n], found["none"][n]) for n in head)


@pytest.mark.parametrize(
    ("network", "encoder", "source"),
    [
        ("deeplabv3plus", "tu-resnet10t", "smp/tu-resnet10t"),
        ("deeplabv3plus", "resnet18", "smp/resnet18"),
        ("deeplabv2", "tu-resnet18", "smp/tu-resnet18"),
        ("segformer", "mit_b0", "smp/mit_b0"),
        ("upernet", f"vit:{VIT}", f"timm/{VIT}"),
    ],
)
def test_a_segmentation_network_starts_from_them(servers, drawn, segment_settings, tmp_path, network, encoder, source):
    weights = {"network": network, "encoder": encoder, "weights": "imagenet"}
    settings = segment_settings(**weights, **STILL, **NETWORK)
    library, _, model = source.partition("/")
    assert load(json.loads(settings)).segment.downloaded_weights() == source
    assert semples("weights", "--library", library, "--model", model, "--out", tmp_path / "w.safetensors") == 0
    paths = ("--manifest", drawn / "data/manifest.csv", "--masks", drawn / "masks", "--out", tmp_path / "out")
    assert semples("segment", "--config", settings, *paths, "--weights", tmp_path / "w.safetensors") == 0
    trained = load_segmenter(tmp_path / "out/model.safetensors").network.network.encoder
    state = getattr(trained, "model", trained).state_dict()
    expected = {n: v for n, v in _parameters(servers[model.removeprefix("tu-")]).items() if n in state}
    assert len(expected) > 20
    assert all(torch.allclose(state[n], value, atol=1e-6) for n, value in expected.items())


@pytest.mark.parametrize("stage", ["classify", "segment"])
def test_without_the_file_the_stages_name_the_command_and_ask_no_server(
    servers, drawn, segment_settings, tmp_path, capsys, stage
):
    settings = json.loads(segment_settings(weights="imagenet", **NETWORK))
    settings["generator"] = {"name": "vit_cam", "backbone": VIT, "image_size": 32}
    masks = ("--masks", drawn / "masks") if stage == "segment" else ()
    paths = ("--manifest", drawn / "data/manifest.csv", *masks, "--out", tmp_path / "out")
    assert semples(stage, "--config", json.dumps(settings), *paths) == 1
    assert "make it with `semples weights`" in capsys.readouterr().err
    assert not servers


def test_no_network_and_no_such_model_are_one_clear_error(monkeypatch, tmp_path, capsys):
    def unreachable(*_arguments, **_named):
        raise OSError("no network")

    monkeypatch.setattr("timm.create_model", unreachable)
    for library, model in (("timm", VIT), ("smp", "no such model")):
        assert semples("weights", "--library", library, "--model", model, "--out", tmp_path / "w.safetensors") == 1
        assert f"weights {library}/{model}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_needs_no_download_has_no_such_job():
    own = {"generator": {"weights": "vit.safetensors"}, "segment": {"weights": "none"}}
    other = {"generator": {"name": "conv_cam"}, "segment": {"weights": "encoder.pth"}}
    for settings, count in ((own, 0), (other, 0), ({}, 2)):
        jobs = Targets(load({"preset": "voc12", **settings})).jobs(["results"])
        assert len(jobs.get("weights", set())) == count
