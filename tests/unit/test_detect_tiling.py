from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.core.records import Image, Instance
from anonymizer.detect.regions import make_instance, number
from anonymizer.detect.tiling import TiledDetector, tiles


class BlobDetector:
    """Finds bright rectangles at least ``least`` of the picture's long side high: small ones only show in tiles."""

    def __init__(self, least: float) -> None:
        self.least = least
        self.seen: list[tuple[int, ...]] = []

    def detect(self, image: Image) -> tuple[Instance, ...]:
        import cv2

        self.seen.append(image.shape)
        count, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 128).astype(np.uint8))
        found = []
        for x, y, w, h, _ in stats[1:count]:
            if h >= self.least * max(image.shape[:2]):
                box = np.array([x, y, x + w, y + h], np.float32)
                made = make_instance("person", box, image.shape[:2], score=0.5, source="blob")
                if made is not None:
                    found.append(made)
        return number(found)


def picture(*boxes: tuple[int, int, int, int]) -> Image:
    image = np.zeros((400, 1000, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    return image


def found(detector: TiledDetector, image: Image) -> list[list[float]]:
    return sorted(i.box.tolist() for i in detector.detect(image))


def test_views_are_told_where_they_are_in_the_whole_picture() -> None:
    person = (150, 30, 170, 70)
    (instance,) = TiledDetector(BlobDetector(0.1), tile=200, overlap=0.3, min_side=500).detect(picture(person))
    assert {tuple(view) for view in instance.seen.tolist()} == {person}
    assert len(instance.seen) == 2


@pytest.mark.parametrize("size", [(50, 50), (64, 300), (333, 1000), (97, 65)])
def test_tiles_cover_the_picture_and_overlap(size: tuple[int, int]) -> None:
    seen = np.zeros(size, int)
    columns = set()
    for x1, y1, x2, y2 in tiles(size, 64, 0.25):
        assert 0 <= x1 < x2 <= size[1] and 0 <= y1 < y2 <= size[0]
        seen[y1:y2, x1:x2] += 1
        columns.add((x1, x2))
    assert seen.min() >= 1
    ordered = sorted(columns)
    assert all(left[1] - right[0] >= 15 for left, right in pairwise(ordered))


def test_boxes_keep_their_masks_far_from_the_corner() -> None:
    class Fine:
        """Finds one box whose fractions float32 cannot hold at 9,000 pixels."""

        def detect(self, image: Image) -> tuple[Instance, ...]:
            box = np.array([10.9999, 5.0001, 30.0001, 60.9999], np.float32)
            made = make_instance("person", box, image.shape[:2], score=0.5, source="fine")
            return () if made is None else (made,)

    places = TiledDetector(Fine(), tile=100, overlap=0.0, min_side=500).detect(np.zeros((100, 9950, 3), np.uint8))
    assert max(int(place.box[0]) for place in places) > 9000
    assert {place.mask.shape for place in places} == {(56, 21)}


def test_small_pictures_are_seen_once() -> None:
    inner = BlobDetector(0.0)
    TiledDetector(inner, tile=64, min_side=1000).detect(picture())
    assert inner.seen == [(400, 1000, 3)]


def test_small_objects_of_a_large_picture_are_found_once_at_their_place() -> None:
    small, other = (30, 40, 50, 70), (880, 300, 900, 330)
    image = picture(small, other)
    inner = BlobDetector(0.1)
    assert inner.detect(image) == ()
    detector = TiledDetector(inner, tile=200, overlap=0.3, min_side=500)
    assert found(detector, image) == [[float(v) for v in box] for box in (small, other)]
    assert [i.id for i in detector.detect(image)] == [1, 2]


def test_pieces_of_a_large_object_join_the_whole() -> None:
    detector = TiledDetector(BlobDetector(0.1), tile=200, overlap=0.25, min_side=500)
    assert found(detector, picture((100, 50, 700, 350))) == [[100.0, 50.0, 700.0, 350.0]]


def test_pieces_join_each_other_where_no_view_shows_the_whole() -> None:
    class TilesOnly(BlobDetector):
        def detect(self, image: Image) -> tuple[Instance, ...]:
            return () if image.shape[1] == 1000 else super().detect(image)

    detector = TiledDetector(TilesOnly(0.0), tile=400, overlap=0.25, min_side=500)
    assert found(detector, picture((200, 100, 560, 180))) == [[200.0, 100.0, 560.0, 180.0]]


def test_neighbours_stay_apart() -> None:
    boxes = [(190, 40, 210, 90), (212, 40, 232, 90), (234, 40, 254, 90)]
    detector = TiledDetector(BlobDetector(0.0), tile=200, overlap=0.25, min_side=500)
    assert found(detector, picture(*boxes)) == [[float(v) for v in box] for box in boxes]


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="tile"):
        TiledDetector(BlobDetector(0), tile=8)
    with pytest.raises(InputError, match="overlap"):
        TiledDetector(BlobDetector(0), overlap=1.0)


def test_what_did_not_change_is_not_looked_at_again() -> None:
    image = picture((30, 40, 50, 70), (880, 300, 900, 330))
    inner = BlobDetector(0.1)
    detector = TiledDetector(inner, tile=200, overlap=0.3, min_side=500)
    first = found(detector, image)
    looks = len(inner.seen)
    assert found(detector, image) == first
    assert len(inner.seen) == looks
    image[300:330, 880:900] = 0
    assert found(detector, image) == first[:1]
    assert len(inner.seen) - looks <= 5  # The whole and the tiles around the change.
    other = TiledDetector(BlobDetector(0.1), tile=200, overlap=0.3, min_side=500)
    assert found(other, image) == first[:1]


def test_memory_holds_one_picture_only() -> None:
    detector = TiledDetector(BlobDetector(0.1), tile=200, overlap=0.3, min_side=500)
    for value in range(5):
        detector.detect(np.full((400, 1000, 3), value, np.uint8))
        assert len(detector._known) == 2  # The whole and one tile: all tiles are alike.


def test_views_of_other_shape_and_the_same_bytes_are_told_apart() -> None:
    detector = TiledDetector(BlobDetector(0.0), min_side=5000)
    tall, wide = np.zeros((40, 10, 3), np.uint8), np.zeros((10, 40, 3), np.uint8)
    tall[:5] = 255
    wide[:5] = 255
    tall.reshape(-1)[:600] = wide.reshape(-1)[:600] = 255
    tall.reshape(-1)[600:] = wide.reshape(-1)[600:] = 0
    assert tall.tobytes() == wide.tobytes()
    assert found(detector, tall) == [[0.0, 0.0, 10.0, 20.0]]
    assert found(detector, wide) == [[0.0, 0.0, 40.0, 5.0]]


def test_large_pictures_are_seen_in_larger_tiles_with_the_same_overlap() -> None:
    inner = BlobDetector(0.1)
    detector = TiledDetector(inner, tile=200, overlap=0.3, min_side=500, large_tile=400, large_from=400_000)
    detector.detect(picture())
    sizes = {shape[:2] for shape in inner.seen}
    assert sizes == {(400, 1000), (400, 400)}
    ends = sorted(x2 for _, _, x2, _ in tiles((400, 1000), 400, 0.15))
    assert all(b - a <= 340 for a, b in pairwise(ends))


@pytest.fixture
def small_panoramas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anonymizer.detect.tiling.PANORAMA_WIDTH", 800)


@pytest.mark.usefixtures("small_panoramas")
def test_an_object_across_the_seam_of_a_panorama_is_found_at_both_borders() -> None:
    class Whole(BlobDetector):
        """Finds only what is at least 40 wide, as a detector needs to see most of an object."""

        def detect(self, image: Image) -> tuple[Instance, ...]:
            return tuple(i for i in super().detect(image) if i.box[2] - i.box[0] >= 40)

    image = np.zeros((400, 800, 3), np.uint8)
    image[150:230, :25] = image[150:230, 770:] = 255
    image[20:60, 5:55] = 255  # Close to the seam, not across it.
    detector = TiledDetector(Whole(0.0), tile=200, overlap=0.25, min_side=500)
    assert found(detector, image) == [
        [0.0, 150.0, 25.0, 230.0],
        [5.0, 20.0, 55.0, 60.0],
        [770.0, 150.0, 800.0, 230.0],
    ]
    for instance in detector.detect(image):
        assert instance.mask.all()
    flat = np.zeros((401, 800, 3), np.uint8)
    flat[:400] = image
    assert found(TiledDetector(Whole(0.0), tile=200, overlap=0.25, min_side=500), flat) == [[5.0, 20.0, 55.0, 60.0]]


def test_merging_a_crowd_is_fast() -> None:
    import time

    from anonymizer.detect.tiling import _merge, _View

    rng = np.random.default_rng(0)
    views = []
    for _ in range(6000):
        x, y = rng.integers(0, 12_000, 2)
        made = make_instance(
            "person", np.array([x, y, x + 20, y + 40], np.float32), (13_000, 13_000), score=0.5, source=""
        )
        assert made is not None
        views.append(_View(made, (0, 0, 13_000, 13_000), False))
    started = time.perf_counter()
    assert len(_merge(views)) > 5000
    assert time.perf_counter() - started < 10
