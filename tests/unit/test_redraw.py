"""Crops, prompts, composition and letters on plates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from anonymizer.core.colours import COLOUR_WORDS, name_colour
from anonymizer.core.records import Conditions, Instance
from anonymizer.redraw.crops import CropSetting, anonymized_region, crop_box, grow_radius, paint_size
from anonymizer.redraw.diffusion import InpaintJob
from anonymizer.redraw.plates import redraw_plate
from anonymizer.redraw.prompts import prompt, random_clothes
from anonymizer.redraw.redrawer import KNOWN, Patch, Redrawer, changed, compose, region_patch


def instance(label: str, box: tuple[float, float, float, float], number: int = 1) -> Instance:
    x1, y1, x2, y2 = box
    shape = int(np.ceil(y2) - np.floor(y1)), int(np.ceil(x2) - np.floor(x1))
    return Instance(number, label, np.array(box, np.float32), np.ones(shape, bool))


class Grey:
    """Paints grey and remembers its jobs."""

    def __init__(self) -> None:
        self.jobs: list[InpaintJob] = []

    def inpaint(self, jobs: Sequence[InpaintJob]) -> list[np.ndarray]:
        self.jobs += jobs
        return [np.full_like(job.image, 128) for job in jobs]


def conditions(size: tuple[int, int]) -> Conditions:
    return Conditions(np.zeros(size, np.float32), np.zeros(size, np.float32))


def test_treated_region_grows_the_mask_and_stays_in_the_picture() -> None:
    inside = instance("person", (20, 20, 40, 120))
    radius = grow_radius(inside.box)
    box, mask = anonymized_region(inside, (200, 200))
    assert box == (20 - radius, 20 - radius, 40 + radius, 120 + radius)
    assert mask[radius:-radius, radius:-radius].all()
    assert not mask[0, 0]
    box, mask = anonymized_region(instance("person", (0, 10, 30, 60)), (60, 30))
    assert box == (0, 10 - grow_radius(np.array([0, 10, 30, 60], np.float32)), 30, 60)
    assert mask.shape == (box[3] - box[1], box[2] - box[0])


def test_crop_has_the_shape_the_model_paints() -> None:
    x1, y1, x2, y2 = crop_box(np.array([10, 10, 30, 90], np.float32), CropSetting(192, 96, 0.1), (200, 200))
    assert (y2 - y1) / (x2 - x1) == pytest.approx(2, abs=0.05)
    assert x1 <= 10 and y1 <= 10 and x2 >= 30 and y2 >= 90


def test_large_crops_are_painted_at_twice_the_size() -> None:
    setting = CropSetting(192, 96, 0.1, double_from=1.5)
    assert paint_size((0, 0, 143, 287), setting) == (96, 192)
    assert paint_size((0, 0, 144, 288), setting) == (192, 384)
    assert paint_size((0, 0, 1000, 2000), CropSetting(192, 96, 0.1)) == (96, 192)


def test_alpha_is_one_on_the_instance_and_rises_on_the_grown_rim() -> None:
    patch = region_patch(np.zeros((200, 200, 3), np.uint8), instance("person", (60, 40, 100, 160)))
    radius = grow_radius(np.array([60, 40, 100, 160], np.float32))
    assert (patch.alpha[radius:-radius, radius:-radius] == 1).all()
    assert 0 < patch.alpha[0, patch.alpha.shape[1] // 2] < 1


def test_nearer_patches_lie_on_top() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    far = Patch((0, 0, 6, 6), np.full((6, 6, 3), 10, np.uint8), np.ones((6, 6), np.float32))
    near = Patch((4, 4, 10, 10), np.full((6, 6, 3), 20, np.uint8), np.ones((6, 6), np.float32))
    out, treated = compose(image, [far, near])
    assert out[5, 5, 0] == 20 and out[1, 1, 0] == 10 and out[0, 9, 0] == 0
    assert treated.sum() == 36 + 36 - 4


def test_plates_carry_letters_and_no_original_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    plate = instance("license_plate", (60, 40, 140, 62))
    patches = Redrawer(Grey(), {"license_plate": CropSetting(32, 64, 0.2)}).redraw(
        image, image, [plate], conditions((100, 200)), {1: 5}, {1: ("AB 123 C",)}
    )
    out, treated = compose(image, [patches[1]])
    inside = out[40:62, 60:140]
    assert treated[40:62, 60:140].all()
    assert inside.std() > 10
    assert (inside == image[40:62, 60:140]).all(axis=2).mean() < 0.02


def test_nothing_under_the_mask_depends_on_what_the_painter_is_not_shown() -> None:
    inpainter = Grey()
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    person = instance("person", (30, 10, 60, 90))
    Redrawer(inpainter, {"person": CropSetting(64, 32, 0.1)}).redraw(
        image, image, [person], conditions((100, 100)), {1: 1}, {}
    )
    job = inpainter.jobs[0]
    assert job.mask.any() and not job.mask.all()
    # Every pixel of the crop that shows some of the instance is masked.
    x1, y1, _, y2 = crop_box(person.box, CropSetting(64, 32, 0.1), (100, 100))
    scale = job.image.shape[0] / (y2 - y1)
    rows = slice(int((10 - y1) * scale), int(np.ceil((90 - y1) * scale)))
    columns = slice(int((30 - x1) * scale), int(np.ceil((60 - x1) * scale)))
    assert job.mask[rows, columns].all()


def test_prompts() -> None:
    assert prompt("person") == "a person"
    assert prompt("person", "red", "blue") == "a person, red top, blue bottom"
    drawn = {random_clothes(np.random.default_rng(n)) for n in range(50)}
    assert len(drawn) > 15
    # From afar these pass for bare skin.
    assert not {"beige", "pink"} & {word for pair in drawn for word in pair}


@pytest.mark.parametrize("name", list(COLOUR_WORDS))
def test_prototypes_are_named_as_themselves(name: str) -> None:
    assert name_colour(np.full((30, 3), COLOUR_WORDS[name], np.uint8)) == name


def test_a_new_plate_avoids_every_text_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def record(
        image: np.ndarray,
        plate: Instance,
        lines: Sequence[str],
        rng: np.random.Generator,
        base: np.ndarray,
        avoid: Sequence[str],
    ) -> object:
        asked.append((plate.id, lines, avoid))
        return redraw_plate(image, plate, lines, rng, base, avoid)

    monkeypatch.setattr("anonymizer.redraw.redrawer.redraw_plate", record)
    image = np.full((100, 200, 3), 90, np.uint8)
    plates = [instance("license_plate", (60, y, 140, y + 22), number) for number, y in ((1, 10), (2, 60))]
    redrawer = Redrawer(Grey(), {"license_plate": CropSetting(32, 64, 0.2)})
    texts = {1: ("AB12CDE",), 2: ("XY34ZZZ",), 3: ("OF A SIGN",)}
    redrawer.redraw(image, image, plates, conditions((100, 200)), {1: 5, 2: 6}, texts)
    read = ("AB12CDE", "XY34ZZZ", "OF A SIGN")
    assert asked == [(1, ("AB12CDE",), read), (2, ("XY34ZZZ",), read)]


def test_what_the_model_changed_is_laid_over_the_rendering() -> None:
    rng = np.random.default_rng(0)
    drawn = np.full((384, 192, 3), (200, 120, 60), np.uint8)
    drawn[::2] = 100
    start, mask = np.full((192, 96, 3), (150, 110, 80), np.uint8), np.ones((192, 96), bool)
    assert np.abs(changed(drawn, start, start, mask).astype(int) - drawn).max() <= 1, "nothing changed"
    duller = np.full_like(start, 90)
    assert np.abs(changed(drawn, start, duller, mask).astype(int) - drawn).max() <= 1, "colours stay"
    fold = start.astype(int)
    fold[91:94] += 30  # Six pixels in the picture: what is much wider there are stains.
    out = changed(drawn, start, fold.astype(np.uint8), mask).astype(int) - drawn
    assert 5 < out[183:187].mean() < 12 and np.abs(out[40:100]).max() < 5, "little on plain cloth"
    creased = start.copy()
    creased[92:] -= 40
    fold = creased.astype(int)
    fold[91:94] += 30
    out = changed(drawn, creased, fold.astype(np.uint8), mask).astype(int) - drawn
    assert out[183:187].mean() > 15 > np.abs(out[40:100]).max() and (np.ptp(out[185], axis=1) <= 1).all(), "folds"
    near = changed(drawn, creased, fold.astype(np.uint8), mask, scale=4 * 2 * KNOWN).astype(int) - drawn
    assert 0 < near[183:187].mean() < out[183:187].mean() / 8, "stains in close-ups"
    outside = mask.copy()
    outside[:96] = False
    noise = np.where(outside[..., None], start, rng.integers(0, 256, start.shape)).astype(np.uint8)
    assert np.abs(changed(drawn, start, noise, outside)[200:].astype(int) - drawn[200:]).max() <= 1
