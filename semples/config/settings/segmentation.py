"""Settings of the segmentation network: what it is, how it learns, how it is asked."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from semples.config.settings.section import Count, Fraction, Positive, Section, Weight

CrfPreset = Literal["weaktr", "irn", "deeplab", "psa", "mini", "none"]


class Segment(Section):
    """The segmentation network, trained on the pseudo masks."""

    labels: Literal["pseudo", "truth"] = "pseudo"
    """What it learns from: the pseudo masks, or the true ones of the training split, an upper bound to compare with."""
    network: Literal["deeplabv3plus", "deeplabv2", "segformer", "upernet", "mask2former"] = "deeplabv3plus"
    """The network (docs/segmentation.md); `mask2former` needs the optional extra of that name."""
    encoder: str = "tu-resnet101"
    """Its encoder: a segmentation-models-pytorch name (`tu-` before a timm name), `vit:<timm name>`, `swin-tiny` ..."""
    weights: str = "imagenet"
    """`imagenet` downloads, a path loads a safetensors file of the encoder, `none` starts at random."""
    decoder_channels: Count = 256
    """Width of the decoder."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Optimiser; the schedule is poly with power 0.9."""
    warmup: Fraction = 0.0
    """Share of the run in which the learning rate first rises linearly."""
    epochs: Count = 28
    """Passes over the training images (28 of 10,582 at batch 10 are the published 30k steps)."""
    batch: Count = 10
    """Images in a forward pass; one alone is learned with its mirror image, as batch normalisation needs two."""
    accumulate: Count = 1
    """Batches whose gradients make one step."""
    lr: Positive = 2.5e-4
    """Learning rate of the encoder."""
    head_lr_factor: Positive = 10.0
    """The decoder learns this many times faster."""
    weight_decay: Weight = 5e-4
    """Weight decay."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of a running average of the weights, which is what is kept; 0 keeps the weights themselves."""
    class_weights: Literal["equal", "balanced"] = "equal"
    """`balanced`: a pixel of a rare class counts more, by median frequency balancing."""
    confidence: bool = False
    """Pixels count by the margin that `crf.confidence` wrote into the folder of pseudo masks."""
    crop: Count = 321
    """Side of the training crop in pixels."""
    scale: tuple[Positive, Positive] = (0.5, 2.0)
    """Random rescaling before the crop."""
    jitter: Fraction = 0.0
    """Strength of random changes of brightness, contrast and saturation, and of a quarter of it in hue."""
    curve_images: Annotated[int, Field(ge=0)] = 50
    """Validation images with masks judged after every epoch, for the curve in metrics.jsonl; it selects nothing."""
    test_size: int | None = None
    """Squash test images to this side; empty keeps their own size."""
    test_scales: list[Positive] = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    """Test scales."""
    test_flip: bool = True
    """Also the mirrored image of every scale."""
    test_window: Count | None = None
    """Side of the window that slides over a scaled test image; empty shows it whole."""
    test_overlap: Annotated[float, Field(ge=0, lt=1)] = 0.33
    """Share of a window's side that neighbouring windows have in common, at least."""
    test_crf: CrfPreset = "none"
    """Dense CRF on the network's probabilities, by the name of its kernels."""

    @field_validator("labels", "confidence")
    @classmethod
    def _confidence_needs_pseudo_masks(cls, value: str | bool, info: ValidationInfo) -> str | bool:
        values = info.data | {info.field_name: value}  # on assignment, all other fields; else those before this one
        if values.get("labels") == "truth" and values.get("confidence"):
            raise ValueError("ground truth has no confidence; remove `confidence`, or set `labels: pseudo`")
        return value
