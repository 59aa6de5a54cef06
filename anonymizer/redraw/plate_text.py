"""Text of a license plate: the original's lines, groups and kinds of characters, with other characters."""

from __future__ import annotations

import string
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from anonymizer.core.readings import LEAST_TEXT, text_similarity

__all__ = ["ARABIC_LAYOUT", "TWO_LINES", "character_groups", "fake_text", "plate_layout", "plate_reading"]

#: Letters of plates; I, O and Q are left out, as many countries do, for they look like 1 and 0.
LETTERS = "".join(c for c in string.ascii_uppercase if c not in "IOQ")
#: Arabic letters and digits of plates, in the shapes that stand alone; zero is left out, for it looks like a dot.
ARABIC_LETTERS = "أبجدرسصطعفقلمنهوى"
ARABIC_DIGITS = "١٢٣٤٥٦٧٨٩"
#: Characters that part groups on plates; any other becomes a space.
SEPARATORS = " -·.\n"
#: Width divided by height below which a plate carries two lines (motorcycles, square plates).
TWO_LINES = 1.6
#: The same of single-line plates of North America (2.0) and longer ones (3.1 to 4.7).
LONG = 3.2
#: Layout of a two-line plate in Arabic script, as in ``plate_layout``.
ARABIC_LAYOUT = "ب ب ب\n١ ١ ١ ١"
#: Letters and digits of the shortest and of the longest plates.
CHARACTERS = (3, 10)
#: Letters and digits from which one line is believed to be all of a text.
WHOLE = 5
#: Similarity to a text of the picture from which a fake one is drawn again, and how often that is tried. Two texts of
#: seven characters are so alike by chance in less than one of a thousand cases.
ALIKE, TRIES = 0.5, 100
#: Height in pixels at which characters are counted, and below which they cannot be told apart.
COUNTED, LEAST_HEIGHT = 48, 14
#: Heights of characters in a flat plate, as proportions of its height, and their greatest width.
TALL, WIDEST = (0.3, 0.85), 0.5
#: Gap between groups of characters, in medians of the gaps between characters, and at least in their heights.
GROUP_GAP, LEAST_GAP = 1.8, 0.25


def plate_layout(aspect: float, groups: Sequence[int] = ()) -> str:
    """Return a layout for a plate whose text could not be read.

    ``A`` stands for a letter and ``0`` for a digit; a line break parts two lines.

    Args:
        aspect: The plate's width divided by its height.
        groups: Characters per group, as ``character_groups`` counts them; empty where they could not be told apart.
    """
    if aspect < TWO_LINES:
        return "AAA\n000"
    if len(groups) == 1:
        letters = (groups[0] + 1) // 2 if groups[0] < 7 else 3
        return "A" * letters + "0" * (groups[0] - letters)
    if groups:
        return " ".join(("A" if n % 2 == 0 else "0") * count for n, count in enumerate(groups))
    return "AAA 000" if aspect < LONG else "AA 00 AAA"


def plate_reading(lines: Sequence[str], aspect: float) -> str | None:
    """Return the reading that is a plate's text, among all that OCR read on and beside it, or None.

    States, dealers and stickers stand on and around plates, too: the text has digits in most cases, and 3 to 10
    letters and digits. On plates as high as wide two lines form one text.

    Args:
        lines: Readings from top to bottom, all of them joined at the end if there are several.
        aspect: The plate's width divided by its height.
    """
    single = list(lines[:-1] if len(lines) > 2 and lines[-1] == "".join(lines[:-1]) else lines)
    texts = [text for text in (_cleaned(line) for line in single) if _count(text)]
    parting = "\n" if aspect < TWO_LINES else " "
    pairs = [f"{a}{parting}{b}" for a, b in pairwise(texts)]
    fitting = [text for text in texts if CHARACTERS[0] <= _count(text) <= CHARACTERS[1]]
    fitting_pairs = [text for text in pairs if CHARACTERS[0] < _count(text) <= CHARACTERS[1] and _mixed(text)]
    mixed = [text for text in fitting if _mixed(text)]
    ways = [fitting_pairs] if aspect < TWO_LINES else []
    # One line of letters alone on a plate as high as wide is a misread one.
    words = [] if aspect < TWO_LINES else fitting
    ways += [[text for text in mixed if _count(text) >= WHOLE], fitting_pairs, mixed, words]
    return next((max(way, key=_count) for way in ways if way), None)


def fake_text(text: str | None, rng: np.random.Generator, layout: str = "AAA 000", avoid: Sequence[str] = ()) -> str:
    """Return text of the same layout that differs in every letter and digit, and resembles no text of the picture.

    Letters become letters, digits become digits of the same script, separators are kept. Letters of scripts other than
    Arabic become Latin ones.

    Args:
        text: What OCR read, or None where it read nothing reliable.
        rng: Source of chance.
        layout: Layout to fill where there is no text, see ``plate_layout``.
        avoid: Texts that it must not resemble: all that was read in the picture.
    """
    known = text if text is not None and any(c.isalnum() for c in text) else None
    real = [other for other in avoid if sum(c.isalnum() for c in other) >= LEAST_TEXT]
    best, least = "", 2.0
    for _ in range(TRIES):
        drawn = "".join(_other(c, rng, known is not None) for c in (layout if known is None else known))
        alike = max((text_similarity(drawn, other) for other in real), default=0.0)
        if alike < least:
            best, least = drawn, alike
        if alike < ALIKE:
            break
    return best


def character_groups(flat: NDArray[np.uint8], light_ground: bool) -> tuple[int, ...]:
    """Return how many characters each group of a one-line plate has, from left to right; empty where that is unclear.

    Args:
        flat: The plate seen from the front, grey uint8 (h, w).
        light_ground: Whether characters are darker than what they stand on.
    """
    height, width = flat.shape
    if height < LEAST_HEIGHT:
        return ()
    size = max(round(width * COUNTED / height), 8), COUNTED
    grey = cv2.resize(flat, size, interpolation=cv2.INTER_CUBIC if height < COUNTED else cv2.INTER_AREA)
    mode = cv2.THRESH_BINARY_INV if light_ground else cv2.THRESH_BINARY
    block = COUNTED // 2 * 2 + 1
    bias = 6 if light_ground else -6
    ink = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, mode, block, bias)
    count, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=4)
    found = []
    for x, y, across, down, _ in stats[1:count]:
        inside = x > 0 and y > 0 and x + across < size[0] and y + down < COUNTED
        if inside and TALL[0] <= down / COUNTED <= TALL[1] and across <= WIDEST * COUNTED:
            found.append((int(x), int(x + across), int(down)))
    if not found:
        return ()
    typical = float(np.median([down for *_, down in found]))
    spans = sorted((x, end) for x, end, down in found if abs(down - typical) <= 0.25 * typical)
    if not CHARACTERS[0] < len(spans) <= CHARACTERS[1]:
        return ()
    gaps = np.array([after[0] - before[1] for before, after in pairwise(spans)], np.float32)
    breaks = np.flatnonzero(gaps > max(GROUP_GAP * float(np.median(gaps)), LEAST_GAP * typical))
    if len(breaks) > 2:
        return ()
    return tuple(int(n) for n in np.diff([0, *(breaks + 1), len(spans)]))


def _cleaned(line: str) -> str:
    kept = "".join(c.upper() if c.isalnum() else c if c in SEPARATORS else " " for c in line)
    return " ".join(kept.split()).strip(SEPARATORS)


def _count(text: str) -> int:
    return sum(c.isalnum() for c in text)


def _mixed(text: str) -> bool:
    return any(c.isdigit() for c in text)


def _other(character: str, rng: np.random.Generator, differs: bool) -> str:
    """Return a character of the same kind, another one if it has to differ; separators stay."""
    if not character.isalnum():
        return character
    arabic = "\u0600" <= character <= "\u06ff"
    if character.isdigit():
        choices = ARABIC_DIGITS if arabic else string.digits
    else:
        choices = ARABIC_LETTERS if arabic else LETTERS
    if differs:
        choices = choices.replace(character.upper(), "")
    return choices[int(rng.integers(len(choices)))]
