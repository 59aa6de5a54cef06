"""Attribute inference: can sex, age or mood of the original, as networks see them, be read off the released picture?

Two attackers. One asks the same network about the original face and about the treated one: how often do both answers
agree, against the answers about other people? The other has pictures of people he knows, treated in the same way, and
learns from a judge's descriptions of their treated faces what the original looked like: a linear probe, learnt on other
people. Where annotations name a group (``--group-by``), probes are taught that, too.

What networks see are guesses. They say whether the same guess is made, never what a person is.

Source:
    Article 29 Working Party, Opinion 05/2014 on anonymisation techniques (inference); Alain and Bengio, Understanding
    intermediate layers using linear classifier probes, 2016.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anonymizer.evaluation.deals import DEALS, Null, deal
from anonymizer.evaluation.intervals import proportion
from anonymizer.evaluation.networks import AttributePredictor
from anonymizer.evaluation.records import Context, Embeddings, Estimate, Finding, Recognizer, Skipped

__all__ = ["Trait", "agreement", "compared", "probe", "probed", "run"]

NAME = "attributes"
LABEL = "face"
#: Folds of the probe; people are never split.
FOLDS = 5
#: Fewest people, and fewest of a class, from which anything is learnt or compared.
LEAST_PEOPLE, LEAST_OF_CLASS = 20, 5
#: Strength of the probe's regularisation (inverse, scikit-learn's C): descriptions of unit length, hundreds of faces.
STRENGTH = 1.0
#: Age is compared by thirds of the originals.
THIRDS = (1 / 3, 2 / 3)

Classes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trait:
    """An attribute of the originals.

    Args:
        name: As tables say it, e.g. ``sex (faceres)``.
        classes: int (N,), class of each face, in the order of the store.
        known: bool (N,), of which faces it is known.
    """

    name: str
    classes: Classes
    known: NDArray[np.bool_]


def run(context: Context) -> list[Finding | Skipped]:
    """Compare predictions before and after, and teach probes, for every variant."""
    if LABEL not in context.labels:
        return [Skipped(NAME, "any", "no faces are known or were found")]
    if not context.predictors and not context.groups:
        reason = "no predictor of attributes is at hand: make them with models/judges/make_judges.py"
        return [Skipped(NAME, LABEL, reason)]
    out: list[Finding | Skipped] = []
    for variant in context.variants:
        if variant != "original":  # what a network says of the very same picture is the same
            out += compared(context, variant)
        out += probed(context, variant)
    return out


def compared(context: Context, variant: str) -> list[Finding]:
    """Return how often each predictor says the same of treated faces as of their originals."""
    out = []
    for predictor in context.predictors:
        trait, cuts = _trait(context, predictor)
        after = context.store.embeddings(variant, predictor)
        second = _classes(predictor.read(after.vectors), cuts)
        found = agreement(
            trait.classes, second, _people(after), trait.known & after.found, context.rng(NAME, predictor.name)
        )
        protocol = f"{predictor.attribute} of the treated face and of its original, as one network sees both"
        out.append(_finding(context, variant, predictor.name, protocol, found))
    return out


def probed(context: Context, variant: str) -> list[Finding]:
    """Return how often linear probes on each judge's descriptions of treated faces read the originals' attributes."""
    traits = [_trait(context, predictor)[0] for predictor in context.predictors] + list(_annotated(context))
    out = []
    for judge in context.of(LABEL):
        described = context.store.embeddings(variant, judge)
        for trait in traits:
            found = probe(described, trait, context.rng(NAME, judge.name, trait.name))
            protocol = f"{trait.name}, of the original, read off the treated face by a linear probe on other people"
            out.append(_finding(context, variant, f"probe of {trait.name} by {judge.name}", protocol, found, judge))
    return out


def _trait(context: Context, predictor: AttributePredictor) -> tuple[Trait, NDArray[np.float64] | None]:
    """Return what a predictor says of the originals, and the limits of its classes where it says years."""
    before = context.store.embeddings("original", predictor)
    cuts = _cuts(predictor.attribute, predictor.read(before.vectors[before.found]))
    name = f"{predictor.attribute} (as {predictor.name.split(' ')[0]} sees it)"
    return Trait(name, _classes(predictor.read(before.vectors), cuts), before.found), cuts


@dataclass(frozen=True, slots=True)
class _Found:
    """Proportion of right answers, the same under deals, and how many people; or why there is none."""

    estimate: Estimate
    null: Null | None = None
    people: int = 0


def agreement(
    first: Classes, second: Classes, people: Classes, known: NDArray[np.bool_], rng: np.random.Generator
) -> _Found:
    """Return how often two classes agree, against the second one of other people.

    Args:
        first: int (N,), classes of the originals.
        second: int (N,), classes read off the treated pictures.
        people: int (N,), number of each row's person.
        known: bool (N,), which rows count.
        rng: Deals.
    """
    first, second, people = first[known], second[known], np.unique(people[known], return_inverse=True)[1]
    count = int(people.max()) + 1 if len(people) else 0
    if count < LEAST_PEOPLE:
        return _Found(Estimate(None, reason=f"needs at least {LEAST_PEOPLE} people, there are {count}"), None, count)
    if len(np.unique(first)) < 2:
        return _Found(Estimate(None, reason="all originals are of one class, so nothing can be told"), None, count)
    right = (first == second).astype(np.float64)
    partners, possible = deal(count, rng)
    rows = [np.flatnonzero(people == who) for who in range(count)]
    draws = np.empty(len(partners))
    for number, dealt in enumerate(partners):
        # Pictures of one person stay together: their k-th original meets the k-th answer about the other person.
        others = np.concatenate([np.resize(rows[dealt[who]], len(rows[who])) for who in range(count)])
        draws[number] = (first[np.concatenate(rows)] == second[others]).mean()
    null = Null.of(float(right.mean()), draws, possible, count)
    return _Found(proportion(right, people), null, count)


def probe(described: Embeddings, trait: Trait, rng: np.random.Generator) -> _Found:
    """Return how often a linear probe on treated faces names the original's class, against other people's classes.

    Args:
        described: Descriptions of the treated faces.
        trait: What is to be read.
        rng: Deals people into folds, and names.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = trait.known & described.found
    people = np.unique(_people(described)[known], return_inverse=True)[1]
    classes, vectors = trait.classes[known], described.vectors[known].astype(np.float64)
    names, numbers = np.unique(classes, return_inverse=True)
    sizes = [len(np.unique(people[numbers == number])) for number in range(len(names))]
    usable = np.isin(numbers, [number for number, size in enumerate(sizes) if size >= LEAST_OF_CLASS])
    people, numbers, vectors = np.unique(people[usable], return_inverse=True)[1], numbers[usable], vectors[usable]
    count = int(people.max()) + 1 if len(people) else 0
    if count < LEAST_PEOPLE or len(np.unique(numbers)) < 2:
        reason = f"needs {LEAST_PEOPLE} people and two classes of at least {LEAST_OF_CLASS}, there are {count} people"
        return _Found(Estimate(None, reason=reason), None, count)
    order = rng.permutation(count)[people]
    guessed = np.empty_like(numbers)
    for teach, test in GroupKFold(FOLDS).split(vectors, numbers, order):
        if len(np.unique(numbers[teach])) < 2:
            guessed[test] = numbers[teach][0]
            continue
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=STRENGTH / vectors.shape[1], class_weight="balanced", max_iter=300)
        )
        guessed[test] = model.fit(vectors[teach], numbers[teach]).predict(vectors[test])
    return agreement(numbers, guessed, people, np.ones(len(people), bool), rng)


def _finding(
    context: Context, variant: str, recognizer: str, protocol: str, found: _Found, judge: Recognizer | None = None
) -> Finding:
    """Return what was found as a finding."""
    chance = (
        Estimate(None, reason=found.estimate.reason or "nobody else's answer can be dealt")
        if found.null is None
        else Estimate(found.null.mean, found.null.low, found.null.high, DEALS)
    )
    independent = judge is None or judge.judge
    notes: tuple[str, ...] = (
        "what a network sees is a guess from looks, more often wrong for some groups than for others",
    )
    if not independent:
        notes = (*notes, "the run was verified with this recogniser: no independent judge")
    return Finding(
        attack=NAME,
        label=LABEL,
        variant=variant,
        recognizer=recognizer,
        protocol=protocol,
        estimates={"agreement": found.estimate, "agreement_chance": chance},
        counts={"identities": found.people, "probes": found.estimate.count},
        notes=notes,
        judge=independent,
        null={} if found.null is None else {"agreement": found.null.plain()},
    )


def _annotated(context: Context) -> Iterator[Trait]:
    """Yield the annotated group as a trait, where there is one."""
    if not context.groups:
        return
    for judge in context.of(LABEL)[:1]:
        keys = context.store.embeddings("original", judge).keys
        values = [context.groups.get(key, "") for key in keys]
        yield Trait(
            f"{context.group_by} (as annotated)",
            np.unique(np.array(values), return_inverse=True)[1].astype(np.int64),
            np.array([bool(value) for value in values]),
        )


def _people(described: Embeddings) -> Classes:
    return np.unique(np.array(described.identities), return_inverse=True)[1].astype(np.int64)


def _cuts(attribute: str, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the limits between thirds of ages; None for what has classes of its own."""
    if attribute != "age":
        return None
    return np.quantile(values, THIRDS) if len(values) else np.zeros(len(THIRDS))


def _classes(values: NDArray[np.float64], cuts: NDArray[np.float64] | None) -> Classes:
    return (values if cuts is None else np.searchsorted(cuts, values)).astype(np.int64)
