"""The command line's ``models`` commands: parsing and printing only."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anonymizer.cli.console import FAILURE, RELEASED, JsonFlag

if TYPE_CHECKING:
    from anonymizer.models.weights import Status, Weight

__all__ = ["models"]

models = typer.Typer(help="List, fetch and verify model weights.", no_args_is_help=True)


@models.command("list")
def list_models(as_json: JsonFlag = False) -> None:
    """List every model: where it comes from, its size and its licence."""
    from anonymizer.models import weights

    if as_json:
        print(json.dumps({"models": [_plain(weight) for weight in weights.entries()]}))
        return
    rows = [("model", "stage", "source", "MB", "commercial use", "licence")]
    for weight in weights.entries():
        size = f"{weight.bytes / 1e6:.1f}" if weight.bytes else "-"
        commercial = "yes" if weight.commercial else "no"
        rows.append((weight.id, weight.stage, weight.source, size, commercial, weight.licence))
    model, stage, source, megabytes, use, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    form = f"{{:<{model}}}  {{:<{stage}}}  {{:<{source}}}  {{:>{megabytes}}}  {{:<{use}}}  {{}}"
    for row in rows:
        print(form.format(*row))


@models.command()
def fetch(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Presets or models to download; see: anonymizer models list")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Download models from the Hugging Face hub after showing their size and licence."""
    from anonymizer.config import presets
    from anonymizer.models import hub

    offers = [hub.offer(model) for model in presets.fetchable(ids)]
    for offered in offers:
        weight = offered.weight
        restricted = "" if weight.commercial else ", NOT for commercial use"
        today = f" (the hub says: {offered.licence})" if offered.licence else ""
        print(
            f"{weight.id}: {offered.bytes / 1e9:.2f} GB from {weight.path}, licence {weight.licence}{today}{restricted}"
        )
    if not offers:
        print("Everything is here already.")
        return
    total = sum(offered.bytes for offered in offers) / 1e9
    if not yes and not typer.confirm(f"Download {total:.2f} GB?", err=True):
        raise typer.Exit(FAILURE)
    for offered in offers:
        print(f"{offered.weight.id}: saved to {hub.fetch(offered)}")


@models.command()
def verify(as_json: JsonFlag = False) -> None:
    """Check that models are what they should be; hub models that were never fetched are no error."""
    from anonymizer.models import weights

    pairs = [(weight, weights.verify(weight.id)) for weight in weights.entries()]
    bad = [status for weight, status in pairs if status.state != "ok" and not _never_fetched(weight, status)]
    code = FAILURE if bad else RELEASED
    if as_json:
        found = [{"id": status.id, "state": status.state, "detail": status.detail} for _, status in pairs]
        print(json.dumps({"models": found, "exit_code": code}))
        raise typer.Exit(code)
    for weight, status in pairs:
        state = "not fetched" if _never_fetched(weight, status) else status.state
        print(f"{status.id}: {state}" + (f" ({status.detail})" if status in bad else ""))
    raise typer.Exit(code)


def _never_fetched(weight: Weight, status: Status) -> bool:
    return weight.source == "hub" and status.state == "missing"


def _plain(weight: Weight) -> dict[str, Any]:
    return {**asdict(weight), "bytes": weight.bytes}
