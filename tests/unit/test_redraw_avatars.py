"""Avatars in a redraw: what shows of them, and that nothing of the original does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from anonymizer.core.geometry import dilate, full_mask, outline_box
from anonymizer.core.records import Image, Instance, PersonView, Rendering, Verdict
from anonymizer.flow.pipeline import Anonymizer, Settings
from anonymizer.redraw.avatars import confined, draw_avatars, face_as, pasted, seen_by, shaded, shown_as
from anonymizer.redraw.crops import anonymized_mask
from anonymizer.redraw.redrawer import Redrawer
from anonymizer.verify.verifier import Verifier

from .test_flow_pipeline import CROPS, FACE, PERSON, SIZE, Detector, Inpainter, instance, picture

#: Where the avatar is drawn: narrower than the person.
BOX = (22, 22, 48, 79)
#: Where its face is: beside the person's.
AVATAR_FACE = (32, 24, 44, 38)
SHOWN = instance(9, "face", AVATAR_FACE, parent=1)


def rendering(box: tuple[int, int, int, int] = BOX, shade: int = 90) -> Rendering:
    size = box[3] - box[1], box[2] - box[0]
    ones = np.ones(size, np.float32)
    return Rendering(
        box=box,
        rgb=np.full((*size, 3), shade, np.uint8),
        alpha=ones,
        depth=ones,
        edges=ones * 0,
        joints=np.zeros((17, 3), np.float32),
        parts=np.ones(size, np.uint8),
        residual=0.0,
        face=np.array(AVATAR_FACE, np.float32),
    )


class Artist:
    """Draws the same avatar for everybody and remembers the picture that it saw."""

    def __init__(self, drawn: Rendering | Callable[[Instance], Rendering] | None) -> None:
        self.drawn = drawn
        self.seen: list[Image] = []
        self.before: list[set[str]] = []
        self.marks: set[str] = set()
        self.rides: list[str | None] = []
        self.ridden: list[np.ndarray | None] = []

    def look(
        self,
        image: Image,
        hidden: np.ndarray,
        persons: Sequence[Instance],
        horizon: float,
        drawn: set[str] | None = None,
    ) -> np.ndarray:
        self.marks = set() if drawn is None else drawn
        self.before.append(set(self.marks))
        return hidden

    def begin(
        self,
        image: Image,
        person: Instance,
        rng: np.random.Generator,
        face: Instance | None = None,
        scene: np.ndarray | None = None,
        rides: str | None = None,
        ridden: np.ndarray | None = None,
    ) -> Callable[[], Rendering | None]:
        assert scene is not None and scene[full_mask(person, SIZE)].all()
        self.seen.append(image)
        self.rides.append(rides)
        self.ridden.append(ridden)
        self.marks.add(f"avatar {len(self.seen)}")
        drawn = self.drawn
        return lambda: drawn(person) if callable(drawn) else drawn


class Brightness:
    """Depth and edges that are the picture's own brightness; remembers the pictures that it saw."""

    def __init__(self) -> None:
        self.given: list[Image] = []

    def estimate(self, image: Image, instances: Sequence[Instance]) -> np.ndarray:
        return image.mean(axis=2).astype(np.float32) / 255

    def detect(self, image: Image) -> np.ndarray:
        self.given.append(image)
        return image.mean(axis=2).astype(np.float32) / 255


def drawn_for(persons: Sequence[Instance], *renderings: Rendering | None) -> list[dict[int, Rendering]]:
    seeds = {i.id: i.id for i in persons}
    views = [seen_by(Artist(r), picture(), persons, 40.0) for r in renderings]
    pairs = zip(renderings, views, strict=True)
    return [draw_avatars(Artist(r), picture(), persons, persons, seeds, view) for r, view in pairs]


def test_an_avatar_shows_inside_the_safe_mask_and_its_margin_alone_and_becomes_the_outline() -> None:
    free, nothing = anonymized_mask([PERSON], SIZE), np.zeros(SIZE, bool)
    wide = confined(rendering((10, 24, 60, 78)), PERSON, free, nothing)
    shown = np.zeros(SIZE, bool)
    shown[24:78, 10:60] = wide.alpha > 0
    assert shown[~free].any() and not shown[~dilate(free, 2)].any()
    assert 0 < wide.alpha[20, wide.alpha[20] > 0].min() < 1
    person = shown_as(PERSON, wide)
    assert person.box[0] < PERSON.box[0] and person.box[2] > PERSON.box[2]
    assert full_mask(person, SIZE)[full_mask(PERSON, SIZE)].all()
    assert np.array_equal(
        full_mask(replace(person, mask=person.outline, core=None), SIZE)[24:78, 10:60], wide.alpha >= 0.5
    )


def test_an_avatar_may_take_what_another_leaves_free_but_no_plate() -> None:
    other = instance(3, "person", (52, 20, 80, 80))
    plate = instance(4, "license_plate", (52, 40, 62, 50))
    everyone = [PERSON, other, plate]
    wide = rendering((30, 24, 70, 78))
    alone = confined(wide, PERSON, anonymized_mask([PERSON], SIZE), np.zeros(SIZE, bool))
    free = anonymized_mask([PERSON, other], SIZE)
    both = confined(wide, PERSON, free, anonymized_mask([plate], SIZE) & ~free)
    assert alone.alpha[40, 30] == 0 and both.alpha[40, 30] == 1
    beside = confined(wide, PERSON, anonymized_mask([PERSON], SIZE), anonymized_mask([plate], SIZE))
    assert beside.alpha[20, 22] == 0 and len(everyone) == 3


def test_a_nearer_avatar_covers_a_farther_ones_outline() -> None:
    whole = shown_as(PERSON, rendering())
    half = shown_as(PERSON, rendering(), [rendering((22, 50, 48, 79))])
    assert full_mask(replace(half, mask=half.outline, core=None), SIZE)[50:].sum() == 0
    assert half.outline.sum() < whole.outline.sum()
    assert shown_as(PERSON, rendering(), [rendering()]) is PERSON, "nothing of it shows"


def test_a_face_is_where_the_avatars_is_and_holds_what_was_there() -> None:
    face = replace(FACE, landmarks=np.full((5, 2), 30, np.float32))
    shown = face_as(face, rendering())
    assert shown is not None and shown.landmarks is None
    assert outline_box(shown).tolist() == list(AVATAR_FACE)
    assert full_mask(shown, SIZE)[full_mask(FACE, SIZE)].all()
    behind = face_as(FACE, rendering(), [rendering((20, 32, 60, 79))])
    assert behind is not None and outline_box(behind).tolist() == [32, 24, 44, 32]


@pytest.mark.parametrize(
    ("drawn", "nearer"),
    [
        (replace(rendering(), face=None), []),
        (rendering(), [rendering()]),
        (replace(rendering(), face=np.array((80, 20, 90, 30), np.float32)), []),
        (replace(rendering(), alpha=np.zeros((57, 26), np.float32)), []),
    ],
)
def test_an_avatar_that_shows_no_face_has_none(drawn: Rendering, nearer: list[Rendering]) -> None:
    assert face_as(FACE, drawn, nearer) is None


def test_shadows_darken_where_they_lie_and_nothing_else() -> None:
    dark = replace(rendering(), shadow=np.full((57, 26), 0.5, np.float32))
    out, where = shaded(np.full((*SIZE, 3), 100, np.uint8), [dark])
    assert where.sum() == 57 * 26 and where[22:79, 22:48].all()
    assert (out[22:79, 22:48] == 50).all() and (out[:22] == 100).all() and (out[:, 48:] == 100).all()


def test_an_avatar_that_is_mostly_cut_off_or_covers_too_little_is_left_out() -> None:
    fine, cut, little, none = drawn_for(
        [PERSON], rendering(), rendering((40, 20, 90, 80)), rendering((30, 24, 40, 60)), None
    )
    assert set(fine) == {1} and 0 < fine[1].cut < 0.2
    assert not cut and not little and not none


def test_a_pasted_avatar_lies_where_the_crop_shows_it() -> None:
    crop = pasted(np.zeros((20, 20, 3), np.uint8), (20, 20, 40, 40), rendering())
    assert (crop[2:, 2:] == 90).all() and not crop[:2].any() and not crop[:, :2].any()


class Embedder:
    """Finds all faces unlike each other, and remembers where it looked."""

    threshold = 0.9

    def __init__(self) -> None:
        self.boxes: list[list[float]] = []

    def embed(self, image: Image, box: np.ndarray, landmarks: np.ndarray | None) -> np.ndarray:
        out = np.zeros(8, np.float32)
        out[len(self.boxes)] = 1
        self.boxes.append(box.tolist())
        return out


def afterwards(first: Sequence[Instance], later: Sequence[Instance]) -> Callable[[Image], Sequence[Instance]]:
    """Return what finds one thing at first, and another from then on."""
    calls: list[int] = []

    def find(_: Image) -> Sequence[Instance]:
        calls.append(1)
        return first if len(calls) == 1 else later

    return find


def build(
    detector: Detector,
    artist: Artist,
    inpainter: Inpainter | None = None,
    seen: Brightness | None = None,
    embedder: Embedder | None = None,
    **attempts: int,
) -> Anonymizer:
    return Anonymizer(
        detector=detector,
        depth=seen or Brightness(),
        edges=seen or Brightness(),
        artist=artist,
        redrawer=Redrawer(inpainter or Inpainter(), CROPS, None, {"person": 0.1}),
        verifier=Verifier(detector, embedder),
        settings=Settings(("person", "face"), "body", 3, {"person": 1, "face": 1} | attempts, 1, {}, {}),
        description={},
    )


def noisy(seed: int) -> Image:
    """A picture with noise inside the masks of PERSON and FACE."""
    image = picture()
    treated = full_mask(PERSON, SIZE) | full_mask(FACE, SIZE)
    image[treated] = np.random.default_rng(seed).integers(0, 256, (int(treated.sum()), 3), dtype=np.uint8)
    return image


def test_nothing_under_the_masks_enters_the_result() -> None:
    """What is under the masks is replaced by noise after detection: the result stays the same, bit for bit."""
    results = []
    for seed in (0, 1):
        inpainter, artist, seen = Inpainter(), Artist(rendering()), Brightness()
        detector = Detector(afterwards((PERSON, FACE), (PERSON, SHOWN)))
        result = build(detector, artist, inpainter, seen)(noisy(seed))
        assert [t.action for t in result.treatments] == ["redrawn", "redrawn"]
        assert len(inpainter.jobs) == 1, "the face is the avatar's"
        job = inpainter.jobs[0]
        assert job.strength == 0.1 and job.start is not None
        results.append((result, artist.seen[0], job, seen.given[-1]))
    (one, first, job, given), (two, second, other, again) = results
    assert np.array_equal(one.treated, two.treated) and np.array_equal(one.image, two.image)
    assert np.array_equal(first, second), "the artist sees the filled picture"
    assert np.array_equal(given, again), "edges are those of the filled picture with the avatar"
    for name in ("image", "start", "mask", "edges", "depth"):
        assert np.array_equal(getattr(job, name), getattr(other, name)), name


def test_verdicts_decide_on_retries_and_nothing_else() -> None:
    """With other verdicts the same attempt gives the same pixels: a verdict carries redraw, retry or fill alone."""
    results = []
    for lost in (0, 1):
        calls: list[int] = []

        def find(_: Image, lost: int = lost, calls: list[int] = calls) -> tuple[Instance, ...]:
            calls.append(1)
            return () if len(calls) - 2 in range(lost) else (PERSON,)

        inpainter = Inpainter()
        result = build(Detector(find), Artist(rendering()), inpainter, person=2)(noisy(0))
        results.append((result, inpainter))
    (once, first), (twice, second) = results
    assert once.treatments[0].attempts == 1 and twice.treatments[0].attempts == 2
    assert np.array_equal(first.jobs[0].start, second.jobs[0].start) and first.jobs[0].seed == second.jobs[0].seed
    assert first.jobs[0].seed != second.jobs[1].seed
    assert np.array_equal(once.treated, twice.treated)


def test_who_was_drawn_is_known_after_the_picture_was_filled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[int] = []

    def checked(self: Verifier, *rest: object) -> tuple[Verdict, ...]:
        rounds.append(1)
        verdicts = check(self, *rest)  # type: ignore[arg-type]
        if len(rounds) > 1:
            return verdicts
        # The fill of one resembles what was there, and the avatar of the other is not found.
        failed = Verdict("pixels_replaced", False, 1.0, 0.5, 2), Verdict("class_kept", False, 0.0, 0.7, PERSON.id)
        return (*verdicts, *failed)

    check = Verifier.check
    monkeypatch.setattr(Verifier, "check", checked)
    box = Instance(2, "person", np.array([80, 20, 100, 60], np.float32))
    artist = Artist(rendering())
    result = build(Detector(lambda _: (PERSON, box)), artist, person=2)(picture())
    assert [(t.action, t.attempts) for t in result.treatments] == [("redrawn", 2), ("redacted", 0)]
    assert artist.before == [set(), {"avatar 1"}]


def test_the_artist_knows_what_is_ridden() -> None:
    bicycle = replace(instance(3, "vehicle", (16, 55, 56, 90)), source="centernet:bicycle")
    artist = Artist(rendering())
    result = build(Detector(lambda _: (PERSON, bicycle)), artist)(picture())
    assert [t.instance_id for t in result.treatments] == [1]
    assert artist.rides == ["bicycle"] and artist.ridden == [None], "it stays, with most of its wheels"


def test_who_cannot_be_posed_is_filled_with_the_face() -> None:
    inpainter = Inpainter()
    result = build(Detector(lambda _: (PERSON, FACE)), Artist(None), inpainter)(picture())
    assert [t.action for t in result.treatments] == ["redacted", "redacted"]
    assert not inpainter.jobs


def test_a_person_whose_avatar_fails_has_their_own_outline_again() -> None:
    calls = []

    def find(_: Image) -> tuple[Instance, ...]:
        calls.append(1)
        return (PERSON,) if len(calls) == 1 else ()

    result = build(Detector(find), Artist(rendering()), person=2)(picture())
    assert [(t.action, t.attempts) for t in result.treatments] == [("redacted", 2)]
    assert np.array_equal(result.instances[0].outline, PERSON.outline)


def test_a_face_that_an_avatar_carries_fails_with_its_person(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def compared(self: Verifier, *rest: object) -> tuple[Verdict, ...]:
        seen.append(1)
        verdicts = check(self, *rest)  # type: ignore[arg-type]
        return (*verdicts, Verdict("face_distance", len(seen) > 1, 0.9, 0.5, FACE.id))

    check = Verifier.check
    monkeypatch.setattr(Verifier, "check", compared)
    detector = Detector(afterwards((PERSON, FACE), (PERSON, SHOWN)))
    result = build(detector, Artist(rendering()), person=2)(picture())
    assert [(t.action, t.attempts) for t in result.treatments] == [("redrawn", 2), ("redrawn", 2)]
    assert outline_box(result.instances[1]).tolist() == list(AVATAR_FACE)


def test_a_face_that_nobody_sees_on_an_avatar_is_none_and_the_person_stays() -> None:
    embedder = Embedder()
    anonymizer = build(Detector(afterwards((PERSON, FACE), (PERSON,))), Artist(rendering()), embedder=embedder)
    result = anonymizer(picture())
    assert [t.action for t in result.treatments] == ["redrawn", "redacted"]
    assert result.instances[1] is FACE and not embedder.boxes, "nothing of it is left to compare"


def test_a_face_is_compared_where_the_avatar_shows_it() -> None:
    embedder = Embedder()
    detector = Detector(afterwards((PERSON, FACE), (PERSON, SHOWN)))
    result = build(detector, Artist(rendering()), embedder=embedder)(picture())
    assert [t.action for t in result.treatments] == ["redrawn", "redrawn"]
    assert embedder.boxes == [list(AVATAR_FACE), FACE.box.tolist()]


def test_an_avatar_carries_one_face() -> None:
    doubtful = replace(FACE, id=3, score=0.3)
    detector = Detector(afterwards((PERSON, FACE, doubtful), (PERSON, SHOWN)))
    result = build(detector, Artist(rendering()))(picture())
    assert [t.action for t in result.treatments] == ["redrawn", "redrawn", "redacted"]


def test_an_avatar_ends_a_little_below_the_outline() -> None:
    # The mask is wide on the safe side and holds the table as well.
    core = PERSON.mask.copy()
    core[30:] = False
    behind = replace(PERSON, core=core)
    drawn = drawn_for([behind], rendering())[0][1]
    rows = np.flatnonzero(drawn.alpha.any(1)) + drawn.box[1]
    assert rows[0] == 22 and rows[-1] in (49, 50) and drawn.cut < 0.2, "what lies lower was no part of them"


def test_feet_may_stand_a_little_below_the_outline() -> None:
    core = PERSON.mask.copy()
    core[28:] = False
    standing = rendering()
    alpha = standing.alpha.copy()
    feet = int(PERSON.box[1]) + 30 - standing.box[1]
    alpha[feet:] = 0
    drawn = drawn_for([replace(PERSON, core=core)], replace(standing, alpha=alpha))[0][1]
    rows = np.flatnonzero((drawn.alpha >= 0.5).any(1)) + drawn.box[1]
    assert rows[-1] == feet + standing.box[1] - 1, "an avatar that ends there is whole"


def cyclist(ankles: float = 68.0) -> tuple[Instance, Instance]:
    """Return a person whose mask holds a bicycle, with both ankles at a row, and the bicycle."""
    marks = np.zeros((33, 3), np.float32)
    marks[[27, 28], :2] = (30, ankles), (34, ankles)
    none = np.zeros(33, np.float32)
    view = PersonView(marks, none, none, marks, (0, 0, 80, 80), np.zeros((256, 256), np.float32), 1.0)
    return replace(PERSON, body=view), replace(instance(3, "vehicle", (18, 45, 48, 80)), source="centernet:bicycle")


def test_a_bicycle_that_is_gone_with_its_rider_is_drawn_anew() -> None:
    person, bicycle = cyclist()
    artist = Artist(rendering())
    build(Detector(lambda _: (person, bicycle)), artist)(picture())
    assert artist.rides == ["bicycle"] and artist.ridden[0] is not None
    assert np.array_equal(artist.ridden[0], bicycle.box)


@pytest.mark.parametrize(
    ("ankles", "box", "kind"),
    [
        (79.0, (18, 45, 48, 80), "bicycle"),  # stands before it
        (68.0, (0, 45, 62, 80), "bicycle"),  # seen from the side, beyond the mask
        (68.0, (18, 70, 48, 80), "bicycle"),  # far too small
        (68.0, (18, 45, 48, 80), "motorcycle"),
    ],
)
def test_no_bicycle_is_drawn_where_one_stays_or_nobody_rode(ankles: float, box: tuple[float, ...], kind: str) -> None:
    person, _ = cyclist(ankles)
    cycle = replace(instance(3, "vehicle", box), source=f"centernet:{kind}")
    artist = Artist(rendering())
    build(Detector(lambda _: (person, cycle)), artist)(picture())
    assert artist.ridden == [None]


def test_without_room_for_a_bicycle_somebody_stands() -> None:
    person, bicycle = cyclist()
    whole = rendering((18, 22, 80, 79))
    beside = np.zeros(whole.alpha.shape, np.float32)
    beside[30:, 34:] = 1
    artist = Artist(replace(whole, ridden=beside))
    drawn = draw_avatars(
        artist, picture(), [person], [person], {1: 1}, seen_by(artist, picture(), [person], 40.0), {1: bicycle}
    )
    assert [ridden is None for ridden in artist.ridden] == [False, True] and set(drawn) == {1}


def test_a_riders_outline_holds_the_bicycle_only_where_the_given_one_does() -> None:
    whole = rendering()
    ridden = np.zeros(whole.alpha.shape, np.float32)
    ridden[-20:] = 1
    drawn = replace(whole, ridden=ridden)
    bottom = whole.box[3] - 20
    found = shown_as(PERSON, drawn)
    assert full_mask(replace(found, mask=found.outline, core=None), SIZE)[bottom:].sum() == 0
    assert full_mask(found, SIZE)[bottom : whole.box[3], 25:35].all(), "all that is drawn may change"
    label = replace(PERSON, source="given")
    assert full_mask(shown_as(label, drawn), SIZE)[bottom:].any()
    held = shown_as(label, drawn)
    assert held.core is not None
    assert full_mask(replace(held, mask=held.core, core=None), SIZE)[bottom : whole.box[3], 30].all()
