"""Recognising faces and reading text, to prove that neither survives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anonymizer.core.lazy import lazy

if TYPE_CHECKING:
    from anonymizer.recognize.body import ColourShapeEmbedder
    from anonymizer.recognize.faces import ArcFaceEmbedder, DlibFaceEmbedder
    from anonymizer.recognize.ocr import DdddReader, RapidOcrReader, TesseractReader

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
        "ArcFaceEmbedder": "faces",
        "ColourShapeEmbedder": "body",
        "DdddReader": "ocr",
        "DlibFaceEmbedder": "faces",
        "RapidOcrReader": "ocr",
        "TesseractReader": "ocr",
    },
)
