"""``anonymizer review``: the review page, until Ctrl-C."""

from __future__ import annotations

from typing import Annotated

import typer

from anonymizer.cli.console import RELEASED

__all__ = ["review"]


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
