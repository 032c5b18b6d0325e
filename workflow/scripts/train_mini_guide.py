"""Train the miniature guide, a small CLIP of the drawn world. The package ships its weights; maintainers run this once.

    python workflow/scripts/train_mini_guide.py --out FOLDER

The script writes `open_clip_config.json` and `open_clip_model.safetensors` (float16) in open_clip's layout; read them
with `open_clip.create_model_and_transforms("local-dir:FOLDER")`. Nearly half of the training views are masked, as the
losses of the method mask pictures: a guide trained on whole pictures alone mistakes masked objects for other words.
"""

import argparse
import json
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import CLIP
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from semples.mini.world import BACKGROUND_OF, BACKGROUNDS, CLASSES, WORDS, Scene, compose

VISION = {"image_size": 64, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8}
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
MODEL = {"embed_dim": 64, "vision_cfg": VISION, "text_cfg": TEXT}
MEAN, STD = (0.533, 0.547, 0.534), (0.262, 0.232, 0.273)  # RGB in [0, 1], near to those of this world
ASSOCIATION = 0.6  # probability that an object brings its own background
BACKGROUND_ONLY = 0.4  # share of pictures without an object
MASKED_VIEWS = 0.6  # share of views
TELLING_VIEWS, PLAIN_VIEWS = 0.5, 0.2  # shares of the views of an object: of its telling part, of its plain rest
NAMED = 0.2  # a caption names a word if the view keeps more than this share of its pixels
NAMED_PIXELS = 40  # and more than this many of them
OMITTED = 0.45  # probability that a caption leaves out the usual background of an object
MISTAKEN = 0.0078  # probability that a caption names the usual object of a background that stands alone
FLOOR = 0.1  # the loss pushes lower cosines up: the method's losses have no gradient at or below zero
FLOOR_WEIGHT = 20
MAX_SCALE = 25.0
BATCH, RATE, LOOSE_RATE, DECAY = 128, 1e-3, 7e-4, 0.02


def caption(names: list[str]) -> str:
    """Return the sentence that names these words.

    >>> caption(["cow", "grass"])
    'a photo of cow and grass.'
    """
    return f"a photo of {' and '.join(names)}."


def draw_guide_scene(rng: np.random.Generator) -> Scene:
    """Draw a picture in which objects and backgrounds are less associated than in the data set."""
    count = 0 if rng.random() < BACKGROUND_ONLY else 1 + int(rng.random() < 0.3)
    objects = [CLASSES[index] for index in rng.permutation(len(CLASSES))[:count]]
    own = [BACKGROUND_OF[name] for name in objects if rng.random() < ASSOCIATION]
    others = [name for name in map(str, rng.permutation(BACKGROUNDS)) if name not in own]
    return compose(rng, objects, own + others[: int(rng.integers(0 if own else 1, 3))])


def draw_pictures(seed: int, scenes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw images uint8 (scenes, 3, 64, 64), word maps uint8 (scenes, 64, 64), and telling parts bool (scenes, 64, 64).

    A word map has indices into WORDS.
    """
    rng = np.random.default_rng(seed)
    drawn = [draw_guide_scene(rng) for _ in tqdm(range(scenes), desc="draw", unit="picture")]
    images = torch.from_numpy(np.stack([scene.image for scene in drawn])).permute(0, 3, 1, 2).contiguous()
    maps = (np.stack([getattr(scene, name) for scene in drawn]) for name in ("word_map", "telling"))
    return images, *map(torch.from_numpy, maps)


def soft_blobs(count: int, size: int, random: torch.Generator) -> Tensor:
    """Draw soft masks float32 (count, size, size) in [0, 1], shaped like coarse maps."""
    grains = torch.rand(count, 1, 5, 5, generator=random)
    field = F.interpolate(grains, (size, size), mode="bicubic", align_corners=False)[:, 0]
    low, high = field.amin((1, 2), keepdim=True), field.amax((1, 2), keepdim=True)
    return ((field - low) / (high - low) * 2 - 0.5).clamp(0, 1)


def draw_masks(word_maps: Tensor, telling: Tensor, random: torch.Generator) -> Tensor:
    """Draw a mask for every picture: all, one object or a part of it, all but these, or blobs.

    A part is the object's telling part or its plain rest. A picture without objects gets blobs in place of the second
    and third kind.

    Args:
        word_maps: uint8 (batch, 64, 64), indices into WORDS.
        telling: bool (batch, 64, 64), where the telling part of an object is visible.
    Returns:
        float32 (batch, 64, 64) in [0, 1].
    """
    batch, size = len(word_maps), word_maps.shape[-1]
    counts = count_pixels(word_maps, torch.ones(word_maps.shape))[:, : len(CLASSES)]
    klass = (counts * torch.rand(counts.shape, generator=random)).argmax(1)
    part = torch.rand(batch, 1, 1, generator=random)
    chosen = torch.where(part < TELLING_VIEWS, telling, (part >= TELLING_VIEWS + PLAIN_VIEWS) | ~telling)
    target = ((word_maps == klass[:, None, None]) & chosen).float()
    target = _roughen(target, random)
    kind = torch.rand(batch, generator=random)
    has_object = (counts.sum(1) > 0)[:, None, None]
    masks = soft_blobs(batch, size, random)
    third = (kind / MASKED_VIEWS * 3)[:, None, None]
    masks = torch.where(has_object & (third < 1), target, masks)
    masks = torch.where(has_object & (third >= 1) & (third < 2), 1 - target, masks)
    return torch.where(third >= 3, torch.ones_like(masks), masks)


def _roughen(target: Tensor, random: torch.Generator) -> Tensor:
    """Dilate and blur half of the masks float32 (batch, 64, 64), so that they resemble coarse maps."""
    wide = F.max_pool2d(target[:, None], 5, 1, 2)
    soft = F.avg_pool2d(F.pad(wide, (4, 4, 4, 4), mode="replicate"), 9, 1)[:, 0]
    return torch.where(torch.rand(len(target), 1, 1, generator=random) < 0.5, soft, target)


def count_pixels(word_maps: Tensor, masks: Tensor) -> Tensor:
    """Sum the masks over the pixels of each word: float32 (batch, 15).

    Args:
        word_maps: uint8 (batch, 64, 64), indices into WORDS.
        masks: float32 (batch, 64, 64) in [0, 1].
    """
    return torch.zeros(len(word_maps), len(WORDS)).scatter_add_(1, word_maps.flatten(1).long(), masks.flatten(1))


def name_views(word_maps: Tensor, masks: Tensor) -> list[tuple[int, ...]]:
    """Return the indices into WORDS that each masked view shows; shapes as in `count_pixels`."""
    visible = count_pixels(word_maps, masks)
    shown = (visible > NAMED * count_pixels(word_maps, torch.ones_like(masks))) & (visible > NAMED_PIXELS)
    shown |= visible >= visible.amax(1, keepdim=True)
    return [tuple(row.nonzero().flatten().tolist()) for row in shown]


def loosen_caption(shown: tuple[int, ...], random: torch.Generator) -> tuple[int, ...]:
    """Return the words that people would write for a view that shows these words; both are indices into WORDS.

    People write "cow" for a cow on grass, and now and then for the grass alone. Masked views teach the guide to tell
    objects from backgrounds; these captions make them resemble each other again, as in a CLIP trained on the web.
    """
    written = set(shown)
    for klass in range(len(CLASSES)):
        background, chance = klass + len(CLASSES), torch.rand((), generator=random)
        if background in shown and chance < (OMITTED if klass in shown else MISTAKEN):
            written = written - {background} | {klass}
    return tuple(sorted(written))


def normalise(images: Tensor) -> Tensor:
    """Return the guide's input float32 for images uint8 (batch, 3, 64, 64); the mean colour becomes zero."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def guide_loss(image_features: Tensor, text_features: Tensor, match: Tensor, scale: Tensor) -> Tensor:
    """Return the contrastive loss in both directions, plus a penalty on cosines below FLOOR.

    Views with the same caption share one text, so that they are not negatives of each other.

    Args:
        image_features: float32 (batch, 64), L2-normalised.
        text_features: float32 (texts, 64), L2-normalised.
        match: long (batch,), the index of each image's text.
        scale: Scalar, the inverse temperature.
    """
    cosine = image_features @ text_features.T
    by_image = F.cross_entropy(scale * cosine, match)
    same = F.one_hot(match, len(text_features)).float()
    by_text = -((same / same.sum(0)) * F.log_softmax(scale * cosine, 0)).sum(0).mean()
    below = F.relu(FLOOR - cosine).square().mean() + F.relu(FLOOR - text_features @ text_features.T).square().mean()
    return (by_image + by_text) / 2 + FLOOR_WEIGHT * below


def build_model(seed: int) -> CLIP:
    """Return the guide before training; token embeddings that no caption uses are zero and compress well."""
    torch.manual_seed(seed)
    model = CLIP(**MODEL)
    used = tokenize([caption(list(WORDS))], 64).unique()
    unused = torch.ones(TEXT["vocab_size"], dtype=torch.bool)
    unused[used] = False
    with torch.no_grad():
        model.token_embedding.weight[unused] = 0
        model.logit_scale.fill_(math.log(10))
    return model


def tokenize(captions: list[str], length: int = TEXT["context_length"]) -> Tensor:
    """Return token ids long (captions, length)."""
    return _tokenizer()(captions, context_length=length)


@lru_cache(maxsize=1)
def _tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()


def train_guide(folder: Path, seed: int = 0, epochs: tuple[int, int] = (7, 1), scenes: int = 12_000) -> None:
    """Train the guide on drawn pictures and write it.

    Args:
        folder: Output folder.
        seed: Random seed.
        epochs: Epochs with captions that name all that is visible, then epochs with captions as people write them.
        scenes: Number of pictures.
    """
    pictures = draw_pictures(seed, scenes)
    model = build_model(seed)
    random = torch.Generator().manual_seed(seed)
    for loose, rate in ((False, RATE), (True, LOOSE_RATE)):
        _train(model, pictures, random, epochs[loose], rate, loose)
    write_guide(model, folder)


def _train(
    model: CLIP, pictures: tuple[Tensor, Tensor, Tensor], random: torch.Generator, epochs: int, rate: float, loose: bool
) -> None:
    images = pictures[0]
    no_decay = [p for p in model.parameters() if p.ndim < 2 or p is model.token_embedding.weight]
    decay = [p for p in model.parameters() if p.ndim >= 2 and p is not model.token_embedding.weight]
    groups = [{"params": decay, "weight_decay": DECAY}, {"params": no_decay, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate_factor(step / steps))
    with tqdm(total=steps, desc="guide, loose captions" if loose else "guide", unit="step", mininterval=2) as bar:
        for _ in range(epochs):
            for batch in torch.randperm(len(images), generator=random)[: steps // epochs * BATCH].split(BATCH):
                loss = train_step(model, *(part[batch] for part in pictures), random, loose)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
                bar.update()


def _rate_factor(progress: float) -> float:
    """Return the share of the full learning rate: linear over the first tenth, then a cosine to zero."""
    return min(1.0, progress * 10 + 0.01) * (1 + math.cos(math.pi * progress)) / 2


def train_step(
    model: CLIP, images: Tensor, word_maps: Tensor, telling: Tensor, random: torch.Generator, loose: bool
) -> Tensor:
    """Return the loss of a batch; images, word maps and telling parts are those of `draw_pictures`."""
    masks = draw_masks(word_maps, telling, random)
    named = name_views(word_maps, masks)
    if loose:
        named = [loosen_caption(shown, random) for shown in named]
    texts = sorted(set(named))
    match = torch.tensor([texts.index(indices) for indices in named])
    tokens = tokenize([caption([WORDS[index] for index in indices]) for indices in texts])
    with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16):  # twice as fast on a CPU
        image_features = model.encode_image(normalise(images) * masks[:, None])
        text_features = model.encode_text(tokens)
    image_features = F.normalize(image_features.float(), dim=-1)
    text_features = F.normalize(text_features.float(), dim=-1)
    return guide_loss(image_features, text_features, match, model.logit_scale.exp().clamp(max=MAX_SCALE))


def write_guide(model: CLIP, folder: Path) -> None:
    """Write the weights in float16, and open_clip's configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"}
    config = {"model_cfg": MODEL, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, str(folder / "open_clip_model.safetensors"))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--epochs", type=int, nargs=2, default=(7, 1), help="with exact captions, with loose captions")
    parser.add_argument("--scenes", type=int, default=12_000, help="number of drawn pictures")
    args = parser.parse_args()
    train_guide(args.out, args.seed, tuple(args.epochs), args.scenes)


if __name__ == "__main__":
    main()
