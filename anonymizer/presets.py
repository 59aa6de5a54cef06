"""Presets: from a name or a TOML file to a ready ``Anonymizer``."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from anonymizer import weights
from anonymizer.errors import InputError, ModelError
from anonymizer.pipeline import Anonymizer, Settings
from anonymizer.types import CLASSES

__all__ = ["build", "names"]

DEFAULT_CLASSES = ("person", "face", "license_plate")
PEOPLE = ("body", "face")
#: Packages whose version shapes a result.
VERSIONED = ("anonymizer", "torch", "diffusers", "transformers", "onnxruntime", "opencv-python", "numpy", "rapidocr")


def names() -> tuple[str, ...]:
    """Return the names of the presets that come with the package."""
    return tuple(_shipped())


def build(
    preset: str | Path = "embedded",
    *,
    classes: Sequence[str] | None = None,
    people: str = "body",
    seed: int | None = None,
    device: str = "cpu",
    batch_size: int | None = None,
    accept_noncommercial: bool = False,
) -> Anonymizer:
    """Build an anonymizer.

    Args:
        preset: Name of a shipped preset, or path of a TOML file with one preset table.
        classes: Classes to treat; person, face and license_plate if None.
        people: ``body`` or ``face``, see ``pipeline.Settings``.
        seed: Makes results repeatable; None draws fresh noise.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        batch_size: Crops painted at once; the preset's if None.
        accept_noncommercial: Allow weights whose licence forbids commercial use.

    Raises:
        InputError: Unknown preset, class or option value.
        ModelError: Weights are missing, corrupt or not accepted.
    """
    name, table = _read(preset)
    chosen = tuple(classes) if classes is not None else DEFAULT_CLASSES
    unknown = [c for c in chosen if c not in CLASSES]
    if unknown or not chosen:
        raise InputError(f"classes: expected some of {', '.join(CLASSES)}, got {', '.join(unknown) or 'none'}")
    if people not in PEOPLE:
        raise InputError(f"people: expected body or face, got {people!r}")
    if seed is not None and not 0 <= seed < 2**63:
        raise InputError(f"seed: expected a whole number from 0 to 2^63 - 1, got {seed}")
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch size: expected at least 1, got {batch_size}")
    try:
        return _wire(name, table, chosen, people, seed, device, batch_size, accept_noncommercial)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"preset {name!r}: missing or malformed setting {error}; compare with 'embedded'") from error


def _wire(
    name: str,
    table: dict[str, Any],
    classes: tuple[str, ...],
    people: str,
    seed: int | None,
    device: str,
    batch_size: int | None,
    accept_noncommercial: bool,
) -> Anonymizer:
    from anonymizer.condition.depth import GroundPlaneDepth
    from anonymizer.condition.edges import EdgeNet
    from anonymizer.detect.faces import CenterFaceDetector
    from anonymizer.detect.merge import UnionDetector
    from anonymizer.detect.plates import TextDetector
    from anonymizer.detect.tiling import TiledDetector
    from anonymizer.detect.yolo import YoloSegDetector
    from anonymizer.recognize.faces import DlibFaceEmbedder
    from anonymizer.recognize.ocr import RapidOcrReader
    from anonymizer.redraw.crops import CropSetting
    from anonymizer.redraw.diffusion import DiffusionInpainter, DiffusionSettings
    from anonymizer.redraw.redrawer import Redrawer
    from anonymizer.verify.verifier import Verifier, VerifySettings

    used = _Weights(accept_noncommercial)
    detect, condition, redraw, verify = (table[key] for key in ("detect", "condition", "redraw", "verify"))
    thresholds = {label: detect[label] for label in DEFAULT_CLASSES}
    reader = RapidOcrReader(used.path(detect["ocr"]))

    def tiled(detector: Any) -> TiledDetector:
        return TiledDetector(detector, tile=detect["tile"], min_side=detect["tile_from"])

    detector = UnionDetector(
        [
            tiled(YoloSegDetector(used.path(detect["network"]), thresholds, sizes=detect["sizes"])),
            tiled(CenterFaceDetector(used.path(detect["faces"]), threshold=detect["centerface"])),
            tiled(TextDetector(reader, emit_text="text" in classes)),
        ],
        CLASSES,
    )
    painter = DiffusionInpainter(
        used.path(redraw["pipeline"]),
        (used.path(redraw["controlnets"][0]), used.path(redraw["controlnets"][1])),
        DiffusionSettings(
            num_inference_steps=redraw["steps"],
            guidance_scale=redraw["guidance_scale"],
            controlnet_conditioning_scale=(redraw["depth_scale"], redraw["edge_scale"]),
            negative_prompt=redraw["negative_prompt"],
            batch_size=batch_size or redraw["batch_size"],
            device=device,
        ),
    )
    descriptor, landmarks = (used.path(weight_id) for weight_id in verify["face"])
    settings = Settings(
        classes=classes,
        people=people,
        seed=seed,
        attempts=max(int(redraw["attempts"]), 1),
        guard_level=condition["guard_level"],
        least_side=dict(redraw["least_side"]),
    )
    edges = EdgeNet(used.path(condition["edges"]))
    return Anonymizer(
        detector=detector,
        depth=GroundPlaneDepth(),
        edges=edges,
        redrawer=Redrawer(painter, {label: CropSetting(**crop) for label, crop in redraw["crops"].items()}),
        verifier=Verifier(
            detector,
            DlibFaceEmbedder(descriptor, landmarks),
            reader,
            VerifySettings(second_pass_score=dict(verify["second_pass_score"])),
        ),
        settings=settings,
        description={
            "preset": name,
            "preset_settings": table,
            "models": used.digests(),
            "versions": {package: metadata.version(package) for package in VERSIONED},
        },
    )


class _Weights:
    """Looks weights up, refuses licences that were not accepted, and remembers what was used."""

    def __init__(self, accept_noncommercial: bool) -> None:
        self._accept_noncommercial = accept_noncommercial
        self._ids: set[str] = set()

    def path(self, reference: str) -> Path:
        """Return the verified path of a weight id, or of a folder inside one (``id/folder``)."""
        weight_id, _, inner = reference.partition("/")
        weight = weights.entry(weight_id)
        if not weight.commercial and not self._accept_noncommercial:
            raise ModelError(
                f"{weight_id}: its licence ({weight.licence}) forbids commercial use; "
                "add --accept-noncommercial if yours is not commercial"
            )
        self._ids.add(weight_id)
        return weights.path(weight_id) / inner if inner else weights.path(weight_id)

    def digests(self) -> dict[str, str]:
        """Return the sha256 of every weight used, by id."""
        return {weight_id: weights.digest(weight_id) for weight_id in sorted(self._ids)}


def _shipped() -> dict[str, dict[str, Any]]:
    return tomllib.loads(resources.files("anonymizer").joinpath("presets.toml").read_text(encoding="utf-8"))


def _read(preset: str | Path) -> tuple[str, dict[str, Any]]:
    shipped = _shipped()
    if str(preset) in shipped:
        return str(preset), shipped[str(preset)]
    path = Path(preset)
    if path.suffix != ".toml":
        raise InputError(f"preset {str(preset)!r}: expected {' or '.join(shipped)}, or the path of a .toml file")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"preset file {path}: not found") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"preset file {path}: expected TOML, got {error}") from error
    if len(tables) != 1:
        raise InputError(f"preset file {path}: expected one preset table, got {len(tables)}")
    name, table = next(iter(tables.items()))
    return name, table
