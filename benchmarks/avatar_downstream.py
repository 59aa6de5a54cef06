"""Use of redrawn pictures for training: a small detector trained on them, tested on untouched ones.

    python benchmarks/avatar_downstream.py --data DATA --run DIR [--pack NAME]... [--seed N]

``DIR`` is the folder of a run of ``avatars.py``, whose released pictures are used; persons are annotated in all.
The training is that of ``downstream.py``: on the originals twice (the difference is what chance
does), on blurred persons, and on the released pictures. Prints a table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, cast

from avatar_run import cut
from downstream import downstream_check
from markdown_table import table
from packs import Truth, pictures, read

from anonymizer.evaluation.records import Context, Pair, Store, Subject
from anonymizer.evaluation.variants import ANONYMIZED, Released, baseline


class Pictures:
    """Annotated pictures and what a run released of them; see ``evaluation.records.Dataset``."""

    def __init__(self, data: Path, released: Path, packs: tuple[str, ...]) -> None:
        self._truths: dict[str, list[Truth]] = {}
        pairs = []
        for pack in packs:
            for path, truths in pictures(data, pack, "val"):
                target = released / pack / path.with_suffix(".png").name
                if target.is_file():
                    pairs.append(Pair(f"{pack}/{path.name}", path, target))
                    self._truths[pairs[-1].name] = [truth for truth in truths if truth.label == "person"]
        self.pairs = tuple(sorted(pairs, key=lambda pair: pair.name))

    def subjects(self, pair: Pair) -> tuple[Subject, ...]:
        """Return the annotated persons of a picture."""
        truths = enumerate(self._truths[pair.name])
        return tuple(Subject(pair.name, n, "person", truth.box, mask=cut(truth)) for n, truth in truths)

    @staticmethod
    def original(pair: Pair) -> Any:
        """Return the original."""
        return read(pair.original)

    @staticmethod
    def anonymized(pair: Pair) -> Any:
        """Return the released picture."""
        return read(pair.anonymized)


def main() -> None:
    """Train, test and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--pack", action="append", help="pictures of this pack alone; repeatable")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    released = arguments.run / "pictures"
    packs = tuple(arguments.pack or sorted(path.name for path in released.iterdir()))
    dataset = Pictures(arguments.data, released, packs)
    variants: dict[str, Any] = {"original": baseline("original"), "blur": baseline("blur"), ANONYMIZED: Released()}
    context = Context(dataset, variants, (), ("person",), cast(Store, None), arguments.run, arguments.seed)
    found = downstream_check(context)
    print({key: value for key, value in found.items() if key != "rows"})
    rows = [
        {"trained on": row["trained_on"]}
        | {name: f"{row[name].value:.3f} [{row[name].low:.3f}, {row[name].high:.3f}]" for name in ("ap", "ap_drop")}
        for row in found.get("rows", ())
    ]
    print(table(rows))


if __name__ == "__main__":
    main()
