"""The records that stages hand to each other: frozen, validated once, arrays read-only.

Arrays: images RGB uint8 (H, W, 3); boxes float32 (4,) xyxy in absolute pixels, x2 and y2 exclusive; masks bool in the
frame of the instance's integer box; depth float32 (H, W) in [0, 1], 1 nearest; edges float32 (H, W) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from anonymizer.core.errors import InputError
from anonymizer.core.geometry import IntBox, integer_box

__all__ = [
    "BODIES",
    "CLASSES",
    "FREE",
    "REVIEWED",
    "Action",
    "AvatarArtist",
    "Conditions",
    "DepthEstimator",
    "Detector",
    "EdgeDetector",
    "FaceEmbedder",
    "FaceView",
    "Filler",
    "Findings",
    "Instance",
    "OCRReader",
    "PersonSegmenter",
    "PersonView",
    "Rendering",
    "Result",
    "TextLine",
    "Treatment",
    "Verdict",
    "Wish",
    "check_area",
    "check_image",
]

#: Classes an instance may have. ``text`` (readable text that is no plate) and ``vehicle`` are off unless asked for.
CLASSES: tuple[str, ...] = ("person", "face", "license_plate", "text", "vehicle")
#: Of these, the ones redrawn whole, before faces and plates are redrawn on top of them.
BODIES: tuple[str, ...] = ("person", "vehicle")

#: Source of instances that a reviewer marked.
REVIEWED = "given:review"
#: Least proportion of a box that a person's outline leaves free: of 1,038 annotated persons none leaves less than 0.15.
FREE = 0.05

Action = Literal["redrawn", "redacted"]
Wish = Literal["redraw", "fill", "leave"]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]


def check_image(image: Image) -> Image:
    """Return the image unchanged if it is RGB uint8 (H, W, 3) with H, W ≥ 1.

    Raises:
        InputError: Any other shape or dtype.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"image: expected RGB uint8 (H, W, 3), got {got}; anonymizer.as_rgb converts other pictures")
    if image.size == 0:
        raise InputError(f"image: expected at least one pixel, got shape {image.shape}")
    return image


def check_area(area: Mask, size: tuple[int, int]) -> Mask:
    """Return an area of a picture unchanged if it is bool (H, W) of its size (height, width).

    Raises:
        InputError: Any other shape or dtype.
    """
    if not isinstance(area, np.ndarray) or area.dtype != np.bool_ or area.shape != size:
        got = f"{area.dtype} {area.shape}" if isinstance(area, np.ndarray) else type(area).__name__
        raise InputError(f"exclude: expected bool {size}, true where the picture is left as it is, got {got}")
    return area


def _frozen(array: np.ndarray) -> np.ndarray:
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True, eq=False)
class PersonView:
    """One person as BlazePose sees it in a square window around the person's box.

    Args:
        landmarks: float32 (33, 3) x, y, z in picture pixels, in the order of ``detect.blazepose.LANDMARKS``; z grows
            away from the camera and is 0 between the hips. Left and right are the person's own. Those beyond the
            picture are guesses.
        visibility: float32 (33,) in [0, 1], how likely each is in the window and not hidden.
        inside: float32 (33,) in [0, 1], how likely each is in the window at all (the network's "presence").
        world: float32 (33, 3) in metres: x right, y down, z away from the camera, origin between the hips.
        window: Integer xyxy of the window in the picture; it may reach beyond the picture.
        mask: float32 (256, 256) in [0, 1], how likely each part of the window belongs to the person.
        presence: How likely the window shows a person, in [0, 1].
    """

    landmarks: Floats
    visibility: Floats
    inside: Floats
    world: Floats
    window: IntBox
    mask: Floats
    presence: float


@dataclass(frozen=True, slots=True, eq=False)
class FaceView:
    """One face as FaceMesh sees it.

    Args:
        points: float32 (478, 3) x, y, z in picture pixels: the 468 vertices of MediaPipe's mesh, then the irises; z
            grows away from the camera. Lips, eyes and irises are placed by branches of their own.
        confidence: How likely the window shows a face that faces the camera, in [0, 1].
    """

    points: Floats
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One sensitive object in a picture.

    Args:
        id: Number of the instance within its picture, from 1.
        label: One of ``CLASSES``.
        box: float32 (4,) xyxy in pixels, inside the picture.
        mask: bool (h, w) in the frame of the integer box (floor of x1, y1; ceiling of x2, y2): all that may belong to
            the object, and so is treated. Left out: the whole box, see ``boxed``.
        score: Confidence in [0, 1]; 1.0 for given annotations.
        source: Which detector found it, with its own word for the object if that says more than the class
            (``yolo:truck``), or ``given``, and by whom if not by annotations (``given:review``).
        parent: Id of the person a face belongs to, or of the vehicle a plate belongs to, if known.
        landmarks: float32 (5, 2) x, y in pixels: left eye, right eye, nose, left and right mouth corner (picture
            order: left is smaller x in an upright face), or None.
        record: The annotation record it came from, carried through unchanged, or None.
        core: bool (h, w), the part of the mask that most likely is the object; None where that is the mask.
        views: float32 (N, 4) xyxy in pixels, the boxes of the single views of which it was united; None where it was
            seen once.
        evidence: Highest score by detector that saw the object, and by other signs of it (``face``, ``vehicle``), in
            (0, 1]; None: its source with its score.
        body: Pose, mask and presence of a person, as far as known.
        face: Surface points and irises of a face, as far as known.
        link: Secret number of a person's identity: persons with the same one get the same avatar. None: by chance.
        wish: What a reviewer asks for where a detector finds the same object: ``redraw`` whatever its score, ``fill``,
            or ``leave``, as it is none. None: nothing, it is an object of its own.
        consent: Whether whoever it shows agreed to be shown: it is left as it is.

    Raises:
        InputError: A field of wrong shape, dtype or range, or a mask without a pixel.
    """

    id: int
    label: str
    box: Floats
    mask: Mask = field(default_factory=lambda: np.zeros((0, 0), np.bool_))
    score: float = 1.0
    source: str = "given"
    parent: int | None = None
    landmarks: Floats | None = None
    record: Mapping[str, Any] | None = None
    core: Mask | None = None
    views: Floats | None = None
    evidence: Mapping[str, float] | None = None
    body: PersonView | None = None
    face: FaceView | None = None
    link: int | None = field(default=None, repr=False)
    wish: Wish | None = None
    consent: bool = False

    def __post_init__(self) -> None:
        if self.label not in CLASSES:
            raise InputError(f"instance {self.id}: class {self.label!r} is not one of {', '.join(CLASSES)}")
        box = np.asarray(self.box, dtype=np.float32)
        if box.shape != (4,) or not np.isfinite(box).all() or box[2] <= box[0] or box[3] <= box[1]:
            raise InputError(f"instance {self.id}: box must be finite xyxy with x2 > x1 and y2 > y1, got {self.box}")
        x1, y1, x2, y2 = integer_box(box)
        mask = np.asarray(self.mask)
        if mask.shape == (0, 0):
            mask = np.ones((y2 - y1, x2 - x1), np.bool_)
        if mask.dtype != np.bool_ or mask.shape != (y2 - y1, x2 - x1):
            raise InputError(
                f"instance {self.id}: mask must be bool {(y2 - y1, x2 - x1)} to fit its box, "
                f"got {mask.dtype} {mask.shape}"
            )
        # What covers no pixel would count as done with nothing changed.
        if not mask.any():
            raise InputError(
                f"instance {self.id}: the mask holds no pixel; leave it out if only the box is known, or the instance"
            )
        if not 0.0 <= self.score <= 1.0:
            raise InputError(f"instance {self.id}: score must lie in [0, 1], got {self.score}")
        object.__setattr__(self, "box", _frozen(box))
        object.__setattr__(self, "mask", _frozen(mask))
        if self.landmarks is not None:
            landmarks = np.asarray(self.landmarks, dtype=np.float32)
            if landmarks.shape != (5, 2):
                raise InputError(f"instance {self.id}: landmarks must be (5, 2), got {landmarks.shape}")
            object.__setattr__(self, "landmarks", _frozen(landmarks))
        if self.core is not None:
            core = np.asarray(self.core)
            if core.dtype != np.bool_ or core.shape != mask.shape or (core & ~mask).any():
                raise InputError(
                    f"instance {self.id}: core must be bool {mask.shape} inside the mask, got {core.dtype} {core.shape}"
                )
            object.__setattr__(self, "core", _frozen(core))
        if self.views is not None:
            views = np.asarray(self.views, dtype=np.float32)
            if views.ndim != 2 or views.shape[1] != 4 or not len(views):
                raise InputError(f"instance {self.id}: views must be (N, 4) with N at least 1, got {views.shape}")
            object.__setattr__(self, "views", _frozen(views))

    @property
    def signs(self) -> Mapping[str, float]:
        """Evidence of the object: highest score in (0, 1] by detector or other sign."""
        if self.evidence is not None:
            return self.evidence
        return {self.source.partition(":")[0]: self.score} if self.score > 0 else {}

    @property
    def given(self) -> bool:
        """Whether a person or a file said so, and no detector."""
        return self.source.partition(":")[0] == "given"

    @property
    def seen(self) -> Floats:
        """Boxes (N, 4) xyxy of the single views: each says where the object is, their union where it may be."""
        return self.box[None] if self.views is None else self.views

    @property
    def boxed(self) -> bool:
        """Whether only a rectangle is known of the object: its outline fills the box to the corners."""
        return float(self.outline.mean()) > 1.0 - FREE

    @property
    def outline(self) -> Mask:
        """The likeliest extent of the object, bool (h, w): what annotations say and redraws fill with it."""
        return self.mask if self.core is None else self.core


@dataclass(frozen=True, slots=True, eq=False)
class Rendering:
    """An avatar in the place and pose of a person, in the frame of a box of the picture.

    Args:
        box: Integer xyxy inside the picture.
        rgb: uint8 (h, w, 3); means nothing where alpha is 0.
        alpha: float32 (h, w) in [0, 1], how much of each pixel the avatar covers.
        depth: float32 (h, w) in [0, 1]: 1 at its nearest point, 0.1 at its farthest, 0 where it is not.
        edges: float32 (h, w) in [0, 1].
        joints: float32 (17, 3), COCO's joints: x, y in the picture's pixels and whether it is visible, 0 or 1.
        parts: uint8 (h, w): 0 nothing, 1 head, 2 neck, 3 trunk, 4 upper arm, 5 lower arm, 6 hand, 7 upper leg, 8 lower
            leg, 9 foot.
        residual: Root mean square distance of the person's seen joints from the avatar's, in metres of the avatar.
        shadow: float32 (h, w) in [0, 1], how far it darkens what lies there; none where left out.
        cut: Share of it that the person's place has no room for, in [0, 1].
        grain: Standard deviation of the noise that is still to be laid over it, in [0, 1].
        face: float32 (4,) xyxy in the picture's pixels, the box of the face as detectors draw it; None where it is
            turned away.
        words: Who it is and what it wears, e.g. ``("a woman with long brown hair", "a red knitted sweater")``.
        scale: Pixels of the picture to a metre of the avatar; 0 where unknown.
        ridden: float32 (h, w) in [0, 1], how much of what it covers of each pixel is a bicycle that it rides, and none
            of the person; none where left out.
    """

    box: IntBox
    rgb: Image
    alpha: Floats
    depth: Floats
    edges: Floats
    joints: Floats
    parts: NDArray[np.uint8]
    residual: float
    shadow: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    cut: float = 0.0
    grain: float = 0.0
    face: Floats | None = None
    words: tuple[str, ...] = ()
    scale: float = 0.0
    ridden: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __post_init__(self) -> None:
        size = self.box[3] - self.box[1], self.box[2] - self.box[0]
        for name in ("shadow", "ridden"):
            if getattr(self, name).shape == (0, 0):
                object.__setattr__(self, name, np.zeros(size, np.float32))
        shapes = {"rgb": (*size, 3), "joints": (17, 3)}
        shapes |= dict.fromkeys(("alpha", "depth", "edges", "parts", "shadow", "ridden"), size)
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise InputError(f"rendering: expected {name} of shape {shape}, got {array.shape}")
            object.__setattr__(self, name, _frozen(array))
        if self.face is not None:
            if self.face.shape != (4,):
                raise InputError(f"rendering: expected face of shape (4,), got {self.face.shape}")
            object.__setattr__(self, "face", _frozen(self.face))


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """What steers a redraw.

    Args:
        depth, edges: Of the whole picture, float32 (H, W) in [0, 1]; depth 1 is nearest.
    """

    depth: Floats
    edges: Floats

    def __post_init__(self) -> None:
        for name in ("depth", "edges"):
            array = getattr(self, name)
            if array.dtype != np.float32 or array.ndim != 2:
                raise InputError(f"{name}: expected float32 (H, W), got {array.dtype} {array.shape}")
            # Of an array with NaN both are NaN, which is refused, too; masks of comparisons would cost memory.
            if not (array.min(initial=0) >= 0 and array.max(initial=0) <= 1):
                raise InputError(f"{name}: expected values in [0, 1]")
            object.__setattr__(self, name, _frozen(array))
        if self.depth.shape != self.edges.shape:
            raise InputError(f"depth {self.depth.shape} and edges {self.edges.shape} differ in shape")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check on one instance, or on the whole picture where ``instance_id`` is None.

    Args:
        check: Name of the check, e.g. ``class_kept``, ``face_distance``, ``plate_text``, ``pixels_replaced``,
            ``second_pass``.
        passed: Whether it held.
        value: The figure measured, or None where the check has none.
        threshold: What the figure was compared with, or None.
        instance_id: The instance, or None.
        detail: A short explanation without any original content.
    """

    check: str
    passed: bool
    value: float | None = None
    threshold: float | None = None
    instance_id: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Treatment:
    """What was done to one instance.

    Args:
        instance_id: The instance.
        action: ``redrawn`` by the model or ``redacted`` safely.
        attempts: After how many redraws.
        mask_iou: IoU in [0, 1] of the outline that was found with that of the avatar in its place; None without one.
        method: ``blur``, ``mosaic``, ``solid`` or ``blank`` where its place was obscured on request, which is weaker
            than a redraw or a fill; else None.
        second_pass: Whether it was found in the result only, by the second pass, and then treated.
        found: Box xyxy in pixels in which it was found, where what stands there now has another; else None.
    """

    instance_id: int
    action: Action
    attempts: int
    mask_iou: float | None = None
    method: str | None = None
    second_pass: bool = False
    found: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A verified picture.

    Args:
        image: RGB uint8 (H, W, 3); equal to the input outside ``treated``.
        instances: Every instance that was treated, masks as treated.
        treatments: One per instance, in the same order.
        verdicts: Every check of the final picture.
        treated: bool (H, W): pixels that were allowed to change.
        provenance: Preset, model ids and hashes, versions, timings in seconds. Never seeds, pixels or embeddings.
        texts: What was read on plates of the original, to find it again in names and annotations; never written down.
        renderings: Avatars by the id of the person in whose place they stand, of redrawn persons alone.
        order: Ids of the instances in the order in which they were laid, the lowest first.
        depth: Depth of the released picture, float32 (H, W) in [0, 1], 1 nearest; None unless it was asked for.
        excluded: What was found in the area that was left out, and left as it is.
        consented: Who agreed to be shown, and was left as they are but for what others cover.
    """

    image: Image
    instances: tuple[Instance, ...]
    treatments: tuple[Treatment, ...]
    verdicts: tuple[Verdict, ...]
    treated: Mask
    provenance: Mapping[str, Any] = field(default_factory=dict)
    texts: tuple[str, ...] = field(default=(), repr=False)
    renderings: Mapping[int, Rendering] = field(default_factory=dict, repr=False)
    order: tuple[int, ...] = ()
    depth: Floats | None = field(default=None, repr=False)
    excluded: tuple[Instance, ...] = ()
    consented: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """Detections in a picture before anything is done.

    Args:
        instances: What would be anonymized, by ascending id.
        excluded: What lies in the area that is left out.
        consented: Who agreed to be shown.
    """

    instances: tuple[Instance, ...]
    excluded: tuple[Instance, ...] = ()
    consented: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class TextLine:
    """One line of text read by OCR: polygon float32 (4, 2) x, y in pixels clockwise from top left, text, score."""

    polygon: Floats
    text: str
    score: float


class Detector(Protocol):
    """Finds instances in a picture."""

    def detect(self, image: Image) -> tuple[Instance, ...]:
        """Return instances found in RGB uint8 (H, W, 3), boxes in its pixels, ids from 1."""
        ...


class AvatarArtist(Protocol):
    """Draws avatars."""

    def look(
        self, image: Image, hidden: Mask, persons: Sequence[Instance], horizon: float, drawn: set[str] | None = None
    ) -> Any:
        """Return what the artist takes from a picture once for all persons: light, perspective, noise.

        Args:
            image: RGB uint8 (H, W, 3) with all that is anonymized filled.
            hidden: bool (H, W), what was filled; nothing of it enters.
            persons: The picture's persons: where they stand.
            horizon: Row of the horizon in pixels.
            drawn: What those look like who were drawn in the picture before it was filled anew; the artist adds to it.
        """
        ...

    def begin(
        self,
        image: Image,
        person: Instance,
        rng: np.random.Generator,
        face: Instance | None = None,
        scene: Any = None,
        rides: str | None = None,
        ridden: Floats | None = None,
    ) -> Callable[[], Rendering | None] | None:
        """Return what draws somebody else in a person's place and pose, None where the pose is not known well enough.

        Who it is depends on those begun before in the same scene. What is returned may be called once, in any order
        and in any thread, and returns None where nothing of the person lies in the picture.

        Args:
            image: RGB uint8 (H, W, 3) with all that is anonymized filled.
            person: The person, with ``body``.
            rng: Source of everything but pose and place.
            face: The person's face, if it was found.
            scene: What ``look`` returned for the picture; None: it is looked at now, with this person alone hidden.
            rides: ``bicycle`` or ``motorcycle``, if the person rides one.
            ridden: float32 (4,) xyxy, the box of a bicycle that is gone with the person; None: what is ridden stays.
        """
        ...


class DepthEstimator(Protocol):
    """Estimates relative depth."""

    def estimate(self, image: Image, instances: tuple[Instance, ...]) -> Floats:
        """Return depth float32 (H, W) in [0, 1], 1 nearest."""
        ...


class EdgeDetector(Protocol):
    """Finds edges."""

    def detect(self, image: Image) -> Floats:
        """Return edge strength float32 (H, W) in [0, 1]."""
        ...


class Filler(Protocol):
    """Makes up what hidden parts of a picture may hide."""

    def complete(self, crop: Image, known: Mask) -> Image:
        """Return RGB uint8 (h, w, 3), a crop with all made up that is not ``known``, bool (h, w).

        Nothing that is not known may have influence.
        """
        ...


@runtime_checkable
class PersonSegmenter(Protocol):
    """Draws the outline of a person of whom only a box is known."""

    def segment(self, image: Image, boxes: Floats) -> tuple[Instance | None, ...]:
        """Return the person in each box (N, 4) xyxy inside RGB uint8 (H, W, 3), None where no person is seen."""
        ...


class FaceEmbedder(Protocol):
    """Describes a face by a unit vector."""

    #: Cosine similarity above which two faces count as the same person at FAR 1e-3. An embedder that tells profiles
    #: less well may have a ``profile_threshold`` for these.
    threshold: float

    def embed(self, image: Image, box: Floats, landmarks: Floats | None) -> Floats:
        """Return a unit-length float32 (D,) embedding of the face in the box (xyxy, pixels)."""
        ...


class OCRReader(Protocol):
    """Reads text."""

    def read(self, image: Image) -> tuple[TextLine, ...]:
        """Return the lines of text found in RGB uint8 (H, W, 3)."""
        ...
