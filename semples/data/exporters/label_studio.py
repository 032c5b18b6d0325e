"""Label Studio: tasks with masks as predictions, which people correct with the brush.

Label Studio stores a mask as four equal bytes a pixel (RGBA), packed into bits in the way of thi.ng's rle-pack:

    32 bits        number of bytes
    5 bits         bits of a value, less 1
    4 x 4 bits     bits of each of the four sizes of lengths, less 1
    blocks         flag (1 for a run), 2 bits with the size of the length, the length less 1, the value
"""

import json
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from semples import __version__
from semples.data.exporters.regions import MaskedImage, without_specks
from semples.data.images import IGNORE
from semples.data.manifest import Classes
from semples.errors import SemplesError

SIZES = (3, 4, 8, 16)  # bits of lengths


def write(folder: Path, images: Iterable[MaskedImage], classes: Classes, least_area: int, prefix: str) -> int:
    """Write `tasks.json`, and `labeling.xml`, the labelling interface of the project; return the number of masks.

    Args:
        prefix: Text before the file name of an image: the address at which Label Studio finds it.
    """
    tasks, count = [], 0
    for image in images:
        mask, (height, width) = without_specks(image.mask, least_area), image.mask.shape
        shape = {"original_width": width, "original_height": height, "image_rotation": 0}
        results = []
        for value in np.setdiff1d(np.unique(mask), [0, IGNORE]).tolist():
            brush = {"format": "rle", "rle": pack(mask == value), "brushlabels": [classes.names[value - 1]]}
            fields = {"id": f"class{value}", "type": "brushlabels", "from_name": "mask", "to_name": "image"}
            results.append(fields | shape | {"value": brush})
        count += len(results)
        predictions = [{"model_version": f"semples {__version__}", "result": results}] if results else []
        tasks.append({"data": {"image": f"{prefix}{image.file}"}, "predictions": predictions})
    (folder / "tasks.json").write_text(json.dumps(tasks))
    labels = "".join(
        f"    <Label value={quoteattr(name)} background={quoteattr(colour)}/>\n"
        for name, colour in zip(classes.names, classes.colours, strict=True)
    )
    (folder / "labeling.xml").write_text(
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="mask" toName="image">\n{labels}  </BrushLabels>\n</View>\n',
        encoding="utf-8",
    )
    return count


def pack(plane: np.ndarray) -> list[int]:
    """Return a mask, bool (height, width), as Label Studio's packed run lengths, bytes in [0, 255]."""
    values = np.repeat(plane.ravel(), 4)
    ends = np.flatnonzero(np.diff(values)) + 1
    bits = [f"{len(values):032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in SIZES)]
    for start, end in zip([0, *ends.tolist()], [*ends.tolist(), len(values)], strict=True):
        for first in range(start, end, 2**16):
            length = min(end - first, 2**16)
            index = next(number for number, size in enumerate(SIZES) if length <= 2**size)
            bits.append(f"1{index:02b}{length - 1:0{SIZES[index]}b}{255 * int(values[start]):08b}")
    text = "".join(bits)
    return list(int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big"))


def unpack(code: list[int], height: int, width: int, where: object) -> np.ndarray:
    """Return the mask, bool (height, width), of Label Studio's packed run lengths: pixels whose fourth byte is not 0.

    Raises:
        SemplesError: They are damaged, or of an image of another size; `where` names the file.
    """
    try:
        return _alpha(code).reshape(height, width) > 0
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        problem, expected = f"run lengths that cannot be read: {error}", f"those of {height}x{width} pixels"
        raise SemplesError(where, problem, expected, "export the annotations again") from error


def _alpha(code: list[int]) -> np.ndarray:
    bits, position = "".join(f"{byte:08b}" for byte in bytes(code)), 0

    def read(count: int) -> int:
        nonlocal position
        position += count
        return int(bits[position - count : position], 2)

    length, word = read(32), read(5) + 1
    sizes, parts, done = [read(4) + 1 for _ in range(4)], [], 0
    while done < length:
        is_run, count = read(1), read(sizes[read(2)]) + 1
        values = [read(word)] * count if is_run else [read(word) for _ in range(count)]
        parts.append(np.array(values, np.uint8))
        done += count
    return np.concatenate(parts)[3::4]
