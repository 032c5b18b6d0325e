"""Two scales and their mirror images of every photograph, in float32. *Plain* processes one image and one view at a
time. It decodes, computes and writes in sequence, all cores share every operation, and it writes a float32 .npy file
per image with the values that the package stores (stride 4; in the second row full size, as published). *Ours* is
`semples cams`. In the row *ours in bfloat16*, plain stays in float32, and ours has mixed precision, which
`precision: auto` takes on a device with bfloat16."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from benchmarks.frame import Inputs, Row, seconds
from benchmarks.maps import SCALES, generator, generator_file, settings
from semples.data.cam_file import CamFile
from semples.data.images import read_image
from semples.inference.views import stored_size
from semples.runtime.devices import Precision, computes_in_bfloat16
from semples.stages import cams

STRIDE = 4


def rows(inputs: Inputs) -> list[Row]:
    """Measure images a second and the largest difference of a score."""
    count, table = len(inputs.images()), []
    out = inputs.folder / "cams.h5"
    ours = seconds(lambda: semples_cams(inputs, "32-true", out))
    for what, stride in (("at equal results", STRIDE), ("published size, full resolution", 1)):
        folder = inputs.folder / f"plain cams {stride}"
        plain = seconds(lambda: one_at_a_time(inputs, stride, folder))  # noqa: B023 - called at once
        agreement = f"largest difference {difference(out, folder):.1e}" if stride == STRIDE else "other resolution"
        speeds = (count / plain, count / ours)
        table.append(Row("cams", what, *speeds, "images/s", plain / ours, agreement, inputs.device))
    if computes_in_bfloat16(inputs.device):
        speeds = (table[0].plain, count / seconds(lambda: semples_cams(inputs, "auto", out)))
        agreement = f"largest difference {difference(out, inputs.folder / f'plain cams {STRIDE}'):.1e}"
        ratio = speeds[1] / speeds[0]
        table.append(Row("cams", "ours in bfloat16", *speeds, "images/s", ratio, agreement, inputs.device))
    return table


def semples_cams(inputs: Inputs, precision: Precision, out: Path) -> None:
    """Run the stage behind the command `semples cams`."""
    config = settings(inputs, precision, scales=SCALES, flip=True, stride=STRIDE, dtype="float32", border="cut")
    cams.run(config, inputs.manifest, inputs.split, generator_file(inputs), out)


@torch.inference_mode()
def one_at_a_time(inputs: Inputs, stride: int, folder: Path) -> None:
    """Run the published loop: one view at a time, sides cut, all classes resized, the present ones stored."""
    torch.set_num_threads(inputs.threads)
    folder.mkdir()
    model, images = generator(inputs), inputs.images()
    for row, labels in zip(images.table.itertuples(), images.label_matrix(), strict=True):
        photo, total = Image.fromarray(read_image(row.image)), 0
        for scale in SCALES:
            scaled = photo.resize([round(scale * side) for side in photo.size], Image.Resampling.BICUBIC)
            for mirrored in (False, True):
                pixels = np.array(ImageOps.mirror(scaled) if mirrored else scaled)
                pixels = pixels[: len(pixels) // 16 * 16, : pixels.shape[1] // 16 * 16]
                view = torch.from_numpy(pixels).to(inputs.device).permute(2, 0, 1)[None].float() / 255
                maps = model(view).cams
                maps = maps.flip(-1) if mirrored else maps
                size = stored_size(row.height, row.width, stride)
                total = total + F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
        present = torch.from_numpy(np.flatnonzero(labels)).to(inputs.device)
        kept = total[0, present] / (2 * len(SCALES))
        low, high = kept.amin(dim=(1, 2), keepdim=True), kept.amax(dim=(1, 2), keepdim=True)
        np.save(folder / f"{row.id}.npy", ((kept - low) / (high - low + 1e-8)).cpu().numpy())


def difference(ours: Path, plain: Path) -> float:
    """Return the largest difference of a score."""
    with CamFile(ours) as file:
        return max(float(np.abs(file.read(image).score - np.load(plain / f"{image}.npy")).max()) for image in file.ids)
