"""Imports go one way, and what is light stays light."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "anonymizer"

#: Rooms of the stages of a picture's way. They never import each other.
STAGES = ("detect", "condition", "avatar", "fill", "redraw", "verify", "recognize")
#: Room -> rank: a room may import rooms of lower rank only (and itself). Equal ranks never import each other.
RANKS = {
    "core": 0,
    "models": 1,
    "images": 2,
    **dict.fromkeys(STAGES, 2),
    "annotations": 3,
    "flow": 3,
    "config": 4,
    "run": 5,
    "evaluation": 6,
    "review": 6,
    "cli": 7,
    "__main__": 8,
}
#: `Anonymizer.from_preset` reaches up, when called, to what wires it.
UPWARD = {("flow", "config")}
HEAVY = {"torch", "onnxruntime", "diffusers", "transformers", "ultralytics", "rapidocr", "dlib", "accelerate"}
HEAVY |= {"embreex"}
#: Folders of the package that are rooms; `evaluation/attacks` is part of one.
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "_embedded" not in path.parts)


def unit(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    """Return dotted names of every import in a module, also those inside functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def typing_only(tree: ast.AST) -> set[ast.AST]:
    """Return every node under ``if TYPE_CHECKING``: those imports never run."""
    guarded: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            guarded |= {inner for statement in node.body for inner in ast.walk(statement)}
    return guarded


def without_typing(tree: ast.Module) -> ast.Module:
    guarded = typing_only(tree)

    class Strip(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST | None:
            return None if node in guarded and isinstance(node, ast.Import | ast.ImportFrom) else super().visit(node)

    return Strip().visit(tree)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    here = unit(path)
    if here == "__init__":
        pytest.skip("the public namespace gathers names from everywhere")
    assert here in RANKS, f"{here} has no rank; give it one"
    for name in imported(without_typing(ast.parse(path.read_text(encoding="utf-8")))):
        head, _, rest = name.partition(".")
        there = rest.split(".")[0]
        # `from anonymizer import X` gives both "anonymizer" and "anonymizer.X"; names of the namespace have no rank.
        if head != "anonymizer" or there == here or there not in RANKS:
            continue
        assert RANKS[there] < RANKS[here] or (here, there) in UPWARD, f"{here} imports {there}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_heavy_packages_are_imported_where_they_are_used(path: Path) -> None:
    tree = without_typing(ast.parse(path.read_text(encoding="utf-8")))
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            tops = {name.split(".")[0] for name in imported(statement)}
            assert not tops & HEAVY, f"line {statement.lineno}: import {tops & HEAVY} inside the function that uses it"


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_states_its_public_names(room: str) -> None:
    assert room in RANKS
    module = importlib.import_module(f"anonymizer.{room}")
    # Modules of a room become its attributes when they are imported: none may hide a public name then.
    for path in (PACKAGE / room).glob("*.py"):
        importlib.import_module(f"anonymizer.{room}.{path.stem}".removesuffix(".__init__"))
    names = module.__all__
    assert 1 <= len(names) <= 10 and len(set(names)) == len(names)
    for name in names:
        assert not isinstance(getattr(module, name), ModuleType), f"{room} has a module called {name}"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing


@pytest.mark.parametrize("name", ["anonymizer", "anonymizer.cli", "anonymizer.redraw", "anonymizer.run"])
def test_importing_loads_nothing_heavy(name: str) -> None:
    code = f"import {name}, sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert not set(done.stdout.split()) & (HEAVY | {"cv2", "scipy", "PIL", "huggingface_hub"})
