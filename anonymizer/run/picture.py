"""Picture of a run: from file content to what will be written about it; nothing is written here."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Protocol

import numpy as np

from anonymizer.annotations.areas import Areas
from anonymizer.annotations.export import released_record
from anonymizer.annotations.records import Annotations, Page, added_record
from anonymizer.annotations.rendered import instance_map, joints_of, label_maps, visible
from anonymizer.annotations.scrubbing import identities
from anonymizer.core.errors import AnonymizerError, InputError, ModelError, StageError, VerificationFailed
from anonymizer.core.geometry import integer_box, paste_window
from anonymizer.core.records import Findings, Floats, Image, Instance, Mask, Result, Verdict
from anonymizer.images.decode import LOSSLESS, Decoded, decode_image
from anonymizer.images.encode import encode_image, target_format
from anonymizer.images.formats import WRITTEN_AS
from anonymizer.images.high_bit_depth import DEEP_FORMATS
from anonymizer.images.metadata import TAG_NAMES, Tags, chosen, without_place
from anonymizer.images.names import name_hints
from anonymizer.images.release import Release
from anonymizer.images.segments import unexpected
from anonymizer.run.decisions import Instructions
from anonymizer.run.scaling import scaled_decoded, scaled_joints, scaled_result, size_within

__all__ = ["AnonymizerLike", "Asked", "Outcome", "Picture", "anonymize_picture", "check_result"]

_log = logging.getLogger(__name__)

#: Mean difference in levels of 0 to 255 by which a lossy file may lie nearer to the original than to the result: where
#: the two hardly differ, what encoding loses decides which is nearer.
NEARER = 4.0


class AnonymizerLike(Protocol):
    """What an engine needs of an anonymizer."""

    @property
    def settings_hash(self) -> str:
        """Hex digest of every setting and weight that decides the pixels."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return preset, models with hashes, and versions as plain JSON data, without seeds."""
        ...

    def __call__(
        self,
        image: Image,
        instances: tuple[Instance, ...] | None = None,
        *,
        key: str = "",
        exclude: Mask | None = None,
    ) -> Result:
        """Anonymize RGB uint8 (H, W, 3); randomness depends on the seed and ``key`` alone, not on the order.

        ``exclude``, bool (H, W), is only given where something is to be left as it is.
        """
        ...

    def find(
        self, image: Image, instances: tuple[Instance, ...] | None = None, exclude: Mask | None = None
    ) -> Findings:
        """Return all that would be anonymized in RGB uint8 (H, W, 3)."""
        ...


class Asked(NamedTuple):
    """What an anonymizer is asked about a picture: the area to leave out is None where there is none."""

    image: Image
    instances: tuple[Instance, ...] | None
    key: str
    exclude: Mask | None


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of a picture.

    Args:
        record: Fields for the ledger.
        data: The encoded picture, only if it is released.
        side: What the annotations will say, only if it is released.
        maps: Maps to be written beside the picture, by kind, only if it is released.
    """

    record: dict[str, Any]
    data: bytes | None = None
    side: dict[str, Any] | None = None
    maps: Mapping[str, bytes] = field(default_factory=dict)


class Picture:
    """One picture on its way through three steps; whatever goes wrong with it, nothing of it is released.

    The steps are apart so that an engine can read the next picture and write the last one while the model works.

    Args:
        name: Relative name; it selects annotations, output format and the picture's randomness.
        content: The file's content.
        annotations: Given annotations, or None to detect.
        release: How it is released, with the key of OUTPUT where names are hashed.
        instructions: What reviewers ask for.
        dry_run: Whether it is only looked for what would be anonymized; the outcome then has the status ``found``.
        areas: What of it is left as it is.
    """

    def __init__(
        self,
        name: str,
        content: bytes,
        annotations: Annotations | None = None,
        release: Release | None = None,
        instructions: Instructions | None = None,
        *,
        dry_run: bool = False,
        areas: Areas | None = None,
    ) -> None:
        self.outcome: Outcome | None = None
        self.dry_run = dry_run
        self._name = name
        self._content = content
        self._annotations = annotations
        self._release = release or Release()
        self._instructions = instructions or Instructions()
        self._areas = areas or Areas()
        self._excluded: Mask | None = None
        self._notes: tuple[str, ...] = ()
        self._remarks: tuple[str, ...] = ()
        self._decoded: Decoded | None = None
        self._result: Result | None = None
        self._found: Findings | None = None
        self._timings: dict[str, float] = {}
        self._in_company = False

    def read(self) -> None:
        """Decode the picture."""
        with self._step("read"):
            self._decoded = decode_image(self._content, self._name)
            self._notes = self._decoded.notes

    def anonymize(self, anonymizer: AnonymizerLike) -> None:
        """Redraw it and hold the result to its contract.

        Raises:
            ModelError: The models cannot be used, which no other picture would change.
        """
        asked = self.asked()
        if asked is not None:
            with self._step("anonymize"):
                area = {} if asked.exclude is None else {"exclude": asked.exclude}
                if self.dry_run:
                    self._found = anonymizer.find(asked.image, asked.instances, **area)
                else:
                    self._keep(anonymizer(asked.image, asked.instances, key=asked.key, **area))

    def asked(self) -> Asked | None:
        """Return what an anonymizer is asked about it; None if its fate is decided."""
        decoded, name = self._decoded, self._name
        if decoded is not None:
            with self._step("anonymize"):
                given = None if self._annotations is None else self._annotations.instances(name, decoded.size)
                self._remarks = () if given is None else tuple(str(remark) for remark in given.remarks)
                instances = () if given is None else self._linked(given.instances)
                asked = self._instructions.instances(decoded.size, first=len(instances) + 1)
                nothing = given is None and not asked
                self._excluded = self._areas.mask(name, decoded.size)
                return Asked(decoded.pixels, None if nothing else (*instances, *asked), self._key, self._excluded)
        return None

    def _linked(self, instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
        """Return given instances, persons with the number of their identity where identities are linked."""
        release = self._release
        return tuple(replace(i, link=release.link(i.record)) if i.label == "person" else i for i in instances)

    @property
    def _key(self) -> str:
        """What the picture's randomness depends on: its name, and how often it was to be drawn again."""
        return f"{self._name}\n{self._instructions.redraws}" if self._instructions.redraws else self._name

    def take(self, answer: Result | AnonymizerError, seconds: float) -> None:
        """Take what came of it in company with others, in place of ``anonymize``.

        Args:
            answer: The result, or the error that calling with it alone would have raised.
            seconds: Its share of the time.

        Raises:
            ModelError: That was the answer.
        """
        self._in_company = True
        with self._step("anonymize"):
            self._timings["anonymize"] += seconds
            if isinstance(answer, AnonymizerError):
                raise answer
            self._keep(answer)

    def write(self) -> Outcome:
        """Encode what was verified and return what became of the picture."""
        decoded, result = self._decoded, self._result
        if decoded is not None and self._found is not None:
            with self._step("write"):
                self.outcome = self._told(self._found, decoded.size)
        if decoded is not None and result is not None:
            with self._step("write"):
                released, keep = self._release.name(self._name), self._release.keep_fields
                instances, joints = result.instances, dict[int, Floats]()
                maps: Mapping[str, bytes] = {}
                before, size = decoded.size, size_within(decoded.size, self._release.max_side)
                if result.renderings or self._release.write:
                    ids = instance_map(result)
                    instances, joints = visible(result, ids), joints_of(result, ids)
                    maps = label_maps(result, ids, self._release.write, size)
                given = self._annotations
                if size != before:
                    decoded = scaled_decoded(decoded, size)
                    result = scaled_result(replace(result, instances=instances), decoded)
                    instances, joints = result.instances, scaled_joints(joints, before, size)
                    given = None if given is None else given.scaled(self._name, before, size)
                    instances = _with_records(instances, given, self._name)
                treated = tuple(zip(instances, result.treatments, strict=True))
                page = Page(self._name, released, size, treated, result.texts, keep, joints)
                data, note = _encode(result, decoded, page.released, self._release)
                side = released_record(page, given)
                if not self._in_company:  # There, the clock of a stage runs on while others have their turn.
                    self._timings |= dict(result.provenance.get("timings_s", {}))
                notes = [*decoded.notes, *note, *self._instructions.notes]
                record = _released(result) | {"notes": notes} | self._names(page)
                record |= {} if size == before else {"scaled_from": list(before)}
                record |= self._left(result)
                if self._annotations is not None:
                    record["fields_removed"] = side["removed"]
                if self._release.keep_metadata:
                    record["metadata_kept"] = [TAG_NAMES[tag] for tag in _tags(decoded, page.released, self._release)]
                self.outcome = Outcome(record | self._remarked(), data, side, maps)
        if self.outcome is None:
            raise StageError("write", f"{self._name}: expected a picture that was read and anonymized")
        if self.outcome.side is not None:
            self.outcome.record["timings_s"] = {step: round(float(s), 4) for step, s in self._timings.items()}
        self._log_outcome(self.outcome)
        # A picture may wait for its turn to be recorded: what is large goes now.
        self._decoded = self._result = self._found = self._excluded = None
        return self.outcome

    def _left(self, result: Result | Findings) -> dict[str, Any]:
        """Return what was left as it is, for the ledger; nothing where all was anonymized."""
        kinds = {"excluded": result.excluded, "consented": result.consented}
        record: dict[str, Any] = {kind: [_spared(i) for i in left] for kind, left in kinds.items() if left}
        if self._excluded is not None:
            share = round(float(self._excluded.mean()), 4)
            record["areas"] = {**self._areas.names(self._name), "proportion": share}
        return record

    def _told(self, found: Findings, size: tuple[int, int]) -> Outcome:
        """Return what would be anonymized, as COCO annotations without ids."""
        records = [
            {"category": i.label, "instance": i.id, "score": round(float(i.score), 4), "source": i.source}
            | added_record(i, size)
            for i in found.instances
        ]
        record = {"status": "found", "size": list(size), "notes": list(self._notes)} | self._remarked()
        record |= self._left(found)
        return Outcome(record, side={"instances": records})

    def _log_outcome(self, outcome: Outcome) -> None:
        record = outcome.record
        timings = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in self._timings.items())
        _log.info("%s: %s; %s", self._name, record["status"], timings)
        for item in record.get("instances", ()):
            told = item["label"], item["box"], item["action"], item["attempts"], item["score"], item["source"]
            _log.debug("%s: %s at %s %s after %s attempts, score %s by %s", self._name, *told)

    def _keep(self, result: Result) -> None:
        if self._decoded is None:
            raise StageError("anonymize", f"{self._name}: expected a picture that was read")
        check_result(result, self._decoded.pixels)
        for mark in self._instructions.marked(self._decoded.size):
            picture, local = paste_window(integer_box(mark.box), self._decoded.size)
            # A mark may be dropped on the way: by other classes, for example.
            if not result.treated[picture][mark.mask[local]].all():
                reason = "not all that was marked in review was treated; check --classes, --people and --exclude"
                raise StageError("anonymize", reason)
        self._result = result

    def _names(self, page: Page) -> dict[str, Any]:
        """Return the released name and what in it may tell who or where."""
        if self._release.rename:
            return {"released_name": page.released}
        given = self._annotations
        known = identities((), page.texts) if given is None else given.identities(page.name, page.texts, page.keep)
        return {"released_name": page.released, "name_hints": list(name_hints(page.released, known))}

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        """Time a step and turn what it raises into the picture's fate."""
        started = time.perf_counter()
        record: dict[str, Any]
        try:
            yield
        except ModelError:
            raise
        except VerificationFailed as error:
            verdicts = [_verdict(verdict, with_id=True) for verdict in error.verdicts]
            record = {"status": "quarantined", "reason": _line(str(error)), "verdicts": verdicts}
        except (InputError, StageError) as error:
            record = {"status": "failed", "reason": _line(str(error))}
        except Exception as error:
            # One picture must not end a run of thousands; it fails, by name.
            record = {"status": "failed", "reason": _line(f"{type(error).__name__}: {error}")}
        else:
            self._timings[name] = self._timings.get(name, 0.0) + time.perf_counter() - started
            return
        self._decoded = self._result = self._found = None
        self.outcome = Outcome(record | {"notes": list(self._notes)} | self._remarked())

    def _remarked(self) -> dict[str, Any]:
        """Return the given records that were not taken as they stand; nothing where all were."""
        return {"annotation_remarks": list(self._remarks)} if self._remarks else {}


def anonymize_picture(
    anonymizer: AnonymizerLike, name: str, content: bytes, annotations: Annotations | None = None
) -> Outcome:
    """Take one picture through all steps.

    Args:
        anonymizer: Redraws and verifies.
        name: Relative name.
        content: The file's content.
        annotations: Given annotations, or None to detect.

    Returns:
        Released, quarantined (verification failed) or failed (anything else), with the reason.

    Raises:
        ModelError: The models cannot be used, which no other picture would change.
    """
    picture = Picture(name, content, annotations)
    picture.read()
    picture.anonymize(anonymizer)
    return picture.write()


def check_result(result: Result, pixels: Image) -> None:
    """Hold an anonymizer to its contract before anything is released.

    Args:
        result: What it returned.
        pixels: The original, RGB uint8 (H, W, 3).

    Raises:
        StageError: Another type or shape, pixels changed outside of what was treated, an instance that was not
            treated as a whole, or a check that is missing, did not pass or has no finite figure.
    """
    if not isinstance(result, Result):
        raise StageError("verify", f"expected a Result, got {type(result).__name__}")
    image, treated = result.image, result.treated
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != pixels.shape:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise StageError("blend", f"result is {got}, expected uint8 {pixels.shape}")
    if not isinstance(treated, np.ndarray) or treated.dtype != np.bool_ or treated.shape != pixels.shape[:2]:
        got = f"{treated.dtype} {treated.shape}" if isinstance(treated, np.ndarray) else type(treated).__name__
        raise StageError("blend", f"treated is {got}, expected bool {pixels.shape[:2]}")
    _check_verdicts(result)
    for instance in result.instances:
        picture, local = paste_window(integer_box(instance.box), (pixels.shape[0], pixels.shape[1]))
        if not treated[picture][instance.mask[local]].all():
            raise StageError("blend", "not all of the instance was treated", instance.id)
    # Row by row bands: a whole comparison of a huge picture would double its memory.
    for top in range(0, pixels.shape[0], 512):
        band = slice(top, top + 512)
        differs = image[band] != pixels[band]
        changed = differs[..., 0] | differs[..., 1] | differs[..., 2]  # Several times faster than any(axis=2).
        if (changed & ~treated[band]).any():
            raise StageError("blend", "pixels outside of the treated masks changed")


def _check_verdicts(result: Result) -> None:
    for verdict in result.verdicts:
        if not isinstance(verdict, Verdict) or not isinstance(verdict.passed, bool | np.bool_):
            raise StageError("verify", f"expected verdicts, got {type(verdict).__name__}")
        if not verdict.passed:
            raise StageError("verify", "a result was handed over with a failed verdict")
        if verdict.value is not None and not np.isfinite(verdict.value):
            raise StageError("verify", f"{verdict.check}: expected a finite figure", verdict.instance_id)
    judged = {verdict.instance_id for verdict in result.verdicts}
    ids = [instance.id for instance in result.instances]
    if not all(verdict.instance_id in ids for verdict in result.verdicts if verdict.instance_id is not None):
        raise StageError("verify", "a verdict names an instance that is not in the result")
    if None not in judged:
        raise StageError("verify", "the result as a whole was not checked")
    for number in ids:
        if number not in judged:
            raise StageError("verify", "the instance was not checked", number)
    if [treatment.instance_id for treatment in result.treatments] != ids:
        raise StageError("verify", "expected one treatment per instance, in the same order")
    if any(treatment.action not in ("redrawn", "redacted") for treatment in result.treatments):
        raise StageError("verify", "expected each instance to be redrawn or redacted")


def _encode(result: Result, decoded: Decoded, released: str, release: Release) -> tuple[bytes, tuple[str, ...]]:
    """Return the file's content, proven by decoding it and by reading its every segment, and notes."""
    suffix = PurePosixPath(released).suffix
    kind = target_format(decoded, suffix)
    lost = without_place(decoded.exif, release.keep_metadata, kind)
    if lost:
        raise InputError(
            f"{released}: {kind} has no place for the metadata to keep ({', '.join(lost)}); release it with --format "
            "jpeg or png, or leave them out of --keep-metadata"
        )
    settings: dict[str, Any] = {"treated": result.treated, "keep": release.keep_metadata, "quality": release.quality}
    data = encode_image(result.image, decoded, suffix, **settings)
    stray = unexpected(data, kind, _tags(decoded, released, release))
    if stray:
        raise StageError("write", f"the encoded {kind} holds more than it should: {', '.join(stray)[:200]}")
    again = decode_image(data, f"encoded {released}")
    if again.size != decoded.size:
        raise StageError("write", f"encoded as {again.size}, expected {decoded.size}")
    if kind in LOSSLESS and not np.array_equal(again.pixels, result.image):
        raise StageError("write", f"the encoded {kind} does not hold the verified pixels")
    if kind not in LOSSLESS:
        _check_lossy(again.pixels, result, decoded.pixels, kind)
    notes = []
    if decoded.deep is not None and kind in DEEP_FORMATS:
        kept = ~result.treated
        if again.deep is None or not np.array_equal(again.deep[kept], decoded.deep[kept]):
            raise StageError("write", f"the encoded {kind} does not hold the original's 16-bit samples")
    elif decoded.deep is not None:
        notes.append("16-bit reduced to 8-bit")
    if kind not in LOSSLESS and not (kind == decoded.format == "JPEG" and release.quality is None):
        notes.append(f"written as {kind} with losses")
    if kind == decoded.format == "JPEG" and release.quality is None:
        before, after = ((p.quantization, p.sampling, p.grey) for p in (decoded, again))
        if before != after:
            notes.append("JPEG of an unusual kind: quantization tables, subsampling or channels are not the source's")
    if decoded.format in WRITTEN_AS:
        notes.append(f"{decoded.format} is only read, written as {kind}")
    elif kind != decoded.format and release.format is None:
        notes.append(f"{decoded.format} content under the suffix {suffix}")
    return data, tuple(notes)


def _check_lossy(again: Image, result: Result, original: Image, kind: str) -> None:
    """Refuse an encoded picture that shows, where an instance was treated, rather the original than the result."""
    for instance in result.instances:
        picture, local = paste_window(integer_box(instance.box), (again.shape[0], again.shape[1]))
        inside = instance.mask[local]
        if not inside.any():
            continue
        now = again[picture][inside].astype(np.int16)
        wanted, before = result.image[picture][inside].astype(np.int16), original[picture][inside].astype(np.int16)
        to_result, to_original, change = (
            float(np.abs(a - b).mean()) for a, b in ((now, wanted), (now, before), (wanted, before))
        )
        # Nearer to the original, and near to it in earnest: coarse quantization blurs noise into anything's mean.
        if to_result > to_original + NEARER and to_original < change / 3:
            raise StageError("write", f"the encoded {kind} does not hold the verified pixels", instance.id)


def _with_records(instances: tuple[Instance, ...], given: Annotations | None, name: str) -> tuple[Instance, ...]:
    """Return instances of a scaled picture with their scaled records, where the format has some."""
    records = {} if given is None else {record["id"]: record for _, record in given.records(name)}
    return tuple(i if i.record is None else replace(i, record=records.get(i.record["id"], i.record)) for i in instances)


def _tags(decoded: Decoded, released: str, release: Release) -> Tags:
    """Return the metadata that is kept in the released file."""
    kind = target_format(decoded, PurePosixPath(released).suffix)
    return chosen(decoded.exif, release.keep_metadata, kind)


def _released(result: Result) -> dict[str, Any]:
    instances = []
    for instance, treatment in zip(result.instances, result.treatments, strict=True):
        own = [_verdict(verdict) for verdict in result.verdicts if verdict.instance_id == instance.id]
        instances.append(
            {
                "id": instance.id,
                "label": instance.label,
                "box": [round(float(value), 2) for value in instance.box],
                "score": round(float(instance.score), 4),
                "source": instance.source,
                "action": treatment.action,
                "attempts": treatment.attempts,
                "verdicts": own,
            }
            | ({} if treatment.method is None else {"method": treatment.method})
            | ({"second_pass": True} if treatment.second_pass else {})
            | ({"found": [round(v, 2) for v in treatment.found]} if treatment.found is not None else {})
            | ({} if treatment.mask_iou is None else {"mask_iou": round(float(treatment.mask_iou), 4)})
            | ({} if instance.link is None or instance.id not in result.renderings else {"linked": True})
        )
    known = {instance.id for instance in result.instances}
    rest = [_verdict(verdict, with_id=True) for verdict in result.verdicts if verdict.instance_id not in known]
    return {
        "status": "released",
        "reason": "",
        "size": list(result.image.shape[:2]),
        "instances": instances,
        "verdicts": rest,
    }


def _spared(instance: Instance) -> dict[str, Any]:
    """Return an instance that was left as it is."""
    box = [round(float(value), 2) for value in instance.box]
    return {
        "label": instance.label,
        "box": box,
        "score": round(float(instance.score), 4),
        "source": instance.source,
    }


def _verdict(verdict: Verdict, *, with_id: bool = False) -> dict[str, Any]:
    record: dict[str, Any] = {
        "check": verdict.check,
        "passed": verdict.passed,
        "value": verdict.value,
        "threshold": verdict.threshold,
        "detail": verdict.detail,
    }
    return record | {"instance_id": verdict.instance_id} if with_id else record


def _line(text: str) -> str:
    return " ".join(text.split())[:400]
