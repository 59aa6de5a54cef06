"""What is not treated comes out as it was: JPEG blocks nearly always, 16-bit samples always."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from anonymizer.images.decode import Decoded, decode_image
from anonymizer.images.encode import encode_image
from anonymizer.images.high_bit_depth import merge_deep, reduce_deep
from anonymizer.images.release import Release
from anonymizer.run.local import InProcess
from anonymizer.run.request import Request
from anonymizer.run.runner import execute

from .fakes import FakeAnonymizer
from .planted import saved, scene


def treated_box(size: tuple[int, int], box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size, dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def redrawn(decoded: Decoded, treated: NDArray[np.bool_]) -> NDArray[np.uint8]:
    out = decoded.pixels.copy()
    out[treated] = np.array([30, 160, 90], np.uint8)
    return out


def away_from(treated: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return pixels of blocks without a treated pixel, and not beside such: there chroma is interpolated."""
    grown = cv2.dilate(treated.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    blocks = np.zeros(treated.shape, dtype=bool)
    for top in range(0, treated.shape[0], 16):
        for left in range(0, treated.shape[1], 16):
            blocks[top : top + 16, left : left + 16] = grown[top : top + 16, left : left + 16].any()
    return ~cv2.dilate(blocks.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8], where: NDArray[np.bool_]) -> float:
    error = ((a[where].astype(float) - b[where]) ** 2).mean()
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


@pytest.mark.parametrize("sampling", [0, 2], ids=["4:4:4", "4:2:0"])
@pytest.mark.parametrize("quality", [60, 85, 92])
def test_blocks_without_a_treated_pixel_come_out_as_they_were(sampling: int, quality: int) -> None:
    decoded = decode_image(saved(scene((160, 128)), "JPEG", quality=quality, subsampling=sampling), "a.jpg")
    treated = treated_box(decoded.size, (40, 30, 90, 77))
    result = redrawn(decoded, treated)
    again = decode_image(encode_image(result, decoded, ".jpg", treated=treated), "b.jpg")
    away = away_from(treated)
    assert away.mean() > 0.3
    assert (again.pixels == decoded.pixels).all(axis=2)[away].mean() > 0.99
    plain = decode_image(encode_image(result, decoded, ".jpg"), "c.jpg")
    # At 4:4:4 the way through RGB may be exact by itself.
    best = psnr(decoded.pixels, again.pixels, away)
    assert best == 99 or best > psnr(decoded.pixels, plain.pixels, away) + 3
    assert (again.quantization, again.subsampling) == (decoded.quantization, sampling)


@pytest.mark.parametrize("sampling", [0, 1, 2])
def test_nothing_of_the_original_is_left_inside(sampling: int) -> None:
    first, second = scene((160, 128)), Image.fromarray(255 - np.asarray(scene((160, 128))))
    treated = treated_box((128, 160), (33, 21, 101, 95))
    out = []
    for original in (first, second):
        decoded = decode_image(saved(original, "JPEG", quality=90, subsampling=sampling), "a.jpg")
        pixels = np.full_like(decoded.pixels, 128)  # Outside as well, so that only what is stored can differ.
        planes = encode_image(pixels, decoded, ".jpg", treated=treated)
        out.append(decode_image(planes, "b.jpg").pixels)
    inner = treated_box((128, 160), (50, 34, 94, 78))  # whole blocks, less the rim that chroma is interpolated over
    assert np.array_equal(out[0][inner], out[1][inner])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("size", [(160, 128), (97, 61)])
def test_turned_pictures_keep_their_blocks_too(orientation: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(saved(scene(size), "JPEG", quality=85, subsampling=2, exif=exif), "a.jpg")
    treated = treated_box(decoded.size, (8, 8, 24, 24))
    again = decode_image(encode_image(redrawn(decoded, treated), decoded, ".jpg", treated=treated), "b.jpg")
    assert again.size == decoded.size
    away = away_from(treated)
    # Turned, chroma is interpolated with other rounding; where the size is odd, blocks lie elsewhere.
    assert psnr(decoded.pixels, again.pixels, away) > (50 if size == (160, 128) else 35)


def test_grey_jpegs_stay_grey() -> None:
    decoded = decode_image(saved(scene((160, 128)).convert("L"), "JPEG", quality=90), "a.jpg")
    treated = treated_box(decoded.size, (48, 48, 96, 96))
    data = encode_image(redrawn(decoded, treated), decoded, ".jpg", treated=treated)
    again = decode_image(data, "b.jpg")
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "L"
    assert again.grey and again.quantization == decoded.quantization
    away = away_from(treated)
    assert (again.pixels == decoded.pixels).all(axis=2)[away].mean() > 0.99
    grey = 0.299 * 30 + 0.587 * 160 + 0.114 * 90
    assert np.abs(again.pixels[60:80, 60:80].astype(int) - grey).mean() < 4


@pytest.mark.parametrize("options", [{"subsampling": 1}, {"progressive": True}, {"keep_rgb": True, "quality": 95}])
def test_unusual_jpegs_are_written_all_the_same(options: dict[str, object]) -> None:
    decoded = decode_image(saved(scene((97, 61)), "JPEG", **options), "a.jpg")
    treated = treated_box(decoded.size, (10, 10, 40, 40))
    again = decode_image(encode_image(redrawn(decoded, treated), decoded, ".jpg", treated=treated), "b.jpg")
    assert psnr(decoded.pixels, again.pixels, away_from(treated)) > 33


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_deep_samples_stay_outside_and_bring_nothing_back_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 40, 2))
    samples = rng.integers(0, 65536, (height, width, 3), dtype=np.uint16)
    small = reduce_deep(samples)
    assert np.abs(small.astype(float) * 257 - samples).max() <= 128.5
    treated = rng.random((height, width)) < 0.5
    pixels = small.copy()
    pixels[treated & (rng.random((height, width)) < 0.5)] = 77  # others were redrawn in their old colour
    merged = merge_deep(samples, pixels, treated)
    assert np.array_equal(merged[~treated], samples[~treated])
    assert (merged[treated] % 257 == 0).all()
    assert np.array_equal(reduce_deep(merged), pixels)


def deep_file(kind: str, samples: NDArray[np.uint16]) -> bytes:
    if kind == "grey.png":
        return saved(Image.fromarray(samples[..., 0]), "PNG", dpi=(300, 300))
    done, data = cv2.imencode(f".{kind}", samples[..., ::-1])
    assert done
    return data.tobytes()


@pytest.mark.parametrize("kind", ["png", "tiff", "grey.png"])
@pytest.mark.parametrize("target", [None, "png", "tiff", "jpeg"])
def test_a_run_keeps_all_sixteen_bits_of_untreated_samples(tmp_path: Path, kind: str, target: str | None) -> None:
    samples = np.random.default_rng(1).integers(0, 65536, (24, 32, 3), dtype=np.uint16)
    (tmp_path / "in").mkdir()
    (tmp_path / f"in/a.{kind}").write_bytes(deep_file(kind, samples))
    execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "out", release=Release(target)))
    (path,) = (tmp_path / "out/images").iterdir()
    again = decode_image(path.read_bytes(), "b")
    ledger = (tmp_path / "out/ledger.jsonl").read_text()
    if target == "jpeg":
        assert again.format == "JPEG" and again.deep is None
        assert "16-bit reduced to 8-bit" in ledger
        return
    assert again.deep is not None
    if kind == "grey.png":
        samples = np.repeat(samples[..., :1], 3, axis=2)
    treated = treated_box((24, 32), (0, 0, 16, 12))  # what the fake redraws
    assert np.array_equal(again.deep[~treated], samples[~treated])
    assert (again.deep[treated] % 257 == 0).all()
    assert "16-bit reduced" not in ledger


def test_deep_files_keep_profile_and_resolution() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    samples = np.random.default_rng(1).integers(0, 65536, (24, 32), dtype=np.uint16)
    decoded = decode_image(saved(Image.fromarray(samples), "PNG", dpi=(300, 150)), "a.png")
    like = Decoded(**{name: getattr(decoded, name) for name in Decoded.__slots__} | {"icc": profile})
    treated = np.zeros(decoded.size, dtype=bool)
    for suffix in (".png", ".tif"):
        again = decode_image(encode_image(decoded.pixels, like, suffix, treated=treated), "b")
        assert again.icc == profile
        assert again.dpi == pytest.approx((300, 150), abs=0.5)
        assert again.deep is not None


@pytest.mark.parametrize("suffix", [".avif", ".heic"])
def test_avif_and_heic_are_written_finely_with_a_note(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(cv2.GaussianBlur(np.asarray(scene((160, 128))), (7, 7), 0)).save(tmp_path / "in/a.png")
    decoded = decode_image((tmp_path / "in/a.png").read_bytes(), "a")
    (tmp_path / "in/a.png").unlink()
    (tmp_path / f"in/a{suffix}").write_bytes(encode_image(decoded.pixels, decoded, suffix))
    source = decode_image((tmp_path / f"in/a{suffix}").read_bytes(), "a")
    summary = execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "out"))
    assert summary.released == 1
    again = decode_image((tmp_path / f"out/images/a{suffix}").read_bytes(), "b")
    assert again.format == source.format
    assert psnr(source.pixels, again.pixels, away_from(treated_box(source.size, (0, 0, 80, 64)))) > 38
    assert "with losses" in (tmp_path / "out/ledger.jsonl").read_text()


def test_one_lossless_format_for_all(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for kind in ("JPEG", "PNG", "WEBP", "BMP"):
        buffer = io.BytesIO()
        scene().save(buffer, kind)
        (tmp_path / f"in/{kind}.{kind.lower()}").write_bytes(buffer.getvalue())
    summary = execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "out", release=Release("png")))
    assert summary.released == 4
    assert {path.suffix for path in (tmp_path / "out/images").iterdir()} == {".png"}
    assert "with losses" not in (tmp_path / "out/ledger.jsonl").read_text()
    # Found by its new name in the annotations, by its old one in the ledger.
    assert '"file_name": "BMP.png"' in (tmp_path / "out/annotations.json").read_text()
    again = execute(InProcess(FakeAnonymizer()), Request(tmp_path / "in", tmp_path / "out", release=Release("png")))
    assert again.skipped == 4
