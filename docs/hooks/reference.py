"""Pages and tables made at every build: command line, presets and their settings, tables of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from anonymizer import cli
from anonymizer.config import Preset, read_preset, tables
from anonymizer.config.requirements import weight_ids
from anonymizer.models import weights

#: Where ``presets.md`` has its table of all presets.
COMPARISON = "<!-- comparison of presets -->"
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
        lines += ["| setting | type and range | unit | default | meaning |", "|---|---|---|---|---|"]
        for key, field in table["properties"].items():
            default = json.dumps(field["default"]) if "default" in field else "required"
            default = default if key in table.get("required", ()) or "default" in field else "none"
            told = _kind(field), _unit(field), f"`{default}`", field.get("description", "")
            lines.append(f"| `{key}` | {' | '.join(told)} |")
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
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}
    limits = [f"{word} {field[key]:g}" for key, word in words.items() if key in field]
    return " ".join([str(field.get("type", "any")), *limits])


def _unit(field: dict[str, Any]) -> str:
    """Return the unit of a setting, of its items or of its values; nothing where it has none."""
    inner = [field.get("items"), field.get("additionalProperties"), *field.get("anyOf", ())]
    own = [str(field["unit"])] if "unit" in field else [_unit(part) for part in inner if isinstance(part, dict)]
    return next(filter(None, own), "")


def preset_comparison() -> str:
    """Return a table with a row for each preset that comes with the package, from its own table of settings."""
    head = ["preset", "inpainter", "steps", "guidance", "persons start from", "crop of a person", "depth", "edges"]
    head += ["detector", "to fetch", "GPU memory"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, table in tables().items():
        preset = read_preset(name, table)
        redraw, crop = preset.redraw, preset.redraw.crops["person"]
        size = f"{crop.height} × {crop.width}" if hasattr(crop, "height") else f"long side {crop.long_side}"
        start = redraw.start
        if start == "rendering":
            start += f", noised over {redraw.strength['person']:g} of the schedule"
        needed = [weights.entry(weight_id) for weight_id in weight_ids(table)]
        fetched = sum(weight.bytes for weight in needed if weight.source == "hub") / 1e9
        row = [f"`{name}`", redraw.pipeline + (f" with {redraw.lora}" if redraw.lora else ""), str(redraw.steps)]
        drawn = preset.redraw.direction.guidance if preset.redraw.direction else []
        row += [" or ".join(f"{scale:g}" for scale in drawn) or f"{redraw.guidance_scale:g}", start, size]
        row += [preset.condition.depth or "closed form", preset.condition.edges, preset.detect.network]
        row += [f"{fetched:.1f} GB" if fetched else "nothing"]
        row += [f"{preset.machine.gpu_memory_gb:g} GB" if preset.machine.gpu_memory_gb else "no GPU needed"]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the comparison of presets where its page asks for it."""
    return markdown.replace(COMPARISON, preset_comparison()) if page.file.src_uri == "presets.md" else markdown


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
