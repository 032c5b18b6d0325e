"""SAM and SAM 2 with random weights: prompts, masks and segments, held against transformers' own processing."""

import numpy as np
import pytest
import torch
from tiny_sam import SIDE, tiny_sam

from semples.config.settings import Sam
from semples.inference.cam_masks import cam_masks, overlapping, prompts_of
from semples.inference.sam import PromptedImage, image_segments, sam_maps
from semples.inference.views import as_batch

transformers = pytest.importorskip("transformers", reason="the optional extra sam is not installed")
POINTS, BOXES = np.array([[10.0, 5.0], [30.0, 33.0]]), np.array([[2.0, 1.0, 20.0, 12.0], [25.0, 20.0, 47.0, 38.0]])


def photo(seed: int = 0, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*shape, 3), np.uint8)


def processor(kind: str):
    if kind == "sam":
        sizes = {"size": {"longest_edge": SIDE}, "pad_size": {"height": SIDE, "width": SIDE}}
        sizes |= {"mask_size": {"longest_edge": 16}, "mask_pad_size": {"height": 16, "width": 16}}
        return transformers.SamProcessor(transformers.SamImageProcessor(**sizes))
    sizes = {"size": {"height": SIDE, "width": SIDE}, "mask_size": {"height": 16, "width": 16}}
    return transformers.Sam2Processor(transformers.Sam2ImageProcessor(**sizes), target_size=SIDE)


@pytest.mark.parametrize("shape", [(40, 50), (90, 33)])
@pytest.mark.parametrize("kind", ["sam", "sam2"])
@torch.inference_mode()
def test_masks_are_those_of_the_librarys_own_processing(kind, shape):
    network, image, process = tiny_sam(kind), photo(shape=shape), processor(kind)
    prompts = {"input_points": [[[point.tolist()] for point in POINTS]], "input_boxes": [BOXES.tolist()]}
    inputs = process(images=image, return_tensors="pt", **prompts)
    output = network(**{k: v for k, v in inputs.items() if k in ("pixel_values", "input_points", "input_boxes")})
    sizes = [inputs[key] for key in ("original_sizes", "reshaped_input_sizes") if key in inputs]
    options = {"pad_size": {"height": SIDE, "width": SIDE}} if kind == "sam" else {}
    (expected,) = process.post_process_masks(output.pred_masks, *sizes, binarize=False, **options)
    prompted = PromptedImage(network, as_batch([image], torch.device("cpu")), shape)
    logits, quality = prompted.answers(POINTS, BOXES, several=True)
    assert logits.shape == (2, 3, *shape)
    assert torch.allclose(quality, output.iou_scores[0], atol=1e-3)
    spread = expected.std()
    assert (logits - expected).abs().mean() < 0.05 * spread  # SAM's own code resizes twice


@pytest.mark.parametrize("kind", ["sam", "sam2"])
@torch.inference_mode()
def test_segments_are_good_and_no_duplicates(kind):
    settings = Sam(points=4, least_iou=0, least_stability=0, batch=5)
    prompted = PromptedImage(tiny_sam(kind), as_batch([photo()], torch.device("cpu")), (20, 25))
    segments = image_segments(prompted, (40, 50), settings)
    assert segments.dtype == bool
    assert segments.shape[1:] == (20, 25)
    assert segments.any(axis=(1, 2)).all()
    every = image_segments(prompted, (40, 50), settings.model_copy(update={"duplicate_iou": 1.0}))
    assert 0 < len(segments) <= len(every) <= 48
    whole = settings.model_copy(update={"batch": 64})
    assert np.array_equal(segments, image_segments(prompted, (40, 50), whole))
    none = image_segments(prompted, (40, 50), settings.model_copy(update={"least_stability": 1.0, "least_iou": 1.0}))
    assert len(none) < len(segments)


def test_masks_of_cams_are_apart_and_relative_to_the_peak():
    score = np.array([[[0.1, 0.2, 0.4, 0.0]], [[0.3, 0.1, 0.3, 0.0]]], np.float32)
    masks = cam_masks(score, 0.5)
    assert masks.tolist() == [[[False, True, True, False]], [[True, False, False, False]]]
    assert not cam_masks(np.zeros((1, 2, 2), np.float32), 0.0).any()
    second = cam_masks(np.array([[[0.9, 0.8]], [[0.1, 0.4]]], np.float32), 0.5)[1]
    assert second.tolist() == [[False, True]]  # a label that wins nowhere has its own peak


def test_peaks_and_boxes_of_the_large_parts():
    score = np.zeros((12, 16), np.float32)
    score[1:4, 2:7], score[2, 5] = 0.5, 0.9  # 15 pixels
    score[6:11, 10:14], score[9, 12] = 0.6, 0.8  # 20 pixels
    score[11, 0] = 1.0  # one pixel
    peaks, boxes = prompts_of(score, score > 0, 0.5)
    assert peaks.tolist() == [[5, 2], [12, 9]]
    assert boxes.tolist() == [[2, 1, 6, 3], [10, 6, 13, 10]]
    assert len(prompts_of(score, score > 0, 0.0)[0]) == 3
    assert prompts_of(score, score > 2, 0.5)[0].shape == (0, 2)


def test_segments_join_the_label_that_they_overlap_with():
    def row(*columns: int) -> np.ndarray:
        mask = np.zeros((1, 12), bool)
        mask[:, list(columns)] = True
        return mask

    masks = np.stack([row(0, 1, 2, 3), row(6, 7), row(10)])
    inside = row(2, 3, 4)  # two of three lie in the first mask
    outside = row(3, 4, 5)  # one of three
    covering = row(5, 6, 7, 8, 9)  # two of five, but all of the second mask
    union = overlapping(np.stack([inside, outside, covering]), masks, 0.5, 0.85)
    assert np.array_equal(union[0], inside)
    assert np.array_equal(union[1], covering)
    assert np.array_equal(union[2], masks[2])  # no segment: the CAM's own mask
    assert np.array_equal(overlapping(np.zeros((0, 1, 12), bool), masks, 0.5, 0.85), masks)
    strict = overlapping(np.stack([inside, outside, covering]), masks, 0.9, 1.0)
    assert np.array_equal(strict, masks)


@pytest.mark.parametrize("use", ["prompts", "segments"])
@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_maps_are_halves_of_cam_and_mask(kind, use):
    score = np.random.default_rng(2).random((3, 20, 25)).astype(np.float32) * np.float32(0.8)
    score[2] = 0
    settings = Sam(use=use, points=3, least_iou=0, least_stability=0)
    refined = sam_maps(tiny_sam(kind), photo(), score, settings)
    answers = 2 * refined - score
    assert refined.shape == score.shape
    assert answers.min() >= -1e-6
    assert answers[:2].max() <= 0.8 + 1e-6
    assert np.array_equal(refined[2], score[2])
    values = np.unique((answers[:2] / score[:2].max(axis=(1, 2), keepdims=True)).round(4)).tolist()
    assert values == [0, 1] or (kind == "sam2" and values == [0])
