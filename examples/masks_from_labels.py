# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Masks from labels
#
# 24 pictures with image-level labels go in. CAMs, pseudo masks and their mIoU come out. The pictures are drawn and the
# guide is part of semples, so nothing is downloaded. It takes half a minute on one core and needs no GPU.
#
# Every step is a command of semples, called from Python. `semples("data --out data")` is `semples data --out data` in a
# terminal.

# %%
import shlex
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from semples import CamFile, read_manifest
from semples.cli import main
from semples.data.images import colour_mask, heat_overlay, read_image, read_mask, write_mask
from semples.mini.world import CLASSES, draw_scene


def semples(command: str) -> None:
    """Run a command of semples. Stop after an error, whose message is above."""
    assert main(shlex.split(command)) == 0, f"semples {command}"


def show(file: str, columns: list[dict[str, np.ndarray]]) -> None:
    """Draw columns of pictures with titles, and save them. A notebook shows them below the cell."""
    size = (1.25 * len(columns), 1.45 * len(columns[0]))
    figure, axes = plt.subplots(len(columns[0]), len(columns), figsize=size, dpi=72, layout="tight")
    for line, pictures in zip(axes.T, columns):
        for axis, (title, picture) in zip(line, pictures.items()):
            axis.imshow(picture, interpolation="nearest")
            axis.set_title(title, fontsize=8)
            axis.axis("off")
    figure.savefig(file)


# %% [markdown]
# ## Pictures and labels
#
# The folder `photos` gets the pictures, and `labels.csv` with their names and labels. Put your own there instead.
# The masks of the drawings stay aside. Later they take the place of a person who corrects masks.

# %%
rng = np.random.default_rng(1)
scenes = {f"picture_{number:02d}": draw_scene(rng) for number in range(24)}
Path("photos").mkdir(exist_ok=True)
for name, scene in scenes.items():
    Image.fromarray(scene.image).save(f"photos/{name}.png")
table = pd.DataFrame([{"image": f"{name}.png", "labels": ";".join(scene.objects)} for name, scene in scenes.items()])
table.to_csv("photos/labels.csv", index=False)
pd.DataFrame({"name": CLASSES}).to_csv("photos/classes.csv", index=False)  # class k is k + 1 in a mask
print(table.head(5).to_string(index=False))

# %% [markdown]
# ## Settings
#
# The preset `mini` has small networks for drawings. For photographs, write `preset: photos`; its guide is OpenAI's
# CLIP. Without ground truth, the background threshold is the label-free one.

# %%
settings = """
preset: mini
data: {source: photos, root: photos, val_fraction: 0}
classify: {epochs: 40, batch: 8}
slm: {epochs: 20, batch: 8, lr: 1.0e-3}
crf: {threshold: {policy: label-free}}
run: {threads: 1}
"""
for stage in ("classify", "slm"):
    Path(f"{stage}.yaml").write_text(f"masks_from: {stage}\n{settings}")
semples("data --config slm.yaml --out data")
semples("guide --config slm.yaml --classes data/classes.csv --out guide")

# %% [markdown]
# ## CAMs
#
# `classify` trains a classifier on the labels. `slm` goes on with it: what a map covers should look like its label to
# the guide, and the rest should not. `cams` writes a map for every label of every picture into one HDF5 file.

# %%
manifest = "--manifest data/manifest.csv"
semples(f"classify --config classify.yaml {manifest} --out classify")
semples(f"slm --config slm.yaml {manifest} --guide guide --start classify/model.safetensors --out slm")
for stage in ("classify", "slm"):
    generator = f"--generator {stage}/model.safetensors"
    semples(f"cams --config {stage}.yaml {manifest} --split train {generator} --out {stage}.h5")

images = read_manifest("data/manifest.csv")
rows = list(images.table.itertuples())
columns = []
with CamFile("classify.h5") as classifier, CamFile("slm.h5") as cams:
    for row in rows[:6]:
        photo, label = read_image(row.image), row.labels.split(";")[0]
        before, after = (heat_overlay(photo, file.read(row.id).full_size()[0]) for file in (classifier, cams))
        columns.append({row.labels: photo, f"{label}, classifier": before, f"{label}, slm": after})
show("cams.png", columns)

# %% [markdown]
# ## Pseudo masks
#
# A dense CRF turns the maps into masks along the edges of the pictures.

# %%
semples(f"crf --config slm.yaml {manifest} --cams slm.h5 --out masks")
palette = images.classes.shown_palette()
masks = {row.id: colour_mask(read_mask(f"masks/{row.id}.png"), palette) for row in rows}
show("masks.png", [{row.labels: read_image(row.image), "pseudo mask": masks[row.id]} for row in rows[:6]])

# %% [markdown]
# ## Correct some of them
#
# `review` draws eight pictures at random: `review/index.html` shows them, and `review/cvat/masks.zip` is for CVAT. Here
# the masks of the drawings stand for the corrected ones. `export-masks` packs them as CVAT would, and `import-labels`
# reads what comes back.

# %%
semples(f"review slm.h5 {manifest} --masks masks --threshold 0.35 --images 8 --random 0 --out review")
reviewed = sorted(path.stem for path in Path("review/photographs").iterdir())
Path("truth").mkdir(exist_ok=True)
for name in reviewed:
    write_mask(Path(f"truth/{name}.png"), scenes[name].mask, palette)
semples(f"export-masks truth {manifest} --format cvat --out corrected")
semples(f"import-labels corrected/masks.zip {manifest} --out back")
columns = []
for name in reviewed:
    corrected = colour_mask(read_mask(f"back/masks/{name}.png"), palette)
    columns.append({name: read_image(f"photos/{name}.png"), "pseudo mask": masks[name], "corrected": corrected})
show("corrected.png", columns)

# %% [markdown]
# ## How good are the masks?
#
# The eight pictures were drawn at random, so their mIoU estimates that of all pictures. The interval says how well.

# %%
Path("back.yaml").write_text("{preset: photos, data: {root: back, val_fraction: 0}}")
semples("data --config back.yaml --out checked")
semples("evaluate --config slm.yaml --manifest checked/manifest.csv --split train --masks masks --out miou.json")

# %% [markdown]
# ## Go on
#
# `back` has the labels and the corrected masks: `data: {root: back}` starts the next run with them. For photographs of
# your own, `semples run photos` does all of this but the correction with one command.
