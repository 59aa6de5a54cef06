"""Faces: by CenterFace, with five landmarks, or by SCRFD through insightface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.geometry import box_iou
from anonymizer.core.records import Floats, Image, Instance, check_image
from anonymizer.detect.regions import ellipse, grow, make_instance, nms, number
from anonymizer.models.onnx import open_session
from anonymizer.models.third_party import extra, offline

if TYPE_CHECKING:
    import onnx

__all__ = ["CenterFaceDetector", "ScrfdDetector", "decode"]

#: Sides of the network's input are multiples of this.
STRIDE = 32
#: Input pixels per cell of the network's maps.
CELL = 4
#: IoU from which two boxes are the same face, as published with CenterFace.
SAME_FACE = 0.3
#: The network's box runs from eyebrows or hairline to chin; the ellipse must also hold forehead, chin and cheeks.
#: Shares of the box's width and height added at left, top, right and bottom.
MARGIN = (0.10, 0.15, 0.10, 0.10)
#: Height in pixels, as the network sees it, from which a face is large, and a height at which it sees one well.
LARGE, USUAL = 400, 128
#: Pictures with a long side up to this many pixels are also seen at twice their size, where small faces appear.
SMALL_PICTURE = 800
INPUT = "input.1"
#: Heatmap, log size, offset, landmarks.
OUTPUTS = ("537", "538", "539", "540")
#: Side of the square in which the network looks at a picture.
SIDE = 640


def decode(
    heatmap: Floats, sizes: Floats, offsets: Floats, landmarks: Floats, threshold: float
) -> tuple[Floats, Floats, Floats]:
    """Read faces from CenterFace's maps.

    Args:
        heatmap: float32 (h, w), score of a face centred at each cell of 4 pixels, in [0, 1].
        sizes: float32 (2, h, w), log of height and width in cells.
        offsets: float32 (2, h, w), shift of the centre along y and x in cells.
        landmarks: float32 (10, h, w), y and x of each landmark in box heights and widths from its top left corner.
        threshold: Lowest score.

    Returns:
        Boxes float32 (N, 4) xyxy in input pixels, scores float32 (N,), landmarks float32 (N, 5, 2) x, y; they may
        reach beyond the picture and are not suppressed.

    Source:
        Xu et al., CenterFace, 2019; ``deface/centerface.py`` in deface 1.5.0.
    """
    rows, columns = np.nonzero(heatmap > threshold)
    cells = np.stack([rows, columns])  # (2, N)
    extent = np.exp(sizes[:, rows, columns]) * CELL  # (2, N): height, width
    centre = (cells + offsets[:, rows, columns] + 0.5) * CELL  # (2, N): y, x
    low, high = (centre - extent / 2)[::-1].T, (centre + extent / 2)[::-1].T  # (2, N) -> (N, 2): x, y
    shares = landmarks[:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1]  # (10, N) -> (N, 5, 2): x, y
    points = low[:, None] + shares * (high - low)[:, None]
    boxes = np.concatenate([low, high], axis=1)
    return boxes.astype(np.float32), heatmap[rows, columns], points.astype(np.float32)


class CenterFaceDetector:
    """Detects faces with CenterFace and draws an ellipse around each, forehead and chin included.

    Args:
        path: ``centerface.onnx`` as published; its fixed input shape is opened up in memory.
        threshold: Lowest score, in [0, 1].
        scales: Sizes at which a picture is seen, as multiples of its own (after ``max_side``).
        max_side: Long side in pixels beyond which the picture is shrunk first; bounds time and memory.

    Raises:
        InputError: No scale, a scale that is not positive, or ``max_side`` below 32.
        ModelError: The file is missing or not CenterFace.
    """

    def __init__(
        self, path: Path, threshold: float = 0.35, scales: Sequence[float] = (1.0,), max_side: int = 1600
    ) -> None:
        if not scales or min(scales) <= 0:
            raise InputError(f"scales: expected positive numbers, got {tuple(scales)}")
        if max_side < STRIDE:
            raise InputError(f"max_side: expected at least {STRIDE} pixels, got {max_side}")
        self._session = open_session(_free_shape(path), "centerface")
        self._threshold = threshold
        self._scales = tuple(scales)
        self._max_side = max_side

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return faces in RGB uint8 (H, W, 3), best first, landmarks with the smaller x first in an upright face.

        Raises:
            InputError: The picture has another shape or dtype.
        """
        check_image(image)
        size = image.shape[0], image.shape[1]
        long_side = max(size)
        base = min(1.0, self._max_side / long_side)
        scales = [base * scale for scale in self._scales]
        if long_side <= SMALL_PICTURE and max(scales) < 2.0:
            scales.append(2.0)
        views = [self._look(image, scale) for scale in scales]
        boxes, scores, points = (np.concatenate(parts) for parts in zip(*views, strict=True))
        chosen = nms(boxes, scores, SAME_FACE)
        seen_at = np.repeat(scales, [len(view[0]) for view in views])
        points[chosen] = self._from_afar(image, boxes[chosen], points[chosen], seen_at[chosen])
        found = []
        for i in chosen:
            box = grow(boxes[i], *MARGIN)
            instance = make_instance(
                "face",
                box,
                size,
                score=float(scores[i]),
                source="centerface",
                mask=ellipse(box),
                landmarks=points[i],
            )
            if instance is not None:
                found.append(instance)
        return number(found)

    def _from_afar(self, image: Image, boxes: Floats, points: Floats, scales: Floats) -> Floats:
        """Return landmarks (N, 5, 2) of faces that were seen at scales (N,), those of large ones from a smaller view.

        The network sees too little of a large face at once: its landmarks lie too near to the middle.
        """
        out, heights = points.copy(), boxes[:, 3] - boxes[:, 1]
        large = np.flatnonzero(heights * scales > LARGE)
        if not large.size:
            return out
        others, _, marks = self._look(image, USUAL / float(np.median(heights[large])))
        for i in large:
            alike = box_iou(boxes[i][None], others)[0]
            if alike.size and alike.max() >= SAME_FACE:
                out[i] = marks[int(alike.argmax())]
        return out

    def _look(self, image: Image, scale: float) -> tuple[Floats, Floats, Floats]:
        """Return boxes (N, 4), scores (N,) and landmarks (N, 5, 2) in picture pixels, seen at one scale."""
        import cv2

        height, width = image.shape[:2]
        new_w, new_h = max(round(width * scale), 1), max(round(height * scale), 1)
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(image, (new_w, new_h), interpolation=method)
        padded = np.pad(resized, ((0, -new_h % STRIDE), (0, -new_w % STRIDE), (0, 0)))
        blob = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32)  # (h, w, 3) -> (1, 3, h, w)
        maps = self._session.run(list(OUTPUTS), {INPUT: blob})
        boxes, scores, points = decode(maps[0][0, 0], maps[1][0], maps[2][0], maps[3][0], self._threshold)
        back = np.array([width / new_w, height / new_h], dtype=np.float32)
        return boxes * np.tile(back, 2), scores, points * back


def _free_shape(path: Path) -> bytes:
    """Return the network with free batch, height and width: the published file fixes them to 10, 32 and 32.

    The file also lists its weights among its inputs, where a caller might replace them: ONNX Runtime then does not lay
    them out for the processor, and takes a third longer.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise ModelError(f"centerface: expected an ONNX file at {path}, found none; run `anonymizer models verify`")
    try:
        model: onnx.ModelProto = onnx.load(path)
    except DecodeError as error:
        raise ModelError(f"centerface: {path} is not a readable ONNX model; run `anonymizer models verify`") from error
    values = {value.name: value for value in (*model.graph.input, *model.graph.output)}
    missing = [name for name in (INPUT, *OUTPUTS) if name not in values]
    if missing:
        raise ModelError(f"centerface: expected a graph with {INPUT} and {', '.join(OUTPUTS)}, {path} lacks {missing}")
    for name in (INPUT, *OUTPUTS):
        kind = "in" if name == INPUT else "out"
        for axis, letter in ((0, "b"), (2, "h"), (3, "w")):
            values[name].type.tensor_type.shape.dim[axis].dim_param = f"{kind}_{letter}"
    weights = {value.name for value in model.graph.initializer}
    entries = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(entries)
    serialised: bytes = model.SerializeToString()
    return serialised


class ScrfdDetector:
    """Detects faces with five landmarks and draws an ellipse around each, forehead and chin included.

    Args:
        path: SCRFD with landmarks (``*_bnkps``) in ONNX.
        threshold: Lowest score, in [0, 1].
        device: Where it runs, see ``models.onnx.open_session``.

    Raises:
        ModelError: The file is missing, unreadable or another network.

    Source:
        Guo et al., SCRFD, arXiv 2105.04714; ``insightface.model_zoo.scrfd`` in insightface 2.1.
    """

    def __init__(self, path: Path, threshold: float = 0.4, device: str = "cpu") -> None:
        # It imports Matplotlib, which writes into the home folder.
        with offline(), extra("hub", "scrfd"):
            from insightface.model_zoo.scrfd import SCRFD

        session = open_session(path, "scrfd", device)
        self._network = SCRFD(model_file=str(path), session=session)
        if not self._network.use_kps:
            raise ModelError(f"scrfd: expected a network with landmarks (9 or 15 outputs) at {path}, got another")
        self._threshold = threshold

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return faces in RGB uint8 (H, W, 3), best first.

        Raises:
            InputError: The picture has another shape or dtype.
        """
        check_image(image)
        size = image.shape[0], image.shape[1]
        # Channels as OpenCV has them: RGB -> BGR.
        rows, points = self._network.detect(
            np.ascontiguousarray(image[..., ::-1]), input_size=(SIDE, SIDE), det_thresh=self._threshold
        )
        found = []
        for row, landmarks in zip(rows, points, strict=True):
            x1, y1, x2, y2, score = (float(value) for value in row)
            if x2 <= x1 or y2 <= y1:
                continue
            box = grow(np.array([x1, y1, x2, y2], np.float32), *MARGIN)
            instance = make_instance(
                "face",
                box,
                size,
                score=score,
                source="scrfd",
                mask=ellipse(box),
                landmarks=landmarks.astype(np.float32),
            )
            if instance is not None:
                found.append(instance)
        return number(found)
