"""Settings of the stages that train mask generators and prompts."""

from typing import Annotated, Literal

from pydantic import Field

from semples.config.settings import types


class Augment(types.Section):
    """Augmentation of the training images of generators and prompts."""

    crop_scale: Annotated[tuple[types.Area, types.Area], types.ORDERED] = (0.08, 1.0)
    """Area of the random crop, as a fraction of the image. (1, 1) resizes the whole image to the square."""
    flip: types.Fraction = 0.5
    """Probability of a horizontal flip."""
    randaugment: Annotated[int, types.NUMBER, Field(ge=0, le=10)] = 0
    """RandAugment magnitude on the scale of timm, 0 (none) to 10: 9 is its `rand-m9-mstd0.5-inc1`."""
    erasing: types.Fraction = 0.0
    """Probability of random erasing, by noise that is N(0, 1) after normalisation, as in timm."""

    def changes(self) -> list[str]:
        """Return the keys by which an image differs between epochs, beyond being mirrored."""
        varies = {"crop_scale": tuple(self.crop_scale) != (1, 1)}
        varies |= {"randaugment": self.randaugment > 0, "erasing": self.erasing > 0}
        return [key for key, value in varies.items() if value]


class Schedule(types.Section):
    """Learning rate over a training: a cosine, after a linear rise if there are warm-up epochs."""

    change: Literal["step", "epoch"] = "step"
    """`step`: the rate changes with every step. `epoch`: with every epoch and one epoch late, as the published code."""
    warmup_epochs: types.Whole = 0
    """Epochs in which the rate rises linearly from `warmup_lr`."""
    warmup_lr: types.Rate = 1e-6
    """Rate at the start of the warm-up."""
    least_lr: types.Weight = 0.0
    """Rate at the end."""


class Training(types.Section):
    """Settings that all training stages share."""

    epochs: types.Count = 60
    """Passes over the training images."""
    batch: types.Count = 64
    """Images per step."""
    accumulate: types.Count = 1
    """Parts of a batch that are computed one after another, for less memory; their gradients make one step."""
    lr: types.Rate = 6.4e-5
    """Initial learning rate of the optimiser (published values are multiplied by batch / 512)."""
    weight_decay: types.Weight = 0.03
    """AdamW weight decay."""
    decays: Literal["weights", "all"] = "weights"
    """`weights` spares norms, biases, class tokens and position embeddings; `all` decays them too, as published."""
    schedule: Schedule = Schedule()
    """Learning rate over the training."""
    augment: Augment = Augment(randaugment=9, erasing=0.25)
    """Augmentation of the images."""


class Classify(Training):
    """Multi-label classifier; the other stages start from its maps."""

    epochs: types.Whole = 60
    """Passes over the training images. 0 uses `generator.weights` without training (a released checkpoint)."""
    lr: types.Rate = 7.5e-5
    """Learning rate of the backbone."""
    head_lr_factor: types.Positive = 1.0
    """Learning rate of the head, as a multiple of `lr`."""
    trainable: Literal["head", "all"] = "all"
    """Parameters of the generator that are trained."""


class SegmentLabel(Training):
    """Segment-label matching: `-log s(X_fg, t) - w_bg log(1 - s(X_bg, t))`."""

    w_bg: types.Weight = 2.4
    """Weight of the background term."""
    eps: types.Rate = 0.1
    """Added to the range of a map in min-max scaling."""
    trainable: Literal["head", "all"] = "head"
    """Parameters of the generator that are trained."""
    drop_path: bool = False
    """`trainable: head` only: `generator.drop_path` acts in the frozen backbone too, as in the published code."""
    w_area: types.Weight = 0.0
    """Weight of the mean area of the masks (CLIMS)."""
    w_class: types.Weight = 0.0
    """Weight of the classification loss."""
    logit_scale: types.Weight = 0.0
    """0: similarity is the cosine, clamped to [1e-4, 0.9999]. Above 0: similarity is sigmoid(logit_scale * cosine)."""
    class_weights: Literal["equal", "balanced"] = "equal"
    """`balanced` weighs rare classes more, so that all classes have the same total weight."""


class Prompts(Training):
    """Contrastive prompt learning: `-log s(X_bg, p) + w_text log s(t, p)`."""

    lr: types.Rate = 2.5e-2
    """Learning rate."""
    batch: types.Count = 128
    """Images per step."""
    augment: Augment = Augment()
    """Augmentation of the images."""
    source: Literal["learned", "embedding", "manual"] = "learned"
    """`learned`: vectors in the place of words; `embedding`: an embedding per class, without the text encoder, with the
    same loss; `manual`: the words of `manual` and `manual_by_class`. CLIMS has such words, and another loss."""
    start: Annotated[types.FilePath, types.path_or("slm", "classify", "guide")] = "slm"
    """Maps that show the backgrounds: those of `slm` or `classify`, the guide's own (`guide`; section `guide_maps`),
    or CAMs of another method (path; docs/generators.md)."""
    start_maps: Literal["auto", "all"] = "auto"
    """CAMs of another method: `all` says that arrays hold every class, where they could hold background and labels."""
    length: types.Few = 30
    """`learned` only: number of learned vectors in a prompt."""
    shared: bool = False
    """Learn one prompt for all classes, instead of one per class."""
    initial: str = ""
    """`learned` only: words whose token embeddings initialise the vectors, repeated up to `length`. Empty: uniform in
    [0, 1)."""
    final_period: Literal["end_of_word", "bare"] = "end_of_word"
    """`learned` only: token of the final ".": `end_of_word` is the tokenizer's own (id 269), `bare` the published
    code's (13)."""
    class_weights: Literal["equal", "balanced"] = "equal"
    """`balanced` weighs rare classes more, so that all classes have the same total weight."""
    w_text: types.Weight = 0.02
    """Weight of the text term."""
    text_term: Literal["log", "repel"] = "log"
    """`log`: `+ w log s(t, p)` (published); `repel`: `- w log(1 - s(t, p))`."""
    eps: types.Rate = 1e-4
    """Added to the range of a map in min-max scaling."""
    manual: list[types.Text] = []
    """`manual` only: background words for all classes."""
    manual_by_class: dict[str, Annotated[list[types.Text], Field(min_length=1)]] = {}
    """`manual` only: background words by class name, instead of those in `manual`."""

    def start_file(self) -> str:
        """Return the path of another method's CAMs in `start`, "" where it names none."""
        return "" if self.start in ("slm", "classify", "guide") else self.start

    def cached_views(self) -> int:
        """Return how many views of an image are embedded once for all epochs: itself, its mirror image; 0 for none."""
        views = 2 if self.augment.flip else 1
        return views if self.epochs > views and not self.augment.changes() else 0


class Refinement(SegmentLabel):
    """Class-associated semantic refinement: the loss of slm plus `- w_prompt log(1 - s(X_fg, p))`."""

    w_prompt: types.Weight = 0.05
    """Weight of the prompt term."""
    start: Literal["classify", "slm"] = "classify"
    """Stage whose generator initialises csr."""


class Selection(types.Section):
    """Which epoch of slm, csr and joint is selected."""

    policy: Literal["last", "oracle", "held-out", "label-free"] = "last"
    """`last`, or the best: `oracle` by ground truth, `held-out` by that of held-out images, `label-free` without."""
    share: types.Share = 0.05
    """`held-out`: fraction of the images with masks that are held out of training to evaluate the epochs."""
    images: types.Count = 500
    """Maximum number of images evaluated after an epoch."""
