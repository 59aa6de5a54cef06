"""Prompts of the embedded inpainter: an instance's class and, for persons, colours of clothes drawn at random.

Nothing in a prompt is read off the original instance. Training names the colours of real clothes with
``core.colours.name_colour``, so the words mean the same.
"""

from __future__ import annotations

from itertools import product

import numpy as np

__all__ = ["COLOURS", "every_prompt", "prompt", "random_clothes"]

#: How often a redrawn garment takes a colour: street clothing is mostly dark or muted. Beige, pink and orange are never
#: taken: from afar they pass for bare skin.
COLOURS = {
    "black": 4.0,
    "grey": 3.0,
    "white": 2.0,
    "blue": 3.0,
    "brown": 1.5,
    "red": 1.0,
    "green": 1.0,
    "yellow": 0.4,
    "purple": 0.4,
}

_NOUNS = {
    "person": "a person",
    "face": "a face",
    "license_plate": "a license plate",
    "text": "a sign",
    "vehicle": "a vehicle",
}


def prompt(label: str, top: str | None = None, bottom: str | None = None) -> str:
    """Return the prompt for a class, for persons optionally with the colours of upper and lower clothes."""
    noun = _NOUNS[label]
    if label != "person" or top is None or bottom is None:
        return noun
    return f"{noun}, {top} top, {bottom} bottom"


def every_prompt() -> tuple[str, ...]:
    """Return all that ``prompt`` says of what is painted: each class, and persons in every pair of colours worn."""
    pairs = product(COLOURS, repeat=2)
    return (*(prompt(label) for label in _NOUNS), *(prompt("person", top, bottom) for top, bottom in pairs))


def random_clothes(rng: np.random.Generator) -> tuple[str, str]:
    """Return colour words of upper and lower clothes drawn at random, independent of the original."""
    names = list(COLOURS)
    weights = np.array(list(COLOURS.values()))
    top, bottom = rng.choice(names, size=2, p=weights / weights.sum())
    return str(top), str(bottom)
