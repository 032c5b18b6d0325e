"""The work of each stage on a few images, by networks with random weights: what `semples plan --calibrate` times."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch
from lightning_fabric import Fabric
from torch import nn

from semples.config.settings import Settings
from semples.data.augment import MaskTransform
from semples.data.decoded_cache import decoder
from semples.data.manifest import Manifest
from semples.data.training_images import TrainingBatches, TrainingImages, mask_targets
from semples.inference.cams import batches_of_scores
from semples.inference.segmentation import predict
from semples.models.generators import MaskGenerator
from semples.models.guide import Guide
from semples.models.segment_task import SegmentTask
from semples.models.segmenters import Segmenter
from semples.models.tasks import ClassifyTask, MaskTask, PromptTask
from semples.planning.network_counts import bare_guide
from semples.runtime.cpu import quick_steps
from semples.runtime.devices import make_fabric
from semples.training.job import LearningJob, adamw
from semples.training.prompts import new_bank
from semples.weights.generators import bare_generator


@torch.no_grad()
def stage_work(stage: str, settings: Settings, images: Manifest) -> Callable[[], object]:
    """Return a function that does the work of a stage on all images once.

    Args:
        stage: One that learns, of which it takes a training step, or cams, segment_masks or guide.
        settings: Those of the stage; its batch has all images.
    """
    torch.manual_seed(0)
    fabric, segment, classes = make_fabric(settings.run.device, settings.precision), settings.segment, images.classes
    if stage == "guide":
        return _embeddings(_guide(settings).to(fabric.device), settings.guide.words, len(images))
    if stage.startswith("segment"):
        network = Segmenter(segment.network, segment.encoder, len(classes), segment.decoder_channels)
        if stage == "segment":
            return _step(SegmentTask(network), _mask_batches(settings, images), segment, fabric)
        trained = fabric.setup_module(network.eval())
        return lambda: list(predict(trained, images, segment, settings.cams.batch, fabric.device))
    generator = bare_generator(settings.generator, len(classes))
    if stage == "cams":
        return lambda: list(batches_of_scores(settings, generator, images))
    job = LearningJob(settings, stage, 0, Path(), Path())
    batches = job.batches(images, None)
    return _step(_task(stage, settings, generator, list(classes.texts)), batches, job.training, fabric)


def _guide(settings: Settings) -> Guide:
    clip = bare_guide(settings.guide.model)
    return Guide(clip, open_clip.SimpleTokenizer(context_length=clip.context_length), "imagenet")


def _embeddings(guide: Guide, words: list[str], images: int) -> Callable[[], None]:
    """Return a function that embeds words together and images one by one, as the stage guide does."""
    pixels = torch.zeros(1, 3, guide.image_size, guide.image_size, device=guide.mean.device)

    @torch.no_grad()
    def embed() -> None:
        guide.encode_text(words)
        for _ in range(images):
            guide.encode_image(pixels)

    return embed


def _task(stage: str, settings: Settings, generator: MaskGenerator, texts: list[str]) -> nn.Module:
    """Return the task of a stage that trains a generator or prompts; joint does what csr does, and little more."""
    if stage == "classify":
        return ClassifyTask(generator, head_only=settings.classify.trainable == "head")
    guide = _guide(settings)
    embeddings = guide.encode_text(texts)
    if stage == "cpl":
        bank = new_bank(settings.cpl, embeddings, guide)
        terms = settings.cpl.model_dump(include={"w_text", "text_term", "eps", "final_period"})
        return PromptTask(bank, generator, guide, embeddings, **terms)
    section = settings.slm if stage == "slm" else settings.csr
    prompts = None if stage == "slm" else embeddings.unsqueeze(1)
    head = section.trainable == "head"
    return MaskTask(generator, guide, embeddings, w_bg=1.0, eps=section.eps, prompts=prompts, head_only=head)


def _mask_batches(settings: Settings, images: Manifest) -> TrainingBatches:
    segment, memory_gb = settings.segment, settings.run.cache_gb
    targets = mask_targets(images, memory_gb, list(images.table["mask"]))
    transform = MaskTransform(segment.crop, segment.scale, segment.jitter)
    dataset = TrainingImages(list(images.table["id"]), decoder(images, memory_gb, None), targets, transform)
    return TrainingBatches(dataset, len(images), seed=0, workers=0)


def _step(task: nn.Module, batches: TrainingBatches, training: Any, fabric: Fabric) -> Callable[[], None]:
    """Return a function that takes an epoch of training steps, as semples.training.loop does."""
    wrapped, optimizer = fabric.setup(task.train(), adamw(task.get_submodule("learner"), training))

    def step() -> None:
        for batch in batches.start(0, 0, fabric.device):
            optimizer.zero_grad()
            with quick_steps(fabric.device):
                loss = wrapped(batch)["loss"]
            fabric.backward(loss)
            optimizer.step()

    return step
