"""What the learning stages share: the job, the optimiser, and writing what was learned."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.utils.data import DataLoader

from semples.config.settings import Settings, Training
from semples.data.cam_file import CamFile, CamFolder
from semples.data.manifest import Manifest, read_manifest
from semples.data.training_images import Photographs, batches, label_transform
from semples.errors import SemplesError
from semples.files import atomic_path, digest, require
from semples.models.losses import balancing_weights
from semples.provenance import provenance
from semples.training import loop
from semples.training.checkpoint import delete_checkpoint
from semples.weights.generators import own_code
from semples.weights.module_file import save_module


@dataclass(frozen=True)
class LearningJob:
    """One learning command: what it reads, its seed and its output folder."""

    settings: Settings
    stage: str
    seed: int
    manifest: Path
    out: Path

    @property
    def training(self) -> Training:
        """The settings of this stage; joint learns at those of csr."""
        return self.settings.csr if self.stage == "joint" else getattr(self.settings, self.stage)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints; it is no declared output, so Snakemake leaves it after a failure."""
        return self.out / "checkpoints"

    def finish(self) -> None:
        """Delete the checkpoints: the last line of a stage, when all of its outputs lie under their names."""
        delete_checkpoint(self.checkpoints)
        print(f"{self.stage}: {self.out}")

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

    def loader(self, images: Manifest, size: int, cams: CamFile | CamFolder | None = None) -> DataLoader:
        """Batches of augmented images with labels, and with `cams` the maps of their classes, for a learning stage."""
        augment, run = self.training.augment, self.settings.run
        transform = label_transform(size, augment.crop_scale, augment.flip, augment.randaugment, augment.erasing)
        cache = Path(run.cache_folder) if run.cache_folder else None
        later = run.augment_on == "device" and cams is None  # maps are cropped with their image, as it is decoded
        dataset = Photographs(images, transform, run.cache_gb, cams=cams, cache=cache, later=later)
        return batches(dataset, self.training.batch, self.seed, run.workers)


def learn(
    job: LearningJob,
    task: nn.Module,
    loader: DataLoader,
    optimizer: Optimizer,
    used: dict,
    inputs: dict[str, str],
    score: Callable[[], float] | None = None,
    extra_metrics: Callable[[nn.Module], dict[str, float]] | None = None,
    **how,
) -> dict[str, str]:
    """Train, then write model.safetensors and metrics.jsonl into the job's folder; return the file's metadata.

    The checkpoint stays until `job.finish()`: a stage that fails later goes on from it and trains no step again.

    `used` are the settings that matter here, `inputs` digests of what was read; both go into the file's metadata.
    `score` scores the learner after every epoch, and the best epoch is kept; without it, the last. `extra_metrics`
    gives further numbers for the metrics. `how` are fields of `loop.TrainingPlan`: schedule, accumulate, ema.
    """
    run = job.settings.run
    torch.set_num_threads(max(1, run.threads // run.devices))
    made_from = provenance(job.stage, used, seed=str(job.seed), **inputs, **own_code(job.settings))
    plan = loop.TrainingPlan(
        epochs=job.training.epochs,
        seed=job.seed,
        device=run.device,
        precision=job.settings.precision,
        folder=job.checkpoints,
        fingerprint=digest(made_from),
        devices=run.devices,
        compile=run.compile,
        **{"schedule": loop.cosine, **how},
    )
    metrics = loop.fit(task, loader, optimizer, plan, score, extra_metrics)
    save_module(task.learner, job.out / "model.safetensors", made_from)
    with atomic_path(job.out / "metrics.jsonl") as partial:
        partial.write_bytes(metrics.read_bytes())
    return made_from


def adamw(module: nn.Module, settings: Training, fast: nn.Module | None = None, factor: float = 1.0) -> Optimizer:
    """AdamW over what learns, `fast` `factor` times faster; as in timm no decay of norms, biases and class tokens."""
    quick = {id(p) for p in fast.parameters()} if fast is not None else set()
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            kept = parameter.ndim < 2 or name.endswith(("pos_embed", "cls_token"))
            decay = 0.0 if kept else settings.weight_decay
            rate = settings.lr * factor if id(parameter) in quick else settings.lr
            groups.setdefault((rate, decay), []).append(parameter)
    return AdamW(
        [{"params": group, "lr": lr, "weight_decay": decay} for (lr, decay), group in groups.items()],
        eps=1e-8,
        fused=True,
    )


def used_settings(settings: Settings, *sections: str) -> dict:
    """The named sections as plain values, for provenance."""
    return settings.model_dump(include=set(sections), mode="json")


def class_weights(kind: str, images: Manifest) -> torch.Tensor | None:
    """Weights (classes,) of the pairs by class, None where all pairs count alike."""
    return balancing_weights(torch.from_numpy(images.label_matrix())) if kind == "balanced" else None
