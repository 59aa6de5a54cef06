import os
from pathlib import Path

import pytest

from anonymizer.core.errors import InputError
from anonymizer.run.inputs import Found, check_collisions, find_inputs


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(source: Path | str, output: Path) -> list[str]:
    return [file.name for file in find_inputs(source, output).files]


def test_a_folder_is_searched_in_a_stable_order_without_hidden_and_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    touch(folder, "b.PNG", "a/2.jpg", "a/1.tiff", "c.txt", "d.json", ".hidden.jpg", ".git/x.jpg", "a/e.webp", "e.bmp")
    found = find_inputs(folder, tmp_path / "out")
    assert [file.name for file in found.files] == ["a/1.tiff", "a/2.jpg", "a/e.webp", "b.PNG", "e.bmp"]
    assert found.passed_over == {".txt": 1, ".json": 1, "hidden files": 1, "hidden folders": 1}
    assert found.ignored == 4
    assert found.files[0].path == folder / "a/1.tiff"


def test_a_file_named_explicitly_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "picture.data")
    assert names(tmp_path / "picture.data", tmp_path / "out") == ["picture.data"]


def test_a_pattern_gives_names_below_its_fixed_part(tmp_path: Path) -> None:
    touch(tmp_path, "in/x/1.jpg", "in/y/1.jpg", "in/y/2.txt", "in/z.jpg")
    assert names(f"{tmp_path}/in/*/1.jpg", tmp_path / "out") == ["x/1.jpg", "y/1.jpg"]
    found = find_inputs(f"{tmp_path}/in/**", tmp_path / "out")
    assert [file.name for file in found.files] == ["x/1.jpg", "y/1.jpg", "z.jpg"]
    assert found.ignored == 1


def test_output_below_the_folder_of_a_flat_pattern_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "1.jpg")
    monkeypatch.chdir(tmp_path)
    assert names("*.jpg", Path("out")) == ["1.jpg"]
    with pytest.raises(InputError, match="inside INPUT"):
        find_inputs("**/*.jpg", Path("out"))


def test_an_existing_name_with_wildcard_characters_is_no_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "in/[1].jpg", "in/1.jpg")
    assert names(f"{tmp_path}/in/[1].jpg", tmp_path / "out") == ["[1].jpg"]


@pytest.mark.parametrize("source", ["missing", "missing.jpg", "in/*.gif", "empty", "in/no*"])
def test_nothing_to_work_on_is_refused(tmp_path: Path, source: str) -> None:
    touch(tmp_path, "in/1.jpg")
    touch(tmp_path, "empty/readme.txt")
    with pytest.raises(InputError, match="INPUT"):
        find_inputs(str(tmp_path / source), tmp_path / "out")


@pytest.mark.parametrize("output", ["in", "in/out", "in/a/../out", "link/out"])
def test_output_inside_input_is_refused(tmp_path: Path, output: str) -> None:
    touch(tmp_path, "in/1.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(InputError, match="inside INPUT"):
        find_inputs(tmp_path / "in", tmp_path / output)


def test_input_inside_output_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "out/images/1.jpg")
    with pytest.raises(InputError, match="inside OUTPUT"):
        find_inputs(tmp_path / "out/images", tmp_path / "out")
    with pytest.raises(InputError, match="inside OUTPUT"):
        find_inputs(tmp_path / "out/images/1.jpg", tmp_path / "out")


def test_an_unreadable_folder_is_refused_not_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "in/1.jpg", "in/locked/2.jpg")
    scandir = os.scandir

    def locked(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(InputError, match=r"locked.*Permission denied"):
        find_inputs(tmp_path / "in", tmp_path / "out")


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    touch(tmp_path, "in/1.jpg", "other/2.jpg")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    found = find_inputs(tmp_path / "in", tmp_path / "out")
    assert [file.name for file in found.files] == ["1.jpg"]
    assert found.passed_over == {"linked folders": 1}


def test_every_spelling_of_jpeg_is_a_picture(tmp_path: Path) -> None:
    touch(tmp_path, "in/1.jfif", "in/2.JPE", "in/3.mpo", "in/4.Jpg", "in/5.jpeg")
    assert names(tmp_path / "in", tmp_path / "out") == ["1.jfif", "2.JPE", "3.mpo", "4.Jpg", "5.jpeg"]


def test_what_is_passed_over_is_told_by_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "in/1.jpg", "in/a.mp4", "in/b.MP4", "in/readme", "in/c." + "x" * 40, "in/s/d.json")
    found = find_inputs(tmp_path / "in", tmp_path / "out")
    assert found.passed_over == {".mp4": 2, ".json": 1, "files without a suffix": 1, "other files": 1}


def test_many_suffixes_are_told_together(tmp_path: Path) -> None:
    touch(tmp_path, "in/1.jpg", *(f"in/a.{number:03}" for number in range(50)), "in/b.000")
    told = find_inputs(tmp_path / "in", tmp_path / "out").passed_over
    assert (len(told), told[".000"], told["other files"]) == (21, 2, 30)


def test_several_files_and_folders_are_named_below_what_holds_all(tmp_path: Path) -> None:
    touch(tmp_path, "in/1.jpg", "in/2.png", "in/notes.txt", "in/sub/3.jpg", "in/sub/.git/4.jpg")
    every = sorted(str(path) for path in (tmp_path / "in").iterdir())
    found = find_inputs([*every, every[0]], tmp_path / "out")
    assert [file.name for file in found.files] == ["1.jpg", "2.png", "sub/3.jpg"]
    assert found.passed_over == {".txt": 1, "hidden folders": 1}
    assert [file.name for file in find_inputs([f"{tmp_path}/in/1.jpg"], tmp_path / "out").files] == ["1.jpg"]


@pytest.mark.parametrize(
    ("sources", "output", "words"),
    [
        (["in/1.jpg", "in/*.gif"], "out", "found nothing"),
        (["in/1.jpg", "memory://x"], "out", "one URL or several paths"),
        (["in/1.jpg", "in"], "in/out", "inside INPUT"),
        (["in/1.jpg", "out/1.jpg"], "out", "inside OUTPUT"),
        ([], "out", "got none"),
    ],
)
def test_several_inputs_that_cannot_be_used_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str], output: str, words: str
) -> None:
    touch(tmp_path, "in/1.jpg", "out/1.jpg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        find_inputs(sources, output)


def test_names_that_differ_in_case_or_unicode_form_collide() -> None:
    check_collisions([Found(Path("a"), "a.jpg"), Found(Path("b"), "b.jpg")])
    for other in ("A.JPG", "a.jpg"):
        with pytest.raises(InputError, match="same file"):
            check_collisions([Found(Path("a"), "a.jpg"), Found(Path("b"), other)])
    with pytest.raises(InputError, match="same file"):
        check_collisions([Found(Path("a"), "\u00e9.jpg"), Found(Path("b"), "e\u0301.jpg")])
