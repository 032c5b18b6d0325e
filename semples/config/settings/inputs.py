"""Settings of jobs, images, guide and mask generator."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from semples.config.settings import types


class Run(types.Section):
    """How jobs run. Changing these keys triggers no rerun, except for `shards`."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """`cpu`, `cuda`, `mps`, or `auto`: a GPU where there is one."""
    devices: types.Few = 1
    """GPUs that share every batch of a training job; on the CPU, processes."""
    compile: Literal["auto"] | bool = "auto"
    """Compile training steps with torch.compile, which takes minutes at the start. `auto`: on CUDA alone."""
    checkpointing: bool = False
    """Activation checkpointing of the transformer blocks of guide and generator: less memory, one more forward pass."""
    threads: types.Few = 2
    """CPU threads or processes of a job, for all its devices together."""
    workers: Annotated[int, types.NUMBER, Field(ge=0, le=1024)] = 0
    """Processes per device that decode images. 0 decodes in the process of the job."""
    shards: Annotated[int, types.NUMBER, Field(ge=1, le=10_000)] = 1
    """Jobs that share the images of cams and crf; a failed job reruns alone. Changing it reruns both stages."""
    augment_on: Literal["auto", "loader", "device"] = "auto"
    """Where training images are augmented: in the loader, or on the device. `auto`: on the device if it is CUDA."""
    decode_on: Literal["loader", "device"] = "loader"
    """Where JPEG files are decoded that are not kept decoded: in the loader, or on the device, in training with
    augmentation there. CUDA decodes them with nvJPEG, whose pixels may differ in rounding."""
    cache_gb: types.Weight = 2.0
    """Gigabytes of decoded training images that each decoding process keeps in memory."""
    cache_folder: types.FilePath = ""
    """Folder for a file of decoded images (3 bytes a pixel) if they exceed `cache_gb`, and for features of a frozen
    backbone. Empty: both are computed in every epoch."""
    skipped_steps: types.Count = 10
    """Steps in a row with a loss or gradient that is not finite, after which a training ends with an error."""


class Data(types.Section):
    """The data set."""

    source: Literal["mini", "voc", "coco", "photos"] = "mini"
    """Importer: the built-in miniature, PASCAL VOC 2012, COCO 2014, or your own photographs."""
    root: types.FilePath = ""
    """Folder of the data set (`photos`: or its table). It is never changed. Empty: `voc` and `coco` are downloaded."""
    train: types.SplitName = "train"
    """Split for training, CAMs and pseudo masks."""
    val: types.SplitName = "val"
    """Split on which the segmentation network is evaluated."""
    test: types.SplitName = "test"
    """Split without masks that `submission` predicts for the VOC test server."""
    texts: dict[str, types.Text] = {}
    """Words for a class in prompts, by class name, instead of the importer's."""
    unreadable: Literal["error", "left_out"] = "error"
    """Images that cannot be used (unreadable, mask of another size) are an `error`, or are `left_out`."""
    decode_check: bool = True
    """Decode every image and mask once when the manifest is made. False reads headers alone, for known data sets."""
    masks: Literal["indices", "object", "colours", "from_one"] = "indices"
    """Values of masks: `indices` (0 background, k class k, 255 void), `object` (bright pixels show the only label),
    `colours` (those of classes.csv, background black), `from_one` (1 background, k + 1 class k, 0 and 255 void)."""
    white: types.Positive | None = None
    """White in pictures of more than 8 bits, such as 4095 for 12 bits. Empty: 65535; dark or float ones are errors."""
    max_side: Annotated[int, types.NUMBER, Field(ge=8, le=32_768)] | None = None
    """Longest side in pixels; larger images are replaced by downscaled copies. Empty: every image keeps its size."""
    difficult: Literal["included", "excluded"] = "included"
    """`voc` only: whether objects marked difficult count for labels, as they do in the public label tables."""
    sbd: types.FilePath = ""
    """`voc` only: SBD folder with `cls/*.mat`, for masks of train_aug where SegmentationClassAug is missing."""
    crowd: Literal["void", "object", "left_out"] = "void"
    """`coco` only: crowd regions give a label and void pixels, a label and object pixels, or neither."""
    overlap: Literal["smallest", "first"] = "smallest"
    """`coco` only: object that has the pixels of several: the `smallest`, or the `first` in the file (published)."""
    classes: types.FilePath = ""
    """`photos` only: CSV with the column name and, optionally, text and colour. Empty: the labels, sorted."""
    separator: str = ""
    """`photos` only: what separates labels in a cell, such as `,`. Empty: `;`, unless a label may be several."""
    val_fraction: types.BelowOne = 0.2
    """Fraction of the images without a split that go to val. 0 puts every image into both splits."""
    scenes: dict[types.SplitName, types.Count] = {"train": 1500, "val": 300}
    """`mini` only: number of images drawn for each split."""
    seed: types.Seed = 0
    """Random seed of the drawn images (`mini`) or of the split (`photos`)."""


class Download(types.Section):
    """Downloads of VOC 2012 and COCO 2014, where `data.root` is empty. These keys change no result."""

    mirrors: dict[str, list[Annotated[str, types.matching(r"\w+://\S+", "a URL")]]] = {}
    """URLs to try before the built-in ones, by file name of the archive (listed in docs/datasets.md)."""
    attempts: types.Few = 5
    """Attempts per URL on transient errors (408, 425, 429, 5xx)."""


class GuideSettings(types.Section):
    """The guide: a frozen image-text model (CLIP)."""

    model: types.GuideName = "mini"
    """`mini` (part of the package), an open_clip model name, `hf-hub:<id>`, or `local-dir:<folder>`."""
    pretrained: types.FilePath | None = None
    """Pretrained tag of open_clip, for a model name."""
    template: types.Sentence = "a photo of {}."
    """Sentence for the name of a class, which replaces {}."""
    normalisation: Literal["guide", "imagenet"] = "guide"
    """Mean and standard deviation that normalise the guide's input: its own, or ImageNet's as in the published code."""
    fill: Literal["mean", "black", "white"] = "mean"
    """Colour of masked pixels; `mean` is the mean of the normalisation."""
    align_corners: bool = False
    """Resize maps to the guide's input with the corner pixels aligned, as the published code."""
    templates: list[types.Sentence] = []
    """Sentences that replace `template`; a class is the mean of its embeddings in them."""
    centre: Literal["none", "images", "both"] = "none"
    """Subtract the mean embedding of training images from image embeddings; with `both`, that of words from texts."""
    sha256: Annotated[str, types.matching("([0-9a-fA-F]{64})?", "64 hexadecimal digits")] = ""
    """SHA-256 that the file of weights must have. Empty: not checked."""
    words: list[types.Text] = []
    """Vocabulary in which learned prompts are described. Empty: the list of the package."""


GENERATORS = ("weaktr", "vit_cam", "frozen_vit", "resnet_cam", "conv_cam")
_GENERATOR = f"one of {', '.join(GENERATORS)}, or path/to/file.py:Class"


class Generator(types.Section):
    """The mask generator."""

    name: Annotated[types.FilePath, types.matching(rf"{'|'.join(GENERATORS)}|.+\.py:\w+", _GENERATOR)] = "weaktr"
    """`weaktr` (as in the paper), `vit_cam`, `frozen_vit` (a backbone that never learns), `resnet_cam`, `conv_cam` (for
    `mini`), or your own `file.py:Class`."""
    backbone: types.ModelName = "deit_small_patch16_224"
    """timm model: a ViT for `weaktr`, `vit_cam` and `frozen_vit` (DINOv2, CLIP, ... too), a ResNet for `resnet_cam`."""
    weights: Annotated[types.FilePath, types.path_or("timm", "none")] = "timm"
    """`timm` downloads timm's weights, `none` initialises at random, a path loads a backbone or a whole generator."""
    image_size: types.Side = 224
    """Side of the training crop in pixels."""
    drop_path: types.BelowOne = 0.1
    """Stochastic depth rate of a transformer in training."""
    fusion_pool: Literal["max", "avg"] = "max"
    """`weaktr`: pooling of attention outputs over tokens (WeakTr uses `max` for VOC and `avg` for COCO)."""
    fusion_reduction: types.Few = 8
    """`weaktr`: factor by which the hidden layer of the fusion is narrower (WeakTr uses 8 for VOC and 4 for COCO)."""
    position_resize: Literal["to_size", "by_factor"] = "to_size"
    """`weaktr`: resize the position embedding to the grid of patches, or by the published (patches + 0.1) / grid."""
    sharpness: types.Weight = 0.0
    """`vit_cam`, `frozen_vit`: sharpness s of the pooling log(mean(exp(s * score))) / s over patches. 0: their mean."""
    activation: Literal["relu", "sigmoid"] = "relu"
    """`resnet_cam`: activation that turns scores into maps."""
    layers: Annotated[list[types.Few], types.DISTINCT] = []
    """`frozen_vit`: transformer blocks that the head reads, counted from 1. Empty: the last four."""
    options: dict[str, Any] = {}
    """Further arguments of your own generator class."""

    def own_file(self) -> Path | None:
        """Return the Python file of a user's own generator, None for a built-in one."""
        return None if self.name in GENERATORS else Path(self.name.rpartition(":")[0])

    def downloaded_weights(self) -> str:
        """Return "timm/<backbone>" where `semples weights` downloads what the generator starts from, else ""."""
        has_backbone = self.name in GENERATORS and self.name != "conv_cam"
        return f"timm/{self.backbone}" if self.weights == "timm" and has_backbone else ""

    def frozen(self) -> bool:
        """Return whether the head alone learns, whatever `trainable` says."""
        return self.name == "frozen_vit"
