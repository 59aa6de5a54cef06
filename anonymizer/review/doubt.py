"""Doubt: how soon a reviewer should look at a picture, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["doubt"]

#: What each reason adds, in the unit of one find with a score of 0. A picture that the run withheld comes before all,
#: and something that only the second pass found before low scores: the first pass had missed it.
WITHHELD = 100.0
LATE = 2.0
#: Of the share of instances that were filled, and of each redraw after the first.
FILLED = 0.5
AGAIN = 0.1


def doubt(record: Mapping[str, Any]) -> tuple[float, list[str]]:
    """Return how doubtful a picture is, from 0, and the reasons in a few words each.

    Args:
        record: Its newest line of the ledger.
    """
    if record["status"] != "released":
        return WITHHELD, [str(record["status"])]
    instances = record["instances"]
    late = sum(bool(i.get("second_pass")) for i in instances)
    scores = [i["score"] for i in instances if i["source"].partition(":")[0] != "given"]
    filled = sum(i["action"] == "redacted" for i in instances)
    again = max((i["attempts"] - 1 for i in instances), default=0)
    value = LATE * late + (1.0 - min(scores) if scores else 0.0)
    value += FILLED * filled / max(len(instances), 1) + AGAIN * max(again, 0)
    why = [f"{late} only in second pass"] if late else []
    why += [f"lowest score {min(scores):.2f}"] if scores else []
    why += [f"{filled} filled"] if filled else []
    why += [f"{again + 1} attempts"] if again > 0 else []
    return round(value, 4), why or ["nothing found"]
