"""The pictures under evaluation: checked once, then read when asked for; nothing but names stays in memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import integer_box
from anonymizer.core.records import Image, Mask
from anonymizer.evaluation.pairing import Pairing
from anonymizer.evaluation.records import Pair, Subject
from anonymizer.evaluation.regions import Regions
from anonymizer.evaluation.screening import Glance, mixed_up, pixel_digest, twice, untouched
from anonymizer.evaluation.subjects import SubjectSource
from anonymizer.evaluation.variants import read_released
from anonymizer.images.decode import read_image

__all__ = ["PictureDataset", "Survey"]

#: Why a pair does not take part.
UNREADABLE_ORIGINAL, UNREADABLE_RELEASED = "an unreadable original", "an unreadable released picture"
OTHER_SIZE, OTHER_SCENE, DUPLICATE = "different sizes", "another scene", "a duplicate among the others"
#: Largest ratio of the proportions of two sizes with which one may be resized to the other: a few rows cut off.
SAME_SHAPE = 1.05
#: Names listed per problem.
LISTED = 20


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first look at all pictures found.

    Args:
        pairs: Pairs that can be evaluated, ordered by name.
        subjects: Number of subjects by class.
        identified: Number of subjects with a known identity by class.
        identities: Number of known identities by class.
        problems: Names of pairs left out, by reason; at most 20 each.
        counts: How many pairs by the same reasons.
        identical: Names of pairs that show subjects and whose pixels are the same on both sides.
        untouched: Keys of subjects that were left as they were, by class.
        resized: How many released pictures were resized to their originals' size.
        digests: sha256 of original and of released pixels by name of each usable pair.
    """

    pairs: tuple[Pair, ...]
    subjects: Mapping[str, int]
    identified: Mapping[str, int]
    identities: Mapping[str, int]
    problems: Mapping[str, tuple[str, ...]]
    counts: Mapping[str, int]
    identical: tuple[str, ...] = ()
    untouched: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    resized: int = 0
    digests: Mapping[str, tuple[str, str]] = field(default_factory=dict)


class PictureDataset:
    """Pairs of pictures with the subjects of the originals, see ``records.Dataset``.

    Subjects are found once and kept in small files under ``folder``.

    Args:
        pairing: The pairs.
        source: Gives the subjects of a picture.
        folder: For the subjects' files.
        on_picture: Called with (done, total) after each picture.
        regions: Knows what was treated, or None.
        resize: Whether released pictures of another size, but the same proportions, are resized to their originals'.

    Attributes:
        survey: What the first look found.

    Raises:
        InputError: No pair is usable, or most pairs do not show the same scene.
    """

    def __init__(
        self,
        pairing: Pairing,
        source: SubjectSource,
        folder: Path,
        on_picture: Callable[[int, int], None] = lambda done, total: None,
        *,
        regions: Regions | None = None,
        resize: bool = False,
    ) -> None:
        self._resize, self._regions = resize, regions
        self._folder = folder / "subjects"
        self._folder.mkdir(parents=True, exist_ok=True)
        self.survey = self._look(pairing, source, on_picture)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every usable pair, ordered by name."""
        return self.survey.pairs

    def original(self, pair: Pair) -> Image:
        """Return the original, RGB uint8 (H, W, 3), upright.

        Raises:
            InputError: It cannot be read.
        """
        return read_image(pair.original).pixels

    def anonymized(self, pair: Pair) -> Image:
        """Return the released picture, RGB uint8 (H, W, 3), of the original's size.

        Raises:
            InputError: It cannot be read.
        """
        return read_released(pair.anonymized, pair.size)

    def again(self, pair: Pair) -> Image:
        """Return the picture of the second run, RGB uint8 (H, W, 3).

        Raises:
            InputError: There is none, it cannot be read, or it has another size than the original.
        """
        if pair.again is None:
            raise InputError(f"{pair.name}: was not anonymized a second time")
        return read_released(pair.again, pair.size)

    def subjects(self, pair: Pair) -> tuple[Subject, ...]:
        """Return the subjects of a pair's original."""
        with np.load(self._file(pair), allow_pickle=False) as file:
            arrays = dict(file)
        out = []
        for number in range(len(arrays["boxes"])):
            label, identity, text, source, group = (None if v == "" else str(v)[1:] for v in arrays["words"][number])
            x1, y1, x2, y2 = integer_box(arrays["boxes"][number])
            bits = arrays.get(f"mask{number}")
            area = (y2 - y1) * (x2 - x1)
            landmarks = arrays["landmarks"][number]
            out.append(
                Subject(
                    picture=pair.name,
                    number=number,
                    label=str(label),
                    box=arrays["boxes"][number],
                    landmarks=landmarks if np.isfinite(landmarks).all() else None,
                    mask=None
                    if bits is None
                    else np.unpackbits(bits, count=area).reshape(y2 - y1, x2 - x1).astype(np.bool_),
                    identity=identity,
                    text=text,
                    source=str(source),
                    group=group,
                )
            )
        return tuple(out)

    def name_subjects(self, names: Mapping[str, str]) -> None:
        """Give subjects of unknown identity a name.

        Args:
            names: Name by ``Subject.key``.
        """
        identified: Counter[str] = Counter()
        identities: dict[str, set[str]] = {}
        for pair in self.pairs:
            subjects = tuple(
                replace(subject, identity=names.get(subject.key, subject.identity)) for subject in self.subjects(pair)
            )
            self._keep(pair, subjects)
            for subject in subjects:
                if subject.identity is not None:
                    identified[subject.label] += 1
                    identities.setdefault(subject.label, set()).add(subject.identity)
        counts = {label: len(who) for label, who in identities.items()}
        self.survey = replace(self.survey, identified=dict(identified), identities=counts)

    def _look(self, pairing: Pairing, source: SubjectSource, on_picture: Callable[[int, int], None]) -> Survey:
        """Check every pair and find its subjects."""
        seen: list[_Seen] = []
        problems: dict[str, list[str]] = {}
        for done, pair in enumerate(pairing.pairs, start=1):
            opened = self._open(pair)
            if isinstance(opened, str):
                problems.setdefault(opened, []).append(pair.name)
            else:
                used, original, released = opened
                subjects = source.subjects(pair.name, original)
                self._keep(used, subjects)
                size = original.shape[0], original.shape[1]
                region = None if self._regions is None else self._regions(pair, size)
                seen.append(_Seen.of(used, original, released, subjects, region))
            on_picture(done, len(pairing.pairs))
        mixed = mixed_up([one.glance for one in seen])
        doubled = frozenset(twice([one.digests[0] for one in seen])) - mixed
        if len(mixed) * 2 > len(seen) > 0:
            raise InputError(
                f"{len(mixed)} of {len(seen)} pairs do not show the same scene "
                f"(first: {seen[min(mixed)].pair.name}); check that ANONYMIZED was made of ORIGINALS"
            )
        for reason, numbers in ((OTHER_SCENE, mixed), (DUPLICATE, doubled)):
            if numbers:
                problems[reason] = [seen[number].pair.name for number in sorted(numbers)]
        usable = [one for number, one in enumerate(seen) if number not in mixed | doubled]
        counts = {problem: len(names) for problem, names in problems.items()}
        if not usable:
            said = ", ".join(f"{count} with {problem}" for problem, count in counts.items())
            raise InputError(
                f"none of {len(pairing.pairs)} pairs can be evaluated ({said}; first: {pairing.pairs[0].name}); "
                "check that ANONYMIZED was made of ORIGINALS"
            )
        labels = Counter(label for one in usable for label, _, _ in one.subjects)
        named = Counter(label for one in usable for label, who, _ in one.subjects if who is not None)
        who = {(label, who) for one in usable for label, who, _ in one.subjects if who is not None}
        untouched: dict[str, list[str]] = {}
        # A pair that is mixed up says nothing about its own subjects; every other one does, used or not.
        for number, one in enumerate(seen):
            for label, _, left in one.subjects if number not in mixed else ():
                if left:
                    untouched.setdefault(label, []).append(left)
        return Survey(
            pairs=tuple(one.pair for one in usable),
            subjects=dict(labels),
            identified=dict(named),
            identities=dict(Counter(label for label, _ in who)),
            problems={problem: tuple(names[:LISTED]) for problem, names in problems.items()},
            counts=counts,
            identical=tuple(one.pair.name for one in seen if one.subjects and one.digests[0] == one.digests[1]),
            untouched={label: tuple(keys) for label, keys in untouched.items()},
            resized=sum(one.pair.size is not None for one in usable),
            digests={one.pair.name: one.digests for one in usable},
        )

    def _open(self, pair: Pair) -> tuple[Pair, Image, Image] | str:
        """Return the pair as it is to be read, original and released picture; or what is wrong with it."""
        try:
            original = self.original(pair)
        except InputError:
            return UNREADABLE_ORIGINAL
        size = original.shape[0], original.shape[1]
        try:
            anonymized = self.anonymized(pair)
            again = self.again(pair) if pair.again is not None else anonymized
            if self._resize and any(_resizable(image, size) for image in (anonymized, again)):
                pair = replace(pair, size=size)
                anonymized = self.anonymized(pair)
                again = self.again(pair) if pair.again is not None else anonymized
        except InputError:
            return UNREADABLE_RELEASED
        if anonymized.shape != original.shape or again.shape != original.shape:
            return OTHER_SIZE
        return pair, original, anonymized

    def _file(self, pair: Pair) -> Path:
        return self._folder / f"{hashlib.sha256(pair.name.encode('utf-8', 'surrogateescape')).hexdigest()}.npz"

    def _keep(self, pair: Pair, subjects: tuple[Subject, ...]) -> None:
        """Write a picture's subjects as plain arrays."""
        none = np.full((5, 2), np.nan, dtype=np.float32)
        # Words are marked by a leading sign, so that an empty text and no text stay apart.
        words = [
            ["" if value is None else f"={value}" for value in (s.label, s.identity, s.text, s.source, s.group)]
            for s in subjects
        ]
        arrays: dict[str, np.ndarray] = {
            "boxes": np.array([s.box for s in subjects], dtype=np.float32).reshape(-1, 4),
            "landmarks": np.array([none if s.landmarks is None else s.landmarks for s in subjects], dtype=np.float32),
            "words": np.array(words, dtype=np.str_).reshape(-1, 5),
        }
        arrays |= {f"mask{s.number}": np.packbits(s.mask) for s in subjects if s.mask is not None}
        with self._file(pair).open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A pair that could be read: at a glance, its digests, and of each subject class, identity and key if untouched."""

    pair: Pair
    glance: Glance
    digests: tuple[str, str]
    subjects: tuple[tuple[str, str | None, str | None], ...]

    @classmethod
    def of(
        cls, pair: Pair, original: Image, released: Image, subjects: Sequence[Subject], region: Mask | None
    ) -> _Seen:
        return cls(
            pair,
            Glance.of(original, released, [subject.box for subject in subjects], region),
            (pixel_digest(original), pixel_digest(released)),
            tuple((s.label, s.identity, s.key if untouched(original, released, s) else None) for s in subjects),
        )


def _resizable(image: Image, size: tuple[int, int]) -> bool:
    """Return whether a picture has another size, and nearly the same proportions."""
    if image.shape[:2] == size:
        return False
    ratio = (image.shape[0] / image.shape[1]) / (size[0] / size[1])
    return max(ratio, 1 / ratio) <= SAME_SHAPE
