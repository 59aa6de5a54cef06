"""Fetching takes only safe files, checks them, pins them, and leaves nothing behind when it fails."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from anonymizer import hub, weights
from anonymizer.errors import InputError, ModelError

CONTENT = {
    "diffusion_pytorch_model.safetensors": b"tensors",
    "diffusion_pytorch_model.fp16.safetensors": b"half",
    "diffusion_pytorch_model.bin": b"pickle",
    "config.json": b"{}",
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A hub that promises ``CONTENT`` and delivers what the returned dictionary holds."""
    delivered = dict(CONTENT)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ANONYMIZER_MODELS", raising=False)

    def model_info(self: Any, repo: str, *, revision: str, files_metadata: bool) -> Any:
        siblings = [
            SimpleNamespace(
                rfilename=name,
                size=len(data),
                lfs=SimpleNamespace(sha256=hashlib.sha256(data).hexdigest()) if len(data) > 2 else None,
            )
            for name, data in CONTENT.items()
        ]
        return SimpleNamespace(sha="c0ffee", siblings=siblings)

    def snapshot_download(repo: str, *, revision: str, allow_patterns: list[str], local_dir: Path) -> None:
        assert revision == "c0ffee"
        (local_dir / ".cache").mkdir()
        for name in allow_patterns:
            if name in delivered:
                (local_dir / name).write_bytes(delivered[name])

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return delivered


def test_only_safe_files_in_one_precision_are_offered(server: dict[str, bytes]) -> None:
    offered = hub.offer("sd15-depth")
    assert [name for name, _, _ in offered.files] == ["diffusion_pytorch_model.safetensors", "config.json"]
    assert offered.bytes == len(b"tensors") + len(b"{}")


def test_what_was_fetched_is_pinned_and_loads(server: dict[str, bytes]) -> None:
    assert weights.verify("sd15-depth").state == "missing"
    folder = hub.fetch(hub.offer("sd15-depth"))
    assert weights.path("sd15-depth") == folder
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "diffusion_pytorch_model.safetensors"]
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"changed")
    with pytest.raises(ModelError):
        weights.path("sd15-depth")


@pytest.mark.parametrize(("sent", "words"), [(b"corrupt", "the hub promised"), (None, "did not deliver")])
def test_a_bad_download_is_refused_and_removed(server: dict[str, bytes], sent: bytes | None, words: str) -> None:
    if sent is None:
        del server["diffusion_pytorch_model.safetensors"]
    else:
        server["diffusion_pytorch_model.safetensors"] = sent
    with pytest.raises(ModelError, match=words):
        hub.fetch(hub.offer("sd15-depth"))
    assert list(weights.cache_root().iterdir()) == []


def test_what_ships_is_not_fetched() -> None:
    with pytest.raises(InputError, match="nothing to fetch"):
        hub.offer("ppocr")


def test_an_unreachable_hub_is_said_in_one_error(server: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: Any, **options: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    with pytest.raises(ModelError, match="no route"):
        hub.offer("sd15-depth")
