"""Processor seconds of a run by stage and by network, on a machine whose clock means little.

    python benchmarks/processor.py [PICTURE | bus | crowd:N]...

``bus`` is the picture of ``speed.py`` at 1280x720, ``crowd:N`` that script's picture with N copies of one person. Runs
the embedded preset once on each and prints what took more than a hundredth; networks count in their stages as well.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from packs import read
from speed import crowd, packaged_picture

from anonymizer import Anonymizer
from anonymizer.flow import pipeline
from anonymizer.models import onnx
from anonymizer.models.third_party import offline
from anonymizer.recognize.faces import DlibFaceEmbedder
from anonymizer.redraw.redrawer import Redrawer
from anonymizer.verify.verifier import Verifier

#: What is timed: where it is, its name there, and what to call it.
STAGES: tuple[tuple[Any, str, str], ...] = (
    (Anonymizer, "_find", "detection"),
    (Verifier, "examine", "verification: original"),
    (Verifier, "find", "verification: detection"),
    (Verifier, "check", "verification: checks"),
    (pipeline, "_fill", "fill"),
    (pipeline, "draw_avatars", "avatars"),
    (Anonymizer, "_conditions", "maps"),
    (Redrawer, "redraw", "inpainting"),
    (DlibFaceEmbedder, "embed", "network dlib"),
)
#: Least proportion of the whole that is printed.
LEAST = 0.01


class Times:
    """Processor seconds and calls by name."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(list)

    def watch(self, place: Any, attribute: str, name: str) -> None:
        """Have every call of something timed."""
        made = getattr(place, attribute)

        def timed(*given: Any, **named: Any) -> Any:
            begun = time.process_time()
            try:
                return made(*given, **named)
            finally:
                self.spent[name].append(time.process_time() - begun)

        setattr(place, attribute, timed)

    def watch_networks(self) -> None:
        """Have every network timed that is opened from now on, by the name that it is opened under."""
        opening, run = onnx.open_session, onnxruntime.InferenceSession.run

        def opened(model: Any, name: str, *given: Any, **named: Any) -> Any:
            session = opening(model, name, *given, **named)
            session.name = name
            return session

        def timed(session: Any, *given: Any, **named: Any) -> Any:
            begun = time.process_time()
            try:
                return run(session, *given, **named)
            finally:
                # What was imported before, as the net for edges, opened its own.
                self.spent[f"network {getattr(session, 'name', 'other')}"].append(time.process_time() - begun)

        onnx.open_session, onnxruntime.InferenceSession.run = opened, timed


def picture(name: str) -> Any:
    """Return a picture by its name on the command line."""
    if name.startswith("crowd:"):
        return crowd(int(name.partition(":")[2]))
    if name == "bus":
        cut = read(packaged_picture())[400:856]
        return np.ascontiguousarray(cv2.resize(cut, (1280, 720), interpolation=cv2.INTER_AREA))
    return read(Path(name))


def main() -> None:
    """Measure and print."""
    times = Times()
    times.watch_networks()
    for stage in STAGES:
        times.watch(*stage)
    with offline():
        begun = time.process_time()
        anonymizer = Anonymizer.from_preset("embedded", seed=7)
        print(f"building: {time.process_time() - begun:.2f} s")
        for name in sys.argv[1:] or ["bus"]:
            image = picture(name)
            times.spent.clear()
            begun = time.process_time()
            result = anonymizer(image)
            whole = time.process_time() - begun
            size = f"{image.shape[1]}x{image.shape[0]}"
            print(f"\n{name}, {size}, {len(result.instances)} instances: {whole:.2f} s")
            for what, calls in sorted(times.spent.items(), key=lambda item: -sum(item[1])):
                if sum(calls) >= LEAST * whole:
                    print(f"{sum(calls):7.2f} s {sum(calls) / whole:5.0%} {len(calls):4d} times  {what}")


if __name__ == "__main__":
    main()
