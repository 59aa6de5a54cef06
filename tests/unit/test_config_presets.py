"""Presets: options are checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from anonymizer import Anonymizer
from anonymizer.config import presets, requirements
from anonymizer.core.errors import InputError, ModelError
from anonymizer.core.records import Instance
from anonymizer.models import weights


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
        ({"classes": ["person"], "people": "face"}, "leaves nothing to anonymize"),
        ({"classes": ["person", "person"], "people": "face"}, "leaves nothing to anonymize"),
        ({"seed": -1}, "seed"),
        ({"batch_size": 0}, "batch size"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        presets.build(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not toml [", "expected TOML"),
        ("", "one preset table"),
        ("[mine]\n", "redraw is missing; compare with 'embedded'"),
    ],
)
def test_preset_files_are_checked(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        presets.build(file)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which nothing was fetched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ANONYMIZER_MODELS", raising=False)
    return tmp_path


HUB = [name for name in presets.names() if name != "embedded"]


@pytest.mark.parametrize("name", HUB)
def test_missing_weights_are_named_with_their_size_and_the_one_command(bare: Path, name: str) -> None:
    with pytest.raises(ModelError) as caught:
        presets.build(name, force=True)
    message = str(caught.value)
    wanted = requirements.lacking(presets.tables()[name])
    assert all(f"{weight.id} ({weight.bytes / 1e9:.2f} GB)" in message for weight in wanted)
    assert f"anonymizer models fetch {name} (about {sum(w.bytes for w in wanted) / 1e9:.1f} GB)" in message
    assert len(wanted) >= 6 and all(weight.bytes for weight in wanted)


def test_a_preset_stands_for_its_missing_weights(bare: Path) -> None:
    ids = presets.fetchable(["sd15", "hed", "scrfd-10g"])
    assert ids[-1] == "scrfd-10g" and ids.count("hed") == 1
    assert {"sd15-inpaint", "sd15-depth", "sd15-softedge", "depth-anything-v2-small", "plates"} <= set(ids)
    assert presets.fetchable(["embedded"]) == ()


def test_weights_of_every_preset_are_listed() -> None:
    listed = {weight.id for weight in weights.entries()}
    for table in presets.tables().values():
        used = {table["detect"][k] for k in ("network", "faces", "ocr")} | {table["condition"]["edges"]}
        used |= {table["redraw"]["pipeline"], *table["verify"]["face"]}
        used |= {name.partition("/")[0] for name in table["redraw"]["controlnets"]}
        used |= {table[part][k] for part, k in OPTIONAL if k in table[part]}
        assert used <= listed
        # Without avatars nothing of theirs is loaded, though a base names it.
        avatars = {"body", "poses", "prototypes"} if table["redraw"].get("start") == "guarded" else set()
        assert used - avatars <= set(requirements.weight_ids(table))
        assert not avatars & set(requirements.weight_ids(table))


OPTIONAL = [
    ("detect", "plates"),
    ("detect", "scrfd"),
    ("detect", "refine"),
    ("condition", "depth"),
    ("redraw", "lora"),
    ("redraw", "prototypes"),
]


def test_shipped_presets_need_no_licence_to_be_accepted() -> None:
    for name, table in presets.tables().items():
        requirements.check_licences(name, table, accept_noncommercial=False)


def test_noncommercial_weights_are_refused_by_name_unless_accepted(bare: Path) -> None:
    file = bare / "mine.toml"
    file.write_text('[mine]\nbase = "sd15"\n[mine.detect]\nscrfd = "scrfd-10g"\nscrfd_score = 0.4\n')
    with pytest.raises(ModelError, match=r"scrfd-10g .*--accept-noncommercial"):
        presets.build(file)
    with pytest.raises(ModelError, match="anonymizer models fetch .*scrfd-10g"):
        presets.build(file, accept_noncommercial=True)


@pytest.mark.parametrize("name", ["sdxl", "sdxl-lcm"])
def test_sdxl_without_a_gpu_is_refused_unless_forced(bare: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"roughly \d+ minutes.*--force"):
        presets.build(name)
    with pytest.raises(ModelError, match="models fetch"):
        presets.build(name, force=True)


def test_a_gpu_that_is_too_small_is_refused_with_presets_that_fit(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=8_000_000_000))
    with pytest.raises(ModelError, match=r"needs about 14 GB.*has 8.0 GB.*fit: embedded, sd15, sd15-lcm"):
        presets.build("sdxl", device="cuda")
    with pytest.raises(ModelError, match="models fetch sd15"):
        presets.build("sd15", device="cuda")
    with pytest.raises(ModelError, match="from cuda:0"):
        presets.build("sd15", device="cuda:1")


def test_a_class_the_preset_cannot_redraw_is_refused() -> None:
    with pytest.raises(InputError, match="does not redraw vehicle"):
        presets.build("embedded", classes=["person", "vehicle"])


def test_the_papers_settings_are_the_official_ones() -> None:
    people, cars = (presets.tables()[name] for name in ("paper-people", "paper-cars"))
    crop = {"long_side": 768, "margin": 0.9, "dilation": 13, "small_area": 1000}
    for table in (people, cars):
        redraw, direction = table["redraw"], table["redraw"]["direction"]
        assert redraw["pipeline"] == "sd15-inpaint" and redraw["controlnets"] == ["sd15-depth", "sd15-softedge"]
        assert (redraw["steps"], redraw["scheduler"]) == (40, "unipc")
        assert direction["guidance"] == [7.0, 7.5]
        assert (direction["small_area"], direction["small_scales"]) == (1000, [0.1, 0.1])
        assert direction["scales"]["person"] == [0.7, 0.1] and direction["scales"]["vehicle"] == [0.7, 0.2]
        assert redraw["crops"]["person"] == crop
        assert table["condition"]["depth"] == "depth-anything-v1-large" and table["condition"]["edges"] == "hed"
    assert cars["redraw"]["crops"]["vehicle"] == crop
    assert "vehicle" in cars["classes"]


@pytest.mark.parametrize("name", [name for name in HUB if "paper" not in name])
def test_crops_come_in_two_sizes_at_most(name: str) -> None:
    crops = presets.tables()[name]["redraw"]["crops"].values()
    sizes = {(crop["height"], crop["width"]) for crop in crops}
    assert len(sizes) <= 2 and all(side % 8 == 0 for size in sizes for side in size)


@pytest.mark.parametrize("name", [name for name in HUB if name.endswith("lcm")])
def test_few_steps_go_without_guidance(name: str) -> None:
    redraw = presets.tables()[name]["redraw"]
    assert (redraw["guidance_scale"], redraw["scheduler"]) == (1.0, "lcm") and 4 <= redraw["steps"] <= 8


def test_a_base_gives_what_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[mine]\nbase = "sd15"\n[mine.redraw.direction]\nkeep = ["helmet"]\n')
    name, table = presets._read(file)
    assert name == "mine" and "base" not in table
    assert table["redraw"]["direction"]["keep"] == ["helmet"]
    assert table["redraw"]["direction"]["wording"] == "scene" and table["redraw"]["steps"] == 25
    assert presets.tables()["sd15"]["redraw"]["direction"]["keep"] == []
    file.write_text('[mine]\nbase = "nothing"\n')
    with pytest.raises(InputError, match="expected base to be one of embedded, sd15"):
        presets.build(file)


def test_from_preset_builds_and_describes() -> None:
    anonymizer = Anonymizer.from_preset("embedded", seed=1, classes=["face"])
    told = anonymizer.describe()
    assert told["preset"] == "embedded"
    assert told["settings"]["classes"] == ["face"]
    assert {"detector", "edges", "inpaint", "centerface", "dlib-face", "ppocr"} <= set(told["models"])
    assert "seed" not in str(told)


def test_a_sensitivity_moves_thresholds_and_enters_the_settings() -> None:
    table = presets.tables()["embedded"]
    low, normal, high = (presets._sensitive("embedded", table, name)["detect"] for name in ("low", "normal", "high"))
    assert low["treat_from"]["person"] > normal["treat_from"]["person"] > high["treat_from"]["person"]
    assert low["plate_from"]["elsewhere"]["platedet"] > high["plate_from"]["elsewhere"]["platedet"]
    assert normal["plate_from"] == table["detect"]["plate_from"] and "sensitivity" not in normal
    with pytest.raises(InputError, match="expected one of high, normal, low"):
        presets.build("embedded", sensitivity="highest")
    with pytest.raises(InputError, match="states no thresholds for high"):
        presets._sensitive("sd15", presets.tables()["sd15"], "high")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mine.redraw]\nstepz = 3\n", r"redraw: unknown setting 'stepz'; did you mean 'steps'\?"),
        ("[mine.detect]\nperson = 1.5\n", r"detect\.person: input should be less than or equal to 1, got 1\.5"),
        ("[mine.redraw.crops]\nperson = { height = 192 }\n", r"redraw\.crops\.person\.\w+ is missing"),
        ('[mine.detect]\nscrfd = "scrfd-10g"\n', "scrfd needs scrfd_score beside it"),
        ("[mine.detect.sensitivity.high]\ntreat = 1\n", "unknown setting 'treat'; did you mean 'treat_from'"),
        ('[mine.detect]\ndetector = "nothing"\n', r"detect\.detector: .*got 'nothing'"),
    ],
)
def test_slips_of_the_pen_are_named_with_what_was_expected(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[mine]\nbase = "embedded"\n' + text)
    with pytest.raises(InputError, match=words):
        presets.build(file)


class Nobody:
    """A detector that finds nothing."""

    def detect(self, image: np.ndarray) -> tuple[Instance, ...]:
        return ()


def test_parts_of_ones_own_take_the_place_of_the_presets_and_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand = Anonymizer.from_preset("embedded", seed=1, detector=Nobody())
    assert by_hand.describe()["parts"]["detector"].endswith(":Nobody")
    (tmp_path / "street_parts.py").write_text("class Mine:\n    def detect(self, image):\n        return ()\n")
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "mine.toml"
    file.write_text('[mine]\nbase = "embedded"\n[mine.detect]\ndetector = "street_parts:Mine"\n')
    by_name = presets.build(file, seed=1)
    picture = np.full((40, 60, 3), 90, np.uint8)
    for anonymizer in (by_hand, by_name):
        assert anonymizer(picture).instances == ()
    assert "detector" not in by_name.describe()["models"] and "centernet" not in by_name.describe()["models"]


@pytest.mark.parametrize(("name", "words"), [("no_such_module:Mine", "got No module"), ("json:JSONDecoder", "detect")])
def test_what_is_no_part_is_refused(tmp_path: Path, name: str, words: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'[mine]\nbase = "embedded"\n[mine.detect]\ndetector = "{name}"\n')
    with pytest.raises(InputError, match=f"part '{name}'.*{words}"):
        presets.build(file)
