import cv2
import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.core.records import Instance
from anonymizer.detect.regions import ellipse, unite
from anonymizer.verify import class_kept, face_distance, pixels_replaced, plate_text, second_pass
from anonymizer.verify.checks import outlined_person, shares_box


def textured(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    return cv2.resize(noise, (120, 120), interpolation=cv2.INTER_CUBIC)


MASK = np.zeros((120, 120), bool)
MASK[20:100, 20:100] = True
#: A face in the distance: of so few pixels much is chance.
FEW = np.zeros((120, 120), bool)
FEW[50:57, 60:65] = True


def paste(base: np.ndarray, other: np.ndarray, mask: np.ndarray) -> np.ndarray:
    out = base.copy()
    out[mask] = other[mask]
    return out


def test_another_picture_in_the_mask_passes():
    verdict = pixels_replaced(textured(0), paste(textured(0), textured(1), MASK), MASK, instance_id=4)
    assert verdict.passed and verdict.check == "pixels_replaced" and verdict.instance_id == 4


@pytest.mark.parametrize("mask", [MASK, FEW])
def test_the_original_and_its_disguises_fail(mask: np.ndarray) -> None:
    original = textured(0)
    half = mask.copy()
    half[54 if mask is FEW else 60 :] = False
    overlay = np.rint(0.7 * original + 0.3 * textured(1)).astype(np.uint8)
    disguises = {
        "unchanged": original,
        "one level brighter": np.clip(original.astype(int) + 2, 0, 255).astype(np.uint8),
        "darker": (original * 0.6).astype(np.uint8),
        "blurred": cv2.GaussianBlur(original, (0, 0), 1.2),
        "half of it": paste(original, textured(1), half),
        "overlay": overlay,
    }
    for name, result in disguises.items():
        verdict = pixels_replaced(original, result, mask)
        assert not verdict.passed, name
        assert verdict.value > verdict.threshold


def test_flat_areas_may_coincide_but_not_everywhere():
    flat = np.full((120, 120, 3), 30, np.uint8)
    redrawn = flat.copy()
    redrawn[20:40] = 60
    assert pixels_replaced(flat, redrawn, MASK).passed
    assert not pixels_replaced(flat, flat, MASK).passed


def test_only_the_feathered_rim_is_left_out():
    core = np.zeros_like(MASK)
    core[24:96, 24:96] = True
    result = paste(textured(0), textured(1), core)
    ring = MASK & ~core
    assert not pixels_replaced(textured(0), result, ring).passed
    assert (
        pixels_replaced(textured(0), result, MASK, feather=4).value < pixels_replaced(textured(0), result, MASK).value
    )
    # A mask thinner than its feather is judged whole.
    assert not pixels_replaced(textured(0), textured(0), ring, feather=9).passed


def test_frames_must_agree_and_a_check_of_nothing_fails():
    with pytest.raises(InputError, match="equal frames"):
        pixels_replaced(textured(0), textured(0)[:50], MASK)
    assert not pixels_replaced(textured(0), textured(1), np.zeros_like(MASK)).passed


def at(label: str, *box: int, number: int = 1) -> Instance:
    x1, y1, x2, y2 = box
    return Instance(number, label, np.array(box, np.float32), np.ones((y2 - y1, x2 - x1), bool))


def test_class_kept_wants_the_class_at_the_place():
    person = at("person", 10, 10, 50, 90)
    assert class_kept(person, (at("person", 12, 12, 50, 90),)).passed
    assert not class_kept(person, (at("face", 10, 10, 50, 90),)).passed
    assert not class_kept(person, (at("person", 10, 10, 50, 60),)).passed
    assert class_kept(person, (at("person", 10, 10, 50, 60),), least_iou=0.5).passed
    assert class_kept(at("face", 10, 10, 50, 90), (at("face", 10, 10, 50, 60),)).passed
    assert class_kept(person, ()).value == 0.0


def test_class_kept_goes_by_single_views_where_several_were_united():
    person = at("person", 10, 10, 50, 90)
    wide = at("person", 0, 0, 90, 100)
    assert not class_kept(person, (wide,)).passed
    assert class_kept(person, (unite((at("person", 11, 10, 50, 92), wide)),)).passed
    assert not class_kept(person, (unite((at("person", 60, 10, 90, 90), wide)),)).passed


def test_class_kept_goes_by_the_outline_that_annotations_give():
    wide = np.zeros((80, 80), bool)
    wide[:, :40] = True
    person = Instance(1, "person", np.array([10, 10, 90, 90], np.float32), np.ones((80, 80), bool), core=wide)
    assert class_kept(person, (at("person", 10, 10, 50, 90),)).value == 1.0
    assert not class_kept(person, (at("person", 10, 10, 90, 90),)).passed


def test_a_box_is_shared_from_a_tenth_on_by_another_person_alone():
    person = at("person", 10, 10, 50, 90)
    assert shares_box(person, (at("person", 46, 10, 90, 90, number=2),))
    assert not shares_box(person, (at("person", 47, 10, 90, 90, number=2),))
    assert not shares_box(person, (person, at("face", 10, 10, 50, 90, number=2)))
    assert not shares_box(at("face", 10, 10, 50, 90), (at("person", 10, 10, 50, 90, number=2),))
    assert not shares_box(person, ())


def test_face_distance_is_strict():
    assert face_distance(0.3, 0.4).passed
    assert not face_distance(0.4, 0.4).passed
    assert not face_distance(float("nan"), 0.4).passed


@pytest.mark.parametrize(
    ("old", "new", "passed"),
    [
        ("KR 58 WTX", "KR-58-WTX", False),
        ("KR58WTX", "XKR58WTX9", False),
        ("KR58WTX", "R58WTX", False),
        ("B0I58", "801S8", False),
        ("KR58WTX", "BD47LMN", True),
        ("KR58WTX", "KR58LMN", False),
        ("KR58WTX", "", True),
        ("KR", "KR", True),
    ],
)
def test_plate_text_compares_what_can_be_read(old, new, passed):
    assert plate_text([old], [new]).passed is passed


def test_plate_text_takes_the_worst_pair_and_passes_without_readings():
    assert not plate_text(["TEXAS", "KR58WTX"], ["LMN", "KR58WTX"]).passed
    assert plate_text([], ["KR58WTX"]).passed and plate_text(["KR58WTX"], []).passed


def test_second_pass_returns_what_is_not_treated():
    treated = np.zeros((100, 100), bool)
    treated[:50] = True
    inside, outside, half = at("face", 0, 0, 20, 20), at("face", 0, 60, 20, 80), at("person", 0, 40, 20, 70)
    assert second_pass((inside, outside, half), treated) == [outside, half]
    assert second_pass((half,), treated, least_cover=0.3) == []


def test_a_redrawn_person_has_the_outline_of_one():
    box = np.array([0, 0, 40, 80], np.float32)
    rectangle, person = Instance(1, "person", box), Instance(2, "person", box, ellipse(box))
    assert rectangle.boxed and not outlined_person(rectangle).passed
    assert not person.boxed and outlined_person(person).passed
