"""The interface of mask generators, and the generators whose head is one convolution."""

import math
from typing import Any, Literal, NamedTuple

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

Activation = Literal["relu", "sigmoid"]


class Maps(NamedTuple):
    """Output of a generator for a batch."""

    cams: Float[Tensor, "batch classes h w"]  # class activation maps, not negative, unscaled
    logits: tuple[Float[Tensor, "batch classes"], ...]  # class logits, one tensor for each loss of the classifier


class MaskGenerator(nn.Module):
    """Make `Maps` from RGB images in [0, 1], (batch, 3, height, width) of any size, which it normalises itself."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def map_head(self) -> nn.ModuleList:
        """Return the parts that make maps from features: all that learns with `trainable: head`."""
        raise NotImplementedError

    def set_checkpointing(self, enable: bool) -> None:
        """Compute the blocks of a transformer again in the backward pass; a generator that has none stays as it is."""

    def converted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights from elsewhere, of the backbone or of all parts, under own names; the caller checks shapes."""
        return tensors

    def freeze_backbone(self) -> None:
        """Let only the head learn."""
        self.requires_grad_(False)
        self.map_head().requires_grad_(True)


class ConvCam(MaskGenerator):
    """Three convolution blocks down to a quarter of the image's side, then a 1x1 classifier; maps are its ReLU."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        half = nn.MaxPool2d(2)
        self.features = nn.Sequential(
            _block(3, width), half, _block(width, 2 * width), half, _block(2 * width, 4 * width)
        )
        self.classifier = nn.Conv2d(4 * width, classes, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # several times as fast on a CPU

    def map_head(self) -> nn.ModuleList:
        return nn.ModuleList([self.classifier])

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Maps:
        scores = self.classifier(self.features((images - self.mean) / self.std))
        return Maps(scores.relu(), (scores.mean(dim=(2, 3)),))


class ResNetCam(MaskGenerator):
    """timm ResNet at stride 16; a 1x1 convolution without bias gives scores, their mean the class logits.

    Maps are the scores' ReLU, or their sigmoid with `activation: sigmoid`, as in CLIMS (arXiv 2203.02668).
    """

    resnet: Any

    def __init__(self, classes: int, backbone: str, activation: Activation = "relu") -> None:
        resnet: Any = timm.create_model(backbone, num_classes=0, output_stride=16)
        super().__init__(resnet.default_cfg["mean"], resnet.default_cfg["std"])
        self.resnet, self.activation = resnet, activation
        self.classifier = nn.Conv2d(resnet.num_features, classes, 1, bias=False)

    def map_head(self) -> nn.ModuleList:
        return nn.ModuleList([self.classifier])

    def converted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return tensors if "classifier.weight" in tensors else backbone_weights(tensors, "resnet")

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Maps:
        scores = self.classifier(self.resnet.forward_features((images - self.mean) / self.std))
        cams = scores.relu() if self.activation == "relu" else scores.sigmoid()
        return Maps(cams, (scores.mean(dim=(2, 3)),))


class VitCam(MaskGenerator):
    """timm ViT; a 3x3 convolution over the final patch tokens gives scores, their ReLU the maps (WeakTr's coarse CAM).

    The class logits are the scores pooled by `pool_scores`. Images of any size are padded to whole patches, and the
    position embedding is resized bicubically.
    """

    vit: Any

    def __init__(self, classes: int, backbone: str, drop_path: float = 0.0, sharpness: float = 0.0) -> None:
        vit = any_size_vit(backbone, drop_path)
        super().__init__(vit.default_cfg["mean"], vit.default_cfg["std"])
        self.vit, self.sharpness = vit, sharpness
        self.patch_cam = nn.Conv2d(vit.embed_dim, classes, 3, padding=1)

    def map_head(self) -> nn.ModuleList:
        return nn.ModuleList([self.patch_cam])

    def set_checkpointing(self, enable: bool) -> None:
        self.vit.set_grad_checkpointing(enable)

    def converted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return tensors if "patch_cam.weight" in tensors else backbone_weights(tensors, "vit")

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Maps:
        frozen = not next(self.vit.parameters()).requires_grad
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            tokens = self.vit.forward_features((images - self.mean) / self.std)
        patches = tokens[:, self.vit.num_prefix_tokens :].transpose(1, 2)  # batch, width, rows * columns
        scores = self.patch_cam(patches.unflatten(2, self.vit.patch_embed.dynamic_feat_size(images.shape[-2:])))
        return Maps(scores.relu(), (pool_scores(scores, self.sharpness),))


def any_size_vit(backbone: str, drop_path: float) -> Any:
    """Return a timm ViT without classifier for images of any size; `drop_path` is its stochastic depth in training."""
    any_size: dict[str, Any] = {"dynamic_img_size": True, "dynamic_img_pad": True}
    return timm.create_model(backbone, num_classes=0, drop_path_rate=drop_path, **any_size)


def pool_scores(scores: Float[Tensor, "batch classes h w"], sharpness: float) -> Float[Tensor, "batch classes"]:
    """Return the mean score over patches, or with `sharpness` r > 0 the log-mean-exp, log(mean(exp(r x))) / r.

    With log-mean-exp (Pinheiro and Collobert, arXiv 1411.6228) one strong patch outweighs many weak ones, and maps
    cover less.
    """
    flat = scores.flatten(2)
    if not sharpness:
        return flat.mean(dim=2)
    return (torch.logsumexp(sharpness * flat.float(), dim=2) - math.log(flat.shape[2])) / sharpness


def _block(inside: int, outside: int) -> nn.Sequential:
    layers = [
        (nn.Conv2d(width, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True))
        for width in (inside, outside)
    ]
    return nn.Sequential(*layers[0], *layers[1])


def backbone_weights(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the weights of a timm model under `prefix`, without its classifier."""
    heads = ("head.", "head_dist.", "fc.")
    return {f"{prefix}.{name}": value for name, value in tensors.items() if not name.startswith(heads)}
