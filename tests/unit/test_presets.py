"""Presets: options are checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from anonymizer import Anonymizer, presets, weights
from anonymizer.errors import InputError, ModelError


def test_embedded_comes_first() -> None:
    assert presets.names()[0] == "embedded"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preset": "sd99"}, "preset 'sd99'"),
        ({"preset": "missing.toml"}, "not found"),
        ({"classes": ["person", "dog"]}, "got dog"),
        ({"classes": []}, "got none"),
        ({"people": "legs"}, "expected body or face"),
        ({"seed": -1}, "seed"),
        ({"batch_size": 0}, "batch size"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        presets.build(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [("not toml [", "expected TOML"), ("", "one preset table"), ("[mine]\n", "missing or malformed setting 'detect'")],
)
def test_preset_files_are_checked(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        presets.build(file)


def test_missing_hub_weights_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ANONYMIZER_MODELS", raising=False)
    with pytest.raises(ModelError, match="anonymizer models fetch sd15-inpaint"):
        presets.build("sd15")


def test_weights_of_every_preset_are_listed() -> None:
    listed = {weight.id for weight in weights.entries()}
    for table in presets._shipped().values():
        used = {table["detect"][k] for k in ("network", "faces", "ocr")} | {table["condition"]["edges"]}
        used |= {table["redraw"]["pipeline"], *table["verify"]["face"]}
        used |= {name.partition("/")[0] for name in table["redraw"]["controlnets"]}
        assert used <= listed


def test_from_preset_builds_and_describes() -> None:
    anonymizer = Anonymizer.from_preset("embedded", seed=1, classes=["face"])
    told = anonymizer.describe()
    assert told["preset"] == "embedded"
    assert told["settings"]["classes"] == ["face"]
    assert {"detector", "edges", "inpaint", "centerface", "dlib-face", "ppocr"} <= set(told["models"])
    assert "seed" not in str(told)
