"""Presets: from a name or a TOML file to a ready ``Anonymizer``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from anonymizer.config import Preset, factory, read_preset, requirements
from anonymizer.core.errors import InputError
from anonymizer.core.records import CLASSES, AvatarArtist, DepthEstimator, Detector, EdgeDetector, PersonSegmenter
from anonymizer.fill.obscure import LEAST_STRENGTH, METHODS, MOST_STRENGTH, REDRAW
from anonymizer.flow.pipeline import Anonymizer, Settings
from anonymizer.models import weights

__all__ = ["build", "fetchable", "names", "tables"]

PEOPLE = ("body", "face")
SENSITIVITIES = ("high", "normal", "low")
#: Number of the way from a picture to its redraw: raised whenever the same settings give other pixels, so that a
#: resumed run never mixes two.
ALGORITHM = 6
#: Packages whose version shapes every result; presets that run torch add theirs.
VERSIONED = ("anonymizer", "onnxruntime", "opencv-python", "numpy", "rapidocr")


def names() -> tuple[str, ...]:
    """Return the names of the presets that come with the package."""
    return tuple(tables())


def tables() -> dict[str, dict[str, Any]]:
    """Return the tables of the presets that come with the package, by name, each complete."""
    text = resources.files("anonymizer.config").joinpath("presets.toml").read_text(encoding="utf-8")
    read = tomllib.loads(text)
    return {name: _complete(name, table, read) for name, table in read.items()}


def fetchable(wanted: Sequence[str]) -> tuple[str, ...]:
    """Return ids of weights to fetch: a preset's name stands for those of its weights that are not here.

    Args:
        wanted: Names of presets and ids of weights, in any mixture.
    """
    known = tables()
    ids = [[w.id for w in requirements.lacking(known[name])] if name in known else [name] for name in wanted]
    return tuple(dict.fromkeys(weight_id for group in ids for weight_id in group))


def build(
    preset: str | Path = "embedded",
    *,
    classes: Sequence[str] | None = None,
    people: str = "body",
    sensitivity: str = "normal",
    seed: int | None = None,
    device: str = "cpu",
    batch_size: int | None = None,
    accept_noncommercial: bool = False,
    force: bool = False,
    methods: Mapping[str, str] | None = None,
    strength: float = 1.0,
    detector: Detector | None = None,
    depth: DepthEstimator | None = None,
    edges: EdgeDetector | None = None,
    artist: AvatarArtist | None = None,
    depth_map: bool = False,
) -> Anonymizer:
    """Build an anonymizer.

    Args:
        preset: Name of a shipped preset, or path of a TOML file with one preset table.
        classes: Classes to treat; the preset's if None, which are person, face and license_plate if it names none.
        people: ``body`` or ``face``, see ``pipeline.Settings``.
        sensitivity: ``high`` finds more and more that is none, ``low`` less; ``normal`` is what the preset states.
        seed: Makes results repeatable; None draws fresh noise.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        batch_size: Crops painted at once; the preset's if None.
        accept_noncommercial: Allow weights whose licence forbids commercial use.
        force: Run a preset that is meant for a GPU on a CPU all the same.
        methods: By class, ``blur``, ``mosaic``, ``solid``, ``blank`` (plates) or ``redraw``; None redraws all. All but
            ``redraw`` are weaker.
        strength: How strongly blur and mosaic obscure, in multiples of what is usual.
        detector: Detector of your own in place of the preset's; verification uses it as well.
        depth: Depth estimator of your own.
        edges: Edge detector of your own.
        artist: Artist of avatars of your own.
        depth_map: Whether results hold the depth of the released picture.

    Raises:
        InputError: Unknown preset, class or option value, a choice that leaves nothing to anonymize, or no GPU for a
            preset that is meant for one.
        ModelError: Weights are missing, corrupt or not accepted, or the GPU is missing or too small.
    """
    name, table = _read(preset)
    if sensitivity not in SENSITIVITIES:
        raise InputError(f"sensitivity: expected one of {', '.join(SENSITIVITIES)}, got {sensitivity!r}")
    read_preset(name, table)
    table = _sensitive(name, table, sensitivity)
    checked = read_preset(name, table)
    chosen = tuple(classes if classes is not None else checked.classes)
    unknown = [c for c in chosen if c not in CLASSES]
    if unknown or not chosen:
        raise InputError(f"classes: expected some of {', '.join(CLASSES)}, got {', '.join(unknown) or 'none'}")
    if people not in PEOPLE:
        raise InputError(f"people: expected body or face, got {people!r}")
    if people == "face" and set(chosen) == {"person"}:
        raise InputError(
            "classes: person with people=face leaves nothing to anonymize, as bodies stay as they are; add face, or "
            "choose people=body"
        )
    if seed is not None and not 0 <= seed < 2**63:
        raise InputError(f"seed: expected a whole number from 0 to 2^63 - 1, got {seed}")
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch size: expected at least 1, got {batch_size}")
    obscured = check_methods(methods or {}, chosen, strength)
    shipped = tables()
    undone = [label for label in chosen if label not in ("text", *obscured, *checked.redraw.crops)]
    if undone:
        raise InputError(
            f"classes: preset {name!r} does not redraw {', '.join(undone)}; take another preset or leave it out"
        )
    requirements.check_licences(name, table, accept_noncommercial)
    requirements.check_machine(name, {**shipped, name: table}, device, force)
    requirements.check_weights(name, table, name in shipped)
    parts = {"detector": detector, "depth": depth, "edges": edges, "artist": artist}
    own = {kind: part for kind, part in parts.items() if part is not None}
    settings = Settings(
        classes=chosen,
        people=people,
        seed=seed,
        attempts=dict(checked.redraw.attempts),
        guard_level=checked.condition.guard_level,
        least_side=dict(checked.redraw.least_side),
        least_score=dict(checked.redraw.least_score),
        doubted=tuple(checked.redraw.doubted),
        depth_map=depth_map,
        methods=obscured,
        strength=strength,
    )
    return _wire(name, checked, _deciding(table), own, settings, device, batch_size)


def _wire(
    name: str,
    preset: Preset,
    described: dict[str, Any],
    own: Mapping[str, Any],
    settings: Settings,
    device: str,
    batch_size: int | None,
) -> Anonymizer:
    """Return the anonymizer of a checked preset, with parts of the caller's ``own`` in place of the preset's."""
    from anonymizer.detect.outlines import OutlineDetector
    from anonymizer.detect.score_filter import ScoreFilter
    from anonymizer.recognize.faces import DlibFaceEmbedder
    from anonymizer.recognize.ocr import RapidOcrReader
    from anonymizer.verify.verifier import Verifier

    used = _Weights()
    detect, condition, redraw = preset.detect, preset.condition, preset.redraw
    source = factory.Source(used.path, device)
    fetched = any(weights.entry(weight_id).source == "hub" for weight_id in requirements.weight_ids(described))
    exported = factory.runs_exported(redraw, source.path(redraw.pipeline), device)
    packages = VERSIONED + requirements.check_packages(name, fetched or not exported)
    reader = RapidOcrReader(used.path(detect.ocr))
    detector = own.get("detector") or factory.make_detector(detect, source, reader, settings.classes)
    chooser = ScoreFilter(
        detector,
        dict(detect.treat_from),
        None if detect.box_from is None else detect.box_from.model_dump(),
        None if detect.plate_from is None else detect.plate_from.model_dump(),
    )
    descriptor, landmarks = (used.path(weight_id) for weight_id in preset.verify.face)
    description = {
        "preset": name,
        "preset_settings": described,
        "algorithm": ALGORITHM,
        "versions": {package: metadata.version(package) for package in packages},
    }
    if own:
        description["parts"] = {kind: f"{type(p).__module__}:{type(p).__qualname__}" for kind, p in own.items()}
    return Anonymizer(
        detector=chooser,
        depth=own.get("depth") or factory.make_depth(condition, source),
        edges=own.get("edges") or factory.make_edges(condition, source),
        filler=factory.make_filler(redraw, source),
        segmenter=detector if isinstance(detector, PersonSegmenter) else None,
        artist=own.get("artist") or factory.make_artist(redraw, source),
        redrawer=factory.make_redrawer(redraw, source, batch_size),
        verifier=Verifier(
            detector.once() if isinstance(detector, OutlineDetector) else detector,
            DlibFaceEmbedder(descriptor, landmarks),
            reader,
            keep=chooser.kept,
        ),
        settings=settings,
        description={**description, "models": used.digests()},
        together=redraw.pictures.get("cuda" if device.startswith("cuda") else "cpu", 1),
    )


def check_methods(methods: Mapping[str, str], classes: Sequence[str], strength: float) -> dict[str, str]:
    """Return the methods that are no redraw, by class.

    Raises:
        InputError: An unknown class or method, one that is not for the class, or a strength out of range.
    """
    if not LEAST_STRENGTH <= strength <= MOST_STRENGTH:
        raise InputError(f"strength: expected {LEAST_STRENGTH:g} to {MOST_STRENGTH:g}, got {strength:g}")
    for label, method in methods.items():
        if label not in classes:
            raise InputError(f"method: {label!r} is not among the classes to treat, {', '.join(classes)}")
        if method not in (REDRAW, *METHODS):
            raise InputError(f"method: expected {REDRAW} or one of {', '.join(METHODS)}, got {method!r}")
        only = METHODS.get(method, ())
        if only and label not in only:
            raise InputError(f"method: {method} is for {', '.join(only)} only, got {label}")
    return {label: method for label, method in methods.items() if method != REDRAW}


def _sensitive(name: str, table: dict[str, Any], sensitivity: str) -> dict[str, Any]:
    """Return a preset's table with the thresholds of a sensitivity, and without those of the others."""
    known = table["detect"].get("sensitivity", {})
    if sensitivity != "normal" and sensitivity not in known:
        raise InputError(
            f"sensitivity: preset {name!r} states no thresholds for {sensitivity}; leave it at normal, or give it a "
            f"table detect.sensitivity.{sensitivity}"
        )
    detect = {key: value for key, value in table["detect"].items() if key != "sensitivity"}
    return table | {"detect": _merged(detect, known.get(sensitivity, {}))}


def _deciding(table: dict[str, Any]) -> dict[str, Any]:
    """Return what decides the pixels: not which pictures meet in a batch, so that a run may go on with another."""
    return table | {"redraw": {key: value for key, value in table["redraw"].items() if key != "pictures"}}


class _Weights:
    """Looks weights up and remembers what was used."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def path(self, reference: str) -> Path:
        """Return the verified path of a weight id, or of a folder inside one (``id/folder``)."""
        weight_id, _, inner = reference.partition("/")
        self._ids.add(weight_id)
        return weights.path(weight_id) / inner if inner else weights.path(weight_id)

    def digests(self) -> dict[str, str]:
        """Return the sha256 of every weight used, by id."""
        return {weight_id: weights.digest(weight_id) for weight_id in sorted(self._ids)}


def _complete(name: str, table: dict[str, Any], known: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a table with what it leaves out taken from its ``base``, table by table."""
    base = table.get("base")
    if base is None:
        return table
    if base not in known or base == name:
        raise InputError(f"preset {name!r}: expected base to be one of {', '.join(known)}, got {base!r}")
    own = {key: value for key, value in table.items() if key != "base"}
    return _merged(_complete(base, known[base], known), own)


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        # What says how one thing is cut is replaced whole: two ways of cutting do not mix.
        out[key] = _merged(base[key], value) if both and not {"height", "long_side"} & value.keys() else value
    return out


def _read(preset: str | Path) -> tuple[str, dict[str, Any]]:
    shipped = tables()
    if str(preset) in shipped:
        return str(preset), shipped[str(preset)]
    path = Path(preset)
    if path.suffix != ".toml":
        raise InputError(f"preset {str(preset)!r}: expected {' or '.join(shipped)}, or the path of a .toml file")
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"preset file {path}: not found") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"preset file {path}: expected TOML, got {error}") from error
    if len(read) != 1:
        raise InputError(f"preset file {path}: expected one preset table, got {len(read)}")
    name, table = next(iter(read.items()))
    if not isinstance(table, dict):
        raise InputError(f"preset file {path}: expected a table, got {name} = {table!r}")
    return name, _complete(name, table, shipped)
