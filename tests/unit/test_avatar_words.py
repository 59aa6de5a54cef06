"""Words for avatars: every look has some, and they say what is worn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anonymizer.avatar.appearance import PATTERNS as DRAWN_PATTERNS
from anonymizer.avatar.appearance import Appearance, Cloth, draw_appearance
from anonymizer.avatar.faces import Faces
from anonymizer.avatar.hair import HAIR
from anonymizer.avatar.wardrobe import Outfit
from anonymizer.avatar.words import CUTS, PATTERNS, describe
from anonymizer.models import weights


@pytest.fixture(scope="module")
def faces() -> Faces:
    return Faces.load(weights.path("prototypes") / "textures.safetensors")


def cloth(colour: tuple[float, float, float], pattern: str = "plain", fabric: str = "woven") -> Cloth:
    rgb = np.array(colour, np.float32)
    return Cloth(rgb, rgb, pattern, 0.05, fabric, 1.0, False)


def look(faces: Faces, gender: float = 1.0, age: float = 0.6) -> Appearance:
    outfit = Outfit(("shirt", "cardigan"), "trousers", None, "sneakers", "long waves", None, "backpack", "sunglasses")
    cloths = {
        "shirt": cloth((0.9, 0.9, 0.9), "stripes"),
        "cardigan": cloth((0.6, 0.1, 0.12), fabric="knit"),
        "trousers": cloth((0.2, 0.28, 0.5), fabric="denim"),
        "sneakers": cloth((0.9, 0.9, 0.9), fabric="leather"),
        "backpack": cloth((0.08, 0.08, 0.08)),
        "sunglasses": cloth((0.05, 0.05, 0.05)),
    }
    drawn = draw_appearance(faces, np.random.default_rng(0))
    hair = np.array((0.38, 0.275, 0.185), np.float32)
    phenotype = np.array([gender, age, 0.5, 0.5, 0.5, 0.5], np.float32)
    return replace(drawn, phenotype=phenotype, outfit=outfit, cloths=cloths, hair=hair)


def test_words_say_who_it_is_and_what_is_worn_from_the_outside_in(faces: Faces) -> None:
    assert describe(look(faces)) == (
        "a woman with long wavy brown hair",
        "a red knitted cardigan",
        "a striped white shirt",
        "blue denim trousers",
        "white sneakers",
        "a black backpack",
        "black sunglasses",
    )


@pytest.mark.parametrize(
    ("gender", "age", "who"),
    [(0.0, 0.6, "a man"), (0.0, 0.95, "an old man"), (0.0, 0.25, "a boy"), (1.0, 0.25, "a girl")],
)
def test_age_and_sex_are_those_of_the_body(faces: Faces, gender: float, age: float, who: str) -> None:
    assert describe(look(faces, gender, age))[0].startswith(f"{who} with")


def test_what_covers_the_hair_leaves_it_out(faces: Faces) -> None:
    worn = look(faces)
    covered = replace(worn, outfit=replace(worn.outfit, hat="headscarf", beard=True))
    covered = replace(covered, cloths=worn.cloths | {"headscarf": cloth((0.8, 0.4, 0.2))})
    assert describe(covered)[0] == "a woman with a beard"
    assert "an orange headscarf" in describe(covered)


def test_every_look_has_words(faces: Faces) -> None:
    assert set(CUTS) == set(HAIR)
    assert {name for name, _ in DRAWN_PATTERNS} - set(PATTERNS) == {"plain", "yoke"}
    rng = np.random.default_rng(1)
    said = [describe(draw_appearance(faces, rng, child=n % 5 == 0)) for n in range(200)]
    assert all(len(words) >= 3 and all(words) for words in said)
    assert len(set(said)) > 190
    # CLIP reads 77 tokens: a sentence of them must leave room for view and light.
    assert max(len(", ".join(words).split()) for words in said) < 45
