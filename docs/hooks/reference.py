"""Pages made at every build of the documentation: the command line's reference, and the tables of the benchmarks."""

from __future__ import annotations

from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from anonymizer import cli

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def command_reference() -> str:
    """Return the reference of every command and option as Markdown."""
    command = typer.main.get_command(cli.app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="anonymizer")
    return "# Command line\n\n" + text.split("\n", 1)[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    pages = {
        "cli.md": command_reference(),
        "benchmarks.md": (BENCHMARKS / "README.md").read_text(encoding="utf-8"),
        "scale.md": (BENCHMARKS / "scale.md").read_text(encoding="utf-8"),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files
