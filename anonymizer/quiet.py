"""Keeps third parties off the network and off the terminal while pictures are processed."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["offline"]

#: Read by the packages when they are first imported, so they are set before.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_OFFLINE": "true",
    "YOLO_VERBOSE": "false",
}
LOGGERS = ("diffusers", "transformers", "huggingface_hub", "ultralytics", "RapidOCR", "rapidocr", "matplotlib")


@contextmanager
def offline() -> Iterator[None]:
    """Within the block, no third party downloads, installs, reports home or chats on the terminal."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    os.environ.update(ENVIRONMENT)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            if not os.environ.get("ANONYMIZER_DEBUG"):
                warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
