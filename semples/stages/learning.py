"""What the learning stages share: models from settings and files, optimiser, and writing what was learned."""

from dataclasses import dataclass
from pathlib import Path

import torch
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
    """The generator that the settings name, with ImageNet weights where they say so."""
    chosen = settings.generator
    timm_weights = chosen.weights == "timm" and chosen.name == "vit_cam"
    generator = build_generator(chosen.name, classes, chosen.backbone, pretrained=timm_weights)
    if chosen.weights not in ("timm", "none"):
        load_backbone(generator.vit, Path(chosen.weights), "generator.weights")
    return generator


def trained_generator(settings: Settings, classes: int, path: Path, made_by: str) -> tuple[MaskGenerator, str]:
    """The generator as a former stage left it, and the digest of its file."""
    chosen = settings.generator
    generator = build_generator(chosen.name, classes, chosen.backbone)
    return generator, training.load_module(generator, path, made_by)


def load_backbone(backbone: nn.Module, path: Path, key: str) -> None:
    """Load timm weights from a safetensors file, whatever their classifier head."""
    if not path.exists():
        raise SemplesError(path, "no such file", "weights in safetensors format", f"correct `{key}`")
    tensors = {name: value.float() for name, value in load_file(path).items() if not name.startswith("head.")}
    expected = backbone.state_dict()
    for name, value in expected.items():
        found = tuple(tensors[name].shape) if name in tensors else "nothing"
        if found != tuple(value.shape):
            raise SemplesError(
                path,
                f"{name}: {found}",
                f"{name}: {tuple(value.shape)}",
                f"name weights of the same model in `{key}`",
            )
    backbone.load_state_dict({name: tensors[name] for name in expected})


def used_settings(settings: Settings, *sections: str) -> dict:
    """The named sections as plain values, for provenance."""
    return settings.model_dump(include=set(sections), mode="json")


def load_prompts(path: Path) -> torch.Tensor:
    """Prompt embeddings (classes, phrases, width) that cpl wrote."""
    return load_file(require(path, "cpl"))["embeddings"]
