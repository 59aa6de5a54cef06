"""Words, guidance and strengths for a large model; nothing of the instance's own pixels enters them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.core.records import Conditions, Instance
from anonymizer.redraw.crops import CropSetting, LongSideCrop, anonymized_region, crop_box, paint_region, paint_size
from anonymizer.redraw.diffusion import InpaintJob, _shown
from anonymizer.redraw.direction import Direction, Director
from anonymizer.redraw.redrawer import Redrawer, compose
from anonymizer.redraw.surroundings import Surroundings, describe_surroundings, describe_view

PAPER = LongSideCrop(long_side=768, margin=0.9, dilation=13, small_area=1000)


def instance(label: str = "person", box: tuple[int, int, int, int] = (40, 20, 80, 140), **other: Any) -> Instance:
    x1, y1, x2, y2 = box
    return Instance(1, label, np.array(box, np.float32), np.ones((y2 - y1, x2 - x1), bool), **other)


def job(seed: int = 1) -> InpaintJob:
    empty = np.zeros((8, 8), np.float32)
    return InpaintJob(np.zeros((8, 8, 3), np.uint8), empty > 1, empty, empty, "", seed)


def direct(direction: Direction, target: Instance, seed: int = 1, face: Instance | None = None) -> InpaintJob:
    around = Surroundings("daylight", "warm colours")
    return Director(direction).direct(job(seed), target, face, around, (200, 200), ("red", "blue"))


def test_a_scene_names_class_clothes_view_and_surroundings() -> None:
    words = direct(Direction(), instance(), face=instance("face", (50, 25, 60, 35))).prompt
    assert words == ("photo of a person, red top, blue bottom, facing the camera, street scene, daylight, warm colours")
    assert direct(Direction(), instance("license_plate")).prompt.startswith("photo of a license plate")
    assert "truck" in direct(Direction(), instance("vehicle", source="yolo:truck")).prompt
    assert "vehicle" in direct(Direction(), instance("vehicle", source="given")).prompt


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"age_group": "child"}, "photo of a child"),
        ({"helmet": True}, "wearing a helmet"),
        ({"uniform": "police"}, "in police uniform"),
    ],
)
def test_attributes_are_kept_only_where_the_setting_says_so(attributes: dict[str, Any], words: str) -> None:
    target = instance(record={"attributes": attributes})
    (name,) = attributes
    assert words in direct(Direction(keep=(name,)), target).prompt
    assert words not in direct(Direction(), target).prompt


@pytest.mark.parametrize("attributes", [{"uniform": "Jane Doe"}, {"helmet": False}, "police", None])
def test_free_text_never_reaches_a_prompt(attributes: Any) -> None:
    plain = direct(Direction(), instance()).prompt
    kept = Direction(keep=("uniform", "helmet", "age_group"))
    assert direct(kept, instance(record={"attributes": attributes})).prompt == plain


def test_strengths_and_guidance_of_the_paper() -> None:
    direction = Direction(
        wording="paper", guidance=(7.0, 7.5), scales={"person": (0.7, 0.1), "vehicle": (0.7, 0.2)}, small_area=1000
    )
    person, small = instance(), instance(box=(10, 10, 30, 40))
    assert direct(direction, person).scales == (0.7, 0.1)
    assert direct(direction, instance("vehicle")).scales == (0.7, 0.2)
    assert direct(direction, small).scales == (0.1, 0.1)
    assert {direct(direction, person, seed).guidance_scale for seed in range(30)} == {7.0, 7.5}
    assert direct(direction, person, 5).prompt == direct(direction, person, 5).prompt
    assert direct(direction, person).prompt.startswith("person, a human being")


@pytest.mark.parametrize("settings", [{"wording": "poem"}, {"keep": ("name",)}])
def test_unknown_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        Direction(**settings)


def test_surroundings_are_read_outside_of_instances_only() -> None:
    rng = np.random.default_rng(0)
    image = np.clip(rng.normal(120, 20, (200, 200, 3)), 0, 255).astype(np.uint8)
    target = instance()
    words = describe_surroundings(image, [target])
    (x1, y1, x2, y2), mask = anonymized_region(target, (200, 200))
    image[y1:y2, x1:x2][mask] = (255, 0, 0)
    assert describe_surroundings(image, [target]) == words
    whole = instance(box=(0, 0, 200, 200))
    assert describe_surroundings(image, [whole]) == Surroundings("", "")


@pytest.mark.parametrize(
    ("colour", "light", "colours"),
    [((10, 10, 12), "at night", "muted"), ((70, 60, 50), "dim light", "warm"), ((190, 200, 220), "bright", "cool")],
)
def test_light_and_colours_have_words(colour: tuple[int, int, int], light: str, colours: str) -> None:
    words = describe_surroundings(np.full((50, 50, 3), colour, np.uint8), [])
    assert light in words.light and colours in words.colours


def test_views_have_words() -> None:
    assert describe_view(instance(box=(40, 10, 80, 190)), (200, 200), None) == "close view"
    assert describe_view(instance(box=(40, 10, 50, 30)), (200, 200), None) == "seen from far away"
    assert "cut off" in describe_view(instance(box=(0, 20, 40, 80)), (200, 200), None)


def test_the_papers_crop_takes_ninety_percent_around_and_ends_with_the_picture() -> None:
    box = np.array([100, 100, 150, 200], np.float32)
    assert crop_box(box, PAPER, (1000, 1000)) == (55, 10, 195, 290)
    assert crop_box(box, PAPER, (210, 160)) == (55, 10, 160, 210)
    # The long side becomes 768; the other follows in steps of 8.
    assert paint_size((55, 10, 195, 290), PAPER) == (384, 768)
    assert paint_size((0, 0, 300, 100), PAPER) == (768, 256)


def test_the_papers_mask_grows_by_an_ellipse_of_13_and_a_small_one_does_not() -> None:
    target = instance(box=(100, 100, 150, 200))
    window = crop_box(target.box, PAPER, (400, 400))
    grown = paint_region(target, window, (400, 400), PAPER)
    rows, columns = np.flatnonzero(grown.any(axis=1)), np.flatnonzero(grown.any(axis=0))
    assert (rows[0] + window[1], rows[-1] + window[1]) == (94, 205)
    assert (columns[0] + window[0], columns[-1] + window[0]) == (94, 155)
    assert not grown[rows[0], columns[0]], "an ellipse, no square"
    small = instance(box=(100, 100, 120, 130))
    window = crop_box(small.box, PAPER, (400, 400))
    _, mask = anonymized_region(small, (400, 400))
    assert paint_region(small, window, (400, 400), PAPER).sum() == mask.sum()


@pytest.mark.parametrize("setting", [PAPER, CropSetting(64, 32, 0.1)])
@pytest.mark.parametrize("box", [(0, 0, 30, 60), (10, 90, 190, 99), (170, 150, 200, 200)])
def test_what_is_pasted_was_painted(setting: CropSetting | LongSideCrop, box: tuple[int, int, int, int]) -> None:
    target = replace(instance(box=box), label="license_plate")
    size = (200, 200)
    window = crop_box(target.box, setting, size)
    painted = paint_region(target, window, size, setting)
    (x1, y1, x2, y2), mask = anonymized_region(target, size)
    assert window[0] <= x1 and window[1] <= y1 and window[2] >= x2 and window[3] >= y2
    inside = painted[y1 - window[1] : y2 - window[1], x1 - window[0] : x2 - window[0]]
    assert (inside >= mask).all()


class Mirror:
    """Paints what it is shown."""

    def inpaint(self, jobs: Sequence[InpaintJob]) -> list[np.ndarray]:
        return [job.image for job in jobs]


@pytest.mark.parametrize("setting", [LongSideCrop(128, 0.9, 13, 1000), CropSetting(128, 64, 0.1)])
@pytest.mark.parametrize("box", [(60, 40, 101, 150), (0, 30, 51, 200), (150, 3, 200, 60)])
def test_crops_are_put_back_where_they_were_taken(
    setting: LongSideCrop | CropSetting, box: tuple[int, int, int, int]
) -> None:
    rows, columns = np.mgrid[0:200, 0:200]
    image = np.stack([rows, columns, (rows + columns) // 2], axis=2).astype(np.uint8)
    flat = Conditions(np.zeros((200, 200), np.float32), np.zeros((200, 200), np.float32))
    patches = Redrawer(Mirror(), {"person": setting}).redraw(image, image, [instance(box=box)], flat, {1: 1}, {})
    out, treated = compose(image, [patches[1]])
    assert treated.any()
    assert np.abs(out.astype(int) - image).max() <= 3


def test_words_for_light_are_of_the_filled_picture() -> None:
    # Who is filled, or was redrawn well before, is not among the instances: the original would show them.
    scene = np.full((200, 200, 3), 200, np.uint8)
    image = scene.copy()
    image[:, 100:] = (90, 0, 0)
    flat = Conditions(np.zeros((200, 200), np.float32), np.zeros((200, 200), np.float32))
    said = []

    class Heard(Mirror):
        def inpaint(self, jobs: Sequence[InpaintJob]) -> list[np.ndarray]:
            said.extend(job.prompt for job in jobs)
            return super().inpaint(jobs)

    redrawer = Redrawer(Heard(), {"person": CropSetting(128, 64, 0.1)}, director=Director(Direction()))
    for original in (image, scene):
        redrawer.redraw(original, scene, [instance()], flat, {1: 1}, {})
    assert "bright daylight" in said[0] and said[0] == said[1]


def test_a_filled_mask_takes_colours_from_around_it_and_none_from_under_it() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32], image[:, 32:] = (200, 0, 0), (0, 0, 200)
    mask = np.zeros((64, 64), bool)
    mask[10:54, 4:60] = True
    shown = _shown(replace(job(), image=np.where(mask[..., None], 77, image).astype(np.uint8), mask=mask), True)
    assert np.array_equal(shown[~mask], image[~mask])
    assert np.array_equal(shown, _shown(replace(job(), image=image, mask=mask), True))
    assert shown[32, 5, 0] > 150 and shown[32, 58, 2] > 150
    # Even where next to nothing is known, it ends, and with colours that are there.
    nearly = np.ones((64, 64), bool)
    nearly[0, 0] = False
    assert (_shown(replace(job(), image=image, mask=nearly), True)[nearly] == (200, 0, 0)).all()
    assert (_shown(replace(job(), image=image, mask=np.ones((64, 64), bool)), True) == 112).all()
