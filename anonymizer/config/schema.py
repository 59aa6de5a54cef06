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
    JsonValue,
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

#: Units of settings, for whoever reads the schema.
_PIXELS: dict[str, JsonValue] = {"unit": "pixels"}
_GB: dict[str, JsonValue] = {"unit": "GB"}
_SIDES: dict[str, JsonValue] = {"unit": "sides of the instance"}
Pixels = Annotated[int, Field(ge=1, json_schema_extra=_PIXELS)]
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

    needs_gpu: bool = Field(default=False, description="Whether a CPU is refused unless forced.")
    gpu_memory_gb: float = Field(default=0, ge=0, json_schema_extra=_GB, description="GPU memory; estimated.")
    offload_memory_gb: float = Field(default=0, ge=0, json_schema_extra=_GB, description="The same with cpu_offload.")
    cpu_minutes: float = Field(
        default=0,
        ge=0,
        json_schema_extra={"unit": "minutes"},
        description="What an instance takes on a CPU; estimated.",
    )


class BoxFrom(Table):
    """Scores from which persons are anonymized whom boxes alone show."""

    sure: Score = Field(description="Score for persons of any height.")
    near: Score = Field(default=1, description="Score for persons of near_height or more.")
    near_height: float = Field(default=0, ge=0, json_schema_extra=_PIXELS, description="Height from which near counts.")


class PlateFrom(Table):
    """Scores of plates by the network that saw them."""

    on_vehicle: dict[str, Score] = Field(default_factory=dict, description="Score by network, for plates on vehicles.")
    elsewhere: dict[str, Score] = Field(default_factory=dict, description="Score by network, for all other plates.")


class Network(Table):
    """Network for plates alone."""

    network: Reference = Field(description="The network.")
    sizes: list[Pixels] = Field(min_length=1, description="Long sides at which it sees a picture.")
    license_plate: Score = Field(description="Least score of a plate.")


class Thresholds(Table):
    """Thresholds of one sensitivity."""

    treat_from: Scores = Field(default_factory=dict, description="In place of those of detect.")
    box_from: dict[Literal["sure", "near", "near_height"], float] = Field(
        default_factory=dict, description="In place of those of detect."
    )
    plate_from: dict[Literal["on_vehicle", "elsewhere"], dict[str, Score]] = Field(
        default_factory=dict, description="In place of those of detect."
    )


class Detect(Table):
    """Detection: networks, their scores, and the sizes at which they see a picture."""

    detector: Component | None = Field(default=None, description="Detector of your own in place of all networks here.")
    network: Reference = Field(description="YOLO for persons, faces, plates and vehicles, as far as it knows them.")
    coco: bool = Field(default=False, description="Whether the network knows COCO's classes.")
    sizes: list[Pixels] = Field(min_length=1, description="Long sides at which it sees a picture.")
    person: Score | None = Field(default=None, description="Least score of a person.")
    face: Score | None = Field(default=None, description="Least score of a face.")
    license_plate: Score = Field(description="Least score of a plate.")
    vehicle: Score | None = Field(default=None, description="Least score of a vehicle.")
    treat_from: Scores = Field(default_factory=dict, description="Score from which a find is anonymized by itself.")
    box_from: BoxFrom | None = Field(default=None, description="Score for persons whom boxes alone show.")
    plate_from: PlateFrom | None = Field(default=None, description="Score for plates, by network.")
    persons: Reference | None = Field(default=None, description="CenterNet, for persons and vehicles.")
    person_box: Score | None = Field(default=None, description="Its least score of a person.")
    quarters: bool = Field(default=False, description="Whether CenterNet sees the four quarters as well.")
    faces: Reference = Field(description="CenterFace.")
    centerface: Score = Field(description="Its least score of a face.")
    scrfd: Reference | None = Field(default=None, description="SCRFD, for more faces.")
    scrfd_score: Score | None = Field(default=None, description="Its least score of a face.")
    ocr: Reference = Field(description="OCR that finds text.")
    plates: Reference | None = Field(default=None, description="YOLO for plates alone.")
    plate_sizes: list[Pixels] | None = Field(default=None, description="Long sides at which it sees a picture.")
    packaged_plates: Network | None = Field(default=None, description="Network for plates that a package carries.")
    refine: Reference | None = Field(default=None, description="Outlines: the embedded network, or SAM 2.")
    body: Reference | None = Field(default=None, description="BlazePose.")
    face_mesh: Reference | None = Field(default=None, description="FaceMesh, for where faces look.")
    tile_from: Pixels = Field(description="Longer side from which a picture is seen in tiles as well.")
    tile: Pixels = Field(description="Side of a tile.")
    large_from: Pixels = Field(description="Pixels of a picture from which tiles are large_tile wide.")
    large_tile: Pixels = Field(description="Side of a tile of such pictures.")
    sensitivity: dict[Literal["high", "low"], Thresholds] = Field(
        default_factory=dict, description="Thresholds for --sensitivity high and low."
    )
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
    edges: Reference = Field(description="Edge network.")
    guard_level: int = Field(ge=0, le=2, description="Guard of the first attempt; later ones are stricter.")


class FixedCrop(Table):
    """Crop of a fixed size in which a class is painted."""

    height: Pixels = Field(description="Height of the crop.")
    width: Pixels = Field(description="Width of the crop.")
    margin: float = Field(ge=0, json_schema_extra=_SIDES, description="Context on each side; by the longer side.")
    double_from: float = Field(
        default=0, ge=0, description="Times larger in the picture to be painted twice as large; 0: never."
    )


class LongSideCrop(Table):
    """Crop in the instance's own shape, as the paper's code cuts it."""

    long_side: Pixels = Field(description="Longer side of the crop.")
    margin: float = Field(ge=0, json_schema_extra=_SIDES, description="Context on each side; by width and height.")
    dilation: Pixels = Field(description="Diameter by which the mask grows; odd.")
    small_area: int = Field(ge=0, json_schema_extra=_PIXELS, description="Masks with fewer pixels are not grown.")


def _kind(value: Any) -> str:
    long_side = "long_side" in value if isinstance(value, Mapping) else isinstance(value, LongSideCrop)
    return "long_side" if long_side else "fixed"


Crop = Annotated[Annotated[FixedCrop, Tag("fixed")] | Annotated[LongSideCrop, Tag("long_side")], Discriminator(_kind)]


class Direct(Table):
    """Words, guidance and strengths for a text-to-image model."""

    wording: Literal["scene", "paper"] = Field(default="scene", description="Prompt: of the scene, or the paper's.")
    keep: list[Literal["age_group", "helmet", "uniform"]] = Field(
        default_factory=list, description="Attributes of annotations that are kept on purpose."
    )
    guidance: list[float] = Field(default_factory=list, description="Scales of which one is drawn for each crop.")
    scales: dict[Class, list[Strength]] = Field(default_factory=dict, description="Strengths of depth and edges.")
    small_area: int = Field(
        default=0, ge=0, json_schema_extra=_PIXELS, description="Masks with fewer pixels take small_scales; 0: none."
    )
    small_scales: list[Strength] = Field(
        default=[0.1, 0.1], min_length=2, max_length=2, description="Strengths of depth and edges for those."
    )


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

    family: Literal["sd15", "sdxl"] = Field(default="sd15", description="Architecture of the pipeline.")
    pipeline: Reference = Field(description="Diffusers folder of the inpainter.")
    controlnets: list[Reference] = Field(min_length=1, description="For depth and edges, or one for both.")
    lora: Reference | None = Field(default=None, description="LoRA that is laid over the pipeline.")
    scheduler: Literal["", "unipc", "lcm", "dpm++"] = Field(default="", description="Sampler; the pipeline's if empty.")
    steps: int = Field(ge=1, le=1000, description="Steps of the whole noise schedule.")
    guidance_scale: float = Field(ge=0, description="Scale of classifier-free guidance; 1: none.")
    depth_scale: Strength = Field(description="Strength of the depth map.")
    edge_scale: Strength = Field(description="Strength of the edge map.")
    negative_prompt: str = Field(default="", description="What guidance leads away from.")
    batch_size: int = Field(ge=1, description="Crops painted at once.")
    batch_limit: int = Field(default=0, ge=0, description="Batches double up to this while memory lasts; 0: never.")
    pictures: dict[Literal["cpu", "cuda"], Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="Pictures painted together at most, by device."
    )
    dtype: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        default="auto", description="Number type; auto: fp16 on a GPU, fp32 on a CPU."
    )
    channels_last: bool = Field(default=False, description="Memory layout that some GPUs are faster with.")
    compile: bool = Field(default=False, description="Whether torch.compile is used.")
    vae_tiling: bool = Field(default=False, description="Whether the autoencoder works in tiles, for less memory.")
    cpu_offload: bool = Field(default=False, description="Whether parts wait in main memory, for less GPU memory.")
    attempts: dict[Class, Annotated[int, Field(ge=1)]] = Field(description="Redraws before an instance is filled.")
    prototypes: Reference | None = Field(default=None, description="Average faces to start from.")
    avatar: Reference | None = Field(default=None, description="Body model of avatars.")
    fill: Reference | None = Field(
        default=None, description="Network that makes up what is behind; colours are spread smoothly without."
    )
    poses: Reference | None = Field(default=None, description="Plausible poses, for what was not seen of a person.")
    joint_noise: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Epsilon of the noise on joints and place of avatars, per unit of distance."
    )
    population: Population = Field(default_factory=Population, description="Proportions among the people of avatars.")
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
    crops: dict[Class, Crop] = Field(description="Crop in which a class is painted.")
    least_side: dict[Class, Annotated[int, Field(ge=0, json_schema_extra=_PIXELS)]] = Field(
        description="Shorter side below which an instance is filled."
    )
    least_score: Scores = Field(description="Score below which a find is filled, unless it has a sure face.")
    doubted: list[str] = Field(
        default_factory=list,
        description="Networks whose persons are filled where no other saw them, unless they have a sure face.",
    )
    direction: Direct | None = Field(default=None, description="For text-to-image models.")

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
    """Preset: which networks, at which settings."""

    description: str = Field(default="", description="One sentence for people.")
    classes: list[Class] = Field(
        default=["person", "face", "license_plate"],
        min_length=1,
        description="Classes to treat where the caller names none.",
    )
    machine: Machine = Field(default=Machine(), description="Machine it needs.")
    detect: Detect = Field(description="Detection.")
    condition: Condition = Field(description="Depth and edges.")
    redraw: Redraw = Field(description="Inpainting.")
    verify: Verify = Field(description="Checks.")

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
