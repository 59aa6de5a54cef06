"""Recognising faces and reading text, to prove that neither survives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anonymizer.core.lazy import lazy

if TYPE_CHECKING:
    from anonymizer.recognize.arcface import ArcFaceEmbedder
    from anonymizer.recognize.body import ColourShapeEmbedder
    from anonymizer.recognize.captcha import DdddReader
    from anonymizer.recognize.faces import DlibFaceEmbedder
    from anonymizer.recognize.ocr import RapidOcrReader
    from anonymizer.recognize.tesseract import TesseractReader

__all__ = [
    "ArcFaceEmbedder",
    "ColourShapeEmbedder",
    "DdddReader",
    "DlibFaceEmbedder",
    "RapidOcrReader",
    "TesseractReader",
]

__getattr__ = lazy(
    __name__,
    {
        "ArcFaceEmbedder": "arcface",
        "ColourShapeEmbedder": "body",
        "DdddReader": "captcha",
        "DlibFaceEmbedder": "faces",
        "RapidOcrReader": "ocr",
        "TesseractReader": "tesseract",
    },
)
