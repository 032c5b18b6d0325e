"""Write the same CAMs in the files of the package and in the published layout, once per run."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.frame import Inputs
from semples.config.settings import Cams, Crf, Generator, Run, Settings
from semples.data.cam_file import CamFile
from semples.files import require
from semples.models.generators import MaskGenerator
from semples.runtime.devices import Precision
from semples.stages import cams
from semples.weights.generators import bare_generator, save_module, trained_generator

SCALES = [1.0, 1.2]


def settings(inputs: Inputs, precision: Precision = "32-true", **cams_settings) -> Settings:
    """Return settings of a DeiT-Tiny `vit_cam`, in float32 if not said otherwise, with `cams_settings` for `cams`."""
    return Settings(
        run=Run(device=inputs.device, threads=inputs.threads),
        precision=precision,
        masks_from="classify",
        generator=Generator(name="vit_cam", backbone="deit_tiny_patch16_224", weights="none"),
        cams=Cams(**cams_settings),
        crf=Crf(preset="irn"),
    )


def generator_file(inputs: Inputs) -> Path:
    """Return the file of the named generator, or of one with random weights."""
    if inputs.generator:
        return require(inputs.generator, "classify")
    path = inputs.folder / "generator.safetensors"
    if not path.exists():
        torch.manual_seed(0)
        save_module(bare_generator(settings(inputs).generator, len(inputs.images().classes)), path, {})
    return path


def generator(inputs: Inputs) -> MaskGenerator:
    """Return that generator, ready for inference."""
    model, _ = trained_generator(settings(inputs), len(inputs.images().classes), generator_file(inputs), "classify")
    return model.eval().to(inputs.device)


def store(inputs: Inputs, stride: int, dtype: str) -> Path:
    """Write the HDF5 file of one view per image at this stride and dtype; return its path."""
    path = inputs.folder / f"{dtype}-{stride}.h5"
    if not path.exists():
        config = settings(inputs, scales=[1.0], flip=False, stride=stride, dtype=dtype)
        cams.run(config, inputs.manifest, inputs.split, generator_file(inputs), path)
    return path


def published(inputs: Inputs) -> Path:
    """Write the CAMs of `store(inputs, 1, "float32")` in the published layout: pickled, one file per image."""
    folder = inputs.folder / "published"
    if not folder.exists():
        folder.mkdir()
        with CamFile(store(inputs, 1, "float32")) as file:
            for image in file.ids:
                maps = file.read(image)
                np.save(folder / f"{image}.npy", {"keys": maps.classes, "high_res": maps.score}, allow_pickle=True)
    return folder


def read_published(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (present, height, width) and class indices of one file."""
    entry = np.load(path, allow_pickle=True).item()
    return entry["high_res"], entry["keys"]
