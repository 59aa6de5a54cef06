"""The residue attack on files and pixels made for it."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures

from anonymizer.core.records import Image
from anonymizer.evaluation.attacks.residue import ghost, name_figures, pixel_figures, run
from anonymizer.evaluation.records import Finding, Pair, Skipped, Subject
from anonymizer.images.decode import decode_image

from .attack_fakes import Scene

BOX = np.array([32, 24, 96, 104], np.float32)


def noise(seed: int = 0) -> Image:
    """Texture with some smoothness, as photographs have it."""
    grain = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    return np.asarray(Pictures.fromarray(grain).resize((128, 128), Pictures.Resampling.BICUBIC))


def subject(name: str = "a.jpg", **more: str) -> Subject:
    return Subject(name, 0, "face", BOX, **more)


def jpeg(image: Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    Pictures.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def replaced(image: Image, subjects: Sequence[Subject]) -> Image:
    out = image.copy()
    out[24:104, 32:96] = noise(99)[24:104, 32:96]
    return out


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("trip/AB-C 123.jpg", (1, 0, 0)),
        ("anna_berg_2.jpg", (0, 1, 0)),
        ("pano_52.51630,13.37770.jpg", (0, 0, 1)),
        ("N52.5163_E13.3777.jpg", (0, 0, 1)),
        ("IMG_20240101.jpg", (0, 0, 0)),
    ],
)
def test_names_that_tell(name: str, expected: tuple[int, int, int]) -> None:
    pair = Pair(name, Path("in") / name, Path("out/images") / name)
    known = (subject(name, text="ABC123"), subject(name, identity="Anna Berg"))
    assert name_figures(pair, known) == expected


def test_only_the_released_name_counts_and_the_unknown_stays_unknown() -> None:
    pair = Pair("ABC123/x.jpg", Path("in/ABC123/x.jpg"), Path("out/other.jpg"))
    assert name_figures(pair, (subject(text="ABC123"),))[0] == 0
    plate, identity, _ = name_figures(pair, (subject(),))
    assert np.isnan(plate)
    assert np.isnan(identity)


def test_pixels_kept_shine_through_and_new_ones_do_not() -> None:
    image, nothing = noise(), np.zeros((128, 128), bool)
    kept = pixel_figures(image, image, subject(), nothing)
    new = pixel_figures(image, replaced(image, ()), subject(), nothing)
    assert kept[0] == pytest.approx(1)
    assert abs(kept[1]) < 0.3
    assert abs(new[0]) < 0.1
    assert kept[2] == 1
    assert new[2] < 0.1
    assert kept[3] == new[3] == 1
    faint = image.copy()
    faint[24:104, 32:96] = (image[24:104, 32:96].astype(int) + 40).clip(0, 255)
    assert pixel_figures(image, faint, subject(), nothing)[0] > 0.9


def test_the_ring_sees_spilling_but_not_a_neighbour() -> None:
    image = noise()
    spilled = image.copy()
    spilled[:, 90:] = 0
    nothing, right = np.zeros((128, 128), bool), np.zeros((128, 128), bool)
    right[:, 90:] = True
    assert pixel_figures(image, spilled, subject(), nothing)[3] < 0.8
    assert pixel_figures(image, spilled, subject(), right)[3] == 1


def test_ghosts_show_what_was_not_compressed_before() -> None:
    file = jpeg(noise(), 70)
    like = decode_image(file, "a.jpg")
    treated = np.zeros((128, 128), bool)
    treated[24:104, 32:96] = True
    rng = np.random.default_rng(3)
    released = like.pixels.copy()
    released[treated] = rng.integers(0, 256, (int(treated.sum()), 3))
    found, floor = ghost(released, like, treated), ghost(like.pixels, like, treated)
    assert found is not None
    assert floor is not None
    assert found > 0.99
    assert floor < 0.8
    assert ghost(released, like, np.ones((128, 128), bool)) is None
    plain = io.BytesIO()
    Pictures.fromarray(noise()).save(plain, "PNG")
    assert ghost(released, decode_image(plain.getvalue(), "a.png"), treated) is None


def written(folder: Path, names: Sequence[str], *, clean: bool) -> Scene:
    scene = Scene()
    for side in ("in", "out"):
        (folder / side).mkdir()
    for number, name in enumerate(names):
        image = noise(number)
        scene.add(name, image, subject(name, identity="someone"))
        data = jpeg(image, 80)
        (folder / "in" / name).write_bytes(data)
        if clean:
            (folder / "out" / name).write_bytes(jpeg(replaced(image, ()), 80))
            stamp = (folder / "in" / name).stat().st_mtime_ns + 10**10
        else:
            (folder / "out" / name).write_bytes(data[:2] + b"\xff\xfe\x00\x06home" + data[2:] + b"tail")
            stamp = (folder / "in" / name).stat().st_mtime_ns
        os.utime(folder / "out" / name, ns=(stamp, stamp))
    return scene


@pytest.mark.parametrize("clean", [True, False])
def test_released_files(tmp_path: Path, clean: bool) -> None:
    context = written(tmp_path, ["a.jpg", "b.jpg", "c.jpg"], clean=clean).context(tmp_path, ("face",), replaced)
    files, *pixels = run(context)
    assert isinstance(files, Finding)
    for name in ("metadata", "trailing_bytes", "time_copied"):
        assert files.estimates[name].value == (0 if clean else 1)
    assert files.estimates["file_unchanged"].value == 0
    assert files.estimates["identity_in_name"].value == 0
    assert files.estimates["plate_in_name"].value is None
    assert files.estimates["plate_in_name"].reason
    assert any("comment in 3" in note for note in files.notes) is not clean
    assert files.estimates["ghost_auc"].value is not None
    by_variant = {f.variant: f for f in pixels if isinstance(f, Finding)}
    assert by_variant["original"].estimates["texture_shines_through"].value == 1
    assert by_variant["anonymized"].estimates["texture_shines_through"].value == 0
    assert by_variant["anonymized"].counts["subjects"] == 3


def test_classes_without_subjects_are_skipped(tmp_path: Path) -> None:
    context = written(tmp_path, ["a.jpg"], clean=True).context(tmp_path, ("person",), replaced)
    assert [type(f) for f in run(context)] == [Finding, Skipped, Skipped]
