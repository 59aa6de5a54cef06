"""Taking plates and names out of the text fields of annotations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from anonymizer.dataset.names import LEAST_TEXT, normalized, repeats

__all__ = ["IDENTIFYING", "REMOVED", "Scrubber", "identities", "without_keypoints"]

#: Fields of given records that tell who or what the original showed or where to find it; they are not passed on for
#: treated instances, nor for pictures.
IDENTIFYING = frozenset(
    {
        "caption",
        "embedding",
        "flickrid",
        "gps",
        "identity",
        "identity_id",
        "latitude",
        "license_plate",
        "location",
        "longitude",
        "name",
        "person_id",
        "person_name",
        "plate",
        "plate_number",
        "plate_text",
        "text",
        "transcription",
        "utf8_string",
        "vehicle_id",
    }
)
#: What stands where a text was that repeats a plate or a name.
REMOVED = "[removed]"
#: What an attribute list (CVAT, LabelMe) calls its names and values.
_PAIR = ("name", "value")


def identities(records: Iterable[Mapping[str, Any]], read: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the plates and names known of a picture.

    Args:
        records: Its annotation and image records; texts under ``IDENTIFYING`` fields count, however deep.
        read: What OCR read on its plates.

    Returns:
        Distinct texts with at least four letters and digits: shorter ones occur everywhere by chance.
    """
    found = [text for record in records for text in _texts(record)] + list(read)
    return tuple(dict.fromkeys(text for text in found if len(normalized(text)) >= LEAST_TEXT))


class Scrubber:
    """Removes what identifies from records.

    Args:
        known: Plates and names, see :func:`identities`.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = tuple(known)

    def text(self, text: str) -> str:
        """Return a text, or ``REMOVED`` if it repeats a plate or a name."""
        return REMOVED if repeats(text, self._known) else text

    def value(self, value: Any, *, treated: bool) -> Any:
        """Return JSON data without what identifies; everything else is unchanged.

        Args:
            value: Objects, lists, texts and numbers.
            treated: Whether fields in ``IDENTIFYING`` and addresses are left out as well, whatever they hold.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item, treated=treated) for item in value]
        if not isinstance(value, Mapping):
            return value
        if treated and _is_pair(value):
            return {key: REMOVED if key == "value" else item for key, item in value.items()}
        return {
            key: self.value(item, treated=treated)
            for key, item in value.items()
            if not (treated and _identifies(key)) and self.text(key) == key
        }


def without_keypoints(record: Mapping[str, Any], *, pose_kept: bool) -> dict[str, Any]:
    """Return a record without the landmarks that its picture no longer shows.

    Args:
        record: A COCO-like annotation of a treated instance.
        pose_kept: Whether the body's pose was kept, as in a redrawn person. Landmarks of the face that come apart
            from the body's (``face_kpts``) describe the original face and never stay.
    """

    def stays(key: str) -> bool:
        landmarks = key in ("keypoints", "num_keypoints") or key.endswith("_kpts")
        return key != "face_kpts" and (pose_kept or not landmarks)

    return {key: value for key, value in record.items() if stays(key)}


def _identifies(key: str) -> bool:
    return key.lower() in IDENTIFYING or "url" in key.lower()


def _is_pair(value: Mapping[str, Any]) -> bool:
    """Return whether this is ``{"name": "plate_number", "value": ...}``, an identifying attribute in a list of such."""
    return set(_PAIR) <= value.keys() and isinstance(value["name"], str) and _identifies(value["name"])


def _texts(value: object, wanted: bool = False) -> Iterator[str]:
    if isinstance(value, str):
        if wanted:
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, wanted)
    elif isinstance(value, Mapping):
        pair = _is_pair(value)
        for key, item in value.items():
            yield from _texts(item, wanted or (key == "value" if pair else key.lower() in IDENTIFYING))
