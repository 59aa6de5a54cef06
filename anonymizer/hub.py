"""Downloads weights from the Hugging Face hub, once and on request: the only module that uses the network."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import Any

from anonymizer.errors import InputError, ModelError
from anonymizer.weights import SAFE_SUFFIXES, FileRecord, Weight, cache_root, entry, file_sha256, write_lock

__all__ = ["Offer", "fetch", "offer"]

#: Second copies of the same weights in other precisions.
UNWANTED = ("*.fp16.*", "*non_ema*")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a download would bring: the weight, the commit, and per file its size in bytes and sha256 if known."""

    weight: Weight
    commit: str
    files: tuple[tuple[str, int, str | None], ...]

    @property
    def bytes(self) -> int:
        """Size of the download in bytes."""
        return sum(size for _, size, _ in self.files)


def offer(weight_id: str) -> Offer:
    """Ask the hub what a download would bring.

    Raises:
        InputError: There is no such weight, or it ships with a package and is not fetched.
        ModelError: The hub cannot be reached or has no loadable file.
    """
    weight = entry(weight_id)
    if weight.source != "hub":
        shipper = weight.revision if weight.source == "package" else "anonymizer"
        raise InputError(f"model {weight_id}: ships with {shipper}, there is nothing to fetch")
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(weight.path, revision=weight.revision, files_metadata=True)
    except Exception as error:
        raise ModelError(f"model {weight_id}: {weight.path} cannot be read from the hub ({error})") from error
    files = tuple(_described(sibling) for sibling in info.siblings or () if _wanted(sibling.rfilename, weight))
    if not any(name.endswith(".safetensors") for name, _, _ in files) or not info.sha:
        raise ModelError(f"model {weight_id}: {weight.path} at {weight.revision} holds no safetensors")
    return Offer(weight, info.sha, files)


def fetch(offered: Offer) -> Path:
    """Download what was offered into the user's cache, check it, pin its hashes, and return its folder.

    Raises:
        ModelError: The download broke off or does not have the hash the hub promised.
    """
    from huggingface_hub import snapshot_download

    weight, root = offered.weight, cache_root()
    root.mkdir(parents=True, exist_ok=True)
    temporary = Path(mkdtemp(prefix=f".{weight.id}-", dir=root))
    try:
        names = [name for name, _, _ in offered.files]
        try:
            snapshot_download(weight.path, revision=offered.commit, allow_patterns=names, local_dir=temporary)
        except Exception as error:
            raise ModelError(f"model {weight.id}: download from {weight.path} failed ({error}); try again") from error
        records = [_record(weight, temporary, name, expected) for name, _, expected in offered.files]
        shutil.rmtree(temporary / ".cache", ignore_errors=True)
        folder = root / weight.id
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    write_lock(weight.id, offered.commit, records)
    return folder


def _wanted(name: str, weight: Weight) -> bool:
    return (
        PurePosixPath(name).suffix in SAFE_SUFFIXES
        and any(fnmatch(name, pattern) for pattern in weight.allow)
        and not any(fnmatch(name, pattern) for pattern in UNWANTED)
    )


def _described(sibling: Any) -> tuple[str, int, str | None]:
    return sibling.rfilename, sibling.size or 0, sibling.lfs.sha256 if sibling.lfs else None


def _record(weight: Weight, folder: Path, name: str, expected: str | None) -> FileRecord:
    file = folder / name
    if not file.is_file():
        raise ModelError(f"model {weight.id}: the hub did not deliver {name}; try again")
    found = file_sha256(file)
    if expected is not None and found != expected:
        raise ModelError(f"model {weight.id}: {name} has sha256 {found}, the hub promised {expected}; try again")
    return FileRecord(name, found, file.stat().st_size)
