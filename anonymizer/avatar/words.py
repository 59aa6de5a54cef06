"""Words for an avatar: who it is and what it wears, for models that are told in words what to paint.

All of it was drawn by chance before; nothing of the person replaced enters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anonymizer.avatar.appearance import Appearance, Cloth
from anonymizer.avatar.shoes import SHOES
from anonymizer.core.colours import name_colour

__all__ = ["describe"]

#: Share of male in a phenotype from which somebody is a man, and ages up to which somebody is a child and from which on
#: old; see ``appearance.AGES``.
MALE, CHILD, OLD = 0.5, 0.4, 0.8
#: Hair by the name of its cut; red to black by their colours.
CUTS = {
    "buzz": "very short",
    "crop": "short",
    "side part": "short parted",
    "swept back": "swept back",
    "mop": "tousled",
    "curls": "short curly",
    "afro": "afro",
    "receding": "receding",
    "bob": "bobbed",
    "fringed bob": "bobbed",
    "long": "long",
    "long waves": "long wavy",
    "ponytail": "tied",
    "bun": "pinned up",
}
#: Colours of hair, RGB in [0, 1], about those of ``appearance.HAIR_COLOURS``.
HAIR_WORDS = {
    "black": (0.1, 0.09, 0.085),
    "dark brown": (0.22, 0.155, 0.115),
    "brown": (0.38, 0.275, 0.185),
    "blond": (0.64, 0.52, 0.35),
    "red": (0.36, 0.17, 0.09),
    "grey": (0.6, 0.59, 0.58),
}
PATTERNS = {
    "stripes": "striped",
    "pinstripes": "pinstriped",
    "checks": "checked",
    "dots": "dotted",
    "flowers": "flowered",
    "print": "printed",
}
FABRICS = {"knit": "knitted", "denim": "denim", "leather": "leather"}
#: Names that are one piece without an article.
PLURAL = ("trousers", "shorts", "joggers", "leggings", "overalls", "glasses", "sunglasses")


def describe(look: Appearance) -> tuple[str, ...]:
    """Return who somebody is, and what they wear from the outside in, e.g. ``("a man with short brown hair", ...)``."""
    outfit, cloths = look.outfit, look.cloths
    gender, age = float(look.phenotype[0]), float(look.phenotype[1])
    kind = ("girl", "woman")[age > CHILD] if gender > MALE else ("boy", "man")[age > CHILD]
    who = f"{'an old' if age > OLD else 'a'} {kind}"
    hidden = outfit.hat in ("headscarf", "hood", "helmet")
    traits = [] if hidden else [f"{CUTS[outfit.hair]} {_hair(look.hair)} hair"]
    traits += ["a beard"] if outfit.beard else []
    pieces = [outfit.full, *reversed(outfit.tops), outfit.bottom, outfit.shoes, outfit.hat, outfit.bag, outfit.glasses]
    worn = [_piece(name, cloths[name]) for name in pieces if name is not None]
    return (
        f"{who} with {' and '.join(traits)}" if traits else who,
        *dict.fromkeys(worn),
        *(["a face mask"] if outfit.mask else []),
    )


def _piece(name: str, cloth: Cloth) -> str:
    """Return one piece with its colour, pattern and fabric."""
    fabric = "" if name in SHOES else FABRICS.get(cloth.fabric, "")
    parts = [PATTERNS.get(cloth.pattern, ""), _colour(cloth.colour), "" if fabric and fabric in name else fabric, name]
    words = " ".join(part for part in parts if part)
    plural = name in SHOES or name.rpartition(" ")[2] in PLURAL
    return words if plural else f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _colour(colour: NDArray[np.float32]) -> str:
    return name_colour(np.clip(np.rint(colour * 255), 0, 255).astype(np.uint8)[None])


def _hair(colour: NDArray[np.float32]) -> str:
    names = list(HAIR_WORDS)
    away = np.linalg.norm(np.array([HAIR_WORDS[name] for name in names], np.float32) - colour, axis=1)
    return names[int(away.argmin())]
