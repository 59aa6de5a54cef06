"""Trials of ``anonymizer run``: ``--dry-run`` and ``--preview``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from anonymizer.core.errors import InputError

if TYPE_CHECKING:
    from anonymizer.run.request import Request
    from anonymizer.run.trial import Trial

__all__ = ["check_sheet", "check_trial", "print_trial"]

#: Names of one kind that are printed.
NAMES = 8


def check_trial(trying: bool, preview: int | None, sheet: Path | None, changing: bool) -> None:
    """Refuse options that do not go together.

    Args:
        trying: Whether it is a trial.
        preview: Pictures to preview.
        sheet: Where to write them.
        changing: Whether options are given that change an OUTPUT.

    Raises:
        InputError: They do not.
    """
    if (preview is None) != (sheet is None):
        raise InputError("--preview N and --preview-to FILE go together; give both, FILE outside of INPUT and OUTPUT")
    if trying and changing:
        raise InputError("--dry-run and --preview release nothing; leave --overwrite and --prune out")


def check_sheet(request: Request, preview: int | None, sheet: Path | None) -> None:
    """Refuse a preview where it may be released by mistake, and warn of what it holds.

    Raises:
        InputError: It lies in INPUT or OUTPUT.
    """
    from anonymizer.run.inputs import find_inputs
    from anonymizer.run.trial import check_preview

    if preview is not None:  # Shows at once, not after the models have been loaded.
        check_preview(preview, sheet, find_inputs(request.source, request.output), request.output)
        print(f"warning: {sheet} will hold ORIGINALS; it is not for release", file=sys.stderr)


def print_trial(found: Trial) -> None:
    """Print what a trial found, and where the results lie."""
    from anonymizer.run.report import printable

    def named(names: Mapping[str, str]) -> str:
        shown = [f"{printable(name)} ({printable(why)})" for name, why in list(names.items())[:NAMES]]
        return ", ".join(shown) + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")

    rows = [("Pictures", f"{found.pictures}, nothing was released")]
    if "annotations" in found.paths:
        counts = ", ".join(f"{count} {label}" for label, count in found.found.items()) or "nothing to anonymize"
        rows.append(("Found", f"{counts}; in {found.with_instances} of {found.looked_at} pictures"))
    for title, left in (("In areas left out", found.excluded), ("Consented", found.consented)):
        if left:
            rows.append((title, ", ".join(f"{count} {label}" for label, count in left.items())))
    rows += [("Failed", f"{len(found.failed)}: {named(found.failed)}")] if found.failed else []
    rows += (
        [("Held back", f"{len(found.held)}, as their annotations are missing or cannot be placed")]
        if found.held
        else []
    )
    if found.seconds is not None:
        rows.append(("A run takes", f"about {_duration(found.seconds)} with these settings on this machine"))
    if found.sampled:
        what = "evenly spaced among the pictures with instances" if found.found else "evenly spaced among all pictures"
        rows.append(("Anonymized", f"{len(found.sampled)}, {what}: {named(found.sampled)}"))
    titles = {"annotations": "Annotations", "preview": "HOLDS ORIGINALS"}
    rows += [(titles[key], path) for key, path in found.paths.items()]
    for name, value in rows:
        print(f"{name + ':':<19}{value}")


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.0f} h"
