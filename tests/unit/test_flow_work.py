"""What a picture on its way is asked: who rides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anonymizer.core.records import Instance, PersonView
from anonymizer.flow.work import riders


def found(number: int, label: str, box: tuple[float, ...], source: str = "centernet", score: float = 0.5) -> Instance:
    return Instance(number, label, np.array(box, np.float32), score=score, source=source)


RIDER = found(1, "person", (20, 10, 60, 100))


def cycle(box: tuple[float, ...], kind: str = "bicycle", score: float = 0.5) -> Instance:
    return found(9, "vehicle", box, f"centernet:{kind}", score)


def test_who_sits_on_a_bicycle_rides_it() -> None:
    bicycle, motorcycle = cycle((15, 60, 70, 110)), cycle((18, 55, 66, 112), "motorcycle", 0.9)
    assert riders([RIDER], [bicycle]) == {1: bicycle}
    assert riders([RIDER], [bicycle, motorcycle]) == {1: motorcycle}


def test_a_bicycle_has_one_rider() -> None:
    behind = found(2, "person", (55, 20, 75, 90))
    bicycle = cycle((15, 60, 70, 110))
    assert riders([behind], [bicycle]) == {2: bicycle}
    assert riders([behind, RIDER], [bicycle]) == {1: bicycle}


def test_who_pedals_rides_though_the_outline_holds_the_bicycle() -> None:
    marks, none = np.zeros((33, 3), np.float32), np.zeros(33, np.float32)
    marks[27:29, 1] = 88, 95
    view = PersonView(marks, none, none, marks, (0, 0, 120, 120), np.zeros((256, 256), np.float32), 1.0)
    whole = replace(found(1, "person", (20, 10, 60, 111)), body=view)
    bicycle = cycle((22, 60, 58, 110))
    assert riders([whole], [bicycle]) == {1: bicycle}
    marks[27:29, 1] = 106
    assert not riders([replace(whole, body=replace(view, landmarks=marks))], [bicycle])


@pytest.mark.parametrize(
    "beside",
    [
        cycle((45, 60, 95, 110)),  # beside it
        cycle((15, 60, 70, 100)),  # stands as low as its wheels
        cycle((15, 5, 70, 120)),  # in front of a larger one
        cycle((15, 120, 70, 170)),  # far below
        found(9, "vehicle", (15, 60, 70, 110), "centernet:car"),
        found(9, "text", (15, 60, 70, 110), "ocr"),
    ],
)
def test_who_stands_beside_one_does_not(beside: Instance) -> None:
    assert not riders([RIDER], [beside])


def test_only_persons_ride() -> None:
    assert not riders([found(1, "face", (20, 10, 60, 100))], [cycle((15, 60, 70, 110))])
