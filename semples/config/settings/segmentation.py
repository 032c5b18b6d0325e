"""Settings of the segmentation network: architecture, training, prediction."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from semples.config.settings.section import Count, Fraction, Positive, Section, Weight

CrfPreset = Literal["weaktr", "irn", "deeplab", "psa", "mini", "none"]


class Segment(Section):
    """Segmentation network, trained on the pseudo masks."""

    labels: Literal["pseudo", "truth"] = "pseudo"
    """Train on the pseudo masks, or on the ground truth of the training split (an upper bound)."""
    network: Literal["deeplabv3plus", "deeplabv2", "segformer", "upernet", "mask2former"] = "deeplabv3plus"
    """Architecture (docs/segmentation.md). `mask2former` needs the package transformers."""
    encoder: str = "tu-resnet101"
    """Encoder: a name of segmentation-models-pytorch (`tu-` plus a timm name), `vit:<timm name>`, or `swin-tiny` ..."""
    weights: str = "imagenet"
    """`imagenet` downloads weights of the encoder, a path loads a safetensors file, `none` initialises at random."""
    decoder_channels: Count = 256
    """Width of the decoder."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Optimiser. The schedule is poly with power 0.9."""
    warmup: Fraction = 0.0
    """Fraction of the steps in which the learning rate rises linearly."""
    epochs: Count = 28
    """Passes over the training images (28 passes over 10,582 images at batch 10 are about 30k steps)."""
    batch: Count = 10
    """Images per forward pass. A single image is paired with its mirror image, as batch normalisation needs two."""
    accumulate: Count = 1
    """Batches per step; their gradients are added."""
    lr: Positive = 2.5e-4
    """Learning rate of the encoder."""
    head_lr_factor: Positive = 10.0
    """Learning rate of the decoder, as a multiple of `lr`."""
    weight_decay: Weight = 5e-4
    """Weight decay."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights that is saved. 0 saves the weights themselves."""
    class_weights: Literal["equal", "balanced"] = "equal"
    """`balanced` weighs pixels of rare classes more, by median frequency balancing."""
    confidence: bool = False
    """Weigh every pixel by the margin that `crf.confidence` wrote."""
    crop: Count = 321
    """Side of the training crop in pixels."""
    scale: tuple[Positive, Positive] = (0.5, 2.0)
    """Range of the random scale before the crop."""
    jitter: Fraction = 0.0
    """Strength of random brightness, contrast and saturation; hue changes by a quarter of it."""
    curve_images: Annotated[int, Field(ge=0)] = 50
    """Validation images evaluated after every epoch, for the curve in metrics.jsonl. It selects no epoch."""
    test_size: int | None = None
    """Resize test images to a square of this side in pixels. Empty: every image keeps its size."""
    test_scales: list[Positive] = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    """Image scales in prediction; probabilities are averaged."""
    test_flip: bool = True
    """Add the mirrored image at every scale."""
    test_window: Count | None = None
    """Side in pixels of a window that slides over the scaled image. Empty: the whole image at once."""
    test_overlap: Annotated[float, Field(ge=0, lt=1)] = 0.33
    """Minimum overlap of neighbouring windows, as a fraction of their side."""
    test_crf: CrfPreset = "none"
    """Kernels of the dense CRF on the predicted probabilities; `none` skips it."""

    @field_validator("labels", "confidence")
    @classmethod
    def _confidence_needs_pseudo_masks(cls, value: str | bool, info: ValidationInfo) -> str | bool:
        values = info.data | {info.field_name: value}  # on assignment, all other fields; else those before this one
        if values.get("labels") == "truth" and values.get("confidence"):
            raise ValueError("ground truth has no confidence; remove `confidence`, or set `labels: pseudo`")
        return value

    def downloaded_weights(self) -> str:
        """Return "<library>/<model>" of what `semples weights` downloads for the encoder, "" where it is nothing."""
        if self.weights != "imagenet":
            return ""
        if self.network == "mask2former":
            return f"transformers/{self.encoder}"
        if self.network == "deeplabv2":
            return f"smp/tu-{self.encoder.removeprefix('tu-')}"
        library = "timm" if self.encoder.startswith("vit:") else "smp"
        return f"{library}/{self.encoder.removeprefix('vit:')}"
