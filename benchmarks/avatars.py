"""Measure redrawn persons on a fixed list: found again, pose, distance to real persons, linkage, labels, seconds.

    python benchmarks/avatars.py --data DATA --judges JUDGES --out DIR [--quick] [--pack NAME]... [--cache DIR]
                                 [--preset NAME] [--strength S] [--set KEY=VALUE]... [--without KEY]... [--against DIR]

The list is ``avatar_instances.json`` (``avatar_instances.py`` wrote it before the work); the judges are made by
``make_judges.py`` and take no part in a run. A person who is filled counts as not found, and as the fill in the
distance; one who is left untouched or withheld has no pixels to compare, and is counted beside. ``--cache`` keeps
detections and what judges say of originals, which no variant changes; ``--strength`` and ``--set`` change a setting of
the preset (``--set redraw.steps=20``); ``--against`` compares with the folder of another run on the same persons.
The same command goes on where it was; delete ``DIR/done`` when the code has changed. ``DIR`` gets ``avatars.json``,
``avatars.md``, ``features.npz``, released pictures and a sheet of each person.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from avatar_measures import Distance, Measured, proportion, told_apart
from avatar_run import POSE_SCORE, SCORES, TOUCHED, Judged, Kept, Person
from markdown_table import table

from anonymizer import Anonymizer
from anonymizer.config import presets
from anonymizer.evaluation.attacks.adaptive import LEAST_IDENTITIES, centred, translate
from anonymizer.evaluation.matching import compare
from anonymizer.evaluation.records import Embeddings
from anonymizer.models.third_party import offline

#: Heights in pixels of the persons whose avatars' seconds are told.
TIMED = (200, 320)


def main() -> None:
    """Measure and print."""
    arguments = parsed()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with offline():
        anonymizer = build(arguments)
        kept = Kept(arguments.cache)
        judged = Judged(anonymizer, arguments.judges, kept, arguments.out)
        persons = judged.run(arguments.data, arguments.quick, arguments.pack, arguments.most_seconds)
        real = judged.reference(arguments.data)
        rows = measures(persons, real, judged)
        rows |= linkage(persons)
        save(arguments.out, persons, rows)
        text = shown(persons, rows)
        if arguments.against is not None:
            text += "\n" + against(arguments.out, arguments.against, real)
    (arguments.out / "avatars.md").write_text(text, encoding="utf-8")
    print(text)


def parsed(strings: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the packs")
    parser.add_argument("--judges", type=Path, required=True, help="folder that models/judges/make_judges.py filled")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="the quick part of the list")
    parser.add_argument("--pack", action="append", help="persons of this pack alone; repeatable")
    parser.add_argument("--most-seconds", type=float, default=float("inf"), help="begin no picture after this time")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--preset", default="embedded")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--strength", type=float, help="proportion of the noise schedule that avatars pass through")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as in TOML")
    parser.add_argument("--without", action="append", default=[], metavar="KEY", help="leave a setting out")
    parser.add_argument("--against", type=Path, help="folder of another run to compare with")
    return parser.parse_args(strings)


def build(arguments: argparse.Namespace) -> Anonymizer:
    """Return the preset with the settings asked for."""
    changes = list(arguments.set)
    if arguments.strength is not None:
        changes.append(f"redraw.strength.person={arguments.strength}")
    if not changes and not arguments.without:
        return presets.build(arguments.preset, seed=arguments.seed)
    settings = changed(presets.tables()[arguments.preset], changes, arguments.without)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preset.toml"
        path.write_text(toml("variant", settings), encoding="utf-8")
        return presets.build(path, seed=arguments.seed)


def changed(settings: Mapping[str, Any], changes: Sequence[str], without: Sequence[str]) -> dict[str, Any]:
    """Return a preset's table with some settings (``redraw.steps=20``) changed and others left out."""
    import tomllib

    out = json.loads(json.dumps(settings))
    for change in changes:
        key, _, value = change.partition("=")
        place = out
        *parents, last = key.split(".")
        for name in parents:
            place = place[name]
        place[last] = tomllib.loads(f"value = {value}")["value"]
    for key in without:
        place = out
        *parents, last = key.split(".")
        for name in parents:
            place = place[name]
        if last not in place:
            raise SystemExit(f"--without {key}: the preset has no such setting")
        del place[last]
    return out


def toml(name: str, settings: Mapping[str, Any]) -> str:
    """Return a table of strings, numbers, lists of them and tables as TOML."""
    plain = [f"{key} = {json.dumps(v)}" for key, v in settings.items() if not isinstance(v, dict)]
    inner = [toml(f"{name}.{json.dumps(key)}", v) for key, v in settings.items() if isinstance(v, dict)]
    return "\n".join([f"[{name}]", *plain, *inner]) + "\n"


def measures(persons: Sequence[Person], real: tuple[Any, list[str], list[str]], judged: Judged) -> dict[str, Measured]:
    """Return what was measured of all listed persons, by name."""
    rows: dict[str, Measured] = {}
    for pack in dict.fromkeys(p.pack for p in persons):
        here = [p for p in persons if p.pack == pack]
        rows[f"redrawn, {pack}"] = proportion([p.action == "redrawn" for p in here], [p.group for p in here])
    rows["redrawn"] = proportion([p.action == "redrawn" for p in persons], [p.group for p in persons])
    for score in SCORES:
        known = [p for p in persons if p.score[0] >= score]
        rows[f"found again at {score}"] = proportion([p.score[1] >= score for p in known], [p.group for p in known])
    known = [p for p in persons if p.posed[0] >= POSE_SCORE]
    rows["pose found again"] = proportion([p.posed[1] >= POSE_SCORE for p in known], [p.group for p in known])
    joints = [(hit, p.group) for p in known for hit in [1] * p.joints[0] + [0] * (p.joints[1] - p.joints[0])]
    rows["joints within 10 % of the height"] = proportion([hit for hit, _ in joints], [group for _, group in joints])
    rows |= distances(persons, real)
    for name, values in (
        ("IoU of new and annotated mask", [(p.label_iou, p.group) for p in persons if p.label_iou is not None]),
        ("IoU of new box and NanoDet's", [(p.find_iou, p.group) for p in persons if p.find_iou is not None]),
    ):
        rows[name] = proportion([value for value, _ in values], [group for _, group in values])
    for name, column in (("seconds a picture", 0), ("processor seconds a picture", 1)):
        seconds = [row[column] for row in judged.pictures]
        rows[name] = Measured(float(np.mean(seconds)), count=len(seconds)) if seconds else Measured(None)
    timed = [seconds for height, seconds in judged.avatars if TIMED[0] <= height < TIMED[1]]
    rows[f"processor seconds an avatar of {TIMED[0]} to {TIMED[1]} px"] = (
        Measured(float(np.median(timed)), count=len(timed)) if timed else Measured(None)
    )
    return rows


def comparable(persons: Sequence[Person]) -> list[Person]:
    """Return the persons whose pixels were replaced: others would stand as real ones in the distance."""
    return [p for p in persons if p.action != "withheld" and p.touched >= TOUCHED]


def distances(persons: Sequence[Person], real: tuple[Any, list[str], list[str]]) -> dict[str, Measured]:
    """Return kernel distances to real persons and how well a linear classifier tells."""
    used = comparable(persons)
    groups, packs = [p.group for p in used], [p.pack for p in used]
    sides = {name: np.stack([p.features[name] for p in used]) for name in ("redrawn", "real", "blur")}
    measured = Distance(*real).several(list(sides.values()), groups, packs)
    names = ("kernel distance", "kernel distance of real persons (floor)", "kernel distance of blur")
    rows = dict(zip(names, measured, strict=True))
    rows["told apart from real ones"] = told_apart(sides["real"], sides["redrawn"], (groups, groups))
    others = [n for pack in set(packs) for n in np.flatnonzero(np.array(real[2]) == pack)[: packs.count(pack)]]
    rows["real ones told apart from other real ones"] = told_apart(
        sides["real"], real[0][others], (groups, [real[1][n] for n in others])
    )
    return rows


def linkage(persons: Sequence[Person]) -> dict[str, Measured]:
    """Return how often a silhouette found again is linked to its own original, on Penn-Fudan."""
    here = [p for p in persons if p.silhouettes is not None]
    if len(here) < 2:
        return {}
    before, after = (_embeddings(here, side) for side in (0, 1))
    rng = np.random.default_rng(zlib.crc32(b"linkage"))
    compared = {"silhouette linked, aligned": compare(after, before, "own", rng).estimates}
    if (after.found & before.found).sum() >= LEAST_IDENTITIES:
        known = centred(before)
        translated, _ = translate(after, known, "own", rng)
        compared["silhouette linked, adaptive"] = compare(translated, known, "own", rng).estimates
    rows: dict[str, Measured] = {}
    for name, estimates in compared.items():
        rank, chance = estimates["rank1"], estimates.get("rank1_chance")
        rows[name] = Measured(rank.value, rank.low, rank.high, rank.count)
        rows[f"{name}, by chance"] = Measured(None if chance is None else chance.value, count=rank.count)
    return rows


def _embeddings(persons: Sequence[Person], side: int) -> Embeddings:
    vectors = [p.silhouettes[side] for p in persons if p.silhouettes is not None]
    length = next((len(v) for v in vectors if v is not None), 1)
    keys = tuple(f"{p.picture}#{p.annotation}" for p in persons)
    rows = np.stack([np.zeros(length, np.float32) if v is None else v for v in vectors])
    return Embeddings(keys, keys, tuple(p.picture for p in persons), rows, np.array([v is not None for v in vectors]))


def save(out: Path, persons: Sequence[Person], rows: Mapping[str, Measured]) -> None:
    """Write what was measured, in all and of each person."""
    left = ("features", "silhouettes", "box")
    each = [{k: v for k, v in dataclasses.asdict(p).items() if k not in left} for p in persons]
    report = {
        "command": " ".join(["python", *sys.argv]),
        "measures": {name: dataclasses.asdict(row) for name, row in rows.items()},
        "persons": each,
    }
    (out / "avatars.json").write_text(json.dumps(report, indent=1, default=float) + "\n", encoding="utf-8")
    used = comparable(persons)
    keys = np.array([f"{p.group}#{p.annotation}" for p in used])
    np.savez(out / "features.npz", keys=keys, redrawn=np.stack([p.features["redrawn"] for p in used]))


def shown(persons: Sequence[Person], rows: Mapping[str, Measured]) -> str:
    """Return a table in Markdown."""
    actions = {a: sum(p.action == a for p in persons) for a in ("redrawn", "redacted", "missed", "withheld")}
    left = len(persons) - len(comparable(persons))
    head = f"{len(persons)} persons: " + ", ".join(f"{n} {a}" for a, n in actions.items())
    head += f"; {left} untouched or withheld, not in the distance"
    lines = []
    for name, row in rows.items():
        lines.append({"measure": name, "value": cell(name, dataclasses.asdict(row)), "of": row.count})
    return f"{head}\n\n{table(lines)}\n"


def cell(name: str, row: Mapping[str, Any]) -> str:
    """Return a measure with its interval, proportions in percent."""
    if row["value"] is None:
        return "–"
    whole = name.startswith(("redrawn", "found", "pose", "joints", "silhouette", "told", "real ones"))
    form = "{:.1%}" if whole else "{:.3f}"
    ends = "" if row["low"] is None else f" [{form.format(row['low'])}, {form.format(row['high'])}]"
    return form.format(row["value"]) + ends


def against(out: Path, other: Path, real: tuple[Any, list[str], list[str]]) -> str:
    """Return by how much the kernel distance differs from that of another run, of the persons that both replaced."""
    mine, theirs = (np.load(folder / "features.npz", allow_pickle=False) for folder in (out, other))
    keys = [key for key in mine["keys"].tolist() if key in set(theirs["keys"].tolist())]
    sides = []
    for run in (mine, theirs):
        rows = {key: row for row, key in enumerate(run["keys"].tolist())}
        sides.append(run["redrawn"][[rows[key] for key in keys]])
    groups = [key.partition("#")[0] for key in keys]
    values, draws = Distance(*real).drawn(sides, groups, [group.partition("/")[0] for group in groups])
    low, high = np.percentile(draws[:, 0] - draws[:, 1], (2.5, 97.5))
    return (
        f"Kernel distance here {values[0]:.3f}, in {other} {values[1]:.3f}, difference {values[0] - values[1]:+.3f} "
        f"[{low:+.3f}, {high:+.3f}], {len(keys)} persons\n"
    )


if __name__ == "__main__":
    main()
