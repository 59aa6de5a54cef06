"""With each stage made to raise, return nothing or return garbage, nothing unverified is released.

Hanging is tested in ``test_run_processes``. What a stage may return and still be wrong in a way nobody could tell,
such as a detector that finds nothing, is not a fault in this sense: recall is measured, not proven.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from anonymizer.core.errors import StageError, VerificationFailed
from anonymizer.core.records import Image, Instance, Result, TextLine, Verdict
from anonymizer.flow import pipeline
from anonymizer.flow.pipeline import Anonymizer, Settings
from anonymizer.redraw.crops import CropSetting
from anonymizer.redraw.diffusion import InpaintJob
from anonymizer.redraw.redrawer import Redrawer
from anonymizer.run import picture as steps
from anonymizer.run.audit import audit
from anonymizer.run.local import run
from anonymizer.run.request import Request
from anonymizer.verify.verifier import Verifier

from .fakes import FakeAnonymizer

SIZE = (96, 128)
ORIGINAL = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def instance(n: int, label: str, box: tuple[int, int, int, int]) -> Instance:
    x1, y1, x2, y2 = box
    return Instance(n, label, np.array(box, np.float32), np.ones((y2 - y1, x2 - x1), bool), 0.9, "fake")


FOUND = (
    instance(1, "person", (20, 20, 50, 80)),
    instance(2, "face", (84, 14, 98, 32)),
    instance(3, "license_plate", (80, 60, 110, 70)),
)


class Stages:
    """Every stage of a working pipeline; each attribute may be replaced by one that fails."""

    def __init__(self) -> None:
        self.detect: Callable[[Image], Any] = lambda image: FOUND
        self.again: Callable[[Image], Any] = lambda image: FOUND
        self.depth: Callable[[Image], Any] = lambda image: np.zeros(SIZE, np.float32)
        self.edges: Callable[[Image], Any] = lambda image: np.zeros(SIZE, np.float32)
        self.inpaint: Callable[[Sequence[InpaintJob]], Any] = lambda jobs: [
            np.random.default_rng(job.seed).integers(0, 256, job.image.shape, dtype=np.uint8) for job in jobs
        ]
        self.embed: Callable[[Image], Any] = lambda image: np.eye(8, dtype=np.float32)[int(image is not ORIGINAL)]
        self.read: Callable[[Image], Any] = lambda image: ()

    def build(self) -> Anonymizer:
        stages = self

        class Detector:
            def detect(self, image: Image) -> Any:
                first = np.array_equal(image, ORIGINAL)
                return stages.detect(image) if first else stages.again(image)

        class Depth:
            def estimate(self, image: Image, instances: tuple[Instance, ...]) -> Any:
                return stages.depth(image)

        class Edges:
            def detect(self, image: Image) -> Any:
                return stages.edges(image)

        class Inpainter:
            def inpaint(self, jobs: Sequence[InpaintJob]) -> Any:
                return stages.inpaint(jobs)

        class Embedder:
            threshold = 0.5

            def embed(self, image: Image, box: Any, landmarks: Any) -> Any:
                return stages.embed(ORIGINAL if np.array_equal(image, ORIGINAL) else image)

        class Reader:
            def read(self, image: Image) -> Any:
                return stages.read(image)

        detector = Detector()
        crops = {name: CropSetting(32, 32, 0.2) for name in ("person", "face", "license_plate")}
        return Anonymizer(
            detector=detector,
            depth=Depth(),
            edges=Edges(),
            redrawer=Redrawer(Inpainter(), crops),
            verifier=Verifier(detector, Embedder(), Reader()),
            settings=Settings(
                ("person", "face", "license_plate"), "body", 3, {"person": 2, "face": 2, "license_plate": 2}, 1, {}, {}
            ),
            description={"preset": "fake", "models": {}, "versions": {}},
        )


def broken(*_: object, **__: object) -> Any:
    raise RuntimeError("out of order")


def nothing(*_: object, **__: object) -> Any:
    return None


def always(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def anonymize(tmp_path: Path, anonymizer: Any, suffix: str = "png") -> dict[str, Any]:
    """Return the record of one picture after holding the output to what is promised."""
    (tmp_path / "in").mkdir(exist_ok=True)
    Pillow.fromarray(ORIGINAL).save(tmp_path / f"in/a.{suffix}")
    run(anonymizer, Request(tmp_path / "in", tmp_path / "out"))
    assert audit(tmp_path / "out").clean
    [line] = (tmp_path / "out/ledger.jsonl").read_text().splitlines()
    record: dict[str, Any] = json.loads(line)
    files = [path for path in (tmp_path / "out/images").rglob("*") if path.is_file()]
    if record["status"] != "released":
        assert files == []
        assert json.loads((tmp_path / "out/annotations.json").read_text())["images"] == []
        return record
    assert len(files) == 1
    released = np.asarray(Pillow.open(files[0]))
    for found in FOUND:
        x1, y1, x2, y2 = (int(v) for v in found.box)
        same = (released[y1:y2, x1:x2] == ORIGINAL[y1:y2, x1:x2]).all(axis=2).mean()
        assert same < 0.05, f"{found.label}: {same:.0%} of the original is left"
    return record


def test_the_working_pipeline_releases(tmp_path: Path) -> None:
    record = anonymize(tmp_path, Stages().build())
    assert record["status"] == "released", record
    assert len(record["instances"]) == 3


SIDE = (10, 10)
NAN = np.full(SIZE, np.nan, np.float32)
OUTSIDE = instance(4, "person", (200, 200, 240, 260))
PARTLY = instance(4, "person", (100, 50, 140, 90))
WITHHELD: list[tuple[str, str, Callable[..., Any]]] = [
    *((stage, "raises", broken) for stage in ("detect", "again", "depth", "edges", "inpaint", "embed", "read")),
    *((stage, "returns None", nothing) for stage in ("detect", "again", "depth", "edges", "inpaint", "embed", "read")),
    ("detect", "strings", always(("person", "face"))),
    ("detect", "one id twice", always((FOUND[0], replace(FOUND[1], id=1)))),
    ("again", "strings", always(("person",))),
    ("depth", "NaN", always(NAN)),
    ("depth", "out of range", always(np.full(SIZE, 7.0, np.float32))),
    ("depth", "wrong shape", always(np.zeros(SIDE, np.float32))),
    ("depth", "wrong type", always(np.zeros(SIZE, np.float64))),
    ("edges", "NaN", always(NAN)),
    ("edges", "wrong shape", always(np.zeros(SIDE, np.float32))),
    ("inpaint", "too few", always([])),
    ("inpaint", "rubbish", lambda jobs: ["x" for _ in jobs]),
    ("embed", "NaN", always(np.full(8, np.nan, np.float32))),
    ("embed", "no direction", always(np.zeros(8, np.float32))),
    ("embed", "another length each time", lambda image: np.ones(np.random.default_rng().integers(1, 99), np.float32)),
    ("read", "rubbish", always((3, 4))),
]
SAFE: list[tuple[str, str, Callable[..., Any]]] = [
    ("detect", "out of frame", always((*FOUND, OUTSIDE))),
    ("detect", "partly out of frame", always((*FOUND, PARTLY))),
    ("again", "nothing", always(())),
    ("again", "out of frame", always((*FOUND, OUTSIDE))),
    ("again", "elsewhere", always((instance(1, "face", (100, 4, 120, 20)),))),
    ("inpaint", "the original", lambda jobs: [job.image for job in jobs]),
    ("inpaint", "NaN", lambda jobs: [np.full(job.image.shape, np.nan, np.float32) for job in jobs]),
    ("inpaint", "wrong shape", lambda jobs: [np.zeros((3, 5, 3), np.uint8) for _ in jobs]),
    ("inpaint", "no colour", lambda jobs: [np.zeros((32, 32), np.uint8) for _ in jobs]),
    ("embed", "everybody is the same", always(np.eye(8, dtype=np.float32)[0])),
    ("read", "the same text", always((TextLine(np.zeros((4, 2), np.float32), "AB12CDE", 0.9),))),
]


@pytest.mark.parametrize(("stage", "fault", "replacement"), WITHHELD, ids=lambda v: v if isinstance(v, str) else "")
def test_a_stage_at_fault_withholds_the_picture(
    tmp_path: Path, stage: str, fault: str, replacement: Callable[..., Any]
) -> None:
    stages = Stages()
    setattr(stages, stage, replacement)
    assert anonymize(tmp_path, stages.build())["status"] in ("failed", "quarantined")


@pytest.mark.parametrize(("stage", "fault", "replacement"), SAFE, ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_garbage_that_can_be_made_good_is_or_the_picture_is_withheld(
    tmp_path: Path, stage: str, fault: str, replacement: Callable[..., Any]
) -> None:
    stages = Stages()
    setattr(stages, stage, replacement)
    anonymize(tmp_path, stages.build())


def test_a_picture_in_which_more_is_found_each_time_is_withheld(tmp_path: Path) -> None:
    stages, calls = Stages(), [0]

    def more(image: Image) -> tuple[Instance, ...]:
        calls[0] += 1
        return (*FOUND, instance(9, "face", (calls[0] * 12, 82, calls[0] * 12 + 10, 94)))

    stages.again = more
    assert anonymize(tmp_path, stages.build())["status"] == "quarantined"


def test_both_maps_of_another_size_are_refused(tmp_path: Path) -> None:
    stages = Stages()
    stages.depth = stages.edges = always(np.zeros(SIDE, np.float32))
    assert anonymize(tmp_path, stages.build())["status"] == "failed"


def leaky(image: Image, *_: object) -> tuple[Image, np.ndarray]:
    return image.copy(), np.ones(image.shape[:2], bool)


@pytest.mark.parametrize(
    ("name", "replacement"),
    [
        ("compose", broken),
        ("compose", nothing),
        ("compose", leaky),
        ("compose", always((np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), bool)))),
        ("compose", always((np.zeros((*SIZE, 3), np.float32), np.ones(SIZE, bool)))),
        ("guard", broken),
        ("guard", nothing),
    ],
)
def test_blending_and_guard_at_fault_withhold_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, replacement: Callable[..., Any]
) -> None:
    monkeypatch.setattr(pipeline, name, replacement)
    assert anonymize(tmp_path, Stages().build())["status"] in ("failed", "quarantined")


@pytest.mark.parametrize(
    "replacement", [broken, nothing, lambda image, *_: image, always(np.zeros((1, 1, 3), np.uint8))]
)
def test_redaction_at_fault_withholds_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replacement: Callable[..., Any]
) -> None:
    monkeypatch.setattr(pipeline, "redact", replacement)
    stages = Stages()
    stages.again = always(())  # Nothing is found again, so all has to be redacted.
    assert anonymize(tmp_path, stages.build())["status"] in ("failed", "quarantined")


@pytest.mark.parametrize(
    ("method", "replacement"),
    [
        *((method, fault) for method in ("examine", "find", "check", "leaks") for fault in (broken, nothing)),
        ("check", always(())),
        ("check", always((Verdict("second_pass", True),))),
        ("check", always((Verdict("second_pass", False),))),
        ("check", always((Verdict("pixels_replaced", True, float("nan"), 0.5, 1),))),
        ("check", always(("passed",))),
        ("leaks", always((OUTSIDE,))),
    ],
)
def test_a_verifier_at_fault_withholds_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, replacement: Callable[..., Any]
) -> None:
    monkeypatch.setattr(Verifier, method, replacement)
    assert anonymize(tmp_path, Stages().build())["status"] in ("failed", "quarantined")


def altered(**changes: Any) -> Callable[[Result], Any]:
    return lambda result: replace(result, **{key: change(result) for key, change in changes.items()})


@pytest.mark.parametrize(
    "change",
    [
        lambda result: None,
        lambda result: result.image,
        altered(image=lambda r: r.image[:4]),
        altered(image=lambda r: r.image.astype(np.float32)),
        altered(image=lambda r: None),
        altered(treated=lambda r: r.treated[:4]),
        altered(treated=lambda r: None),
        altered(treated=lambda r: np.zeros_like(r.treated)),
        altered(treated=lambda r: r.treated.astype(np.uint8)),
        altered(verdicts=lambda r: ()),
        altered(verdicts=lambda r: None),
        altered(verdicts=lambda r: r.verdicts[:-1]),
        altered(verdicts=lambda r: r.verdicts[1:]),
        altered(verdicts=lambda r: (replace(r.verdicts[0], passed="no"), *r.verdicts[1:])),
        altered(verdicts=lambda r: (replace(r.verdicts[0], value=float("nan")), *r.verdicts[1:])),
        altered(verdicts=lambda r: (*r.verdicts, Verdict("face_distance", True, 0.1, 0.5, 77))),
        altered(treatments=lambda r: ()),
        altered(treatments=lambda r: (replace(r.treatments[0], action="kept"),)),
        altered(treatments=lambda r: (replace(r.treatments[0], instance_id=9),)),
        altered(instances=lambda r: (*r.instances, instance(2, "face", (100, 80, 120, 90)))),
    ],
)
def test_a_result_that_breaks_the_contract_is_withheld(tmp_path: Path, change: Callable[[Result], Any]) -> None:
    class Careless(FakeAnonymizer):
        def __call__(self, image: Image, instances: tuple[Instance, ...] | None = None, *, key: str = "") -> Result:
            return change(super().__call__(image, instances, key=key))

    assert anonymize(tmp_path, Careless())["status"] == "failed"


@pytest.mark.parametrize("error", [VerificationFailed("no"), StageError("redraw", "no"), MemoryError(), RuntimeError()])
def test_an_anonymizer_that_raises_withholds_the_picture(tmp_path: Path, error: Exception) -> None:
    fake = FakeAnonymizer()
    fake.raises = {"a.png": error}
    assert anonymize(tmp_path, fake)["status"] in ("failed", "quarantined")


def original_as(kind: str) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(ORIGINAL).save(buffer, kind, quality=95)
    return buffer.getvalue()


@pytest.mark.parametrize("quality", [95, 20])
def test_a_jpeg_that_shows_the_original_is_withheld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quality: int
) -> None:
    image = Pillow.fromarray(ORIGINAL).resize((16, 12)).resize((SIZE[1], SIZE[0]))
    (tmp_path / "in").mkdir()
    image.save(tmp_path / "in/a.jpg", quality=quality)
    assert run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "good")).released == 1
    monkeypatch.setattr(steps, "encode_image", always((tmp_path / "in/a.jpg").read_bytes()))
    assert run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "out")).failed == 1
    assert "does not hold the verified pixels" in (tmp_path / "out/ledger.jsonl").read_text()
    assert list((tmp_path / "out/images").iterdir()) == []


@pytest.mark.parametrize(
    ("step", "replacement"),
    [
        *((step, fault) for step in ("decode_image", "encode_image", "released_record") for fault in (broken, nothing)),
        ("encode_image", always(b"")),
        ("encode_image", always(b"rubbish")),
        ("encode_image", always(original_as("PNG"))),
    ],
)
def test_reading_and_writing_at_fault_withhold_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, replacement: Callable[..., Any]
) -> None:
    monkeypatch.setattr(steps, step, replacement)
    assert anonymize(tmp_path, FakeAnonymizer())["status"] == "failed"
