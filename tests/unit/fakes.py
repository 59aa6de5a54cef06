"""A fast anonymizer for tests: paints one box in a colour drawn from the key."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anonymizer.core.errors import VerificationFailed
from anonymizer.core.geometry import full_mask
from anonymizer.core.records import Findings, Image, Instance, Result, Treatment, Verdict


class FakeAnonymizer:
    """Redraws the upper left quarter, or the given instances, and records its calls."""

    def __init__(self, *, settings_hash: str = "settings", delay_s: float = 0.0) -> None:
        self.settings_hash = settings_hash
        self.calls: list[str] = []
        self.raises: dict[str, BaseException] = {}
        self.spill = False
        self.texts: tuple[str, ...] = ()
        self._delay_s = delay_s

    def describe(self) -> Mapping[str, Any]:
        return {"preset": "fake", "models": {"fake": "0" * 64}, "versions": {"anonymizer": "0"}}

    def find(self, image: Image, instances: tuple[Instance, ...] | None = None) -> Findings:
        height, width = image.shape[:2]
        if instances is not None:
            return Findings(instances)
        h, w = max(height // 2, 1), max(width // 2, 1)
        box = np.array([0, 0, w, h], np.float32)
        return Findings((Instance(id=1, label="person", box=box, mask=np.ones((h, w), bool), source="fake"),))

    def __call__(self, image: Image, instances: tuple[Instance, ...] | None = None, *, key: str = "") -> Result:
        self.calls.append(key)
        time.sleep(self._delay_s)
        if key in self.raises:
            raise self.raises[key]
        height, width = image.shape[:2]
        instances = self.find(image, instances).instances
        seed = int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()[:8], "big")
        out, treated = image.copy(), np.zeros((height, width), bool)
        for instance in instances:
            treated |= full_mask(instance, (height, width))
        out[treated] = np.random.default_rng(seed).integers(0, 256, (int(treated.sum()), 3), dtype=np.uint8)
        if self.spill:
            out[-1, -1] ^= 255
        verdicts = tuple(Verdict("pixels_replaced", True, 1.0, 0.5, instance.id) for instance in instances)
        return Result(
            image=out,
            instances=instances,
            treatments=tuple(Treatment(instance.id, "redrawn", 1) for instance in instances),
            verdicts=(*verdicts, Verdict("second_pass", True)),
            treated=treated,
            provenance={"timings_s": {"redraw": 0.01}},
            texts=self.texts,
            order=tuple(instance.id for instance in instances),
        )


def rejection() -> VerificationFailed:
    return VerificationFailed("a face is still recognised", (Verdict("face_distance", False, 0.9, 0.4, 1),))


class UnrulyAnonymizer(FakeAnonymizer):
    """Misbehaves on pictures by their names; for workers in processes of their own.

    Args:
        marks: Folder in which it remembers what it did before it was killed.
        delay_s: Seconds for each picture.
    """

    def __init__(self, marks: Path, delay_s: float = 0.0) -> None:
        super().__init__(delay_s=delay_s)
        self._marks = marks

    def __call__(self, image: Image, instances: tuple[Instance, ...] | None = None, *, key: str = "") -> Result:
        with (self._marks / "seen").open("a") as file:
            file.write(f"{key}\n")
        name = key.rsplit("/", 1)[-1]
        if name.startswith("sleep"):
            time.sleep(3600)
        if name.startswith("spin"):  # Holds the interpreter: no thread of this process can stop it.
            re.match(r"(a+)+$", "a" * 64 + "b")
        if name.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("once") and not (self._marks / key).exists():
            (self._marks / key).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(image, instances, key=key)


class StarvingAnonymizer(UnrulyAnonymizer):
    """Holds the interpreter with ``spin.png`` just while ``starved.png`` is being read."""

    def __init__(self, marks: Path) -> None:
        from anonymizer.run import picture

        super().__init__(marks)
        self._reading = threading.Event()
        real = picture.decode_image

        def read(*arguments: Any, **options: Any) -> Any:
            if any(argument == "starved.png" for argument in arguments if isinstance(argument, str)):
                self._reading.set()
                time.sleep(0.5)
            return real(*arguments, **options)

        picture.decode_image = read

    def __call__(self, image: Image, instances: tuple[Instance, ...] | None = None, *, key: str = "") -> Result:
        if key == "spin.png" and not (self._marks / "seen").exists():
            assert self._reading.wait(timeout=60)
        return super().__call__(image, instances, key=key)


def broken_build() -> FakeAnonymizer:
    raise RuntimeError("no such library")


def dying_build() -> FakeAnonymizer:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


class HoldingAnonymizer(FakeAnonymizer):
    """Rejects ``05.png``."""

    def __init__(self, delay_s: float = 0.0) -> None:
        super().__init__(delay_s=delay_s)
        self.raises = {"05.png": rejection()}


class HangingStep(FakeAnonymizer):
    """Makes reading or writing hang on pictures named ``hang…``, in the worker's process only."""

    def __init__(self, step: str) -> None:
        from anonymizer.run import picture

        super().__init__()
        real = getattr(picture, step)

        def hang(*arguments: Any, **options: Any) -> Any:
            if any("hang" in str(argument)[:200] for argument in arguments if not isinstance(argument, bytes)):
                time.sleep(3600)
            return real(*arguments, **options)

        setattr(picture, step, hang)


def slow_build(preset: str, **settings: Any) -> FakeAnonymizer:
    """Stand in for ``presets.build`` in a worker."""
    return FakeAnonymizer(delay_s=0.5)
