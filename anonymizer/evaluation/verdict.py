"""Verdict: what the values together allow to be said, and what forbids to say anything.

Works on plain findings, as ``evaluation.json`` holds them. In this order:

1. *Stop rules*: untouched subjects, pictures that are the original's, leaks, pairs that were left out. One of them
   turns the verdict red whatever the rates say.
2. *More than chance*: of all comparisons by independent judges, each with rank 1, mAP and AUC, some value is beyond
   what dealt names give, after Holm's correction for the number of all of them.
3. *Unable*: no independent judge passed the positive control, so that silence means nothing.
4. *Too few to tell*: a leak of ``LEAST_SEEN`` would not have been seen in 8 of 10 such evaluations.
5. *Not told from chance*: none of these; stated with the rate that would have been seen and the bound on people.

Nothing is ever called safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anonymizer.evaluation import intervals

__all__ = ["LEAST_SEEN", "LEVEL", "LIGHTS", "STATES", "fails", "judge", "thresholds"]

Record = Mapping[str, Any]

#: States of a verdict, the worst first.
STATES = ("stop", "more", "unable", "few", "chance")
#: Probability of a false alarm over all comparisons of a class.
LEVEL = 0.05
#: True rank 1 that must have been visible, or the people are too few: one in four.
LEAST_SEEN = 0.25
#: Values that are tested, and the one whose power is stated.
METRICS: Mapping[str, tuple[str, ...]] = {
    "person": ("rank1", "map", "auc"),
    "face": ("rank1", "map", "auc"),
    "license_plate": ("character_accuracy", "exact_read"),
}
#: The three questions of the Article 29 Working Party (opinion WP216), and the attacks that answer them.
LIGHTS: Mapping[str, tuple[str, ...]] = {
    "single out": ("naive", "aligned", "adaptive", "informed", "reconstruction", "plate"),
    "link": ("parrot", "seed"),
    "infer": ("attributes",),
}
#: Levels of ``--fail-on``, and the states that they fail on: each also on what is worse.
FAIL_ON: Mapping[str, tuple[str, ...]] = {
    "leak": ("stop",),
    "more-than-chance": ("stop", "more"),
    "too-few": ("stop", "more", "unable", "few", "nothing"),
}
#: Detectors whose finds alone stop nothing: they raise false alarms in every third picture, or more often.
WEAK_DETECTORS = ("opencv-hog", "opencv-haar", "nanodet", "tesseract-words")


def thresholds() -> dict[str, float]:
    """Return the constants that decide a verdict, by name."""
    from anonymizer.evaluation.control import ABLE, ABLE_READER
    from anonymizer.evaluation.matching import ACCEPT_RATE

    return {
        "level": LEVEL,
        "least_seen": LEAST_SEEN,
        "power": intervals.POWER,
        "able": ABLE,
        "able_reader": ABLE_READER,
        "accept_rate": ACCEPT_RATE,
    }


def fails(state: str, level: str) -> bool:
    """Return whether a verdict fails a level of ``--fail-on``."""
    return state in FAIL_ON[level]


def judge(
    findings: Sequence[Record], controls: Sequence[Record], survey: Record, detectors: Sequence[Record] = ()
) -> dict[str, Any]:
    """Return the verdict.

    Args:
        findings: Plain findings.
        controls: Plain records of ``control.Control``.
        survey: ``subjects``, ``untouched`` (keys by class), ``identical`` (names), ``problems`` (names by reason) with
            ``counts``, and ``extra``, the number of released pictures without an original.
        detectors: Who looked for what was missed; not needed where nobody looked.

    Returns:
        ``state``, the worst of the classes', or ``nothing`` where there is nobody to recognise; ``stops``, records
        with ``rule``, ``label``, ``count``, ``first``; ``classes``, see :func:`_class`; ``lights``, one for each
        question with ``question``, ``state`` and the attacks it rests on.
    """
    labels = [label for label in METRICS if survey["subjects"].get(label)]
    stops = list(_stops(findings, survey, labels))
    general = [stop for stop in stops if not stop["label"]]
    classes = [
        _class(label, findings, controls, [s for s in stops if s["label"] == label] + general) for label in labels
    ]
    states = [one["state"] for one in classes] + (["stop"] if stops else [])
    return {
        "state": min(states, key=STATES.index, default="nothing"),
        "stops": stops,
        "classes": classes,
        "lights": [
            _light(question, attacks, labels, findings, controls, stops) for question, attacks in LIGHTS.items()
        ],
    }


def _stops(findings: Sequence[Record], survey: Record, labels: Sequence[str]) -> Iterable[dict[str, Any]]:
    """Yield every stop rule that holds."""
    if survey["identical"]:
        yield _stop("the original's pixels", "", survey["identical"])
    for label, keys in survey["untouched"].items():
        yield _stop("untouched", label, keys)
    for reason, names in survey["problems"].items():
        yield _stop(reason, "", names, survey["counts"][reason])
    if survey["extra"]:
        yield _stop("released without an original", "", (), survey["extra"])
    for finding in findings:
        if finding["attack"] != "leak" or finding["variant"] != "anonymized" or finding["label"] not in labels:
            continue
        by = {
            name.removeprefix(LEAKED_BY): count
            for name, count in finding["counts"].items()
            if name.startswith(LEAKED_BY)
        }
        sure = sum(count for name, count in by.items() if name not in WEAK_DETECTORS)
        if sure:
            yield _stop("found untouched by a detector", finding["label"], (), sure)


LEAKED_BY = "detected_leaked_by_"
#: Names listed per stop rule.
LISTED = 20


def _stop(rule: str, label: str, names: Sequence[str], count: int | None = None) -> dict[str, Any]:
    return {
        "rule": rule,
        "label": label,
        "count": len(names) if count is None else count,
        "first": list(names[:LISTED]),
    }


def _class(
    label: str,
    findings: Sequence[Record],
    controls: Sequence[Record],
    stops: Sequence[Record],
    attacks: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return a class's verdict.

    Returns:
        ``label``, ``state``; ``rules``, the stop rules that hold; ``comparisons`` and ``tests``, how many were made;
        ``strongest``, the test that is furthest from chance, with ``probability`` and ``corrected``, which takes all of
        them into account; ``judges``, the same for each judge, the strongest first; ``detectable``,
        the least true rate that would have been seen, and by which comparison; ``risk``, see :func:`_risk`; ``able``
        and ``unable``, names of judges.
    """
    chosen = [f for f in findings if _counts(f, label, attacks)]
    tests = [(finding, metric, p) for finding in chosen for metric, p in _probabilities(finding)]
    corrected = intervals.holm([p for _, _, p in tests])
    able = [f for f in chosen if _able(f, controls)]
    # What attributes give away is a question of its own, and has its own power.
    powered = [f for f in able if attacks is not None or f["attack"] != "attributes"]
    power = [(value, f) for f in powered if (value := _detectable(f, len(tests))) is not None]
    detectable, by = min(power, key=lambda pair: pair[0], default=(None, None))
    state = "chance"
    if stops:
        state = "stop"
    elif corrected and min(corrected) < LEVEL:
        state = "more"
    elif not able:
        state = "unable"
    elif detectable is None or detectable > LEAST_SEEN:
        state = "few"
    order = sorted(range(len(tests)), key=lambda n: (tests[n][2], -_beyond(*tests[n][:2])))
    described = [_tested(*tests[n], corrected[n]) for n in order]
    judges: dict[str, dict[str, Any]] = {}
    for test in described:  # the strongest first, so that the first of each judge stays
        judges.setdefault(test["recognizer"], test)
    return {
        "label": label,
        "state": state,
        "rules": [stop["rule"] for stop in stops],
        "comparisons": len(chosen),
        "tests": len(tests),
        "strongest": described[0] if described else None,
        "judges": list(judges.values()),
        "detectable": None if by is None else {"rate": detectable, **_named(by)},
        "risk": _risk(able),
        "able": sorted({f["recognizer"] for f in able}),
        "unable": [
            [name, reason]
            for name, reason in sorted(
                {c["judge"]: c["reason"] for c in controls if c["label"] == label and not c["able"]}.items()
            )
        ],
    }


def _tested(finding: Record, metric: str, probability: float, corrected: float) -> dict[str, Any]:
    """Return one test: value, what dealt names give, and its probability, also corrected for all tests."""
    return {
        **_named(finding),
        "figure": metric,
        "value": finding["estimates"][metric]["value"],
        "chance": finding["null"][metric]["mean"],
        "probability": probability,
        "corrected": corrected,
    }


def _light(
    question: str,
    attacks: Sequence[str],
    labels: Sequence[str],
    findings: Sequence[Record],
    controls: Sequence[Record],
    stops: Sequence[Record],
) -> dict[str, Any]:
    """Return the answer to one of the three questions over all classes."""
    made = sorted({f["attack"] for f in findings if f["variant"] == "anonymized"} & set(attacks))
    parts = [
        _class(label, findings, controls, (), attacks)
        for label in labels
        if any(_counts(f, label, attacks) for f in findings)
    ]
    state = min((part["state"] for part in parts), key=STATES.index, default="unmeasured")
    risks = [part["risk"] for part in parts if part["risk"] is not None]
    return {
        "question": question,
        # What no attack answered stays open, whatever was stopped.
        "state": "stop" if stops and made else state,
        "attacks": made,
        "risk": max(risks, key=lambda risk: risk["at_most"], default=None),
    }


def _counts(finding: Record, label: str, attacks: Sequence[str] | None) -> bool:
    """Return whether a finding takes part: an independent judge on the released pictures, with values to test."""
    known = attacks if attacks is not None else [name for names in LIGHTS.values() for name in names]
    return bool(
        finding["label"] == label
        and finding["variant"] == "anonymized"
        and finding["judge"]
        and finding["attack"] in known
        and any(metric in finding["null"] for metric in _metrics(finding))
    )


#: What is tested of attacks that have no rank.
OWN_METRICS: Mapping[str, tuple[str, ...]] = {"seed": ("auc",), "attributes": ("agreement",)}


def _metrics(finding: Record) -> tuple[str, ...]:
    return OWN_METRICS.get(finding["attack"], METRICS[finding["label"]])


def _probabilities(finding: Record) -> Iterable[tuple[str, float]]:
    """Yield each tested value with the probability that chance reaches it."""
    for metric in _metrics(finding):
        null, estimate = finding["null"].get(metric), finding["estimates"].get(metric)
        if null is not None and estimate is not None and estimate["value"] is not None:
            moments = (null["mean"], null["deviation"], null["skew"], int(null["possible"]))
            yield metric, intervals.tail(null["value"], *moments)


def _beyond(finding: Record, metric: str) -> float:
    """Return how far a value is beyond chance: probabilities end at a least one, and then this tells them apart."""
    null = finding["null"][metric]
    return float((null["value"] - null["mean"]) / max(null["deviation"], 1e-9))


def _able(finding: Record, controls: Sequence[Record]) -> bool:
    """Return whether the judge of a finding passed the control that this kind of comparison needs."""
    for control in controls:
        if (control["judge"], control["label"], control["mode"]) == (
            finding["recognizer"], finding["label"], finding["mode"]
        ):  # fmt: skip
            return bool(control["able"])
    return False


def _detectable(finding: Record, tests: int) -> float | None:
    """Return the least true rate that a finding's main value would have shown.

    Of attributes it is the proportion of people of whom one is read beyond what chance gives: two classes agree in half
    of all cases anyway.
    """
    metric = _metrics(finding)[0]
    null = finding["null"].get(metric)
    people = finding["counts"].get("identities", 0)
    if null is None or people < 2 or metric == "auc":
        return None
    level = LEVEL / max(tests, 1)
    if 1 / (null["possible"] + 1) > level:
        return 1.0  # so few ways to deal names that nothing whatever could be told from chance
    rate = intervals.detectable(null["mean"], null["deviation"], null["skew"], people, level)
    if metric == "agreement":
        return max(rate - null["mean"], 0.0) / max(1.0 - null["mean"], 1e-9)
    return rate


def _risk(findings: Sequence[Record]) -> dict[str, Any] | None:
    """Return the risk of single persons, by the comparison that recognised most of them.

    Returns:
        ``recognised`` of ``people``, ``at_most``, the proportion of people of this kind that it may be (one-sided 95 %
        bound, corrected for the number of comparisons), ``by_chance``, ``accept_rate``, ``worst`` and
        ``worst_chance``, rank 1 of the ``worst_people`` most exposed, and whose comparison it was; None where people
        were not counted.
    """
    known = [f for f in findings if f["counts"].get("people") and "people_recognised" in f["estimates"]]
    if not known:
        return None
    level = LEVEL / len(known)

    def bound(finding: Record) -> float:
        return intervals.most_of_all(finding["counts"]["recognised"], finding["counts"]["people"], level)

    most = max(known, key=bound)
    metrics = most["estimates"]
    return {
        **_named(most),
        "recognised": most["counts"]["recognised"],
        "people": most["counts"]["people"],
        "at_most": bound(most),
        "by_chance": metrics["people_recognised_chance"]["value"] if "people_recognised_chance" in metrics else None,
        "accept_rate": metrics["accept_rate"]["value"],
        "worst": metrics["rank1_worst"]["value"],
        "worst_chance": metrics["rank1_worst_chance"]["value"] if "rank1_worst_chance" in metrics else None,
        "worst_people": metrics["rank1_worst"]["count"],
    }


def _named(finding: Record) -> dict[str, str]:
    return {name: finding[name] for name in ("attack", "recognizer", "protocol")}
