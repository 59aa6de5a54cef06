import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anonymizer.core.geometry import blend, feather

SIZES = st.tuples(st.integers(1, 16), st.integers(1, 16))


@st.composite
def layers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    height, width = draw(SIZES)
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    base, patch = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    return base, patch, draw(hnp.arrays(bool, (height, width))), draw(hnp.arrays(bool, (height, width)))


@given(layers(), st.integers(0, 6))
def test_outside_the_mask_the_base_stays_bit_for_bit(made, width):
    base, patch, mask, _ = made
    before = base.copy()
    out = blend(base, patch, feather(mask, width))
    assert np.array_equal(out[~mask], base[~mask])
    assert np.array_equal(base, before) and out is not base


@given(layers(), st.integers(0, 6))
def test_where_alpha_is_taken_away_the_base_stays(made, width):
    base, patch, mask, occluder = made
    out = blend(base, patch, feather(mask, width) * ~occluder)
    assert np.array_equal(out[occluder], base[occluder])
    assert np.array_equal(out[~occluder], blend(base, patch, feather(mask, width))[~occluder])


@given(layers())
def test_a_full_alpha_gives_the_patch_and_values_stay_between(made):
    base, patch, mask, _ = made
    assert np.array_equal(blend(base, patch, feather(mask, 0))[mask], patch[mask])
    out = blend(base, patch, feather(mask, 3))
    assert (out >= np.minimum(base, patch)).all() and (out <= np.maximum(base, patch)).all()


@given(hnp.arrays(bool, SIZES), st.integers(0, 6))
def test_feather_lies_in_the_mask_and_never_reaches_zero_there(mask, width):
    alpha = feather(mask, width)
    assert alpha.dtype == np.float32 and np.array_equal(alpha > 0, mask)
    assert alpha.max(initial=0) <= 1
    wider = feather(mask, width + 1)
    assert (wider <= alpha + 1e-6).all()
