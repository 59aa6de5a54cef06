"""Pictures and records find each other by the longest common tail, or are named."""

import unicodedata

import pytest

from anonymizer.annotations.matching import Index, Placement


def place(records: list[str], *pictures: str) -> Placement:
    return Index(dict(enumerate(records))).place(pictures)


@pytest.mark.parametrize(
    ("record", "picture"),
    [
        ("a.jpg", "a.png"),
        ("a.JPG", "a.jpg"),
        ("A.jpg", "a.jpg"),
        ("a", "a.jpg"),
        ("a.jpg", "deep/down/a.jpg"),
        ("train2017/a.jpg", "a.jpg"),
        ("other/a.jpg", "mine/a.jpg"),  # the only ones of that name
        ("labels/train/a", "images/train/a.jpg"),
        ("train/labels/a", "train/images/a.jpg"),
        ("./data\\a.jpg", "data/a.jpg"),
        ("gtFine/x/a", "leftImg8bit/x/a_leftImg8bit.png"),
        (unicodedata.normalize("NFD", "Königsstraße/ä.jpg"), unicodedata.normalize("NFC", "Königsstraße/ä.jpg")),
        ("a.b.c", "a.b.c.png"),
        ("frame.v1.jpg", "frame.v1.png"),
        ("a.png", "a.png.jpg"),  # a label file named after the whole file name
        ("image.jpg", "image.webp"),
    ],
)
def test_one_picture_and_one_record_find_each_other(record: str, picture: str) -> None:
    assert place([record], picture, "else.png") == Placement({picture: 0}, {}, ("else.png",), ())


def test_the_longest_tail_wins_and_leftovers_are_named() -> None:
    found = place(["images/cam0/1.png", "images/cam1/1.png", "lost.png"], "cam0/1.png", "cam1/1.png", "cam1/2.png")
    assert found == Placement({"cam0/1.png": 0, "cam1/1.png": 1}, {}, ("cam1/2.png",), ("lost.png",))
    # The record of cam0 is taken by a longer tail: the other picture has none.
    assert place(["set/cam0/1.png"], "cam0/1.png", "cam1/1.png").bare == ("cam1/1.png",)
    # An exact name wins over one without suffix, letters as written over others.
    assert place(["a.jpg"], "a.png", "a.jpg").keys == {"a.jpg": 0}
    assert place(["a", "A"], "A.png", "a.png").keys == {"a.png": 0, "A.png": 1}
    assert place(["labels/1", "images/1"], "images/1.png").keys == {"images/1.png": 1}
    assert place(["a.png", "a"], "a.png", "a.jpg").keys == {"a.png": 0, "a.jpg": 1}


@pytest.mark.parametrize(
    ("records", "pictures", "held"),
    [
        (["labels/train/1", "labels/val/1"], ["1.png"], ["1.png"]),
        (["labels/train/1", "labels/val/1", "labels/val/2"], ["1.png", "2.png"], ["1.png"]),
        (["1.jpg"], ["cam0/1.png", "cam1/1.png"], ["cam0/1.png", "cam1/1.png"]),
        (["a"], ["a.jpg", "a.png"], ["a.jpg", "a.png"]),
        (["a.jpg", "a.webp"], ["a.png"], ["a.png"]),
        (["a.jpg", "a.jpg"], ["a.jpg"], ["a.jpg"]),
        # Folders that contradict each other while others share the name.
        (["train/1", "val/1"], ["train/1.png", "valid/1.png"], ["valid/1.png"]),
        ([unicodedata.normalize("NFC", "ä"), unicodedata.normalize("NFD", "ä")], ["ä.png"], ["ä.png"]),
    ],
)
def test_what_fits_equally_well_is_held_back_with_the_reason(
    records: list[str], pictures: list[str], held: list[str]
) -> None:
    found = place(records, *pictures)
    assert sorted(found.held) == held
    assert all("given regions cannot be placed" in reason and len(reason) < 400 for reason in found.held.values())
    assert not set(found.keys) & set(found.held) and not found.bare


def test_every_picture_and_record_has_one_fate_however_many_share_a_name() -> None:
    records = [f"{folder}/image.jpg" for folder in range(200)]
    pictures = [f"x{folder}/image.jpg" for folder in range(200)] + [f"{folder}/image.png" for folder in range(50)]
    found = place(records, *pictures)
    assert len(found.keys) == 50 and len(found.held) == 200 and not found.bare
    assert all("and 147 more" in reason for reason in found.held.values())
