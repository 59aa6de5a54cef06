"""Third parties: kept off the network and off the terminal, and named where one of an extra is missing."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from anonymizer.core.errors import ModelError

__all__ = ["check_extra", "disable_telemetry", "extra", "offline", "single_blas", "telemetry_late"]

#: Read when the packages are first imported. From release 1.32 on, ONNX Runtime otherwise writes a device id and an
#: event store into the home folder and looks its collector up in the DNS.
NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

#: Read by the packages when they are first imported, so they are set before.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_OFFLINE": "true",
    "YOLO_VERBOSE": "false",
}
#: Folders that packages make in the home folder on import: Matplotlib's (which insightface imports) and ultralytics'.
FOLDERS = ("MPLCONFIGDIR", "YOLO_CONFIG_DIR")
LOGGERS = ("diffusers", "transformers", "huggingface_hub", "ultralytics", "RapidOCR", "rapidocr", "matplotlib")

#: Whether ONNX Runtime had been imported, with its telemetry on, before this package was.
_late = False

#: Who is inside of ``single_blas``, and what gives the libraries their threads back after the last of them.
_lock = threading.Lock()
_inside = 0
_limits: Any = None


@contextmanager
def single_blas() -> Iterator[None]:
    """Keep NumPy's products of matrices to one thread within a block, which may run in several threads at once.

    They are small here: a second thread spins for longer than it computes. And their sums are the same on any number
    of cores.
    """
    from threadpoolctl import threadpool_limits

    global _inside, _limits
    with _lock:
        if _inside == 0:
            _limits = threadpool_limits(limits=1, user_api="blas")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _limits.restore_original_limits()


def disable_telemetry() -> None:
    """Turn third parties' telemetry off, in this process and those it starts, for good.

    A caller that imported ONNX Runtime before is warned: its telemetry has begun.
    """
    global _late
    name = "ORT_DISABLE_TELEMETRY"
    _late = "onnxruntime" in sys.modules and os.environ.get(name) != NO_TELEMETRY[name]
    os.environ.update(NO_TELEMETRY)
    if _late:
        warnings.warn(
            f"onnxruntime was imported before anonymizer, so that its telemetry is on; import anonymizer first, or set "
            f"{name}=1 in the environment",
            RuntimeWarning,
            stacklevel=3,
        )


def telemetry_late() -> bool:
    """Return whether ONNX Runtime's telemetry had begun before it could be turned off."""
    return _late


@contextmanager
def offline() -> Iterator[None]:
    """Within the block, no third party downloads, installs, reports home, chats, or writes into the home folder."""
    missing = [name for name in FOLDERS if name not in os.environ]
    before = {name: os.environ.get(name) for name in (*ENVIRONMENT, *missing)}
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    os.environ.update(ENVIRONMENT)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with ExitStack() as folders, warnings.catch_warnings():
            if missing:
                # Processes started from here inherit the folder; it goes when the block is left.
                folder = tempfile.TemporaryDirectory(prefix="anonymizer-", ignore_cleanup_errors=True)
                os.environ |= dict.fromkeys(missing, folders.enter_context(folder))
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


@contextmanager
def extra(name: str, purpose: str) -> Iterator[None]:
    """Imports of packages that come with an extra of this one.

    Args:
        name: The extra, such as ``hub``.
        purpose: Who asks, for the message.

    Raises:
        ModelError: A package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModelError(_missing(name, purpose, error.name or "?")) from error


def check_extra(name: str, purpose: str, *packages: str) -> None:
    """Refuse what needs packages of an extra that are not installed; none of them is imported.

    Raises:
        ModelError: Names the first that is missing.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ModelError(_missing(name, purpose, package))


def _missing(name: str, purpose: str, package: str) -> str:
    return f"{purpose}: expected the package {package}, it is not installed; run `pip install 'anonymizer[{name}]'`"
