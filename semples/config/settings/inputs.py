"""Settings of how a job runs, of the photographs, of the guide and of the mask generator."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from semples.config.settings.section import Count, Fraction, Section, Weight


class Run(Section):
    """How a job runs. Nothing here changes a result, so a change here reruns nothing."""

    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `mps`."""
    devices: Count = 1
    """GPUs of a learning job, which share every batch; on the CPU, processes."""
    compile: bool = False
    """Compile the training step with torch.compile: minutes at the start, then fewer and larger GPU kernels."""
    threads: Count = 2
    """CPU threads of a learning or inference job, all its devices together, or its processes."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that decode images, for each device; 0 decodes in the job itself."""
    shards: Count = 1
    """Jobs that share the images in cams and in crf; each is made anew by itself. Another number makes both anew."""
    augment_on: Literal["loader", "device"] = "loader"
    """Images that train a generator or prompts are augmented where they are decoded, or on the device."""
    cache_gb: Weight = 2.0
    """Decoded training images are kept in memory up to this size, in each process that decodes."""
    cache_folder: str = ""
    """A larger set is kept decoded in a file of this folder, 3 bytes a pixel; empty: it is decoded anew each epoch."""


class Data(Section):
    """Which photographs."""

    source: Literal["mini", "voc", "coco", "photos"] = "mini"
    """The importer: the built-in miniature world, PASCAL VOC 2012, COCO 2014, or photographs of your own."""
    root: str = ""
    """Folder of the data set (`photos`: or its table), never changed. Empty: the workflow downloads `voc`, `coco`."""
    train: str = "train"
    """Split that trains and that the CAMs and pseudo masks are made of."""
    val: str = "val"
    """Split that the segmentation network is judged on."""
    test: str = "test"
    """Split without masks that `submission` predicts, for VOC's test server."""
    texts: dict[str, str] = {}
    """Words that name a class in prompts, by class, where the importer's own should not be used."""
    unreadable: Literal["error", "left_out"] = "error"
    """What becomes of an image that cannot be read: an error, or it is left out (then every image is decoded once)."""
    max_side: Count | None = None
    """Larger photographs are worked on as copies with this longer side, in pixels; empty: at their own size."""
    difficult: Literal["included", "excluded"] = "included"
    """`voc` only: objects marked difficult give labels (as in the public label tables), or do not."""
    sbd: str = ""
    """`voc` only: folder with `cls/*.mat` of SBD, for masks of train_aug where there is no SegmentationClassAug."""
    crowd: Literal["void", "object", "left_out"] = "void"
    """`coco` only: crowd regions give a label and void pixels, a label and object pixels, or nothing."""
    classes: str = ""
    """`photos` only: CSV with the columns name and, if you like, text and colour; empty: the labels, sorted."""
    val_fraction: Fraction = 0.2
    """`photos` only: share of the images without a split that validate; 0 puts every image into both splits."""
    scenes: dict[str, Count] = {"train": 1500, "val": 300}
    """`mini` only: pictures drawn for each split."""
    seed: int = 0
    """Seed of the drawing (`mini`) and of the split (`photos`)."""


class Download(Section):
    """Fetching VOC 2012 and COCO 2014 where `data.root` is empty. Nothing here changes a result."""

    mirrors: dict[str, list[str]] = {}
    """Addresses to try before the built-in ones, by file name of the archive (docs/datasets.md lists them)."""
    attempts: Count = 5
    """Times that one address is tried while it answers with a passing trouble."""


class GuideSettings(Section):
    """The frozen image-text model."""

    model: str = "mini"
    """`mini` (shipped), an open_clip model name, `hf-hub:<id>`, or `local-dir:<folder>`."""
    pretrained: str | None = None
    """open_clip's pretrained tag, for a model name."""
    template: str = "a photo of {}."
    """Sentence a class is named with."""
    normalisation: Literal["guide", "imagenet"] = "guide"
    """Pixel statistics the guide is fed with; `imagenet` is the published code's quirk."""
    fill: Literal["mean", "black", "white"] = "mean"
    """Colour of what a mask leaves out; `mean` is that of the statistics."""
    templates: list[str] = []
    """Class names are embedded as the mean over these sentences, where there are any, instead of `template` alone."""
    centre: Literal["none", "images", "both"] = "none"
    """Take from images' embeddings their mean over training images, and with `both` from texts' that over words."""
    sha256: str = ""
    """Digest that the file of weights must have; empty: any."""
    words: list[str] = []
    """Words that learned prompts are read out in; empty: the package's own list."""


GENERATORS = ("weaktr", "vit_cam", "resnet_cam", "conv_cam")


class Generator(Section):
    """The mask generator."""

    name: str = "weaktr"
    """`weaktr` (the paper's), `vit_cam`, `resnet_cam`, `conv_cam` (small, for `mini`), or your own `file.py:Class`."""
    backbone: str = "deit_small_patch16_224"
    """timm model name: a ViT for `weaktr` and `vit_cam`, a ResNet for `resnet_cam`."""
    weights: str = "timm"
    """`timm` downloads ImageNet weights, `none` starts at random, a path loads a backbone or a released checkpoint."""
    image_size: Count = 224
    """Side of the training crop in pixels."""
    drop_path: Fraction = 0.1
    """Stochastic depth of a transformer while it trains."""
    fusion_pool: Literal["max", "avg"] = "max"
    """`weaktr`: how attention outputs are pooled over tokens (WeakTr: `max` for VOC, `avg` for COCO)."""
    fusion_reduction: Count = 8
    """`weaktr`: the fusion's hidden layer is this many times narrower (WeakTr: 8 for VOC, 4 for COCO)."""
    sharpness: Weight = 0.0
    """`vit_cam`: logits are the log-mean-exp of the patches' scores times this, over this; 0 is their mean."""
    activation: Literal["relu", "sigmoid"] = "relu"
    """`resnet_cam`: what makes maps of scores."""
    options: dict[str, Any] = {}
    """Further arguments of your own generator's class."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in GENERATORS and not re.search(r"\.py:\w+$", name):
            raise ValueError(f"expected one of {', '.join(GENERATORS)}, or path/to/file.py:Class")
        return name

    def own_file(self) -> Path | None:
        """The Python file of a user's own generator."""
        return None if self.name in GENERATORS else Path(self.name.rpartition(":")[0])
