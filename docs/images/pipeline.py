"""Draw the README's picture, photograph and label in, masks out, from a finished run of the miniature.

python docs/images/pipeline.py results/mini train_00359 docs/images/pipeline.png
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from semples import CamFile, read_manifest
from semples.data.images import colour_mask, heat_overlay, read_image, read_mask

VARIANTS = {"classify": "classifier", "csr": "csr-learned"}
ARROWS = ("classify", "slm, cpl, csr", "crf", "segment")


def main(run: Path, image: str, out: Path) -> None:
    """Draw five pictures of `image` in a row, with an arrow and the stages' names between each two."""
    manifest = read_manifest(run / "data/manifest.csv")
    row = manifest.table.set_index("id").loc[image]
    photo, palette = read_image(row["image"]), manifest.classes.palette()
    pictures = {f"photograph, labelled “{row['labels'].replace(';', ', ')}”": photo}
    for title, variant in zip(("CAM of the classifier", "CAM after csr"), VARIANTS.values(), strict=True):
        with CamFile(run / "cams" / variant / "seed0/cams.h5") as cams:
            pictures[title] = heat_overlay(photo, cams.read(image).full_size()[0])
    for title, folder in (("pseudo mask", "crf"), ("segmentation", "segment")):
        name = {"crf": "masks", "segment": "predictions"}[folder]
        mask = read_mask(run / folder / "csr-learned/seed0" / name / f"{image}.png")
        pictures[title] = colour_mask(mask, palette)
    figure, axes = plt.subplots(1, 5, figsize=(11, 2.0), gridspec_kw={"wspace": 0.55})
    figure.subplots_adjust(left=0.01, right=0.99, top=0.86, bottom=0.02)
    for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    for axis, stages in zip(axes, ARROWS, strict=False):
        axis.annotate(
            "", (1.52, 0.5), (1.06, 0.5), "axes fraction", arrowprops={"arrowstyle": "-|>", "lw": 2, "color": "#0072b2"}
        )
        axis.text(1.29, 0.57, stages, transform=axis.transAxes, ha="center", fontsize=8, color="#0072b2")
    figure.savefig(out, dpi=130, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
