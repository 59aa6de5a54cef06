"""Detection of persons, faces, license plates and text: one module per detector, tiling, merging, given annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anonymizer.core.lazy import lazy

if TYPE_CHECKING:
    from anonymizer.detect.blazepose import BlazePose
    from anonymizer.detect.centernet import CenterNetDetector
    from anonymizer.detect.faces import CenterFaceDetector
    from anonymizer.detect.merge import UnionDetector
    from anonymizer.detect.outlines import OutlineDetector
    from anonymizer.detect.score_filter import ScoreFilter
    from anonymizer.detect.tiling import TiledDetector
    from anonymizer.detect.yolo import YoloSegDetector

__all__ = [
    "BlazePose",
    "CenterFaceDetector",
    "CenterNetDetector",
    "OutlineDetector",
    "ScoreFilter",
    "TiledDetector",
    "UnionDetector",
    "YoloSegDetector",
]

__getattr__ = lazy(
    __name__,
    {
        "BlazePose": "blazepose",
        "CenterFaceDetector": "faces",
        "CenterNetDetector": "centernet",
        "OutlineDetector": "outlines",
        "ScoreFilter": "score_filter",
        "TiledDetector": "tiling",
        "UnionDetector": "merge",
        "YoloSegDetector": "yolo",
    },
)
