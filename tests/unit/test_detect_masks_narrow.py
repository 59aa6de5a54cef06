"""Masks of persons who are seen well end soon after what anything shows of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anonymizer.core.geometry import full_mask
from anonymizer.core.records import Instance, PersonView
from anonymizer.detect.masks import narrowed
from anonymizer.detect.regions import ellipse
from anonymizer.redraw.crops import grow_radius, safe_radius

SIZE = (300, 300)


def view(
    presence: float = 0.95, likely: np.ndarray | None = None, inside: float = 0.5, same: bool = True
) -> PersonView:
    mask = np.zeros((256, 256), np.float32) if likely is None else likely.copy()
    mask[28:228, 88:168] = 1 if same else 0  # rows 50 to 250, columns 110 to 190 of the picture, as the outline
    return PersonView(
        np.zeros((33, 3), np.float32),
        np.ones(33, np.float32),
        np.full(33, inside, np.float32),
        np.zeros((33, 3), np.float32),
        (22, 22, 278, 278),
        mask,
        presence,
    )


def person(**changes: object) -> Instance:
    """Somebody 200 px high, with a strip of 8 px all around and a bag of 40 px in the mask but not in the outline."""
    mask = np.zeros((240, 160), bool)
    mask[12:228, 32:128] = True
    mask[140:180, 120:160] = True
    core = np.zeros_like(mask)
    core[20:220, 40:120] = True
    one = Instance(1, "person", np.array([70, 30, 230, 270], np.float32), mask, 0.9, "yolo", core=core, body=view())
    return replace(one, **changes)


def full(instance: Instance) -> np.ndarray:
    return full_mask(instance, SIZE)


def test_a_strip_around_somebody_seen_well_goes_and_a_bag_stays() -> None:
    before, after = full(person()), full(narrowed(person()))
    assert not (after & ~before).any()
    assert after[50:250, 110:190].all()  # the outline
    assert not after[42:46, 110:190].any() and not after[100:150, 102:107].any()  # the strip
    assert after[175:205, 195:225].all()  # the bag
    assert after.sum() < 0.9 * before.sum()


def test_what_the_pose_network_sees_stays() -> None:
    likely = np.zeros((256, 256), np.float32)
    likely[78:128, 80:88] = 0.3  # rows 100 to 150, columns 102 to 110 of the picture
    after = full(narrowed(person(body=view(likely=likely))))
    assert after[102:148, 103:110].all() and not after[220:240, 102:107].any()


@pytest.mark.parametrize(
    "changes", [{"body": None}, {"body": view(0.5)}, {"body": view(same=False)}, {"core": None}, {"label": "vehicle"}]
)
def test_who_is_not_seen_well_stays_as_found(changes: dict[str, object]) -> None:
    one = person(**changes)
    assert narrowed(one) is one and safe_radius(one) == grow_radius(one.box)


def test_somebody_small_stays_as_found() -> None:
    core = np.zeros((240, 160), bool)
    core[20:90, 40:80] = True
    one = person(core=core)
    assert narrowed(one) is one


def test_of_somebody_seen_whole_the_ellipse_of_a_box_goes() -> None:
    mask = ellipse(np.array([70, 30, 230, 270], np.float32))
    core = np.zeros_like(mask)
    core[20:220, 40:120] = True
    part, whole = (full(narrowed(person(mask=mask | core, core=core, body=view(inside=i)))) for i in (0.5, 0.95))
    assert part[150, 99:107].all() and not whole[150, 99:107].any()
    assert whole[50:250, 110:190].all()  # the outline


def test_the_outline_and_the_views_stay() -> None:
    one, two = person(), narrowed(person())
    inner = replace(two, mask=two.outline, core=None)
    assert np.array_equal(full(inner), full(replace(one, mask=one.outline, core=None)))
    assert np.array_equal(two.seen, one.seen)


def test_given_masks_grow_as_much_as_ever() -> None:
    found, given = person(), person(source="given")
    assert safe_radius(found) < safe_radius(given) == grow_radius(given.box)
