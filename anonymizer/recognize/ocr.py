"""PP-OCR through rapidocr, offline."""

from __future__ import annotations

import logging
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.records import Image, TextLine, check_image
from anonymizer.models.onnx import open_session

__all__ = ["RapidOcrReader"]

#: Long side in pixels from which a picture is shrunk here rather than by the engine.
HUGE = 4096
#: Which file of the models' folder does what.
FILES = {"Det": "PP-OCRv6_det_small.onnx", "Rec": "PP-OCRv6_rec_small.onnx"}
#: rapidocr's catalogue of networks to download, and the module that reads it first.
CATALOGUE, READS_IT = "default_models.yaml", "rapidocr.inference_engine.base"
#: Held while rapidocr is imported.
_IMPORT = threading.Lock()


class RapidOcrReader:
    """Reads lines of text with PP-OCR.

    The networks are opened here: rapidocr looks up, and if need be downloads, only those that it was not given. Text
    upside down is not looked for.

    Args:
        models: Folder with PP-OCR's networks for detection and recognition; None: that of the rapidocr package.
        text_score: Lowest score of a line, in [0, 1]; 0 also returns what was found but not legible.
        max_side: Long side in pixels beyond which a picture is shrunk first.
        min_side: Long side in pixels below which a picture is enlarged first; 0 never enlarges.

    Raises:
        InputError: A setting out of range.
        ModelError: A file is missing or no network.
    """

    def __init__(
        self, models: Path | None = None, text_score: float = 0.5, max_side: int = 1280, min_side: int = 0
    ) -> None:
        if not 0.0 <= text_score <= 1.0:
            raise InputError(f"text_score: expected a share in [0, 1], got {text_score}")
        if max_side < 32 or not 0 <= min_side <= max_side:
            raise InputError(f"max_side, min_side: expected 32 <= max and 0 <= min <= max, got {max_side}, {min_side}")
        if models is None:
            models = _packaged()
        for file in FILES.values():
            if not (models / file).is_file():
                raise ModelError(f"ppocr: expected {file} in {models}, found none; run `anonymizer models verify`")
        from omegaconf import flag_override

        self._engine = _engine_class()(
            params={
                "Global.log_level": "critical",
                "Global.text_score": text_score,
                "Global.use_cls": False,
                "Global.max_side_len": max_side,
                "Global.model_root_dir": str(models),
                "Det.limit_type": "max",
                "Det.limit_side_len": max_side,
            }
        )
        for part, file in FILES.items():
            # Threads of its own sessions burn as much time waiting as working.
            with flag_override(self._engine.cfg[part], "allow_objects", True):
                self._engine.cfg[part].session = open_session(models / file, "ppocr")
        # rapidocr sets its level when an engine starts; a later engine elsewhere may lower it, ours stays silent.
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        self._min_side = min_side
        self._max_side = max_side

    def read(self, image: Image) -> tuple[TextLine, ...]:
        """Return the lines found in RGB uint8 (H, W, 3), top to bottom, in its pixels.

        Raises:
            InputError: The picture has another shape or dtype.
        """
        import cv2

        check_image(image)
        height, width = image.shape[:2]
        scale = max(self._min_side / max(height, width), 1.0)
        if max(height, width) > HUGE:
            # The engine would shrink it as well, but only after several copies.
            scale = self._max_side / max(height, width)
        if scale != 1.0:
            size = max(round(width * scale), 1), max(round(height * scale), 1)
            image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC if scale > 1.0 else cv2.INTER_AREA)
        read = self._engine(np.ascontiguousarray(image[..., ::-1]))  # RGB -> BGR
        if read.boxes is None or read.txts is None or read.scores is None:
            return ()
        limit = np.array([width, height], dtype=np.float32)
        return tuple(
            TextLine(
                polygon=np.clip(np.asarray(polygon, dtype=np.float32) / np.float32(scale), 0, limit),
                text=text,
                score=float(score),
            )
            for polygon, text, score in zip(read.boxes, read.txts, read.scores, strict=True)
        )


class _Catalogue:
    """rapidocr's catalogue as its settings, read when it is first asked for."""

    def __get__(self, _: object, owner: Any) -> Any:
        from omegaconf import OmegaConf

        owner.model_info = OmegaConf.load(_packaged().parent / CATALOGUE)
        return owner.model_info


def _engine_class() -> Any:
    """Return rapidocr's engine.

    On import it reads its catalogue of downloads twice into settings that check themselves, a sixth of the time in
    which an anonymizer starts. Nothing is downloaded here: the first import gets plain values.
    """
    with _IMPORT:
        if READS_IT not in sys.modules:
            import omegaconf
            import yaml

            settings: Any = omegaconf.OmegaConf
            load = settings.load
            quick = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

            def read(file: Any, **options: Any) -> Any:
                path = Path(str(file))
                if path.name != CATALOGUE:
                    return load(file, **options)
                return quick(path.read_text(encoding="utf-8")).get_single_data()

            settings.load = staticmethod(read)
            try:
                from rapidocr.inference_engine.base import InferSession
            finally:
                settings.load = staticmethod(load)
            InferSession.model_info = _Catalogue()
        from rapidocr import RapidOCR
    return RapidOCR


def _packaged() -> Path:
    spec = find_spec("rapidocr")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("ppocr: expected the rapidocr package, it is not installed; run `pip install rapidocr`")
    return Path(spec.submodule_search_locations[0]) / "models"
