import io
import sys
import warnings
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from anonymizer.core.errors import InputError
from anonymizer.images.decode import decode_image, read_bytes, read_image, thumbnail
from anonymizer.images.encode import encode_image

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (24, 40, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(**options: object) -> bytes:
    return saved(Image.fromarray(PICTURE), "PNG", **options)


def header_only_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tif", ".TIFF"])
def test_lossless_formats_give_the_same_pixels_back(suffix: str) -> None:
    decoded = decode_image(png(dpi=(300, 300)), "a")
    again = decode_image(encode_image(decoded.pixels, decoded, suffix), "b")
    assert np.array_equal(again.pixels, PICTURE)
    assert not decoded.pixels.flags.writeable


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "empty"), (b"no picture at all", "not a picture"), (b"GIF89a", "not")]
)
def test_what_is_no_picture_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=f"street.jpg.*{words}") as caught:
        decode_image(data, "street.jpg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_truncated_file_is_refused(kind: str, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as other packages set it on import
    data = saved(Image.fromarray(PICTURE), kind)
    with pytest.raises(InputError, match="a.x"):
        decode_image(data[: int(len(data) * share)], "a.x")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_damage_of_any_byte_gives_a_picture_or_an_input_error() -> None:
    data = saved(Image.fromarray(PICTURE), "TIFF", compression="tiff_adobe_deflate")
    rng = np.random.default_rng(1)
    for _ in range(150):
        broken = bytearray(data)
        broken[int(rng.integers(len(broken)))] = int(rng.integers(256))
        try:
            decode_image(bytes(broken), "a.tif", max_pixels=10_000)
        except InputError:
            continue


def test_the_content_decides_what_is_read_and_the_suffix_what_is_written() -> None:
    decoded = decode_image(png(), "a.jpg")
    assert decoded.format == "PNG"
    assert encode_image(decoded.pixels, decoded, ".jpg").startswith(b"\xff\xd8")
    assert encode_image(decoded.pixels, decoded, ".unknown").startswith(b"\x89PNG")


def test_sixteen_bit_is_scaled_not_cut() -> None:
    grey = np.array([[0, 257, 32896, 65535]], np.uint16)
    for kind in ("PNG", "TIFF"):
        decoded = decode_image(saved(Image.fromarray(grey), kind), "a")
        assert decoded.pixels[0, :, 0].tolist() == [0, 1, 128, 255]
        assert decoded.deep is not None
        assert np.array_equal(decoded.deep, np.repeat(grey[..., None], 3, axis=2))
        assert decoded.notes == ()


def test_sixteen_bits_that_two_decoders_read_differently_are_reduced_with_a_note() -> None:
    deep = np.zeros((4, 4, 4), np.uint16)
    deep[..., 3] = 30_000  # alpha is flattened in 8 bits
    done, data = cv2.imencode(".png", deep)
    assert done
    decoded = decode_image(data.tobytes(), "a")
    assert decoded.deep is None
    assert "16-bit reduced to 8-bit" in decoded.notes


def test_wide_integers_beyond_sixteen_bit_and_floats_are_refused() -> None:
    with pytest.raises(InputError, match="0 to 65535"):
        decode_image(saved(Image.fromarray(np.array([[-5, 70000]], np.int32)), "TIFF"), "a")
    with pytest.raises(InputError, match="floating-point samples"):
        decode_image(saved(Image.fromarray(np.array([[0.5]], np.float32)), "TIFF"), "a")


def test_cmyk_becomes_rgb_with_a_note() -> None:
    ink = Image.merge("CMYK", [Image.new("L", (8, 8), value) for value in (255, 0, 0, 0)])
    decoded = decode_image(saved(ink, "TIFF"), "a")
    assert decoded.pixels[0, 0].tolist() == [0, 255, 255]
    assert decoded.notes == ("CMYK converted to sRGB",)
    assert decode_image(saved(ink, "JPEG"), "a").quantization is None


def test_alpha_is_flattened_onto_white_and_what_it_hid_is_gone() -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = [200, 10, 10, 0]
    rgba[1, 1] = [1, 2, 3, 255]
    decoded = decode_image(saved(Image.fromarray(rgba), "PNG"), "a")
    assert decoded.pixels[0, 0].tolist() == [255, 255, 255]
    assert decoded.pixels[1, 1].tolist() == [1, 2, 3]
    assert "alpha flattened onto white" in decoded.notes


def test_palette_grey_and_bilevel_pictures_become_rgb() -> None:
    image = Image.fromarray(PICTURE)
    palette = image.quantize(16)
    assert np.array_equal(decode_image(saved(palette, "PNG"), "a").pixels, np.asarray(palette.convert("RGB")))
    seen = decode_image(saved(palette, "PNG", transparency=0), "a")
    assert "alpha flattened onto white" in seen.notes
    for mode in ("L", "1", "LA"):
        decoded = decode_image(saved(image.convert(mode), "PNG"), "a")
        assert np.array_equal(decoded.pixels[..., 0], decoded.pixels[..., 2])


def test_a_single_pixel_is_a_picture() -> None:
    decoded = decode_image(saved(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"), "a")
    assert decoded.size == (1, 1)
    for suffix in (".jpg", ".png", ".webp", ".bmp", ".tif"):
        assert decode_image(encode_image(decoded.pixels, decoded, suffix), "b").size == (1, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_exif_orientation_is_applied_once(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    flat = np.zeros((16, 32, 3), np.uint8)
    flat[:8, :8] = 255
    decoded = decode_image(saved(Image.fromarray(flat), kind, exif=exif), "a")
    upright = {
        1: flat, 2: flat[:, ::-1], 3: flat[::-1, ::-1], 4: flat[::-1], 5: flat.transpose(1, 0, 2),
        6: np.rot90(flat, -1), 7: flat[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(flat),
    }[orientation]  # fmt: skip
    assert np.array_equal(decoded.pixels > 127, upright > 127)
    again = decode_image(encode_image(decoded.pixels, decoded, f".{kind.lower()}"), "b")
    assert again.size == decoded.size


def test_a_hundred_megapixels_are_read_and_more_than_allowed_is_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    Image.new("1", (10_000, 10_000), 1).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = read_image(path)
    assert decoded.size == (10_000, 10_000)
    assert decoded.pixels[0, 0].tolist() == [255, 255, 255]
    del decoded
    with pytest.raises(InputError, match="expected at most 200000000"):
        decode_image(header_only_png(60_000, 60_000), "bomb.png")


def test_animations_and_several_pages_are_refused() -> None:
    pages = [Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)]
    for kind in ("PNG", "WEBP", "TIFF"):
        data = saved(pages[0], kind, save_all=True, append_images=pages[1:])
        with pytest.raises(InputError, match="2 frames"):
            decode_image(data, "a")


def test_a_camera_file_with_an_embedded_second_picture_is_read_as_jpeg() -> None:
    pages = [Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)]
    decoded = decode_image(saved(pages[0], "MPO", save_all=True, append_images=pages[1:]), "a.jpg")
    assert decoded.format == "JPEG"
    assert decoded.notes == ("further embedded pictures dropped",)


SECRET = b"52.5163N 13.3777E Jane Doe"


def jpeg_full_of_metadata() -> bytes:
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 58.0)}
    xmp = b"http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta>" + SECRET + b"</x:xmpmeta>"
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x1a" + SECRET
    thumb = saved(Image.fromarray(PICTURE).resize((16, 16)), "JPEG", comment=SECRET)
    data = saved(
        Image.fromarray(PICTURE), "JPEG", quality=70, subsampling=1, exif=exif.tobytes() + thumb, comment=SECRET,
        dpi=(300, 300),
    )  # fmt: skip
    segments = b"".join(
        b"\xff" + mark + (len(body) + 2).to_bytes(2, "big") + body for mark, body in ((b"\xe1", xmp), (b"\xed", iptc))
    )
    return data[:2] + segments + data[2:] + b"trailing" + SECRET


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
def test_no_metadata_thumbnail_comment_or_trailing_byte_is_passed_on(suffix: str) -> None:
    source = jpeg_full_of_metadata()
    assert source.count(SECRET) >= 5
    decoded = decode_image(source, "a.jpg")
    data = encode_image(decoded.pixels, decoded, suffix)
    assert SECRET not in data
    assert b"Jane" not in data and b"trailing" not in data
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        kept = {tag for tag in image.getexif() if tag in (0x010E, 0x8825, 0x0112, 0x010F)}
        assert not kept
        assert not {"exif", "xmp", "comment", "photoshop"} & image.info.keys()
    if suffix == ".jpg":
        assert b"Exif" not in data and data.count(b"\xff\xd8") == 1 and data.endswith(b"\xff\xd9")


def test_png_text_and_time_are_not_passed_on() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SECRET.decode())
    info.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    decoded = decode_image(png(pnginfo=info), "a.png")
    assert SECRET not in encode_image(decoded.pixels, decoded, ".png")


def test_profile_and_resolution_are_kept() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    decoded = decode_image(png(icc_profile=profile + SECRET, dpi=(300, 300)), "a.png")
    assert decoded.icc == profile
    for suffix in (".png", ".jpg", ".tif", ".webp"):
        again = decode_image(encode_image(decoded.pixels, decoded, suffix), "b")
        assert again.icc == profile
        if suffix != ".webp":
            assert again.dpi == pytest.approx((300, 300), abs=0.5)


def test_a_jpeg_keeps_its_tables_and_other_sources_get_full_quality() -> None:
    source = decode_image(jpeg_full_of_metadata(), "a.jpg")
    again = decode_image(encode_image(source.pixels, source, ".jpg"), "b")
    assert again.quantization == source.quantization
    assert again.subsampling == source.subsampling == 1
    assert np.abs(again.pixels.astype(int) - source.pixels).mean() < 12
    other = decode_image(png(), "a.png")
    fine = decode_image(encode_image(other.pixels, other, ".jpg"), "b")
    assert fine.subsampling == 0
    assert fine.quantization is not None and max(fine.quantization[0]) < 20


def test_a_picture_too_wide_for_its_format_is_refused() -> None:
    decoded = decode_image(saved(Image.new("L", (17_000, 1)), "PNG"), "a.png")
    with pytest.raises(InputError, match="17000x1.*WEBP"):
        encode_image(decoded.pixels, decoded, ".webp")


def test_folders_missing_files_and_large_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        read_bytes(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        read_bytes(tmp_path / "none.png")
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(InputError, match="at most 4"):
        read_bytes(tmp_path / "a", max_bytes=4)


def test_a_thumbnail_is_small_and_plain() -> None:
    data = thumbnail(jpeg_full_of_metadata(), side=20)
    assert SECRET not in data
    assert max(decode_image(data, "t").size) == 20


def test_an_open_that_another_package_put_in_place_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    def image_open(*args: object, **kwargs: object) -> None:
        raise ModuleNotFoundError("would install a package")

    patches = ModuleType("patches")
    own: Any = Image.open
    patches._image_open = own if own.__module__ == "PIL.Image" else sys.modules[own.__module__]._image_open
    image_open.__module__ = "patches"
    monkeypatch.setitem(sys.modules, "patches", patches)
    monkeypatch.setattr(Image, "open", image_open)
    with pytest.raises(InputError, match="not a picture"):
        decode_image(b"no picture at all", "x.jpg")
