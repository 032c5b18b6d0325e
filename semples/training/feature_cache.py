"""Features of a frozen backbone in a file, computed once for all epochs, seeds and stages (`run.cache_folder`).

They can be stored where the augmentation shows every image whole in every epoch, as it is or mirrored.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import tv_tensors
from tqdm import tqdm

from semples.config.settings import Settings
from semples.config.settings.learning import Augment
from semples.data.augment import is_mirrored, label_transform
from semples.data.decoded_cache import images_digest, require_room
from semples.data.images import read_image
from semples.data.manifest import Manifest
from semples.errors import SemplesError
from semples.files import FOREIGN, atomic_path, digest, remove_leftovers, written_here
from semples.models.generators import FrozenVit
from semples.provenance import code_digest, provenance
from semples.runtime.cpu import quick_steps
from semples.runtime.devices import make_fabric
from semples.runtime.parallel import map_threads
from semples.weights.tensor_file import digest_tensors

log = logging.getLogger(__name__)
BLOCK = 16  # images of a forward pass
CODE = ("semples.models.generators.frozen_vit", "semples.data.augment", "semples.data.images")  # makes the features


class FeatureFile:
    """Features of images in a NumPy file, float16 (images, orientations, channels, rows, columns).

    Args:
        flip: Probability of the mirror image, which is the second orientation; 0 where there is none.
    """

    def __init__(self, path: Path, flip: float) -> None:
        self.path, self.flip = path, flip
        self._map: np.ndarray | None = None  # every process that loads images opens the file for itself

    def __call__(self, index: int, seed: int) -> Tensor:
        """Return the features of image `index`, float16 (channels, rows, columns), under an augmentation seed."""
        if self._map is None:
            self._map = np.load(self.path, mmap_mode="r")
        return torch.from_numpy(np.array(self._map[index, int(is_mirrored(seed, self.flip))]))


def cached_features(
    generator: nn.Module | None, images: Manifest, settings: Settings, augment: Augment
) -> FeatureFile | None:
    """Return the features of all images, computed now unless their file exists.

    The file is named after all that decides on its content: image files, size, backbone with its weights, blocks,
    orientations, precision, versions and code. Another of these makes another file.

    Returns:
        None for a generator without a frozen backbone, and, with a line in the log, where nothing can be stored.
    Raises:
        SemplesError: The disk is too small, or there is a file of this name that semples did not write.
    """
    if not isinstance(generator, FrozenVit):
        return None
    if (changes := augment.changes()) or not settings.run.cache_folder:
        reason = f"`augment.{changes[0]}` changes the images" if changes else "`run.cache_folder` is empty"
        log.info("the frozen backbone computes its features in every epoch, as %s", reason)
        return None
    side = settings.generator.image_size
    shape = (len(images), 2 if augment.flip else 1, *generator.features_shape(side, side))
    folder = Path(settings.run.cache_folder)
    path = folder / f"features-{_identity(generator, images, settings, shape)}.npy"
    size = 2 * int(np.prod(shape))
    log.info("features of the frozen backbone: %.2f GB in %s", size / 1e9, path)
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(path):
        if not path.exists():
            require_room(folder, size, "features of the frozen backbone", "take fewer `generator.layers`")
            _write(path, shape, generator, images, settings)
    if not written_here(path, folder):
        remedy = "move it away, or name another `run.cache_folder`"
        raise SemplesError(path, f"a file {FOREIGN}", f"the features of {len(images)} images", remedy)
    return FeatureFile(path, augment.flip)


def _identity(generator: FrozenVit, images: Manifest, settings: Settings, shape: tuple[int, ...]) -> str:
    used = settings.generator.model_dump(include={"backbone", "image_size"}) | {"layers": generator.layers}
    precision = make_fabric(settings.run.device, settings.precision).strategy.precision.precision
    inputs = {"images": images_digest(images), "shape": str(shape), "precision": precision}
    weights = {name: tensor.cpu() for name, tensor in generator.vit.state_dict().items()}
    code = " ".join(map(code_digest, CODE))
    return digest(provenance("features", used, weights=digest_tensors(weights), code=code, **inputs))


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file: of jobs side by side one computes it. Remove what a killed one left."""
    with open(path.with_name(f".{path.name}.lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:  # of a file system without locks, where what lies there may be another job's
            log.warning("no lock files (%s): jobs side by side compute the features twice", error)
        else:
            remove_leftovers(path)
        yield


def _write(path: Path, shape: tuple[int, ...], generator: FrozenVit, images: Manifest, settings: Settings) -> None:
    """Compute the features of all images, in their order, and write them, whole or not at all."""
    fabric = make_fabric(settings.run.device, settings.precision)
    torch.set_num_threads(settings.run.threads)
    generator.to(fabric.device)
    paths, mirrors = list(images.table["image"]), (False, True)[: shape[1]]
    blocks = [paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK)]
    decoded = map_threads(partial(_squashed, settings.generator.image_size), blocks, settings.run.threads)
    header = {"descr": "<f2", "fortran_order": False, "shape": shape}
    bar = tqdm(total=len(images), desc="features", unit="image", mininterval=2)
    # the lazy threads decode inside of fork_rng: the run's own random numbers stay as they were
    with atomic_path(path) as partial_path, open(partial_path, "wb") as file, bar, torch.random.fork_rng(devices=[]):
        np.lib.format.write_array_header_1_0(file, header)
        for block in decoded:
            pixels = block.to(fabric.device)
            with fabric.autocast(), quick_steps(fabric.device):
                views = [generator.features(pixels.flip(-1) if mirrored else pixels) for mirrored in mirrors]
            file.write(torch.stack(views, dim=1).cpu().numpy().tobytes())
            bar.update(len(block))
        file.flush()
        os.fsync(file.fileno())  # the name must not outlive the content in a power cut


def _squashed(side: int, paths: list[str]) -> Tensor:
    """Return images as an augmentation without change shows them, float32 (images, 3, side, side) in [0, 1]."""
    resize = label_transform(side, (1, 1), flip=0, randaugment=0, erasing=0)
    decoded = [torch.from_numpy(read_image(Path(path))).permute(2, 0, 1) for path in paths]
    return torch.stack([resize(tv_tensors.Image(image)) for image in decoded])
