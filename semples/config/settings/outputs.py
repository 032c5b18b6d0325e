"""Settings of CAMs, pseudo masks, the segmentation network, evaluation, figures and tables."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from semples.config.settings import types

Border = Literal["reflect", "cut"]
BACKGROUND_WORDS = [
    *("ground", "land", "grass", "tree", "building", "wall", "sky", "lake", "water", "river", "sea", "railroad"),
    *("road", "rock", "street", "bridge", "mountain", "sand", "snow", "floor", "fence"),
]
Column = Literal["cams", "refine", "crf", "segment"]
CrfPreset = Literal["weaktr", "irn", "deeplab", "psa", "mini", "none"]


class Cams(types.Section):
    """CAM inference, and the file of CAMs."""

    scales: types.Scales = [1.0, 1.2]
    """Image scales; CAMs are summed over them."""
    flip: bool = True
    """Add the mirrored image at every scale."""
    resize: types.Side | None = None
    """Resize every image to a square of this side in pixels. Empty: every image keeps its size."""
    border: Border = "reflect"
    """How sides become whole patches: `reflect` mirrors the border and leaves out its maps; `cut` cuts the remainder
    off, stretches the maps over the image, and resizes other scales with Pillow, as the published code."""
    stride: types.Few = 4
    """Image pixels per stored pixel, along each side."""
    dtype: Literal["uint8", "float16", "float32"] = "float16"
    """Type of the stored scores; `uint8` has steps of 1/255."""
    batch: types.Count = 64
    """Images of equal size per forward pass. On a CPU, fewer if they are large."""
    fuse: Literal["none", "product", "mean"] = "none"
    """Fuse every map with the guide's own map of its class (`guide_maps`): by the weighted geometric mean (`product`)
    or the weighted `mean` of the two. With `masks_from: guide` this does nothing."""
    fuse_weight: types.Fraction = 0.5
    """Weight of the guide's map in the fusion. At 1 it is the guide's map, at 0 it stays as it is."""


class GuideMaps(types.Section):
    """Maps of the known labels straight from the guide, for `masks_from: guide`; nothing is trained."""

    kind: Literal["gradcam", "patches", "self_similarity"] = "gradcam"
    """`gradcam`: gradient of the class at the last block (CLIP-ES). `patches`: tokens of the last block's values
    (MaskCLIP). `self_similarity`: patches attend to similar patches (SCLIP)."""
    target: Literal["softmax", "cosine"] = "softmax"
    """`gradcam`: probability of a label among labels and background words, or its cosine."""
    background: list[types.Text] = BACKGROUND_WORDS
    """Words that compete with the labels. A word that is the name of a class does not."""
    affinity_blocks: Annotated[int, types.NUMBER, Field(ge=0, le=100)] = 8
    """Smooth maps by the attention of so many of the last blocks (CLIP-ES: 8). 0 does not."""
    scales: types.Scales = [1.0]
    """Image scales. At 1 the guide sees the whole image; at larger ones tiles of its input size."""
    overlap: types.BelowOne = 0.5
    """Minimum overlap of neighbouring tiles, as a fraction of their side."""
    flip: bool = True
    """Add the mirrored image at every scale."""


class Foreign(types.Section):
    """Maps of another method, for `masks_from: foreign`."""

    path: types.FilePath = ""
    """Folder of <id>.npy, of <id>/<class>.png, or of finished masks <id>.png; or an HDF5 file (docs/foreign.md).
    `{seed}` stands for the random seed, if there are maps for each."""
    maps: Literal["auto", "all"] = "auto"
    """Arrays: `all` says that they hold every class, where they could hold background and labels."""

    def file(self, seed: int | str) -> str:
        """Return the path of the maps for a seed."""
        return self.path.replace("{seed}", str(seed))


class Threshold(types.Section):
    """Background threshold of the pseudo masks."""

    policy: Literal["fixed", "oracle", "held-out", "label-free"] = "fixed"
    """`fixed`: the value below. `oracle`: the best on the ground truth of the split, which WSSS does not have.
    `held-out`: the best on the ground truth of a fraction. `label-free`: Otsu's threshold of the scores, no masks."""
    value: types.Fraction = 0.45
    """`fixed` only: score below which a pixel is background."""


class Crf(types.Section):
    """Dense CRF."""

    preset: CrfPreset = "weaktr"
    """Published kernels by name; `mini` is for 64-pixel images, `none` skips the CRF."""
    iterations: types.Few = 10
    """Mean-field iterations."""
    threshold: Threshold = Threshold()
    """Background threshold of the masks that enter the CRF."""
    margin: types.Fraction = 0.0
    """Pixels become 255 (ignored in training) where the two largest label probabilities differ by less than this."""
    confidence: bool = False
    """Write this difference of every pixel, times 255, as a grey PNG into `confidence/` in the folder of masks."""


class Segment(types.Section):
    """Segmentation network, trained on the pseudo masks."""

    labels: Literal["pseudo", "truth"] = "pseudo"
    """Train on the pseudo masks, or on the ground truth of the training split (an upper bound)."""
    network: Literal["deeplabv3plus", "deeplabv2", "segformer", "upernet", "mask2former", "none"] = "deeplabv3plus"
    """Architecture (docs/segmentation.md). `mask2former` needs the package transformers. `none` trains none: the run
    ends with the pseudo masks."""
    encoder: types.ModelName = "tu-resnet101"
    """Encoder: a name of segmentation-models-pytorch (`tu-` plus a timm name), `vit:<timm name>`, or `swin-tiny` ..."""
    weights: Annotated[types.FilePath, types.path_or("imagenet", "none")] = "imagenet"
    """`imagenet` downloads weights of the encoder, a path loads a safetensors file, `none` initialises at random."""
    decoder_channels: types.Count = 256
    """Width of the decoder."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Optimiser. The schedule is poly with power 0.9."""
    warmup: types.BelowOne = 0.0
    """Fraction of the steps in which the learning rate rises linearly."""
    epochs: types.Count = 28
    """Passes over the training images (28 passes over 10,582 images at batch 10 are about 30k steps)."""
    batch: types.Count = 10
    """Images per step."""
    accumulate: types.Count = 1
    """Parts of a batch that are computed one after another, for less memory; their gradients make one step. Batch
    normalisation sees the images of one part; a single one is paired with its mirror image."""
    lr: types.Rate = 2.5e-4
    """Learning rate of the encoder."""
    head_lr_factor: types.Positive = 10.0
    """Learning rate of the decoder, as a multiple of `lr`."""
    weight_decay: types.Weight = 5e-4
    """Weight decay."""
    ema: types.BelowOne = 0.0
    """Decay of the moving average of the weights that is saved. 0 saves the weights themselves."""
    class_weights: Literal["equal", "balanced"] = "equal"
    """`balanced` weighs pixels of rare classes more, by median frequency balancing."""
    confidence: bool = False
    """Weigh every pixel by the margin that `crf.confidence` wrote."""
    crop: types.Side = 321
    """Side of the training crop in pixels."""
    scale: Annotated[tuple[types.Scale, types.Scale], types.ORDERED] = (0.5, 2.0)
    """Range of the random scale before the crop."""
    jitter: types.Fraction = 0.0
    """Strength of random brightness, contrast and saturation; hue changes by a quarter of it."""
    curve_images: types.Whole = 50
    """Validation images evaluated after every epoch, for the curve in metrics.jsonl. It selects no epoch."""
    test_size: types.Side | None = None
    """Resize test images to a square of this side in pixels. Empty: every image keeps its size."""
    test_scales: types.Scales = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    """Image scales in prediction; probabilities are averaged."""
    test_flip: bool = True
    """Add the mirrored image at every scale."""
    test_window: types.Side | None = None
    """Side in pixels of a window that slides over the scaled image. Empty: the whole image at once."""
    test_overlap: types.BelowOne = 0.33
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


class Evaluate(types.Section):
    """Evaluation against ground truth."""

    thresholds: Annotated[int, types.NUMBER, Field(ge=2, le=1000)] = 100
    """Number of background thresholds of the curve, evenly spaced from 0 up to, not including, 1."""
    held_out: types.Share = 0.1
    """Fraction of the images with masks that choose the `held-out` threshold; it is evaluated on the others."""


class Figures(types.Section):
    """Figures with example images."""

    images: types.Few = 8
    """Images per panel, drawn at random from the split."""
    seed: types.Seed = 0
    """Random seed of the draw."""


class Table(types.Section):
    """A table: its rows are variants, its columns measures. Only stages that the columns need are run."""

    title: str
    """Title."""
    rows: dict[str, str] = {}
    """Labels of the rows, by name in `experiments` or `variants`. Empty label: the name."""
    sweeps: dict[str, Annotated[list[bool | float | str], Field(min_length=1), types.DISTINCT]] = {}
    """Values to try, by setting, written `section.key`; a row per value."""
    columns: Annotated[list[Column], Field(min_length=1), types.DISTINCT] = ["cams"]
    """`cams` evaluates CAMs, `refine` refined CAMs of the rows that have them, `crf` pseudo masks, `segment` the
    segmentation network on `data.val`."""
    seeds: types.Count | None = None
    """Number of seeds, the first of the run. Empty: all of them."""
    settings: dict = {}
    """Settings that differ in all rows of this table, for example fewer epochs; the legend names them."""
    published: bool = False
    """Add published numbers of other methods below the rows, if there are any for the data set."""
    note: str = ""
    """Sentence for the legend."""
