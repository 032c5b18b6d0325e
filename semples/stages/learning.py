"""What the learning stages share: models from settings and files, optimiser, and writing what was learned."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.utils.data import DataLoader

from semples import training
from semples.errors import SemplesError
from semples.files import atomic_path, digest, provenance, require
from semples.loader import Photographs, batches, label_transform
from semples.manifest import Manifest, read_manifest
from semples.models.generators import MaskGenerator, build_generator
from semples.settings import Settings, Training
from semples.training import expect_shapes


@dataclass(frozen=True)
class Job:
    """One learning command: what it reads, its seed and its output folder."""

    settings: Settings
    stage: str
    seed: int
    manifest: Path
    out: Path

    @property
    def training(self) -> Training:
        """The settings of this stage."""
        return getattr(self.settings, self.stage)

    def images(self) -> Manifest:
        """The labelled images of the training split."""
        manifest = read_manifest(self.manifest).split(self.settings.data.train)
        labelled = manifest.with_labels()
        if len(labelled) == 0:
            raise SemplesError(self.manifest, "no image with a label", "image-level labels", "label some images")
        if left_out := len(manifest) - len(labelled):
            print(f"{left_out} of {len(manifest)} images have no label and are left out")
        for path in labelled.table["image"]:
            require(Path(path), "data")
        return labelled

    def loader(self, images: Manifest, size: int) -> DataLoader:
        """Batches of augmented images with labels, for a learning stage."""
        augment, run = self.training.augment, self.settings.run
        transform = label_transform(size, augment.crop_scale, augment.flip, augment.randaugment, augment.erasing)
        dataset = Photographs(images, transform, run.cache_gb)
        return batches(dataset, self.training.batch, self.seed, run.workers)


def learn(
    job: Job, task: nn.Module, loader: DataLoader, optimizer: Optimizer, used: dict, inputs: dict[str, str]
) -> None:
    """Train, then write model.safetensors and metrics.jsonl into the job's folder.

    `used` are the settings that matter here, `inputs` digests of what was read; both go into the file's metadata.
    """
    torch.set_num_threads(job.settings.run.threads)
    made_from = provenance(job.stage, used, seed=str(job.seed), **inputs)
    plan = training.Plan(
        epochs=job.training.epochs,
        schedule=training.poly if job.stage == "segment" else training.cosine,
        seed=job.seed,
        device=job.settings.run.device,
        precision=job.settings.precision,
        folder=job.out / "checkpoints",
        fingerprint=digest(made_from),
    )
    metrics = training.fit(task, loader, optimizer, plan)
    training.save_module(task.learner, job.out / "model.safetensors", made_from)
    with atomic_path(job.out / "metrics.jsonl") as partial:
        partial.write_bytes(metrics.read_bytes())
    training.forget_checkpoint(plan.folder)
    print(f"{job.stage}: {job.out / 'model.safetensors'}")


def adamw(module: nn.Module, settings: Training, fast: nn.Module | None = None, factor: float = 1.0) -> Optimizer:
    """AdamW over what learns; no decay on norms and biases, as timm does; `fast` learns `factor` times faster."""
    quick = {id(p) for p in fast.parameters()} if fast is not None else set()
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            rate = settings.lr * factor if id(parameter) in quick else settings.lr
            groups.setdefault((rate, decay), []).append(parameter)
    return AdamW(
        [{"params": group, "lr": lr, "weight_decay": decay} for (lr, decay), group in groups.items()],
        eps=1e-8,
    )


def new_generator(settings: Settings, classes: int) -> MaskGenerator:
    """The generator that the settings name, with ImageNet weights or a released checkpoint where they say so."""
    chosen = settings.generator
    generator = _generator(settings, classes, pretrained=chosen.weights == "timm")
    if chosen.weights not in ("timm", "none"):
        load_weights(generator, Path(chosen.weights))
    return generator


def trained_generator(settings: Settings, classes: int, path: Path, made_by: str) -> tuple[MaskGenerator, str]:
    """The generator as a former stage left it, and the digest of its file."""
    generator = _generator(settings, classes)
    return generator, training.load_module(generator, path, made_by)


def _generator(settings: Settings, classes: int, pretrained: bool = False) -> MaskGenerator:
    chosen = settings.generator
    return build_generator(
        chosen.name,
        classes,
        chosen.backbone,
        pretrained,
        drop_path=chosen.drop_path,
        fusion_pool=chosen.fusion_pool,
        fusion_reduction=chosen.fusion_reduction,
    )


def load_weights(generator: MaskGenerator, path: Path) -> None:
    """Load a backbone's weights, or a released checkpoint of the whole generator (semples.models.generators)."""
    state, expected = generator.converted(read_weights(path, "generator.weights")), generator.state_dict()
    head = {id(value) for value in generator.map_head().state_dict(keep_vars=True).values()}
    names = {name for name, value in generator.state_dict(keep_vars=True).items() if id(value) in head}
    if not names & set(state):  # a backbone alone: the head stays as it was drawn
        expected = {name: value for name, value in expected.items() if name not in names}
    expect_shapes(state, expected, path, "name weights of the same model in `generator.weights`")
    generator.load_state_dict(state, strict=False)


def load_backbone(backbone: nn.Module, path: Path, key: str) -> None:
    """Load timm weights into a backbone, whatever their classifier head; `key` is the setting that names `path`."""
    tensors = {name: value for name, value in read_weights(path, key).items() if not name.startswith("head.")}
    expect_shapes(tensors, backbone.state_dict(), path, f"name weights of the same model in `{key}`")
    backbone.load_state_dict(tensors)


def read_weights(path: Path, key: str) -> dict[str, torch.Tensor]:
    """Float tensors of a safetensors file or a PyTorch checkpoint (also one that holds them as `model`)."""
    if not path.exists():
        raise SemplesError(path, "no such file", "weights as safetensors or PyTorch checkpoint", f"correct `{key}`")
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
            tensors = tensors.get("model", tensors)
        return {name: value.float() for name, value in tensors.items()}
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, AttributeError) as error:
        raise SemplesError(
            path,
            f"no weights: {str(error).splitlines()[0]}",
            "tensors by name, as safetensors or PyTorch checkpoint",
            f"correct `{key}`",
        ) from error


def used_settings(settings: Settings, *sections: str) -> dict:
    """The named sections as plain values, for provenance."""
    return settings.model_dump(include=set(sections), mode="json")


def load_prompts(path: Path) -> torch.Tensor:
    """Prompt embeddings (classes, phrases, width) that cpl wrote."""
    return load_file(require(path, "cpl"))["embeddings"]
