"""The job of a learning stage, its optimiser, and the outputs of its training."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from semples.config.settings import Segment, Settings, Training
from semples.data.augment import label_transform
from semples.data.cam_file import CamFile
from semples.data.decoded_cache import decoder
from semples.data.foreign_maps import CamFolder
from semples.data.manifest import Manifest, read_manifest
from semples.data.training_images import TrainingBatches, TrainingImages, label_targets
from semples.errors import SemplesError
from semples.files import atomic_path, digest, require
from semples.models.generators import MaskGenerator
from semples.models.guide import Guide
from semples.models.losses import balancing_weights
from semples.provenance import machine, provenance
from semples.training import loop
from semples.training.checkpoint import BEST, DAMAGED, LAST, PREVIOUS
from semples.training.feature_cache import cached_features
from semples.weights.generators import own_code, save_module


@dataclass(frozen=True)
class LearningJob:
    """One learning command: its settings, seed, manifest and output folder."""

    settings: Settings
    stage: str
    seed: int
    manifest: Path
    out: Path

    @property
    def training(self) -> Training:
        """Settings of the training of this stage; joint uses those of csr."""
        return self.settings.csr if self.stage == "joint" else getattr(self.settings, self.stage)

    def finish(self) -> None:
        """Delete the checkpoints; call it when all outputs of the stage are written."""
        for name in (LAST, PREVIOUS, BEST, DAMAGED):
            (self.out / "checkpoints" / name).unlink(missing_ok=True)

    def images(self) -> Manifest:
        """Return the labelled images of the training split; the image files exist."""
        manifest = read_manifest(self.manifest).split(self.settings.data.train)
        labelled = manifest.with_labels()
        if len(labelled) == 0:
            raise SemplesError(self.manifest, "no image with a label", "image-level labels", "label some images")
        if unlabelled := len(manifest) - len(labelled):
            print(f"{unlabelled} of {len(manifest)} images have no label and are left out")
        for path in labelled.table["image"]:
            require(Path(path), "data")
        return labelled

    def batches(
        self, images: Manifest, generator: MaskGenerator | None, cams: CamFile | CamFolder | None = None
    ) -> TrainingBatches:
        """Return augmented batches of squares with labels, and with `cams` maps of their classes.

        With cached features of a `generator` batches have these too; then those of classify have no images.
        """
        size = self.settings.generator.image_size
        augment, run = self.training.augment, self.settings.run
        transform = label_transform(size, augment.crop_scale, augment.flip, augment.randaugment, augment.erasing)
        folder = Path(run.cache_folder) if run.cache_folder else None
        cuda = run.device in ("auto", "cuda") and torch.cuda.is_available()
        encoded = run.decode_on == "device"
        on_device = run.augment_on == "device" or (run.augment_on == "auto" and (cuda or encoded))
        on_device &= cams is None  # maps are cropped with their image, as it is decoded
        features = cached_features(generator, images, self.settings, augment)
        pictures = not (features and self.stage == "classify")
        read = decoder(images, run.cache_gb, folder, encoded and on_device) if pictures else None
        ids, targets = list(images.table["id"]), label_targets(images, cams)
        dataset = TrainingImages(ids, read, targets, transform, on_device, features)
        return TrainingBatches(dataset, self.training.batch, self.seed, run.workers)


def learn(
    job: LearningJob, task: nn.Module, batches: TrainingBatches, optimizer: Optimizer, used: dict, inputs: dict, **plan
) -> dict[str, str]:
    """Train; write metrics.jsonl and model.safetensors into the job's folder; return the provenance in the latter.

    The checkpoint stays until `job.finish()`: a stage that fails later goes on from it and trains no step again.
    Args:
        used: Settings that matter for the result.
        inputs: Digests of the files that were read, by name.
        plan: Fields of `loop.TrainingPlan`: schedule (that of the settings), ema, score, extra_metrics.
    """
    run = job.settings.run
    torch.set_num_threads(max(1, run.threads // run.devices))
    set_checkpointing(task, run.checkpointing)
    made_from = provenance(job.stage, used, seed=str(job.seed), **inputs, **own_code(job.settings))
    names = ("device", "devices", "compile", "checkpointing", "skipped_steps")
    plan = {"schedule": learning_rate_factor(job.training), **{name: getattr(run, name) for name in names}} | plan
    plan |= {"stage": job.stage, "seed": job.seed, "precision": job.settings.precision}
    plan |= job.training.model_dump(include={"epochs", "accumulate"})
    folder = job.out / "checkpoints"  # no declared output: Snakemake leaves it after a failure
    # settings that only evaluate may be mended after a failure, and another machine may go on
    learned = {key: {k: v for k, v in used[key].items() if not k.startswith(("test_", "curve_"))} for key in used}
    plan |= {"folder": folder, "fingerprint": digest({**made_from, "settings": learned})}
    made_from |= machine(run.threads, run.device)
    metrics = loop.fit(task, batches, optimizer, loop.TrainingPlan(**plan))
    save_module(task.get_submodule("learner"), job.out / "model.safetensors", made_from)
    with atomic_path(job.out / "metrics.jsonl") as partial:
        partial.write_bytes(metrics.read_bytes())
    print(f"{job.stage}: {job.out / 'model.safetensors'}")
    return made_from


def set_checkpointing(task: nn.Module, enable: bool) -> None:
    """Switch activation checkpointing of the guide and the generator in a task."""
    for part in task.modules():
        if isinstance(part, (Guide, MaskGenerator)):
            part.set_checkpointing(enable)


def learning_rate_factor(training: Training | Segment) -> Callable[[float], float]:
    """Return the learning-rate factor that the settings describe, that of DeepLab for a segmentation network."""
    if isinstance(training, Segment):
        return loop.warmed_up(loop.poly, training.warmup)
    schedule, rate = training.schedule, training.lr
    fractions = schedule.warmup_lr / rate, schedule.least_lr / rate
    return loop.cosine_by_epochs(training.epochs, schedule.change == "epoch", schedule.warmup_epochs, *fractions)


def adamw(module: nn.Module, settings: Training | Segment, fast: nn.Module | None = None, factor: float = 1) -> AdamW:
    """Return AdamW over the parameters that learn; its part `fast` learns `factor` times faster.

    As in timm, norms, biases and class tokens do not decay, unless the settings say `decays: all`.
    """
    fast_ids = {id(parameter) for parameter in fast.parameters()} if fast is not None else set()
    all_decay = isinstance(settings, Training) and settings.decays == "all"
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            spared = not all_decay and (parameter.ndim < 2 or name.endswith(("pos_embed", "cls_token")))
            decay = 0.0 if spared else settings.weight_decay
            rate = settings.lr * factor if id(parameter) in fast_ids else settings.lr
            groups.setdefault((rate, decay), []).append(parameter)
    rows = [{"params": group, "lr": lr, "weight_decay": decay} for (lr, decay), group in groups.items()]
    return AdamW(rows, eps=1e-8, fused=True)


def used_settings(settings: Settings, *sections: str) -> dict:
    """Return the named sections as plain values, for provenance."""
    return settings.model_dump(include=set(sections), mode="json")


def class_weights(kind: str, images: Manifest) -> torch.Tensor | None:
    """Return weights (classes,) that balance the pairs by class; None unless `kind` is "balanced"."""
    return balancing_weights(torch.from_numpy(images.label_matrix())) if kind == "balanced" else None
