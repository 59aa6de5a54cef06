"""The pipeline with fake stages: retries, redaction, second pass, quarantine, determinism."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from anonymizer.core.errors import InputError, StageError, VerificationFailed
from anonymizer.core.geometry import full_mask
from anonymizer.core.records import Image, Instance, Verdict
from anonymizer.flow import pipeline
from anonymizer.flow.pipeline import Anonymizer, Settings
from anonymizer.flow.work import Target, floating, half_filled
from anonymizer.redraw.crops import CropSetting
from anonymizer.redraw.diffusion import InpaintJob
from anonymizer.redraw.redrawer import Redrawer
from anonymizer.verify.verifier import Verifier

SIZE = (96, 128)
CROPS = {name: CropSetting(32, 32, 0.2) for name in ("person", "face", "license_plate")}


def instance(n: int, label: str, box: tuple[int, int, int, int], parent: int | None = None) -> Instance:
    x1, y1, x2, y2 = box
    mask = np.ones((y2 - y1, x2 - x1), bool)
    if label == "person":  # Beside the head there is room.
        side = (x2 - x1) // 4
        mask[: (y2 - y1) // 5, :side] = mask[: (y2 - y1) // 5, -side:] = False
    return Instance(n, label, np.array(box, np.float32), mask, 0.9, "fake", parent)


PERSON = instance(1, "person", (20, 20, 50, 80))
FACE = instance(2, "face", (28, 22, 42, 40), parent=1)


class Detector:
    """Finds what it is told to, depending on the picture."""

    def __init__(self, find: Callable[[Image], Sequence[Instance]]) -> None:
        self.find = find

    def detect(self, image: Image) -> tuple[Instance, ...]:
        return tuple(self.find(image))


class Flat:
    """Depth and edges of nothing."""

    def estimate(self, image: Image, instances: tuple[Instance, ...]) -> np.ndarray:
        return np.zeros(image.shape[:2], np.float32)

    def detect(self, image: Image) -> np.ndarray:
        return np.zeros(image.shape[:2], np.float32)


class Inpainter:
    """Paints noise that depends on the seed alone, and remembers its jobs."""

    def __init__(self) -> None:
        self.jobs: list[InpaintJob] = []

    def inpaint(self, jobs: Sequence[InpaintJob]) -> list[np.ndarray]:
        self.jobs += jobs
        return [np.random.default_rng(job.seed).integers(0, 256, job.image.shape, dtype=np.uint8) for job in jobs]


def picture() -> Image:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def build(
    find: Callable[[Image], Sequence[Instance]], inpainter: Inpainter | None = None, **changes: object
) -> Anonymizer:
    settings = {
        "classes": ("person", "face", "license_plate"),
        "people": "body",
        "seed": 3,
        "attempts": {"person": 2, "face": 2, "license_plate": 2},
        "guard_level": 1,
        "least_side": {"person": 10, "face": 6, "license_plate": 4},
        "least_score": {"person": 0.3, "face": 0.6, "license_plate": 0.55},
    }
    detector = Detector(find)
    return Anonymizer(
        detector=detector,
        depth=Flat(),
        edges=Flat(),
        redrawer=Redrawer(inpainter or Inpainter(), CROPS),
        verifier=Verifier(detector),
        settings=Settings(**(settings | changes)),  # type: ignore[arg-type]
        description={"preset": "fake"},
    )


def test_what_is_found_is_redrawn_and_nothing_else_changes() -> None:
    image = picture()
    before = image.copy()
    result = build(lambda _: [PERSON, FACE])(image)
    assert [t.action for t in result.treatments] == ["redrawn", "redrawn"]
    assert [t.attempts for t in result.treatments] == [1, 1]
    assert all(v.passed for v in result.verdicts)
    assert np.array_equal(image, before)
    assert np.array_equal(result.image[~result.treated], image[~result.treated])
    inside = full_mask(PERSON, SIZE)
    assert result.treated[inside].all()
    assert (result.image[inside] == image[inside]).all(axis=1).mean() < 0.01


def test_a_picture_without_colour_gets_none() -> None:
    image = picture()
    grey = np.repeat(image[..., :1], 3, 2)
    # Colour that is hidden counts for nothing; one coloured pixel that is shown does.
    hidden, shown = grey.copy(), grey.copy()
    hidden[40:70, 25:45] = image[40:70, 25:45]
    shown[5, 101] = (90, 10, 10)
    made, same, coloured = (build(lambda _: [PERSON, FACE])(each) for each in (grey, hidden, shown))
    assert made.treated.any() and not np.ptp(made.image, axis=2).any()
    assert np.array_equal(made.image, same.image)
    assert np.ptp(coloured.image, axis=2).any()
    assert all(v.passed for v in made.verdicts)


def test_what_is_no_instance_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="Instance each, got dict"):
        build(lambda _: [])(picture(), instances=[{"label": "person"}])  # type: ignore[list-item]


def test_painter_gets_the_original_around_a_person_and_the_new_body_around_a_face() -> None:
    inpainter = Inpainter()
    image = np.zeros((*SIZE, 3), np.uint8)
    build(lambda _: [PERSON, FACE], inpainter)(image)
    person, face = inpainter.jobs
    assert person.image.mean() < 5  # Black, but for the noise of a plain fill.
    assert face.image.any()


def test_a_redraw_that_is_not_found_again_is_retried_then_redacted() -> None:
    image = picture()
    result = build(lambda seen: [PERSON, FACE] if np.array_equal(seen, image) else [])(image)
    assert [t.action for t in result.treatments] == ["redacted", "redacted"]
    assert [t.attempts for t in result.treatments] == [2, 2]


def test_redacting_a_person_redacts_the_face_too() -> None:
    image = picture()
    result = build(lambda seen: [PERSON, FACE] if np.array_equal(seen, image) else [FACE])(image)
    assert [t.action for t in result.treatments] == ["redacted", "redacted"]


def test_a_redacted_face_of_a_redrawn_person_shows_what_was_painted_for_the_person() -> None:
    image = picture()
    without = build(lambda _: [PERSON])(image)
    made = build(lambda seen: [PERSON, FACE] if np.array_equal(seen, image) else [PERSON])(image)
    assert [t.action for t in made.treatments] == ["redrawn", "redacted"]
    x1, y1, x2, y2 = (int(v) for v in FACE.box)
    assert np.array_equal(made.image[y1:y2, x1:x2], without.image[y1:y2, x1:x2])


def test_where_no_person_covers_it_a_redacted_face_is_filled() -> None:
    image = picture()
    beyond = replace(FACE, box=np.array([28, 10, 42, 30], np.float32), mask=np.ones((20, 14), bool))
    made = build(lambda seen: [PERSON, beyond] if np.array_equal(seen, image) else [PERSON])(image)
    assert [t.action for t in made.treatments] == ["redrawn", "redacted"]
    # A fill is made of what lies around, the inpainter's noise is not.
    alone = build(lambda _: [PERSON])(image)
    assert not np.array_equal(made.image[11:17, 30:40], alone.image[11:17, 30:40])
    assert np.array_equal(made.image[24:30, 30:36], alone.image[24:30, 30:36])
    assert (made.image[10:30, 28:42] == image[10:30, 28:42]).all(axis=2).mean() < 0.01


def test_what_fails_although_it_was_redacted_gets_other_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    fills = []

    def redact(image: Image, mask: np.ndarray, rng: np.random.Generator, **options: object) -> Image:
        fills.append((rng.integers(2**32), options["plain"]))
        return original(image, mask, rng, **options)  # type: ignore[arg-type]

    def replaced(*arguments: object, **options: object) -> Verdict:
        return Verdict("pixels_replaced", len(fills) > 2, 1.0, 0.5, PERSON.id)

    original = pipeline.redact
    monkeypatch.setattr(pipeline, "redact", redact)
    monkeypatch.setattr("anonymizer.verify.checks.pixels_replaced", replaced)
    result = build(lambda _: [PERSON])(picture())
    assert [t.action for t in result.treatments] == ["redacted"]
    # The first fill has the texture of the surroundings; after it failed, there is noise alone.
    assert len({seed for seed, _ in fills}) >= 2 and [plain is not None for _, plain in fills] == [False, True, True]


def test_a_fill_takes_nothing_from_anyone_in_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = []

    def redact(image: Image, mask: np.ndarray, rng: np.random.Generator, **options: np.ndarray) -> Image:
        hidden.append(mask)
        return original(image, mask, rng, **options)

    original = pipeline.redact
    monkeypatch.setattr(pipeline, "redact", redact)
    other = replace(instance(3, "person", (60, 20, 90, 80)), score=0.2)
    result = build(lambda _: [PERSON, FACE, other])(picture())
    assert [t.action for t in result.treatments] == ["redrawn", "redrawn", "redacted"]
    assert len(hidden) == 1 and all(hidden[0][full_mask(i, SIZE)].all() for i in (PERSON, other))


def test_faces_are_redrawn_as_often_as_their_class_says() -> None:
    image = picture()
    attempts = {"person": 3, "face": 1}
    result = build(lambda seen: [PERSON, FACE] if np.array_equal(seen, image) else [PERSON], attempts=attempts)(image)
    assert [(t.action, t.attempts) for t in result.treatments] == [("redrawn", 1), ("redacted", 1)]


def test_retries_use_a_stricter_guard_and_new_seeds() -> None:
    inpainter, image = Inpainter(), picture()
    build(lambda seen: [PERSON] if np.array_equal(seen, image) else [], inpainter)(image)
    first, second = inpainter.jobs
    assert first.seed != second.seed


def test_what_only_the_second_pass_finds_is_redacted() -> None:
    image, late = picture(), instance(1, "license_plate", (90, 60, 110, 70))

    def find(seen: Image) -> list[Instance]:
        return [PERSON] if np.array_equal(seen, image) else [PERSON, late]

    result = build(find)(image)
    assert [(i.label, t.action) for i, t in zip(result.instances, result.treatments, strict=True)] == [
        ("person", "redrawn"),
        ("license_plate", "redacted"),
    ]
    assert result.treated[62:68, 92:108].all()


def test_a_picture_in_which_more_is_found_each_time_is_given_up() -> None:
    calls = 0

    def find(_: Image) -> list[Instance]:
        nonlocal calls
        calls += 1
        return [instance(1, "face", (calls * 12, 4, calls * 12 + 10, 14))]

    with pytest.raises(VerificationFailed, match="still failing"):
        build(find)(picture())


def test_small_instances_and_text_are_redacted_at_once() -> None:
    tiny, text = instance(1, "face", (5, 5, 9, 9)), instance(2, "text", (60, 5, 90, 15))
    result = build(lambda _: [tiny, text], classes=("face", "text"))(picture())
    assert [t.action for t in result.treatments] == ["redacted", "redacted"]
    assert [t.attempts for t in result.treatments] == [0, 0]


def test_whom_a_doubted_network_alone_saw_is_redacted_unless_a_sure_face_is_theirs() -> None:
    alone = replace(PERSON, evidence={"yolo": 0.9, "outline": 0.3})
    sure = replace(FACE, score=0.9)
    for found, action in (
        ([alone], "redacted"),
        ([alone, sure], "redrawn"),
        ([replace(alone, evidence={"yolo": 0.9, "centernet": 0.2})], "redrawn"),
    ):
        result = build(lambda _, found=found: found, doubted=("yolo",))(picture())
        assert result.treatments[0].action == action
    assert build(lambda _: [alone])(picture()).treatments[0].action == "redrawn"


def test_a_doubtful_face_that_belongs_to_nobody_is_redacted_and_a_sure_one_redrawn() -> None:
    alone = instance(1, "face", (28, 22, 48, 46))
    for score, action in ((0.4, "redacted"), (0.9, "redrawn")):
        result = build(lambda _, score=score: [replace(alone, score=score)])(picture())
        assert [t.action for t in result.treatments] == [action]
    (treatment,) = build(lambda _: [replace(alone, score=0.4)], people="face")(picture()).treatments
    assert treatment.action == "redrawn"


def test_of_a_persons_doubtful_faces_only_the_best_is_redrawn_and_sure_ones_are() -> None:
    best, worse = replace(FACE, score=0.5), replace(instance(3, "face", (24, 44, 34, 58), parent=1), score=0.3)
    result = build(lambda _: [PERSON, best, worse])(picture())
    assert [t.action for t in result.treatments] == ["redrawn", "redrawn", "redacted"]
    result = build(lambda _: [PERSON, best, replace(worse, score=0.7)])(picture())
    assert [t.action for t in result.treatments] == ["redrawn", "redacted", "redrawn"]


def test_doubtful_persons_without_a_face_and_doubtful_plates_are_redacted_at_once() -> None:
    person, plate = replace(PERSON, score=0.25), replace(instance(3, "license_plate", (70, 40, 110, 54)), score=0.5)
    result = build(lambda _: [person, plate])(picture())
    assert [(t.action, t.attempts) for t in result.treatments] == [("redacted", 0), ("redacted", 0)]
    result = build(lambda _: [person, FACE, replace(plate, score=0.6)])(picture())
    assert [t.action for t in result.treatments] == ["redrawn", "redrawn", "redrawn"]


@pytest.mark.parametrize(
    ("evidence", "ground", "known"),
    [
        ({"platedet": 0.2, "vehicle": 0.5}, False, True),
        ({"platedet": 0.2, "yolo": 0.3}, False, True),
        ({"platedet": 0.5}, False, True),
        ({"platedet": 0.4}, False, False),
        ({"yolo": 0.5, "ocr": 0.5}, True, True),
        ({"yolo": 0.5, "ocr": 0.5}, False, False),
        ({"yolo": 0.4, "ocr": 0.5}, True, False),
        ({"yolo": 0.5, "plate-detector": 0.4, "vehicle": 0.6}, True, False),
        ({"ocr": 0.5}, True, False),
        ({"ocr": 0.5, "vehicle": 0.6}, True, True),
        ({"ocr": 0.5, "vehicle": 0.6}, False, False),
    ],
)
def test_what_is_known_as_a_plate_is_redrawn(evidence: dict[str, float], ground: bool, known: bool) -> None:
    plate = replace(instance(1, "license_plate", (70, 40, 120, 56)), score=0.5, source="yolo", evidence=evidence)
    image = np.full_like(picture(), 60)
    if ground:
        image[42:54, 73:117] = 220
    (treatment,) = build(lambda _: [plate])(image).treatments
    assert (treatment.attempts > 0) == known


def test_what_was_given_is_redrawn_whatever_its_score() -> None:
    given = [replace(i, score=0.05, source="given") for i in (PERSON, instance(2, "license_plate", (70, 40, 110, 54)))]
    result = build(lambda _: given)(picture(), given)
    assert [t.action for t in result.treatments] == ["redrawn", "redrawn"]


def test_faces_only_leaves_bodies() -> None:
    result = build(lambda _: [PERSON, FACE], people="face")(picture())
    assert [i.label for i in result.instances] == ["face"]
    assert not result.treated[70:80].any()


def test_given_instances_are_used_and_completed() -> None:
    mine = instance(7, "person", (70, 20, 100, 80))
    result = build(lambda _: [PERSON, mine])(picture(), instances=[mine])
    boxes = {tuple(i.box.tolist()) for i in result.instances}
    assert boxes == {tuple(PERSON.box.tolist()), tuple(mine.box.tolist())}


def test_seed_and_key_decide_the_result() -> None:
    image = picture()
    first, same = (build(lambda _: [PERSON])(image, key="a").image for _ in range(2))
    other = build(lambda _: [PERSON])(image, key="b").image
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    fresh, again = (build(lambda _: [PERSON], seed=None)(image, key="a").image for _ in range(2))
    assert not np.array_equal(fresh, again)


def test_the_seed_is_never_told() -> None:
    a, b = build(lambda _: [], seed=3), build(lambda _: [], seed=4)
    assert a.describe() == b.describe()
    assert a.settings_hash == b.settings_hash
    assert a.settings_hash != build(lambda _: [], attempts={"person": 3}).settings_hash


def test_a_picture_without_instances_is_unchanged() -> None:
    image = picture()
    result = build(lambda _: [])(image)
    assert np.array_equal(result.image, image)
    assert not result.treated.any()
    assert [v.check for v in result.verdicts] == ["second_pass"]


@pytest.mark.parametrize("stage", ["detect", "condition", "redraw"])
def test_a_stage_that_breaks_is_named_and_nothing_is_returned(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("out of order")

    target = {"detect": (Detector, "detect"), "condition": (Flat, "estimate"), "redraw": (Inpainter, "inpaint")}[stage]
    monkeypatch.setattr(*target, broken)
    with pytest.raises(StageError, match=f"{stage}: RuntimeError: out of order"):
        build(lambda _: [PERSON])(picture())


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_other_arrays_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="image"):
        build(lambda _: [])(bad)


def test_faces_that_show_beside_a_fill_are_redacted_too() -> None:
    mask = np.ones((20, 20), bool)
    face = Instance(1, "face", np.array([10, 10, 30, 30], np.float32), mask)
    beside = Instance(1, "face", np.array([14, 12, 34, 32], np.float32), mask)
    apart = Instance(2, "face", np.array([60, 10, 80, 30], np.float32), mask)
    target = Target(face, face, "redacted")
    work = SimpleNamespace(targets=[target])
    failed = Verdict("face_distance", False, 0.95, 0.925, 1, "")
    assert list(half_filled(work, [failed], [beside, apart])) == [beside]
    assert not list(half_filled(work, [replace(failed, passed=True)], [beside, apart]))
    target.action = "redrawn"
    assert not list(half_filled(work, [failed], [beside, apart]))


def test_a_face_does_not_hang_in_the_fill_of_a_person() -> None:
    other = replace(PERSON, id=3)

    def work(*pairs: tuple[Instance, str]) -> SimpleNamespace:
        return SimpleNamespace(targets=[Target(found, found, action) for found, action in pairs])

    loose = replace(FACE, parent=None)
    assert [t.id for t in floating(work((PERSON, "redacted"), (loose, "redrawn")), False)] == [2]
    assert floating(work((PERSON, "redrawn"), (loose, "redrawn")), False) == []
    assert floating(work((PERSON, "redacted"), (FACE, "redrawn"), (other, "redrawn")), False) == []
    beside = replace(FACE, box=np.array([100, 22, 114, 40], np.float32))
    assert [t.id for t in floating(work((PERSON, "redacted"), (beside, "redrawn")), False)] == [2], "of who is filled"
    # An avatar has a face of its own and carries no other.
    assert floating(work((PERSON, "redrawn"), (FACE, "redrawn")), True) == []
    assert [t.id for t in floating(work((PERSON, "redrawn"), (loose, "redrawn")), True)] == [2]
    assert floating(work((PERSON, "redrawn"), (replace(beside, parent=None), "redrawn")), True) == []


def test_a_rectangle_is_filled_never_redrawn() -> None:
    given = (Instance(1, "person", PERSON.box),)
    result = build(lambda _: [])(picture(), given)
    assert [t.action for t in result.treatments] == ["redacted"]
    assert [t.action for t in build(lambda _: [PERSON])(picture(), given).treatments] == ["redrawn"]


def test_a_person_of_whom_only_a_box_was_found_is_filled() -> None:
    sketch = replace(PERSON, source="centernet", evidence={"centernet": 0.9})
    assert [t.action for t in build(lambda _: [sketch])(picture()).treatments] == ["redacted"]
    drawn = replace(sketch, evidence={"centernet": 0.9, "outline": 0.4})
    assert [t.action for t in build(lambda _: [drawn])(picture()).treatments] == ["redrawn"]


def test_a_crowd_is_filled_and_who_is_found_in_it_is_redrawn() -> None:
    crowd = Instance(1, "person", np.array([4, 4, 124, 92], np.float32), record={"id": 3, "iscrowd": 1})
    result = build(lambda _: [PERSON])(picture(), (crowd,))
    assert [(i.source, t.action) for i, t in zip(result.instances, result.treatments, strict=True)] == [
        ("given", "redacted"),
        ("fake", "redrawn"),
    ]
    assert not result.treated[90, 120]


def test_what_is_obscured_on_request_is_told_and_everything_else_redrawn() -> None:
    image = picture()
    alone = build(lambda _: [PERSON, FACE], methods={"face": "solid"})(image)
    assert [(t.action, t.method) for t in alone.treatments] == [("redrawn", None), ("redacted", "solid")]
    # The redrawn body lies over its face: nothing of the original is below it.
    assert not (alone.image[full_mask(FACE, SIZE)] == 0).all()
    both = build(lambda _: [PERSON, FACE], methods={"person": "solid"})(image)
    assert [(t.action, t.method) for t in both.treatments] == [("redacted", "solid"), ("redacted", "solid")]
    assert (both.image[full_mask(PERSON, SIZE)] == 0).all()
    assert np.array_equal(both.image[~both.treated], image[~both.treated])
    assert build(lambda _: []).settings_hash != build(lambda _: [], methods={"face": "solid"}).settings_hash


def test_a_blur_that_leaves_pixels_as_they_are_gives_way_to_a_fill() -> None:
    image = np.full((*SIZE, 3), 120, np.uint8)
    result = build(lambda _: [PERSON], methods={"person": "blur"})(image)
    assert [(t.action, t.method) for t in result.treatments] == [("redacted", None)]
    assert all(v.passed for v in result.verdicts)
    assert (result.image[full_mask(PERSON, SIZE)] != 120).any()


def asked(wish: str, of: Instance, box: tuple[int, int, int, int] | None = None) -> Instance:
    place = of.box if box is None else np.array(box, np.float32)
    return Instance(1, of.label, place, source="given:review", wish=wish)  # type: ignore[arg-type]


def test_a_reviewer_gets_a_fill_or_a_redraw_of_what_is_found() -> None:
    filled = build(lambda _: [PERSON, FACE])(picture(), [asked("fill", PERSON, (22, 20, 50, 82))])
    assert [(t.instance_id, t.action) for t in filled.treatments] == [(1, "redacted"), (2, "redacted")]
    doubtful = replace(PERSON, score=0.1)
    assert [t.action for t in build(lambda _: [doubtful])(picture()).treatments] == ["redacted"]
    redrawn = build(lambda _: [doubtful])(picture(), [asked("redraw", PERSON)])
    assert [t.action for t in redrawn.treatments] == ["redrawn"]


def test_a_false_find_is_left_by_both_passes_and_by_them_alone() -> None:
    image = picture()
    other = instance(3, "person", (80, 20, 110, 80))
    result = build(lambda _: [PERSON, FACE, other])(image, [asked("leave", PERSON)])
    assert [i.label for i in result.instances] == ["face", "person"]
    assert [i.parent for i in result.instances] == [None, None]
    kept = full_mask(PERSON, SIZE) & ~result.treated
    assert kept.sum() > 500
    assert np.array_equal(result.image[kept], image[kept])
    late = build(lambda seen: [PERSON] if np.array_equal(seen, image) else [PERSON, other])
    assert [i.box.tolist() for i in late(image, [asked("leave", other)]).instances] == [PERSON.box.tolist()]


def test_a_wish_about_what_nobody_finds_is_treated_as_given() -> None:
    result = build(lambda _: [PERSON])(picture(), [asked("fill", FACE, (90, 20, 110, 50))])
    assert [(i.label, i.source) for i in result.instances] == [("person", "fake"), ("face", "given:review")]
    assert result.treatments[1].action == "redacted"
    nothing = build(lambda _: [PERSON])(picture(), [asked("leave", FACE, (90, 20, 110, 50))])
    assert [i.label for i in nothing.instances] == ["person"]


def test_what_the_second_pass_found_is_told() -> None:
    image = picture()
    other = instance(3, "person", (80, 20, 110, 80))
    result = build(lambda seen: [PERSON] if np.array_equal(seen, image) else [PERSON, other])(image)
    assert [t.second_pass for t in result.treatments] == [False, True]


def test_where_it_was_found_is_told_where_it_stands_elsewhere() -> None:
    wide = replace(PERSON, core=np.pad(PERSON.mask[10:-10, 5:-5], ((10, 10), (5, 5))))
    result = build(lambda _: [wide, FACE])(picture())
    assert [t.found for t in result.treatments] == [(25.0, 30.0, 45.0, 70.0), None]
