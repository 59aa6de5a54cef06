"""Checks of an installation: Python, dependencies, machine, weights, presets."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal

from anonymizer.config import presets, requirements
from anonymizer.core.errors import ModelError
from anonymizer.models import weights
from anonymizer.models.third_party import offline, telemetry_late

__all__ = ["Check", "Level", "examine", "healthy", "to_json"]

Level = Literal["ok", "note", "problem"]

#: The preset an installation must be able to run to count as healthy.
MAIN_PRESET = "embedded"
#: Extra that a line of the metadata belongs to, as in ``; extra == "hub"``.
EXTRA = re.compile(r"""extra == ["']([^"']+)["']""")
#: Extras for users; those for working on this package are left out.
EXTRAS = frozenset({"evaluate", "heif", "hub", "judges", "jxl", "raw", "ray", "review", "s3"})


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: group, name, level, and what was found or is to be done.

    Groups are machine, packages, models, presets, and misses: what the detector is known to miss.
    """

    group: str
    name: str
    level: Level
    detail: str


def examine() -> tuple[Check, ...]:
    """Run every check, cheapest first."""
    checks = [*_machine(), *_packages(), _telemetry(), *_models()]
    return (*checks, *_presets(checks), *_misses())


def healthy(checks: tuple[Check, ...]) -> bool:
    """Tell whether the embedded preset can run."""
    # A broken model of another preset is a problem, but not of this one; what this one needs shows in its own line.
    vital = [check for check in checks if check.group in ("machine", "packages") or check.name == MAIN_PRESET]
    return not any(check.level == "problem" for check in vital)


def to_json(checks: tuple[Check, ...]) -> dict[str, Any]:
    """Return the checks as plain JSON data."""
    return {"healthy": healthy(checks), "checks": [asdict(check) for check in checks]}


def _machine() -> list[Check]:
    import psutil

    memory = psutil.virtual_memory()
    gib = 1024**3
    room: Level = "ok" if memory.total >= 4 * gib else "note"
    return [
        Check("machine", "python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Check("machine", "cores", "ok", str(os.cpu_count() or 1)),
        Check("machine", "memory", room, f"{memory.available / gib:.1f} of {memory.total / gib:.1f} GiB free"),
        _gpu(),
    ]


def _gpu() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:
        if isinstance(error, ModuleNotFoundError):
            return Check("machine", "gpu", "note", "not looked for without torch; pip install 'anonymizer[hub]'")
        return Check("machine", "gpu", "problem", f"torch cannot be imported: {error}")
    if not torch.cuda.is_available():
        return Check("machine", "gpu", "note", "none usable; pictures are redrawn on the CPU")
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    names = ", ".join(f"{device.name}, {device.total_memory / 1e9:.0f} GB" for device in devices)
    return Check("machine", "gpu", "ok", names)


def _packages() -> list[Check]:
    """Report every direct dependency's version against what this package's metadata asks for."""
    try:
        wanted = metadata.requires("anonymizer") or []
    except metadata.PackageNotFoundError:
        return [Check("packages", "anonymizer", "note", "not installed, run from the source; versions not compared")]
    checks = []
    for line in wanted:
        name, _, marker = line.partition(";")
        belongs = EXTRA.search(marker)
        if belongs is not None and belongs[1] not in EXTRAS:
            continue
        name = name.strip()
        for sign in "<>=!~ [":
            name = name.split(sign)[0]
        try:
            checks.append(Check("packages", name, "ok", metadata.version(name)))
        except metadata.PackageNotFoundError:
            if belongs is None:
                checks.append(Check("packages", name, "problem", f"missing; run: pip install '{line}'"))
            else:
                remedy = f"not installed; with the extra: pip install 'anonymizer[{belongs[1]}]'"
                checks.append(Check("packages", name, "note", remedy))
    return checks


def _telemetry() -> Check:
    if telemetry_late():
        detail = "ONNX Runtime's has begun: onnxruntime was imported before anonymizer; set ORT_DISABLE_TELEMETRY=1"
        return Check("packages", "telemetry", "note", detail)
    return Check("packages", "telemetry", "ok", "turned off for ONNX Runtime, Hugging Face and Ray")


def _models() -> list[Check]:
    checks, main = [], _needs()[MAIN_PRESET]
    for weight in weights.entries():
        status = weights.verify(weight.id)
        if status.state == "ok" and status.path is not None:
            refused = _refusal(weight) if weight.source == "embedded" else None
            checks.append(
                Check("models", weight.id, "problem", refused)
                if refused
                else Check("models", weight.id, "ok", f"sha256 as listed, {status.path}")
            )
        else:
            needed = weight.id in main or status.state == "wrong"
            checks.append(Check("models", weight.id, "problem" if needed else "note", status.detail))
    return checks


def _refusal(weight: weights.Weight) -> str | None:
    """Open every tensor file of a verified weight; return what is wrong, or None if all open."""
    from onnxruntime import InferenceSession
    from safetensors import safe_open

    from anonymizer.redraw.diffusion import DiffusionSettings
    from anonymizer.redraw.exported import ExportedInpainter, is_exported

    folder = weights.path(weight.id)
    folder = folder.parent if weight.entry else folder
    with offline():
        if is_exported(folder):  # Its graphs open with the weights that lie beside them, and only then.
            try:
                ExportedInpainter(folder, DiffusionSettings(1, 1.0, (1.0, 1.0)))
            except ModelError as error:
                return str(error)
            return None
        for record in weight.files:
            file = str(folder / record.path)
            try:
                if file.endswith(".onnx"):
                    InferenceSession(file, providers=["CPUExecutionProvider"])
                elif file.endswith(".safetensors"):
                    with safe_open(file, framework="np") as tensors:
                        tensors.keys()
            # onnxruntime's exceptions have no common base below Exception.
            except Exception as error:
                return f"{file} does not open: {type(error).__name__}: {error}"
    return None


def _presets(checks: list[Check]) -> list[Check]:
    """Tell which presets have all their weights, and what they need besides."""
    bad = {check.name: check for check in checks if check.group == "models" and check.level != "ok"}
    found = []
    for preset, needed in _needs().items():
        lacking = [weight for weight in weights.entries() if weight.id in needed and weight.id in bad]
        if not lacking:
            found.append(Check("presets", preset, "ok", "usable"))
            continue
        fetchable = sum(weight.bytes for weight in lacking if weight.source == "hub") / 1e9
        detail = "not usable, lacks " + ", ".join(weight.id for weight in lacking)
        if fetchable:
            detail += f"; run: anonymizer models fetch {preset} (about {fetchable:.1f} GB)"
        found.append(Check("presets", preset, "problem" if preset == MAIN_PRESET else "note", detail))
    return found


def _misses() -> list[Check]:
    """Tell which proportion of instances the embedded detector neither found nor covered on held-out pictures."""
    measured = presets.tables()[MAIN_PRESET]["detect"].get("missed", {})
    found = []
    for label, rows in measured.items():
        sizes = ", ".join(
            f"{100 * share:.0f} % from {low} px" if high is None else f"{100 * share:.0f} % from {low} to {high} px"
            for low, high, share in ((low, high or None, share) for low, high, share in rows)
        )
        found.append(
            Check(
                "misses", label, "note", f"on held-out pictures the embedded detector neither finds nor covers {sizes}"
            )
        )
    return found


def _needs() -> dict[str, tuple[str, ...]]:
    """Return the ids of the weights each preset refers to."""
    return {name: requirements.weight_ids(table) for name, table in presets.tables().items()}
