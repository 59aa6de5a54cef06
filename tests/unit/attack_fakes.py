"""Pictures in memory, and a store without files, for tests of single attacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from anonymizer.core.records import Floats, Image, Mask
from anonymizer.evaluation.records import Context, Embeddings, Pair, Place, Recognizer, Subject


@dataclass
class Pictures:
    """Dataset whose pictures are arrays; the released ones are what ``release`` makes of the originals."""

    originals: Mapping[str, Image]
    who: Mapping[str, tuple[Subject, ...]]
    release: Callable[[Image, Sequence[Subject]], Image]
    folder: Path = Path("nowhere")

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return tuple(Pair(n, self.folder / "in" / n, self.folder / "out" / n) for n in sorted(self.originals))

    def subjects(self, pair: Pair) -> tuple[Subject, ...]:
        return self.who[pair.name]

    def original(self, pair: Pair) -> Image:
        return self.originals[pair.name]

    def anonymized(self, pair: Pair) -> Image:
        return self.release(self.originals[pair.name], self.who[pair.name])


@dataclass
class Way:
    """A variant made of a function."""

    name: str
    treat: Callable[[Image, Sequence[Subject]], Image]

    def __call__(self, pair: Pair, original: Image, subjects: Sequence[Subject]) -> Image:
        return self.treat(original, subjects)


@dataclass
class Eye:
    """A recogniser made of a function of a crop."""

    see: Callable[[Image], Floats]
    name: str = "eye"
    label: str = "face"
    sha256: str = "0" * 64
    licence: str = "none"
    judge: bool = True

    def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
        x1, y1, x2, y2 = (int(v) for v in box)
        vector = np.asarray(self.see(image[y1:y2, x1:x2]), np.float32)
        return vector / np.linalg.norm(vector)


@dataclass
class Memory:
    """A store that describes anew every time."""

    dataset: Pictures
    variants: Mapping[str, Way]

    def embeddings(self, variant: str, recognizer: Recognizer, *, place: Place = "known") -> Embeddings:
        rows = []
        for pair in self.dataset.pairs:
            subjects = self.dataset.subjects(pair)
            image = self.variants[variant](pair, self.dataset.original(pair), subjects)
            rows += [
                (s.key, s.who, pair.name, recognizer.embed(image, s.box, s.landmarks, s.mask))
                for s in subjects
                if s.label == recognizer.label
            ]
        return Embeddings(
            tuple(r[0] for r in rows),
            tuple(r[1] for r in rows),
            tuple(r[2] for r in rows),
            np.stack([r[3] for r in rows]) if rows else np.zeros((0, 1), np.float32),
            np.ones(len(rows), bool),
        )


@dataclass
class Scene:
    """Builds a context."""

    originals: dict[str, Image] = field(default_factory=dict)
    who: dict[str, tuple[Subject, ...]] = field(default_factory=dict)

    def add(self, name: str, image: Image, *subjects: Subject) -> None:
        self.originals[name] = image
        self.who[name] = subjects

    def context(
        self,
        folder: Path,
        labels: tuple[str, ...],
        release: Callable[[Image, Sequence[Subject]], Image],
        recognizers: tuple[Recognizer, ...] = (),
        bootstrap: int = 50,
        **more: Callable[[Image, Sequence[Subject]], Image],
    ) -> Context:
        dataset = Pictures(self.originals, self.who, release, folder)
        variants = {"original": Way("original", lambda image, _: image)}
        variants |= {name: Way(name, treat) for name, treat in more.items()}
        variants["anonymized"] = Way("anonymized", release)
        return Context(
            dataset=dataset,
            variants=variants,
            recognizers=recognizers,
            labels=labels,
            store=Memory(dataset, variants),
            folder=folder,
            bootstrap=bootstrap,
        )
