"""Wiring: from a preset's tables to backends with their weights and settings."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anonymizer.config.schema import Condition, Crop, Detect, Direct, LongSideCrop, Redraw
from anonymizer.core.errors import InputError
from anonymizer.core.records import CLASSES, AvatarArtist, DepthEstimator, Detector, EdgeDetector, Filler, OCRReader
from anonymizer.models import weights

__all__ = [
    "Source",
    "component",
    "make_artist",
    "make_depth",
    "make_detector",
    "make_edges",
    "make_filler",
    "make_redrawer",
    "runs_exported",
]


@dataclass(frozen=True, slots=True)
class Source:
    """Where backends get their weights and run: verified path by reference (``id`` or ``id/folder``), and device."""

    path: Callable[[str], Path]
    device: str


def make_detector(table: Detect, source: Source, reader: OCRReader, classes: Sequence[str]) -> Detector:
    """Return the union of the detectors that a ``detect`` table names.

    Args:
        table: Its ``detector``, or networks with their scores and sizes.
        source: Weights and device.
        reader: Finds text.
        classes: Classes to treat.
    """
    if table.detector is not None:
        return component(table.detector, "detect")
    from anonymizer.detect.faces import CenterFaceDetector
    from anonymizer.detect.merge import UnionDetector
    from anonymizer.detect.plates import TextDetector
    from anonymizer.detect.tiling import TiledDetector
    from anonymizer.detect.yolo import COCO, COCO_LABELS, OWN, YoloSegDetector

    network, sizes, device = source.path(table.network), table.sizes, source.device
    found: list[Detector] = []
    scores = {"person": table.person, "face": table.face, "license_plate": table.license_plate}
    if table.coco:
        if "vehicle" in classes:
            scores["vehicle"] = table.vehicle
        thresholds = {label: s for label, s in scores.items() if s is not None and label in ("person", "vehicle")}
        found.append(YoloSegDetector(network, thresholds, sizes=sizes, classes=COCO, labels=COCO_LABELS, device=device))
    else:
        thresholds = {label: s for label, s in scores.items() if s is not None}
        found.append(YoloSegDetector(network, thresholds, sizes=sizes, classes=OWN, device=device))
    if table.persons is not None:
        from anonymizer.detect.centernet import CenterNetDetector

        least = {label: s for label, s in (("person", table.person_box), ("vehicle", table.vehicle)) if s is not None}
        found.append(CenterNetDetector(source.path(table.persons), least, device, quarters=table.quarters))
    if table.packaged_plates is not None:
        plates = table.packaged_plates
        found.append(
            YoloSegDetector(
                source.path(plates.network),
                {"license_plate": plates.license_plate},
                sizes=plates.sizes,
                classes=("license_plate",),
                plate_outlines=True,
                device=device,
                source="platedet",
            )
        )
    found.append(CenterFaceDetector(source.path(table.faces), threshold=table.centerface))
    if table.scrfd is not None and table.scrfd_score is not None:
        from anonymizer.detect.faces import ScrfdDetector

        found.append(ScrfdDetector(source.path(table.scrfd), table.scrfd_score, device))
    if table.plates is not None and table.plate_sizes is not None:
        from anonymizer.detect.plate_network import PlateNetwork

        found.append(PlateNetwork(source.path(table.plates), table.license_plate, table.plate_sizes, device=device))
    found.append(TextDetector(reader, emit_text="text" in classes))
    tiled = [
        TiledDetector(
            part,
            tile=table.tile,
            min_side=table.tile_from,
            large_tile=table.large_tile,
            large_from=table.large_from,
        )
        for part in found
    ]
    union: Detector = UnionDetector(tiled, CLASSES)
    if table.refine is not None:
        pose, mesh = (None if name is None else source.path(name) for name in (table.body, table.face_mesh))
        union = _refined(union, source.path(table.refine), pose, mesh, device)
    return union


def component(name: str, verb: str) -> Any:
    """Return a part of the user's own.

    Args:
        name: ``package.module:Name`` of a callable without arguments.
        verb: Method that the part must have.

    Raises:
        InputError: It cannot be imported, or is no such part.
    """
    module, _, attribute = name.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(
            f"part {name!r}: expected package.module:Name of a callable without arguments, got {error}"
        ) from error
    if not callable(getattr(made, verb, None)):
        raise InputError(f"part {name!r}: expected an object with a method {verb}, got {type(made).__name__}")
    return made


def _refined(union: Detector, path: Path, pose: Path | None, mesh: Path | None, device: str) -> Detector:
    """Return a detector with finer masks, by SAM 2 (a folder) or by the embedded outline network (ONNX), and poses."""
    outlines: Path | None = path
    if path.suffix != ".onnx":
        from anonymizer.detect.sam import SamRefiner

        union, outlines = SamRefiner(union, path, device), None
        if pose is None:
            return union
    from anonymizer.detect.blazepose import BlazePose
    from anonymizer.detect.facemesh import FaceMesh
    from anonymizer.detect.outlines import OutlineDetector

    persons = None if pose is None else BlazePose(pose, device)
    faces = None if mesh is None else FaceMesh(mesh, device)
    return OutlineDetector(union, outlines, device, persons, faces)


def make_depth(table: Condition, source: Source) -> DepthEstimator:
    """Return the depth estimator that a ``condition`` table names; closed form if it names none."""
    if table.depth is not None:
        from anonymizer.condition.depth import DepthAnything

        return DepthAnything(source.path(table.depth), source.device)
    from anonymizer.condition.depth import GroundPlaneDepth

    return GroundPlaneDepth()


def make_edges(table: Condition, source: Source) -> EdgeDetector:
    """Return the edge detector that a ``condition`` table names: HED in safetensors, or a network in ONNX."""
    path = source.path(table.edges)
    if path.suffix == ".safetensors":
        from anonymizer.condition.edges import HedEdges

        return HedEdges(path, source.device)
    from anonymizer.condition.edges import EdgeNet

    return EdgeNet(path)


def make_redrawer(table: Redraw, source: Source, batch_size: int | None) -> Any:
    """Return the ``Redrawer`` that a ``redraw`` table describes.

    Args:
        table: Pipeline, starts and crops.
        source: Weights and device.
        batch_size: Crops painted at once, instead of the table's.
    """
    from anonymizer.redraw.diffusion import DiffusionInpainter, DiffusionSettings
    from anonymizer.redraw.direction import Director
    from anonymizer.redraw.exported import ExportedInpainter
    from anonymizer.redraw.loading import LoadSettings
    from anonymizer.redraw.prototypes import FaceBank
    from anonymizer.redraw.redrawer import AvatarPainting, Redrawer

    load = LoadSettings(
        family=table.family,
        device=source.device,
        dtype=table.dtype,
        scheduler=table.scheduler,
        variant=weights.entry(table.pipeline.partition("/")[0]).variant,
        channels_last=table.channels_last,
        compile=table.compile,
        vae_tiling=table.vae_tiling,
        cpu_offload=table.cpu_offload,
    )
    settings = DiffusionSettings(
        num_inference_steps=table.steps,
        guidance_scale=table.guidance_scale,
        controlnet_conditioning_scale=(table.depth_scale, table.edge_scale),
        negative_prompt=table.negative_prompt,
        batch_size=batch_size or table.batch_size,
        batch_limit=0 if batch_size else table.batch_limit,
        device=source.device,
    )
    folder = source.path(table.pipeline)
    controlnets = [source.path(reference) for reference in table.controlnets]
    lora = source.path(table.lora) if table.lora is not None else None
    inpainter: DiffusionInpainter | ExportedInpainter
    if runs_exported(table, folder, source.device):
        inpainter = ExportedInpainter(folder, settings)
    else:
        inpainter = DiffusionInpainter(folder, controlnets, settings, load, lora)
    faces = None
    if table.prototypes is not None and "face" in table.strength:
        faces = FaceBank.load(source.path(table.prototypes) / "faces.safetensors")
    director = Director(_direction(table.direction)) if table.direction is not None else None
    crops = {label: _crop(crop) for label, crop in table.crops.items()}
    painting = AvatarPainting(table.start, table.shading, 2 * inpainter.stride)
    return Redrawer(inpainter, crops, faces, table.strength, director, painting)


def runs_exported(table: Redraw, folder: Path, device: str) -> bool:
    """Return whether the graphs beside a pipeline do all that a ``redraw`` table asks: then torch is not loaded."""
    from anonymizer.redraw.exported import is_exported

    asked = (table.lora, table.scheduler, table.channels_last, table.compile, table.vae_tiling, table.cpu_offload)
    own = [f"{table.pipeline}/controlnet", f"{table.pipeline}/controlnet_1"]
    return (
        device == "cpu"
        and is_exported(folder)
        and table.controlnets == own
        and table.dtype in ("auto", "fp32")
        and table.guidance_scale <= 1
        # Sentences have no embeddings beforehand.
        and table.direction is None
        and not any(asked)
    )


def make_filler(table: Redraw, source: Source) -> Filler | None:
    """Return what makes up the fill of a ``redraw`` table, None if it names nothing."""
    if table.fill is None:
        return None
    from anonymizer.fill.migan import MiGan

    return MiGan(source.path(table.fill), source.device)


def make_artist(table: Redraw, source: Source) -> AvatarArtist | None:
    """Return who draws the avatars that a ``redraw`` table names (``avatar``, ``poses``, faces from ``prototypes``)."""
    if not table.has_avatars or table.avatar is None or table.prototypes is None or table.poses is None:
        return None
    from anonymizer import avatar

    faces = source.path(table.prototypes) / "textures.safetensors"
    poses = source.path(table.poses)
    people = table.population
    habits = avatar.Habits(people.hats, people.bags, people.glasses, people.masks, people.beards)
    population = avatar.Population(people.female, tuple(people.skin), habits)
    return avatar.AvatarArtist(source.path(table.avatar), faces, poses, table.joint_noise, table.pose_bank, population)


def _crop(table: Crop) -> Any:
    from anonymizer.redraw import crops

    kind = crops.LongSideCrop if isinstance(table, LongSideCrop) else crops.CropSetting
    return kind(**table.model_dump())


def _direction(table: Direct) -> Any:
    """Return a ``Direction``; TOML has lists where it has tuples."""
    from anonymizer.redraw.direction import Direction

    return Direction(
        wording=table.wording,
        keep=tuple(table.keep),
        guidance=tuple(table.guidance),
        scales={label: (depth, edges) for label, (depth, edges) in table.scales.items()},
        small_area=table.small_area,
        small_scales=(table.small_scales[0], table.small_scales[1]),
    )
