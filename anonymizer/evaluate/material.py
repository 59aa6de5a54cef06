"""The pictures under evaluation: checked once, then read when asked for; nothing but names stays in memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anonymizer.dataset.images import read_image
from anonymizer.errors import InputError
from anonymizer.evaluate.pairing import Pairing
from anonymizer.evaluate.records import Pair, Subject
from anonymizer.evaluate.subjects import SubjectSource
from anonymizer.geometry import integer_box
from anonymizer.types import Floats, Image

__all__ = ["PictureMaterial", "Survey", "scene_correlation"]

#: Side in pixels to which two pictures are shrunk to see whether they show the same scene.
GLANCE = 32
#: Correlation below which they do not. Anonymization changes persons, faces and plates, not the scene.
SAME_SCENE = 0.3
#: Share of a picture outside its subjects that it takes to judge.
LEAST_OUTSIDE = 0.1
OTHER_SCENE = "another scene"
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
        problems: Names of pairs left out, or doubted, by reason; at most 20 each.
        counts: How many pairs by the same reasons.
    """

    pairs: tuple[Pair, ...]
    subjects: Mapping[str, int]
    identified: Mapping[str, int]
    identities: Mapping[str, int]
    problems: Mapping[str, tuple[str, ...]]
    counts: Mapping[str, int]


class PictureMaterial:
    """Pairs of pictures with the subjects of the originals, see ``records.Material``.

    Subjects are found once and kept in small files under ``folder``.

    Args:
        pairing: The pairs.
        source: Gives the subjects of a picture.
        folder: For the subjects' files.
        on_picture: Called with (done, total) after each picture.

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
    ) -> None:
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
        return read_image(pair.anonymized).pixels

    def again(self, pair: Pair) -> Image:
        """Return the picture of the second run, RGB uint8 (H, W, 3).

        Raises:
            InputError: There is none, it cannot be read, or it has another size than the original.
        """
        if pair.again is None:
            raise InputError(f"{pair.name}: was not anonymized a second time")
        return read_image(pair.again).pixels

    def subjects(self, pair: Pair) -> tuple[Subject, ...]:
        """Return the subjects of a pair's original."""
        with np.load(self._file(pair), allow_pickle=False) as file:
            arrays = dict(file)
        out = []
        for number in range(len(arrays["boxes"])):
            label, identity, text, source = (None if v == "" else str(v)[1:] for v in arrays["words"][number])
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
                )
            )
        return tuple(out)

    def _look(self, pairing: Pairing, source: SubjectSource, on_picture: Callable[[int, int], None]) -> Survey:
        """Check every pair and find its subjects."""
        usable: list[Pair] = []
        problems: dict[str, list[str]] = {}
        counts: Counter[str] = Counter()
        found: Counter[str] = Counter()
        identified: Counter[str] = Counter()
        identities: dict[str, set[str]] = {}
        for done, pair in enumerate(pairing.pairs, start=1):
            opened = self._open(pair)
            problem = opened if isinstance(opened, str) else ""
            if not isinstance(opened, str):
                subjects = source.subjects(pair.name, opened[0])
                self._keep(pair, subjects)
                usable.append(pair)
                if scene_correlation(*opened, [subject.box for subject in subjects]) < SAME_SCENE:
                    problem = OTHER_SCENE
                found.update(subject.label for subject in subjects)
                for subject in subjects:
                    if subject.identity is not None:
                        identified[subject.label] += 1
                        identities.setdefault(subject.label, set()).add(subject.identity)
            if problem:
                counts[problem] += 1
                problems.setdefault(problem, []).append(pair.name)
            on_picture(done, len(pairing.pairs))
        if not usable:
            said = ", ".join(f"{count} with {problem}" for problem, count in counts.items())
            raise InputError(
                f"none of {len(pairing.pairs)} pairs can be evaluated ({said}; first: {pairing.pairs[0].name}); "
                "check that ANONYMIZED was made of ORIGINALS"
            )
        if counts[OTHER_SCENE] * 2 > len(usable):
            raise InputError(
                f"{counts['another scene']} of {len(usable)} pairs do not show the same scene "
                f"(first: {problems[OTHER_SCENE][0]}); check that ANONYMIZED was made of ORIGINALS"
            )
        return Survey(
            pairs=tuple(usable),
            subjects=dict(found),
            identified=dict(identified),
            identities={label: len(names) for label, names in identities.items()},
            problems={problem: tuple(names[:LISTED]) for problem, names in problems.items()},
            counts=dict(counts),
        )

    def _open(self, pair: Pair) -> tuple[Image, Image] | str:
        """Return original and released picture, or what is wrong with the pair."""
        try:
            original = self.original(pair)
        except InputError:
            return "an unreadable original"
        try:
            anonymized = self.anonymized(pair)
            again = self.again(pair) if pair.again is not None else anonymized
        except InputError:
            return "an unreadable released picture"
        if anonymized.shape != original.shape or again.shape != original.shape:
            return "different sizes"
        return original, anonymized

    def _file(self, pair: Pair) -> Path:
        return self._folder / f"{hashlib.sha256(pair.name.encode('utf-8', 'surrogateescape')).hexdigest()}.npz"

    def _keep(self, pair: Pair, subjects: tuple[Subject, ...]) -> None:
        """Write a picture's subjects as plain arrays."""
        none = np.full((5, 2), np.nan, dtype=np.float32)
        # Words are marked by a leading sign, so that an empty text and no text stay apart.
        words = [
            ["" if value is None else f"={value}" for value in (s.label, s.identity, s.text, s.source)]
            for s in subjects
        ]
        arrays: dict[str, np.ndarray] = {
            "boxes": np.array([s.box for s in subjects], dtype=np.float32).reshape(-1, 4),
            "landmarks": np.array([none if s.landmarks is None else s.landmarks for s in subjects], dtype=np.float32),
            "words": np.array(words, dtype=np.str_).reshape(-1, 4),
        }
        arrays |= {f"mask{s.number}": np.packbits(s.mask) for s in subjects if s.mask is not None}
        with self._file(pair).open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def scene_correlation(a: Image, b: Image, boxes: Sequence[Floats] = ()) -> float:
    """Return how alike two pictures (H, W, 3) are at a glance outside of some boxes.

    Args:
        a: RGB uint8 (H, W, 3).
        b: RGB uint8 (H, W, 3).
        boxes: Each (4,) xyxy in pixels: what anonymization changes.

    Returns:
        Correlation of their shrunk luminance in [-1, 1]; 1 where what is left is flat, or too little to judge by.
    """
    import cv2

    first, second = (
        np.asarray(
            cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (GLANCE, GLANCE), interpolation=cv2.INTER_AREA),
            dtype=np.float64,
        )
        for picture in (a, b)
    )
    outside = np.ones((GLANCE, GLANCE), dtype=bool)
    scale = np.array([GLANCE / a.shape[1], GLANCE / a.shape[0]] * 2)
    for box in boxes:
        x1, y1, x2, y2 = integer_box((box * scale).astype(np.float32))
        outside[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = False
    if outside.mean() < LEAST_OUTSIDE:
        return 1.0
    first, second = first[outside] - first[outside].mean(), second[outside] - second[outside].mean()
    norm = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / norm if norm > 0 else 1.0
