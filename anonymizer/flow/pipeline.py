"""The one-way flow: detect, fill, render, condition, redraw, compose, verify, and only then release."""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import secrets
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from anonymizer.condition.depth import estimate_horizon
from anonymizer.condition.guard import guard
from anonymizer.core.errors import InputError, StageError, VerificationFailed
from anonymizer.core.geometry import full_mask, outlined
from anonymizer.core.memory import give_back
from anonymizer.core.records import (
    BODIES,
    AvatarArtist,
    Conditions,
    DepthEstimator,
    Detector,
    EdgeDetector,
    Filler,
    Findings,
    Floats,
    Image,
    Instance,
    Mask,
    PersonSegmenter,
    Result,
    Verdict,
    check_area,
    check_image,
)
from anonymizer.core.stages import stage, timed
from anonymizer.detect.given import heeded, is_crowd, same_as, with_given, without_members
from anonymizer.detect.left import with_consent, within
from anonymizer.detect.regions import is_sketch, seen_alone
from anonymizer.fill import obscure, redact
from anonymizer.flow.work import Target, Work, floating, half_filled, riders
from anonymizer.models.third_party import single_blas
from anonymizer.redraw.avatars import draw_avatars, pasted, seen_by, shaded
from anonymizer.redraw.crops import anonymized_region
from anonymizer.redraw.plate_corners import stands_out
from anonymizer.redraw.redrawer import Redrawer, compose, region_patch
from anonymizer.verify.verifier import Verifier

__all__ = ["Anonymizer", "Settings"]

_log = logging.getLogger(__name__)

#: Rounds in which failing instances and newly found ones are redacted before the picture is given up.
REDACTION_ROUNDS = 3
#: Score from which platedet alone is believed away from vehicles: of three such finds on held-out pictures two are
#: plates and one is a wrapper on the road; the one find below 0.5 is none. Where OCR read it, other networks' too.
LIKELY_PLATE = 0.5
#: Step in pixels of the grid on which a picture's colour is looked for first: one pixel of 256 is read.
SPARSE = 16


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
        doubted: Networks whose persons are redacted rather than redrawn where no other network saw them, unless they
            have a sure face.
        depth_map: Whether results hold the depth of the released picture.
        methods: By class, how it is obscured (``fill.obscure``) in place of a redraw: weaker, and only on request.
        strength: How strongly, see there.
    """

    classes: tuple[str, ...]
    people: str
    seed: int | None
    attempts: Mapping[str, int]
    guard_level: int
    least_side: Mapping[str, int]
    least_score: Mapping[str, float]
    doubted: tuple[str, ...] = ()
    depth_map: bool = False
    methods: Mapping[str, str] = field(default_factory=dict)
    strength: float = 1.0


class _Assessed(NamedTuple):
    """A picture as it would be released, what was treated, and what the checks say of it."""

    image: Image
    treated: Mask
    verdicts: tuple[Verdict, ...]
    leaks: tuple[Instance, ...]


class Anonymizer:
    """Redraws every sensitive instance of a picture and returns it only if verification passed.

    As a context manager it lets go of its models at the end of the block, see ``close``.

    Args:
        detector: Finds persons, faces and plates.
        depth: Estimates depth.
        edges: Finds edges.
        filler: Makes up what is behind what is anonymized; None: colours are spread smoothly.
        artist: Draws the avatars that redraws of persons start from; who cannot be posed is filled. None: redraws of
            persons start from noise.
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
        filler: Filler | None = None,
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
        self._filler = filler
        self._segmenter = segmenter
        self._artist = artist
        self._redrawer = redrawer
        self._verifier = verifier
        self.settings = settings
        self.together = together
        self._description = dict(description)

    @classmethod
    def from_preset(cls, preset: str | Path, *, seed: int | None = None, **options: Any) -> Anonymizer:
        """Build from a preset's name or a preset file; options as in ``anonymizer.config.presets.build``.

        Raises:
            InputError: Unknown preset or option value.
            ModelError: Weights are missing or corrupt.
        """
        from anonymizer.config import presets  # presets wires this class up, so it imports this module

        return presets.build(preset, seed=seed, **options)

    def __enter__(self) -> Anonymizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the models and of the memory that they take on a GPU; the anonymizer cannot be used any more."""
        for part in ("_detector", "_depth", "_edges", "_filler", "_segmenter", "_artist", "_redrawer", "_verifier"):
            if hasattr(self, part):
                delattr(self, part)
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()

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
                "doubted": list(settings.doubted),
                **({"methods": dict(settings.methods), "strength": settings.strength} if settings.methods else {}),
            },
        }

    @property
    def settings_hash(self) -> str:
        """sha256 over ``describe()``: pictures with the same hash were made the same way."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()

    @single_blas()
    def __call__(
        self,
        image: Image,
        instances: Sequence[Instance] | None = None,
        key: str = "",
        exclude: Mask | None = None,
    ) -> Result:
        """Anonymize one picture.

        Args:
            image: RGB uint8 (H, W, 3); not modified.
            instances: Your own detections. They are used as given; what the detector finds besides is added. Those
                with ``consent`` are left as they are, with the face that is theirs beyond doubt; those with a ``wish``
                say what becomes of the same object where it is found.
            key: Distinguishes pictures under one seed, e.g. the relative file name.
            exclude: bool (H, W), true where the picture is left as it is, also by the second pass; ``~mask`` keeps to
                an area. Whoever lies in it with less than 90 % of the outline is anonymized whole.

        Raises:
            InputError: The image or an instance is malformed.
            StageError: A stage failed.
            VerificationFailed: The picture could not be proven anonymized.
        """
        check_image(image)
        timings: dict[str, float] = {}
        with timed(timings, "detect"):
            seen, looked, left = self._find(image, instances, exclude)
            found = looked.instances
        give_back()
        with timed(timings, "condition"), stage("condition"):
            depth = self._depth.estimate(image, found)
            if depth.shape != image.shape[:2]:
                raise StageError("condition", f"depth of {depth.shape}, expected {image.shape[:2]}")
        with timed(timings, "verify"), stage("verify"):
            evidence = self._verifier.examine(image, found)
        seed = secrets.randbits(64) if self.settings.seed is None else self.settings.seed
        targets = [
            Target(
                i,
                i,
                "redrawn" if self._redrawable(image, i, found) else "redacted",
                method=self._method(i, found),
            )
            for i in found
        ]
        # crc32 is no secret: it only keeps pictures apart under one seed.
        entropy = seed, zlib.crc32(key.encode("utf-8", "surrogateescape"))
        scenery = tuple(i for i in seen if i.label == "vehicle" and i.label not in self.settings.classes)
        work = Work(image, targets, depth, evidence, entropy, scenery, exclude, looked.consented, left=left)
        made = self._process(work, timings)
        return Result(
            image=made.image,
            instances=work.shown,
            treatments=tuple(t.treatment for t in work.targets),
            verdicts=made.verdicts,
            treated=made.treated,
            provenance={**self.describe(), "timings_s": {k: round(v, 4) for k, v in timings.items()}},
            texts=tuple(text for texts in work.evidence.texts.values() for text in texts),
            renderings={t.id: t.rendering for t in work.targets if t.redrawn and t.rendering is not None},
            order=tuple(t.id for t in work.ordered()),
            depth=self._released_depth(work, made.image, timings),
            excluded=looked.excluded,
            consented=looked.consented,
        )

    def find(self, image: Image, instances: Sequence[Instance] | None = None, exclude: Mask | None = None) -> Findings:
        """All that would be anonymized in a picture; nothing is redrawn.

        Args:
            image: RGB uint8 (H, W, 3); not modified.
            instances: Your own detections, as for ``__call__``.
            exclude: bool (H, W), as there.

        Raises:
            InputError: The image, an instance or the area is malformed.
            StageError: Detection failed.
        """
        check_image(image)
        return self._find(image, instances, exclude)[1]

    def _find(
        self, image: Image, instances: Sequence[Instance] | None, exclude: Mask | None
    ) -> tuple[tuple[Instance, ...], Findings, tuple[Instance, ...]]:
        """Return what the detector saw, what is anonymized of it and of given instances, and what a wish leaves."""
        if not hasattr(self, "_detector"):
            raise InputError("the anonymizer is closed; build it anew, or use it inside of its with block")
        area = None if exclude is None else check_area(exclude, (image.shape[0], image.shape[1]))
        for instance in instances or ():
            if not isinstance(instance, Instance):
                raise InputError(f"instances: expected anonymizer.Instance each, got {type(instance).__name__}")
        consented: tuple[Instance, ...] = ()
        with stage("detect"):
            seen = self._detector.detect(image)
            found = self._targets(seen)
            left: tuple[Instance, ...] = ()
            if instances is not None:
                given = self._crowds(image, found, [i for i in instances if i.wish is None])
                every, consented = with_consent(with_given(found, given, image, self._segmenter))
                found = self._targets(every)
            found, excluded = within(found, area)
            if instances is not None:  # What a reviewer asks for counts wherever it lies.
                found, left = heeded(found, [i for i in instances if i.wish is not None])
        return seen, Findings(tuple(sorted(found, key=lambda i: i.id)), excluded, consented), left

    def anonymize_many(
        self,
        images: Sequence[Image],
        instances: Sequence[Sequence[Instance] | None] | None = None,
        keys: Sequence[str] | None = None,
        excludes: Sequence[Mask | None] | None = None,
    ) -> list[Result | Exception]:
        """Anonymize several pictures whose crops are painted in common batches, which a GPU does faster.

        Each picture comes out as it would alone, but for rounding in the model (at most a few of 255 levels).

        Args:
            images: RGB uint8 (H, W, 3) each. All are held in memory until the last is done.
            instances: Your own detections per picture, as for one picture.
            keys: Key per picture, as for one picture.
            excludes: Area to leave out per picture, as for one picture.

        Returns:
            Per picture its result, or the error that calling with it alone would have raised.
        """
        given = [None] * len(images) if instances is None else list(instances)
        names = [""] * len(images) if keys is None else list(keys)
        if not hasattr(self, "_redrawer"):
            raise InputError("the anonymizer is closed; build it anew, or use it inside of its with block")
        areas = [None] * len(images) if excludes is None else list(excludes)
        if not len(images) == len(given) == len(names) == len(areas):
            raise InputError(
                f"anonymize_many: expected as many instances, keys and areas as pictures, got {len(images)} pictures, "
                f"{len(given)}, {len(names)} and {len(areas)}"
            )
        work = zip(images, given, names, areas, strict=True)
        return self._redrawer.together([partial(self, *asked) for asked in work])

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

    def _method(self, instance: Instance, found: Sequence[Instance]) -> str | None:
        """Return how an instance is obscured, None if it is not; a face goes with its obscured person."""
        methods = self.settings.methods
        if instance.label == "face" and "face" not in methods:
            return methods.get("person") if any(i.id == instance.parent for i in found) else None
        return methods.get(instance.label)

    def _redrawable(self, image: Image, instance: Instance, found: Sequence[Instance]) -> bool:
        if self._method(instance, found) is not None or instance.wish == "fill":
            return False
        side = min(instance.box[2:] - instance.box[:2])
        if instance.label == "person" and (instance.boxed or is_sketch(instance) or is_crowd(instance)):
            return False
        if instance.label == "text" or side < self.settings.least_side.get(instance.label, 0):
            return False
        least = self.settings.least_score
        if instance.given or instance.wish == "redraw":
            return True
        if instance.label == "license_plate":
            return _known_plate(image, instance, least.get("license_plate", 0.0))
        alone = instance.label == "person" and seen_alone(instance, self.settings.doubted)
        if instance.score >= least.get(instance.label, 0.0) and not alone:
            return True
        # What is unsure is often a sign, leaves or lettering: filled, it goes unnoticed; redrawn, it stands there.
        if instance.label == "person":
            return any(i.parent == instance.id and i.score >= least.get("face", 0.0) for i in found)
        if instance.label == "face":
            rivals = [i.score for i in found if i.label == "face" and i.parent == instance.parent]
            return self.settings.people == "face" or (instance.parent is not None and instance.score >= max(rivals))
        return False

    def _process(self, work: Work, timings: dict[str, float]) -> _Assessed:
        """Redraw; what fails is redrawn again as often as its class allows, then redacted; then give up."""
        pending = [t for t in work.targets if t.redrawn]
        tries = max((self._tries(t) for t in work.targets), default=1)
        for attempt in range(tries + REDACTION_ROUNDS):
            if work.base is None:
                with timed(timings, "fill"), stage("fill"):
                    _fill(work, self._filler, self.settings.strength)
            with timed(timings, "redraw"), stage("redraw"):
                self._redraw(work, pending, attempt)
            give_back()
            assessed = self._assess(work, timings)
            failing, leaks = self._failing(work, assessed.verdicts), assessed.leaks
            if not failing and not leaks:
                return assessed
            verdicts = assessed.verdicts
            bad = sorted({(v.check, v.instance_id or 0) for v in verdicts if not v.passed})
            _log.debug("attempt %d: %d finds of the second pass; failed: %s", attempt + 1, len(leaks), bad)
            # Its picture is as large as the original: it goes before the next is made.
            del assessed
            redrawn = [t for t in work.targets if t.redrawn]
            again = {t.id for t in redrawn if t.id in failing and attempt + 1 < self._tries(t)}
            pending = [t for t in redrawn if t.id in again or t.found.parent in again]
            # What looks like a leak beside a redraw may go with it.
            self._give_up(work, failing - {t.id for t in pending}, () if pending else leaks)
        failed = {f"{v.check} (instance {v.instance_id})" for v in verdicts if not v.passed}
        names = ", ".join(sorted(failed)) or "second_pass"
        raise VerificationFailed(f"still failing after every retry and redaction: {names}", verdicts)

    def _released_depth(self, work: Work, image: Image, timings: dict[str, float]) -> Floats | None:
        if not self.settings.depth_map:
            return None
        with timed(timings, "depth"), stage("depth"):
            return self._depth.estimate(image, tuple(outlined(t.shown) for t in work.targets if t.redrawn))

    def _tries(self, target: Target) -> int:
        return max(self.settings.attempts.get(target.found.label, 1), 1)

    def _redraw(self, work: Work, pending: Sequence[Target], attempt: int) -> None:
        """Give pending instances new avatars and patches; what cannot have one is redacted."""
        if work.base is None:
            raise StageError("redraw", "expected a filled picture, got none")
        for target in pending:
            target.attempts += 1
        seeds = {t.id: int(work.rng(t).integers(2**63)) for t in pending}
        if self._artist is not None:
            self._draw_avatars(work, self._artist, [t for t in pending if t.found.label == "person"], seeds)
        for face in floating(work, self._artist is not None):
            face.redact()
        work.outline()
        avatars = {t.id: t.rendering for t in work.ordered() if t.redrawn and t.rendering is not None}
        work.scene, work.shadows = shaded(work.base, avatars.values())
        chosen = [t for t in work.ordered() if t in pending and t.redrawn]
        if not chosen:
            return
        under = [t.patch for t in work.ordered() if t.found.label in BODIES and t not in chosen and t.patch is not None]
        patches = self._redrawer.redraw(
            _for_plates(work, chosen),
            work.scene,
            [t.found for t in chosen],
            self._conditions(work, attempt),
            seeds,
            work.evidence.texts,
            under,
            avatars,
        )
        for target in chosen:
            target.patch = patches.get(target.id)

    def _draw_avatars(
        self, work: Work, artist: AvatarArtist, persons: Sequence[Target], seeds: Mapping[int, int]
    ) -> None:
        """Put an avatar in each person's place; who cannot be posed is redacted."""
        if not persons or work.base is None:
            return
        every = [t.found for t in work.targets]
        if work.view is None:
            work.view = seen_by(artist, work.base, every, estimate_horizon(every, work.size), work.drawn)
        rides = riders(every, work.scenery)
        drawn = draw_avatars(artist, work.base, [t.found for t in persons], every, seeds, work.view, rides)
        for target in persons:
            target.rendering = drawn.get(target.id)
            if target.rendering is None:
                target.redact()

    def _conditions(self, work: Work, attempt: int) -> Conditions:
        """Return what steers the redraw: with avatars, of the filled picture on which they stand; else guarded."""
        level = min(self.settings.guard_level + attempt, 2)
        if self._artist is None or work.scene is None:
            return guard(Conditions(work.depth, self._edges.detect(work.image)), work.shown, level)
        scene = work.scene
        standing = [t for t in work.ordered() if t.redrawn and t.rendering is not None]
        for target in standing:
            if target.rendering is not None:
                scene = pasted(scene, (0, 0, work.size[1], work.size[0]), target.rendering)
        bodies = tuple(replace(t.shown, mask=t.shown.outline, core=None) for t in standing)
        seen = Conditions(self._depth.estimate(scene, bodies), self._edges.detect(scene))
        # Nothing of the original is in it; faces and plates that are painted still get their neutral marks.
        seen = guard(seen, [i for i in work.shown if i.label not in BODIES], max(level, 1))
        vehicles = [t for t in work.targets if t.redrawn and t.found.label == "vehicle"]
        if not vehicles:
            return seen
        # The fill shows none of them: their shape comes from the original, in which all else is filled.
        bare = _bare(work, ())
        depth = self._depth.estimate(bare, tuple(outlined(t.found) for t in vehicles))
        own = guard(Conditions(depth, self._edges.detect(bare)), work.shown, level)
        there = work.hidden(vehicles) & ~work.hidden([t for t in work.targets if t.found.label == "person"])
        return Conditions(np.where(there, own.depth, seen.depth), np.where(there, own.edges, seen.edges))

    def _failing(self, work: Work, verdicts: Iterable[Verdict]) -> set[int]:
        """Return the ids of instances with a failed check; a face that an avatar carries fails with its person."""
        failing = {v.instance_id for v in verdicts if not v.passed and v.instance_id is not None}
        carriers = {t.id for t in work.targets if t.redrawn and t.rendering is not None}
        return failing | {t.found.parent for t in work.targets if t.id in failing and t.found.parent in carriers}

    def _give_up(self, work: Work, failing: set[int], leaks: Sequence[Instance]) -> None:
        """Turn failing instances, and faces of failing persons, into redactions; add what the second pass found."""
        for target in work.targets:
            if target.id in failing and not target.redrawn:
                # Texture that happens to resemble the original's: it gets new noise only.
                target.stuck, target.method, work.base = True, None, None
        for target in work.targets:
            if target.id in failing or target.found.parent in failing:
                target.redact()
        first = max((t.id for t in work.targets), default=0) + 1
        added = [replace(leak, id=first + n, parent=None) for n, leak in enumerate(leaks)]
        if added:
            work.targets += [Target(i, i, "redacted", method=self._method(i, ()), late=True) for i in added]
            work.base = None
            work.evidence = self._verifier.examine(work.image, [t.found for t in work.targets], work.evidence)

    def _assess(self, work: Work, timings: dict[str, float]) -> _Assessed:
        if work.scene is None or work.treated is None or work.shadows is None:
            raise StageError("blend", "expected a filled picture, got none")
        with timed(timings, "blend"), stage("blend"):
            laid = [t.patch for t in work.ordered() if t.redrawn and t.patch is not None]
            result, painted = compose(work.scene, laid)
            treated = work.treated | work.shadows | painted
            if _grey(work.image, work.treated):
                result[treated] = cv2.cvtColor(result, cv2.COLOR_RGB2GRAY)[treated][:, None]
        with timed(timings, "verify"), stage("verify"):
            everything = self._verifier.find(result)
            found = self._targets(everything)
            for face in self._unseen(work, found):
                face.redact()
            leaks = work.concerned(self._targets(self._verifier.leaks(treated, everything)))
            leaks = tuple(leak for leak in leaks if not same_as(leak, work.left))
            evidence = replace(work.evidence, instances=work.shown)
            actions = {t.id: t.action for t in work.targets}
            verdicts = self._verifier.check(evidence, result, treated, actions, found, leaks)
            leaks += tuple(f for f in half_filled(work, verdicts, found) if not any(f is leak for leak in leaks))
            unchecked = {None, *actions} - {v.instance_id for v in verdicts}
            if unchecked:
                raise StageError("verify", f"expected verdicts on the picture and every instance, none on {unchecked}")
        return _Assessed(result, treated, verdicts, leaks)

    def _unseen(self, work: Work, found: Sequence[Instance]) -> list[Target]:
        """Return faces of avatars that nobody sees as faces in the result: hidden by hair or hat, or turned away.

        The person stays, and no face is told of: what stood there is the avatar's all the same.
        """
        standing = [t for t in work.targets if t.redrawn and t.rendering is not None]
        faces = [face for person in standing for face in work.faces_of(person)]
        return [face for face in faces if not self._verifier.keeps(face.shown, found)]


def _fill(work: Work, filler: Filler | None, strength: float) -> None:
    """Lay a fill over everything anonymized; what is stuck gets smooth colours with noise.

    What is obscured on request shows where nothing else lies: of a face on a redrawn person, nothing does.
    """
    stuck = [t for t in work.targets if t.stuck]
    plain = work.hidden(stuck) if stuck else None
    filled = redact(work.image, work.hidden(), work.fill_rng(), filler=filler, plain=plain)
    _obscure(work, filled, strength)
    work.base, work.treated = compose(work.image, [region_patch(filled, t.found) for t in work.targets])
    work.fills, work.view = work.fills + 1, None


def _for_plates(work: Work, chosen: Iterable[Target]) -> Image:
    """Return the picture that the plates among ``chosen`` are read from, RGB uint8 (H, W, 3).

    What is hidden beside a plate, as people before it, has no influence on its noise, colours and corners.
    """
    plates = [t.found for t in chosen if t.found.label == "license_plate"]
    return _bare(work, plates) if plates else work.image


def _bare(work: Work, shown: Sequence[Instance]) -> Image:
    """Return the original with all filled but vehicles and some instances: RGB uint8 (H, W, 3)."""
    if work.base is None:
        raise StageError("redraw", "expected a filled picture, got none")
    filled = work.hidden(t for t in work.targets if t.found.label != "vehicle" and t.found not in shown)
    for instance in shown:
        filled &= ~full_mask(instance, work.size)
    return np.where(filled[..., None], work.base, work.image)


def _grey(image: Image, treated: Mask) -> bool:
    """Return whether a picture (H, W, 3) has no colour where it is not treated, bool (H, W), and not all of it is."""
    # Few pixels tell of nearly every picture that it is coloured.
    for step in (SPARSE, 1):
        shown = image[::step, ::step][~treated[::step, ::step]]  # (N, 3)
        if not (shown[:, 1:] == shown[:, :1]).all():
            return False
    return bool(len(shown))


def _known_plate(image: Image, instance: Instance, least: float) -> bool:
    """Return whether a plate is known as one.

    It is if platedet saw it on a vehicle or beside another network, or is likely right; if another network is sure; or
    if OCR read text that has a ground of its own, and it lies on a vehicle or a network finds it likely. Other text,
    and what our own networks alone see, may be any lettering, on a bus as on a wall.
    """
    networks = {name: score for name, score in instance.signs.items() if name not in ("vehicle", "ocr")}
    packaged = networks.get("platedet", 0.0)
    if packaged > 0 and (len(networks) > 1 or "vehicle" in instance.signs or packaged >= LIKELY_PLATE):
        return True
    best = max(networks.values(), default=0.0)
    if best >= least:
        return True
    placed = "vehicle" in instance.signs or best >= LIKELY_PLATE
    return "ocr" in instance.signs and placed and stands_out(image, instance)


def _obscure(work: Work, filled: Image, strength: float) -> None:
    """Lay blur, mosaic or colour over the fill of instances that ask for it, in place.

    The largest comes last: a face is as blurred as its person.
    """
    asked = [t for t in work.targets if t.method is not None]
    if not asked:
        return
    others = work.hidden([t for t in work.targets if t.method is None])
    for target in sorted(asked, key=lambda t: t.found.mask.size):
        box, mask = anonymized_region(target.found, work.size)
        x1, y1, x2, y2 = box
        own = mask & ~others[y1:y2, x1:x2]
        filled[y1:y2, x1:x2][own] = obscure(work.image, box, str(target.method), strength)[own]
