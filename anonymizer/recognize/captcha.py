"""ddddocr's network for short lines of letters and digits, offline; an optional package."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from anonymizer.core.errors import ModelError
from anonymizer.core.records import Image, check_image

__all__ = ["DdddReader"]

PACKAGE, NETWORK = "ddddocr", "common.onnx"


class DdddReader:
    """Reads words with the larger of the two networks that the package carries.

    Raises:
        ModelError: The package is not installed or lacks the network.

    Attributes:
        data: The network's file.
    """

    def __init__(self) -> None:
        spec = find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(f"{PACKAGE}: expected the package, it is not installed; run `pip install {PACKAGE}`")
        self.data = Path(spec.submodule_search_locations[0]) / NETWORK
        if not self.data.is_file():
            raise ModelError(f"{PACKAGE}: expected {NETWORK} in {self.data.parent}, found none; install it anew")
        # By name: the package is optional, so that nobody who checks types has to have it.
        self._engine = importlib.import_module(PACKAGE).DdddOcr(show_ad=False, beta=True)

    def read_words(self, images: Sequence[Image]) -> tuple[str, ...]:
        """Return what is read in each RGB uint8 (H, W, 3) picture as one word, "" for nothing.

        Raises:
            InputError: A picture has another shape or dtype.
        """
        from PIL import Image as Pillow

        words = []
        for image in images:
            buffer = io.BytesIO()
            Pillow.fromarray(check_image(image)).save(buffer, "PNG")
            words.append(str(self._engine.classification(buffer.getvalue())))
        return tuple(words)
