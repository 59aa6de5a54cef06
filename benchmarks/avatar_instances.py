"""Instance list of the avatar benchmark: annotated persons of ``val`` pictures, and real persons of ``train`` ones.

    python benchmarks/avatar_instances.py DATA

Writes ``avatar_instances.json`` beside this file. It was written before avatars were measured and is not changed with
them: a person who is filled or missed stays on it. Persons are those from 48 pixels of height with a single annotation;
CamVid's riders are left out, whose annotation is cut off. The reference, real persons of other pictures, has twice as
many of each pack.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from packs import counted, pictures, some

#: Pictures of each pack with ``val`` persons that are on the list, and on the quick one.
PICTURES = {"pennfudan": (12, 6), "ccp": (42, 8), "camvid": (30, 7), "coco100": (3, 2), "humanseg": (24, 5)}
#: Pictures of the reference to one of the list.
REFERENCE = 2
#: Least height in pixels.
LEAST = 48
TARGET = Path(__file__).with_name("avatar_instances.json")


def listed(data: Path, pack: str, split: str) -> list[list[dict[str, Any]]]:
    """Return the persons of each picture of a pack that has some."""
    out = []
    for path, truths in pictures(data, pack, split):
        persons = [
            {
                "pack": pack,
                "picture": path.name,
                "annotation": truth.record["id"],
                "box": [round(float(v), 1) for v in truth.box],
            }
            for truth in truths
            if counted(truth, "person", pack) and truth.side >= LEAST
        ]
        if persons:
            out.append(persons)
    return out


def main() -> None:
    """Write the list."""
    data = Path(sys.argv[1])
    persons, reference = [], []
    for pack, (many, few) in PICTURES.items():
        chosen = some(listed(data, pack, "val"), many)
        quick = {part[0]["picture"] for part in some(chosen, few)}
        persons += [person | {"quick": person["picture"] in quick} for part in chosen for person in part]
        reference += [person for part in some(listed(data, pack, "train"), many * REFERENCE) for person in part]
    text = ",\n".join(json.dumps(person) for person in persons), ",\n".join(json.dumps(person) for person in reference)
    TARGET.write_text(f'{{"persons": [\n{text[0]}\n],\n"reference": [\n{text[1]}\n]}}\n', encoding="utf-8")
    for name, part in (("persons", persons), ("quick", [p for p in persons if p["quick"]]), ("reference", reference)):
        counts = {pack: sum(p["pack"] == pack for p in part) for pack in PICTURES}
        print(name, len(part), counts, len({(p["pack"], p["picture"]) for p in part}), "pictures")


if __name__ == "__main__":
    main()
