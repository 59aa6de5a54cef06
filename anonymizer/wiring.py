"""From a preset's table to backends: which class reads which weights, with which settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anonymizer import weights
from anonymizer.types import CLASSES, AvatarArtist, DepthEstimator, Detector, EdgeDetector, OCRReader

__all__ = ["Source", "make_artist", "make_depth", "make_detector", "make_edges", "make_redrawer"]

Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """Where backends get their weights and run: verified path by reference (``id`` or ``id/folder``), and device."""

    path: Callable[[str], Path]
    device: str


def make_detector(table: Table, source: Source, reader: OCRReader, classes: Sequence[str]) -> Detector:
    """Return the union of the detectors that a ``detect`` table names.

    Args:
        table: ``network`` (the embedded one, or with ``coco = true`` one of COCO's classes) with a threshold per
            class, ``sizes``, ``faces`` with ``centerface``, ``tile`` and ``tile_from``; optional ``persons``
            (CenterNet) with ``person_box``, ``vehicle`` and ``quarters``, ``plates`` with ``plate_sizes``,
            ``packaged_plates`` (a network of the embedded kind for plates alone), ``scrfd`` with
            ``scrfd_score``, ``refine`` with ``body`` and ``face_mesh``.
        source: Weights and device.
        reader: Finds text.
        classes: Classes to treat.
    """
    from anonymizer.detect.faces import CenterFaceDetector
    from anonymizer.detect.merge import UnionDetector
    from anonymizer.detect.plates import TextDetector
    from anonymizer.detect.tiling import TiledDetector
    from anonymizer.detect.yolo import COCO, COCO_LABELS, OWN, YoloSegDetector

    network, sizes, device = source.path(table["network"]), table["sizes"], source.device
    found: list[Detector] = []
    if table.get("coco"):
        labels = ("person", "vehicle") if "vehicle" in classes else ("person",)
        thresholds = {label: table[label] for label in labels}
        found.append(YoloSegDetector(network, thresholds, sizes=sizes, classes=COCO, labels=COCO_LABELS, device=device))
    else:
        thresholds = {label: table[label] for label in ("person", "face", "license_plate")}
        found.append(YoloSegDetector(network, thresholds, sizes=sizes, classes=OWN, device=device))
    if "persons" in table:
        from anonymizer.detect.centernet import CenterNetDetector

        least = {"person": table["person_box"], "vehicle": table["vehicle"]}
        found.append(CenterNetDetector(source.path(table["persons"]), least, device, quarters=table["quarters"]))
    if "packaged_plates" in table:
        plates = table["packaged_plates"]
        only = {"license_plate": plates["license_plate"]}
        found.append(
            YoloSegDetector(
                source.path(plates["network"]),
                only,
                sizes=plates["sizes"],
                classes=("license_plate",),
                plate_outlines=True,
                device=device,
                source="platedet",
            )
        )
    found.append(CenterFaceDetector(source.path(table["faces"]), threshold=table["centerface"]))
    if "scrfd" in table:
        from anonymizer.detect.scrfd import ScrfdDetector

        found.append(ScrfdDetector(source.path(table["scrfd"]), table["scrfd_score"], device))
    if "plates" in table:
        from anonymizer.detect.plate_network import PlateNetwork

        boxes, threshold = source.path(table["plates"]), table["license_plate"]
        found.append(PlateNetwork(boxes, threshold, table["plate_sizes"], device=device))
    found.append(TextDetector(reader, emit_text="text" in classes))
    sides = {"tile": table["tile"], "min_side": table["tile_from"]}
    large = {"large_tile": table["large_tile"], "large_from": table["large_from"]}
    tiled = [TiledDetector(part, **sides, **large) for part in found]
    union: Detector = UnionDetector(tiled, CLASSES)
    if "refine" in table:
        pose, mesh = (source.path(table[key]) if key in table else None for key in ("body", "face_mesh"))
        union = _refined(union, source.path(table["refine"]), pose, mesh, device)
    return union


def _refined(union: Detector, path: Path, pose: Path | None, mesh: Path | None, device: str) -> Detector:
    """Return a detector with finer masks: by SAM 2 (a folder) or by the embedded outline network (ONNX)."""
    if path.suffix == ".onnx":
        from anonymizer.detect.blazepose import BlazePose
        from anonymizer.detect.facemesh import FaceMesh
        from anonymizer.detect.outlines import OutlineDetector

        persons = None if pose is None else BlazePose(pose, device)
        faces = None if mesh is None else FaceMesh(mesh, device)
        return OutlineDetector(union, path, device, persons, faces)
    from anonymizer.detect.sam import SamRefiner

    return SamRefiner(union, path, device)


def make_depth(table: Table, source: Source) -> DepthEstimator:
    """Return the depth estimator that a ``condition`` table names; closed form if it names none."""
    if "depth" in table:
        from anonymizer.condition.depth_anything import DepthAnything

        return DepthAnything(source.path(table["depth"]), source.device)
    from anonymizer.condition.depth import GroundPlaneDepth

    return GroundPlaneDepth()


def make_edges(table: Table, source: Source) -> EdgeDetector:
    """Return the edge detector that a ``condition`` table names: HED in safetensors, or a network in ONNX."""
    path = source.path(table["edges"])
    if path.suffix == ".safetensors":
        from anonymizer.condition.hed import HedEdges

        return HedEdges(path, source.device)
    from anonymizer.condition.edges import EdgeNet

    return EdgeNet(path)


def make_redrawer(table: Table, source: Source, batch_size: int | None) -> Any:
    """Return the ``Redrawer`` that a ``redraw`` table describes.

    Args:
        table: See ``presets.toml``.
        source: Weights and device.
        batch_size: Crops painted at once, instead of the table's.
    """
    from anonymizer.redraw.diffusion import DiffusionInpainter, DiffusionSettings
    from anonymizer.redraw.direction import Director
    from anonymizer.redraw.loading import LoadSettings
    from anonymizer.redraw.prototypes import FaceBank
    from anonymizer.redraw.redrawer import Redrawer

    switches = ("family", "dtype", "scheduler", "channels_last", "compile", "vae_tiling", "cpu_offload")
    load = LoadSettings(
        device=source.device,
        variant=weights.entry(table["pipeline"].partition("/")[0]).variant,
        **{name: table[name] for name in switches if name in table},
    )
    settings = DiffusionSettings(
        num_inference_steps=table["steps"],
        guidance_scale=table["guidance_scale"],
        controlnet_conditioning_scale=(table["depth_scale"], table["edge_scale"]),
        negative_prompt=table["negative_prompt"],
        batch_size=batch_size or table["batch_size"],
        batch_limit=0 if batch_size else table.get("batch_limit", 0),
        device=source.device,
    )
    painter = DiffusionInpainter(
        source.path(table["pipeline"]),
        [source.path(reference) for reference in table["controlnets"]],
        settings,
        load,
        source.path(table["lora"]) if "lora" in table else None,
    )
    faces = FaceBank.load(source.path(table["prototypes"]) / "faces.safetensors") if "prototypes" in table else None
    director = Director(_direction(table["direction"])) if "direction" in table else None
    crops = {label: _crop(crop) for label, crop in table["crops"].items()}
    return Redrawer(painter, crops, faces, table.get("strength"), director)


def make_artist(table: Table, source: Source) -> AvatarArtist | None:
    """Return who draws the avatars that a ``redraw`` table names (``avatar``, faces from ``prototypes``), or None."""
    if "avatar" not in table:
        return None
    from anonymizer import avatar

    return avatar.AvatarArtist(source.path(table["avatar"]), source.path(table["prototypes"]) / "faces.safetensors")


def _crop(table: Table) -> Any:
    from anonymizer.redraw.crops import CropSetting, LongSideCrop

    return LongSideCrop(**table) if "long_side" in table else CropSetting(**table)


def _direction(table: Table) -> Any:
    """Return a ``Direction``; TOML has lists where it has tuples."""
    from anonymizer.redraw.direction import Direction

    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    if "scales" in table:
        plain["scales"] = {label: (float(depth), float(edges)) for label, (depth, edges) in table["scales"].items()}
    return Direction(**plain)
