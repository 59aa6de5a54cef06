"""The one-way flow: detect, condition, redraw from the original, blend, verify, and only then release."""

from __future__ import annotations

import hashlib
import json
import secrets
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from anonymizer.condition.guard import guard
from anonymizer.condition.maps import conditions_of
from anonymizer.detect.given import is_crowd, with_given, without_members
from anonymizer.detect.regions import is_sketch
from anonymizer.errors import InputError, StageError, VerificationFailed
from anonymizer.fill import redact
from anonymizer.redraw.avatars import draw_avatars, rendered_conditions
from anonymizer.redraw.crops import treated_mask
from anonymizer.redraw.plate_corners import stands_out
from anonymizer.redraw.redrawer import Redrawer, compose, region_patch, uncovered
from anonymizer.stages import stage, timed
from anonymizer.types import (
    BODIES,
    AvatarArtist,
    DepthEstimator,
    Detector,
    EdgeDetector,
    Image,
    Instance,
    Mask,
    PersonSegmenter,
    PoseEstimator,
    Result,
    Treatment,
    Verdict,
    check_image,
)
from anonymizer.verify.verifier import Verifier
from anonymizer.work import Work, cleaned, floating, half_filled, unmade

__all__ = ["Anonymizer", "Settings"]

#: Rounds in which failing instances and newly found ones are redacted before the picture is given up.
REDACTION_ROUNDS = 3
#: Score from which platedet alone is believed away from vehicles: of three such finds on held-out pictures two are
#: plates and one is a wrapper on the road; the one find below 0.5 is none.
LIKELY_PLATE = 0.5


@dataclass(frozen=True, slots=True)
class Settings:
    """What to anonymize and how hard to try.

    Args:
        classes: Classes to treat.
        people: ``body`` redraws persons whole and then their faces; ``face`` leaves bodies as they are.
        seed: Makes results repeatable; None draws fresh noise each time, which is safer against inversion.
        attempts: Per class, redraws of an instance that fails verification, the first one included, before it is
            redacted; one where the class is not named.
        guard_level: Guard of the first attempt; later ones are stricter.
        least_side: Per class, the shorter side in pixels below which an instance is redacted rather than redrawn.
        least_score: Per class, the score below which a find is redacted rather than redrawn, unless it is a person
            with a sure face or the best face of a person. A redraw of what is none puts one into the picture.
    """

    classes: tuple[str, ...]
    people: str
    seed: int | None
    attempts: Mapping[str, int]
    guard_level: int
    least_side: Mapping[str, int]
    least_score: Mapping[str, float]


class _Assessed(NamedTuple):
    """A picture as it would be released, what was treated, and what the checks say of it."""

    image: Image
    treated: Mask
    verdicts: tuple[Verdict, ...]
    leaks: tuple[Instance, ...]


class Anonymizer:
    """Redraws every sensitive instance of a picture and returns it only if verification passed.

    Args:
        detector: Finds persons, faces and plates.
        depth: Estimates depth.
        edges: Finds edges.
        poses: Finds the joints of persons for prototypes; None: redraws know no poses.
        artist: Draws the avatars that redraws of persons start from; None: they start from drawn figures.
        segmenter: Draws persons who are given as boxes; None: those that the detector does not find are filled.
        redrawer: Paints instances.
        verifier: Checks the result.
        settings: What to do.
        description: Preset, models with hashes and versions, for provenance; no seeds.
        together: Pictures that ``anonymize_many`` is best given at once, at most: what engines go by.
    """

    def __init__(
        self,
        *,
        detector: Detector,
        depth: DepthEstimator,
        edges: EdgeDetector,
        poses: PoseEstimator | None = None,
        segmenter: PersonSegmenter | None = None,
        artist: AvatarArtist | None = None,
        redrawer: Redrawer,
        verifier: Verifier,
        settings: Settings,
        description: Mapping[str, Any],
        together: int = 1,
    ) -> None:
        self._detector = detector
        self._depth = depth
        self._edges = edges
        self._poses = poses
        self._segmenter = segmenter
        self._artist = artist
        self._redrawer = redrawer
        self._verifier = verifier
        self.settings = settings
        self.together = together
        self._description = dict(description)

    @classmethod
    def from_preset(cls, preset: str | Path, *, seed: int | None = None, **options: Any) -> Anonymizer:
        """Build from a preset's name or a preset file; options as in ``anonymizer.presets.build``.

        Raises:
            InputError: Unknown preset or option value.
            ModelError: Weights are missing or corrupt.
        """
        from anonymizer import presets  # presets wires this class up, so it imports this module

        return presets.build(preset, seed=seed, **options)

    def describe(self) -> dict[str, Any]:
        """Return preset, settings, models with hashes and versions; never the seed."""
        settings = self.settings
        return {
            **self._description,
            "settings": {
                "classes": list(settings.classes),
                "people": settings.people,
                "attempts": dict(settings.attempts),
                "guard_level": settings.guard_level,
                "least_side": dict(settings.least_side),
                "least_score": dict(settings.least_score),
            },
        }

    @property
    def settings_hash(self) -> str:
        """sha256 over ``describe()``: pictures with the same hash were made the same way."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()

    def __call__(self, image: Image, instances: Sequence[Instance] | None = None, key: str = "") -> Result:
        """Anonymize one picture.

        Args:
            image: RGB uint8 (H, W, 3); not modified.
            instances: Your own detections. They are used as given; what the detector finds besides is added.
            key: Distinguishes pictures under one seed, e.g. the relative file name.

        Raises:
            InputError: The image or an instance is malformed.
            StageError: A stage failed.
            VerificationFailed: The picture could not be proven anonymized.
        """
        check_image(image)
        timings: dict[str, float] = {}
        with timed(timings, "detect"), stage("detect"):
            found = self._targets(self._detector.detect(image))
            if instances is not None:
                given = self._crowds(image, found, instances)
                found = self._targets(with_given(found, given, image, self._segmenter))
        with timed(timings, "condition"), stage("condition"):
            raw = conditions_of(image, found, self._depth, self._edges, self._poses)
        with timed(timings, "verify"), stage("verify"):
            evidence = self._verifier.examine(image, found)
        # crc32 is no secret: it only keeps pictures apart under one seed.
        seed = secrets.randbits(64) if self.settings.seed is None else self.settings.seed
        work = Work(image, found, raw, evidence, (seed, zlib.crc32(key.encode("utf-8", "surrogateescape"))))
        for instance in found:
            work.actions[instance.id] = "redrawn" if self._redrawable(image, instance, found) else "redacted"
            work.attempts[instance.id] = 0
        result, treated, verdicts = self._process(work, timings)
        return Result(
            image=result,
            instances=work.instances,
            treatments=tuple(Treatment(i.id, work.actions[i.id], work.attempts[i.id]) for i in work.instances),
            verdicts=verdicts,
            treated=treated,
            provenance={**self.describe(), "timings_s": {k: round(v, 4) for k, v in timings.items()}},
            texts=tuple(text for texts in work.evidence.texts.values() for text in texts),
        )

    def anonymize_many(
        self,
        images: Sequence[Image],
        instances: Sequence[Sequence[Instance] | None] | None = None,
        keys: Sequence[str] | None = None,
    ) -> list[Result | Exception]:
        """Anonymize several pictures whose crops are painted in common batches, which a GPU does faster.

        Each picture comes out as it would alone, but for rounding in the model (at most a few of 255 levels).

        Args:
            images: RGB uint8 (H, W, 3) each. All are held in memory until the last is done.
            instances: Your own detections per picture, as for one picture.
            keys: Key per picture, as for one picture.

        Returns:
            Per picture its result, or the error that calling with it alone would have raised.
        """
        given = [None] * len(images) if instances is None else list(instances)
        names = [""] * len(images) if keys is None else list(keys)
        if not len(images) == len(given) == len(names):
            raise InputError(
                f"anonymize_many: expected as many instances and keys as pictures, got {len(images)} pictures, "
                f"{len(given)} and {len(names)}"
            )
        work = zip(images, given, names, strict=True)
        return self._redrawer.together([partial(self, image, found, key) for image, found, key in work])

    def _targets(self, found: Iterable[Instance]) -> tuple[Instance, ...]:
        """Keep the classes to treat; a face whose person is not treated stands alone."""
        wanted = set(self.settings.classes) - ({"person"} if self.settings.people == "face" else set())
        kept = [instance for instance in found if instance.label in wanted]
        ids = {instance.id for instance in kept}
        return tuple(i if i.parent in ids else replace(i, parent=None) for i in kept)

    def _crowds(self, image: Image, found: Sequence[Instance], given: Sequence[Instance]) -> tuple[Instance, ...]:
        """Return given instances, crowd regions that are boxes cut down to where a person may be."""
        if not any(is_crowd(i) and i.boxed for i in given):
            return tuple(given)
        persons = [i for i in found if i.label == "person"]
        # The verifier's detector also reports what is too unsure to be anonymized elsewhere.
        possible = [i for i in self._verifier.find(image) if i.label == "person"]
        return tuple(without_members(i, persons, possible) if is_crowd(i) and i.boxed else i for i in given)

    def _redrawable(self, image: Image, instance: Instance, found: Sequence[Instance]) -> bool:
        side = min(instance.box[2:] - instance.box[:2])
        if instance.label == "person" and (instance.boxed or is_sketch(instance) or is_crowd(instance)):
            return False
        if instance.label == "text" or side < self.settings.least_side.get(instance.label, 0):
            return False
        least = self.settings.least_score
        if instance.source == "given":
            return True
        if instance.label == "license_plate":
            return _known_plate(image, instance, least.get("license_plate", 0.0))
        if instance.score >= least.get(instance.label, 0.0):
            return True
        # What is unsure is often a sign, leaves or lettering: filled, it goes unnoticed; redrawn, it stands there.
        if instance.label == "person":
            return any(i.parent == instance.id and i.score >= least.get("face", 0.0) for i in found)
        if instance.label == "face":
            rivals = [i.score for i in found if i.label == "face" and i.parent == instance.parent]
            return self.settings.people == "face" or (instance.parent is not None and instance.score >= max(rivals))
        return False

    def _process(self, work: Work, timings: dict[str, float]) -> tuple[Image, Mask, tuple[Verdict, ...]]:
        """Redraw; what fails is redrawn again as often as its class allows, then redacted; then give up."""
        pending = {i for i, action in work.actions.items() if action == "redrawn"}
        tries = max((self._tries(i) for i in work.instances), default=1)
        for attempt in range(tries + REDACTION_ROUNDS):
            with timed(timings, "redraw"), stage("redraw"):
                self._redraw(work, pending, attempt)
                self._redact(work)
            assessed = self._assess(work, timings)
            failing, leaks = _failing(assessed.verdicts), assessed.leaks
            if not failing and not leaks:
                return assessed.image, assessed.treated, assessed.verdicts
            verdicts = assessed.verdicts
            # Its picture is as large as the original: it goes before the next is made.
            del assessed
            redrawn = [i for i in work.instances if work.actions[i.id] == "redrawn"]
            pending = {i.id for i in redrawn if i.id in failing and attempt + 1 < self._tries(i)}
            pending |= {i.id for i in redrawn if i.parent in pending}
            # What looks like a leak beside a redraw may go with it.
            self._give_up(work, failing - pending, () if pending else leaks)
        failed = {f"{v.check} (instance {v.instance_id})" for v in verdicts if not v.passed}
        names = ", ".join(sorted(failed)) or "second_pass"
        raise VerificationFailed(f"still failing after every retry and redaction: {names}", verdicts)

    def _tries(self, instance: Instance) -> int:
        return max(self.settings.attempts.get(instance.label, 1), 1)

    def _redraw(self, work: Work, pending: set[int], attempt: int) -> None:
        if not pending:
            return
        for instance_id in pending:
            work.attempts[instance_id] += 1
        seeds = {i: int(work.rng(i).integers(2**63)) for i in pending}
        chosen = [i for i in work.ordered() if i.id in pending]
        clean = None
        if self._redrawer.outlines and any(i.label in BODIES for i in chosen):
            clean = cleaned(work, work.rng(min(pending)))
            self._draw_avatars(work, clean, [i for i in chosen if i.label == "person"], seeds)
        order = work.ordered()
        guarded = guard(work.raw, work.instances, min(self.settings.guard_level + attempt, 2))
        drawn = [i for i in order if i.id in pending & work.renderings.keys()]
        if clean is not None and drawn:
            guarded = rendered_conditions(clean, drawn, work.renderings, guarded, self._depth, self._edges)
        under = [work.patches[i.id] for i in order if i.label in BODIES and i.id not in pending | unmade(work)]
        work.patches |= self._redrawer.redraw(
            work.image,
            [i for i in order if i.id in pending],
            guarded,
            seeds,
            work.evidence.texts,
            under,
            clean,
            work.renderings,
        )

    def _draw_avatars(self, work: Work, clean: Image, persons: Sequence[Instance], seeds: Mapping[int, int]) -> None:
        """Put an avatar in each person's place; the person's outline becomes that of the avatar."""
        if self._artist is None:
            return
        own = [work.persons.get(person.id, person) for person in persons]
        faces = sorted((i for i in work.instances if i.label == "face"), key=lambda i: i.score)
        best = {face.parent: face for face in faces if face.parent is not None}
        work.show(draw_avatars(self._artist, clean, own, seeds, best), [person.id for person in persons])

    def _redact(self, work: Work) -> None:
        """Fill what is to be redacted from the surroundings as they are after the redraw.

        Bodies are filled first and without pieces of what is redrawn: half a person beside a person is none.
        A redrawn person whose face is redacted keeps what was painted for the person there: a head without a face.
        What failed although it was redacted, by texture that happens to resemble the original's, gets new noise only.
        """
        for face in floating(work):
            work.actions[face] = "redacted"
        chosen = [i for i in work.ordered() if work.actions[i.id] == "redacted"]
        if not chosen:
            return
        redrawn = [i for i in work.ordered() if work.actions[i.id] == "redrawn"]
        persons = [work.patches[i.id] for i in redrawn if i.label == "person"]
        base, _ = compose(work.image, [work.patches[i.id] for i in redrawn])
        size = base.shape[0], base.shape[1]
        plain = treated_mask([i for i in chosen if i.id in work.stuck], size) if work.stuck else None
        bodies, small = ([i for i in chosen if (i.label in BODIES) is body] for body in (True, False))
        filled, rng = base, work.rng(chosen[0].id)
        for group, sensitive in ((bodies, [*redrawn, *small]), (small, [])):
            if group:
                avoid = treated_mask(sensitive, size)
                filled = redact(filled, treated_mask(group, size), rng, sensitive=avoid, plain=plain)
        for instance in chosen:
            patch = region_patch(filled, instance)
            # What the second pass found has no person: it is filled whatever lies there.
            faceless = instance.label == "face" and instance.parent is not None and instance.id not in work.stuck
            work.patches[instance.id] = uncovered(patch, persons, base) if faceless else patch

    def _give_up(self, work: Work, failing: set[int], leaks: Sequence[Instance]) -> None:
        """Turn failing instances, and faces of failing persons, into redactions; add what the second pass found."""
        work.stuck |= {i for i in failing if work.actions[i] == "redacted"}
        work.show({}, failing & work.renderings.keys())
        for instance in work.instances:
            if instance.id in failing or instance.parent in failing:
                work.actions[instance.id] = "redacted"
        first = max((i.id for i in work.instances), default=0) + 1
        added = tuple(replace(leak, id=first + n, parent=None) for n, leak in enumerate(leaks))
        for instance in added:
            work.actions[instance.id], work.attempts[instance.id] = "redacted", 0
        if added:
            work.instances = (*work.instances, *added)
            work.evidence = self._verifier.examine(work.image, work.instances)

    def _assess(self, work: Work, timings: dict[str, float]) -> _Assessed:
        with timed(timings, "blend"), stage("blend"):
            result, treated = compose(work.image, [work.patches[i.id] for i in work.ordered()])
        with timed(timings, "verify"), stage("verify"):
            everything = self._verifier.find(result)
            found = self._targets(everything)
            leaks = self._targets(self._verifier.leaks(treated, everything))
            verdicts = self._verifier.check(work.evidence, result, treated, work.actions, found, leaks)
            leaks += tuple(f for f in half_filled(work, verdicts, found) if not any(f is leak for leak in leaks))
            unchecked = {None, *(i.id for i in work.instances)} - {v.instance_id for v in verdicts}
            if unchecked:
                raise StageError("verify", f"expected verdicts on the picture and every instance, none on {unchecked}")
        return _Assessed(result, treated, verdicts, leaks)


def _known_plate(image: Image, instance: Instance, least: float) -> bool:
    """Return whether a plate is known as one.

    It is if platedet saw it on a vehicle or beside another network, or is likely right; if another network is sure; or
    if OCR read text on a vehicle that has a ground of its own. Other text, and what our own networks alone see, may be
    any lettering, on a bus as on a wall.
    """
    networks = {name: score for name, score in instance.signs.items() if name not in ("vehicle", "ocr")}
    packaged = networks.get("platedet", 0.0)
    if packaged > 0 and (len(networks) > 1 or "vehicle" in instance.signs or packaged >= LIKELY_PLATE):
        return True
    if max(networks.values(), default=0.0) >= least:
        return True
    return {"ocr", "vehicle"} <= instance.signs.keys() and stands_out(image, instance)


def _failing(verdicts: Iterable[Verdict]) -> set[int]:
    return {v.instance_id for v in verdicts if not v.passed and v.instance_id is not None}
