"""Files of tensors: equal ones are equal bytes, and what is not finite or damaged is neither written nor read."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from semples.config.settings import Generator
from semples.errors import SemplesError
from semples.models.generators import build_generator
from semples.training.prompts import load_prompts
from semples.weights.generators import bare_generator, load_module, load_weights, read_weights, save_module
from semples.weights.tensor_file import digest_tensors, read_tensors, save_tensors

pytestmark = pytest.mark.fault("bad files tried")

METADATA = {f"key {number}": f'wäter "{number}"\n\x1f' for number in range(12)}
KINDS = ("float32", "float64", "bfloat16", "float16", "int64", "uint8", "bool")
WRITE = "import sys, torch; from semples.weights.tensor_file import save_tensors; "
WRITE += "save_tensors({'b': torch.ones(2, 3), 'a': torch.arange(4)}, sys.argv[1], {str(n): 'x' for n in range(20)})"


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    drawn = {kind: (3 * torch.rand(3, 5)).to(getattr(torch, kind)) for kind in KINDS}
    return drawn | {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), "turned": torch.rand(4, 3).T}


def test_what_is_written_is_read_by_the_library_and_follows_the_umask(tmp_path):
    save_tensors(tensors(), tmp_path / "t.safetensors", METADATA)
    read = load_file(tmp_path / "t.safetensors")
    assert read.keys() == tensors().keys()
    assert all(torch.equal(value, read[name]) and value.dtype == read[name].dtype for name, value in tensors().items())
    with safe_open(tmp_path / "t.safetensors", "pt") as file:
        assert file.metadata() == METADATA
    (tmp_path / "plain").touch()
    assert (tmp_path / "t.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_equal_tensors_are_equal_bytes_in_every_process(tmp_path):
    paths = [tmp_path / f"{number}.safetensors" for number in range(6)]
    for path in paths:
        save_tensors(tensors(), path, dict(sorted(METADATA.items(), reverse=len(path.stem) % 2 == 0)))
    assert len({path.read_bytes() for path in paths}) == 1
    subprocess.run([sys.executable, "-c", WRITE, tmp_path / "other.safetensors"], check=True)
    save_tensors({"a": torch.arange(4), "b": torch.ones(2, 3)}, tmp_path / "o", {str(n): "x" for n in range(20)})
    assert (tmp_path / "other.safetensors").read_bytes() == (tmp_path / "o").read_bytes()


def test_the_digest_is_that_of_the_tensors_not_of_the_file(tmp_path):
    module = torch.nn.Linear(2, 3)
    save_module(module, tmp_path / "one.safetensors", {"packages": "torch 1"})
    save_file(dict(module.state_dict()), tmp_path / "two.safetensors", {"packages": "torch 2"})  # as older ones are
    one, two = (
        load_module(torch.nn.Linear(2, 3), tmp_path / f"{name}.safetensors", "classify") for name in ("one", "two")
    )
    assert one == two
    other = {name: value.clone() for name, value in module.state_dict().items()}
    other["bias"][0] += 1e-6
    digests = {digest_tensors(state) for state in (module.state_dict(), other, tensors())}
    digests |= {digest_tensors({"a": torch.zeros(2, 3)}), digest_tensors({"a": torch.zeros(3, 2)})}
    digests |= {digest_tensors({"a": torch.zeros(6)}), digest_tensors({"a": torch.zeros(6, dtype=torch.int32)})}
    assert len(digests) == 7


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_what_is_not_finite_is_neither_written_nor_read(tmp_path, value):
    broken = {"head.weight": torch.ones(3, 4), "embeddings": torch.ones(4)}
    broken["embeddings"][2] = float(value)
    expected = r"file\.safetensors\n  found:    embeddings: a value that is not finite"
    with pytest.raises(SemplesError, match=expected):
        save_tensors(broken, tmp_path / "file.safetensors", {})
    assert not list(tmp_path.iterdir())
    save_file(broken, tmp_path / "file.safetensors")
    readers = [read_tensors, read_weights, lambda path, _: load_module(torch.nn.Identity(), path, "classify")]
    for read in (*readers, lambda path, _: load_prompts(path, 2)):
        with pytest.raises(SemplesError, match=expected):
            read(tmp_path / "file.safetensors", "classify")


def test_foreign_weights_that_are_not_finite_in_float32_are_refused(tmp_path):
    state = build_generator("conv_cam", 2, "").state_dict()
    name = next(iter(state))
    state[name] = state[name].double().contiguous()
    state[name].view(-1)[0] = 1e300
    torch.save({"model": state}, tmp_path / "w.pth")
    with pytest.raises(SemplesError, match=rf"w\.pth\n  found:    {name}: a value"):
        load_weights(bare_generator(Generator(name="conv_cam"), 2), tmp_path / "w.pth")


@pytest.mark.parametrize("content", [b"", b"text", bytes(100), (99).to_bytes(8, "little") + json.dumps({}).encode()])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / "f.safetensors").write_bytes(content)
    for read in (read_tensors, lambda path, made_by: load_module(torch.nn.Linear(2, 3), path, made_by)):
        with pytest.raises(SemplesError, match=r"f\.safetensors\n  found:    unreadable(.|\n)*run `semples slm` again"):
            read(tmp_path / "f.safetensors", "slm")
