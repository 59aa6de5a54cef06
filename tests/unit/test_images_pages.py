"""TIFF files of several pages: reduced versions and masks are dropped and noted, anything else is refused."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import tifffile

from anonymizer.core.errors import InputError
from anonymizer.images.decode import decode_image
from anonymizer.images.encode import encode_image
from anonymizer.images.segments import Damaged, tiff_pages, unexpected

FULL, REDUCED, MASK, REDUCED_MASK, PAGE = 0, 1, 4, 5, 2


def tiff(kinds: Sequence[int], dtype: str = "uint8", **form: Any) -> bytes:
    """Return a TIFF file of a page per kind; full ones are 32 wide, others smaller, each in a colour of its own."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **form) as writer:
        for number, kind in enumerate(kinds):
            side = 16 if kind & REDUCED else 32
            pixels = np.full((side, side, 3), 10 * (number + 1) % 250, dtype)
            if kind & MASK:
                writer.write(pixels[..., 0] > 0, photometric="mask", subfiletype=kind, metadata=None)
            else:
                writer.write(pixels, photometric="rgb", subfiletype=kind, metadata=None)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kinds", "page", "notes"),
    [
        ([FULL], 0, ()),
        ([REDUCED], 0, ()),
        ([FULL, REDUCED, REDUCED], 0, ("2 reduced versions of the picture dropped",)),
        ([REDUCED, FULL], 1, ("1 reduced versions of the picture dropped",)),
        ([FULL, MASK], 0, ("1 transparency masks dropped",)),
        (
            [FULL, MASK, REDUCED, REDUCED_MASK],
            0,
            ("2 reduced versions of the picture dropped", "1 transparency masks dropped"),
        ),
    ],
)
def test_the_one_full_page_is_the_picture(kinds: list[int], page: int, notes: tuple[str, ...]) -> None:
    for dtype in ("uint8", "uint16"):
        decoded = decode_image(tiff(kinds, dtype), "a.tif")
        value = 10 * (page + 1) if dtype == "uint8" else 0
        assert (decoded.pixels == value).all()
        assert tuple(note for note in decoded.notes if "dropped" in note) == notes
        data = encode_image(decoded.pixels, decoded, ".tif")
        assert unexpected(data, "TIFF", {}) == ()
        assert len(tifffile.TiffFile(io.BytesIO(data)).pages) == 1


@pytest.mark.parametrize("form", [{"bigtiff": True}, {"byteorder": ">"}])
def test_every_form_of_tiff_is_known(form: dict[str, Any]) -> None:
    decoded = decode_image(tiff([FULL, REDUCED], **form), "a.tif")
    assert "1 reduced versions of the picture dropped" in decoded.notes and decoded.size == (32, 32)
    with pytest.raises(InputError, match="2 frames or pages"):
        decode_image(tiff([FULL, FULL], **form), "a.tif")
    with pytest.raises(InputError, match="floating-point"):
        decode_image(tiff([FULL], "float32", **form), "a.tif")


def test_damaged_directories_are_no_pages() -> None:
    data = tiff([FULL, REDUCED])
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(data[: int(rng.integers(1, len(data)))] if rng.random() < 0.3 else data)
        for _ in range(int(rng.integers(1, 6))):
            broken[int(rng.integers(min(len(broken), 600)))] = int(rng.integers(256))
        with suppress(Damaged):
            assert all(isinstance(page, dict) for page in tiff_pages(bytes(broken)))
    circle = data[:4] + (8).to_bytes(4, "little") + (0).to_bytes(2, "little") + (8).to_bytes(4, "little")
    with pytest.raises(Damaged):
        tiff_pages(circle)


def test_sixteen_bits_of_a_later_page_are_its_own() -> None:
    decoded = decode_image(tiff([REDUCED, FULL], "uint16"), "a.tif")
    assert decoded.size == (32, 32)
    assert decoded.deep is None or (decoded.deep == 20).all()


@pytest.mark.parametrize("kinds", [[FULL, FULL], [PAGE, PAGE], [REDUCED, REDUCED], [FULL, REDUCED, FULL], [FULL] * 70])
def test_several_pictures_are_refused(kinds: list[int]) -> None:
    with pytest.raises(InputError, match=r"frames or pages, expected one"):
        decode_image(tiff(kinds), "a.tif")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("grey", [False, True])
def test_floats_get_a_message_of_their_own(dtype: str, grey: bool) -> None:
    data = tiff([FULL], dtype)
    if grey:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, np.zeros((32, 32), dtype), metadata=None)
        data = buffer.getvalue()
    with pytest.raises(InputError, match="floating-point samples, expected whole numbers"):
        decode_image(data, "a.tif")


def test_subdirectories_are_noted() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8), photometric="rgb", subifds=1, metadata=None)
        writer.write(np.zeros((16, 16, 3), np.uint8), photometric="rgb", subfiletype=1, metadata=None)
    assert "further pictures in subdirectories dropped" in decode_image(buffer.getvalue(), "a.tif").notes
