"""Originals and released pictures are paired by path, and a run's ledger is read without touching it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anonymizer.core.errors import InputError
from anonymizer.evaluation.pairing import find_pairs, read_run


def folder(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")
    return root


def ledger(output: Path, statuses: dict[str, str], tail: bytes = b"", **released: str) -> None:
    provenance = {"preset": "embedded", "models": {"dlib-face": "ab" * 32}}
    lines = [
        json.dumps(
            {"name": name, "status": status, "provenance": provenance}
            | ({"released_name": released[name[0]]} if name[0] in released else {})
        )
        for name, status in statuses.items()
    ]
    (output / "ledger.jsonl").write_bytes("".join(line + "\n" for line in lines).encode() + tail)


def test_plain_folders_pair_by_path_whatever_the_suffix(tmp_path: Path) -> None:
    originals = folder(tmp_path / "o", "a.jpg", "deep/b.jpeg", "deep/c.png", "lost.jpg")
    anonymized = folder(tmp_path / "r", "a.jpg", "deep/b.png", "deep/c.png", "new.png")
    pairing = find_pairs(originals, anonymized, tmp_path / "out")
    assert [pair.name for pair in pairing.pairs] == ["a.jpg", "deep/b.jpeg", "deep/c.png"]
    assert pairing.pairs[1].anonymized == anonymized / "deep/b.png"
    assert (pairing.missing, pairing.extra, pairing.withheld, pairing.run) == (("lost.jpg",), ("new.png",), (), None)


def test_a_run_says_what_it_withheld_and_what_verified_it(tmp_path: Path) -> None:
    originals = folder(tmp_path / "o", "a.jpg", "b.jpg", "c.jpg")
    output = tmp_path / "run"
    folder(output / "images", "a.jpg")
    # The newest line of a picture counts; a line that a killed run left unfinished does not.
    ledger(output, {"a.jpg": "released", "b.jpg": "quarantined"}, tail=b'{"name": "c.jpg", "sta')
    before = (output / "ledger.jsonl").read_bytes()
    pairing = find_pairs(originals, output, tmp_path / "out")
    assert [pair.anonymized for pair in pairing.pairs] == [output / "images" / "a.jpg"]
    assert (pairing.withheld, pairing.missing) == (("b.jpg",), ("c.jpg",))
    assert pairing.run is not None and pairing.run.models == {"dlib-face": "ab" * 32}
    assert pairing.run.statuses == {"released": 1, "quarantined": 1} and pairing.run.presets == ("embedded",)
    assert (output / "ledger.jsonl").read_bytes() == before


def test_a_run_that_renamed_its_pictures_is_paired_by_its_ledger(tmp_path: Path) -> None:
    originals, output = folder(tmp_path / "o", "a.jpg", "b.jpg"), tmp_path / "run"
    folder(output / "images", "5f/77.png", "b.png")
    ledger(output, {"a.jpg": "released", "b.jpg": "released"}, a="5f/77.png", b="b.png")
    pairs = find_pairs(originals, output, tmp_path / "out").pairs
    assert [pair.anonymized.relative_to(output / "images").as_posix() for pair in pairs] == ["5f/77.png", "b.png"]


def test_a_second_anonymization_is_found_beside_the_first(tmp_path: Path) -> None:
    originals, first = folder(tmp_path / "o", "a.jpg", "b.jpg"), folder(tmp_path / "r", "a.jpg", "b.jpg")
    again = folder(tmp_path / "s", "b.png")
    pairs = find_pairs(originals, first, tmp_path / "out", again).pairs
    assert [pair.again for pair in pairs] == [None, again / "b.png"]
    with pytest.raises(InputError, match="none has a name in common"):
        find_pairs(originals, first, tmp_path / "out", folder(tmp_path / "t", "z.png"))


@pytest.mark.parametrize(
    ("released", "message"),
    [
        (("z.jpg",), r"none of 2 originals \(first: a.jpg\).*first: z.jpg"),
        (("a.jpg", "a.png"), "differ in their suffix only"),
    ],
)
def test_wrong_folders_are_refused(tmp_path: Path, released: tuple[str, ...], message: str) -> None:
    originals = folder(tmp_path / "o", "a.jpg", "b.jpg")
    with pytest.raises(InputError, match=message):
        find_pairs(originals, folder(tmp_path / "r", *released), tmp_path / "out")


def test_the_same_folder_twice_is_no_evaluation(tmp_path: Path) -> None:
    originals = folder(tmp_path / "o", "a.jpg")
    with pytest.raises(InputError, match="both"):
        find_pairs(originals, originals, tmp_path / "out")


def test_results_do_not_go_among_the_originals(tmp_path: Path) -> None:
    originals, released = folder(tmp_path / "o", "a.jpg"), folder(tmp_path / "r", "a.jpg")
    with pytest.raises(InputError, match="lies inside"):
        find_pairs(originals, released, originals / "out")


def test_a_run_that_released_nothing_says_so(tmp_path: Path) -> None:
    originals, output = folder(tmp_path / "o", "a.jpg"), tmp_path / "run"
    output.mkdir()
    ledger(output, {"a.jpg": "quarantined"})
    with pytest.raises(InputError, match="no picture of it was released"):
        find_pairs(originals, output, tmp_path / "out")


def test_a_damaged_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b'{"name": "a"}\n')
    with pytest.raises(InputError, match="line 1: damaged"):
        read_run(path)
