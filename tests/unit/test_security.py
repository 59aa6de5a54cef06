"""Hostile files and folders: nothing is unpickled, nothing leads out of a folder, the report escapes everything."""

from __future__ import annotations

import ast
import html.parser
import json
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.core.errors import InputError, ModelError
from anonymizer.models import weights
from anonymizer.run.audit import audit
from anonymizer.run.ledger import Ledger
from anonymizer.run.local import run
from anonymizer.run.report import quarantine_list, render_report
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer

ROOT = Path(__file__).resolve().parents[2]


class Payload:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[bytes]:
    mark = tmp_path / "the-pickle-was-loaded"
    payload = pickle.dumps(Payload(mark))
    pickle.loads(payload)
    assert mark.is_dir(), "the payload works"
    mark.rmdir()
    yield payload
    assert not mark.exists()


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
    return path


def test_a_pickle_among_pictures_and_annotations_is_never_loaded(tmp_path: Path, planted: bytes) -> None:
    picture(tmp_path / "in/a.png")
    for name in ("b.png", "c.jpg", "d.tif", "e.webp", "f.pkl", "g.npy", "h.pt"):
        (tmp_path / "in" / name).write_bytes(planted)
    summary = run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "out"))
    assert (summary.released, summary.failed) == (1, 4)
    for name in ("coco.json", "annotations.json"):
        (tmp_path / name).write_bytes(planted)
        with pytest.raises(InputError):
            run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "other", annotations=tmp_path / name))


@pytest.mark.parametrize("place", ["ledger.jsonl", "seal.json", "annotations.json", ".state/annotations"])
def test_a_pickle_in_the_output_is_never_loaded(tmp_path: Path, planted: bytes, place: str) -> None:
    picture(tmp_path / "in/a.png")
    out = tmp_path / "out"
    run(FakeAnonymizer(), Request(tmp_path / "in", out))
    target = next((out / place).iterdir()) if (out / place).is_dir() else out / place
    target.write_bytes(planted)
    assert audit(out).clean == (place == ".state/annotations")
    try:
        run(FakeAnonymizer(), Request(tmp_path / "in", out))
    except InputError as error:
        assert "damaged" in str(error)


@pytest.mark.parametrize("weight", ["detector", "edges", "inpaint"])
def test_a_pickle_among_weights_is_never_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: bytes, weight: str
) -> None:
    from anonymizer import Anonymizer

    own = tmp_path / "models" / weight
    found = weights.path(weight)
    shutil.copytree(found if found.is_dir() else found.parent, own)
    if weight == "inpaint":
        (own / "unet/diffusion_pytorch_model.safetensors").unlink()
        (own / "unet/diffusion_pytorch_model.bin").write_bytes(planted)
    else:
        next(own.glob("*.onnx")).write_bytes(planted)
    monkeypatch.setenv("ANONYMIZER_MODELS", str(tmp_path / "models"))
    with pytest.raises(ModelError):
        Anonymizer.from_preset("embedded")


def modules() -> list[Path]:
    return sorted([*(ROOT / "anonymizer").rglob("*.py"), *(ROOT / "models").rglob("*.py")])


UNSAFE = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal", "jsonpickle"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_in_the_source_unpickles(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & UNSAFE, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in UNSAFE, node.lineno
        elif isinstance(node, ast.Call):
            called, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert options.get("allow_pickle") in (None, "False"), node.lineno
            assert called not in ("yaml.load", "eval", "exec"), node.lineno
            if called == "torch.load":
                assert options.get("weights_only") == "True", node.lineno


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/hostname", "a/../../b.png", "", "a\0b.png"])
@pytest.mark.parametrize("field", ["name", "released_name"])
def test_a_ledger_that_names_files_elsewhere_is_refused(tmp_path: Path, field: str, name: str) -> None:
    out = tmp_path / "out"
    picture(tmp_path / "in/a.png")
    run(FakeAnonymizer(), Request(tmp_path / "in", out))
    picture(tmp_path / "secret.png")
    ledger = Ledger.open(out)
    record = ledger.get("a.png")
    assert record is not None
    ledger.append(record | {"name": "z.png", field: name})
    assert not audit(out).clean
    with pytest.raises(InputError, match="damaged"):
        run(FakeAnonymizer(), Request(tmp_path / "in", out))


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'>{{7*7}}</td><a href='javascript:x'>"


class Tags(html.parser.HTMLParser):
    """Collects every tag and attribute of a document."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def parse(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    return tags


def document(images: Path, text: str) -> str:
    """Return a report in which every field that comes from outside holds ``text``."""
    verdict = {"check": text, "passed": True, "value": 0.5, "threshold": 0.5, "detail": text}
    instance = {"label": text, "action": "redrawn", "source": text, "verdicts": [verdict]}
    base = {"reason": text, "instances": [instance], "verdicts": [verdict], "notes": [text], "name_hints": [text]}
    records = [
        base | {"name": name, "released_name": name, "status": status, "timings_s": {text: 1.0}}
        for name, status in (
            (text.replace("/", "∕") + ".png", "released"),
            (text, "failed"),
            ("q" + text, "quarantined"),
        )
    ]
    picture(images / records[0]["released_name"])
    settings = {text: text, "nested": {text: [text, {text: text}]}}
    return render_report(records, images, settings, seconds=1.0).decode()


def test_the_report_escapes_everything(tmp_path: Path) -> None:
    harmless, hostile = document(tmp_path, "harmless"), document(tmp_path, HOSTILE)
    assert parse(hostile).tags == parse(harmless).tags
    assert parse(hostile).attributes == parse(harmless).attributes
    assert "script" not in parse(hostile).tags
    assert "<script" not in hostile and 'onerror=alert(1)>"' not in hostile
    assert "{{7*7}}" in hostile and ">49<" not in hostile
    assert hostile.count("&lt;script&gt;") > 10
    assert "default-src 'none'" in hostile


def test_the_quarantine_list_cannot_be_given_lines(tmp_path: Path) -> None:
    record = {"status": "failed", "name": "a\nreleased\tb.png\x1b[2J", "reason": "x\r\ny\u2028z"}
    assert len(quarantine_list([record]).decode().splitlines()) == 1


def test_hostile_annotation_names_touch_no_file(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    secret = picture(tmp_path / "secret.png")
    before = secret.read_bytes()
    for name in ("../secret.png", str(secret), "a.png/../../secret.png", "..\\secret.png", "a.png\0"):
        images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": name}]
        coco = {"categories": [{"id": 1, "name": "person"}], "images": images, "annotations": []}
        (tmp_path / "coco.json").write_text(json.dumps(coco))
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        assert run(FakeAnonymizer(), Request(tmp_path / "in", out, annotations=tmp_path / "coco.json")).released == 1
        assert {p.name for p in (out / "images").rglob("*")} == {"a.png"}
    assert secret.read_bytes() == before
