"""Products by oneDNN equal PyTorch's own up to rounding; which library multiplies is decided once per machine."""

import errno
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from semples.errors import SemplesError
from semples.models.generators import build_generator
from semples.runtime import cpu
from semples.runtime.cpu import OneDnn, fuse, quick_steps, uses_onednn


@pytest.fixture
def stopwatch(monkeypatch, tmp_path):
    """Set how long oneDNN takes where MKL takes 1 s; timings are counted, the cache is an empty folder."""
    monkeypatch.delenv("SEMPLES_MATMUL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cpu._remembered.cache_clear()
    timed = []

    def takes(seconds: float) -> list:
        monkeypatch.setattr(cpu, "_seconds", lambda f, *_: timed.append(f) or (1.0 if f is F.linear else seconds))
        return timed

    yield takes
    cpu._remembered.cache_clear()


@pytest.mark.parametrize("name", ["vit_cam", "weaktr"])
@torch.no_grad()
def test_maps_are_those_of_pytorch(name):
    torch.manual_seed(0)
    generator = build_generator(name, 3, "deit_tiny_patch16_224").eval()
    images = torch.rand(2, 3, 368, 320)  # 460 tokens: more than are asked at once
    expected = generator(images).cams
    names = set(generator.state_dict())
    fuse(generator)
    with OneDnn():
        found = generator(images).cams
    assert not torch.equal(found, expected)  # it did go another way
    assert torch.allclose(found, expected, atol=1e-4 * expected.max().item())
    assert set(generator.state_dict()) == names


def test_attention_with_a_mask_is_pytorchs_own():
    query = torch.rand(1, 2, 5, 4)
    mask = torch.eye(5, dtype=torch.bool)
    with OneDnn():
        found = F.scaled_dot_product_attention(query, query, query, attn_mask=mask)
    assert torch.allclose(found, query)


OPTIONS = {
    "none": ((), {}),
    "added mask": ((torch.full((5, 5), -torch.inf).triu(1),), {}),
    "logical mask": ((torch.ones(5, 5, dtype=torch.bool).tril(),), {}),
    "named mask": ((), {"attn_mask": torch.full((5, 5), -torch.inf).triu(1)}),
    "causal": ((), {"is_causal": True}),
    "scale": ((), {"scale": 0.3}),
}


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_attention_of_a_step_and_its_gradients_are_pytorchs(name, half, monkeypatch):
    torch.manual_seed(0)
    calls, plain = [], cpu._plain_attention
    monkeypatch.setattr(cpu, "_plain_attention", lambda *args: calls.append(args) or plain(*args))
    (options, keywords), tensors = OPTIONS[name], torch.randn(3, 2, 2, 5, 4)
    outputs, input_gradients = [], []
    for block in (nullcontext(), quick_steps(torch.device("cpu"))):
        query_key_value = tensors.clone().requires_grad_()
        with block, torch.autocast("cpu", torch.bfloat16, enabled=half):
            outputs.append(F.scaled_dot_product_attention(*query_key_value, *options, **keywords))
        outputs[-1].float().square().sum().backward()
        input_gradients.append(query_key_value.grad)
    assert len(calls) == (name in ("none", "added mask"))
    assert [output.dtype for output in outputs] == [torch.bfloat16 if half else torch.float32] * 2
    for theirs, ours in (outputs, input_gradients):
        assert torch.allclose(theirs, ours, atol=0.1 if half else 1e-5)


def gradients(layer: nn.Module, rows: torch.Tensor) -> list[torch.Tensor]:
    """Output, and gradients of rows and parameters of a loss that weighs every output."""
    rows = rows.clone().requires_grad_()
    out = layer(rows)
    wanted = [rows, *(p for p in layer.parameters() if p.requires_grad)]
    return [out.detach(), *torch.autograd.grad((out * torch.arange(out.shape[-1])).sin().sum(), wanted)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_gradients_of_a_layer_are_those_of_pytorch(bias, frozen, monkeypatch):
    torch.manual_seed(0)
    layer, rows = nn.Linear(48, 32, bias=bias).requires_grad_(not frozen), torch.randn(3, 7, 48)
    expected = gradients(layer, rows)
    calls = []
    monkeypatch.setattr("semples.runtime.cpu._product", counted(calls))
    with quick_steps(torch.device("cpu")):
        found = gradients(layer, rows)
    assert len(calls) == (2 if frozen else 3)
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        assert torch.allclose(one, two, atol=1e-4)


def counted(calls: list):
    """oneDNN's product, which notes that it was called."""
    from semples.runtime.cpu import _product

    def product(*args, **kwargs):
        calls.append(args[0].shape)
        return _product(*args, **kwargs)

    return product


def test_mixed_precision_is_left_alone(monkeypatch):
    calls = []
    monkeypatch.setattr("semples.runtime.cpu._product", counted(calls))
    with torch.autocast("cpu", torch.bfloat16), OneDnn():
        nn.Linear(8, 4)(torch.rand(2, 8))
    assert not calls


@pytest.mark.parametrize(("seconds", "onednn"), [(0.5, True), (1.0, True), (1.02, True), (1.04, False), (2.0, False)])
def test_mkl_multiplies_where_it_is_faster_by_a_clear_margin(stopwatch, seconds, onednn):
    stopwatch(seconds)
    assert uses_onednn() is onednn


def test_the_choice_is_remembered_for_the_next_process(stopwatch, tmp_path):
    timed = stopwatch(2.0)
    assert not uses_onednn()
    assert [path.read_text() for path in (tmp_path / "semples").iterdir()] == ["mkl\n"]
    cpu._remembered.cache_clear()  # as a new process has it
    timed.clear()
    stopwatch(0.5)
    assert not uses_onednn()
    assert not timed


def test_another_pytorch_or_an_unreadable_choice_is_measured_again(stopwatch, monkeypatch, tmp_path):
    stopwatch(2.0)
    assert not uses_onednn()
    stopwatch(0.5)
    (written,) = (tmp_path / "semples").iterdir()
    written.write_text("fast")
    cpu._remembered.cache_clear()
    assert uses_onednn()
    assert written.read_text() == "onednn\n"
    monkeypatch.setattr(torch, "__version__", "99")
    cpu._remembered.cache_clear()
    assert uses_onednn()
    assert len(list((tmp_path / "semples").iterdir())) == 2


@pytest.mark.parametrize("cache", ["a file", "no home"])
def test_without_a_cache_folder_every_process_measures(stopwatch, monkeypatch, tmp_path, cache):
    timed = stopwatch(2.0)
    if cache == "a file":
        (tmp_path / "semples").write_text("in the way of the folder")
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert not uses_onednn()
    count = len(timed)
    assert not uses_onednn()
    assert len(timed) == count > 0


def test_a_busy_machine_does_not_decide(stopwatch, monkeypatch):
    """Other processes interrupt all but one of oneDNN's products, which are the faster ones."""
    stopwatch(0.5)
    calls = []

    def seconds(function, *shape):
        if function is F.linear:
            return 1.0
        calls.append(shape)
        return 0.5 if calls.count(shape) == 1 else 9.0

    monkeypatch.setattr(cpu, "_seconds", seconds)
    assert uses_onednn()


def test_the_measurement_draws_no_random_numbers_and_keeps_the_threads(stopwatch):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    uses_onednn()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("name", "onednn"), [("onednn", True), ("mkl", False)])
def test_the_environment_overrides_the_choice(stopwatch, monkeypatch, name, onednn):
    timed = stopwatch(0.5 if name == "mkl" else 2.0)
    monkeypatch.setenv("SEMPLES_MATMUL", name)
    assert uses_onednn() is onednn
    assert not timed


def test_an_unknown_library_is_an_error(monkeypatch):
    monkeypatch.setenv("SEMPLES_MATMUL", "blas")
    with pytest.raises(SemplesError, match=r"SEMPLES_MATMUL(.|\n)*'blas'(.|\n)*onednn or mkl"):
        uses_onednn()


@pytest.mark.parametrize("reason", ["mkl", "no operators"])
def test_where_onednn_does_not_multiply_everything_is_pytorchs_own(monkeypatch, reason):
    if reason == "mkl":
        monkeypatch.setenv("SEMPLES_MATMUL", "mkl")
    else:
        monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())  # a PyTorch without the private operators
    monkeypatch.setattr(cpu, "_product", None)  # a call would fail
    generator = build_generator("vit_cam", 3, "deit_tiny_patch16_224").eval()
    images = torch.rand(1, 3, 64, 64)
    expected = generator(images).cams
    fuse(generator)
    with quick_steps(torch.device("cpu")), torch.no_grad():
        linear = nn.Linear(8, 4)
        rows = torch.rand(2, 8)
        assert torch.equal(linear(rows), F.linear(rows, linear.weight, linear.bias))
    assert not any("forward" in vars(layer) for layer in generator.modules())
    assert torch.equal(generator(images).cams, expected)


def test_the_choice_is_remembered_on_a_file_system_without_locks(stopwatch, monkeypatch, tmp_path):
    stopwatch(2.0)

    def flock(*_arguments) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    assert not uses_onednn()
    assert [path.read_text() for path in (tmp_path / "semples").iterdir()] == ["mkl\n"]


def test_a_cache_that_nobody_may_write_is_one_warning(stopwatch, monkeypatch, tmp_path, caplog):
    stopwatch(2.0)

    def mkdir(*_arguments, **_options) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.mkdir", mkdir)
    assert not uses_onednn()
    assert not uses_onednn()
    assert [record.message.count("Read-only file system") for record in caplog.records] == [1]
