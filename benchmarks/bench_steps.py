"""Training steps of slm, csr and cpl, forward and backward, at the published sizes (WeakTr on DeiT-S, CLIP ViT-B/32
with random weights, 224 pixels). *Plain* re-creates the published step: it masks pairs one at a time in Python loops,
and the sentences of the pairs and the prompt of every class pass through the text encoder in every step. Its time is a
lower bound of the published code's, as it uses the package's generator, losses and image preparation. On a CPU, plain
uses the matrix products that PyTorch chooses; ours uses oneDNN where it is faster. Floating-point operations are
counted. *Of the matrix-product rate* is the fraction of the speed of one large matrix product, by the faster of the two
libraries in the same run. Memory is what the step keeps for its backward pass. In the rows *compiled*, *plain* is our
step as above and *ours* the same step as `run.compile: true` has it: by torch.compile, with the pairs padded. In the
rows *ours in bfloat16*, plain stays in float32. Ours has mixed precision, which `precision: auto` takes on a CPU with
bfloat16."""

import copy
import math
from collections.abc import Callable, Iterator
from functools import partial

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.frame import Inputs, Row, seconds
from benchmarks.plain_steps import PlainSteps
from semples.data.images import read_image
from semples.data.manifest import Manifest
from semples.data.training_images import present_pairs
from semples.inference.views import as_batch
from semples.models.generators import build_generator
from semples.models.guide import Guide
from semples.models.prompts import PromptBank
from semples.models.tasks import MaskTask, PromptTask
from semples.runtime.compiler import compile_steps
from semples.runtime.cpu import quick_steps
from semples.runtime.devices import computes_in_bfloat16

SIDE, LENGTH = 224, 30
BATCHES = {"cpu": {"slm": 16, "csr": 16, "cpl": 128}, "cuda": {"slm": 64, "csr": 64, "cpl": 128}}
WEIGHTS = {"w_bg": 2.4, "w_prompt": 0.05, "w_text": 0.02, "eps": 0.1}
CALLS = 3  # that are timed, after a first one
PRODUCT = 4096  # side of the matrices whose product says what the device can do
Step = Callable[[], float]


def rows(inputs: Inputs) -> list[Row]:
    """Measure time, operations, rate and memory of each step, plain and ours."""
    torch.set_num_threads(inputs.threads)
    table: list[Row] = []
    for stage, most in BATCHES[inputs.device].items():
        batch = _batch(inputs.images(), most, inputs.device)
        for arithmetic in ("float32", "bfloat16") if inputs.device == "cuda" else ("float32",):
            name = f"{len(batch['image'])} images, {len(batch['pair_image'])} pairs, {arithmetic}"
            steps = _steps(stage, batch, inputs, arithmetic == "bfloat16")
            table += _compared(stage, name, steps[:2], _product_rate(inputs.device, arithmetic), inputs.device)
            table.append(_of_times(stage, "compiled", steps[1:], inputs.device))
        if inputs.device == "cpu" and computes_in_bfloat16("cpu"):
            ours = _steps(stage, batch, inputs, half=True)[1]
            table.append(_of_times(stage, "ours in bfloat16", [steps[0], ours], "cpu"))
    return table


def _compared(stage: str, name: str, steps: list[Step], rate: float, device: str) -> Iterator[Row]:
    """Return the rows of one step, plain and ours; `rate` is in GFLOP a second."""
    times, agreement = _timed(steps)
    work = [_gflop(step) for step in steps]
    kept = [_kept_mb(step) for step in steps]
    reached = [100 * gflop / time / rate for gflop, time in zip(work, times, strict=True)]
    yield Row(f"{stage} step", name, *times, "s", times[0] / times[1], agreement, device)
    yield Row(f"{stage} step", "operations", *work, "GFLOP", work[0] / work[1], agreement, device)
    yield Row(f"{stage} step", "of the matrix-product rate", *reached, "%", reached[1] / reached[0], agreement, device)
    yield Row(f"{stage} step", "kept for the backward pass", *kept, "MB", kept[0] / kept[1], agreement, device)


def _of_times(stage: str, measured: str, steps: list[Step], device: str) -> Row:
    """Return the row of the times of two steps."""
    times, agreement = _timed(steps)
    return Row(f"{stage} step", measured, *times, "s", times[0] / times[1], agreement, device)


def _timed(steps: list[Step]) -> tuple[list[float], str]:
    """Return the seconds of two steps after a first call, which compiles, and how far their losses differ."""
    losses = [step() for step in steps]
    agreement = f"losses differ by {abs(losses[0] - losses[1]) / abs(losses[0]):.1e} of their value"
    return [seconds(step, CALLS) for step in steps], agreement


def _batch(images: Manifest, most: int, device: str) -> dict[str, Tensor]:
    """Return at most `most` photographs, squashed to squares, with their labels and pairs."""
    labels = torch.from_numpy(images.label_matrix())[:most]
    seen = [as_batch([read_image(path)], torch.device("cpu"), SIDE) for path in images.table["image"][:most]]
    image, klass = present_pairs(labels)
    batch = {"image": torch.cat(seen), "labels": labels, "pair_image": image, "pair_class": klass}
    return {name: value.to(device) for name, value in batch.items()}


def _steps(stage: str, batch: dict[str, Tensor], inputs: Inputs, half: bool) -> list[Step]:
    """Return the plain step, ours, and ours compiled, of equal weights; each runs forward and backward.

    A step returns its loss.
    """
    torch.manual_seed(0)
    classes = inputs.images().classes
    sentences = [f"a photo of {text}." for text in classes.texts]
    clip = open_clip.create_model("ViT-B-32-quickgelu", precision="fp32").requires_grad_(False).eval()
    guide = Guide(copy.deepcopy(clip), open_clip.get_tokenizer("ViT-B-32")).to(inputs.device)
    generator = build_generator("weaktr", len(classes), "deit_small_patch16_224").to(inputs.device)
    bank = PromptBank(len(classes), LENGTH, guide.width).to(inputs.device)
    plain = PlainSteps(generator, guide, clip.to(inputs.device), sentences, bank, WEIGHTS)
    task, compiled = (_task(stage, generator, bank, guide, sentences).eval() for _ in range(2))
    compile_steps(compiled, checkpointing=False)
    (padded,) = compiled.parts(batch, 1, pad=True)

    def step(loss_of: Callable[[], Tensor]) -> float:
        with torch.autocast(inputs.device, torch.bfloat16, enabled=half):
            loss = loss_of()
        loss.backward()
        return loss.item()

    def ours(task: nn.Module, batch: dict[str, Tensor], is_compiled: bool) -> Tensor:
        with quick_steps(torch.device(inputs.device), is_compiled):  # as semples.training.loop has it
            return task(batch)["loss"]

    losses = [partial(getattr(plain, stage), batch), partial(ours, task, batch, False)]
    return [partial(step, loss) for loss in (*losses, partial(ours, compiled, padded, True))]


def _task(stage: str, generator, bank: PromptBank, guide: Guide, sentences: list[str]) -> MaskTask | PromptTask:
    with torch.no_grad():
        texts, prompts = guide.encode_text(sentences), guide.encode_prompts(bank.vectors)
    if stage == "cpl":
        return PromptTask(bank, generator, guide, texts, w_text=WEIGHTS["w_text"], text_term="log", eps=WEIGHTS["eps"])
    prompt_terms = {"prompts": prompts.unsqueeze(1), "w_prompt": WEIGHTS["w_prompt"]} if stage == "csr" else {}
    return MaskTask(generator, guide, texts, w_bg=WEIGHTS["w_bg"], eps=WEIGHTS["eps"], **prompt_terms)


def _product_rate(device: str, arithmetic: str) -> float:
    """Return GFLOP a second of one large matrix product, by the faster of the two libraries."""
    side = PRODUCT if device == "cpu" else 2 * PRODUCT
    matrix = torch.randn(side, side, device=device, dtype=getattr(torch, arithmetic))

    def product() -> None:
        F.linear(matrix, matrix)

    product()
    times = [seconds(product) for _ in range(3)]
    with quick_steps(torch.device(device)):
        times += [seconds(product) for _ in range(3)]
    return 2 * side**3 / min(times) / 1e9


def _gflop(step: Step) -> float:
    onednn = {torch.ops.mkldnn._linear_pointwise: lambda rows, other, *_, **__: 2 * math.prod(rows) * other[0]}
    counting = FlopCounterMode(display=False, custom_mapping=onednn)
    with counting as counter, sdpa_kernel(SDPBackend.MATH):  # whose products are counted
        step()
    return counter.get_total_flops() / 1e9


def _kept_mb(step: Step) -> float:
    """Return the MB of all tensors that a step saves for its backward pass: each storage once, without the weights."""
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter) and not (tensor.is_leaf and tensor.requires_grad):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        step()
    return sum(sizes.values()) / 1e6
