import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from anonymizer.core.geometry import (
    box_iou,
    clip_box,
    context_box,
    dilate,
    distance_inside,
    full_mask,
    integer_box,
    mask_box,
    mask_iou,
    paste_window,
    take,
)
from anonymizer.core.records import Instance

SIZES = st.tuples(st.integers(1, 24), st.integers(1, 24))
MASKS = hnp.arrays(bool, SIZES)
COORDINATES = st.floats(-30, 60, width=32)


@st.composite
def boxes(draw: st.DrawFn) -> np.ndarray:
    x1, y1 = draw(COORDINATES), draw(COORDINATES)
    width, height = draw(st.floats(0.25, 40, width=32)), draw(st.floats(0.25, 40, width=32))
    box = np.array([x1, y1, x1 + width, y1 + height], np.float32)
    assume(box[2] > box[0] and box[3] > box[1])
    return box


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    box = draw(boxes())
    x1, y1, x2, y2 = integer_box(box)
    mask = draw(hnp.arrays(bool, (y2 - y1, x2 - x1)))
    assume(mask.any())
    return Instance(1, "person", box, mask)


@given(boxes())
def test_integer_box_is_the_smallest_that_holds_the_box(box):
    whole = np.array(integer_box(box))
    assert (whole[:2] <= box[:2]).all() and (box[:2] < whole[:2] + 1).all()
    assert (whole[2:] >= box[2:]).all() and (box[2:] > whole[2:] - 1).all()


@given(boxes(), SIZES)
def test_clipping_stays_inside_and_changes_nothing_twice(box, size):
    once = clip_box(box, size)
    assert (once >= 0).all() and (once[[0, 2]] <= size[1]).all() and (once[[1, 3]] <= size[0]).all()
    assert np.array_equal(clip_box(once, size), once)


@given(boxes(), boxes())
def test_iou_is_symmetric_bounded_and_one_for_itself(a, b):
    value = box_iou(a[None], b[None])[0, 0]
    assert 0 <= value <= 1 + 1e-6
    assert np.isclose(value, box_iou(b[None], a[None])[0, 0])
    assert np.isclose(box_iou(a[None], a[None])[0, 0], 1, atol=1e-4)


@given(MASKS)
def test_mask_box_is_tight_and_the_mask_comes_back(mask):
    box = mask_box(mask)
    if box is None:
        assert not mask.any()
        return
    x1, y1, x2, y2 = box
    inner = mask[y1:y2, x1:x2]
    assert inner[0].any() and inner[-1].any() and inner[:, 0].any() and inner[:, -1].any()
    instance = Instance(1, "face", np.array(box, np.float32), inner)
    assert np.array_equal(full_mask(instance, mask.shape), mask)


@given(instances(), SIZES)
def test_full_mask_holds_exactly_what_lies_inside_the_picture(instance, size):
    x1, y1, _, _ = integer_box(instance.box)
    expected = np.zeros(size, bool)
    for row, column in np.argwhere(instance.mask):
        y, x = row + y1, column + x1
        if 0 <= y < size[0] and 0 <= x < size[1]:
            expected[y, x] = True
    assert np.array_equal(full_mask(instance, size), expected)


@given(instances(), instances())
def test_mask_iou_agrees_with_masks_in_one_frame(a, b):
    frames = []
    for instance in (a, b):
        shifted = instance.box + np.float32(64)
        whole = np.array(integer_box(instance.box)) + 64
        frame = np.zeros((180, 180), bool)
        frame[whole[1] : whole[3], whole[0] : whole[2]] = instance.mask
        frames.append(frame)
        assert shifted.min() > 0
    union = (frames[0] | frames[1]).sum()
    expected = (frames[0] & frames[1]).sum() / union if union else 0.0
    assert np.isclose(mask_iou(a, b), expected)


@given(boxes(), SIZES)
def test_paste_window_slices_match_and_stay_inside(box, size):
    whole = integer_box(box)
    picture, local = paste_window(whole, size)
    for outer, inner, start, limit, extent in (
        (picture[0], local[0], whole[1], size[0], whole[3] - whole[1]),
        (picture[1], local[1], whole[0], size[1], whole[2] - whole[0]),
    ):
        length = outer.stop - outer.start
        assert length >= 0 and inner.stop - inner.start == length
        assert outer.start - start == inner.start
        if length:
            assert 0 <= outer.start < outer.stop <= limit and 0 <= inner.start < inner.stop <= extent


@given(hnp.arrays(np.uint8, SIZES), boxes())
def test_take_then_paste_gives_the_picture_back(image, box):
    whole = integer_box(box)
    crop = take(image, whole)
    assert crop.shape == (whole[3] - whole[1], whole[2] - whole[0])
    picture, local = paste_window(whole, image.shape)
    assert np.array_equal(image[picture], crop[local])
    height, width = image.shape
    y, x = min(max(whole[1], 0), height - 1), min(max(whole[0], 0), width - 1)
    assert crop[0, 0] == image[y, x]


@given(boxes(), st.floats(0, 1), st.floats(0.25, 4))
def test_context_box_holds_the_box_in_the_shape_wanted(box, margin, aspect):
    x1, y1, x2, y2 = context_box(box, margin, aspect)
    assert x1 <= box[0] + 1 and y1 <= box[1] + 1 and x2 >= box[2] - 1 and y2 >= box[3] - 1
    width, height = x2 - x1, y2 - y1
    # Whole pixels: each side is within one of its exact length.
    assert abs(height - width * aspect) <= 1 + aspect


@given(MASKS, st.integers(0, 30))
def test_dilate_agrees_with_scipy(mask, radius):
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = x * x + y * y <= radius * radius
    assert np.array_equal(dilate(mask, radius), ndimage.binary_dilation(mask, disc))


@given(MASKS, st.integers(1, 8))
def test_distance_inside_agrees_with_scipy(mask, limit):
    reach = limit + 1
    wide = np.pad(mask, reach, mode="edge")
    if wide.all():
        expected = np.full(mask.shape, limit, np.float32)
    else:
        distance = ndimage.distance_transform_cdt(wide, metric="chessboard")
        expected = np.minimum(distance, limit)[reach:-reach, reach:-reach].astype(np.float32)
    assert np.array_equal(distance_inside(mask, limit), expected)
