"""Body descriptors: what they look at, and what they are blind to."""

from __future__ import annotations

import numpy as np
import pytest

from anonymizer.core.errors import InputError
from anonymizer.core.records import Floats, Image, Instance, Mask
from anonymizer.recognize.body import ColourShapeEmbedder, SilhouetteEmbedder, hog

BOX = np.array([20, 10, 80, 170], np.float32)


def person(shirt: tuple[int, int, int], trousers: tuple[int, int, int]) -> Image:
    image = np.full((200, 100, 3), 120, np.uint8)
    image[10:90, 20:80] = shirt
    image[90:170, 20:80] = trousers
    return image


def body(wide: int = 26) -> Mask:
    """A head on a trunk on two legs."""
    rows, columns = np.mgrid[:160, :60]
    head = (rows - 15) ** 2 + (columns - 30) ** 2 < 14**2
    trunk = (rows >= 28) & (rows < 90) & (abs(columns - 30) < wide)
    legs = (rows >= 90) & (abs(abs(columns - 30) - wide / 2) < wide / 3)
    return head | trunk | legs


@pytest.mark.parametrize("embedder", [ColourShapeEmbedder(), SilhouetteEmbedder()])
def test_descriptions_are_unit_vectors_of_one_length(embedder: ColourShapeEmbedder | SilhouetteEmbedder) -> None:
    vectors = [
        embedder.embed(person((200, 30, 30), (20, 20, 90)), BOX, None, body()),
        embedder.embed(person((200, 30, 30), (20, 20, 90)), BOX, None, None),
        embedder.embed(
            np.zeros((30, 30, 3), np.uint8), np.array([4, 4, 5, 5], np.float32), None, np.ones((1, 1), bool)
        ),
    ]
    assert {v.shape for v in vectors} == {vectors[0].shape}
    for vector in vectors:
        assert vector.dtype == np.float32
        assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-5)
    assert embedder.label == "person"
    assert len(embedder.sha256) == 64


def test_colours_tell_people_apart_where_they_wear_them() -> None:
    embedder = ColourShapeEmbedder()

    def describe(image: Image) -> Floats:
        return embedder.embed(image, BOX, None, body())

    red = describe(person((200, 30, 30), (20, 20, 90)))
    red_again = describe(person((190, 40, 35), (25, 20, 95)))
    swapped = describe(person((20, 20, 90), (200, 30, 30)))
    assert float(red @ red_again) > float(red @ swapped) + 0.2


def test_what_lies_outside_the_mask_does_not_count() -> None:
    embedder = ColourShapeEmbedder()
    image = person((200, 30, 30), (20, 20, 90))
    other = image.copy()
    outside = np.ones((200, 100), bool)
    outside[10:170, 20:80] = ~body()
    other[outside] = (0, 255, 0)
    first, second = (embedder.embed(picture, BOX, None, body()) for picture in (image, other))
    # Resizing mixes colours only along the outline.
    assert float(first @ second) > 0.97


def test_silhouettes_are_blind_to_pixels_and_size_but_not_to_shape() -> None:
    embedder = SilhouetteEmbedder()
    mask = body()
    first = embedder.embed(person((200, 30, 30), (20, 20, 90)), BOX, None, mask)
    dark = embedder.embed(np.zeros((200, 100, 3), np.uint8), BOX, None, mask)
    assert np.array_equal(first, dark)
    doubled = np.repeat(np.repeat(mask, 2, axis=0), 2, axis=1)
    large = embedder.embed(np.zeros((400, 200, 3), np.uint8), BOX * 2, None, doubled)
    slim = embedder.embed(np.zeros((200, 100, 3), np.uint8), BOX, None, body(14))
    assert float(first @ large) > 0.995
    assert float(first @ slim) < float(first @ large) - 0.01


class Sees:
    """A detector that takes what is bright for a person."""

    def detect(self, image: Image) -> tuple[Instance, ...]:
        bright = image[..., 0] > 200
        if not bright.any():
            return ()
        rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
        x1, y1, x2, y2 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        return (Instance(1, "person", np.array([x1, y1, x2, y2], np.float32), bright[y1:y2, x1:x2]),)


def test_a_silhouette_found_again_is_that_of_the_picture() -> None:
    embedder = SilhouetteEmbedder(Sees())
    image = np.zeros((200, 100, 3), np.uint8)
    image[10:170, 20:80][body()] = 255
    found = embedder.embed(image, BOX, None, np.ones((160, 60), bool))
    assert float(found @ SilhouetteEmbedder().embed(image, BOX, None, body())) > 0.999
    assert embedder.name != SilhouetteEmbedder().name
    assert embedder.sha256 != SilhouetteEmbedder().sha256
    with pytest.raises(InputError, match="none found again"):
        embedder.embed(np.zeros_like(image), BOX, None, body())
    with pytest.raises(InputError, match="none found again"):
        embedder.embed(image, np.array([0, 0, 30, 30], np.float32), None, None)


def test_bad_masks_are_refused() -> None:
    for embedder in (ColourShapeEmbedder(), SilhouetteEmbedder()):
        with pytest.raises(InputError, match="fit"):
            embedder.embed(np.zeros((200, 100, 3), np.uint8), BOX, None, np.ones((3, 3), bool))
        with pytest.raises(InputError, match="none"):
            embedder.embed(np.zeros((200, 100, 3), np.uint8), BOX, None, np.zeros((160, 60), bool))


def test_gradients_land_in_the_bin_of_their_direction() -> None:
    ramp = np.tile(np.arange(32, dtype=np.float32) * 4, (32, 1))
    across, down = hog(ramp).reshape(-1, 4, 9), hog(ramp.T.copy()).reshape(-1, 4, 9)
    # A slope along x has orientation 0, shared by the first and the last bin; one along y has 90 degrees, bin 4.
    assert np.array_equal(np.flatnonzero(across[0, 0] > 1e-6), [0, 8])
    assert np.array_equal(np.flatnonzero(down[0, 0] > 1e-6), [4])
    assert not hog(np.zeros((32, 32), np.float32)).any()
    with pytest.raises(InputError, match="hog"):
        hog(np.zeros((8, 40), np.float32))
