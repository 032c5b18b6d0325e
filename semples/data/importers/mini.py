"""The miniature world as a data set: draw its images and masks into a folder."""

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from semples.config.settings import Data
from semples.data.images import write_image, write_mask
from semples.data.manifest import COLUMNS, Classes
from semples.mini import world

COLOURS = ("#0072b2", "#d55e00", "#f0e442", "#56b4e9", "#cc79a7", "#e69f00")  # distinct to colour-blind readers
CLASSES = Classes(world.CLASSES, world.CLASSES, COLOURS)


def load(data: Data, folder: Path, processes: int) -> tuple[Classes, pd.DataFrame]:
    """Draw the miniature into `folder`; return its classes and its table."""
    return CLASSES, table(folder, data.scenes, data.seed)


def table(folder: Path, scenes: dict[str, int], seed: int) -> pd.DataFrame:
    """Draw `scenes` images per split into `folder`/images and /masks; return the manifest's table, paths relative."""
    rows, palette = [], CLASSES.palette()
    (folder / "masks").mkdir(parents=True)
    for index, (split, count) in enumerate(scenes.items()):
        rng = np.random.default_rng([seed, index])
        for number in tqdm(range(count), desc=f"drawing {split}", mininterval=2):
            scene, name = world.draw_scene(rng), f"{split}_{number:05d}"
            image, mask = f"images/{name}.png", f"masks/{name}.png"
            write_image(folder / image, scene.image)
            write_mask(folder / mask, scene.mask, palette)
            rows.append([name, image, mask, split, *scene.mask.shape[::-1], ";".join(scene.objects)])
    return pd.DataFrame(rows, columns=COLUMNS)
