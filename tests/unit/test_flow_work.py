"""What a picture on its way is asked: who rides."""

from __future__ import annotations

import numpy as np
import pytest

from anonymizer.core.records import Instance
from anonymizer.flow.work import riders


def found(number: int, label: str, box: tuple[float, ...], source: str = "centernet", score: float = 0.5) -> Instance:
    return Instance(number, label, np.array(box, np.float32), score=score, source=source)


RIDER = found(1, "person", (20, 10, 60, 100))


def cycle(box: tuple[float, ...], kind: str = "bicycle", score: float = 0.5) -> Instance:
    return found(9, "vehicle", box, f"centernet:{kind}", score)


def test_who_sits_on_a_bicycle_rides_it() -> None:
    assert riders([RIDER], [cycle((15, 60, 70, 110))]) == {1: "bicycle"}
    assert riders([RIDER], [cycle((15, 60, 70, 110)), cycle((18, 55, 66, 112), "motorcycle", 0.9)]) == {1: "motorcycle"}


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
