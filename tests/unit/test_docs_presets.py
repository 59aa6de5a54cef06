"""Pages of the documentation that are made from the presets: every setting and every preset is in them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from anonymizer.config import Preset, tables

pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install 'anonymizer[docs]'")
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "hooks/reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(table: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]


def test_every_setting_is_listed_with_range_unit_and_default(hook: ModuleType) -> None:
    schema = Preset.model_json_schema()
    page = hook.settings_reference(schema)
    for name, table in (("preset", schema), *schema["$defs"].items()):
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        listed = {row[0]: row for row in rows(section)[2:]}
        assert set(listed) == {f"`{key}`" for key in table["properties"]} and table.get("description")
        assert [key for key, row in listed.items() if len(row) != 5 or not row[4]] == []
    told = {row[0]: row[1:] for row in rows(page)}
    assert told["`tile`"] == ["integer from 1", "pixels", "`required`", "Side of a tile."]
    assert told["`sizes`"][:2] == ["list of integer from 1", "pixels"]
    assert told["`gpu_memory_gb`"][:3] == ["number from 0", "GB", "`0`"]
    assert told["`joint_noise`"][0] == "number above 0" and told["`steps`"][0] == "integer from 1 to 1000"
    assert told["`least_side`"][1] == "pixels" and told["`female`"][2] == "`0.5`"


def test_presets_are_compared_in_rows(hook: ModuleType) -> None:
    head, _, *found = rows(hook.preset_comparison())
    assert [row[0].strip("`") for row in found] == list(tables())
    by_name = {row[0].strip("`"): dict(zip(head, row, strict=True)) for row in found}
    assert by_name["embedded"]["to fetch"] == "nothing" and by_name["embedded"]["GPU memory"] == "no GPU needed"
    assert by_name["embedded"]["persons start from"] == "rendering, noised over 0.1 of the schedule"
    assert by_name["sd15"]["GPU memory"] == "6 GB" and by_name["sd15"]["steps"] == "25"
    assert by_name["paper-people"]["guidance"] == "7 or 7.5"
    assert by_name["paper-people"]["crop of a person"] == "long side 768"


def test_the_page_asks_for_the_comparison_and_agrees_with_it(hook: ModuleType) -> None:
    page = (DOCS / "presets.md").read_text(encoding="utf-8")
    assert page.count(hook.COMPARISON) == 1
    written = {name: row for row in rows(page) for name in re.findall(r"`([\w-]+)`", row[0])}
    assert set(tables()) <= set(written)


def test_the_front_page_fits_on_a_screen() -> None:
    lines = (DOCS.parent / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120 and max(map(len, lines)) <= 120
