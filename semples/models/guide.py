"""The guide: a frozen open_clip model."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from semples.errors import SemplesError
from semples.models.fast_clip import encode_embedded, encode_image, speed_up
from semples.models.masking import scaled_masks

FinalPeriod = Literal["end_of_word", "bare"]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TEXT_BATCH = 256
Pixels = Float[Tensor, "batch 3 size size"]


class Guide(nn.Module):
    """Image and text encoders with a common embedding space. Every embedding is float32 and L2-normalised.

    `image_centre` and `text_centre`, (1,) or (width,), are subtracted before the final L2 normalisation. They are zero
    unless they were set to the means over many embeddings: all images have a part in common that no text has, and the
    other way round (the modality gap, arXiv 2203.02053). `width` is that of a token vector.

    Args:
        normalisation: `guide` takes the pixel statistics of the model, `imagenet` those of ImageNet.
        fill: Colour of masked pixels: `mean`, `black` or `white`.
        align_corners: Whether `masks` resizes maps with their corner pixels on those of the image.
    Raises:
        SemplesError: The model has no token embedding that learned vectors could replace.
    """

    clip: Any
    mean: Tensor
    std: Tensor
    fill: Tensor
    image_centre: Tensor
    text_centre: Tensor

    def __init__(
        self,
        clip: nn.Module,
        tokenizer: Any,
        normalisation: str = "guide",
        fill: str = "mean",
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        if not hasattr(clip, "token_embedding"):
            shown, remedy = "a text tower without a token embedding of its own", "name another `guide.model`"
            expected = "an open_clip model with the standard text transformer (ViT-B-32, RN50, ...)"
            raise SemplesError(f"guide {type(clip).__name__}", shown, expected, remedy)
        self.clip, self.tokenizer = speed_up(clip).requires_grad_(False), tokenizer
        self._tokens: dict[tuple, tuple[Tensor, int]] = {}  # by length, final period and device
        visual, size = self.clip.visual, self.clip.visual.image_size
        self.image_size: int = size if isinstance(size, int) else size[0]
        self.width: int = self.clip.token_embedding.embedding_dim
        own = normalisation == "guide"
        statistics = (visual.image_mean, visual.image_std) if own else (IMAGENET_MEAN, IMAGENET_STD)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in statistics)
        colour = {"mean": mean, "black": torch.zeros(3, 1, 1), "white": torch.ones(3, 1, 1)}[fill]
        buffers = {"mean": mean, "std": std, "fill": (colour - mean) / std}
        for name, value in {**buffers, "image_centre": torch.zeros(1), "text_centre": torch.zeros(1)}.items():
            self.register_buffer(name, value, persistent=False)

    def train(self, mode: bool = True) -> "Guide":
        """Stay in evaluation mode whatever `mode`: the guide is frozen."""
        return super().train(False)

    def set_checkpointing(self, enable: bool) -> None:
        """Compute the blocks of transformers again in the backward pass; a ResNet tower stays as it is."""
        self.clip.set_grad_checkpointing(enable)

    def normalise(self, images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 3 size size"]:
        """Resize RGB images in [0, 1] to the guide's square and normalise them; zero is the mean colour."""
        images = images.float()  # under mixed precision they arrive in half, which resizing does not know
        if images.shape[-2:] != (size := (self.image_size, self.image_size)):
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
        return (images - self.mean) / self.std

    def masks(self, maps: Float[Tensor, "pairs h w"], eps: float) -> Float[Tensor, "pairs 1 size size"]:
        """Return maps at the guide's input size, each scaled to [0, 1): `semples.models.masking.scaled_masks`."""
        return scaled_masks(maps, self.image_size, eps, self.align_corners)

    def centred(self, features: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Return image features less `image_centre`, L2-normalised before and after."""
        return _centred(features, self.image_centre)

    def encode_image(self, pixels: Pixels) -> Float[Tensor, "batch width"]:
        return _centred(encode_image(self.clip, pixels), self.image_centre)

    def encode_text(self, sentences: list[str]) -> Float[Tensor, "sentences width"]:
        tokens = self.tokenizer(sentences).to(self.mean.device)
        parts = [self.clip.encode_text(part) for part in tokens.split(TEXT_BATCH)]
        return _centred(torch.cat(parts), self.text_centre)

    def encode_classes(self, names: list[str], templates: list[str]) -> Float[Tensor, "names width"]:
        """Return one embedding per class name, the mean over its sentences `template.format(name)`."""
        parts = [self.encode_text([template.format(name) for name in names]) for template in templates]
        return F.normalize(torch.stack(parts).mean(dim=0), dim=-1)

    def encode_prompts(
        self, vectors: Float[Tensor, "classes length token_width"], final_period: FinalPeriod = "end_of_word"
    ) -> Float[Tensor, "classes width"]:
        """Return the embeddings of "a photo of {vectors}." with learned vectors in place of token embeddings.

        Where the vectors are the embeddings of real tokens, the result is `encode_text` of the same sentence.

        Args:
            vectors: Learned vectors; their length is at most the context length less 6.
            final_period: Token of the last ".": `end_of_word`, as tokenised, or `bare`, without the end-of-word mark.
        Raises:
            SemplesError: The prompts are longer than the model's context.
        """
        length = vectors.shape[1]
        tokens, first = self._prompt_tokens(length, final_period)
        embedded = self.clip.token_embedding(tokens).expand(len(vectors), -1, -1)
        embedded = torch.cat([embedded[:, :first], vectors, embedded[:, first + length :]], dim=1)
        end_of_text = first + length + 1
        return _centred(encode_embedded(self.clip, embedded, end_of_text), self.text_centre)

    def token_vectors(self, words: str) -> Float[Tensor, "tokens token_width"]:
        """Return the embeddings of the tokens of `words`."""
        return self.clip.token_embedding(torch.tensor(self.tokenizer.encode(words), device=self.mean.device))

    def _prompt_tokens(self, length: int, final_period: str) -> tuple[Int[Tensor, "1 context"], int]:
        """Return token ids of "a photo of {length placeholders}." and the position of the first placeholder."""
        if (key := (length, final_period, self.mean.device)) in self._tokens:
            return self._tokens[key]
        context, sentence = self.clip.context_length, self.tokenizer(["a photo of."])[0]
        head = 1 + len(self.tokenizer.encode("a photo of"))
        if length > (longest := context - head - 2):
            expected = f"at most {longest} for a context of {context} tokens"
            raise SemplesError("cpl.length", str(length), expected, "lower `cpl.length`")
        tokens = torch.cat([sentence[:head], sentence[1:2].expand(length), sentence[head:]])[:context]
        if final_period == "bare":
            tokens[head + length] = self.tokenizer.encoder["."]
        self._tokens[key] = tokens.unsqueeze(0).to(self.mean.device), head
        return self._tokens[key]


def _centred(features: Float[Tensor, "*batch width"], centre: Float[Tensor, " one_or_width"]) -> Tensor:
    return F.normalize(F.normalize(features.float(), dim=-1) - centre, dim=-1)


def load_guide(
    model: str,
    pretrained: str | None = None,
    normalisation: str = "guide",
    fill: str = "mean",
    align_corners: bool = False,
) -> Guide:
    """Load open_clip's `model`: a name with `pretrained` as tag of weights, `hf-hub:<id>` or `local-dir:<folder>`.

    Raises:
        SemplesError: open_clip cannot load the model or its weights.
    """
    from open_clip import create_model, get_tokenizer  # imported late: it takes a second, and most stages load no guide

    try:
        clip, tokenizer = create_model(model, pretrained=pretrained, precision="fp32"), get_tokenizer(model)
    except (RuntimeError, FileNotFoundError, OSError, ValueError) as error:
        problem = f"open_clip cannot load it: {str(error).splitlines()[0]}"
        expected = "an open_clip model name with `pretrained`, `hf-hub:<id>` or `local-dir:<folder>`"
        remedy = "correct `guide.model` and `guide.pretrained`, or fetch the weights first"
        raise SemplesError(f"guide {model!r}", problem, expected, remedy) from error
    return Guide(clip, tokenizer, normalisation, fill, align_corners)
