"""The guide: a frozen open_clip model."""

from typing import Literal

import torch
import torch.nn.functional as F
from open_clip import create_model, get_tokenizer
from torch import Tensor, nn

from semples.errors import SemplesError
from semples.models.fast_clip import encode_embedded, encode_image, speed_up

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TEXT_BATCH = 256
FILLS = {"black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0)}


class Guide(nn.Module):
    """Image and text encoders that share a space. Every embedding is float32 and L2-normalised.

    `image_centre` and `text_centre` are taken from embeddings before they get their length of one: zero, unless they
    were set to the means over many. Either side shares a part that the other does not have (the modality gap, arXiv
    2203.02053).
    """

    def __init__(self, clip: nn.Module, tokenizer, normalisation: str = "guide", fill: str = "mean") -> None:
        super().__init__()
        if not hasattr(clip, "token_embedding"):
            raise SemplesError(
                f"guide {type(clip).__name__}",
                "a text tower without a token embedding of its own",
                "an open_clip model with the standard text transformer (ViT-B-32, RN50, ...)",
                "name another `guide.model`",
            )
        self.clip = speed_up(clip).requires_grad_(False)
        self.tokenizer = tokenizer
        self._tokens: dict[tuple[int, str], tuple[Tensor, int]] = {}
        size = clip.visual.image_size
        self.image_size: int = size if isinstance(size, int) else size[0]
        own = normalisation == "guide"
        mean = clip.visual.image_mean if own else IMAGENET_MEAN
        std = clip.visual.image_std if own else IMAGENET_STD
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        colour = torch.tensor(mean if fill == "mean" else FILLS[fill]).view(3, 1, 1)
        # what all images share, and all sentences: zero, or (width of the embeddings,)
        self.register_buffer("image_centre", torch.zeros(1), persistent=False)
        self.register_buffer("text_centre", torch.zeros(1), persistent=False)
        self.register_buffer("fill", (colour - self.mean) / self.std, persistent=False)  # of what is masked out

    @property
    def width(self) -> int:
        """Length of a token's embedding vector."""
        return self.clip.token_embedding.embedding_dim

    def train(self, mode: bool = True) -> "Guide":
        """Stays in evaluation mode whatever `mode`: it is frozen."""
        return super().train(False)

    def normalise(self, images: Tensor) -> Tensor:
        """RGB in [0, 1] (batch, 3, h, w) -> the guide's pixels (batch, 3, image_size, image_size); zero is the mean."""
        images = images.float()  # under mixed precision they arrive in half, which resizing does not know
        if images.shape[-2:] != (self.image_size, self.image_size):
            size = (self.image_size, self.image_size)
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
        return (images - self.mean) / self.std

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (batch, 3, image_size, image_size) -> embeddings (batch, width)."""
        return _centred(encode_image(self.clip, pixels), self.image_centre)

    def encode_text(self, sentences: list[str]) -> Tensor:
        """Sentences -> embeddings (sentences, width)."""
        tokens = self.tokenizer(sentences).to(self.mean.device)
        parts = [self.clip.encode_text(part) for part in tokens.split(TEXT_BATCH)]
        return _centred(torch.cat(parts), self.text_centre)

    def encode_classes(self, names: list[str], templates: list[str]) -> Tensor:
        """Class names -> embeddings (names, width), each the mean over its sentences `template.format(name)`."""
        parts = [self.encode_text([template.format(name) for name in names]) for template in templates]
        return F.normalize(torch.stack(parts).mean(dim=0), dim=-1)

    def encode_prompts(self, vectors: Tensor, final_period: Literal["end_of_word", "bare"] = "end_of_word") -> Tensor:
        """Learned vectors (classes, length, token width) in "a photo of {vectors}." -> embeddings (classes, width).

        The vectors take the place of token embeddings and go through the model's own text tower, so the result is
        `encode_text` of the same sentence when the vectors are the embeddings of real tokens. `final_period`: the token
        of the last ".": `end_of_word`, as tokenised, or `bare`, without the end-of-word mark.
        """
        length = vectors.shape[1]
        tokens, first = self._prompt_tokens(length, final_period)
        embedded = self.clip.token_embedding(tokens).expand(len(vectors), -1, -1)
        embedded = torch.cat([embedded[:, :first], vectors, embedded[:, first + length :]], dim=1)
        end = first + length + 1  # after the final period
        return _centred(encode_embedded(self.clip, tokens, embedded, end), self.text_centre)

    def token_vectors(self, words: str) -> Tensor:
        """Embeddings of the tokens of `words`, (tokens, token width)."""
        return self.clip.token_embedding(torch.tensor(self.tokenizer.encode(words), device=self.mean.device))

    def patch_cosines(self, pixels: Tensor, embeddings: Tensor) -> Tensor:
        """Cosine of every patch with every embedding, clamped at 0: (batch, embeddings, rows, columns).

        `pixels` (batch, 3, image_size, image_size) are normalised, `embeddings` (embeddings, width) L2-normalised. A
        patch's embedding is its last token through the final norm and projection, as the class token's is.
        """
        features, grid = self._patch_features(pixels)
        patches = _centred(features, self.image_centre)
        cosines = (patches @ embeddings.T).clamp(min=0)  # batch, patches, embeddings
        return cosines.transpose(1, 2).unflatten(2, grid)

    def _patch_features(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Projected patch tokens (batch, patches, width) and their grid, of open_clip's transformers and of timm's."""
        visual = self.clip.visual
        trunk = getattr(visual, "trunk", None)
        if hasattr(trunk, "num_prefix_tokens") and hasattr(trunk, "fc_norm"):
            tokens = trunk.forward_features(pixels)[:, trunk.num_prefix_tokens :]
            return visual.head(trunk.head(trunk.fc_norm(tokens))), trunk.patch_embed.grid_size
        if not (hasattr(visual, "output_tokens") and hasattr(visual, "grid_size")):
            raise SemplesError(
                f"guide {type(visual).__name__}",
                "an image tower without patch tokens",
                "a vision transformer (ViT-B-32, ViT-L-14, ...)",
                "name another `guide.model` for heat maps",
            )
        visual.output_tokens = True
        try:
            _, tokens = visual(pixels)  # batch, patches, width of the tower; past the final norm
        finally:
            visual.output_tokens = False
        return tokens if visual.proj is None else tokens @ visual.proj, visual.grid_size

    def _prompt_tokens(self, length: int, final_period: str) -> tuple[Tensor, int]:
        """Token ids (1, context) of "a photo of {length placeholders}." and the position of the first placeholder."""
        if (length, final_period) not in self._tokens:
            self._tokens[length, final_period] = self._new_prompt_tokens(length, final_period)
        tokens, first = self._tokens[length, final_period]
        if tokens.device != self.mean.device:
            self._tokens[length, final_period] = tokens, first = tokens.to(self.mean.device), first
        return tokens, first

    def _new_prompt_tokens(self, length: int, final_period: str) -> tuple[Tensor, int]:
        context = self.clip.context_length
        sentence = self.tokenizer(["a photo of."])[0]
        head = 1 + len(self.tokenizer.encode("a photo of"))
        if length > (longest := context - head - 2):
            raise SemplesError(
                "cpl.length",
                str(length),
                f"at most {longest} for a context of {context} tokens",
                "lower `cpl.length`",
            )
        placeholder = sentence[1:2].expand(length)
        tokens = torch.cat([sentence[:head], placeholder, sentence[head:]])[:context]
        if final_period == "bare":
            tokens[head + length] = self.tokenizer.encoder["."]
        return tokens.unsqueeze(0), head


def _centred(features: Tensor, centre: Tensor) -> Tensor:
    return F.normalize(F.normalize(features.float(), dim=-1) - centre, dim=-1)


def load_guide(model: str, pretrained: str | None = None, normalisation: str = "guide", fill: str = "mean") -> Guide:
    """An open_clip model by name and tag, `hf-hub:<id>` or `local-dir:<folder>`."""
    try:
        clip = create_model(model, pretrained=pretrained, precision="fp32")
        tokenizer = get_tokenizer(model)
    except (RuntimeError, FileNotFoundError, OSError, ValueError) as error:
        raise SemplesError(
            f"guide {model!r}",
            f"open_clip cannot load it: {str(error).splitlines()[0]}",
            "an open_clip model name with `pretrained`, `hf-hub:<id>` or `local-dir:<folder>`",
            "correct `guide.model` and `guide.pretrained`, or fetch the weights first",
        ) from error
    return Guide(clip, tokenizer, normalisation, fill)
