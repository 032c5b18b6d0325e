"""The settings: typed, with a range and a description on every field. semples.config reads them."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Unknown keys are errors, and values are checked on assignment."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Run(Section):
    """How a job runs. Nothing here changes a result, so a change here reruns nothing."""

    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `mps`."""
    threads: Count = 2
    """CPU threads of a learning or inference job, or its processes."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that decode images; 0 decodes in the job itself."""
    cache_gb: Weight = 2.0
    """Decoded training images are kept in memory up to this size; a larger set is decoded anew each epoch."""


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


class Guide(Section):
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
    centre: bool = False
    """Take the mean embedding of the training images from every image's: what all share says nothing of a class."""
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


class Augment(Section):
    """Augmentation of the images that train a generator or the prompts."""

    crop_scale: tuple[Fraction, Fraction] = (0.08, 1.0)
    """Area of the random crop as a share of the image; (1, 1) squashes the whole image into the square."""
    flip: Fraction = 0.5
    """Probability of a horizontal flip."""
    randaugment: Annotated[int, Field(ge=0, le=10)] = 0
    """RandAugment magnitude on timm's scale of 0 (none) to 10."""
    erasing: Fraction = 0.0
    """Probability of random erasing."""


class Training(Section):
    """What every trained stage has."""

    epochs: Count = 60
    """Passes over the training images."""
    batch: Count = 64
    """Images in a step."""
    lr: Positive = 6.4e-5
    """Learning rate at the start, as the optimiser gets it (published values times batch / 512)."""
    weight_decay: Weight = 0.03
    """AdamW weight decay."""
    augment: Augment = Augment(randaugment=9, erasing=0.25)
    """Augmentation."""


class Classify(Training):
    """The multi-label classifier whose maps everything starts from."""

    epochs: Annotated[int, Field(ge=0)] = 60
    """Passes over the training images; 0 takes the generator as its weights make it (a released checkpoint)."""
    lr: Positive = 7.5e-5
    """Learning rate of the backbone."""
    head_lr_factor: Positive = 1.0
    """The head learns this many times faster than the backbone."""
    batch: Count = 64
    """Images in a step."""


class SegmentLabel(Training):
    """Segment-label matching: `-log s(X_fg, t) - w_bg log(1 - s(X_bg, t))`."""

    w_bg: Weight = 2.4
    """Weight of the background term."""
    eps: Positive = 0.1
    """Added to the range of a map in its min-max scaling."""
    trainable: Literal["head", "all"] = "head"
    """Parameters of the generator that learn."""
    w_area: Weight = 0.0
    """Weight of the masks' mean area (CLIMS)."""
    w_class: Weight = 0.0
    """Weight of the classifier's loss, kept while the masks learn."""
    class_weights: Literal["equal", "balanced"] = "equal"
    """`balanced`: rare classes weigh more, so that all classes count alike."""


class Prompts(Training):
    """Contrastive prompt learning: `-log s(X_bg, p) + w_text log s(t, p)`."""

    lr: Positive = 2.5e-2
    """Learning rate."""
    batch: Count = 128
    """Images in a step."""
    augment: Augment = Augment()
    """Augmentation."""
    source: Literal["learned", "manual"] = "learned"
    """`learned`, or `manual`: the words below, as CLIMS has them."""
    start: str = "slm"
    """Whose maps show the backgrounds: `slm`, `classify`, or the path of another method's CAMs (docs/running.md)."""
    length: Count = 30
    """Learned vectors in a prompt."""
    initial: str = ""
    """Words whose token embeddings the vectors start as, repeated to the length; empty: uniform in [0, 1)."""
    dot: Literal["word", "bare"] = "word"
    """The last token of a prompt: `word` is "." as tokenised (id 269), `bare` the published code's (id 13)."""
    class_weights: Literal["equal", "balanced"] = "equal"
    """`balanced`: rare classes weigh more, so that all classes count alike."""
    w_text: Weight = 0.02
    """Weight of the text term."""
    text_term: Literal["log", "repel"] = "log"
    """`log`: `+ w log s(t, p)` (published); `repel`: `- w log(1 - s(t, p))`."""
    eps: Positive = 1e-4
    """Added to the range of a map in its min-max scaling."""
    manual: list[str] = []
    """`manual` only: background words shared by all classes."""
    manual_by_class: dict[str, list[str]] = {}
    """`manual` only: background words of one class, instead of the shared ones."""


class Refinement(SegmentLabel):
    """Class-associated semantic refinement: the slm loss `- w_prompt log(1 - s(X_fg, p))`."""

    w_prompt: Weight = 0.05
    """Weight of the prompt term."""
    start: Literal["classify", "slm"] = "classify"
    """Stage whose generator it starts from."""


class Selection(Section):
    """Which epoch of slm, csr and joint is kept."""

    policy: Literal["last", "oracle", "held-out", "label-free"] = "last"
    """`oracle` judges by the true masks, `held-out` by those of a share that does not train, `label-free` by none."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """`held-out`: share of the images with masks that is kept out of training and judged on."""
    images: Count = 500
    """At most this many images are judged after an epoch."""


class Cams(Section):
    """Inference of the maps and their file."""

    scales: list[Positive] = [1.0, 1.2]
    """Scales of the image, summed."""
    flip: bool = True
    """Also the mirrored image of every scale."""
    resize: int | None = None
    """Squash every image to this side first; empty keeps its own size."""
    stride: Count = 4
    """Stored pixels are this many image pixels apart."""
    dtype: Literal["float16", "float32"] = "float16"
    """Stored scores."""
    batch: Count = 64
    """Images of equal size in one forward pass."""


class Threshold(Section):
    """Background threshold of the pseudo masks."""

    policy: Literal["fixed", "oracle"] = "fixed"
    """`fixed`: the value below; `oracle`: the best on the true masks of the split, which no user has."""
    value: Fraction = 0.45
    """Score below which a pixel is background, for `fixed`."""


class Crf(Section):
    """Dense CRF."""

    preset: Literal["weaktr", "irn", "deeplab", "psa", "mini", "none"] = "weaktr"
    """Published kernel settings by name; `mini` fits 64-pixel pictures; `none` skips the CRF."""
    iterations: Count = 10
    """Mean-field iterations."""
    threshold: Threshold = Threshold()
    """Background threshold of the masks it starts from."""


class Segment(Section):
    """The segmentation network, trained on the pseudo masks."""

    encoder: str = "tu-resnet101"
    """Encoder of DeepLabV3+: a segmentation-models-pytorch name, or `vit:<timm name>`."""
    weights: str = "imagenet"
    """`imagenet` downloads, a path loads a safetensors file (for `vit:`), `none` starts at random."""
    decoder_channels: Count = 256
    """Width of the decoder."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Optimiser; the schedule is poly with power 0.9."""
    epochs: Count = 28
    """Passes over the training images (28 of 10,582 at batch 10 are the published 30k steps)."""
    batch: Annotated[int, Field(ge=2)] = 10
    """Images in a step; batch normalisation needs two."""
    lr: Positive = 2.5e-4
    """Learning rate of the encoder."""
    head_lr_factor: Positive = 10.0
    """The decoder learns this many times faster."""
    weight_decay: Weight = 5e-4
    """Weight decay."""
    crop: Count = 321
    """Side of the training crop in pixels."""
    scale: tuple[Positive, Positive] = (0.5, 2.0)
    """Random rescaling before the crop."""
    test_size: int | None = None
    """Squash test images to this side; empty keeps their own size."""
    test_scales: list[Positive] = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    """Test scales, each with a flip."""


class Evaluate(Section):
    """Judging against masks."""

    thresholds: Annotated[int, Field(ge=2, le=1000)] = 100
    """Points of the background-threshold curve, evenly from 0 up to (not including) 1."""


class Figures(Section):
    """Pictures to look at."""

    images: Count = 8
    """Rows of a panel, drawn at random from the split."""
    seed: int = 0
    """Seed of that draw."""


class Settings(Section):
    """All that a run is made of, for one variant."""

    run: Run = Run()
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = "auto"
    """Arithmetic of training and inference, losses always float32; `auto`: bf16-mixed where the processor has it."""
    data: Data = Data()
    download: Download = Download()
    guide: Guide = Guide()
    generator: Generator = Generator()
    masks_from: Literal["classify", "slm", "csr", "joint"] = "csr"
    """The generator whose maps become pseudo masks; `joint` learns prompts and generator together, instead of csr."""
    rounds: Count = 1
    """Rounds of cpl and csr: in a later one the prompts learn from the maps of the csr before."""
    selection: Selection = Selection()
    classify: Classify = Classify()
    slm: SegmentLabel = SegmentLabel()
    cpl: Prompts = Prompts()
    csr: Refinement = Refinement()
    cams: Cams = Cams()
    crf: Crf = Crf()
    segment: Segment = Segment()
    evaluate: Evaluate = Evaluate()
    figures: Figures = Figures()


class Config(Settings):
    """What a preset or config.yaml may say."""

    preset: str = "mini"
    """Name of a file in workflow/presets/, or a path to a file of your own."""
    parity: Literal["none", "published"] = "none"
    """`published` lays workflow/presets/parity/published.yaml, all quirks of the published code, over the preset."""
    name: str = ""
    """Folder under results/; empty: the preset's name."""
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    """Every seed is one whole run; the tables show mean and spread."""
    experiments: dict[str, dict] = {"semples": {}}
    """Variants by name, each the settings in which it differs: one row of the tables each. `null` drops a preset's."""
