"""Measure the speed of this machine with the networks of a configuration, on a drawn picture."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image

from semples.config.settings import Settings
from semples.data.images import read_image, write_mask
from semples.data.importers.mini import CLASSES
from semples.data.manifest import COLUMNS, Manifest
from semples.inference.crf import PRESETS, dense_crf
from semples.mini.world import draw_scene
from semples.planning.cost import Count, Size, rate_key, work
from semples.planning.graph import LEARNING
from semples.planning.stage_work import stage_work
from semples.provenance import MACHINE, machine
from semples.runtime.cpu import quick_steps
from semples.runtime.devices import make_fabric

log = logging.getLogger(__name__)
STEP_SHARE = 0.03  # of the budget that a batch takes, as the matrix product lets expect
EFFICIENCY = 0.4  # of a network, relative to the matrix product
SIDE = 1024  # of the multiplied matrices on a CPU
SMALL, NOISE = 128, 20.0  # side in pixels of a picture that is a PNG, and standard deviation in grey levels
WORDS = 6  # that the guide embeds for an image
BUSY = 1.5  # wall-clock time over processor time where other processes are in the way


@dataclass(frozen=True)
class Workbench:
    """What the measurements share: device, threads, a picture and its mask."""

    device: str
    threads: int
    picture: Path
    mask: Path

    def images(self, number: int) -> Manifest:
        """Return the picture so many times; every second one has two labels."""
        names, (width, height) = CLASSES.names, self.size()
        files = [str(self.picture), str(self.mask), "", width, height]
        rows = [[f"{row}", *files, ";".join(names[: 1 + row % 2])] for row in range(number)]
        return Manifest(pd.DataFrame(rows, columns=COLUMNS), CLASSES)

    def size(self) -> tuple[int, int]:
        """Return width and height of the picture in pixels."""
        with Image.open(self.picture) as image:
            return image.size

    def seconds(self, function: Callable[[], object]) -> float:
        """Return the seconds of a call, the shorter of two after a first one that sets things up.

        One thread is timed by the processor's clock, which does not count the time of other processes.
        """
        clock = time.process_time if self.device == "cpu" and self.threads == 1 else time.perf_counter
        function()
        times = []
        for _ in range(2):
            begun = clock()
            function()
            if self.device == "cuda":
                torch.cuda.synchronize()
            times.append(clock() - begun)
        return min(times)


def measure(
    settings: Settings, jobs: Sequence[tuple[str, Settings]], size: Size, device: str, count: Count, budget: float
) -> dict[str, Any]:
    """Return the speeds of this machine, as `semples.planning.speed.Speed` has them.

    Args:
        settings: Those of the run; their precision and CRF are measured.
        jobs: Stages with the settings of their jobs, the most important first; a rate is measured once.
        size: That of the data set; the picture has as many pixels as a mean image.
        device: `cpu` or `cuda`.
        count: Counts the operations of networks.
        budget: Seconds in which measurements begin; rates that come later stay assumed.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it names the precision of every step
    begun, used, rates = time.monotonic(), time.process_time(), {}
    with TemporaryDirectory() as folder:
        bench = Workbench(device, 1, *_draw(Path(folder), size.pixels))
        product = _product_rate(bench, settings)
        decode = np.prod(bench.size()) / bench.seconds(lambda: read_image(bench.picture))
        crf = _crf_rate(bench, settings.crf.preset)
        for stage, run in jobs:
            if (key := rate_key(stage, run)) not in rates and time.monotonic() - begun < budget:
                rates[key] = _rate(stage, run, bench, product, count, STEP_SHARE * budget)
    if device == "cpu" and time.monotonic() - begun > BUSY * (time.process_time() - used):
        log.warning("other processes use this machine; the estimate holds for an idle one")
    processor = machine(1, device)[MACHINE].removesuffix(", 1 thread")
    return {
        "from": f"measured on {processor}, {date.today()}, PyTorch {torch.__version__}",
        "start_seconds": used,  # this process has imported what a learning job imports
        "product_gflop_per_second": product,
        "decode_pixels_per_second": float(decode),
        "crf_pixels_per_second": crf,
        "rates": rates,
    }


def _draw(folder: Path, pixels: float) -> tuple[Path, Path]:
    """Draw a square picture of so many pixels, and its mask; return their paths.

    It is a PNG where it is as small as those of the miniature, else a JPEG with as many bytes a pixel as those of VOC.
    """
    rng, side = np.random.default_rng(0), max(32, round(pixels**0.5))
    scene = draw_scene(rng)
    image = cv2.resize(scene.image, (side, side), interpolation=cv2.INTER_CUBIC) + rng.normal(0, NOISE, (side, side, 3))
    picture, mask = folder / f"picture.{'png' if side < SMALL else 'jpg'}", folder / "mask.png"
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(picture, quality=90)
    write_mask(mask, cv2.resize(scene.mask, (side, side), interpolation=cv2.INTER_NEAREST), CLASSES.palette())
    return picture, mask


def _product_rate(bench: Workbench, settings: Settings) -> float:
    """Return GFLOP a second of one thread, or of the GPU, at a product of two large matrices."""
    torch.set_num_threads(1)
    fabric = make_fabric(bench.device, settings.precision)
    side = SIDE if bench.device == "cpu" else 8 * SIDE
    left, right = torch.randn(2, side, side, device=fabric.device)

    def product() -> None:
        with torch.no_grad(), fabric.autocast(), quick_steps(fabric.device):
            F.linear(left, right)

    return 2 * side**3 / bench.seconds(product) / 1e9


def _crf_rate(bench: Workbench, preset: str) -> float:
    """Return pixels a second of the CRF of one image; a pixel counts for each label and iteration."""
    image, labels, iterations = read_image(bench.picture), 3, 10
    unary = np.random.default_rng(0).random((labels, *image.shape[:2]), np.float32)
    kernels = PRESETS["weaktr" if preset == "none" else preset]
    return unary.size * iterations / bench.seconds(lambda: dense_crf(image, unary, kernels, iterations))


def _rate(stage: str, settings: Settings, bench: Workbench, product: float, count: Count, step_s: float) -> float:
    """Return GFLOP a second of a stage, at a batch that takes about `step_s` seconds."""
    bench = replace(bench, threads=1 if stage == "cams" else settings.run.threads)
    torch.set_num_threads(bench.threads)
    width, height = bench.size()

    def gflop(number: int) -> float:
        size = Size(number, number, width * height, (number + number // 2) / number, len(CLASSES))
        return work(stage, _settings_of_a_batch(stage, settings, bench, number), size, count)[0]

    section = getattr(settings, {"joint": "csr"}.get(stage, stage) if stage in LEARNING else "cams")
    number = max(2, min(section.batch, int(step_s * EFFICIENCY * product / gflop(1))))
    batch = _settings_of_a_batch(stage, settings, bench, number)
    return gflop(number) / bench.seconds(stage_work(stage, batch, bench.images(number)))


def _settings_of_a_batch(stage: str, settings: Settings, bench: Workbench, number: int) -> Settings:
    """Return the settings for one batch of so many images."""
    run = {"device": bench.device, "devices": 1, "workers": 0, "threads": bench.threads, "cache_folder": ""}
    changes: dict[str, dict] = {"run": run}
    if stage in LEARNING:
        changes["csr" if stage == "joint" else stage] = {"epochs": 1, "batch": number}
    elif stage == "guide":
        changes["guide"] = {"centre": "images", "words": [f"word {index}" for index in range(WORDS * number)]}
    return settings.model_copy(update={k: getattr(settings, k).model_copy(update=v) for k, v in changes.items()})
