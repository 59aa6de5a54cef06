"""Fetching takes only safe files, checks them, pins them, goes on where it broke off, and keeps nothing bad."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from anonymizer.core.errors import InputError, ModelError
from anonymizer.models import hub, weights

CONTENT = {
    "diffusion_pytorch_model.safetensors": b"tensors",
    "diffusion_pytorch_model.fp16.safetensors": b"half",
    "diffusion_pytorch_model.bin": b"pickle",
    "config.json": b"{}",
}


#: Revisions the hub was asked for.
asked: list[str] = []


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A hub that promises ``CONTENT`` and delivers what the returned dictionary holds."""
    delivered = dict(CONTENT)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ANONYMIZER_MODELS", raising=False)
    asked.clear()

    def model_info(self: Any, repo: str, *, revision: str, files_metadata: bool) -> Any:
        siblings = [
            SimpleNamespace(
                rfilename=name,
                size=len(data),
                lfs=SimpleNamespace(sha256=hashlib.sha256(data).hexdigest()) if len(data) > 2 else None,
            )
            for name, data in CONTENT.items()
        ]
        asked.append(revision)
        return SimpleNamespace(sha="c0ffee", siblings=siblings, card_data=SimpleNamespace(license="openrail"))

    def snapshot_download(repo: str, *, revision: str, allow_patterns: list[str], local_dir: Path) -> None:
        assert revision == "c0ffee"
        (local_dir / ".cache").mkdir(parents=True, exist_ok=True)
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


def test_the_hubs_own_licence_is_shown(server: dict[str, bytes]) -> None:
    assert hub.offer("sd15-depth").licence == "openrail"


def test_a_later_fetch_asks_for_the_first_ones_commit(server: dict[str, bytes]) -> None:
    hub.fetch(hub.offer("sd15-depth"))
    hub.fetch(hub.offer("sd15-depth"))
    assert asked == [weights.entry("sd15-depth").revision, "c0ffee"]


def test_other_content_than_at_first_is_refused(server: dict[str, bytes]) -> None:
    folder = hub.fetch(hub.offer("sd15-depth"))
    server["config.json"] = b"[]"  # small files come without a promised hash
    with pytest.raises(ModelError, match="config.json is not what the first fetch recorded"):
        hub.fetch(hub.offer("sd15-depth"))
    assert weights.path("sd15-depth") == folder


def test_a_broken_download_goes_on(server: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = huggingface_hub.snapshot_download

    def breaks(repo: str, *, revision: str, allow_patterns: list[str], local_dir: Path) -> None:
        whole(repo, revision=revision, allow_patterns=allow_patterns[:1], local_dir=local_dir)
        raise ConnectionError("reset")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", breaks)
    with pytest.raises(ModelError, match="the same command goes on"):
        hub.fetch(hub.offer("sd15-depth"))
    (partial,) = weights.cache_root().iterdir()
    assert (partial / "diffusion_pytorch_model.safetensors").is_file()

    def goes_on(repo: str, *, revision: str, allow_patterns: list[str], local_dir: Path) -> None:
        assert local_dir == partial and (local_dir / "diffusion_pytorch_model.safetensors").is_file()
        whole(repo, revision=revision, allow_patterns=allow_patterns, local_dir=local_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", goes_on)
    assert hub.fetch(hub.offer("sd15-depth")) == weights.path("sd15-depth")
    assert not partial.exists()


def test_a_full_disk_is_said_before_the_download(server: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda path: SimpleNamespace(free=1))
    with pytest.raises(ModelError, match="make room"):
        hub.fetch(hub.offer("sd15-depth"))


def test_terms_to_be_accepted_on_the_hub_are_named(server: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import GatedRepoError

    def gated(*arguments: Any, **options: Any) -> None:
        raise GatedRepoError.__new__(GatedRepoError)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", gated)
    with pytest.raises(ModelError, match="accept the terms"):
        hub.offer("sd15-depth")


def test_a_variant_takes_its_tensors_only() -> None:
    weight = weights.entry("sdxl-base")
    assert weight.variant == "fp16"
    assert hub._wanted("unet/diffusion_pytorch_model.fp16.safetensors", weight)
    assert hub._wanted("unet/config.json", weight)
    for name in ("unet/diffusion_pytorch_model.safetensors", "unet/model.onnx", "sd_xl_base_1.0.safetensors"):
        assert not hub._wanted(name, weight)


def test_a_pickle_is_converted_and_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ANONYMIZER_MODELS", raising=False)
    torch.save({"norm": torch.zeros(1)}, tmp_path / "net.pth")
    data = (tmp_path / "net.pth").read_bytes()

    def snapshot_download(repo: str, *, revision: str, allow_patterns: list[str], local_dir: Path) -> None:
        local_dir.mkdir(parents=True, exist_ok=True)
        (local_dir / allow_patterns[0]).write_bytes(data)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    offered = hub.Offer(weights.entry("hed"), "c0ffee", (("ControlNetHED.pth", len(data), None),))
    folder = hub.fetch(offered)
    assert [file.name for file in folder.iterdir()] == ["hed.safetensors"]
    assert weights.path("hed") == folder / "hed.safetensors"
    recorded = weights.lock("hed")
    assert recorded is not None
    assert recorded.delivered[0].sha256 == hashlib.sha256(data).hexdigest()
    data += b"x"
    with pytest.raises(ModelError, match="not what the first fetch recorded"):
        hub.fetch(offered)


def test_the_installed_hub_client_takes_these_arguments() -> None:
    def names(callee: Any) -> set[str]:
        return set(inspect.signature(callee).parameters)

    assert {"revision", "allow_patterns", "local_dir"} <= names(huggingface_hub.snapshot_download)
    assert {"revision", "files_metadata"} <= names(huggingface_hub.HfApi.model_info)
