"""WeakTr's logits, maps, classification step and exported maps against the published code (tests/golden)."""

import pytest
import torch
from golden_files import PARITY

from semples.inference.views import as_batch, average_views
from semples.models.masking import min_max

CPU = torch.device("cpu")
EXPORTS = [("voc_scales", (1.0, 1.2), "max"), ("one_scale", (1.0,), "max"), ("coco_scales", (1.0, 0.8, 1.2), "avg")]


@torch.no_grad()
@pytest.mark.parametrize("case", EXPORTS, ids=lambda case: case[0])
def test_exported_maps_equal_the_published(case, golden, golden_weaktr, agrees):
    name, scales, pool = case
    z, model = golden("weaktr_tiny"), golden_weaktr(pool=pool).eval()
    for image in sorted(key.removeprefix(f"{name}/") for key in z if key.startswith(f"{name}/")):
        pixels = as_batch([z[f"image_{image}"]], CPU)
        maps = average_views(
            lambda x: model(x).cams, pixels, scales, True, tuple(pixels.shape[-2:]), PARITY.cams.border
        )[0]
        ours = min_max(maps[torch.from_numpy(z[f"classes_of_{image}"]).long()], 1e-8)
        agrees(f"exported maps, {name.replace('_', ' ')}, image {image}", ours, z[f"{name}/{image}"], 1e-4)
