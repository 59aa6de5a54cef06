"""Schema of presets: names, types, units and ranges of every setting.

An unknown name is an error, so that a slip of the pen never leaves a setting at its default in silence.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from anonymizer.core.errors import InputError
from anonymizer.core.records import CLASSES

__all__ = ["Preset", "read_preset"]

Score = Annotated[float, Field(ge=0, le=1)]
#: Share of something, 0 to 1.
Share = Annotated[float, Field(ge=0, le=1)]
Pixels = Annotated[int, Field(ge=1)]
Strength = Annotated[float, Field(ge=0, le=2)]
Reference = Annotated[str, Field(min_length=1, description="Id of weights.toml, or id/folder for a part of it.")]
#: ``package.module:Name`` of a callable without arguments that returns a part.
Component = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="package.module:Name")]


def _a_class(value: str) -> str:
    if value not in CLASSES:
        raise ValueError(f"expected one of {', '.join(CLASSES)}")
    return value


Class = Annotated[str, AfterValidator(_a_class)]
Scores = dict[Class, Score]
#: Smallest and largest side in pixels (0: no limit), and the proportion missed between them.
Missed = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)], Share]


class Table(BaseModel):
    """Table of a preset: frozen, and closed to names it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            for key in value:
                if key not in cls.model_fields:
                    near = difflib.get_close_matches(str(key), cls.model_fields, n=1, cutoff=0.5)
                    hint = f"did you mean {near[0]!r}?" if near else f"expected some of {', '.join(cls.model_fields)}"
                    raise ValueError(f"unknown setting {key!r}; {hint}")
        return value


class Machine(Table):
    """Machine that a preset needs."""

    needs_gpu: bool = False
    gpu_memory_gb: float = Field(default=0, ge=0, description="GPU memory in GB; estimated.")
    offload_memory_gb: float = Field(default=0, ge=0, description="The same with cpu_offload.")
    cpu_minutes: float = Field(default=0, ge=0, description="Minutes an instance takes on a CPU; estimated.")


class BoxFrom(Table):
    """Scores from which persons are anonymized whom boxes alone show."""

    sure: Score
    near: Score = Field(default=1, description="Score for persons of near_height pixels or more.")
    near_height: float = Field(default=0, ge=0, description="Pixels.")


class PlateFrom(Table):
    """Scores of plates by the network that saw them."""

    on_vehicle: dict[str, Score] = Field(default_factory=dict)
    elsewhere: dict[str, Score] = Field(default_factory=dict)


class Network(Table):
    """Network for plates alone."""

    network: Reference
    sizes: list[Pixels] = Field(min_length=1, description="Long sides in pixels at which it sees a picture.")
    license_plate: Score


class Thresholds(Table):
    """Thresholds of one sensitivity."""

    treat_from: Scores = Field(default_factory=dict)
    box_from: dict[Literal["sure", "near", "near_height"], float] = Field(default_factory=dict)
    plate_from: dict[Literal["on_vehicle", "elsewhere"], dict[str, Score]] = Field(default_factory=dict)


class Detect(Table):
    """Detection: networks, their scores, and the sizes at which they see a picture."""

    detector: Component | None = Field(default=None, description="Detector of your own in place of all networks here.")
    network: Reference
    coco: bool = Field(default=False, description="Whether the network knows COCO's classes.")
    sizes: list[Pixels] = Field(min_length=1, description="Long sides in pixels at which it sees a picture.")
    person: Score | None = None
    face: Score | None = None
    license_plate: Score
    vehicle: Score | None = None
    treat_from: Scores = Field(default_factory=dict, description="Score from which a find is anonymized by itself.")
    box_from: BoxFrom | None = None
    plate_from: PlateFrom | None = None
    persons: Reference | None = Field(default=None, description="CenterNet.")
    person_box: Score | None = None
    quarters: bool = Field(default=False, description="Whether CenterNet sees the four quarters as well.")
    faces: Reference
    centerface: Score
    scrfd: Reference | None = None
    scrfd_score: Score | None = None
    ocr: Reference
    plates: Reference | None = None
    plate_sizes: list[Pixels] | None = None
    packaged_plates: Network | None = None
    refine: Reference | None = Field(default=None, description="Outlines: the embedded network, or SAM 2.")
    body: Reference | None = Field(default=None, description="BlazePose.")
    face_mesh: Reference | None = None
    tile_from: Pixels = Field(description="Longer side in pixels from which a picture is seen in tiles as well.")
    tile: Pixels = Field(description="Side of a tile in pixels.")
    large_from: Pixels = Field(description="Pixels of a picture from which tiles are large_tile wide.")
    large_tile: Pixels
    sensitivity: dict[Literal["high", "low"], Thresholds] = Field(default_factory=dict)
    missed: dict[Class, list[Missed]] = Field(
        default_factory=dict, description="Proportion missed on held-out pictures by side; for people only."
    )

    @field_validator("missed", mode="before")
    @classmethod
    def _rows(cls, value: Any) -> Any:
        # TOML has lists where these rows are tuples.
        if isinstance(value, Mapping):
            return {key: [tuple(row) for row in rows] for key, rows in value.items()}
        return value

    @model_validator(mode="after")
    def _together(self) -> Detect:
        if self.detector is not None:
            return self
        needs: tuple[tuple[str, tuple[str, ...]], ...] = (
            ("persons", ("person_box", "vehicle")),
            ("scrfd", ("scrfd_score",)),
            ("plates", ("plate_sizes",)),
        )
        for name, others in needs:
            lacking = [other for other in others if getattr(self, other) is None]
            if getattr(self, name) is not None and lacking:
                raise ValueError(f"{name} needs {', '.join(lacking)} beside it")
        lacking = [name for name in ("person", *(() if self.coco else ("face",))) if getattr(self, name) is None]
        if lacking:
            raise ValueError(f"expected a score for {', '.join(lacking)}")
        return self


class Condition(Table):
    """Maps that hold a redraw to the scene."""

    depth: Reference | None = Field(default=None, description="Depth Anything; in closed form where left out.")
    edges: Reference
    guard_level: int = Field(ge=0, le=2, description="Guard of the first attempt; later ones are stricter.")


class FixedCrop(Table):
    """Crop of a fixed size in which a class is painted."""

    height: Pixels
    width: Pixels
    margin: float = Field(ge=0, description="Context on each side as a share of the instance's longer side.")
    double_from: float = Field(
        default=0, ge=0, description="Times larger in the picture to be painted twice as large; 0: never."
    )


class LongSideCrop(Table):
    """Crop in the instance's own shape, as the paper's code cuts it."""

    long_side: Pixels
    margin: float = Field(ge=0, description="Context on each side as a share of the instance's width and height.")
    dilation: Pixels = Field(description="Diameter in pixels by which the mask grows; odd.")
    small_area: int = Field(ge=0, description="Masks with fewer pixels are not grown.")


def _kind(value: Any) -> str:
    long_side = "long_side" in value if isinstance(value, Mapping) else isinstance(value, LongSideCrop)
    return "long_side" if long_side else "fixed"


Crop = Annotated[Annotated[FixedCrop, Tag("fixed")] | Annotated[LongSideCrop, Tag("long_side")], Discriminator(_kind)]


class Direct(Table):
    """Words, guidance and strengths for a text-to-image model."""

    wording: Literal["scene", "paper"] = "scene"
    keep: list[Literal["age_group", "helmet", "uniform"]] = Field(
        default_factory=list, description="Attributes of annotations that are kept on purpose."
    )
    guidance: list[float] = Field(default_factory=list, description="Scales of which one is drawn for each crop.")
    scales: dict[Class, list[Strength]] = Field(default_factory=dict, description="Strengths of depth and edges.")
    small_area: int = Field(default=0, ge=0, description="Masks with fewer pixels take small_scales; 0: none.")
    small_scales: list[Strength] = Field(default=[0.1, 0.1], min_length=2, max_length=2)


class Population(Table):
    """Who avatars are drawn from."""

    female: Share = Field(default=0.5, description="Share of women.")
    skin: list[Annotated[float, Field(ge=0)]] = Field(
        default_factory=list, description="Weights of seven skin tones, light to dark; empty: the stated population."
    )
    hats: Share = Field(default=0.16, description="Share of people with a hat, hood or headscarf.")
    bags: Share = Field(default=0.28, description="Share of people with a bag or backpack.")
    glasses: Share = Field(default=0.2, description="Share of people with glasses or sunglasses.")
    beards: Share = Field(default=0.18, description="Share of men with a full beard.")
    masks: Share = Field(default=0.02, description="Share of people with a face mask.")


class Redraw(Table):
    """The diffusion inpainter and what it starts from."""

    family: Literal["sd15", "sdxl"] = "sd15"
    pipeline: Reference
    controlnets: list[Reference] = Field(min_length=1, description="For depth and edges, or one for both.")
    lora: Reference | None = None
    scheduler: Literal["", "unipc", "lcm", "dpm++"] = ""
    steps: int = Field(ge=1, le=1000)
    guidance_scale: float = Field(ge=0)
    depth_scale: Strength
    edge_scale: Strength
    negative_prompt: str = ""
    batch_size: int = Field(ge=1, description="Crops painted at once.")
    batch_limit: int = Field(default=0, ge=0, description="Batches double up to this while memory lasts; 0: never.")
    pictures: dict[Literal["cpu", "cuda"], Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="Pictures painted together at most, by device."
    )
    dtype: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    channels_last: bool = False
    compile: bool = False
    vae_tiling: bool = False
    cpu_offload: bool = False
    attempts: dict[Class, Annotated[int, Field(ge=1)]] = Field(description="Redraws before an instance is filled.")
    prototypes: Reference | None = Field(default=None, description="Average faces to start from.")
    avatar: Reference | None = Field(default=None, description="Body model of avatars.")
    poses: Reference | None = Field(default=None, description="Plausible poses, for what was not seen of a person.")
    joint_noise: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Epsilon of the noise on joints and place of avatars, per unit of distance."
    )
    population: Population = Field(default_factory=Population, description="Who avatars are drawn from.")
    pose_bank: bool = Field(default=False, description="Avatars take only poses of the bank of plausible ones.")
    start: Literal["rendering", "noise", "guarded"] = Field(
        default="rendering",
        description="What persons start from: the avatar's rendering; noise held to the avatar's depth and edges; or "
        "noise held to guarded maps of the original, without an avatar.",
    )
    shading: bool = Field(
        default=False, description="Whether of what is painted over a rendering only fine shading is kept."
    )
    strength: dict[Class, Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=dict,
        description="Share of the noise schedule that avatars and average faces pass through; faces start from noise "
        "where none is named.",
    )
    crops: dict[Class, Crop]
    least_side: dict[Class, Annotated[int, Field(ge=0)]] = Field(
        description="Shorter side in pixels below which an instance is filled."
    )
    least_score: Scores = Field(description="Score below which a find is filled, unless it has a sure face.")
    direction: Direct | None = None

    @model_validator(mode="after")
    def _together(self) -> Redraw:
        if self.avatar is not None and self.prototypes is None:
            raise ValueError("avatar needs prototypes beside it: the faces of avatars")
        if self.avatar is not None and self.poses is None:
            raise ValueError("avatar needs poses beside it: what is plausible where a person was not seen")
        if self.avatar is not None and self.start == "rendering" and "person" not in self.strength:
            raise ValueError("avatar needs strength.person beside it, or start = 'noise'")
        if self.prototypes is not None and self.avatar is None and "face" not in self.strength:
            raise ValueError("prototypes needs strength.face beside it")
        if self.shading and self.start != "rendering":
            raise ValueError(f"shading is laid over renderings; start is {self.start!r}")
        return self

    @property
    def has_avatars(self) -> bool:
        """Whether persons become avatars."""
        return self.avatar is not None and self.start != "guarded"


class Verify(Table):
    """Checks of a result."""

    face: list[Reference] = Field(min_length=2, max_length=2, description="Face descriptor and landmarks.")


class Preset(Table):
    """Preset: which networks, at which settings.

    Args:
        description: One sentence for people.
        classes: Classes to treat where the caller names none.
        machine: Machine it needs.
        detect: Detection.
        condition: Depth and edges.
        redraw: Inpainting.
        verify: Checks.
    """

    description: str = ""
    classes: list[Class] = Field(default=["person", "face", "license_plate"], min_length=1)
    machine: Machine = Machine()
    detect: Detect
    condition: Condition
    redraw: Redraw
    verify: Verify

    @model_validator(mode="after")
    def _posed(self) -> Preset:
        detect = self.detect
        if self.redraw.has_avatars and detect.detector is None and (detect.refine is None or detect.body is None):
            raise ValueError("redraw.avatar needs detect.refine and detect.body beside it, or redraw.start = 'guarded'")
        return self


def read_preset(name: str, table: Mapping[str, Any]) -> Preset:
    """Return a preset's complete table as checked settings.

    Args:
        name: The preset, for messages.
        table: Nested tables as TOML has them, with ``base`` resolved.

    Raises:
        InputError: Unknown settings, with the nearest known name; wrong types, values out of range, what is missing.
    """
    try:
        return Preset.model_validate(table)
    except ValidationError as error:
        raise InputError(f"preset {name!r}: " + "; ".join(_said(e) for e in error.errors())) from error


def _said(error: Any) -> str:
    """Return one error in words: where, what was expected, what was given."""
    place = ".".join(str(part) for part in error["loc"] if part not in ("fixed", "long_side"))
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{place} is missing; compare with 'embedded'"
    plain = message[0].lower() + message[1:]
    given = "" if isinstance(error["input"], Mapping) else f", got {error['input']!r}"
    return f"{place}: {plain}{given}" if place else plain
