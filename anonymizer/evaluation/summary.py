"""Summary in words: the strongest attack of each class, for people who read no tables.

Works on plain findings, as ``records.plain`` makes them and ``evaluation.json`` holds them. A value that is missing
is said to be missing; nothing is ever called safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = [
    "HEADLINE",
    "HEADS",
    "at_most",
    "excess",
    "name_of",
    "percent",
    "probability",
    "risk_words",
    "stop_words",
    "strongest",
    "summary",
    "verdict_lines",
]

Record = Mapping[str, Any]

#: The value that stands for an attack's success on a class; each has a ``_chance``.
HEADLINE: Mapping[str, str] = {"person": "rank1", "face": "rank1", "license_plate": "character_accuracy"}
#: Proportion of the originals from which a judge is not called weak.
ABLE = 0.5
#: Attacks on the released pictures themselves; the others attack what is not released, or test for something else.
ON_PICTURES = ("naive", "aligned", "parrot", "adaptive", "informed", "reconstruction", "plate")
_PLURAL: Mapping[str, tuple[str, str]] = {
    "person": ("person", "persons"),
    "face": ("face", "faces"),
    "license_plate": ("license plate", "license plates"),
}
_HOW: Mapping[str, str] = {
    "naive": "looks for the face in the picture and compares it as it is",
    "aligned": "knows the exact place and alignment in the original",
    "parrot": "treats the comparison pictures in the same way",
    "adaptive": "has learnt from pairs of other people's originals and released pictures",
    "informed": "has learnt on other people, treated or not, what does not tell people apart",
    "reconstruction": "first runs a network trained to undo the treatment",
    "plate": "reads the plate, also after sharpening and enlarging it",
}

#: States of a verdict in words.
HEADS: Mapping[str, str] = {
    "stop": "STOPPED, whatever the rates say",
    "more": "more than chance",
    "unable": "no able judge, so no verdict",
    "few": "too few people to tell",
    "chance": "not told from chance",
    "unmeasured": "not measured",
    "nothing": "nobody to recognise, so no verdict",
}
#: Tested values in words.
METRICS: Mapping[str, str] = {
    "rank1": "rank 1",
    "map": "mAP",
    "auc": "AUC",
    "agreement": "the proportion of faces of which an attribute was read right",
    "character_accuracy": "the proportion of characters read",
    "exact_read": "the proportion of plates read",
}
LEFT_OUT: Mapping[bool, str] = {True: "was left out", False: "were left out"}
VARIANTS = (
    ("original", "untreated pictures"),
    ("blur", "blurred ones"),
    ("solid", "black on what is annotated"),
    ("solid-region", "black on exactly what was treated"),
)


def name_of(label: str, count: int = 2) -> str:
    """Return a class in words, singular for a count of 1."""
    one, many = _PLURAL.get(label, (label, f"{label}s"))
    return one if count == 1 else many


def percent(value: float | None) -> str:
    """Return a proportion in [0, 1] as text, with as many digits as it bears."""
    if value is None:
        return "not measured"
    hundred = 100 * value
    return f"{hundred:.0f} %" if hundred >= 9.95 or hundred == 0 else f"{hundred:.2g} %"


def excess(finding: Record) -> float | None:
    """Return how far an attack got from chance (0) to certainty (1); None where it has no value.

    Args:
        finding: A plain finding of a class in ``HEADLINE``.
    """
    name = HEADLINE.get(finding["label"])
    value, chance = (_value(finding, key) for key in (name, f"{name}_chance"))
    if value is None or chance is None:
        return None
    return 0.0 if chance >= 1 else (value - chance) / (1 - chance)


def strongest(findings: Iterable[Record], label: str, variant: str) -> Record | None:
    """Return the finding of the attack that got furthest on a class in a variant, by an independent judge.

    One whose interval lies above chance goes before one that only looks stronger.
    """
    known = [
        finding
        for finding in findings
        if (finding["label"], finding["variant"]) == (label, variant)
        and finding["attack"] in ON_PICTURES
        and finding["judge"]
        and excess(finding) is not None
    ]
    return max(known, key=lambda finding: (_told_apart(finding), excess(finding) or 0.0), default=None)


def summary(
    verdict: Record,
    findings: Sequence[Record],
    skipped: Sequence[Record],
    subjects: Mapping[str, int],
    identities: Mapping[str, int] | None = None,
) -> list[dict[str, Any]]:
    """Return one paragraph per class, as sentences.

    Args:
        verdict: What ``verdict.judge`` returns.
        findings: Plain findings.
        skipped: Plain records of what was not done.
        subjects: How many of each class the originals hold.
        identities: How many different ones of each class are known.

    Returns:
        Records with ``title``, ``verdict`` (a state of ``verdict.STATES``), ``head``, the state in words, and
        ``sentences``.
    """
    out = []
    for part in verdict["classes"]:
        label = part["label"]
        known = (identities or {}).get(label, 0)
        whose = f" of {known} known identities" if known else ""
        if not known and label != "license_plate":
            whose = ", of nobody known by identity"
        sentences = [f"The originals show {_count(subjects[label], label)}{whose}."]
        if part["state"] == "stop":
            stops = [stop for stop in verdict["stops"] if stop["label"] in ("", label)]
            sentences += [f"{stop_words(stop)}." for stop in stops]
            sentences.append("Until that is mended no rate speaks for these pictures.")
        sentences += _state(part)
        sentences += risk_words(part["risk"])
        finding = strongest(findings, label, "anonymized")
        sentences += [_unmeasured(findings, skipped, label)] if finding is None else _attacked(findings, finding)
        sentences += _judges(findings, label)
        sentences += [f"{line}." for line in _unable(part)]
        sentences += _left_over(findings, label)
        title = name_of(label).capitalize()
        out.append({"title": title, "verdict": part["state"], "head": HEADS[part["state"]], "sentences": sentences})
    return out


def stop_words(stop: Record) -> str:
    """Return a stop rule that holds in words."""
    count = stop["count"]
    what = name_of(stop["label"], count) if stop["label"] else "picture" if count == 1 else "pictures"
    first = f" (first: {stop['first'][0]})" if stop["first"] else ""
    rule = stop["rule"]
    if rule == "the original's pixels":
        return f"{count} released {what} {'is' if count == 1 else 'are'} the original pixel for pixel{first}"
    if rule == "untouched":
        return f"{count} {what} {'was' if count == 1 else 'were'} left as in the original{first}"
    if rule == "found untouched by a detector":
        return f"{count} more {what}, known to nobody, {'was' if count == 1 else 'were'} found untouched by detectors"
    if rule == "released without an original":
        return f"{count} released {what} {'has' if count == 1 else 'have'} no original and {LEFT_OUT[count == 1]}"
    return f"{count} {'pair' if count == 1 else 'pairs'} ({rule}) {LEFT_OUT[count == 1]}{first}"


def risk_words(risk: Record | None) -> list[str]:
    """Return the risk of single persons in words, as sentences; none where it was not measured."""
    if risk is None:
        return []
    rate = "an unknown" if risk["accept_rate"] is None else f"a {percent(risk['accept_rate'])}"
    out = [
        f"Of {risk['people']} people {risk['recognised']} were recognised in the worst of these attacks "
        f"({risk['attack']}, {risk['recognizer']}; picked first, and accepted at {rate} false accept rate): "
        f"{at_most(risk)} people of this kind."
    ]
    if risk["worst_chance"] is not None:
        who = "The most exposed person" if risk["worst_people"] == 1 else f"The {risk['worst_people']} most exposed"
        out.append(
            f"{who} (the worst 5 %) {'is' if risk['worst_people'] == 1 else 'are'} picked first in "
            f"{percent(risk['worst'])} of tries; with dealt names the worst reach {percent(risk['worst_chance'])}."
        )
    return out


def at_most(risk: Record) -> str:
    """Return the bound on how many people are recognised: ``at most 12 of 100``."""
    return f"at most {min(int(-(-100 * risk['at_most'] // 1)), 100)} of 100"


def verdict_lines(verdict: Record) -> list[str]:
    """Return the verdict as lines for a terminal."""
    lines = [f"Verdict: {HEADS[verdict['state']]}"]
    lines += [f"  STOP: {stop_words(stop)}" for stop in verdict["stops"]]
    for part in verdict["classes"]:
        lines.append(f"  {name_of(part['label'])}: {HEADS[part['state']]}")
        lines += [f"    {sentence}" for sentence in (*_state(part), *risk_words(part["risk"]))]
        lines += [f"    {line}" for line in _unable(part)]
    return lines


def _state(part: Record) -> list[str]:
    """Say what the tests of a class gave."""
    best, power = part["strongest"], part["detectable"]
    out = []
    if best is not None:
        tests = "1 test" if part["tests"] == 1 else f"{part['tests']} tests"
        out.append(
            f"Furthest from chance is {METRICS.get(best['figure'], best['figure'])} of the {best['attack']} attack by "
            f"{best['recognizer']}: {best['value']:.3f}, against {best['chance']:.3f} with dealt names; chance "
            f"reaches that with probability {probability(best['corrected'])}, corrected for {tests}."
        )
    if part["state"] == "more":
        out.append(
            f"That is more than chance: something in the released {name_of(part['label'])} still points to who or "
            "what the original showed."
        )
    elif part["state"] == "unable":
        out.append("No independent judge did well enough where it had to: nothing can be said.")
    elif part["state"] in ("few", "chance"):
        rate = None if power is None else power["rate"]
        if rate is None or rate >= 1:
            out.append("With so few people nothing whatever could be told from chance.")
        else:
            out.append(
                f"A true rate of {percent(rate)} would have been told from chance in 8 of 10 such evaluations, smaller "
                "ones less often."
            )
        if part["state"] == "few":
            out.append("That is too little to say anything: take more people.")
        else:
            out.append("It does not follow that nothing is left.")
    return out


def _unable(part: Record) -> list[str]:
    """Say who cannot judge a class and why, in one line for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, reason in part["unable"]:
        reasons.setdefault(reason, []).append(name)
    return [f"{_listed(names)} cannot judge: {reason}" for reason, names in reasons.items()]


def probability(value: float) -> str:
    """Return a probability as text."""
    return "below 0.001" if value < 0.001 else f"{value:.2g}"


def _attacked(findings: Sequence[Record], finding: Record) -> list[str]:
    label, name = finding["label"], HEADLINE[finding["label"]]
    estimate, chance = finding["estimates"][name], finding["estimates"][f"{name}_chance"]["value"]
    did = "got the characters of a plate right" if name == "character_accuracy" else "picked the right one first"
    tried = sum(
        f["label"] == label and f["variant"] == "anonymized" and f["judge"] and excess(f) is not None
        for f in findings
        if f["attack"] in ON_PICTURES
    )
    how = "comparing with" if name == "rank1" else "reading with"
    by = f", {how} {finding['recognizer']}," if finding["recognizer"] else ""
    sentences = [
        f"{'The only attack' if tried == 1 else f'Of {tried} attacks and comparisons the one that got furthest'} was "
        f"the {finding['attack']} attack: an attacker who "
        f"{_HOW[finding['attack']]}{by} {did} in {percent(estimate['value'])} of {estimate['count']} tries"
        f"{_interval(estimate)}; guessing under the same rules reaches {percent(chance)}."
    ]
    others = []
    for variant, said in VARIANTS:
        same = [
            f
            for f in findings
            if f["variant"] == variant
            and all(f[key] == finding[key] for key in ("attack", "label", "recognizer", "protocol"))
        ]
        if same and _value(same[0], name) is not None:
            others.append(f"{percent(_value(same[0], name))} on {said}")
    if others:
        sentences.append(f"For comparison, the same attack reaches {_listed(others)}.")
    return sentences


def _judges(findings: Sequence[Record], label: str) -> list[str]:
    """Say who judged the released pictures, who of them had no part in making them, and who is weak."""
    on_pictures = [f for f in findings if f["attack"] in ON_PICTURES and f["label"] == label and f["recognizer"]]
    released = [f for f in on_pictures if f["variant"] == "anonymized"]
    independent = list(dict.fromkeys(f["recognizer"] for f in released if f["judge"]))
    partial = list(dict.fromkeys(f["recognizer"] for f in released if not f["judge"]))
    sentences = []
    if independent:
        apart = "none of which checked" if len(independent) > 1 else "which did not check"
        sentences.append(f"Independent judges: {_listed(independent)}, {apart} these pictures before their release.")
    if independent and partial:
        sentences.append(f"{_listed(partial)} did; the tables show those values, but they do not count here.")
    for name in independent:
        untreated = [f for f in on_pictures if (f["recognizer"], f["variant"]) == (name, "original")]
        best = max((_value(f, HEADLINE[label]) or 0.0 for f in untreated), default=1.0)
        if best < ABLE and label == "license_plate":
            sentences.append(
                f"{name} is a WEAK JUDGE: even of untreated plates it reads only {percent(best)} of the characters."
            )
    return sentences


def _unmeasured(findings: Sequence[Record], skipped: Sequence[Record], label: str) -> str:
    if any(f["label"] == label and f["variant"] == "anonymized" and not f["judge"] for f in findings):
        return (
            "NOT MEASURED: the only recogniser at hand is the one that checked these pictures before their release, so "
            "its values prove nothing. Evaluate again with another one."
        )
    reasons = [s["reason"] for s in skipped if s["label"] in (label, "any")]
    reasons += [
        estimate["reason"]
        for f in findings
        if f["label"] == label and f["variant"] == "anonymized" and HEADLINE[label] in f["estimates"]
        for estimate in (f["estimates"][HEADLINE[label]],)
        if estimate["value"] is None
    ]
    why = f" ({'; '.join(dict.fromkeys(reason for reason in reasons if reason))})" if any(reasons) else ""
    return f"NOT MEASURED: no attack on {name_of(label)} gave a value{why}. Nothing can be said about them."


def _left_over(findings: Sequence[Record], label: str) -> list[str]:
    """Say how many were left untouched, where that was measured."""
    out = []
    for finding in findings:
        rate = finding["estimates"].get("leak_rate")
        if finding["label"] != label or finding["variant"] != "anonymized" or rate is None or rate["value"] is None:
            continue
        if rate["value"] == 0:
            out.append(
                f"None of {rate['count']} known or detected {name_of(label)} was found with unchanged pixels; what no "
                "detector finds is not counted."
            )
        else:
            out.append(
                f"{percent(rate['value'])} of {rate['count']} known or detected {name_of(label)} seem to have "
                f"unchanged pixels in the released pictures{_interval(rate)}; look at them."
            )
        out.append(f"Looked for by {finding['recognizer']}.")
        found = finding["counts"].get("detected_leaked", 0)
        if found:
            out.append(
                f"{found} of these {'was' if found == 1 else 'were'} found by detectors alone, in places where nobody "
                "was known: they may be false alarms."
            )
        recall = finding["estimates"].get("recall")
        if recall is not None and recall["value"] is not None:
            out.append(
                f"Of the {recall['count']} known {name_of(label)} the independent ones of these find "
                f"{percent(recall['value'])} in the untouched originals{_interval(recall)}, by size: "
                f"{_by_size(finding)}; what they do not find there they would not have found here."
            )
        if not finding["judge"]:
            out.append("No detector that is independent of the run looked: what the run missed may be missed again.")
    return out


def _by_size(finding: Record) -> str:
    """Return the recall of independent detectors by the shorter side of what they had to find."""
    parts = []
    for name, estimate in finding["estimates"].items():
        if name.startswith("recall_") and name.endswith("px") and estimate["value"] is not None:
            size = name.removeprefix("recall_").removesuffix("px").replace("_", " ")
            parts.append(f"{percent(estimate['value'])} of {estimate['count']} ({size} px)")
    return ", ".join(parts)


def _told_apart(finding: Record) -> bool:
    name = HEADLINE[finding["label"]]
    estimate, chance = finding["estimates"][name], finding["estimates"][f"{name}_chance"]["value"]
    low = estimate["value"] if estimate["low"] is None else estimate["low"]
    return bool(low > chance)


def _value(finding: Record, name: str | None) -> float | None:
    estimate = finding["estimates"].get(name)
    return None if estimate is None else estimate["value"]


def _interval(estimate: Record) -> str:
    if estimate["low"] is None or estimate["high"] is None:
        return ""
    return f" (95 % interval {percent(estimate['low'])} to {percent(estimate['high'])})"


def _count(count: int, label: str) -> str:
    return f"{count} {name_of(label, count)}"


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
