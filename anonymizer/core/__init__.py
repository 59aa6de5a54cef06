"""Core: arrays that every part agrees on. ``as_rgb`` makes one of whatever holds a picture."""

from anonymizer.core.arrays import as_rgb

__all__ = ["as_rgb"]
