"""``anonymizer release``: what may leave of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymizer.cli.console import JsonFlag

__all__ = ["release"]


def release(
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder of a finished run; only read.")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="Folder to make; new or empty.")],
    require_review: Annotated[
        bool, typer.Option("--require-review", help="Refuse unless reviewers have signed every picture.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Copy what may leave, with a data sheet and checksums; refuse an OUTPUT that is not as its run left it."""
    from anonymizer.run.delivery import CHECKSUMS, SHEET, deliver

    made = deliver(output, destination, require_review=require_review)
    if as_json:
        print(made.to_json())
        return
    print(ascii(f"{made.path}: {made.pictures} pictures, {made.signed} signed, {made.files} files")[1:-1])
    print(f"{SHEET} says how they were made, {CHECKSUMS} (sha256sum --check) that nothing has changed since")
