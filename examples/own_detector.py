"""Anonymize one picture with a detector of your own in place of the preset's.

Usage: ``python examples/own_detector.py INPUT.jpg OUTPUT.png``

This detector knows one thing: the lower right corner, where this camera shows its operator. Any object with a method
``detect`` will do; detection and verification use it alike.
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image

from anonymizer import Anonymizer, Instance, as_rgb


class Operator:
    """A detector of the camera's operator."""

    def detect(self, image: np.ndarray) -> tuple[Instance, ...]:
        """Return the operator's place in an RGB picture (H, W, 3) as a person whose outline is not known."""
        height, width = image.shape[:2]
        box = np.array([width * 0.85, height * 0.7, width, height], np.float32)
        return (Instance(id=1, label="person", box=box, source="operator"),)


if __name__ == "__main__":
    anonymizer = Anonymizer.from_preset("embedded", seed=7, detector=Operator())
    result = anonymizer(as_rgb(Image.open(sys.argv[1])))
    Image.fromarray(result.image).save(sys.argv[2])
    for instance, treatment in zip(result.instances, result.treatments, strict=True):
        print(instance.label, instance.source, treatment.action)
