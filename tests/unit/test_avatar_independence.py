"""Independence: nothing of the original in masks of persons and faces enters the result, nor do verdicts' values.

The parts are the product's: fill, light, body, clothes, hands, hair, face, shadow, average faces, plates. What denoises
is a stand-in that shows every pixel of its job. Detections with their poses, and verdicts, are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from anonymizer.avatar import AvatarArtist
from anonymizer.avatar.body import Body
from anonymizer.avatar.stance import ANKLES, KNEES
from anonymizer.condition.depth import GroundPlaneDepth
from anonymizer.core.geometry import full_mask
from anonymizer.core.records import Action, FaceView, Image, Instance, Mask, PersonView, Result, Verdict
from anonymizer.fill.migan import MiGan
from anonymizer.flow.pipeline import Anonymizer, Settings
from anonymizer.models import weights
from anonymizer.redraw.crops import CropSetting
from anonymizer.redraw.diffusion import InpaintJob
from anonymizer.redraw.prototypes import FaceBank
from anonymizer.redraw.redrawer import Redrawer, region_patch
from anonymizer.verify.verifier import Evidence, Verifier

from .test_avatar import FACES, MIDDLE, standing
from .test_redraw_avatars import Brightness

SIZE = 400, 480
CROPS = {"person": CropSetting(96, 192, 0.2), "face": CropSetting(64, 64, 0.5)}


class Shown:
    """Paints what its job holds: start, edges and depth, over the picture."""

    def inpaint(self, jobs: Sequence[InpaintJob]) -> list[Image]:
        out = []
        for job in jobs:
            first = job.image if job.start is None else job.start
            marks = 40 * np.asarray(job.edges, np.float32) + 40 * np.asarray(job.depth, np.float32)
            mixed = 0.7 * first + 0.2 * job.image + marks.reshape(*first.shape[:2], 1)
            out.append(np.clip(np.rint(mixed), 0, 255).astype(np.uint8))
        return out


@pytest.fixture(scope="module")
def artist() -> AvatarArtist:
    return AvatarArtist(weights.path("body"), FACES, weights.path("poses"))


@pytest.fixture(scope="module")
def bank() -> FaceBank:
    return FaceBank.load(weights.path("prototypes") / "faces.safetensors")


@pytest.fixture(scope="module")
def found() -> tuple[Instance, ...]:
    """A person with a face, arms before the body, one who is cut by the border, a face alone, and a plate."""
    body = Body.load(weights.path("body"))[0]
    view = standing(body, body.rest(MIDDLE), raised=True)
    moved = replace(view, landmarks=view.landmarks + np.array([260, 0, 0], np.float32), window=(210, 0, 610, 400))
    outline = np.zeros((375, 140), np.bool_)
    outline[:, 38:102] = True

    def person(number: int, left: float, seen: PersonView) -> Instance:
        box = np.array([left, 20, left + 140, 395], np.float32)
        return Instance(number, "person", box, np.ones_like(outline), 0.9, "yolo", core=outline, body=seen)

    points = np.zeros((478, 3), np.float32)
    points[[263, 33, 291, 61, 10, 152], :2] = (160, 60), (140, 60), (156, 76), (144, 76), (150, 45), (150, 88)
    marks = np.array([[142, 60], [158, 60], [150, 68], [144, 78], [156, 78]], np.float32)
    return (
        person(1, 80, view),
        person(2, 340, moved),
        Instance(
            3,
            "face",
            np.array([132, 40, 168, 90], np.float32),
            score=0.9,
            source="centerface",
            parent=1,
            landmarks=marks,
            face=FaceView(points, 1.0),
        ),
        Instance(
            4,
            "face",
            np.array([252, 30, 300, 96], np.float32),
            score=0.9,
            source="centerface",
            landmarks=(marks - (132, 40)) * np.float32(1.3) + np.array([252, 30], np.float32),
        ),
        Instance(5, "license_plate", np.array([240, 330, 320, 352], np.float32), score=0.9, source="platedet"),
    )


def ridden(found: Sequence[Instance]) -> tuple[Instance, ...]:
    """Return the same, the first person with raised feet on a bicycle that lies within the person's mask."""
    first, *others = found
    assert first.body is not None
    marks = first.body.landmarks.copy()
    marks[list(KNEES), 1] -= 20
    marks[list(ANKLES), 1] = 335
    box = np.array([116, 215, 184, 392], np.float32)
    bicycle = Instance(6, "vehicle", box, score=0.5, source="centernet:bicycle")
    return replace(first, body=replace(first.body, landmarks=marks)), *others, bicycle


def picture(found: Sequence[Instance], seed: int) -> Image:
    """Return a street whose persons and faces are noise."""
    rows = np.linspace(200, 60, SIZE[0])[:, None, None] + np.zeros((*SIZE, 3))
    image = np.clip(rows + np.random.default_rng(1).normal(0, 12, rows.shape), 0, 255).astype(np.uint8)
    image[332:350, 242:318] = 230
    image[337:345, 250:310:6] = 30
    inside = np.logical_or.reduce([full_mask(i, SIZE) for i in found if i.label in ("person", "face")])
    image[inside] = np.random.default_rng(seed).integers(0, 256, (int(inside.sum()), 3), dtype=np.uint8)
    return image


class Given:
    """Detects the same whatever the picture shows."""

    def __init__(self, found: Sequence[Instance]) -> None:
        self._found = tuple(found)

    def detect(self, image: Image) -> tuple[Instance, ...]:
        return self._found


class Replayed(Verifier):
    """Gives verdicts in the order in which they are listed, one list per round, and then that all is well."""

    def __init__(self, found: Sequence[Instance], rounds: Sequence[Sequence[Verdict]]) -> None:
        super().__init__(Given(found))
        self._rounds = list(rounds)

    def check(
        self,
        evidence: Evidence,
        result: Image,
        treated: Mask,
        actions: Mapping[int, Action],
        found: Sequence[Instance] | None = None,
        leaks: Sequence[Instance] | None = None,
    ) -> tuple[Verdict, ...]:
        failed = tuple(self._rounds.pop(0)) if self._rounds else ()
        known = {v.instance_id for v in failed}
        passed = (Verdict("class_kept", True, 1.0, 0.5, n) for n in actions if n not in known)
        return (*failed, *passed, Verdict("second_pass", True))

    def leaks(self, treated: Mask, found: Sequence[Instance]) -> tuple[Instance, ...]:
        return ()

    def keeps(self, instance: Instance, found: Sequence[Instance]) -> bool:
        return True


def anonymized(
    found: Sequence[Instance],
    artist: AvatarArtist,
    bank: FaceBank,
    seed: int,
    rounds: Sequence[Sequence[Verdict]] = (),
) -> Result:
    anonymizer = Anonymizer(
        detector=Given(found),
        depth=GroundPlaneDepth(),
        edges=Brightness(),
        filler=MiGan(weights.path("fill")),
        artist=artist,
        redrawer=Redrawer(Shown(), CROPS, bank, {"person": 0.1, "face": 0.5}),
        verifier=Replayed(found, rounds),
        settings=Settings(
            ("person", "face", "license_plate"), "body", 3, {"person": 2, "face": 2, "license_plate": 2}, 1, {}, {}
        ),
        description={},
    )
    return anonymizer(picture(found, seed))


@pytest.mark.parametrize("rides", [False, True])
def test_noise_in_the_place_of_people_changes_nothing(
    found: tuple[Instance, ...], artist: AvatarArtist, bank: FaceBank, rides: bool
) -> None:
    found = ridden(found) if rides else found
    one, other = (anonymized(found, artist, bank, seed) for seed in (1, 2))
    assert [t.action for t in one.treatments] == ["redrawn"] * 5, "all are drawn, so that all parts take part"
    assert set(one.renderings) == {1, 2}
    assert one.renderings[1].ridden.any() == rides and not one.renderings[2].ridden.any()
    people = np.logical_or.reduce([full_mask(i, SIZE) for i in found if i.label in ("person", "face")])
    assert (picture(found, 1) != picture(found, 2)).any(2)[people].mean() > 0.9
    assert np.array_equal(one.treated, other.treated)
    assert np.array_equal(one.image, other.image)
    for number, drawn in one.renderings.items():
        same = other.renderings[number]
        for name in ("rgb", "alpha", "depth", "edges", "joints", "parts", "shadow", "ridden"):
            assert np.array_equal(getattr(drawn, name), getattr(same, name)), name


def test_people_before_a_plate_change_nothing_of_it(
    found: tuple[Instance, ...], artist: AvatarArtist, bank: FaceBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half of the plate's surroundings, by which noise and corners are measured, lie on a person.
    plate = Instance(5, "license_plate", np.array([180, 330, 260, 352], np.float32), score=0.9, source="platedet")
    instances = (*found[:4], plate)
    people = np.logical_or.reduce([full_mask(i, SIZE) for i in found[:4]]) & ~full_mask(plate, SIZE)
    street = picture(found, 1)

    def shown(_: Sequence[Instance], seed: int) -> Image:
        image = street.copy()
        image[330:352, 180:260] = 230
        image[337:345, 190:250:6] = 30
        image[people] = 80 if seed else street[people]
        return image

    monkeypatch.setattr(f"{__name__}.picture", shown)
    one, other = (anonymized(instances, artist, bank, seed) for seed in (0, 1))
    assert one.treatments[4].action == "redrawn"
    assert np.array_equal(one.image, other.image)


def test_a_patch_covers_the_corners_of_a_mask() -> None:
    sharp = Instance(1, "person", np.array([80, 20, 220, 395], np.float32))
    patch = region_patch(np.zeros((*SIZE, 3), np.uint8), sharp)
    x1, y1, *_ = patch.box
    assert (patch.alpha[20 - y1 : 395 - y1, 80 - x1 : 220 - x1] == 1).all()
    assert 0 < patch.alpha[0].max() < 1


def test_of_verdicts_only_whether_they_hold_enters(
    found: tuple[Instance, ...], artist: AvatarArtist, bank: FaceBank
) -> None:
    def failed(check: str, value: float, number: int) -> Verdict:
        return Verdict(check, False, value, 0.5, number)

    plain = anonymized(found, artist, bank, 1)
    again = [
        anonymized(found, artist, bank, seed, [[failed(check, value, 1)]])
        for seed, check, value in ((1, "class_kept", 0.1), (2, "class_kept", 0.4), (2, "pixels_replaced", 0.0))
    ]
    assert [t.attempts for t in again[0].treatments] == [2, 1, 2, 1, 1]
    assert all(np.array_equal(again[0].image, other.image) for other in again[1:])
    # Whoever did not fail is as they were.
    untouched = full_mask(found[1], SIZE) & ~full_mask(found[0], SIZE)
    assert not np.array_equal(plain.image, again[0].image)
    assert np.array_equal(plain.image[untouched], again[0].image[untouched])
