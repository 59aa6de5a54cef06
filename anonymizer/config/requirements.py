"""Requirements of a preset: weights, licences, machine; refused clearly before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from anonymizer.core.errors import InputError, ModelError
from anonymizer.models import weights
from anonymizer.models.third_party import check_extra
from anonymizer.models.weights import Weight

__all__ = ["check_licences", "check_machine", "check_packages", "check_weights", "lacking", "weight_ids"]

Table = Mapping[str, Any]

#: What runs the models of the hub and every pipeline on a GPU.
TORCH = ("torch", "diffusers", "transformers")


def weight_ids(table: Table) -> tuple[str, ...]:
    """Return the ids of the weights a preset's table refers to, in the order of the list of weights."""
    # A reference is an id, or id/folder for a part of it.
    named = {text.partition("/")[0] for text in _texts(_used(table))}
    return tuple(weight.id for weight in weights.entries() if weight.id in named)


def lacking(table: Table) -> tuple[Weight, ...]:
    """Return the weights of a preset that ``models fetch`` would bring and that are not here."""
    needed = [weights.entry(weight_id) for weight_id in weight_ids(table)]
    return tuple(w for w in needed if w.source == "hub" and weights.verify(w.id).state in ("missing", "unpinned"))


def check_licences(name: str, table: Table, accept_noncommercial: bool) -> None:
    """Refuse weights that forbid commercial use unless that was accepted.

    Raises:
        ModelError: Names them all, with their licences.
    """
    entries = [weights.entry(weight_id) for weight_id in weight_ids(table)]
    refused = [f"{weight.id} ({weight.licence})" for weight in entries if not weight.commercial]
    if refused and not accept_noncommercial:
        raise ModelError(
            f"preset {name!r}: {', '.join(refused)}: the licence forbids commercial use; "
            "add --accept-noncommercial if yours is not commercial"
        )


def check_weights(name: str, table: Table, shipped: bool) -> None:
    """Refuse a preset whose weights were not fetched.

    Raises:
        ModelError: Names them all, what they take on disk, and the one command that fetches them.
    """
    missing = lacking(table)
    if missing:
        each = ", ".join(f"{weight.id} ({weight.bytes / 1e9:.2f} GB)" for weight in missing)
        total = sum(weight.bytes for weight in missing) / 1e9
        wanted = name if shipped else " ".join(weight.id for weight in missing)
        raise ModelError(
            f"preset {name!r}: not here: {each}; run: anonymizer models fetch {wanted} (about {total:.1f} GB)"
        )


def check_packages(name: str, needs_torch: bool) -> tuple[str, ...]:
    """Refuse a preset whose packages are not installed; return those of the extra ``hub`` that shape its result.

    Raises:
        ModelError: Names the first that is missing, and the extra.
    """
    if not needs_torch:
        return ()
    check_extra("hub", f"preset {name!r}", *TORCH)
    return TORCH


def check_machine(name: str, presets: Mapping[str, Table], device: str, force: bool) -> None:
    """Refuse a machine on which a preset would not fit or would take forever.

    Args:
        name: The preset.
        presets: Tables of all presets by name, to name one that fits.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        force: Run on the CPU all the same.

    Raises:
        InputError: No GPU for a preset that needs one, and not forced.
        ModelError: The GPU's memory is too small.
    """
    machine = presets[name].get("machine", {})
    if device == "cpu":
        if machine.get("needs_gpu") and not force:
            raise InputError(
                f"preset {name!r}: meant for a GPU; on a CPU one instance takes roughly {machine['cpu_minutes']:g} "
                "minutes; use --device cuda or --preset embedded, or add --force to run it all the same"
            )
        return
    check_extra("hub", f"device {device!r}", "torch")
    import torch

    if not torch.cuda.is_available():
        raise ModelError(f"device {device!r}: no CUDA device is available; use --device cpu")
    if int(device.partition(":")[2] or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {device!r}: this machine has {torch.cuda.device_count()} CUDA devices, from cuda:0")
    total = torch.cuda.get_device_properties(device).total_memory / 1e9
    needed = _gpu_memory(presets[name])
    if total < needed:
        fitting = [other for other, table in presets.items() if _gpu_memory(table) <= total]
        raise ModelError(
            f"preset {name!r}: needs about {needed:g} GB of GPU memory, {device} has {total:.1f} GB; presets that fit: "
            f"{', '.join(fitting) or 'none'}; cpu_offload in a preset of your own makes do with less"
        )


def _gpu_memory(table: Table) -> float:
    machine = table.get("machine", {})
    offloaded = table["redraw"].get("cpu_offload", False)
    return float(machine.get("offload_memory_gb" if offloaded else "gpu_memory_gb", 0))


def _used(table: Table) -> Table:
    """Return a table without the parts of avatars where it has none: a base may name them."""
    redraw = table.get("redraw", {})
    if redraw.get("start") != "guarded":
        return table
    unused = {"avatar", "poses"} | (set() if "face" in redraw.get("strength", {}) else {"prototypes"})
    return {**table, "redraw": {key: value for key, value in redraw.items() if key not in unused}}


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, list | Mapping):
        for inner in node.values() if isinstance(node, Mapping) else node:
            yield from _texts(inner)
