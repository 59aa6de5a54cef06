"""One picture from file content to what a run will write about it; nothing is written here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

import numpy as np

from anonymizer.dataset.annotations import Annotations
from anonymizer.dataset.images import LOSSLESS, Decoded, decode_image, encode_image, target_format
from anonymizer.dataset.released import released_record
from anonymizer.errors import InputError, ModelError, StageError, VerificationFailed
from anonymizer.types import Image, Instance, Result, Verdict

__all__ = ["AnonymizerLike", "Outcome", "anonymize_picture"]


class AnonymizerLike(Protocol):
    """What an engine needs of an anonymizer."""

    @property
    def settings_hash(self) -> str:
        """Hex digest of every setting and weight that decides the pixels."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return preset, models with hashes, and versions as plain JSON data, without seeds."""
        ...

    def __call__(self, image: Image, instances: tuple[Instance, ...] | None = None, *, key: str = "") -> Result:
        """Anonymize RGB uint8 (H, W, 3); randomness depends on the seed and ``key`` alone, not on the order."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of a picture.

    Args:
        record: Fields for the ledger.
        data: The encoded picture, only if it is released.
        side: What the annotations will say, only if it is released.
    """

    record: dict[str, Any]
    data: bytes | None = None
    side: dict[str, Any] | None = None


def anonymize_picture(
    anonymizer: AnonymizerLike, name: str, content: bytes, annotations: Annotations | None = None
) -> Outcome:
    """Anonymize one picture and decide its fate; whatever goes wrong with it, nothing of it is released.

    Args:
        anonymizer: Redraws and verifies.
        name: Relative name; it selects annotations, output format and the picture's randomness.
        content: The file's content.
        annotations: Given annotations, or None to detect.

    Returns:
        Released, quarantined (verification failed) or failed (anything else), with the reason.

    Raises:
        ModelError: The models cannot be used, which no other picture would change.
    """
    started = time.perf_counter()
    notes: tuple[str, ...] = ()
    try:
        decoded = decode_image(content, name)
        notes = decoded.notes
        read = time.perf_counter()
        instances = None if annotations is None else annotations.instances(name, decoded.size)
        result = anonymizer(decoded.pixels, instances, key=name)
        anonymized = time.perf_counter()
        _check(result, decoded)
        data, note = _encode(result, decoded, name)
        side = released_record(name, result, annotations)
        timings = {"read": read - started, "anonymize": anonymized - read, "write": time.perf_counter() - anonymized}
        timings |= dict(result.provenance.get("timings_s", {}))
        record = _released(result, timings) | {"notes": [*notes, *note]}
    except ModelError:
        raise
    except VerificationFailed as error:
        verdicts = [_verdict(verdict, with_id=True) for verdict in error.verdicts]
        return Outcome({"status": "quarantined", "reason": _line(str(error)), "notes": notes, "verdicts": verdicts})
    except (InputError, StageError) as error:
        return Outcome({"status": "failed", "reason": _line(str(error)), "notes": notes})
    except Exception as error:
        # One picture must not end a run of thousands; it fails, by name.
        reason = _line(f"{type(error).__name__}: {error}")
        return Outcome({"status": "failed", "reason": reason, "notes": notes})
    return Outcome(record, data, side)


def _check(result: Result, decoded: Decoded) -> None:
    """Hold the anonymizer to its contract before anything is released."""
    if result.image.shape != decoded.pixels.shape or result.treated.shape != decoded.size:
        raise StageError("blend", f"result of shape {result.image.shape}, expected {decoded.pixels.shape}")
    if any(not verdict.passed for verdict in result.verdicts):
        raise StageError("verify", "a result was handed over with a failed verdict")
    # Row by row bands: a whole comparison of a huge picture would double its memory.
    for top in range(0, decoded.size[0], 512):
        band = slice(top, top + 512)
        changed = (result.image[band] != decoded.pixels[band]).any(axis=2)
        if (changed & ~result.treated[band]).any():
            raise StageError("blend", "pixels outside of the treated masks changed")


def _encode(result: Result, decoded: Decoded, name: str) -> tuple[bytes, tuple[str, ...]]:
    """Return the file's content, proven by decoding it, and a note where the suffix belied the content."""
    suffix = PurePosixPath(name).suffix
    kind = target_format(decoded, suffix)
    data = encode_image(result.image, decoded, suffix)
    again = decode_image(data, f"encoded {name}")
    if again.size != decoded.size:
        raise StageError("write", f"encoded as {again.size}, expected {decoded.size}")
    if kind in LOSSLESS and not np.array_equal(again.pixels, result.image):
        raise StageError("write", f"the encoded {kind} does not hold the verified pixels")
    return data, () if kind == decoded.format else (f"{decoded.format} content under the suffix {suffix}",)


def _released(result: Result, timings: Mapping[str, float]) -> dict[str, Any]:
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
        )
    known = {instance.id for instance in result.instances}
    rest = [_verdict(verdict, with_id=True) for verdict in result.verdicts if verdict.instance_id not in known]
    return {
        "status": "released",
        "reason": "",
        "size": list(result.image.shape[:2]),
        "instances": instances,
        "verdicts": rest,
        "timings_s": {stage: round(float(seconds), 4) for stage, seconds in timings.items()},
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
