"""Compare painting instances one by one, as the paper's official code does, with batches, in one run.

    python benchmarks/make_random_pipeline.py OUT          # once; --tiny for a look at the script itself on a CPU
    XDG_CACHE_HOME=OUT python benchmarks/production.py [--device cuda] [--presets sd15 sd15-lcm sdxl] [--json FILE]

Every row paints the same crops: random pictures with an ellipse as mask, at the preset's size for persons. Speed does
not depend on what the weights are, so random ones do. Rows:

- `one by one`: 768 x 768, 40 steps UniPC, guidance 7.5, one crop per call, text encoded each time, fp16: the official
  settings and manner of calling
- `batched`: the same settings through the production inpainter, and with 20 steps
- one row per preset, as shipped and with other step counts, and with `torch.compile` where asked for
- scaling with the batch size; memory; the share of time outside UNet and ControlNets

What the figures leave out is said in the last lines. Times are taken after a warm-up call, with the device
synchronised.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from anonymizer.config import presets
from anonymizer.models import weights
from anonymizer.models.third_party import offline
from anonymizer.redraw.diffusion import DiffusionInpainter, DiffusionSettings, InpaintJob
from anonymizer.redraw.loading import LoadSettings

torch: Any = importlib.import_module("torch")

#: Side of the official crops, and their steps and guidance.
PAPER_SIDE, PAPER_STEPS, PAPER_GUIDANCE = 768, 40, 7.5


def job(seed: int, size: tuple[int, int], words: str = "a person") -> InpaintJob:
    """Return a crop with random content and an ellipse to paint."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    cv2.ellipse(mask, (size[1] // 2, size[0] // 2), (size[1] // 3, size[0] * 2 // 5), 0, 0, 360, 1, cv2.FILLED)
    maps = rng.random((2, *size), dtype=np.float32)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    return InpaintJob(image, mask > 0, maps[0], maps[1], words, seed)


class Clock:
    """Adds up the time spent in networks of a pipeline, with the device synchronised around each call."""

    def __init__(self, device: str) -> None:
        self.seconds = 0.0
        self._device = device
        self._start = 0.0

    def now(self) -> float:
        """Return seconds, once the device has done what it was given."""
        if self._device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def watching(self, networks: Sequence[Any]) -> Iterator[None]:
        """Count the time of every call of these networks."""

        def before(*_: Any) -> None:
            self._start = self.now()

        def after(*_: Any) -> None:
            self.seconds += self.now() - self._start

        hooks = [
            hook for n in networks for hook in (n.register_forward_pre_hook(before), n.register_forward_hook(after))
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def inpainter(preset: str, device: str, **changes: Any) -> DiffusionInpainter:
    """Return a preset's inpainter; ``changes`` to its ``redraw`` table."""
    table = presets.tables()[preset]["redraw"] | changes
    pipeline = table["pipeline"]
    load = LoadSettings(
        family=table["family"],
        device=device,
        dtype=table["dtype"],
        scheduler=table["scheduler"],
        variant=weights.entry(pipeline).variant,
        channels_last=table["channels_last"],
        compile=table["compile"],
    )
    settings = DiffusionSettings(
        num_inference_steps=table["steps"],
        guidance_scale=table["guidance_scale"],
        controlnet_conditioning_scale=(table["depth_scale"], table["edge_scale"]),
        negative_prompt=table["negative_prompt"],
        batch_size=table["batch_size"],
        batch_limit=table["batch_limit"],
        device=device,
    )
    nets = [weights.path(net) for net in table["controlnets"]]
    return DiffusionInpainter(
        weights.path(pipeline), nets, settings, load, weights.path(table["lora"]) if "lora" in table else None
    )


def one_by_one(made: DiffusionInpainter, jobs: Sequence[InpaintJob]) -> None:
    """Paint as the official code does: a call per crop, its text encoded anew."""
    for one in jobs:
        made._texts._known.clear()
        made.inpaint([one])


def measure(
    name: str, made: DiffusionInpainter, jobs: Sequence[InpaintJob], runs: int, how: Callable[..., Any] | None = None
) -> dict[str, Any]:
    """Return instances per second (median of runs), memory, and the share of time outside UNet and ControlNets."""
    device = made.settings.device
    clock, paint = Clock(device), how or (lambda inpainter, work: inpainter.inpaint(work))
    paint(made, jobs)  # warms up, compiles, and finds the batch size
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(runs):
        start = clock.now()
        paint(made, jobs)
        times.append(clock.now() - start)
    memory = torch.cuda.max_memory_allocated() if device.startswith("cuda") else psutil.Process().memory_info().rss
    # Watching synchronises at every call and slows down a little: a run of its own.
    start = clock.now()
    with clock.watching([made._pipeline.unet, made._pipeline.controlnet]):
        paint(made, jobs)
    outside = 1 - clock.seconds / (clock.now() - start)
    row = {
        "name": name,
        "size": list(jobs[0].mask.shape),
        "steps": made.settings.num_inference_steps,
        "batch": made._packer.limit(made._kind(jobs[0])) if how is None else 1,
        "instances_per_s": len(jobs) / statistics.median(times),
        "spread": (max(times) - min(times)) / statistics.median(times),
        "memory_gb": memory / 1e9,
        "outside": outside,
    }
    print(
        f"{name:<34}{row['size'][0]:>5} x{row['size'][1]:>5}{row['steps']:>6}{row['batch']:>6}"
        f"{row['instances_per_s']:>10.3f}{row['memory_gb']:>9.2f}{100 * outside:>9.1f}",
        flush=True,
    )
    return row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--presets", nargs="+", default=["sd15", "sd15-lcm"], choices=presets.names()[1:])
    parser.add_argument("--instances", type=int, default=32)
    parser.add_argument("--alone", type=int, default=4, help="instances for the slow one-by-one row")
    parser.add_argument("--steps", nargs="+", type=int, default=[40, 20, 8, 4])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument(
        "--shrink",
        type=int,
        default=1,
        help="divide every side by this and take the paper's rows in fewer steps, to try the script out",
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    def jobs(count: int, size: tuple[int, int]) -> list[InpaintJob]:
        height, width = (max(side // args.shrink // 8, 1) * 8 for side in size)
        return [job(n, (height, width), f"person {n % 4}") for n in range(count)]

    device = torch.cuda.get_device_name(args.device) if args.device.startswith("cuda") else platform.processor()
    print(f"{device or 'CPU'}, torch {torch.__version__}, {args.instances} instances a row")
    print(f"{'row':<34}{'size':>12}{'steps':>6}{'batch':>6}{'inst/s':>10}{'GB':>9}{'outside %':>9}")
    rows: list[dict[str, Any]] = []
    with offline():
        square = (PAPER_SIDE, PAPER_SIDE)
        steps = PAPER_STEPS if args.shrink == 1 else max(args.steps)
        paper = inpainter("paper-people", args.device, steps=steps, guidance_scale=PAPER_GUIDANCE)
        rows.append(measure("paper, one by one", paper, jobs(args.alone, square), 1, one_by_one))
        rows.append(measure("paper, batched", paper, jobs(args.instances, square), args.runs))
        for preset in args.presets:
            crop = presets.tables()[preset]["redraw"]["crops"]["person"]
            work = jobs(args.instances, (crop["height"], crop["width"])) if "height" in crop else jobs(4, square)
            made = inpainter(preset, args.device, compile=args.compile)
            shipped = made.settings.num_inference_steps
            for steps in dict.fromkeys([shipped, *args.steps]):
                made.settings = replace(made.settings, num_inference_steps=steps)
                note = ", as shipped" if steps == shipped else ""
                rows.append(measure(f"{preset}{note}{', compiled' if args.compile else ''}", made, work, args.runs))
            made.settings = replace(made.settings, num_inference_steps=min(args.steps))
            for size in (batch for batch in args.batches if batch <= args.instances):
                made._packer = type(made._packer)(size, size)
                count = max(size, min(args.instances, 2 * size))
                rows.append(measure(f"{preset}, batches of {size}", made, work[:count], args.runs))
            del made
    base = rows[0]["instances_per_s"]
    print(
        "against the paper's one by one: "
        + ", ".join(f"{r['name']} {r['steps']} steps {r['instances_per_s'] / base:.1f} x" for r in rows[1:])
    )
    print(
        "not counted: detection, depth and edges, verification, reading and writing pictures; retries of failed redraws"
    )
    if args.json:
        document = {"device": device, "torch": torch.__version__, "rows": rows}
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
