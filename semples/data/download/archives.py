"""The archives that the data sets come in: where they lie, what they weigh, and which digest was published.

A size or digest of None is one that is not known for certain. MD5 is what the publishers and torchvision give for
these files; no SHA-256 of any of them is published by those who made them.
"""

from dataclasses import dataclass

VOC = "VOCtrainval_11-May-2012.tar"
SBD = "Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz"
COCO = "images.cocodataset.org"


@dataclass(frozen=True)
class Archive:
    """One file to fetch and unpack."""

    file: str
    """Name on disk."""
    urls: tuple[str, ...]
    """Addresses in order of preference."""
    folder: str
    """What of it is wanted: a folder, as it lies in the archive; it is there when the archive is unpacked."""
    digest: str | None
    """`<algorithm>:<hex digits>`."""
    size: int | None
    """Bytes."""
    unpacked_size: int
    """Bytes of `folder`, roughly, for the check of free disk."""


ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "voc": (
        Archive(
            file=VOC,
            urls=(
                f"http://host.robots.ox.ac.uk/pascal/VOC/voc2012/{VOC}",
                f"https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/{VOC}",
                f"https://pjreddie.com/media/files/{VOC}",
            ),
            folder="VOCdevkit/VOC2012",
            digest="md5:6cd6e144f989b92b3379bac3b3de84fd",
            size=1_999_639_040,
            unpacked_size=2_000_000_000,
        ),
        Archive(
            file="benchmark.tgz",
            urls=(f"https://www2.eecs.berkeley.edu/{SBD}", f"http://www.eecs.berkeley.edu/{SBD}"),
            folder="benchmark_RELEASE/dataset/cls",
            digest="md5:82b4d87ceb2ed10f6038a1cba92111cb",
            size=None,
            unpacked_size=100_000_000,
        ),
    ),
    "coco": (
        Archive(
            file="annotations_trainval2014.zip",
            urls=(f"http://{COCO}/annotations/annotations_trainval2014.zip",),
            folder="annotations",
            digest="md5:0a379cfc70b0e71301e0f377548639bd",
            size=252_872_794,
            unpacked_size=900_000_000,
        ),
        Archive(
            file="train2014.zip",
            urls=(f"http://{COCO}/zips/train2014.zip",),
            folder="train2014",
            digest="md5:0da8c0bd3d6becc4dcb32757491aca88",
            size=13_510_573_713,
            unpacked_size=13_600_000_000,
        ),
        Archive(
            file="val2014.zip",
            urls=(f"http://{COCO}/zips/val2014.zip",),
            folder="val2014",
            digest="md5:a3d79f5ed8d289b7a7554ce06a5782b3",
            size=6_645_013_297,
            unpacked_size=6_700_000_000,
        ),
    ),
}
