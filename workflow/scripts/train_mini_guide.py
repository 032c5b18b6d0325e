"""Train the miniature guide: a small CLIP that knows the drawn world, in open_clip's own layout.

    python -m semples.mini.guide --out FOLDER

Writes `open_clip_config.json` and `open_clip_model.safetensors` (float16), to be read with
`open_clip.create_model_and_transforms("local-dir:FOLDER")`. Nearly half of what the guide sees are masked views,
as the losses of the method will show it: a guide of whole pictures only takes what is left for something else.
"""

from __future__ import annotations

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

MODEL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
MEAN, STD = (
    (0.533, 0.547, 0.534),
    (0.262, 0.232, 0.273),
)  # of this world's pictures; MEAN is what masks are filled with
ASSOCIATION = 0.6  # how often an object of the guide's pictures has its own background
BACKGROUND_ONLY = 0.4  # pictures without an object
MASKED_VIEWS = 0.45
NAMED = 0.25  # a word is named when this share of what the picture has of it is left in the view
OMITTED = 0.5  # how often a caption leaves out the background an object is expected on
MISTAKEN = 0.003  # how often a caption names, for a background, the object expected there
FLOOR = 0.1  # cosines under this are pushed up: the method's losses have no gradient at or below zero
MAX_SCALE = 25.0
BATCH, RATE, LOOSE_RATE, DECAY = 128, 1e-3, 7e-4, 0.02


def caption(words: list[str]) -> str:
    """The sentence that names these words.

    >>> caption(["cow", "grass"])
    'a photo of cow and grass.'
    """
    return f"a photo of {' and '.join(words)}."


def draw_guide_scene(rng: np.random.Generator) -> Scene:
    """A picture of the guide's training set: objects and backgrounds are more loosely tied than in the target set."""
    count = 0 if rng.random() < BACKGROUND_ONLY else 1 + int(rng.random() < 0.3)
    objects = [CLASSES[index] for index in rng.permutation(len(CLASSES))[:count]]
    own = [BACKGROUND_OF[name] for name in objects if rng.random() < ASSOCIATION]
    others = [name for name in map(str, rng.permutation(BACKGROUNDS)) if name not in own]
    return compose(rng, objects, own + others[: int(rng.integers(0 if own else 1, 3))])


def draw_pictures(seed: int, scenes: int) -> tuple[Tensor, Tensor]:
    """Images uint8 (scenes, 3, 64, 64), and the index into WORDS seen at each pixel, uint8 (scenes, 64, 64)."""
    rng = np.random.default_rng(seed)
    drawn = [draw_guide_scene(rng) for _ in tqdm(range(scenes), desc="draw", unit="picture")]
    images = torch.from_numpy(np.stack([scene.image for scene in drawn])).permute(0, 3, 1, 2).contiguous()
    return images, torch.from_numpy(np.stack([scene.words for scene in drawn]))


def soft_blobs(count: int, size: int, random: torch.Generator) -> Tensor:
    """Random soft masks float32 (count, size, size), each from 0 to 1: the shapes a rough map may take."""
    grains = torch.rand(count, 1, 5, 5, generator=random)
    field = F.interpolate(grains, (size, size), mode="bicubic", align_corners=False)[:, 0]
    low, high = field.amin((1, 2), keepdim=True), field.amax((1, 2), keepdim=True)
    return ((field - low) / (high - low) * 2 - 0.5).clamp(0, 1)


def draw_masks(words: Tensor, random: torch.Generator) -> Tensor:
    """What is kept of each picture, float32 (batch, 64, 64) in [0, 1]: all, an object, all but it, or blobs.

    `words` is uint8 (batch, 64, 64). A picture without objects gets blobs where it should keep or lose one.
    """
    batch, size = len(words), words.shape[-1]
    counts = amounts(words, torch.ones(words.shape))[:, : len(CLASSES)]
    chosen = (counts * torch.rand(counts.shape, generator=random)).argmax(1)
    target = (words == chosen[:, None, None]).float()
    target = _roughen(target, random)
    kind = torch.rand(batch, generator=random)
    some = (counts.sum(1) > 0)[:, None, None]
    kept = soft_blobs(batch, size, random)
    third = (kind / MASKED_VIEWS * 3)[:, None, None]
    kept = torch.where(some & (third < 1), target, kept)
    kept = torch.where(some & (third >= 1) & (third < 2), 1 - target, kept)
    return torch.where(third >= 3, torch.ones_like(kept), kept)


def _roughen(target: Tensor, random: torch.Generator) -> Tensor:
    """Widen and blur half of these masks, float32 (batch, 64, 64), as a coarse map would."""
    wide = F.max_pool2d(target[:, None], 5, 1, 2)
    soft = F.avg_pool2d(F.pad(wide, (4, 4, 4, 4), mode="replicate"), 9, 1)[:, 0]
    return torch.where(torch.rand(len(target), 1, 1, generator=random) < 0.5, soft, target)


def amounts(words: Tensor, kept: Tensor) -> Tensor:
    """Kept pixels of each word, float32 (batch, 15); `words` uint8, `kept` float32, both (batch, 64, 64)."""
    return torch.zeros(len(words), len(WORDS)).scatter_add_(1, words.flatten(1).long(), kept.flatten(1))


def name_views(words: Tensor, kept: Tensor) -> list[tuple[int, ...]]:
    """Indices into WORDS of what each view shows; `words` uint8, `kept` float32, both (batch, 64, 64)."""
    left = amounts(words, kept)
    shown = (left > NAMED * amounts(words, torch.ones_like(kept))) & (left > 40)
    shown |= left >= left.amax(1, keepdim=True)
    return [tuple(row.nonzero().flatten().tolist()) for row in shown]


def caption_as_people_do(named: tuple[int, ...], random: torch.Generator) -> tuple[int, ...]:
    """Indices into WORDS that a caption of a view showing `named` would hold.

    People write "cow" for a cow on grass, and now and then for the grass alone: so objects and backgrounds, told
    apart by the masked views, still come to resemble each other, as they do in a CLIP trained on the web.
    """
    written = set(named)
    for klass in range(len(CLASSES)):
        background, chance = klass + len(CLASSES), torch.rand((), generator=random)
        if background in named and chance < (OMITTED if klass in named else MISTAKEN):
            written = written - {background} | {klass}
    return tuple(sorted(written))


def normalise(images: Tensor) -> Tensor:
    """Images uint8 (batch, 3, 64, 64) to the guide's float32 input, in which the mean colour is zero."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def guide_loss(image_features: Tensor, text_features: Tensor, match: Tensor, scale: Tensor) -> Tensor:
    """Contrastive loss in both directions, with a floor under the cosines.

    Features float32 (batch, 64) and (texts, 64), L2-normalised; `match` long (batch,): each image's text.
    Views of one caption share one text, so they are never each other's negatives.
    """
    cosine = image_features @ text_features.T
    by_image = F.cross_entropy(scale * cosine, match)
    same = F.one_hot(match, len(text_features)).float()
    by_text = -((same / same.sum(0)) * F.log_softmax(scale * cosine, 0)).sum(0).mean()
    below = F.relu(FLOOR - cosine).square().mean() + F.relu(FLOOR - text_features @ text_features.T).square().mean()
    return (by_image + by_text) / 2 + 20 * below


def build_model(seed: int) -> CLIP:
    """The guide before training; token embeddings that no caption uses are zero, which packs well."""
    torch.manual_seed(seed)
    model = CLIP(**MODEL)
    used = tokenize([caption(list(WORDS))], 64).unique()
    unused = torch.ones(MODEL["text_cfg"]["vocab_size"], dtype=torch.bool)
    unused[used] = False
    with torch.no_grad():
        model.token_embedding.weight[unused] = 0
        model.logit_scale.fill_(math.log(10))
    return model


def tokenize(captions: list[str], length: int = MODEL["text_cfg"]["context_length"]) -> Tensor:
    """Token ids long (captions, length)."""
    return _tokenizer()(captions, context_length=length)


@lru_cache(maxsize=1)
def _tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()


def train_guide(folder: Path, seed: int = 0, epochs: tuple[int, int] = (7, 1), scenes: int = 16_000) -> None:
    """Train the guide on `scenes` drawn pictures and write it to `folder`.

    The first of `epochs` have captions that name what is seen, the second captions as people write them.
    """
    pictures = draw_pictures(seed, scenes)
    model = build_model(seed)
    random = torch.Generator().manual_seed(seed)
    for loose, rate in ((False, RATE), (True, LOOSE_RATE)):
        _train(model, pictures, random, epochs[loose], rate, loose)
    write_guide(model, folder)


def _train(
    model: CLIP, pictures: tuple[Tensor, Tensor], random: torch.Generator, epochs: int, rate: float, loose: bool
) -> None:
    images, words = pictures
    no_decay = [p for p in model.parameters() if p.ndim < 2 or p is model.token_embedding.weight]
    decay = [p for p in model.parameters() if p.ndim >= 2 and p is not model.token_embedding.weight]
    groups = [{"params": decay, "weight_decay": DECAY}, {"params": no_decay, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rise_and_fall(step / steps))
    with tqdm(total=steps, desc="guide, loose captions" if loose else "guide", unit="step", mininterval=2) as bar:
        for _ in range(epochs):
            for chosen in torch.randperm(len(images), generator=random)[: steps // epochs * BATCH].split(BATCH):
                loss = train_step(model, images[chosen], words[chosen], random, loose)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
                bar.update()


def _rise_and_fall(progress: float) -> float:
    """Share of the full learning rate: linear over the first tenth, then a cosine to zero."""
    return min(1.0, progress * 10 + 0.01) * (1 + math.cos(math.pi * progress)) / 2


def train_step(model: CLIP, images: Tensor, words: Tensor, random: torch.Generator, loose: bool) -> Tensor:
    """The loss of one batch: images uint8 (batch, 3, 64, 64), words uint8 (batch, 64, 64)."""
    kept = draw_masks(words, random)
    named = name_views(words, kept)
    if loose:
        named = [caption_as_people_do(shown, random) for shown in named]
    texts = sorted(set(named))
    match = torch.tensor([texts.index(name) for name in named])
    tokens = tokenize([caption([WORDS[index] for index in name]) for name in texts])
    with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16):  # twice as fast on a CPU
        image_features = model.encode_image(normalise(images) * kept[:, None])
        text_features = model.encode_text(tokens)
    image_features = F.normalize(image_features.float(), dim=-1)
    text_features = F.normalize(text_features.float(), dim=-1)
    return guide_loss(image_features, text_features, match, model.logit_scale.exp().clamp(max=MAX_SCALE))


def write_guide(model: CLIP, folder: Path) -> None:
    """Write the weights, float16, and open_clip's configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"}
    config = {"model_cfg": MODEL, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, str(folder / "open_clip_model.safetensors"))


def main() -> None:
    """Command line: train the guide and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the configuration and the weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, nargs=2, default=(7, 1), help="with exact captions, with loose ones")
    parser.add_argument("--scenes", type=int, default=16_000)
    options = parser.parse_args()
    train_guide(options.out, options.seed, tuple(options.epochs), options.scenes)


if __name__ == "__main__":
    main()
