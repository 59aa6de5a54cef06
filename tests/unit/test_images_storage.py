"""Inputs in object storage: what is taken, what is refused, and what errors say."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from anonymizer import cli
from anonymizer.core.errors import InputError
from anonymizer.images import storage
from anonymizer.images.decode import read_bytes
from anonymizer.images.storage import Store, Stored, check_name, locate
from anonymizer.run.inputs import find_inputs
from anonymizer.run.local import run
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield MemoryFileSystem()
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def put(**objects: bytes) -> None:
    for name, data in objects.items():
        MemoryFileSystem().pipe_file(f"/{name}", data)


def names(source: str, output: str = "/nowhere/out") -> list[str]:
    return [file.name for file in find_inputs(source, output).files]


def test_a_file_url_is_a_path_and_a_path_is_left_alone(tmp_path: Path) -> None:
    assert locate(f"file://{tmp_path}/a b") == tmp_path / "a b"
    assert locate("local:///x") == Path("/x")
    assert locate("C:/x") == Path("C:/x") and locate("a/b:c") == Path("a/b:c")
    with pytest.raises(InputError, match="expected an absolute path such as file:///data/in, got 'host/x'"):
        locate("file://host/x")


def test_a_run_from_a_file_url_to_a_file_url(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "in/a.png")
    summary = run(FakeAnonymizer(), Request(f"file://{tmp_path}/in/*.png", f"file://{tmp_path}/out"))
    assert summary.released == 1
    assert (tmp_path / "out/images/a.png").is_file() and (tmp_path / "out/.state/lock").is_file()


def test_folders_patterns_and_single_objects() -> None:
    put(**{"in/b.JPG": b"1", "in/sub/a.png": b"22", "in/.hidden.png": b"", "in/.h/c.png": b"", "in/t.txt": b""})
    put(**{"in2/other.png": b"1"})
    found = find_inputs("memory://in", "/nowhere/out")
    assert [file.name for file in found.files] == ["b.JPG", "sub/a.png"]
    assert found.passed_over == {"hidden files": 2, ".txt": 1}
    assert [read_bytes(file.path) for file in found.files] == [b"1", b"22"]
    assert names("memory://in/") == names("memory://in")
    assert names("memory://in/*.JPG") == ["b.JPG"]
    assert names("memory://in/**") == ["b.JPG", "sub/a.png"]
    assert names("memory://in/s*/a.png") == ["sub/a.png"]
    assert names("memory://in/sub/a.png") == ["a.png"]


def test_wildcards_in_names_are_names_where_something_is_there() -> None:
    put(**{"in [1]/*.png": b"star", "in [1]/b.png": b"b"})
    found = find_inputs("memory://in [1]", "/nowhere/out")
    assert {file.name: read_bytes(file.path) for file in found.files} == {"*.png": b"star", "b.png": b"b"}
    Store("memory://in [1]").remove("*.png")
    assert names("memory://in [1]") == ["b.png"]


@pytest.mark.parametrize("source", ["memory://none", "memory://in/*.tif", "memory://in/a.txt/b.png"])
def test_nothing_there(source: str) -> None:
    put(**{"in/a.png": b""})
    with pytest.raises(InputError, match="found nothing; check the URL"):
        find_inputs(source, "/nowhere/out")


def test_no_pictures_there() -> None:
    put(**{"in/a.txt": b""})
    with pytest.raises(InputError, match=r"no pictures among 1 \.txt"):
        find_inputs("memory://in", "/nowhere/out")


@pytest.mark.parametrize(
    "name",
    [
        "../b.png",
        "x/../../b.png",
        "x/./b.png",
        "/etc/b.png",
        "x//b.png",
        "a\nb.png",
        "a\x00.png",
        "a\x7f.png",
        "a\x1b[31m.png",
        "a\udcff.png",
        "x" * 252 + ".png",
        "a?versionId=1/b.png",
    ],
)
def test_names_that_are_no_relative_paths_are_refused(name: str) -> None:
    MemoryFileSystem.store[f"/in/{name}"] = _file(f"/in/{name}")
    with pytest.raises(InputError, match="cannot be the name of a picture in object storage") as caught:
        find_inputs("memory://in", "/nowhere/out")
    assert str(caught.value).isprintable()
    with pytest.raises(InputError):
        Store("memory://in").put(name, b"")
    assert list(MemoryFileSystem.store) == [f"/in/{name}"]


def _file(path: str) -> object:
    from fsspec.implementations.memory import MemoryFile

    return MemoryFile(MemoryFileSystem(), path, b"x")


@pytest.mark.parametrize("name", ["a.png", "ä/ö ü.png", "a..b/c.png", "..a.png", "x" * 251 + ".png", "a%2e%2e/b.png"])
def test_other_names_are_fine(name: str) -> None:
    check_name(name)


def test_an_object_and_a_folder_of_one_name_are_refused() -> None:
    for name in ("a.png", "a.png/b/c.png"):
        MemoryFileSystem.store[f"/in/{name}"] = _file(f"/in/{name}")
    with pytest.raises(InputError, match=r"an object a\.png and a folder of that name, with a\.png/b/c\.png"):
        find_inputs("memory://in", "/nowhere/out")


@pytest.mark.parametrize(
    ("source", "output", "match"),
    [
        ("memory://in", "memory://in/out", "OUTPUT memory://in/out lies inside INPUT memory://in"),
        ("memory://in", "memory://in", "lies inside INPUT"),
        ("memory://in/**", "memory://in/out", "lies inside INPUT"),
        ("memory://in/sub", "memory://in", r"INPUT memory://in/sub/a\.png lies inside OUTPUT"),
        ("memory://in/sub/a.png", "memory://in/", "lies inside OUTPUT"),
    ],
)
def test_input_and_output_must_not_overlap(source: str, output: str, match: str) -> None:
    put(**{"in/sub/a.png": b"", "in/b.png": b""})
    with pytest.raises(InputError, match=match):
        find_inputs(source, output)


def test_neighbours_do_not_overlap() -> None:
    put(**{"in/sub/a.png": b"", "in/b.png": b""})
    assert names("memory://in", "memory://in2") == ["b.png", "sub/a.png"]
    assert names("memory://in/*.png", "memory://in/out") == ["b.png"]


def test_too_large_objects_are_refused_before_and_after_they_are_fetched() -> None:
    put(**{"in/a.png": b"x" * 11})
    store = Store("memory://in")
    assert Stored(store, "a.png", 11).read(11) == b"x" * 11
    for listed in (11, 1):  # As listed, and replaced by a larger one since.
        with pytest.raises(InputError, match=r"memory://in/a\.png: .* bytes, expected at most 10"):
            read_bytes(Stored(store, "a.png", listed), 10)
    assert read_bytes(Stored(store, "a.png", 0), 10) == b""
    with pytest.raises(InputError, match="it is gone"):
        read_bytes(Stored(store, "b.png", 1), 10)


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("foo://b/in", "Protocol not known: foo"),
        ("memory://", "expected the URL of a folder"),
        ("memory://a::memory://b", "expected the URL of a folder"),
        ("memory://*/in", "a pattern within one bucket"),
    ],
)
def test_other_urls_are_refused(url: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        find_inputs(url, "/nowhere/out")


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(
        InputError, match=r"s3://bucket/in: expected a package for s3://, .*pip install 'anonymizer\[s3\]'"
    ):
        locate("s3://bucket/in")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(InputError, match="pip install gcsfs"):
        locate("gs://bucket/in")


@pytest.mark.parametrize("url", ["sftp://host/out", "http://host/out", "memory://out/[a]", "memory://out*"])
def test_outputs_whose_files_do_not_appear_whole_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="expected a folder or one of|without"):
        locate(url, writing=True)


def test_any_error_of_a_store_becomes_one_that_people_can_read(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndpointError(Exception):
        pass

    def refuse(*_: object, **__: object) -> None:
        raise EndpointError("no\nroute")

    for method in ("find", "info", "cat_file", "pipe_file", "open"):
        monkeypatch.setattr(MemoryFileSystem, method, refuse)
    store = Store("memory://in")
    for call in (
        store.size,
        store.sizes,
        lambda: store.read("a"),
        lambda: store.put("a", b""),
        lambda: store.open("a"),
    ):
        with pytest.raises(OSError, match="no route"):
            call()
    with pytest.raises(OSError, match="no route"):
        store.create("a", b"")
    with pytest.raises(InputError, match="INPUT memory://in: no route; check the URL, the connection"):
        find_inputs("memory://in", "/nowhere/out")


def test_an_object_is_created_once() -> None:
    store = Store("memory://out")
    assert store.create("lock", b"1")
    assert not store.create("lock", b"2")
    assert store.create("lock", b"1"), "an answer that was lost is no other owner"
    assert store.read("lock") == b"1"


def test_objects_are_read_in_parts_and_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_BATCH", 2)
    put(**{f"in/{name}": name.encode() * 3 for name in "abcde"})
    store = Store("memory://in")
    assert dict(store.read_all("abcde")) == {name: name.encode() * 3 for name in "abcde"}
    put(**{"in/lines": b"one\ntwo\n" * 300_000})
    with store.open("lines") as file:
        assert sum(1 for _ in file) == 600_000
        assert file.seek(0, 2) == 2_400_000
    with pytest.raises(FileNotFoundError):
        list(store.read_all(["a", "none"]))


def test_mistakes_are_wrong_usage_and_show_before_models_are_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    put(**{"in/a.png": b"x"})
    for arguments in (
        ["run", "memory://none", "memory://out"],
        ["run", "memory://in", "memory://in/out"],
        ["run", "memory://in", "sftp://host/out"],
        ["verify", "memory://in"],
        ["verify", "memory://none"],
    ):
        assert cli.main(arguments) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_fsspec_is_imported_for_urls_only(tmp_path: Path) -> None:
    code = """
        import sys
        from anonymizer.run.output import OutputFolder
        from anonymizer.run.object_store import open_output
        from anonymizer.run.inputs import find_inputs
        open(sys.argv[1] + "/a.png", "w").close()
        find_inputs(sys.argv[1], sys.argv[1] + "-out")
        assert type(open_output(sys.argv[1] + "-out")) is OutputFolder
        assert "fsspec" not in sys.modules
        open_output("memory://out")
        assert "fsspec" in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], check=True)
