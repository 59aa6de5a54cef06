from dataclasses import replace

import numpy as np
import pytest

from anonymizer.core.errors import InputError, StageError
from anonymizer.core.records import FaceView, Instance, TextLine
from anonymizer.detect.score_filter import ScoreFilter
from anonymizer.verify import Verifier, VerifySettings


class Finds:
    def __init__(self, *instances: Instance) -> None:
        self.instances, self.calls = instances, 0

    def detect(self, image):
        self.calls += 1
        return self.instances


class MeanColour:
    """A face is whom its mean colour says."""

    threshold = 0.9

    def embed(self, image, box, landmarks):
        x1, y1, x2, y2 = (int(v) for v in box)
        colour = image[y1:y2, x1:x2].reshape(-1, 3).mean(axis=0) - 128
        return (colour / np.linalg.norm(colour)).astype(np.float32)


class ReadsBrightness:
    def read(self, image):
        height, width = image.shape[:2]
        middle = image[height // 3 : -height // 3, width // 4 : -width // 4]
        text = "KR58WTX" if middle.mean() > 128 else "BD47LMN"
        return (TextLine(np.zeros((4, 2), np.float32), text, 0.9),)


def at(number: int, label: str, *box: int) -> Instance:
    x1, y1, x2, y2 = box
    mask = np.ones((y2 - y1, x2 - x1), bool)
    if label == "person":  # Beside the head there is room.
        mask[: (y2 - y1) // 4, : (x2 - x1) // 4] = False
    return Instance(number, label, np.array(box, np.float32), mask)


PERSON, FACE, PLATE = (
    at(1, "person", 10, 10, 50, 90),
    at(2, "face", 20, 12, 40, 36),
    at(3, "license_plate", 60, 60, 96, 72),
)
EVERY = (PERSON, FACE, PLATE)


@pytest.fixture
def original() -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    image[12:36, 20:40, 0] |= 192
    image[50:80, 50:100] |= 160
    return image


@pytest.fixture
def treated() -> np.ndarray:
    mask = np.zeros((100, 100), bool)
    for instance in EVERY:
        x1, y1, x2, y2 = (int(v) for v in instance.box)
        mask[y1:y2, x1:x2] = True
    return mask


def redraw(original: np.ndarray, treated: np.ndarray) -> np.ndarray:
    result = original.copy()
    result[treated] = np.random.default_rng(9).integers(0, 110, (int(treated.sum()), 3), dtype=np.uint8)
    result[12:36, 20:40, 2] |= 192
    return result


REDRAWN = dict.fromkeys((1, 2, 3), "redrawn")


def names(verdicts, failed_only: bool = False) -> list[tuple[str, int | None]]:
    return [(v.check, v.instance_id) for v in verdicts if not (failed_only and v.passed)]


def test_a_good_redraw_passes_every_check_with_one_detection(original, treated):
    detector = Finds(*EVERY)
    verifier = Verifier(detector, MeanColour(), ReadsBrightness())
    evidence = verifier.examine(original, EVERY)
    verdicts = verifier.check(evidence, redraw(original, treated), treated, REDRAWN)
    assert names(verdicts) == [
        ("pixels_replaced", 1),
        ("class_kept", 1),
        ("outline", 1),
        ("pixels_replaced", 2),
        ("class_kept", 2),
        ("face_distance", 2),
        ("pixels_replaced", 3),
        ("class_kept", 3),
        ("plate_text", 3),
        ("second_pass", None),
    ]
    assert names(verdicts, failed_only=True) == [] and detector.calls == 1


@pytest.mark.parametrize(
    ("other", "action", "kept"),
    [((40, 10, 80, 90), "redrawn", True), ((40, 10, 80, 90), "redacted", False), ((60, 10, 90, 90), "redrawn", False)],
)
def test_of_two_redrawn_people_who_overlap_less_has_to_be_found(original, treated, other, action, kept):
    seen = at(7, "person", 10, 10, 50, 60)  # IoU 0.625
    behind = at(4, "person", *other)
    verifier = Verifier(Finds(seen, behind))
    evidence = verifier.examine(original, (PERSON, behind))
    verdicts = verifier.check(evidence, redraw(original, treated), treated, {1: "redrawn", 4: action})
    (mine,) = [v for v in verdicts if v.check == "class_kept" and v.instance_id == 1]
    assert mine.passed == kept and mine.threshold == (0.5 if kept else 0.7)


@pytest.mark.parametrize(
    ("eye", "profile", "given", "threshold"),
    [(36, None, None, 0.9), (25, None, None, 0.9), (25, 0.97, None, 0.97), (36, 0.97, None, 0.9), (25, 0.97, 0.5, 0.5)],
)
def test_profiles_have_a_threshold_of_their_own(original, treated, eye, profile, given, threshold):
    embedder = MeanColour()
    if profile is not None:
        embedder.profile_threshold = profile
    marks = np.array([[24, 20], [eye, 20], [30, 25], [26, 30], [34, 30]], np.float32)
    face = replace(FACE, landmarks=marks)
    verifier = Verifier(Finds(face), embedder, settings=VerifySettings(face_similarity=given))
    evidence = verifier.examine(original, (face,))
    verdicts = verifier.check(evidence, redraw(original, treated), treated, {2: "redrawn"})
    (mine,) = [v for v in verdicts if v.check == "face_distance"]
    assert mine.threshold == threshold
    assert ("little of a profile" in mine.detail) == (eye == 25 and profile is not None)


@pytest.mark.parametrize(("confidence", "threshold"), [(0.0, 0.97), (0.5, 0.9), (None, 0.9)])
def test_a_face_without_landmarks_is_in_profile_where_its_surface_does_not_face_the_camera(
    original, treated, confidence, threshold
):
    embedder = MeanColour()
    embedder.profile_threshold = 0.97
    view = None if confidence is None else FaceView(np.zeros((478, 3), np.float32), confidence)
    face = replace(FACE, face=view)
    verifier = Verifier(Finds(face), embedder)
    verdicts = verifier.check(verifier.examine(original, (face,)), redraw(original, treated), treated, {2: "redrawn"})
    assert [v.threshold for v in verdicts if v.check == "face_distance"] == [threshold]


def test_a_face_is_kept_where_one_is_found():
    verifier = Verifier(Finds())
    assert verifier.keeps(FACE, (at(9, "face", 21, 13, 40, 36),))
    assert not verifier.keeps(FACE, (at(9, "face", 40, 13, 60, 36), at(8, "person", 20, 12, 40, 36)))


def test_the_original_itself_fails_wherever_it_can(original, treated):
    verifier = Verifier(Finds(*EVERY), MeanColour(), ReadsBrightness())
    verdicts = verifier.check(verifier.examine(original, EVERY), original, treated, REDRAWN)
    assert names(verdicts, failed_only=True) == [
        ("pixels_replaced", 1),
        ("pixels_replaced", 2),
        ("face_distance", 2),
        ("pixels_replaced", 3),
        ("plate_text", 3),
    ]


def test_redacted_instances_need_not_be_found_but_must_not_leak(original, treated):
    verifier = Verifier(Finds(), MeanColour(), ReadsBrightness())
    evidence = verifier.examine(original, EVERY)
    redacted = dict.fromkeys((1, 2, 3), "redacted")
    verdicts = verifier.check(evidence, redraw(original, treated), treated, redacted)
    assert all(v.passed for v in verdicts) and not any(v.check == "class_kept" for v in verdicts)
    leaking = verifier.check(evidence, original, np.zeros_like(treated), redacted, found=EVERY)
    assert ("face_distance", 2) in names(leaking, failed_only=True)
    lost = verifier.check(evidence, redraw(original, treated), treated, REDRAWN)
    assert names(lost, failed_only=True) == [("class_kept", 1), ("class_kept", 2), ("class_kept", 3)]


def test_untreated_detections_fail_the_second_pass_and_are_named(original, treated):
    missed = at(7, "face", 70, 10, 90, 30)
    verifier = Verifier(Finds(*EVERY, missed))
    result = redraw(original, treated)
    found = verifier.find(result)
    verdicts = verifier.check(verifier.examine(original, EVERY), result, treated, REDRAWN, found)
    assert names(verdicts, failed_only=True) == [("second_pass", None)]
    assert verdicts[-1].value == 1.0
    assert verifier.leaks(treated, found) == (missed,)


def test_settings_override_the_embedders_threshold(original, treated):
    strict = Verifier(Finds(*EVERY), MeanColour(), None, VerifySettings(face_similarity=-1.0))
    verdicts = strict.check(strict.examine(original, EVERY), redraw(original, treated), treated, REDRAWN)
    assert names(verdicts, failed_only=True) == [("face_distance", 2)]


def test_bad_calls_are_refused(original, treated):
    verifier = Verifier(Finds(), MeanColour())
    evidence = verifier.examine(original, EVERY)
    with pytest.raises(InputError, match="ids \\[3\\]"):
        verifier.check(evidence, original, treated, {1: "redrawn", 2: "redrawn"})
    with pytest.raises(InputError, match="size"):
        verifier.check(evidence, original[:50], treated, REDRAWN)
    with pytest.raises(InputError, match="duplicates"):
        verifier.examine(original, (PERSON, PERSON))


def test_a_broken_embedding_is_an_error_not_a_pass(original, treated):
    class Broken(MeanColour):
        def embed(self, image, box, landmarks):
            return np.full(3, np.nan, np.float32)

    verifier = Verifier(Finds(), Broken())
    with pytest.raises(StageError, match="finite"):
        verifier.check(verifier.examine(original, EVERY), redraw(original, treated), treated, REDRAWN)


def test_a_face_is_embedded_only_where_it_is_compared(original, treated):
    class Counting(MeanColour):
        seen = 0

        def embed(self, image, box, landmarks):
            Counting.seen += 1
            return super().embed(image, box, landmarks)

    result = redraw(original, treated)
    # Nothing of the filled face is found: there is nothing to compare.
    verifier = Verifier(Finds(PERSON, PLATE), Counting())
    evidence = verifier.examine(original, EVERY)
    verdicts = verifier.check(evidence, result, treated, {**REDRAWN, 2: "redacted"})
    assert ("face_distance", 2) in names(verdicts) and Counting.seen == 0
    verifier.check(evidence, result, treated, REDRAWN)
    verifier.check(evidence, result, treated, REDRAWN)
    assert Counting.seen == 3  # The original once, each result.


def test_evidence_does_not_print_what_identifies(original):
    verifier = Verifier(Finds(), MeanColour(), ReadsBrightness())
    assert "KR58WTX" not in repr(verifier.examine(original, EVERY))


def test_leaks_are_chosen_as_detections_are(original, treated):
    weak, sure = (
        Instance(1, "person", np.array([0, 0, 10, 10], np.float32), np.ones((10, 10), bool), score)
        for score in (0.2, 0.3)
    )
    untreated = np.zeros_like(treated)
    keep = ScoreFilter(Finds(), {"person": 0.3}).kept
    assert Verifier(Finds(), keep=keep).leaks(untreated, [weak, sure]) == (sure,)
    assert Verifier(Finds()).leaks(untreated, [weak, sure]) == (weak, sure)


def test_what_was_examined_is_not_looked_at_again(original: np.ndarray) -> None:
    class Counting(MeanColour):
        seen = 0

        def embed(self, image, box, landmarks):
            Counting.seen += 1
            return super().embed(image, box, landmarks)

    verifier = Verifier(Finds(), Counting(), ReadsBrightness())
    known = verifier.examine(original, EVERY)
    other = at(4, "face", 70, 12, 90, 36)
    again = verifier.examine(original, (*EVERY, other), known)
    assert again.faces[2] is known.faces[2] and again.faces[4] is again.faces[4] and Counting.seen == 2
    assert set(again.faces) == {2, 4} and again.texts == known.texts
    moved = replace(FACE, box=FACE.box + 1)
    assert verifier.examine(original, (moved,), known).faces[2] is not known.faces[2]
