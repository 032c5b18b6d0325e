"""The miniature world as a data set: pictures and masks drawn into a folder."""

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from semples.config.settings import Data
from semples.data.images import write_image, write_mask
from semples.data.manifest import Classes
from semples.mini.world import CLASSES, draw_scene

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#f0e442",
    "#56b4e9",
    "#cc79a7",
    "#e69f00",
)  # told apart by colour-blind eyes


def classes() -> Classes:
    """The six classes of the miniature."""
    return Classes(CLASSES, CLASSES, COLOURS)


def load(data: Data, folder: Path, processes: int) -> tuple[Classes, pd.DataFrame]:
    """The miniature, drawn into `folder`."""
    return classes(), table(folder, data.scenes, data.seed)


def table(folder: Path, scenes: dict[str, int], seed: int) -> pd.DataFrame:
    """Draw `scenes` pictures of every split into `folder`/images and /masks; paths are relative to `folder`."""
    palette = classes().palette()
    (folder / "masks").mkdir(parents=True)
    rows = []
    for place, (split, count) in enumerate(scenes.items()):
        rng = np.random.default_rng([seed, place])
        for number in tqdm(range(count), desc=f"drawing {split}", mininterval=2):
            scene, name = draw_scene(rng), f"{split}_{number:05d}"
            write_image(folder / "images" / f"{name}.png", scene.image)
            write_mask(folder / "masks" / f"{name}.png", scene.mask, palette)
            height, width = scene.mask.shape
            rows.append(
                {
                    "id": name,
                    "image": f"images/{name}.png",
                    "mask": f"masks/{name}.png",
                    "split": split,
                    "width": width,
                    "height": height,
                    "labels": ";".join(scene.objects),
                }
            )
    return pd.DataFrame(rows)
