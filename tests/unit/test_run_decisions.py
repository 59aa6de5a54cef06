"""Decisions of reviewers: their chain, what they ask of a run, and what a run makes of them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.core.errors import InputError
from anonymizer.core.records import Instance
from anonymizer.images.release import Release
from anonymizer.run.audit import audit
from anonymizer.run.decisions import REVIEW, Instructions, Reviews
from anonymizer.run.ledger import Ledger
from anonymizer.run.local import run
from anonymizer.run.output import OutputFolder, hold_back
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer, rejection

DIGEST = "a" * 64
MISSED: dict[str, Any] = {"label": "person", "bbox": [20, 10, 8, 12]}


class Wished(FakeAnonymizer):
    """Treats marks, and remembers with what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, tuple[Instance, ...] | None] = {}

    def __call__(self, image: Any, instances: Any = None, *, key: str = "") -> Any:
        self.asked[key] = instances
        marks = None if instances is None else tuple(i for i in instances if i.wish is None)
        return super().__call__(image, marks, key=key)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for index, name in enumerate(["a.png", "b.png", "c.png"]):
        pixels = np.random.default_rng(index).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    return tmp_path / "in"


@pytest.fixture
def output(source: Path) -> Path:
    run(FakeAnonymizer(), Request(source, source.parent / "out"))
    return source.parent / "out"


def records(output: Path) -> dict[str, dict[str, Any]]:
    return {line["name"]: line for line in map(json.loads, (output / "ledger.jsonl").read_text().splitlines())}


def decide(output: Path, name: str, decision: str, reviewer: str = "Ana", **fields: Any) -> dict[str, Any]:
    """Add a decision as a review does."""
    with OutputFolder(output) as folder:
        record = Ledger.open(output).get(name)
        assert record is not None
        if decision != "undo":
            fields = {"input_sha256": record["input_sha256"], "output_sha256": record["output_sha256"], **fields}
        reviews = Reviews.open(output)
        made = reviews.append(name, decision, reviewer, **fields)
        hold_back(folder, record, reviews)
        folder.seal_review(reviews)
    return made


def details(output: Path) -> list[str]:
    return [f"{found.kind}: {found.name}" for found in audit(output).findings]


def test_every_decision_names_the_one_before(tmp_path: Path) -> None:
    reviews = Reviews.open(tmp_path)
    first = reviews.append("a.png", "accept", "Ana", input_sha256=DIGEST, output_sha256=DIGEST)
    reviews.append("a.png", "undo", "Bea", of=first["number"])
    lines = (tmp_path / REVIEW).read_bytes().splitlines()
    assert json.loads(lines[0])["previous"] == "0" * 64
    assert json.loads(lines[1])["previous"] == hashlib.sha256(lines[0]).hexdigest()
    assert [json.loads(line)["schema_version"] for line in lines] == [1, 1]
    again = Reviews.open(tmp_path)
    assert (again.head, again.lines) == (reviews.head, 2)
    assert again["a.png"].lines == reviews["a.png"].lines


@pytest.mark.parametrize("change", ["alter", "remove", "swap", "forge"])
def test_decisions_that_were_changed_are_refused(tmp_path: Path, change: str) -> None:
    reviews = Reviews.open(tmp_path)
    for number in range(3):
        fields: dict[str, Any] = {"input_sha256": DIGEST, "output_sha256": DIGEST}
        reviews.append(f"{number}.png", "missed", "Ana", **fields, **MISSED)
    lines = (tmp_path / REVIEW).read_text().splitlines(keepends=True)
    changed = {
        "alter": [lines[0].replace("Ana", "Bea"), *lines[1:]],
        "remove": [lines[0], lines[2]],
        "swap": [lines[1], lines[0], lines[2]],
        "forge": [*lines, lines[2]],
    }
    (tmp_path / REVIEW).write_text("".join(changed[change]))
    with pytest.raises(InputError, match="does not follow the line before it"):
        Reviews.open(tmp_path)


def test_a_line_that_was_not_written_whole_is_cut_off(tmp_path: Path) -> None:
    Reviews.open(tmp_path).append("a.png", "accept", "Ana", input_sha256=DIGEST, output_sha256=DIGEST)
    whole = (tmp_path / REVIEW).read_bytes()
    (tmp_path / REVIEW).write_bytes(whole + b'{"previous": ')
    assert Reviews.open(tmp_path).lines == 1
    assert (tmp_path / REVIEW).read_bytes() == whole


@pytest.mark.parametrize(
    ("decision", "fields", "message"),
    [
        ("praise", {}, "expected one of missed, false_find"),
        ("accept", {"output_sha256": None}, "output_sha256: expected 64 hexadecimal digits"),
        ("missed", {"label": "dog", "bbox": [1, 1, 2, 2]}, "label: expected one of person"),
        ("missed", {"label": "person"}, "expected bbox or segmentation"),
        ("missed", {"label": "person", "bbox": [1, 1, 2, 2], "segmentation": [[1, 1, 2, 2, 3, 3]]}, "bbox or segm"),
        ("missed", {"label": "person", "bbox": [1, 1, 0, 2]}, "with an area"),
        ("missed", {"label": "person", "bbox": [1, 1, float("nan"), 2]}, "with an area"),
        ("missed", {"label": "person", "segmentation": [[1, 1, 2, 2]]}, "one polygon of 3 to"),
        ("fill", {"label": "person"}, "bbox: expected x, y"),
        ("reject", {"comment": "two\nlines"}, "on one line"),
        ("undo", {"of": 7}, "a decision on this picture that stands"),
    ],
)
def test_what_is_no_decision_is_refused(tmp_path: Path, decision: str, fields: dict[str, Any], message: str) -> None:
    reviews = Reviews.open(tmp_path)
    with pytest.raises(InputError, match=message):
        reviews.append("a.png", decision, "Ana", **({"input_sha256": DIGEST, "output_sha256": DIGEST} | fields))
    assert not (tmp_path / REVIEW).exists()


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leads out"):
        Reviews.open(tmp_path).append("../a.png", "accept", "Ana", input_sha256=DIGEST, output_sha256=DIGEST)


def test_a_later_schema_is_refused_by_name(tmp_path: Path) -> None:
    Reviews.open(tmp_path).append("a.png", "accept", "Ana", input_sha256=DIGEST, output_sha256=DIGEST)
    text = (tmp_path / REVIEW).read_text()
    (tmp_path / REVIEW).write_text(text.replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(InputError, match="schema version '2'"):
        Reviews.open(tmp_path)


def test_the_last_wish_about_an_instance_counts_and_undone_ones_do_not(tmp_path: Path) -> None:
    reviews = Reviews.open(tmp_path)
    seen = {"input_sha256": DIGEST, "output_sha256": DIGEST}
    reviews.append("a.png", "redraw", "Ana", **seen, label="person", bbox=[10, 10, 20, 40])
    reviews.append("a.png", "fill", "Ana", **seen, label="person", bbox=[11, 10, 20, 41])
    reviews.append("a.png", "fill", "Ana", **seen, label="face", bbox=[11, 10, 20, 41])
    mark = reviews.append("a.png", "missed", "Ana", **seen, **MISSED)
    asked = reviews["a.png"].instructions
    assert [(wish["label"], wish["wish"]) for wish in asked.wishes] == [("person", "fill"), ("face", "fill")]
    assert (len(asked.marks), asked.redraws) == (1, 1)
    before = asked.digest
    reviews.append("a.png", "undo", "Ana", of=mark["number"])
    assert reviews["a.png"].instructions.marks == ()
    assert reviews["a.png"].instructions.digest != before
    assert Instructions().digest is None


def test_instances_say_who_gave_them(tmp_path: Path) -> None:
    marks = (MISSED, {"label": "face", "segmentation": [[1, 1, 9, 1, 9, 9]]})
    wishes = ({"label": "person", "bbox": [1, 1, 5, 5], "wish": "leave"},)
    mark, polygon, wish = Instructions((DIGEST,), marks, wishes).instances((24, 32), first=4)
    assert (mark.id, mark.source, mark.given, mark.wish, mark.boxed) == (4, "given:review", True, None, True)
    assert not polygon.boxed and 20 < polygon.mask.sum() < 45
    assert (wish.id, wish.wish) == (6, "leave")
    with pytest.raises(InputError, match="box outside of the picture"):
        Instructions((DIGEST,), ({"label": "person", "bbox": [90, 1, 5, 5]},)).instances((24, 32))


def test_a_marked_picture_is_withdrawn_at_once_and_only_it_is_redone(source: Path, output: Path) -> None:
    before = {name: (output / "images" / name).read_bytes() for name in ("b.png", "c.png")}
    decide(output, "a.png", "missed", **MISSED)
    assert not (output / "images/a.png").exists()
    assert details(output) == ["review: images/a.png"]
    fake = Wished()
    summary = run(fake, Request(source, output))
    assert list(fake.asked) == ["a.png"]
    assert (summary.released, summary.skipped) == (3, 2)
    assert {name: (output / "images" / name).read_bytes() for name in before} == before
    (mark,) = records(output)["a.png"]["instances"]
    assert (mark["label"], mark["source"], mark["box"]) == ("person", "given:review", [20, 10, 28, 22])
    assert "review: 1 marked as missed" in records(output)["a.png"]["notes"]
    assert audit(output).clean
    assert not (output / ".state/held/a.png").exists()
    again = Wished()
    run(again, Request(source, output))
    assert again.asked == {}
    assert audit(output).clean


def test_a_decision_that_is_undone_before_the_run_leaves_all_as_it_was(source: Path, output: Path) -> None:
    before = (output / "images/a.png").read_bytes()
    mark = decide(output, "a.png", "missed", **MISSED)
    assert not (output / "images/a.png").exists()
    decide(output, "a.png", "undo", of=mark["number"])
    assert (output / "images/a.png").read_bytes() == before
    assert audit(output).clean
    fake = Wished()
    run(fake, Request(source, output))
    assert fake.asked == {}


def test_a_picture_that_was_altered_while_held_back_does_not_come_back(output: Path) -> None:
    mark = decide(output, "a.png", "missed", **MISSED)
    (output / ".state/held/a.png").write_bytes(b"another")
    decide(output, "a.png", "undo", of=mark["number"])
    assert not (output / "images/a.png").exists()
    assert details(output) == ["missing: images/a.png"]


def test_a_review_that_was_killed_before_it_withdrew_the_picture_is_caught(source: Path, output: Path) -> None:
    record = records(output)["a.png"]
    seen = {key: record[key] for key in ("input_sha256", "output_sha256")}
    Reviews.open(output).append("a.png", "missed", "Ana", **seen, **MISSED)
    assert (output / "images/a.png").exists()
    assert details(output) == [f"review: {REVIEW}", "review: images/a.png"]
    fake = Wished()
    run(fake, Request(source, output))
    assert list(fake.asked) == ["a.png"]
    assert audit(output).clean


def test_a_rejected_picture_leaves_images_and_comes_back_when_that_is_undone(source: Path, output: Path) -> None:
    rejected = decide(output, "a.png", "reject", comment="a poster of the mayor")
    assert not (output / "images/a.png").exists()
    summary = run(Wished(), Request(source, output))
    assert (summary.released, summary.quarantined) == (2, 1)
    assert "rejected in review: a poster of the mayor" in (output / "quarantine.txt").read_text()
    assert audit(output).clean
    assert not list((output / ".state/held").rglob("*.png"))
    decide(output, "a.png", "undo", of=rejected["number"])
    assert run(Wished(), Request(source, output)).released == 3
    assert audit(output).clean


def test_another_redraw_starts_from_other_chance_and_wishes_reach_the_anonymizer(source: Path, output: Path) -> None:
    decide(output, "a.png", "redraw", label="person", bbox=[0, 0, 16, 12])
    decide(output, "b.png", "false_find", label="person", bbox=[0, 0, 16, 12])
    fake = Wished()
    run(fake, Request(source, output))
    assert list(fake.asked) == ["a.png\n1", "b.png"]
    assert {key: [i.wish for i in asked or ()] for key, asked in fake.asked.items()} == {
        "a.png\n1": ["redraw"],
        "b.png": ["leave"],
    }
    assert "review: 1 left as false finds" in records(output)["b.png"]["notes"]


@pytest.mark.parametrize("kept", [0.0, 0.9])
def test_a_mark_that_is_dropped_or_cut_on_the_way_fails_the_picture(source: Path, output: Path, kept: float) -> None:
    class Dropping(FakeAnonymizer):
        def __call__(self, image: Any, instances: Any = None, *, key: str = "") -> Any:
            cut = [Instance(1, i.label, i.box * [1, 1, 1, kept]) for i in instances or () if kept]
            return super().__call__(image, tuple(cut), key=key)

    decide(output, "a.png", "missed", **MISSED)
    summary = run(Dropping(), Request(source, output))
    assert (summary.released, summary.failed) == (2, 1)
    assert "not all that was marked in review was treated" in records(output)["a.png"]["reason"]
    assert not (output / "images/a.png").exists()


def test_marks_of_another_source_are_not_laid_on_a_new_one(source: Path, output: Path) -> None:
    decide(output, "a.png", "missed", **MISSED)
    (source / "c.png").replace(source / "a.png")
    run(Wished(), Request(source, output))
    assert records(output)["a.png"]["status"] == "quarantined"
    assert "has changed since it was reviewed" in records(output)["a.png"]["reason"]


def test_decisions_survive_overwrite(source: Path, output: Path) -> None:
    decide(output, "a.png", "missed", **MISSED)
    fake = Wished()
    run(fake, Request(source, output, overwrite=True))
    assert {key: len(asked or ()) for key, asked in fake.asked.items()} == {"a.png": 1, "b.png": 0, "c.png": 0}
    assert not (output / ".state/held").exists() or not list((output / ".state/held").rglob("*.png"))
    assert audit(output).clean


def test_a_marked_picture_that_left_input_is_withdrawn(source: Path, output: Path) -> None:
    decide(output, "a.png", "missed", **MISSED)
    (source / "a.png").unlink()
    run(Wished(), Request(source, output))
    assert records(output)["a.png"]["status"] == "withdrawn"
    assert audit(output).clean
    assert not list((output / ".state/held").rglob("*.png"))


def test_lines_that_the_seal_vouches_for_may_not_go(source: Path, output: Path) -> None:
    decide(output, "a.png", "missed", **MISSED)
    decide(output, "b.png", "accept")
    lines = (output / REVIEW).read_bytes().splitlines(keepends=True)
    (output / REVIEW).write_bytes(lines[0])
    assert f"review: {REVIEW}" in details(output)
    with pytest.raises(InputError, match="lacks decisions that the seal vouches for"):
        run(Wished(), Request(source, output))
    (output / REVIEW).unlink()
    with pytest.raises(InputError, match="lacks decisions"):
        run(Wished(), Request(source, output))


def test_a_broken_chain_stops_the_run_and_is_told_by_verify(source: Path, output: Path) -> None:
    decide(output, "a.png", "missed", **MISSED)
    path = output / REVIEW
    path.write_text(path.read_text().replace("[20, 10, 8, 12]", "[0, 0, 1, 1]"))
    decide_again = pytest.raises(InputError, match="lacks decisions")
    with decide_again:
        run(Wished(), Request(source, output))
    found = audit(output)
    assert not found.clean
    path.write_text(path.read_text().replace('"number": 1', '"number": 2'))
    assert any("does not follow" in finding.detail for finding in audit(output).findings)
    with pytest.raises(InputError, match="does not follow"):
        run(Wished(), Request(source, output))


def test_a_signature_stands_for_one_picture_until_something_is_said(source: Path, output: Path) -> None:
    for name in ("a.png", "b.png"):
        decide(output, name, "accept")
    found = audit(output)
    assert found.clean and found.decisions == 2
    assert found.unsigned == ("c.png",)
    assert found.review_head == Reviews.open(output).head
    decide(output, "a.png", "missed", **MISSED)
    assert audit(output).unsigned == ("a.png", "c.png")
    run(Wished(), Request(source, output))
    assert audit(output).unsigned == ("a.png", "c.png")
    decide(output, "a.png", "accept")
    assert audit(output).unsigned == ("c.png",)


def test_without_a_review_nothing_is_said_of_one(output: Path) -> None:
    found = audit(output)
    assert (found.clean, found.decisions, found.review_head, found.unsigned) == (True, 0, "", ())
    assert "review" not in json.loads((output / "seal.json").read_text())


def test_a_withheld_picture_may_be_marked_and_tried_again(source: Path, tmp_path: Path) -> None:
    fake = FakeAnonymizer()
    fake.raises = {"a.png": rejection()}
    run(fake, Request(source, tmp_path / "held"))
    assert records(tmp_path / "held")["a.png"]["status"] == "quarantined"
    decide(tmp_path / "held", "a.png", "missed", **MISSED)
    assert audit(tmp_path / "held").clean
    assert run(Wished(), Request(source, tmp_path / "held")).released == 3


def test_marks_are_in_pixels_of_the_source_whatever_the_size_of_the_release(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((96, 128, 3), 90, np.uint8)).save(tmp_path / "in/a.png")
    out = tmp_path / "out"
    run(FakeAnonymizer(), Request(tmp_path / "in", out, release=Release(max_side=64)))
    decide(out, "a.png", "missed", label="person", bbox=[20, 10, 8, 12])
    for release, size in ((Release(max_side=64), [48, 64]), (Release(), [96, 128])):
        wished = Wished()
        run(wished, Request(tmp_path / "in", out, release=release, overwrite=True))
        (asked,) = wished.asked.values()
        assert asked is not None and asked[-1].box.tolist() == [20, 10, 28, 22]
        assert records(out)["a.png"]["size"] == size
