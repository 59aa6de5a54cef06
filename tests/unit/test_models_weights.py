"""Weights are found, proven and refused."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import pytest

from anonymizer.core.errors import InputError, ModelError
from anonymizer.models import weights
from anonymizer.models.weights import FileRecord, Lock, Weight


def record(name: str, content: bytes) -> FileRecord:
    return FileRecord(name, hashlib.sha256(content).hexdigest(), len(content))


def weight(entry: str = "", source: str = "embedded", files: tuple[FileRecord, ...] = ()) -> Weight:
    return Weight(
        id="sample",
        stage="redraw",
        source=source,
        path="someone/sample" if source == "hub" else "sample",
        entry=entry,
        revision="1",
        licence="MIT",
        commercial=True,
        description="",
        files=files,
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine: nothing embedded, nothing cached; returns the folder the sample belongs into."""
    monkeypatch.setattr(weights, "embedded_root", lambda: tmp_path / "embedded")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ANONYMIZER_MODELS", raising=False)
    folder = tmp_path / "embedded" / "sample"
    folder.mkdir(parents=True)
    return folder


def listed(monkeypatch: pytest.MonkeyPatch, sample: Weight) -> None:
    monkeypatch.setattr(weights, "entries", lambda: (sample,))


def test_a_file_with_the_listed_hash_is_handed_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "net.onnx").write_bytes(b"net")
    listed(monkeypatch, weight("net.onnx", files=(record("net.onnx", b"net"),)))
    assert weights.path("sample") == place / "net.onnx"
    assert weights.digest("sample") == hashlib.sha256(b"net").hexdigest()


def test_a_file_changed_after_it_was_proven_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = place / "net.onnx"
    file.write_bytes(b"net")
    listed(monkeypatch, weight("net.onnx", files=(record("net.onnx", b"net"),)))
    assert weights.path("sample") == file
    file.write_bytes(b"ten")
    os.utime(file, ns=(1, 1))
    with pytest.raises(ModelError, match=r"sha256 .* expected"):
        weights.path("sample")


def test_a_file_of_another_size_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "net.onnx").write_bytes(b"net and more")
    listed(monkeypatch, weight("net.onnx", files=(record("net.onnx", b"net"),)))
    with pytest.raises(ModelError, match="has 12 bytes, expected 3"):
        weights.path("sample")


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "deep/model.pkl", "model.ckpt", "noname"])
def test_a_planted_pickle_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (place / "net.safetensors").write_bytes(b"net")
    listed(monkeypatch, weight(files=(record("net.safetensors", b"net"),)))
    assert weights.path("sample") == place
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelError, match="may run code"):
        weights.path("sample")


def test_a_pickle_is_refused_even_if_it_is_listed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "net.pt").write_bytes(b"net")
    listed(monkeypatch, weight("net.pt", files=(record("net.pt", b"net"),)))
    with pytest.raises(ModelError, match="may run code"):
        weights.path("sample")


def test_an_unlisted_file_in_a_folder_is_refused_but_a_model_card_is_not(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "net.safetensors").write_bytes(b"net")
    (place / "README.md").write_text("card")
    listed(monkeypatch, weight(files=(record("net.safetensors", b"net"),)))
    assert weights.path("sample") == place
    (place / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"config.json is not in the list"):
        weights.path("sample")


def test_a_missing_file_of_a_folder_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "net.safetensors").write_bytes(b"net")
    listed(monkeypatch, weight(files=(record("net.safetensors", b"net"), record("config.json", b"{}"))))
    with pytest.raises(ModelError, match=r"config.json is missing"):
        weights.path("sample")


def test_missing_weights_name_the_remedy(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, weight("net.onnx", files=(record("net.onnx", b"net"),)))
    with pytest.raises(ModelError, match=r"not found.*ANONYMIZER_MODELS/sample"):
        weights.path("sample")
    listed(monkeypatch, weight(source="hub"))
    with pytest.raises(ModelError, match="anonymizer models fetch sample"):
        weights.path("sample")


def test_a_file_without_a_recorded_hash_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "net.onnx").write_bytes(b"net")
    listed(monkeypatch, weight("net.onnx"))
    assert weights.verify("sample").state == "unpinned"
    with pytest.raises(ModelError, match="no sha256 is recorded"):
        weights.path("sample")


def test_own_folder_comes_first_and_is_proven_too(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "net.onnx").write_bytes(b"net")
    own = tmp_path / "own" / "sample"
    own.mkdir(parents=True)
    (own / "net.onnx").write_bytes(b"net")
    monkeypatch.setenv("ANONYMIZER_MODELS", str(tmp_path / "own"))
    listed(monkeypatch, weight("net.onnx", files=(record("net.onnx", b"net"),)))
    assert weights.path("sample") == own / "net.onnx"
    (own / "net.onnx").write_bytes(b"ten")
    os.utime(own / "net.onnx", ns=(1, 1))
    with pytest.raises(ModelError, match="sha256"):
        weights.path("sample")


def test_a_fetched_weight_is_proven_by_its_lock(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, weight(source="hub"))
    folder = weights.cache_root() / "sample"
    folder.mkdir(parents=True)
    (folder / "net.safetensors").write_bytes(b"net")
    assert weights.verify("sample").state == "unpinned"
    lock = weights.write_lock("sample", Lock("abc", (record("net.safetensors", b"net"),)))
    assert weights.path("sample") == folder
    lock.write_text("[]")
    with pytest.raises(ModelError, match="is not a lock file"):
        weights.path("sample")


def test_digest_of_a_folder_depends_on_names_and_contents(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for name, content in (("a.json", b"1"), ("b.json", b"1"), ("a.json", b"2")):
        for file in place.iterdir():
            file.unlink()
        (place / name).write_bytes(content)
        os.utime(place / name, ns=(len(digests), len(digests)))
        listed(monkeypatch, weight(files=(record(name, content),)))
        digests.add(weights.digest("sample"))
    assert len(digests) == 3


def test_unknown_id_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'nothing' is not in the list.*detector"):
        weights.path("nothing")


def test_the_list_is_well_formed() -> None:
    found = weights.entries()
    assert len({weight.id for weight in found}) == len(found)
    for weight in found:
        assert weight.licence and weight.revision and weight.description
        if weight.source == "hub":
            assert weight.path.count("/") == 1 and weight.allow
        for file in weight.files:
            assert len(file.sha256) == 64 and file.bytes > 0 and not Path(file.path).is_absolute()


@pytest.mark.parametrize("weight_id", [weight.id for weight in weights.entries() if weight.source != "hub"])
def test_everything_that_ships_is_here_and_proven(weight_id: str) -> None:
    status = weights.verify(weight_id)
    assert status.state == "ok", status.detail


def test_only_listed_files_of_a_dependency_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "source_folder", lambda weight: tmp_path)
    monkeypatch.delenv("ANONYMIZER_MODELS", raising=False)
    (tmp_path / "other.bin").write_bytes(b"not ours, not loaded")
    (tmp_path / "net.onnx").write_bytes(b"net")
    listed(monkeypatch, weight(source="package", files=(record("net.onnx", b"net"),)))
    assert weights.path("sample") == tmp_path
    listed(monkeypatch, weight(source="package", files=(record("net.onnx", b"ten"),)))
    with pytest.raises(ModelError, match="sha256"):
        weights.path("sample")
