"""Directing a large text-to-image model: words, guidance and strengths for each crop.

The embedded model knows a few words of its own (``prompts``). SD 1.5 and SDXL understand sentences, and want guidance
and strengths by class. Nothing here reads pixels of an instance; what is kept of a person on purpose comes from
annotations and is named in the preset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from anonymizer.core.errors import InputError
from anonymizer.core.records import Instance
from anonymizer.redraw.diffusion import InpaintJob
from anonymizer.redraw.surroundings import Surroundings, describe_view

__all__ = ["ATTRIBUTES", "Direction", "Director"]

#: Attributes that may be kept, with the values understood and their words. ``age_group`` replaces the noun.
ATTRIBUTES: dict[str, dict[str, str]] = {
    "age_group": {"child": "a child", "teenager": "a teenager", "adult": "an adult", "elderly": "an elderly person"},
    "helmet": {"true": "wearing a helmet", "yes": "wearing a helmet", "1": "wearing a helmet"},
    "uniform": {
        kind: f"in {kind} uniform"
        for kind in ("police", "firefighter", "medical", "construction", "military", "school", "delivery")
    },
}
NOUNS = {
    "person": "a person",
    "face": "the face of a person",
    "license_plate": "a license plate",
    "vehicle": "a vehicle",
}
#: The official code's words: definitions of WordNet, styles and light drawn at random.
DEFINITIONS = {
    "person": "a human being",
    "car": "a motor vehicle with four wheels; usually propelled by an internal combustion engine",
    "motorcycle": "a motor vehicle with two wheels and a strong frame",
    "bus": "a vehicle carrying many passengers; used for public transport",
    "truck": "an automotive vehicle suitable for hauling",
}
STYLES = (
    "",
    "dlsr",
    "blurry edges",
    "natural",
    "ultrarealistic, 8k, uhd",
    "photorealistic",
    "sharp focus",
    "blurry background",
    "blurry foreground",
    "HDR, finely detailed",
)
LIGHTS = (
    "accent lighting",
    "ambient lighting",
    "natural lighting",
    "dark lighting",
    "direct sunlight",
    "",
    "sunlight",
    "dramatic lighting",
    "soft lighting",
)
COLOURS = ("", "white", "red", "green", "blue", "black", "yellow", "neutral", "light", "dark")


@dataclass(frozen=True, slots=True)
class Direction:
    """How a preset directs the model.

    Args:
        wording: ``scene``: class, view, light and colours of the surroundings; ``paper``: the official code's words.
        keep: Attributes to keep on purpose, of ``ATTRIBUTES``; read from an annotation's ``attributes`` only.
        guidance: Guidance scales of which one is drawn per crop; empty: the inpainter's.
        scales: Strengths of depth and edges by class; the inpainter's for others.
        small_area: Masks with fewer pixels than this take ``small_scales``; 0 for none.
        small_scales: Strengths of depth and edges for small masks.
    """

    wording: str = "scene"
    keep: tuple[str, ...] = ()
    guidance: tuple[float, ...] = ()
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    small_area: int = 0
    small_scales: tuple[float, float] = (0.1, 0.1)

    def __post_init__(self) -> None:
        if self.wording not in ("scene", "paper"):
            raise InputError(f"wording: expected scene or paper, got {self.wording!r}")
        unknown = sorted(set(self.keep) - set(ATTRIBUTES))
        if unknown:
            raise InputError(f"keep: expected some of {', '.join(ATTRIBUTES)}, got {', '.join(unknown)}")


class Director:
    """Gives paint jobs their words, guidance and strengths.

    Args:
        direction: How.
    """

    def __init__(self, direction: Direction) -> None:
        self._direction = direction

    def direct(
        self,
        job: InpaintJob,
        instance: Instance,
        face: Instance | None,
        surroundings: Surroundings,
        size: tuple[int, int],
        clothes: tuple[str, str] | None,
        words: Sequence[str] = (),
    ) -> InpaintJob:
        """Return the job with prompt, guidance and strengths.

        Args:
            job: The job; its seed decides what is drawn at random.
            instance: The instance it is for.
            face: The person's face, if one was found.
            surroundings: Words for the picture around all instances.
            size: Picture (height, width).
            clothes: Colour words of upper and lower clothes, drawn at random, or None.
            words: Who the avatar is and what it wears, ``Rendering.words``, in place of class and clothes.
        """
        direction = self._direction
        rng = np.random.default_rng((job.seed, 1))
        small = int(instance.mask.sum()) < direction.small_area
        dress = tuple(words) or ((f"{clothes[0]} top, {clothes[1]} bottom",) if clothes else ())
        return replace(
            job,
            prompt=self._paper(instance, rng)
            if direction.wording == "paper"
            else self._scene(instance, face, surroundings, size, dress, bool(words)),
            guidance_scale=float(rng.choice(direction.guidance)) if direction.guidance else None,
            scales=direction.small_scales if small else direction.scales.get(instance.label),
        )

    def _scene(
        self,
        instance: Instance,
        face: Instance | None,
        surroundings: Surroundings,
        size: tuple[int, int],
        dress: tuple[str, ...],
        named: bool,
    ) -> str:
        """Return a sentence; the first word of ``dress`` names the person where somebody is ``named``."""
        kept = {name: word for name in self._direction.keep if (word := _attribute(instance.record, name))}
        who, dress = (dress[0], dress[1:]) if named else (_noun(instance), dress)
        noun = kept.pop("age_group", "") or who
        if "uniform" in kept:  # a uniform has its own colours
            dress = ()
        parts = ["photo of " + noun, *dress, *kept.values()]
        if instance.label != "license_plate":
            parts += [describe_view(instance, size, face), "street scene"]
        return ", ".join(part for part in (*parts, surroundings.light, surroundings.colours) if part)

    @staticmethod
    def _paper(instance: Instance, rng: np.random.Generator) -> str:
        kind = _kind(instance)
        colour = str(rng.choice(COLOURS)) if instance.label == "vehicle" else ""
        parts = [kind, f"{colour} color" if colour else "", DEFINITIONS.get(kind, "")]
        return ", ".join(part for part in (*parts, str(rng.choice(STYLES)), str(rng.choice(LIGHTS))) if part)


def _kind(instance: Instance) -> str:
    """Return what the detector or the annotation calls the object, if that is a word known here, else its class."""
    named = instance.source.partition(":")[2]
    if named in DEFINITIONS:
        return named
    return "car" if instance.label == "vehicle" else instance.label.replace("_", " ")


def _noun(instance: Instance) -> str:
    named = instance.source.partition(":")[2]
    return f"a {named}" if instance.label == "vehicle" and named in DEFINITIONS else NOUNS[instance.label]


def _attribute(record: Mapping[str, Any] | None, name: str) -> str:
    """Return the words for an attribute of an annotation record, or ``""``: free text never reaches a prompt."""
    attributes = (record or {}).get("attributes")
    if not isinstance(attributes, Mapping) or name not in attributes:
        return ""
    return ATTRIBUTES[name].get(str(attributes[name]).strip().lower(), "")
