"""Images in and out: decoding of untrusted files, encoding without metadata, names, object storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anonymizer.core.lazy import lazy

if TYPE_CHECKING:
    from anonymizer.images.decode import Decoded, decode_image, read_image
    from anonymizer.images.encode import encode_image
    from anonymizer.images.names import name_hints
    from anonymizer.images.release import Release
    from anonymizer.images.storage import Store

__all__ = ["Decoded", "Release", "Store", "decode_image", "encode_image", "name_hints", "read_image"]

__getattr__ = lazy(
    __name__,
    {
        "Decoded": "decode",
        "Release": "release",
        "Store": "storage",
        "decode_image": "decode",
        "encode_image": "encode",
        "name_hints": "names",
        "read_image": "decode",
    },
)
