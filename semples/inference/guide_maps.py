"""Maps of an image's known labels straight from the guide: over scales, tiles and mirror images."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from semples.config.settings import GuideMaps, Settings
from semples.data.images import read_image
from semples.data.manifest import Manifest
from semples.inference.cams import MIN_MAX_EPS, ImageScores
from semples.inference.views import as_batch, average_windows, resize_bicubic, stored_size
from semples.models.guide import Guide
from semples.models.guide_maps import label_maps
from semples.models.masking import min_max
from semples.runtime.devices import make_fabric


def guide_scores(settings: Settings, guide: Guide, texts: Tensor, images: Manifest) -> Iterator[list[ImageScores]]:
    """Yield the maps of the labels of all images, image by image, at the stored stride and scaled to [0, 1].

    Args:
        texts: Embeddings of the class names (classes, width), L2-normalised.
    """
    torch.set_num_threads(settings.run.threads)
    fabric = make_fabric(settings.run.device, "32-true")
    guide, texts, section = guide.to(fabric.device), texts.to(fabric.device), settings.guide_maps
    with torch.no_grad():
        words = [word for word in section.background if word not in (*images.classes.names, *images.classes.texts)]
        words = [settings.guide.template.format(word) for word in words]
        others = guide.encode_text(words) if words else texts[:0]
    labels, table = images.label_matrix(), images.table

    for row, path in enumerate(table["image"]):
        present = np.flatnonzero(labels[row])
        image = as_batch([read_image(path)], fabric.device)
        maps = image_maps(guide, image, texts[torch.from_numpy(present)], others, section)
        size = stored_size(table["height"][row], table["width"][row], settings.cams.stride)
        stored = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)[0]
        yield [(row, min_max(stored, MIN_MAX_EPS).cpu().numpy(), present)]


def image_maps(guide: Guide, image: Tensor, texts: Tensor, others: Tensor, settings: GuideMaps) -> Tensor:
    """Return the mean of an image's maps over scales, tiles and mirror images, float32 (1, labels, side, side).

    The guide sees the image squashed to a square: at scale 1 of its own input size, at larger scales in overlapping
    tiles of that size.

    Args:
        image: (1, 3, height, width) in [0, 1].
        texts, others: Embeddings of the labels and of the words that compete with them.
    """
    side = guide.image_size

    def tile_maps(tiles: Tensor) -> Tensor:
        how = settings.kind, settings.target, settings.affinity_blocks
        maps = label_maps(guide, guide.normalise(tiles), texts, others, *how)
        return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)

    largest = round(max(settings.scales) * side)
    total = torch.zeros((), device=image.device)
    for scale in settings.scales:
        square = resize_bicubic(image, (max(side, round(scale * side)),) * 2)
        for mirrored in (False, True) if settings.flip else (False,):
            view = square.flip(-1) if mirrored else square
            maps = average_windows(tile_maps, view, side, settings.overlap)
            maps = F.interpolate(maps, size=(largest, largest), mode="bilinear", align_corners=False)
            total = total + (maps.flip(-1) if mirrored else maps)
    return total / (len(settings.scales) * (1 + settings.flip))
