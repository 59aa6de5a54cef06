"""``anonymizer release``: what may leave of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonymizer.cli.console import JsonFlag
from anonymizer.core.errors import InputError

__all__ = ["release"]


def release(
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder of a finished run; only read.")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="Folder to make; new or empty.")],
    require_review: Annotated[
        bool, typer.Option("--require-review", help="Refuse unless reviewers have signed every picture.")
    ] = False,
    c2pa_certificate: Annotated[
        Path | None,
        typer.Option("--c2pa-certificate", metavar="FILE", help="Sign copies (C2PA): certificate and its chain, PEM."),
    ] = None,
    c2pa_key: Annotated[
        Path | None, typer.Option("--c2pa-key", metavar="FILE", help="Private key of that certificate, PEM.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Copy what may leave, with a data sheet and checksums; refuse an OUTPUT that is not as its run left it."""
    from anonymizer.run.credentials import Credentials
    from anonymizer.run.delivery import CHECKSUMS, SHEET, deliver

    if (c2pa_certificate is None) != (c2pa_key is None):
        raise InputError("--c2pa-certificate and --c2pa-key belong together; give both")
    credentials = None
    if c2pa_certificate is not None and c2pa_key is not None:
        try:
            credentials = Credentials(c2pa_certificate, c2pa_key)
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read ({error.strerror}); check the path") from error
    made = deliver(output, destination, require_review=require_review, credentials=credentials)
    if as_json:
        print(made.to_json())
        return
    print(ascii(f"{made.path}: {made.pictures} pictures, {made.signed} signed, {made.files} files")[1:-1])
    if made.credentials:
        print(f"{made.credentials} pictures carry C2PA credentials")
    print(f"{SHEET} says how they were made, {CHECKSUMS} (sha256sum --check) that nothing has changed since")
