"""Metadata of street imagery: kept on request, written anew, proven to be all there is; hostile values never pass."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from anonymizer.images.decode import decode_image
from anonymizer.images.encode import encode_image
from anonymizer.images.formats import has_heif
from anonymizer.images.metadata import GROUPS, TAG_NAMES, chosen, exif_bytes, read_tags
from anonymizer.images.panorama import PROPERTIES, read_panorama, xmp_bytes
from anonymizer.images.release import Release
from anonymizer.images.segments import segments, unexpected
from anonymizer.run.audit import audit
from anonymizer.run.local import run
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer
from .planted import scene

STREET = ("datetime-subsec", "focal-length", "gps", "heading", "gpano")
PANORAMA = {
    "ProjectionType": "equirectangular",
    "UsePanoramaViewer": "True",
    "FullPanoWidthPixels": "4000",
    "FullPanoHeightPixels": "2000",
    "CroppedAreaImageWidthPixels": "64",
    "CroppedAreaImageHeightPixels": "48",
    "CroppedAreaLeftPixels": "0",
    "CroppedAreaTopPixels": "350",
    "PoseHeadingDegrees": "271.46",
    "PosePitchDegrees": "-3.20",
    "PoseRollDegrees": "0.00",
}
SECRET = "Erika Mustermann"


def rational(number: int, parts: int) -> IFDRational:
    return IFDRational(number, parts)


def exif(gps: dict[int, Any] | None = None, nested: dict[int, Any] | None = None) -> Image.Exif:
    """Return EXIF with a position, and much that is not asked for."""
    block = Image.Exif()
    block[0x013B] = SECRET  # Artist
    block[0x8769] = {
        0x9290: "42",
        0x9291: "421",
        0x920A: rational(4_250_001, 1_000_000),
        0xA405: 26,
        0xA430: SECRET,  # CameraOwnerName
        0x927C: SECRET.encode(),  # MakerNote
        **(nested or {}),
    }
    block[0x8825] = {
        0: b"\x02\x03\x00\x00",
        1: "N",
        2: (rational(52, 1), rational(31, 1), rational(123456789, 10_000_000)),
        3: "E",
        4: (rational(13, 1), rational(24, 1), rational(3, 1)),
        5: b"\x00",
        6: rational(34123, 1000),
        16: "T",
        17: rational(27146, 100),
        27: SECRET.encode(),  # GPSProcessingMethod
        29: "2024:05:06",
        **(gps or {}),
    }
    return block


def loaded(block: Image.Exif) -> Image.Exif:
    read = Image.Exif()
    read.load(block.tobytes())
    return read


def packet(values: dict[str, str], *, attributes: bool = True, more: str = "") -> bytes:
    inside = "".join(f' GPano:{name}="{text}"' for name, text in values.items()) if attributes else ""
    below = "" if attributes else "".join(f"<GPano:{name}>{text}</GPano:{name}>" for name, text in values.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:creator="{SECRET}"{inside}>{below}'
        f"<GPano:FirstPhotoDate>2024-05-06</GPano:FirstPhotoDate>{more}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def file(kind: str, deep: bool = False) -> bytes:
    buffer = io.BytesIO()
    options: dict[str, Any] = {"exif": exif().tobytes()}
    picture = scene((64, 48))
    if kind == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", packet(PANORAMA).decode())
        if deep:
            picture = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 7)
    else:
        options["xmp"] = packet(PANORAMA)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "deep.png", "a.webp"])
def test_what_is_asked_for_is_kept_and_proven_and_shown(tmp_path: Path, name: str) -> None:
    kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[name.rpartition(".")[2]]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(file(kind, name.startswith("deep")))
    summary = run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "out", release=Release(keep_metadata=STREET)))
    record = json.loads((tmp_path / "out/ledger.jsonl").read_text())
    assert summary.released == 1, record["reason"]
    data = (tmp_path / "out/images" / name).read_bytes()
    tags = decode_image(data, name).exif
    assert SECRET.encode() not in data and b"2024" not in data
    assert tags[2] == ((52, 1), (31, 1), (123457, 10000))
    assert (tags[1], tags[3], tags[5], tags[6]) == ("N", "E", 0, ((3412, 100),))
    assert (tags[16], tags[17]) == ("T", ((27146, 100),))
    assert (tags[0x9290], tags[0x9291], tags[0x920A], tags[0xA405]) == ("42", "421", ((425, 100),), 26)
    assert {key: value for key, value in tags.items() if isinstance(key, str)} == PANORAMA
    assert unexpected(data, kind, tags) == ()
    assert "GPSLatitude" in record["metadata_kept"] and "GPano:PoseHeadingDegrees" in record["metadata_kept"]
    assert "metadata kept: " in (tmp_path / "out/report.html").read_text()
    assert audit(tmp_path / "out").clean


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("group", STREET)
def test_each_group_is_kept_by_itself_and_nothing_unless_asked(kind: str, group: str) -> None:
    decoded = decode_image(file(kind), "a")
    suffix = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}[kind]
    again = decode_image(encode_image(decoded.pixels, decoded, suffix, keep=(group,)), "b")
    assert set(again.exif) == set(GROUPS[group]) & set(decoded.exif) != set()
    assert decode_image(encode_image(decoded.pixels, decoded, suffix), "c").exif == {}


@pytest.mark.parametrize(("suffix", "kind"), [(".avif", "AVIF"), (".heic", "HEIF")])
def test_avif_and_heic_keep_what_is_exif(suffix: str, kind: str) -> None:
    decoded = decode_image(file("JPEG"), "a")
    if kind == "HEIF" and not has_heif():
        pytest.skip("pillow-heif is missing")
    data = encode_image(decoded.pixels, decoded, suffix, keep=STREET)
    wanted = chosen(decoded.exif, STREET, kind)
    assert unexpected(data, kind, wanted) == () and len(unexpected(data, kind, {})) > 0
    assert decode_image(data, "b").exif == wanted and 2 in wanted


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_other_less_and_twice_as_much_metadata_is_unexpected(kind: str) -> None:
    decoded = decode_image(file(kind), "a")
    suffix = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}[kind]
    data = encode_image(decoded.pixels, decoded, suffix, keep=STREET)
    wanted = chosen(decoded.exif, STREET, kind)
    assert unexpected(data, kind, wanted) == ()
    assert len(unexpected(data, kind, {})) == 2
    less = {key: value for key, value in wanted.items() if key != 17}
    assert any(name.startswith("missing EXIF") for name in unexpected(data, kind, less))
    other = wanted | {"PoseRollDegrees": "1.00"}
    assert any(name.startswith("missing XMP") for name in unexpected(data, kind, other))
    bare = encode_image(decoded.pixels, decoded, suffix)
    assert set(unexpected(bare, kind, wanted)) == {"missing EXIF", "missing XMP"}
    if kind == "JPEG":
        (part,) = (part for part in segments(data) if part.name == "APP1 Exif")
        doubled = data[: part.end] + data[part.start : part.end] + data[part.end :]
        assert unexpected(doubled, kind, wanted) == ("APP1 Exif",)


@pytest.mark.parametrize("suffix", [".tif", ".bmp", ".avif"])
def test_a_format_without_a_place_for_it_is_refused_with_a_remedy(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / f"in/a{suffix}").write_bytes(
        file("JPEG")
    )  # The content decides what is read, the suffix what is written.
    group = "gpano" if suffix == ".avif" else "gps"
    release = Release(keep_metadata=(group, "camera"))
    assert run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "out", release=release)).failed == 1
    reason = json.loads((tmp_path / "out/ledger.jsonl").read_text())["reason"]
    assert f"has no place for the metadata to keep ({group}); release it with --format" in reason
    plain = Release(keep_metadata=("camera",))
    assert run(FakeAnonymizer(), Request(tmp_path / "in", tmp_path / "other", release=plain)).released == 1


@pytest.mark.parametrize(
    ("gps", "lost"),
    [
        ({2: (rational(52, 0), rational(0, 1), rational(0, 1))}, {1, 2, 3, 4}),
        ({2: (rational(0, 0), rational(0, 1), rational(0, 1))}, {1, 2, 3, 4}),
        ({2: (rational(90, 1), rational(0, 1), rational(1, 1))}, {1, 2, 3, 4}),
        ({2: (rational(4_000_000_000, 1),) * 3}, {1, 2, 3, 4}),
        ({4: (rational(180, 1), rational(59, 1), rational(0, 1))}, {1, 2, 3, 4}),
        ({1: "X"}, {1, 2, 3, 4}),
        ({3: SECRET}, {1, 2, 3, 4}),
        ({4: (rational(1, 1),) * 9}, {1, 2, 3, 4}),
        ({6: rational(4_000_000_000, 1)}, {5, 6}),
        ({6: rational(0, 0)}, {5, 6}),
        ({5: b"\x07"}, {5, 6}),
        ({17: rational(36001, 100)}, {16, 17}),
        ({17: rational(1, 0)}, {16, 17}),
        ({16: "Q"}, {16, 17}),
    ],
)
def test_values_out_of_range_are_dropped_with_what_needs_them(gps: dict[int, Any], lost: set[int]) -> None:
    expected = {key for group in ("gps", "heading") for key in GROUPS[group]} - lost
    tags = read_tags(loaded(exif(gps)))
    assert {key for key in tags if isinstance(key, int) and key < 32} == expected


def test_missing_references_take_the_meaning_that_exif_gives_them() -> None:
    block = exif()
    inner = dict(loaded(block).get_ifd(0x8825))
    del inner[5], inner[16]
    block[0x8825] = inner
    tags = read_tags(loaded(block))
    assert (tags[5], tags[16]) == (0, "T")
    del inner[1]
    block[0x8825] = inner
    assert not {1, 2, 3, 4} & set(read_tags(loaded(block)))


@pytest.mark.parametrize(
    ("nested", "lost"),
    [
        ({0x920A: rational(1, 0)}, 0x920A),
        ({0x920A: rational(4_000_000_000, 3)}, 0x920A),
        ({0xA405: 0}, 0xA405),
        ({0xA405: 65535}, 0xA405),
        ({0x9290: "12a"}, 0x9290),
        ({0x9291: "1" * 40}, 0x9291),
    ],
)
def test_odd_numbers_of_the_camera_are_dropped(nested: dict[int, Any], lost: int) -> None:
    assert lost not in read_tags(loaded(exif(nested=nested)))
    assert lost in read_tags(loaded(exif()))


RATIONAL = st.builds(rational, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
ANGLE = st.tuples(
    st.builds(rational, st.integers(0, 200), st.integers(0, 2)),
    st.builds(rational, st.integers(0, 6000), st.integers(1, 100)),
    RATIONAL | st.builds(rational, st.integers(0, 600_000_000), st.just(10_000_000)),
)


@given(ANGLE, ANGLE, RATIONAL, st.builds(rational, st.integers(0, 40_000), st.integers(0, 100)), RATIONAL)
@settings(max_examples=150, deadline=None)
def test_what_is_kept_is_rounded_and_stays_as_it_is(
    latitude: tuple[IFDRational, ...],
    longitude: tuple[IFDRational, ...],
    altitude: IFDRational,
    heading: IFDRational,
    focal: IFDRational,
) -> None:
    given = {2: latitude, 4: longitude, 6: altitude, 17: heading}
    tags = read_tags(loaded(exif(given, {0x920A: focal})))
    for value in tags.values():
        if isinstance(value, tuple):
            assert all(isinstance(n, int) and d in (1, 100, 10000) and 0 <= n / d <= 20000 for n, d in value)
    assert read_tags(loaded_bytes(exif_bytes(tags))) == tags
    if 2 in tags:
        kept = sum(Fraction(*part) / 60**index for index, part in enumerate(tags[2]))  # type: ignore[arg-type]
        true = sum(Fraction(p.numerator, p.denominator) / 60**index for index, p in enumerate(latitude))
        assert abs(kept - true) * 3600 <= Fraction(1, 20000)


def loaded_bytes(block: bytes) -> Image.Exif:
    read = Image.Exif()
    read.load(block)
    return read


@pytest.mark.parametrize("attributes", [True, False])
def test_panoramas_are_read_from_attributes_and_elements(attributes: bool) -> None:
    assert read_panorama(packet(PANORAMA, attributes=attributes)) == PANORAMA
    assert read_panorama(packet(PANORAMA, attributes=attributes).decode()) == PANORAMA
    assert read_panorama(xmp_bytes({**PANORAMA})) == PANORAMA
    assert set(PROPERTIES) == set(PANORAMA)


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("PoseHeadingDegrees", "NaN", None),
        ("PoseHeadingDegrees", "Infinity", None),
        ("PoseHeadingDegrees", "1e3", None),
        ("PoseHeadingDegrees", "360.01", None),
        ("PoseHeadingDegrees", "12.3456789012345", "12.35"),
        ("PosePitchDegrees", "-0.001", "0.00"),
        ("PosePitchDegrees", "9" * 60, None),
        ("FullPanoWidthPixels", "1" + "0" * 30, None),
        ("FullPanoWidthPixels", "-1", None),
        ("FullPanoWidthPixels", "٤٢", None),
        ("FullPanoWidthPixels", "4000.0", "4000"),
        ("ProjectionType", SECRET, None),
        ("ProjectionType", "Equirectangular", "equirectangular"),
        ("UsePanoramaViewer", "true", "True"),
        ("UsePanoramaViewer", "&#x22; x=&#x22;y", None),
    ],
)
def test_texts_of_a_panorama_are_held_to_their_form(name: str, text: str, kept: str | None) -> None:
    assert read_panorama(packet({name: text})).get(name) == kept


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not xml",
        b"\xff\xfe\x00",
        packet(PANORAMA)[:-20],
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + packet(PANORAMA, more="&a;"),
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd">' + packet(PANORAMA),
        b'<?xml version="1.0" encoding="nonsense"?>' + packet(PANORAMA),
        packet(PANORAMA, more="<GPano:x>" * 20_000),
        packet(PANORAMA, more="x" * 70_000),
        None,
        5,
    ],
)
def test_hostile_packets_give_nothing(data: object) -> None:
    assert read_panorama(data) == {}


def test_a_turned_panorama_loses_its_properties_with_a_note() -> None:
    block = Image.Exif()
    block[0x0112] = 6
    buffer = io.BytesIO()
    scene((64, 48)).save(buffer, "JPEG", exif=block.tobytes(), xmp=packet(PANORAMA))
    decoded = decode_image(buffer.getvalue(), "a")
    assert not any(isinstance(key, str) for key in decoded.exif)
    assert any("panorama dropped" in note for note in decoded.notes)


def test_every_tag_has_a_name_and_a_group() -> None:
    assert {key for group in GROUPS.values() for key in group} == set(TAG_NAMES)
    assert not any(
        "Serial" in name or "Owner" in name or "Date" in name[3:] for name in TAG_NAMES.values() if "GPano" in name
    )
