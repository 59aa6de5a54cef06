"""Pages made at every build of the documentation: command line, settings of presets, tables of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from anonymizer import cli
from anonymizer.config import Preset

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
EVALUATION = ROOT / "anonymizer" / "evaluation" / "evaluation.schema.json"


def command_reference() -> str:
    """Return the reference of every command and option as Markdown."""
    command = typer.main.get_command(cli.app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="anonymizer")
    return "# Command line\n\n" + text.split("\n", 1)[1]


def settings_reference(schema: dict[str, Any]) -> str:
    """Return every setting of a preset as Markdown, one table for each table of TOML."""
    lines = ["# Settings of presets", "", "For editors: [JSON schema](preset.schema.json).", ""]
    for name, table in (("preset", schema), *schema["$defs"].items()):
        if "properties" not in table:
            continue
        lines += [f"## {name}", "", table.get("description", "").partition("\n")[0], ""]
        lines += ["| setting | type | default | meaning |", "|---|---|---|---|"]
        for key, field in table["properties"].items():
            default = json.dumps(field["default"]) if "default" in field else "required"
            default = default if key in table.get("required", ()) or "default" in field else "none"
            lines.append(f"| `{key}` | {_kind(field)} | `{default}` | {field.get('description', '')} |")
        lines.append("")
    return "\n".join(lines)


def _kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field or "oneOf" in field:
        kinds = [_kind(f) for f in field.get("anyOf", field.get("oneOf"))]
        return " or ".join(kind for kind in kinds if kind != "null")
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return "list of " + (_kind(field["items"]) if "items" in field else "values")
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        return "table of " + (_kind(inner) if isinstance(inner, dict) else "values")
    limits = [f"from {field['minimum']}"] if "minimum" in field else []
    limits += [f"to {field['maximum']}"] if "maximum" in field else []
    return " ".join([str(field.get("type", "any")), *limits])


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    schema = Preset.model_json_schema()
    pages = {
        "settings.md": settings_reference(schema),
        "evaluation.schema.json": EVALUATION.read_text(encoding="utf-8"),
        "preset.schema.json": json.dumps(schema, indent=1),
        "cli.md": command_reference(),
        "benchmarks.md": (BENCHMARKS / "README.md").read_text(encoding="utf-8"),
        "scale.md": (BENCHMARKS / "scale.md").read_text(encoding="utf-8"),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files
