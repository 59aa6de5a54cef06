"""Readings of license plates: how alike two of them are."""

from __future__ import annotations

__all__ = ["LEAST_TEXT", "edits", "folded", "text_similarity"]

#: Readings with fewer letters and digits than this identify nothing and match by chance.
LEAST_TEXT = 3
#: Characters that OCR confuses. Injective on letters and on digits, so it never makes two different ones equal.
_FOLD = str.maketrans("OIBSZG", "018526")


def text_similarity(a: str, b: str) -> float:
    """Return how alike two readings are in [0, 1]: the higher of common positions and of edit similarity.

    Both are compared as upper-case letters and digits, with characters that OCR confuses made equal.

    >>> text_similarity("B-OX 120", "b 0x I2O")
    1.0
    """
    a, b = folded(a), folded(b)
    longest = max(len(a), len(b))
    if not longest:
        return 0.0
    common = sum(x == y for x, y in zip(a, b, strict=False)) / longest
    return max(common, 1.0 - edits(a, b) / longest)


def folded(text: str) -> str:
    """Return a reading's letters and digits in upper case, with characters that OCR confuses made equal."""
    return "".join(c for c in text.upper() if c.isalnum()).translate(_FOLD)


def edits(a: str, b: str) -> int:
    """Return Levenshtein's distance: the least number of characters put in, taken out or replaced."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
