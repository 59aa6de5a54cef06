"""Sheet of a preview: pictures before and after, side by side, under a warning that it holds originals."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from anonymizer.core.errors import InputError
from anonymizer.images.decode import decode_image
from anonymizer.run.picture import Outcome
from anonymizer.run.report import printable

__all__ = ["SUFFIXES", "WARNING", "Pair", "draw_sheet"]

#: Suffixes of a sheet, with Pillow's name of the format.
SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
WARNING = "HOLDS ORIGINALS: not anonymized, not for release"
#: Longer side of a picture on the sheet, in pixels: a face of 40 pixels in a picture of 4000 is still one of 8.
SIDE = 800
#: Pixels around pictures, height of a line of text, height of the warning.
GAP, LINE, HEAD = 16, 26, 56
#: Colours of ground, text, warning.
GROUND, INK, RED = (245, 243, 238), (30, 30, 30), (170, 25, 25)


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One picture of a preview.

    Args:
        name: Its relative name.
        status: What became of it.
        reason: Why it would be held back.
        before: The original, reduced, RGB uint8 (h, w, 3); None where it cannot be read or is not to be shown.
        after: What would be released, reduced; None where nothing would.
    """

    name: str
    status: str
    reason: str
    before: NDArray[np.uint8] | None
    after: NDArray[np.uint8] | None

    @classmethod
    def of(cls, name: str, content: bytes, outcome: Outcome, *, show: bool) -> Pair:
        """Make the pair of a picture's file and what became of it.

        Args:
            name: Relative name.
            content: Content of the original's file.
            outcome: What became of it.
            show: Whether pictures are kept at all.
        """
        status, reason = outcome.record["status"], str(outcome.record.get("reason", ""))
        if not show:
            return cls(name, status, reason, None, None)
        after = None if outcome.data is None else _reduced(outcome.data, name)
        return cls(name, status, reason, _reduced(content, name), after)


def draw_sheet(pairs: Sequence[Pair], suffix: str) -> bytes:
    """Return the sheet as a file: a row for each picture, the original at the left.

    Args:
        pairs: The pictures.
        suffix: One of ``SUFFIXES``.
    """
    rows = [max((p.shape[0] for p in (pair.before, pair.after) if p is not None), default=4 * LINE) for pair in pairs]
    width = 2 * SIDE + 3 * GAP
    height = HEAD + GAP + sum(row + LINE + GAP for row in rows)
    sheet = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(28), ImageFont.load_default(18)
    draw.rectangle((0, 0, width, HEAD), RED)
    draw.text((GAP, HEAD // 2), WARNING, "white", large, anchor="lm")
    top = HEAD + GAP
    for pair, row in zip(pairs, rows, strict=True):
        draw.text((GAP, top + LINE // 2), f"{_plain(pair.name)}, original", INK, small, anchor="lm")
        draw.text((2 * GAP + SIDE, top + LINE // 2), pair.status, INK, small, anchor="lm")
        top += LINE
        for left, pixels, lacking in ((GAP, pair.before, "cannot be read"), (2 * GAP + SIDE, pair.after, pair.reason)):
            if pixels is None:
                draw.multiline_text((left, top + LINE), _wrapped(lacking), RED, small)
            else:
                sheet.paste(Image.fromarray(pixels), (left, top))
        top += row + GAP
    buffer = io.BytesIO()
    options = {"quality": 92} if SUFFIXES[suffix] == "JPEG" else {}
    sheet.save(buffer, SUFFIXES[suffix], **options)
    return buffer.getvalue()


def _reduced(content: bytes, name: str) -> NDArray[np.uint8] | None:
    try:
        picture = Image.fromarray(decode_image(content, name).pixels)
    except InputError:
        return None  # The sheet says so in its place.
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(picture)


def _plain(text: str) -> str:
    """Return a text as the font has it: it knows no more than Latin letters."""
    return printable(text).encode("latin-1", "backslashreplace").decode("latin-1")


def _wrapped(text: str, columns: int = 80) -> str:
    plain = _plain(text)
    return "\n".join(plain[at : at + columns] for at in range(0, len(plain), columns))
