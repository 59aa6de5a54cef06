"""Pictures anonymized together: each comes out as it would alone, and nobody pays for another's fault."""

import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.core.errors import ModelError
from anonymizer.run import prefetch as steps
from anonymizer.run.audit import audit
from anonymizer.run.local import run, run_workers
from anonymizer.run.picture import Picture
from anonymizer.run.prefetch import groups
from anonymizer.run.processes import ProcessCrew
from anonymizer.run.request import Request
from anonymizer.run.runner import Task

from .fakes import FakeAnonymizer
from .group_fakes import GroupFake

#: One of every fate, in the order in which a run takes them.
FATES = ("a.png", "b.png", "crowd.png", "cut.png", "given.png", "reject.png", "stage.png", "x.png", "y.png", "z.png")


def pictures(folder: Path, *names: str, sizes: Sequence[tuple[int, int]] = ((32, 24),)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, (name, (width, height)) in enumerate(zip(names, itertools.cycle(sizes), strict=False)):
        pixels = np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
        if name.startswith("cut"):
            (folder / name).write_bytes((folder / name).read_bytes()[:200])
    return folder


def lines(output: Path) -> list[dict[str, Any]]:
    """Return the ledger without what differs from run to run."""
    read = [json.loads(line) for line in (output / "ledger.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("timings_s", "previous")} for line in read]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def given_groups(marks: Path) -> list[str]:
    return (marks / "groups").read_text().splitlines() if (marks / "groups").exists() else []


def seen(marks: Path, name: str) -> int:
    return (marks / "seen").read_text().splitlines().count(name)


def check_equal(output: Path, calm: Path) -> None:
    assert contents(output / "images") == contents(calm / "images")
    assert lines(output) == lines(calm)
    for name in ("annotations.json", "quarantine.txt"):
        assert (output / name).read_bytes() == (calm / name).read_bytes()
    assert audit(output).clean


@pytest.mark.parametrize("together", [2, 3, 50])
def test_each_picture_comes_out_as_it_would_alone(tmp_path: Path, together: int) -> None:
    source, marks = pictures(tmp_path / "in", *FATES), tmp_path / "marks"
    marks.mkdir()
    summary = run(GroupFake(tmp_path, 1), Request(source, tmp_path / "calm"))
    assert (summary.released, summary.quarantined, summary.failed) == (6, 1, 3)
    assert given_groups(tmp_path) == []
    run(GroupFake(marks, together), Request(source, tmp_path / "out"))
    check_equal(tmp_path / "out", tmp_path / "calm")
    assert all(line["timings_s"].keys() >= {"read", "anonymize", "write"} for line in timed(tmp_path / "out"))
    if together == 3:
        # Of the second group one cannot be read, and the last picture has no company.
        assert given_groups(marks) == ["a.png b.png crowd.png", "given.png reject.png", "stage.png x.png y.png"]


def timed(output: Path) -> Iterator[dict[str, Any]]:
    for line in (output / "ledger.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["status"] == "released":
            yield record


def test_time_together_is_shared_and_the_stages_clocks_are_not_told(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png", "c.png", "d.png", "e.png")
    run(GroupFake(tmp_path, 4, delay_s=0.1), Request(source, tmp_path / "out"))
    first, *_, last = timed(tmp_path / "out")
    assert 0.1 <= first["timings_s"]["anonymize"] < 0.4 and "redraw" not in first["timings_s"]
    assert last["timings_s"]["redraw"] == 0.01


def test_pictures_meet_in_order_and_no_more_are_taken_than_a_group_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "CONTENT", 100)
    taken: list[str] = []

    def tasks(*sizes: int) -> Iterator[Task]:
        for number, size in enumerate(sizes):
            taken.append(str(number))
            yield Task(str(number), b"x" * size, None, "", None)

    def names(*sizes: int, together: int) -> list[str]:
        return ["".join(task.name for task in group) for group in groups(tasks(*sizes), together)]

    assert names(1, 1, 1, 1, 1, together=2) == ["01", "23", "4"]
    assert names(1, 1, together=1) == ["0", "1"]
    assert names(60, 40, 1, 200, 1, 99, 1, together=8) == ["01", "2", "3", "45", "6"]
    assert names(together=8) == []
    taken.clear()
    assert len(next(groups(tasks(1, 1, 1, 1), 2))) == 2
    assert taken == ["0", "1"]


def test_memory_holds_three_groups_or_one_large_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LARGE", 3000)
    sizes = [(32, 24)] * 27 + [(80, 60)] + [(32, 24)] * 2  # 768 pixels each, and once 4800
    names = [f"{n:02}.png" for n in range(30)]
    source = pictures(tmp_path / "in", *names, sizes=sizes)
    lock, held, most, company = threading.Lock(), {}, [], []
    read, write = Picture.read, Picture.write

    def reading(self: Picture) -> None:
        read(self)
        with lock:
            assert self._decoded is not None
            held[self._name] = self._decoded.pixels.shape[0] * self._decoded.pixels.shape[1]
            most.append(sum(held.values()))
            if "27.png" in held:
                company.append(len(held))

    def writing(self: Picture) -> Any:
        with lock:
            del held[self._name]
        return write(self)

    monkeypatch.setattr(Picture, "read", reading)
    monkeypatch.setattr(Picture, "write", writing)
    assert run(GroupFake(tmp_path, 8, delay_s=0.01), Request(source, tmp_path / "out")).released == 30
    # Of eight pictures handed in, three at a time have fewer than 3000 pixels, and a large one is left alone.
    given = [line.split() for line in given_groups(tmp_path)]
    assert len(given) > 5 and all(len(group) <= 3 and "27.png" not in group for group in given)
    assert 3000 < max(most) <= 3 * 3000
    assert company == [1]


@pytest.mark.parametrize("fault", ["raises", "too few"])
def test_a_group_that_fails_as_a_whole_is_done_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    source = pictures(tmp_path / "in", *FATES)
    run(GroupFake(tmp_path, 1), Request(source, tmp_path / "calm"))
    many = GroupFake.anonymize_many

    def broken(self: GroupFake, *arguments: Any) -> Any:
        answers = many(self, *arguments)
        if fault == "raises":
            raise RuntimeError("can't start new thread")
        return answers[1:]

    monkeypatch.setattr(GroupFake, "anonymize_many", broken)
    run(GroupFake(tmp_path, 4), Request(source, tmp_path / "out"))
    assert given_groups(tmp_path)
    check_equal(tmp_path / "out", tmp_path / "calm")


@pytest.mark.parametrize("where", ["answer", "raised"])
def test_models_that_cannot_be_used_end_the_run_resumably(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png", "c.png", "d.png", "e.png")

    def broken(self: GroupFake, images: Any, instances: Any, keys: Sequence[str]) -> Any:
        if where == "raised":
            raise ModelError("weights missing")
        made = [self(*pair, key=key) for *pair, key in zip(images, instances, keys, strict=True)]
        return [*made[:-1], ModelError("weights missing")]

    with monkeypatch.context() as patch:
        patch.setattr(GroupFake, "anonymize_many", broken)
        with pytest.raises(ModelError, match="weights missing"):
            run(GroupFake(tmp_path, 2), Request(source, tmp_path / "out"))
    assert not (tmp_path / "out/annotations.json").exists()
    assert run(GroupFake(tmp_path, 3), Request(source, tmp_path / "out")).released == 5
    assert audit(tmp_path / "out").clean


def test_a_change_outside_of_the_treated_mask_costs_its_picture_only(tmp_path: Path) -> None:
    class Spilling(GroupFake):
        def anonymize_many(self, images: Any, instances: Any, keys: Any) -> Any:
            answers = super().anonymize_many(images, instances, keys)
            answers[1].image.flags.writeable = True
            answers[1].image[-1, -1] ^= 255
            return answers

    source = pictures(tmp_path / "in", "a.png", "b.png", "c.png")
    summary = run(Spilling(tmp_path, 3), Request(source, tmp_path / "out"))
    assert (summary.released, summary.failed) == (2, 1)
    assert set(contents(tmp_path / "out/images")) == {"a.png", "c.png"}


def test_an_earlier_run_goes_on_whatever_was_together(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png", "c.png")
    run(FakeAnonymizer(), Request(source, tmp_path / "out"))
    pictures(source, "a.png", "b.png", "c.png", "d.png", "e.png")
    assert run(GroupFake(tmp_path, 2), Request(source, tmp_path / "out")).skipped == 3
    assert given_groups(tmp_path) == ["d.png e.png"]


def test_processes_make_together_what_one_thread_makes_alone(tmp_path: Path) -> None:
    source, marks = pictures(tmp_path / "in", *FATES), tmp_path / "marks"
    marks.mkdir()
    run(GroupFake(tmp_path, 1), Request(source, tmp_path / "calm"))
    summary = run_workers(
        ProcessCrew(partial(GroupFake, marks, 3)), Request(source, tmp_path / "out"), workers=2, timeout_s=60
    )
    assert (summary.released, summary.quarantined, summary.failed) == (6, 1, 3)
    assert sorted(given_groups(marks)) == ["a.png b.png crowd.png", "given.png reject.png", "stage.png x.png y.png"]
    check_equal(tmp_path / "out", tmp_path / "calm")


def test_one_that_hangs_in_company_is_found_out_and_costs_no_other(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "sleep.png", "x.png", "y.png", "z.png")
    summary = run_workers(ProcessCrew(partial(GroupFake, tmp_path, 2)), Request(source, tmp_path / "out"), timeout_s=5)
    assert (summary.released, summary.failed) == (4, 1)
    (failed,) = (line for line in lines(tmp_path / "out") if line["status"] == "failed")
    assert failed["name"] == "sleep.png" and "anonymize: took longer than 5 s" in failed["reason"]
    assert [seen(tmp_path, name) for name in ("a.png", "sleep.png", "x.png")] == [2, 2, 1]
    assert given_groups(tmp_path)[0] == "a.png sleep.png"
    assert audit(tmp_path / "out").clean


def test_one_that_kills_its_worker_in_company_is_found_out_and_costs_no_other(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "die.png", "once.png", "reject.png", "x.png")
    summary = run_workers(ProcessCrew(partial(GroupFake, tmp_path, 4)), Request(source, tmp_path / "out"), timeout_s=60)
    assert (summary.released, summary.quarantined, summary.failed) == (3, 1, 1)
    (failed,) = (line for line in lines(tmp_path / "out") if line["status"] == "failed")
    assert failed["name"] == "die.png" and "exit code -9" in failed["reason"]
    # In company it might have been another; alone, it is given a second chance as any picture is.
    assert seen(tmp_path, "die.png") == 3
    assert seen(tmp_path, "once.png") == 2
    assert given_groups(tmp_path) == ["a.png die.png once.png reject.png"]
    assert audit(tmp_path / "out").clean


def test_pictures_together_have_as_long_as_one_after_the_other(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b.png", "c.png")
    run_workers(
        ProcessCrew(partial(GroupFake, tmp_path, 3, delay_s=2.5)), Request(source, tmp_path / "out"), timeout_s=5
    )
    assert {line["status"] for line in lines(tmp_path / "out")} == {"released"}
    assert [seen(tmp_path, name) for name in ("a.png", "b.png", "c.png")] == [1, 1, 1]
