"""Hub presets on avatars, with random weights of the true classes: start, strength, masks, maps and words."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from anonymizer.config import presets, read_preset
from anonymizer.core.errors import InputError
from anonymizer.core.records import Image, Instance, Rendering
from anonymizer.redraw import loading
from anonymizer.redraw.crops import CropSetting, crop_box

diffusers: Any = importlib.import_module("diffusers")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SIZE = (96, 128)
#: A person, and the avatar in their place; a vehicle beside them.
PERSON, AVATAR, VEHICLE = (40, 8, 80, 88), (42, 10, 78, 86), (84, 40, 124, 80)
PICTURE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
WORDS = ("a woman with long brown hair", "a red knitted sweater", "blue trousers", "a black backpack")
PRESET = """[mine]
base = "{base}"
[mine.redraw]
steps = 4
attempts = {{ person = 1, vehicle = 1, face = 1, license_plate = 1 }}
[mine.redraw.crops]
person = {{ height = 64, width = 32, margin = 0.1 }}
vehicle = {{ height = 32, width = 32, margin = 0.1 }}
face = {{ height = 32, width = 32, margin = 0.3 }}
license_plate = {{ height = 32, width = 32, margin = 0.3 }}
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cache")
    spec = importlib.util.spec_from_file_location("made", ROOT / "benchmarks" / "make_random_pipeline.py")
    assert spec is not None and spec.loader is not None
    making = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(making)
    making.write(out, True, list(making.WRITERS))
    return out


@pytest.fixture(autouse=True)
def fetched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv("ANONYMIZER_MODELS", raising=False)


def found(number: int, label: str, box: tuple[int, int, int, int]) -> Instance:
    x1, y1, x2, y2 = box
    mask = np.ones((y2 - y1, x2 - x1), bool)
    mask[:40, :8] = mask[:40, -8:] = False  # what fills its box has no known outline
    return Instance(number, label, np.array(box, np.float32), mask, 0.9, "yolo", core=mask)


class Seer:
    """Finds a person, and a vehicle, in every picture."""

    def __init__(self, *labels: str) -> None:
        self._found = tuple(
            found(number, label, {"person": PERSON, "vehicle": VEHICLE}[label])
            for number, label in enumerate(labels, start=1)
        )

    def detect(self, image: Image) -> tuple[Instance, ...]:
        return self._found


class Artist:
    """Draws one avatar in one shade."""

    def __init__(self, shade: int) -> None:
        self.shade = shade

    def look(self, *arguments: Any) -> None:
        return None

    def begin(self, *arguments: Any, **named: Any) -> Callable[[], Rendering]:
        size = AVATAR[3] - AVATAR[1], AVATAR[2] - AVATAR[0]
        ones = np.ones(size, np.float32)
        rgb = np.full((*size, 3), self.shade, np.uint8)
        rgb[:, size[1] // 2 :] //= 2
        joints, parts = np.zeros((17, 3), np.float32), np.ones(size, np.uint8)
        made = Rendering(AVATAR, rgb, ones, ones, 0 * ones, joints, parts, 0.0, words=WORDS)
        return lambda: made


class Flat:
    """Sees no depth and no edges."""

    def estimate(self, image: Image, instances: Any = ()) -> np.ndarray:
        return np.zeros(image.shape[:2], np.float32)

    detect = estimate


@dataclass
class Asked:
    """What a pipeline was asked to paint, the side of a cell of its latent space, and the released picture."""

    calls: list[dict[str, Any]]
    prompts: list[str]
    stride: int
    image: Image


def run(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shade: int = 200, *labels: str, **parts: Any
) -> Asked:
    """Anonymize a picture with a preset, and record what its pipeline was asked."""
    file = tmp_path / "mine.toml"
    file.write_text(PRESET.format(base=base))
    classes = labels or ("person",)
    made = presets.build(
        file, classes=classes, seed=1, force=True, detector=Seer(*classes), artist=Artist(shade), **parts
    )
    pipeline_class = getattr(diffusers, loading.FAMILIES["sdxl" if "sdxl" in base else "sd15"][0])
    call, encode = pipeline_class.__call__, pipeline_class.encode_prompt
    asked = Asked([], [], 0, PICTURE)

    def called(self: Any, **named: Any) -> Any:
        asked.calls.append(named)
        asked.stride = self.vae_scale_factor
        return call(self, **named)

    def encoded(self: Any, *arguments: Any, **named: Any) -> Any:
        if named.get("prompt") is not None:
            asked.prompts.append(named["prompt"])
        return encode(self, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(pipeline_class, "__call__", called)
        patched.setattr(pipeline_class, "encode_prompt", encoded)
        result = made(PICTURE)
    assert [t.action for t in result.treatments] == ["redrawn"] * len(classes)
    asked.image = result.image
    return asked


def shown(asked: Asked) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return the one call, its picture in levels (h, w, 3) and its mask (h, w)."""
    (call,) = asked.calls
    return call, np.rint(call["image"].numpy()[0].transpose(1, 2, 0) * 255), call["mask_image"].numpy()[0, 0] > 0


def frame() -> tuple[int, int, int, int]:
    """Return where the avatar lies in its crop of 64 x 32."""
    x1, y1, x2, y2 = crop_box(np.array(AVATAR, np.float32), CropSetting(64, 32, 0.1), SIZE)
    scale = np.array([32 / (x2 - x1), 64 / (y2 - y1)] * 2)
    left, top, right, bottom = (np.array(AVATAR) - [x1, y1, x1, y1]) * scale
    return round(left), round(top), round(right), round(bottom)


@pytest.mark.parametrize(("base", "strength"), [("sd15", 0.7), ("sd15-lcm", 0.7), ("sdxl", 1.0), ("sdxl-lcm", 1.0)])
def test_start_strength_and_mask_of_an_avatar(
    base: str, strength: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = run(base, tmp_path, monkeypatch)
    call, levels, mask = shown(asked)
    left, top, right, bottom = frame()
    assert call["strength"] == strength
    if strength < 1:
        # The rendering, with its two shades side by side.
        middle = levels[top + 4 : bottom - 4]
        assert np.abs(middle[:, left + 3] - 200).max() <= 2 and np.abs(middle[:, right - 4] - 100).max() <= 2
    # Two cells of the latent space are painted beyond the avatar, and not all of the crop.
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    reach = 2 * asked.stride
    expected = (max(left - reach, 0), max(top - reach, 0), min(right + reach, 32), min(bottom + reach, 64))
    assert np.abs(np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) - expected).max() <= 1
    assert not mask.all()


@pytest.mark.parametrize("base", ["sd15", "sdxl"])
def test_maps_are_the_avatars_at_full_strength(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins for the estimators tell the avatar from the fill by its shades alone."""
    estimated: list[Image] = []

    class Depth:
        def estimate(self, image: Image, instances: Any = ()) -> np.ndarray:
            estimated.append(image)
            return np.asarray((image == 200).all(axis=2), np.float32)

    class Edges:
        def detect(self, image: Image) -> np.ndarray:
            return np.asarray((image == 100).all(axis=2), np.float32)

    call, _, _ = shown(run(base, tmp_path, monkeypatch, depth=Depth(), edges=Edges()))
    left, top, right, bottom = frame()
    depth, edges = (part.numpy()[0, 0] for part in call["control_image"])
    inside = np.s_[top + 3 : bottom - 3]
    assert depth[inside, left + 3].min() > 0.9 and depth[inside, right - 4].max() < 0.1
    assert edges[inside, right - 4].min() > 0.9 and edges[inside, left + 3].max() < 0.1
    assert call["controlnet_conditioning_scale"] == [1.0, 1.0]
    # Of the original, depth serves the order alone; what steers is estimated of the filled picture with the avatar.
    x1, y1, x2, y2 = PERSON
    same = (estimated[-1][y1:y2, x1:x2] == PICTURE[y1:y2, x1:x2]).all(axis=2)
    assert not same[found(1, "person", PERSON).mask].any()


def test_from_noise_no_pixel_of_the_rendering_reaches_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = {"depth": Flat(), "edges": Flat()}
    dark, light = (run("sdxl", tmp_path, monkeypatch, shade, **flat).image for shade in (40, 240))
    assert np.array_equal(dark, light)
    dark, light = (run("sd15", tmp_path, monkeypatch, shade, **flat).image for shade in (40, 240))
    assert not np.array_equal(dark, light)


@pytest.mark.parametrize("base", ["sd15", "sdxl"])
def test_prompts_name_the_avatars_own_clothes(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (prompt,) = run(base, tmp_path, monkeypatch).prompts
    assert prompt.startswith("photo of a woman with long brown hair, a red knitted sweater, blue trousers, a black")


def test_the_models_pixels_show_where_the_avatar_is_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = run("sd15", tmp_path, monkeypatch)
    x1, y1, x2, y2 = AVATAR
    assert np.abs(asked.image[y1 + 4 : y2 - 4, x1 + 4 : x2 - 4].astype(int) - 200).mean() > 5
    untouched = np.ones(SIZE, bool)
    untouched[max(PERSON[1] - 12, 0) : PERSON[3] + 12, PERSON[0] - 12 : PERSON[2] + 12] = False
    assert np.array_equal(asked.image[untouched], PICTURE[untouched])


def test_a_vehicle_keeps_the_shape_that_the_fill_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Depth:
        def estimate(self, image: Image, instances: Any = ()) -> np.ndarray:
            # The original's depth is known by its pixels: bright where it is the original.
            return np.asarray((image == PICTURE).all(axis=2), np.float32)

    class Edges:
        """Remembers what it was shown."""

        shown: ClassVar[list[Image]] = []

        def detect(self, image: Image) -> np.ndarray:
            self.shown.append(image)
            return np.zeros(image.shape[:2], np.float32)

    asked = run("sd15", tmp_path, monkeypatch, 200, "person", "vehicle", depth=Depth(), edges=Edges())
    inside = np.s_[PERSON[1] + 44 : PERSON[3], PERSON[0] + 12 : PERSON[2] - 12]
    assert Edges.shown
    assert all((image[inside] != PICTURE[inside]).any(axis=2).mean() > 0.9 for image in Edges.shown), "of nobody"
    (person,), (vehicle,) = ([c for c in asked.calls if c["strength"] == s] for s in (0.7, 1.0))
    maps = vehicle["control_image"][0].numpy()[0, 0]
    assert maps[8:24, 8:24].mean() > 0.9
    left, top, right, bottom = frame()
    assert person["control_image"][0].numpy()[0, 0][top + 3 : bottom - 3, left + 3 : right - 3].max() < 0.1


def test_the_papers_presets_have_no_avatars(tmp_path: Path) -> None:
    assert not read_preset("paper", presets.tables()["paper-people"]).redraw.has_avatars
    assert all(read_preset(n, presets.tables()[n]).redraw.has_avatars for n in ("embedded", "sd15", "sdxl"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"start": "pure"}, "start"),
        ({"start": "noise", "shading": True}, "shading is laid over renderings"),
        ({"strength": {}}, "avatar needs strength.person"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change: dict[str, Any], words: str) -> None:
    table = presets.tables()["sd15"]
    with pytest.raises(InputError, match=words):
        read_preset("mine", table | {"redraw": table["redraw"] | change})


def test_avatars_without_poses_are_refused() -> None:
    table = presets.tables()["sd15"]
    detect = {key: value for key, value in table["detect"].items() if key != "body"}
    with pytest.raises(InputError, match="expected|detect.body"):
        read_preset("mine", table | {"detect": detect})
    guarded = table["redraw"] | {"start": "guarded"}
    assert not read_preset("mine", table | {"detect": detect, "redraw": guarded}).redraw.has_avatars
