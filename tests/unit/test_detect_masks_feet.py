import numpy as np
import pytest

from anonymizer.core.geometry import full_mask
from anonymizer.core.records import Instance
from anonymizer.detect.masks import with_feet

SIZE = (300, 200)


def person(box: list[float]) -> Instance:
    x1, y1, x2, y2 = (int(v) for v in box)
    return Instance(1, "person", np.array(box, np.float32), np.ones((y2 - y1, x2 - x1), bool))


def test_who_stands_gets_room_for_feet_and_keeps_the_outline() -> None:
    standing = person([80, 40, 140, 240])
    wide = with_feet(standing, SIZE)
    assert wide.box.tolist() == [74, 40, 146, 246]
    before, after = full_mask(standing, SIZE), full_mask(wide, SIZE)
    assert (after | before == after).all() and after[244, 110] and after[235, 76]
    # Only the lowest part grows.
    assert not after[:200][~before[:200]].any()
    outline = np.zeros(SIZE, bool)
    outline[40:246, 74:146] = wide.outline
    assert (outline == before).all()
    assert wide.seen.tolist() == [[80, 40, 140, 240]]


@pytest.mark.parametrize("box", [[80, 100, 140, 300], [20, 40, 160, 240], [10, 10, 16, 24]])
def test_who_is_cut_off_sits_or_is_tiny_stays_the_same(box: list[float]) -> None:
    alone = person(box)
    assert with_feet(alone, SIZE) is alone


def test_room_ends_with_the_picture() -> None:
    assert with_feet(person([0, 90, 60, 296]), SIZE).box.tolist() == [0, 90, 66, 300]


def test_room_begins_where_the_mask_ends() -> None:
    mask = np.ones((200, 60), bool)
    mask[150:] = False
    wide = with_feet(Instance(1, "person", np.array([80, 40, 140, 240], np.float32), mask), SIZE)
    grown = full_mask(wide, SIZE)
    assert grown[195, 110] and grown[170, 76] and not grown[197:].any() and not grown[:160, 76].any()
