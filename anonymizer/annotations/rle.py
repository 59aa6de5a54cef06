"""COCO run-length masks in the frame of a box, so that a crowd in a huge picture stays small in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import IntBox, mask_box, paste_window

__all__ = ["decode_rle", "encode_rle", "is_rle"]


def encode_rle(mask: NDArray[np.bool_], box: IntBox, size: tuple[int, int]) -> dict[str, Any]:
    """Encode a mask as compressed COCO RLE of the whole picture.

    Args:
        mask: bool (h, w) in the frame of ``box``.
        box: Integer xyxy; parts beyond the picture are cut off.
        size: Picture (height, width).

    Returns:
        ``{"size": [height, width], "counts": "..."}``, counts in ASCII.
    """
    height, width = size
    (rows, columns), local = paste_window(box, size)
    inner = mask[local]
    # (h, w) -> (w, h + 2): COCO runs down the columns.
    padded = np.zeros((inner.shape[1], inner.shape[0] + 2), dtype=np.int8)
    padded[:, 1:-1] = inner.T
    steps = np.diff(padded, axis=1)
    starts, ends = (_positions(steps == sign, columns.start, rows.start, height) for sign in (1, -1))
    # A run that reaches the bottom goes on at the top of the next column.
    apart = starts[1:] != ends[:-1]
    starts = np.concatenate([starts[:1], starts[1:][apart]])
    ends = np.concatenate([ends[:-1][apart], ends[-1:]])
    edges = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(np.concatenate([[0], edges, [height * width]])).tolist()
    if len(counts) > 1 and counts[-1] == 0:
        counts.pop()
    return {"size": [height, width], "counts": _compress(counts)}


def decode_rle(
    segmentation: dict[str, Any], size: tuple[int, int], name: str
) -> tuple[IntBox, NDArray[np.bool_]] | None:
    """Decode COCO RLE, compressed or not.

    Args:
        segmentation: ``{"size": [height, width], "counts": text or list}``.
        size: Picture (height, width) it must match.
        name: What to call the annotation in messages.

    Returns:
        The mask's tight integer box and the mask in its frame, bool (h, w); None if no pixel is set.

    Raises:
        InputError: Size or counts do not fit the picture.
    """
    height, width = size
    if segmentation.get("size") != [height, width]:
        raise InputError(
            f"{name}: segmentation of size {segmentation.get('size')}, expected {[height, width]} (height, width)"
        )
    counts = np.asarray(_counts(segmentation.get("counts"), name), dtype=np.int64)
    if counts.min(initial=0) < 0 or counts.max(initial=0) > height * width or counts.sum() != height * width:
        raise InputError(
            f"{name}: segmentation counts sum to {counts.sum()}, expected height x width = {height * width}"
        )
    bounds = np.cumsum(counts)
    ends = bounds[1::2]
    starts = bounds[0::2][: len(ends)]
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not starts.size:
        return None
    left, right = int(starts[0] // height), int((ends[-1] - 1) // height) + 1
    change = np.zeros((right - left) * height + 1, dtype=np.int8)
    np.add.at(change, starts - left * height, 1)
    np.add.at(change, ends - left * height, -1)
    # (w * H,) -> (H, w)
    band = np.cumsum(change[:-1], dtype=np.int8).astype(bool).reshape(right - left, height).T
    tight = mask_box(band)
    if tight is None:
        return None
    x1, y1, x2, y2 = tight
    return (left + x1, y1, left + x2, y2), np.ascontiguousarray(band[y1:y2, x1:x2])


def is_rle(value: object) -> bool:
    """Return whether a value is COCO RLE and nothing else: its counts cover a picture of its size exactly."""
    if not isinstance(value, dict) or value.keys() != {"size", "counts"} or not isinstance(value["size"], list):
        return False
    size = value["size"]
    if len(size) != 2 or not all(isinstance(side, int) and 0 < side < 2**20 for side in size):
        return False
    try:
        counts = _counts(value["counts"], "segmentation")
    except InputError:
        return False
    return min(counts, default=0) >= 0 and sum(counts) == size[0] * size[1]


def _positions(hits: NDArray[np.bool_], left: int, top: int, height: int) -> NDArray[np.int64]:
    columns, rows = np.nonzero(hits)
    return (columns + left) * height + rows + top


def _compress(counts: Sequence[int]) -> str:
    """Pack counts as COCO does: differences to the count before last, 5 bits a character, sign extended."""
    out: list[str] = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != -1 if bits & 0x10 else value != 0
            out.append(chr((bits | 0x20 if more else bits) + 48))
    return "".join(out)


def _counts(counts: object, name: str) -> list[int]:
    if isinstance(counts, list) and all(isinstance(count, int) and not isinstance(count, bool) for count in counts):
        return counts if all(abs(count) < 2**40 for count in counts) else [-1]
    if not isinstance(counts, str):
        raise InputError(f"{name}: segmentation counts must be a text or a list of whole numbers")
    out: list[int] = []
    position = 0
    while position < len(counts):
        value = shift = 0
        more = True
        while more:
            bits = ord(counts[position]) - 48 if position < len(counts) else -1
            # 8 characters hold 40 bits, more than any picture has pixels.
            if not 0 <= bits < 64 or shift >= 40:
                raise InputError(f"{name}: segmentation counts are not COCO compressed RLE; export them again")
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            shift += 5
            position += 1
            if not more and bits & 0x10:
                value |= -1 << shift
        out.append(value + out[-2] if len(out) > 2 else value)
    return out
