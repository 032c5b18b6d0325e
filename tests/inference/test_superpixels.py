"""Superpixels: regions of an image, and the means of scores in them."""

import sys

import numpy as np
import pytest

from semples.config.settings import Superpixels
from semples.errors import SemplesError
from semples.inference.superpixels import region_means, segmented


def halves() -> np.ndarray:
    """A picture of two colours."""
    image = np.full((24, 32, 3), 40, np.uint8)
    image[:, 20:] = 200
    return image


@pytest.mark.parametrize(("method", "size"), [("felzenszwalb", 100), ("slic", 2)])
def test_every_pixel_gets_the_mean_of_its_region(method, size):
    score = np.random.default_rng(0).random((2, 24, 32)).astype(np.float32)
    settings = Superpixels(method=method, sizes=[size], sigma=0)
    means = region_means(score, halves(), settings)
    assert means.dtype == np.float32
    for half in (np.s_[:, :, :20], np.s_[:, :, 20:]):
        expected = score[half].mean(axis=(1, 2), keepdims=True)
        assert np.allclose(means[half], np.broadcast_to(expected, means[half].shape), atol=1e-6)


@pytest.mark.parametrize(("method", "sizes"), [("felzenszwalb", [10, 300]), ("slic", [4, 40])])
def test_several_segmentations_are_averaged(method, sizes):
    rng = np.random.default_rng(1)
    image, score = rng.integers(0, 255, (20, 25, 3), np.uint8), rng.random((1, 20, 25)).astype(np.float32)
    one, other = (region_means(score, image, Superpixels(method=method, sizes=[size])) for size in sizes)
    assert not np.allclose(one, other)
    both = region_means(score, image, Superpixels(method=method, sizes=sizes))
    assert np.allclose(both, (one + other) / 2, atol=1e-6)


def test_pixels_vote():
    score = np.zeros((1, 24, 32), np.float32)
    score[0, :6, :20], score[0, 6:, :20], score[0, :, 20:] = 1.0, 0.6, 0.2
    settings = Superpixels(sizes=[100], sigma=0, score="vote", threshold=0.8)
    votes = region_means(score, halves(), settings)
    assert np.allclose(votes[0, :, :20], 0.25)
    assert not votes[0, :, 20:].any()


@pytest.mark.parametrize("method", ["felzenszwalb", "slic"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2)])
def test_tiny_images_have_regions_too(method, shape):
    regions = segmented(np.zeros((*shape, 3), np.uint8), 50, Superpixels(method=method))
    assert regions.shape == shape
    assert regions.min() == 0


def test_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(SemplesError, match="pip install scikit-image"):
        segmented(halves(), 100, Superpixels())
