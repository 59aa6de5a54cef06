"""``anonymizer review``: the review page, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymizer.cli.console import RELEASED
from anonymizer.core.errors import InputError

__all__ = ["check_review", "review"]


def review(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="Folder of a run.")],
    reviewer: Annotated[str, typer.Option(metavar="NAME", help="Who reviews: stands beside every decision.")],
    source: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="INPUT", help="INPUT of the run, to show originals; repeatable."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; a free one if left out.")] = 0,
) -> None:
    """Look at released pictures in a browser on this machine, correct and sign them."""
    from anonymizer.review import Desk, serve

    desk = Desk(output, reviewer, source[0] if source is not None and len(source) == 1 else source)
    try:
        serve(desk, port=port, on_start=lambda link: print(f"Review: {link}\nCtrl-C ends it.", flush=True))
    except KeyboardInterrupt:
        raise typer.Exit(RELEASED) from None


def check_review(output: str) -> None:
    """Refuse an OUTPUT without decisions of reviewers.

    Raises:
        InputError: It holds none, or is a URL, where none are followed.
    """
    from anonymizer.images.storage import is_url
    from anonymizer.run.decisions import REVIEW
    from anonymizer.run.delivery import COPY_FIRST

    if is_url(output):
        raise InputError(f"--review: OUTPUT {output}: {COPY_FIRST}, then review and run there")
    if not (Path(output) / REVIEW).is_file():
        raise InputError(
            f"--review: OUTPUT {output} holds no {REVIEW}, so there is nothing to follow; check the path, or review it "
            "with anonymizer review"
        )
