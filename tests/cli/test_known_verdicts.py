"""Known verdicts: pictures whose treatment is known go through ``anonymizer evaluate``, and the verdict must be theirs.

Each case is built here from people of coloured stripes. Whatever is drawn (who is left untouched, what is swapped,
noise) is drawn from three seeds. The judge is a small copy of what is in the box, so that a case takes seconds.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image as Pillow

from anonymizer import cli
from anonymizer.core.records import Floats, Image, Instance, Mask
from anonymizer.evaluation import runner
from anonymizer.evaluation.judges import Judges
from tests.unit.evaluation import SIZE, album, picture

SEEDS = (0, 1, 2)
SCHEMA = Draft202012Validator(json.loads(files("anonymizer.evaluation").joinpath("evaluation.schema.json").read_text()))
#: Where the person is, and where a redraw would reach: hair and shoes beyond the box.
PERSON = slice(16, 80), slice(24, 72)
REGION = slice(8, 88), slice(16, 80)
Treat = Callable[[Image, np.random.Generator], Image]


class Nobody:
    """A detector that finds nobody: silhouettes have no part in these cases."""

    def detect(self, image: Image) -> tuple[Instance, ...]:
        return ()


class Looks:
    """Describes whoever is in a box by a small copy of it: all that these people differ in."""

    name, label, sha256, licence, judge = "looks", "person", "1" * 64, "none", True

    def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
        import cv2

        x1, y1, x2, y2 = (int(v) for v in box)
        small = cv2.resize(image[y1:y2, x1:x2], (8, 16), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
        small = np.append(small - 128, 1)  # never of length 0
        return np.asarray(small / np.linalg.norm(small), np.float32)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "outline_detector", Nobody)
    monkeypatch.setattr(runner, "ColourShapeEmbedder", Looks)


def blurred(image: Image, rng: np.random.Generator) -> Image:
    import cv2

    out = image.copy()
    out[PERSON] = cv2.GaussianBlur(image, (0, 0), 5.5)[PERSON]
    return out


def black(where: tuple[slice, slice]) -> Treat:
    def treat(image: Image, rng: np.random.Generator) -> Image:
        out = image.copy()
        out[where] = 0
        return out

    return treat


def somebody_else(image: Image, rng: np.random.Generator) -> Image:
    """Return the picture with a person of other, random colours: what a redraw does."""
    out = image.copy()
    # Stripes upright, not lying: edges at the same places would be the original's texture.
    stripes = rng.integers(0, 256, (1, 6, 3)).repeat(8, axis=1) + rng.integers(-12, 13, (64, 48, 3))
    out[PERSON] = np.clip(stripes, 0, 255).astype(np.uint8)
    return out


def as_it_is(image: Image, rng: np.random.Generator) -> Image:
    return image


def case(root: Path, seed: int, treat: Treat = somebody_else, people: int = 30, suffix: str = ".png") -> Path:
    """Write originals and what ``treat`` makes of them."""
    originals, released, _ = album(root, people)
    rng = np.random.default_rng(seed)
    for path in sorted(originals.iterdir()):
        treated = treat(np.asarray(Pillow.open(path)), rng)
        (released / path.name).unlink()
        Pillow.fromarray(treated).save((released / path.name).with_suffix(suffix), quality=85)
    return root


def verdict(root: Path, capfd: pytest.CaptureFixture[str], *more: str, code: int = 0) -> dict[str, Any]:
    """Evaluate and return the whole document, checked against what was printed."""
    arguments = ["--out", str(root / "out"), "--annotations", str(root / "annotations.json"), "--no-utility"]
    arguments += ["--attacks", "aligned,parrot", "--baselines", "solid", "--recognizer", "dlib"]
    came = cli.main(["evaluate", str(root / "originals"), str(root / "released"), *arguments, *more])
    out, err = capfd.readouterr()
    assert came == code, err
    document = json.loads((root / "out" / "evaluation.json").read_text())
    assert out.startswith("Verdict: ")
    SCHEMA.validate(document)
    return dict(document)


def rules(document: dict[str, Any]) -> dict[str, int]:
    return {stop["rule"]: stop["count"] for stop in document["verdict"]["stops"]}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plain_copy_is_stopped(tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int) -> None:
    document = verdict(case(tmp_path, seed, as_it_is), capfd, "--fail-on", "leak", "--seed", str(seed), code=4)
    assert document["verdict"]["state"] == "stop"
    assert rules(document) == {"the original's pixels": 60, "untouched": 60}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_copy_of_four_pictures_of_two_people_is_stopped(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int
) -> None:
    document = verdict(case(tmp_path, seed, as_it_is, people=2), capfd, "--seed", str(seed))
    assert document["verdict"]["state"] == "stop"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_copy_saved_anew_is_stopped(tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int) -> None:
    document = verdict(case(tmp_path, seed, as_it_is, suffix=".jpg"), capfd, "--seed", str(seed))
    assert document["verdict"]["state"] == "stop"
    assert rules(document) == {"untouched": 60}
    (persons,) = document["verdict"]["classes"]
    assert persons["strongest"]["corrected"] < 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_one_untouched_of_twelve_is_stopped(tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int) -> None:
    case(tmp_path, seed, black(PERSON), people=12)
    who = int(np.random.default_rng(seed).integers(12))
    Pillow.fromarray(picture(who, 0)).save(tmp_path / "released" / f"p{who}_0.png")
    document = verdict(tmp_path, capfd)
    assert document["verdict"]["state"] == "stop"
    assert rules(document) == {"the original's pixels": 1, "untouched": 1}
    assert document["verdict"]["stops"][1]["first"] == [f"p{who}_0.png#0"]


@pytest.mark.parametrize("seed", SEEDS)
def test_six_of_twelve_cropped_are_stopped(tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int) -> None:
    case(tmp_path, seed, black(PERSON), people=12)
    for who in np.random.default_rng(seed).permutation(12)[:6].tolist():
        Pillow.fromarray(picture(who, 0)[: SIZE - 1]).save(tmp_path / "released" / f"p{who}_0.png")
    document = verdict(tmp_path, capfd)
    assert document["verdict"]["state"] == "stop" and rules(document) == {"different sizes": 6}
    # Resized on demand they take part, and what is in them is seen.
    resized = verdict(tmp_path, capfd, "--resize-to-original")
    assert rules(resized) == {"untouched": 6} and resized["inputs"]["pairs"] == 24
    assert any("6 released pictures have another size" in warning for warning in resized["warnings"])


@pytest.mark.parametrize("seed", SEEDS)
def test_swapped_pairs_are_stopped_and_leave_the_figures(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int
) -> None:
    case(tmp_path, seed)
    one, two = np.random.default_rng(seed).permutation(30)[:2].tolist()
    first, second = (tmp_path / "released" / f"p{who}_0.png" for who in (one, two))
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    document = verdict(tmp_path, capfd)
    assert document["verdict"]["state"] == "stop" and rules(document) == {"another scene": 2}
    assert document["inputs"]["pairs"] == 58
    assert {first.name, second.name} == set(document["inputs"]["problems"]["another scene"]["first"])


@pytest.mark.parametrize("seed", SEEDS)
def test_duplicates_are_stopped_and_leave_the_figures(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int
) -> None:
    case(tmp_path, seed)
    one, two = np.random.default_rng(seed).permutation(30)[:2].tolist()
    for folder in ("originals", "released"):
        held = (tmp_path / folder / f"p{one}_0.png").read_bytes()
        (tmp_path / folder / f"p{two}_0.png").write_bytes(held)
    document = verdict(tmp_path, capfd)
    assert document["verdict"]["state"] == "stop"
    assert rules(document) == {"a duplicate among the others": 1} and document["inputs"]["pairs"] == 59


@pytest.mark.parametrize("seed", SEEDS)
def test_a_judge_that_hashes_pixels_is_unable(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    class Hashes:
        """Knows a picture again by its very pixels alone."""

        name, label, sha256, licence, judge = "hashes", "person", "0" * 64, "none", True

        def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
            x1, y1, x2, y2 = (int(v) for v in box)
            rng = np.random.default_rng(np.ascontiguousarray(image[y1:y2, x1:x2]).view(np.uint8).ravel())
            vector = rng.normal(size=32)
            return np.asarray(vector / np.linalg.norm(vector), np.float32)

    monkeypatch.setattr(runner, "ColourShapeEmbedder", Hashes)
    document = verdict(case(tmp_path, seed, blurred), capfd, "--fail-on", "too-few", code=4)
    assert document["verdict"]["state"] == "unable"
    (persons,) = document["verdict"]["classes"]
    assert "saved anew" in dict(persons["unable"])["hashes"]


@pytest.mark.parametrize("seed", SEEDS)
def test_four_people_are_too_few_to_tell(tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int) -> None:
    document = verdict(case(tmp_path, seed, people=4), capfd, "--fail-on", "too-few", code=4)
    (persons,) = document["verdict"]["classes"]
    assert persons["state"] == "few" and persons["detectable"]["rate"] > 0.5
    assert persons["risk"]["at_most"] > 0.5
    for finding in document["findings"]:
        rank1 = finding["estimates"]["rank1"]
        if rank1["value"] is not None:
            assert rank1["high"] - rank1["low"] > 0.3, "four people are no certainty"


@pytest.mark.parametrize("seed", SEEDS)
def test_blur_is_more_than_chance(tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int) -> None:
    document = verdict(case(tmp_path, seed, blurred), capfd, "--fail-on", "more-than-chance", code=4)
    assert document["verdict"]["state"] == "more" and not document["verdict"]["stops"]
    states = {light["question"]: light["state"] for light in document["verdict"]["lights"]}
    assert states == {"single out": "more", "link": "more", "infer": "unmeasured"}
    (persons,) = document["verdict"]["classes"]
    assert persons["risk"]["recognised"] > 15


def hair(image: Image, who: int) -> Image:
    """Return a picture with hair in a person's own colour above the box, within what a redraw replaces."""
    out = image.copy()
    out[8:16, 24:72] = np.random.default_rng([11, who]).integers(0, 256, 3)
    return out


def with_hair(root: Path, seed: int, where: tuple[slice, slice]) -> None:
    """Write people with hair, annotated by face boxes that reach to its root, black where it is said."""
    case(root, seed, as_it_is)
    for path in sorted((root / "originals").iterdir()):
        pixels = hair(np.asarray(Pillow.open(path)), int(path.stem[1:].split("_")[0]))
        Pillow.fromarray(pixels).save(path)
        Pillow.fromarray(black(where)(pixels, np.random.default_rng(seed))).save(root / "released" / path.name)
    annotations = json.loads((root / "annotations.json").read_text())
    for record in annotations["annotations"]:
        record["bbox"] = [24, 4, 48, 76]  # the box as the annotator drew it, hair and all
    (root / "annotations.json").write_text(json.dumps(annotations))


@pytest.mark.parametrize("seed", SEEDS)
def test_black_on_less_than_the_person_is_more_than_chance(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int
) -> None:
    with_hair(tmp_path, seed, PERSON)
    document = verdict(tmp_path, capfd)
    assert document["verdict"]["state"] == "more"
    assert next(li["state"] for li in document["verdict"]["lights"] if li["question"] == "link") == "more"


@pytest.mark.parametrize("seed", SEEDS)
def test_black_on_the_whole_region_is_not_told_from_chance(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int
) -> None:
    with_hair(tmp_path, seed, (slice(0, 88), slice(16, 80)))
    document = verdict(tmp_path, capfd)
    assert document["verdict"]["state"] == "chance"


@pytest.mark.parametrize("seed", SEEDS)
def test_somebody_else_is_not_told_from_chance(tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int) -> None:
    document = verdict(case(tmp_path, seed), capfd, "--fail-on", "too-few")
    (persons,) = document["verdict"]["classes"]
    assert document["verdict"]["state"] == persons["state"] == "chance"
    assert persons["detectable"]["rate"] <= 0.25 and not document["verdict"]["stops"]
    assert 0 < persons["risk"]["at_most"] < 0.4


def test_outputs_of_other_tools_are_paired_by_suffix_or_table(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case(tmp_path, 0, people=6)
    for path in sorted((tmp_path / "released").iterdir()):
        path.rename(path.with_stem(f"{path.stem}_anonymized"))
    assert verdict(tmp_path, capfd, "--suffix", "_anonymized")["inputs"]["pairs"] == 12
    table = tmp_path / "pairs.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([f"p{n}_0.png", f"p{n}_0_anonymized.png"] for n in range(6))
    document = verdict(tmp_path, capfd, "--pairs", str(table))
    assert document["inputs"]["pairs"] == 6
    assert rules(document) == {"released without an original": 6}


def test_rows_for_subjects_and_people_are_written_on_demand_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case(tmp_path, 0, people=4)
    without = verdict(tmp_path, capfd)
    assert without["subjects"] is None and not any(finding["people"] for finding in without["findings"])
    document = verdict(tmp_path, capfd, "--subjects")
    assert len(document["subjects"]) == 8 and document["subjects"][0]["identity"] == "person 0"
    (people,) = (
        f["people"]
        for f in document["findings"]
        if (f["attack"], f["variant"], f["recognizer"]) == ("parrot", "original", "looks")
    )
    assert [row[0] for row in people] == [f"person {n}" for n in range(4)] and all(row[3] == 2 for row in people)


def test_masks_say_what_was_treated(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    case(tmp_path, 0, black(REGION), people=6)
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in (tmp_path / "originals").iterdir():
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[REGION] = 255
        Pillow.fromarray(mask).save(masks / path.name)
    document = verdict(tmp_path, capfd, "--regions", str(masks), "--baselines", "solid,solid-region")
    metrics = {
        finding["variant"]: finding["estimates"]["rank1"]
        for finding in document["findings"]
        if finding["attack"] == "parrot" and finding["recognizer"] == "looks"
    }
    # Black on the same region gives the same picture, and so the same value.
    assert metrics["solid-region"]["value"] == metrics["anonymized"]["value"]
    assert "treated" in next(v["strength"] for v in document["variants"] if v["name"] == "solid-region")


def test_a_group_that_is_left_out_shows_in_its_own_row(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Every third person is only blurred; the mean over all hides that, the row of the group does not."""
    case(tmp_path, 0)
    for who in range(0, 30, 3):
        for view in (0, 1):
            Pillow.fromarray(blurred(picture(who, view), np.random.default_rng(0))).save(
                tmp_path / "released" / f"p{who}_{view}.png"
            )
    annotations = json.loads((tmp_path / "annotations.json").read_text())
    for record in annotations["annotations"]:
        record["attributes"] = {"skin": "dark" if int(record["identity"].split()[1]) % 3 == 0 else "light"}
    (tmp_path / "annotations.json").write_text(json.dumps(annotations))
    document = verdict(tmp_path, capfd, "--group-by", "skin")
    (groups,) = (
        finding["groups"]
        for finding in document["findings"]
        if (finding["attack"], finding["variant"], finding["recognizer"]) == ("aligned", "anonymized", "looks")
        and finding["mode"] == "other"
    )
    assert groups["dark"]["rank1"]["value"] > 0.8 and groups["light"]["rank1"]["value"] < 0.2
    assert groups["dark"]["rank1"]["count"] == 20 and groups["light"]["people_recognised"]["count"] == 20
    assert document["verdict"]["state"] == "more"


def test_a_group_that_nobody_is_annotated_with_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    case(tmp_path, 0, people=4)
    arguments = ["--out", str(tmp_path / "out"), "--annotations", str(tmp_path / "annotations.json")]
    folders = [str(tmp_path / "originals"), str(tmp_path / "released")]
    assert cli.main(["evaluate", *folders, *arguments, "--group-by", "skin"]) == 2
    _, err = capfd.readouterr()
    assert "group-by 'skin': expected annotations with this attribute" in err and "Traceback" not in err


class Hue:
    """Takes reddish faces for one class and bluish ones for the other."""

    name, label, sha256, licence, judge, attribute = "hue (sex)", "face", "2" * 64, "none", True, "sex"

    def embed(self, image: Image, box: Floats, landmarks: Floats | None, mask: Mask | None) -> Floats:
        x1, y1, x2, y2 = (int(v) for v in box)
        red, _, blue = image[y1:y2, x1:x2].reshape(-1, 3).mean(axis=0)
        return np.array([red - blue], np.float32)

    def read(self, outputs: Floats) -> np.ndarray:
        return (outputs[:, 0] > 0).astype(np.float64)


@pytest.mark.parametrize(("treat", "state"), [(blurred, "more"), (somebody_else, "few")])
def test_what_a_network_takes_people_for_is_inferred_from_blur_and_not_from_somebody_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, treat: Treat, state: str
) -> None:
    monkeypatch.setattr(Judges, "predictors", lambda self: (Hue(),))
    monkeypatch.setattr(runner, "choose", lambda *arguments: ((), ()))  # nobody describes faces: no probes
    case(tmp_path, 0, treat)
    annotations = json.loads((tmp_path / "annotations.json").read_text())
    annotations["categories"][0]["name"] = "face"
    for record in annotations["annotations"]:
        record["keypoints"] = [40, 40, 56, 40, 48, 48, 42, 60, 54, 60]  # known, so that nobody looks for them
    (tmp_path / "annotations.json").write_text(json.dumps(annotations))
    document = verdict(tmp_path, capfd, "--attacks", "attributes")
    (light,) = (light for light in document["verdict"]["lights"] if light["question"] == "infer")
    # Of 30 people half would have to be read to be told from chance: too few to clear anybody.
    assert light["state"] == state and light["attacks"] == ["attributes"]
    assert {control["judge"]: control["able"] for control in document["controls"]} == {"hue (sex)": True}
