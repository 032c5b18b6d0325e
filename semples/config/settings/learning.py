"""Settings of the stages that learn maps and prompts."""

from typing import Annotated, Literal

from pydantic import Field

from semples.config.settings.section import Count, Fraction, Positive, Section, Weight


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
    trainable: Literal["head", "all"] = "all"
    """Parameters of the generator that learn."""


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
    logit_scale: Weight = 0.0
    """0: a similarity is the cosine, clamped to [1e-4, 0.9999]. Above 0: sigmoid(logit_scale * cosine)."""
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
    shared: bool = False
    """All classes learn one prompt together, instead of one each."""
    initial: str = ""
    """Words whose token embeddings the vectors start as, repeated to the length; empty: uniform in [0, 1)."""
    final_period: Literal["end_of_word", "bare"] = "end_of_word"
    """Token of the final ".": `end_of_word` is the tokenizer's own (id 269), `bare` the published code's (13)."""
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
