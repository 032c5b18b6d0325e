"""Settings of the refinement of CAMs between cams and crf."""

from typing import Annotated, Literal

from pydantic import Field

from semples.config.settings import types

_SAM = r"[\w-][\w.-]*/[\w-][\w.-]*|\.{0,2}/.+"
SamWeights = Annotated[types.FilePath, types.matching(_SAM, "OWNER/NAME on the hub, or a path: ./NAME")]
Dilations = Annotated[list[types.Few], Field(min_length=1), types.DISTINCT]


class Superpixels(types.Section):
    """Regions of like colour. Every pixel gets the score of its region; no weights are needed."""

    method: Literal["felzenszwalb", "slic"] = "felzenszwalb"
    """Segmentation of scikit-image: a graph of colour differences (Felzenszwalb), or clusters (SLIC)."""
    sizes: Annotated[list[types.Positive], Field(min_length=1), types.DISTINCT] = [200]
    """`felzenszwalb`: scales, `slic`: numbers of regions. Maps are averaged over the segmentations."""
    score: Literal["mean", "vote"] = "mean"
    """A region's score: the mean of its pixels, or the fraction of them that lies in the mask at `threshold`."""
    threshold: types.Fraction = 0.45
    """`vote`: score, as a fraction of a map's highest, from which a pixel belongs to the CAM's mask."""
    stride: types.Few = 2
    """Image pixels per pixel of the refined maps, along each side; the image is shrunk to them."""
    sigma: types.Weight = 0.8
    """Standard deviation in pixels of the Gaussian that smooths the image."""
    least_pixels: types.Count = 20
    """`felzenszwalb` only: pixels that a region has at least."""
    compactness: types.Positive = 10.0
    """`slic` only: weight of the distance in pixels against that in colour."""


class Pamr(types.Section):
    """Pixel-adaptive refinement (arXiv 2005.08104): scores move between neighbours of like colour."""

    dilations: Dilations = [1, 2, 4, 8, 12, 24]
    """Distances of the eight neighbours of a pixel, in pixels of the refined maps."""
    iterations: types.Few = 10
    """Steps, each a weighted mean over the neighbours."""
    bandwidth: types.Positive = 0.1
    """Difference of colour, in standard deviations of the neighbourhood, at which a weight falls to 1/e."""
    stride: types.Few = 4
    """Image pixels per pixel of the refined maps, along each side; the image is shrunk to them."""
    batch: types.Count = 8
    """Images of equal size per pass. On a CPU, fewer if they are large."""


class Sam(types.Section):
    """The Segment Anything Model, SAM or SAM 2. Needs the extra `sam`."""

    weights: SamWeights = "facebook/sam-vit-base"
    """`OWNER/NAME` on the Hugging Face Hub, or a path: `./FOLDER` that `save_pretrained` wrote."""
    use: Literal["prompts", "segments"] = "prompts"
    """`prompts`: peaks and boxes of the CAMs prompt it. `segments`: those of the whole image that overlap with CAMs."""
    threshold: types.Fraction = 0.45
    """Score, as a fraction of a map's highest, from which a pixel belongs to the CAM's mask."""
    least_area: types.Fraction = 0.1
    """`prompts`: area from which a part of a CAM's mask is prompted, as a fraction of its largest part."""
    points: types.Few = 32
    """`segments`: points along each side of the grid that finds the segments."""
    least_iou: types.Fraction = 0.88
    """`segments`: IoU that SAM must predict for a segment."""
    least_stability: types.Fraction = 0.95
    """`segments`: IoU of a segment with itself at logits 1 lower and 1 higher."""
    duplicate_iou: types.Fraction = 0.7
    """`segments`: IoU of two boxes above which the segment of lower quality is left out."""
    inside: types.Fraction = 0.5
    """`segments`: a segment is taken if more than this fraction of it lies in the CAM's mask (arXiv 2305.05803),"""
    covers: types.Fraction = 0.85
    """`segments`: or if it covers more than this fraction of the CAM's mask."""
    stride: types.Few = 2
    """Image pixels per pixel of the refined maps, along each side."""
    batch: types.Count = 64
    """Prompts per pass."""


class Refine(types.Section):
    """Refinement of the CAMs, before the CRF or instead of it (docs/refine.md)."""

    kind: Literal["none", "superpixels", "pamr", "sam"] = "none"
    """`none` has no such stage. The others write refined CAMs, from which evaluation and pseudo masks are made."""
    superpixels: Superpixels = Superpixels()
    pamr: Pamr = Pamr()
    sam: Sam = Sam()

    def stride(self) -> int:
        """Return the stride of the refined maps; 1 where nothing is refined."""
        return 1 if self.kind == "none" else getattr(self, self.kind).stride

    def own_weights(self) -> str:
        """Return the path of the user's own model, "" where none is needed or `semples weights` downloads it."""
        return self.sam.weights if self.kind == "sam" and self.sam.weights.startswith(("/", "./", "../")) else ""

    def downloaded_weights(self) -> str:
        """Return "sam/<owner>/<name>" of what `semples weights` downloads, "" where it downloads nothing."""
        return f"sam/{self.sam.weights}" if self.kind == "sam" and not self.own_weights() else ""
