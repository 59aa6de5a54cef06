"""Picture files full of planted secrets, made from nothing: every place a format has for more than pixels."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

#: What must never come out again. Each place in a file has a text of its own that holds it.
SECRET = "SECRETx7Q"
#: The colour of the planted thumbnail, found nowhere else: a grey ramp would not show.
THUMBNAIL = (250, 5, 245)


def scene(size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Return a smooth picture with some texture, so that codecs have something to do."""
    width, height = size
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:height, :width]
    base = np.stack([rows * 2, columns * 2, (rows + columns)], axis=2) % 200 + 20
    return Image.fromarray((base + rng.integers(0, 12, base.shape)).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def secret(place: str) -> bytes:
    return f"{SECRET} {place}".encode()


def exif() -> Image.Exif:
    """Return EXIF with names, serial numbers, GPS, maker notes and an orientation of 1."""
    block = Image.Exif()
    for tag, text in ((0x010E, "description"), (0x013B, "artist"), (0x8298, "copyright"), (0x0131, "software")):
        block[tag] = secret(text).decode()
    block[0x010F], block[0x0110], block[0x0132] = "Acme", "X100 Mark II", "2024:05:06 07:08:09"
    block[0x9C9D] = secret("XPAuthor").decode().encode("utf-16-le")
    block[0x8769] = {
        0x9003: "2024:05:06 07:08:09",
        0x927C: secret("maker note"),
        0x9286: b"ASCII\x00\x00\x00" + secret("user comment"),
        0xA430: secret("owner").decode(),
        0xA431: secret("body serial").decode(),
        0xA434: "Acme 35mm F2",
        0xA435: secret("lens serial").decode(),
    }
    block[0x8825] = {1: "N", 2: (52.0, 30.0, 58.0), 3: "E", 4: (13.0, 22.0, 39.0), 0x1D: secret("gps date").decode()}
    return block


def exif_with_thumbnail() -> bytes:
    """Return the EXIF block with a JPEG thumbnail in a second directory."""
    block = exif().tobytes()
    head, tiff = block[:6], bytearray(block[6:])
    order = "<" if tiff[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, first)
    thumb = saved(Image.new("RGB", (48, 32), THUMBNAIL), "JPEG", comment=secret("thumbnail"))
    place = len(tiff)
    struct.pack_into(order + "I", tiff, first + 2 + 12 * count, place)
    entries = [(0x0103, 3, 1, 6 if order == "<" else 6 << 16), (0x0201, 4, 1, place + 42), (0x0202, 4, 1, len(thumb))]
    directory = struct.pack(order + "H", 3) + b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    return head + bytes(tiff) + directory + b"\x00" * 4 + thumb


def xmp(place: str) -> bytes:
    return (
        b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator><rdf:Seq><rdf:li>'
        + secret(place)
        + b'</rdf:li></rdf:Seq></dc:creator></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def jpeg() -> bytes:
    """Return a JPEG with every APP segment, comments, MPF, a second picture and bytes behind the end."""
    iptc = b"\x1c\x02\x50" + len(secret("iptc")).to_bytes(2, "big") + secret("iptc")
    photoshop = b"8BIM\x04\x04\x00\x00" + len(iptc).to_bytes(4, "big") + iptc + b"\x00" * (len(iptc) % 2)
    preview = (
        b"8BIM\x04\x0c\x00\x00" + len(secret("photoshop preview")).to_bytes(4, "big") + secret("photoshop preview")
    )
    planted = [
        _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + xmp("xmp")),
        _segment(0xE1, b"http://ns.adobe.com/xmp/extension/\x00" + secret("extended xmp")),
        _segment(0xE2, b"MPF\x00II*\x00\x08\x00\x00\x00\x00\x00" + secret("mpf")),
        _segment(0xE2, b"FPXR\x00" + secret("flashpix")),
        _segment(0xE0, b"JFXX\x00\x10" + secret("jfxx thumbnail")),
        _segment(0xED, b"Photoshop 3.0\x00" + photoshop + preview),
        *(
            _segment(0xE0 + n, f"APP{n}\x00".encode() + secret(f"app{n}"))
            for n in (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15)
        ),
        _segment(0xFE, secret("comment")),
    ]
    data = saved(
        scene(), "JPEG", quality=88, exif=exif_with_thumbnail(), dpi=(300, 300), comment=secret("second comment")
    )
    second = saved(Image.new("RGB", (32, 32), THUMBNAIL), "JPEG", comment=secret("second picture"))
    return data[:2] + b"".join(planted) + data[2:] + second + secret("behind the end")


def png() -> bytes:
    """Return a PNG with text, time, EXIF, XMP, private chunks and bytes behind the end."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", secret("tEXt").decode())
    info.add_text("Comment", secret("zTXt").decode(), zip=True)
    info.add_itxt("XML:com.adobe.xmp", xmp("iTXt").decode())
    info.add(b"tIME", bytes([7, 232, 5, 6, 7, 8, 9]))
    info.add(b"prVt", secret("private chunk"))
    return saved(scene(), "PNG", pnginfo=info, exif=exif(), dpi=(300, 300)) + secret("behind the end")


def webp() -> bytes:
    data = saved(scene(), "WEBP", lossless=True, exif=exif(), xmp=xmp("xmp"))
    private = b"JUNK" + len(secret("private chunk!")).to_bytes(4, "little") + secret("private chunk!")
    private += b"\x00" * (len(private) % 2)
    whole = data[:4] + (len(data) - 8 + len(private)).to_bytes(4, "little") + data[8:] + private
    return whole + secret("behind the end")


def tiff() -> bytes:
    info = {
        270: secret("description").decode(),
        305: secret("software").decode(),
        315: secret("artist").decode(),
        271: "Acme",
        272: "X100 Mark II",
        306: "2024:05:06 07:08:09",
        700: xmp("xmp"),
        33723: secret("iptc"),
        34377: secret("photoshop"),
        50341: secret("private tag"),
    }
    return saved(scene(), "TIFF", tiffinfo=info, dpi=(300, 300)) + secret("behind the end")


def bmp() -> bytes:
    data = saved(scene(), "BMP")
    start = int.from_bytes(data[10:14], "little")
    hidden = secret("before the pixels")
    return (
        data[:10] + (start + len(hidden)).to_bytes(4, "little") + data[14:start] + hidden + data[start:] + secret("end")
    )


def avif() -> bytes:
    data = saved(scene(), "AVIF", quality=90, exif=exif(), xmp=xmp("xmp"))
    return data + (8 + len(secret("free box"))).to_bytes(4, "big") + b"free" + secret("free box")


def heic() -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    data = saved(scene(), "HEIF", quality=90, exif=exif(), xmp=xmp("xmp"))
    return data + (8 + len(secret("free box"))).to_bytes(4, "big") + b"free" + secret("free box")


def deep_png() -> bytes:
    """Return a 16-bit PNG with text and EXIF."""
    import cv2

    samples = np.random.default_rng(3).integers(0, 65536, (64, 96, 3), dtype=np.uint16)
    done, encoded = cv2.imencode(".png", samples)
    assert done
    data = encoded.tobytes()
    body = b"Author\x00" + secret("tEXt")
    chunk = len(body).to_bytes(4, "big") + b"tEXt" + body + zlib.crc32(b"tEXt" + body).to_bytes(4, "big")
    return data[:33] + chunk + data[33:] + secret("behind the end")


MAKERS = {
    "jpg": jpeg,
    "png": png,
    "webp": webp,
    "tif": tiff,
    "bmp": bmp,
    "avif": avif,
    "heic": heic,
    "16.png": deep_png,
}


def plant(folder: Path) -> dict[str, Path]:
    """Write one file of each kind; return them by kind."""
    folder.mkdir(parents=True, exist_ok=True)
    out = {}
    for kind, make in MAKERS.items():
        out[kind] = folder / f"planted.{kind}"
        out[kind].write_bytes(make())
    return out
