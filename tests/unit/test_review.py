"""The review without a browser: what the desk tells and does, and whom the server answers."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from anonymizer import cli
from anonymizer.core.errors import InputError
from anonymizer.images.release import Release
from anonymizer.review import Desk
from anonymizer.review.doubt import doubt
from anonymizer.run.audit import audit
from anonymizer.run.local import run
from anonymizer.run.output import OutputFolder
from anonymizer.run.request import Request

from .fakes import FakeAnonymizer, rejection

STATIC = Path(cli.__file__).parents[1] / "review/static"
BOX: dict[str, Any] = {"label": "person", "bbox": [20, 10, 8, 12]}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for index, name in enumerate(["a.png", "b.png", "c.png"]):
        pixels = np.random.default_rng(index).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    fake = FakeAnonymizer()
    fake.raises = {"c.png": rejection()}
    run(fake, Request(tmp_path / "in", tmp_path / "out"))
    return tmp_path


@pytest.fixture
def desk(place: Path) -> Desk:
    return Desk(place / "out", "Ana", place / "in")


def decide(desk: Desk, name: str, decision: str, **fields: Any) -> dict[str, Any]:
    return desk.decide({"name": name, "decision": decision, "seen": desk.picture(name)["seen"], **fields})


def states(desk: Desk) -> dict[str, str]:
    return {picture["name"]: picture["state"] for picture in desk.overview()["pictures"]}


def instance(**fields: Any) -> dict[str, Any]:
    return {"source": "yolo", "score": 0.9, "action": "redrawn", "attempts": 1} | fields


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ([], [instance()]),
        ([instance(score=0.9)], [instance(score=0.4)]),
        ([instance()], [instance(action="redacted", attempts=0)]),
        ([instance()], [instance(attempts=3)]),
        ([instance(score=0.05, action="redacted")], [instance(second_pass=True)]),
        ([instance(source="given:review", score=0.1)], [instance(score=0.5)]),
    ],
)
def test_what_is_more_doubtful_comes_first(less: list[Any], more: list[Any]) -> None:
    first, second = (doubt({"status": "released", "instances": instances})[0] for instances in (more, less))
    assert first > second
    assert doubt({"status": "quarantined"})[0] > first


def test_reasons_for_doubt_are_told() -> None:
    found = [instance(score=0.31, action="redacted", second_pass=True), instance(attempts=2)]
    assert doubt({"status": "released", "instances": found})[1] == [
        "1 only in second pass",
        "lowest score 0.31",
        "1 filled",
        "2 attempts",
    ]
    assert doubt({"status": "released", "instances": []})[1] == ["nothing found"]


def test_the_overview_begins_with_what_was_withheld(desk: Desk) -> None:
    told = desk.overview()
    assert [picture["name"] for picture in told["pictures"]] == ["c.png", "a.png", "b.png"]
    assert states(desk) == {"a.png": "unsigned", "b.png": "unsigned", "c.png": "withheld"}
    assert (told["originals"], told["output"], told["reviewer"]) == (True, "out", "Ana")


def test_a_mark_withdraws_the_picture_and_a_run_brings_it_back(place: Path, desk: Desk) -> None:
    told = decide(desk, "a.png", "missed", **BOX)
    assert told["state"] == "open"
    assert not (place / "out/images/a.png").exists()
    assert Image.open(io.BytesIO(desk.result("a.png"))).size == (32, 24)
    with pytest.raises(InputError, match="cannot be signed; run again first"):
        decide(desk, "a.png", "accept")
    run(FakeAnonymizer(), Request(place / "in", place / "out"))
    assert states(desk)["a.png"] == "unsigned"
    assert [i["source"] for i in desk.picture("a.png")["instances"]] == ["given:review"]
    assert decide(desk, "a.png", "accept")["signed"] == "Ana"
    assert states(desk)["a.png"] == "signed"
    assert audit(place / "out").clean


def test_a_decision_on_a_picture_that_was_made_anew_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="made it anew since it was shown"):
        desk.decide({"name": "a.png", "decision": "accept", "seen": "0" * 64})


def test_while_a_run_is_at_work_nothing_is_decided(place: Path, desk: Desk) -> None:
    with OutputFolder(place / "out"), pytest.raises(InputError, match="in use by another run"):
        decide(desk, "a.png", "accept")
    assert not (place / "out/review.jsonl").exists()


def test_only_what_the_run_wrote_is_signed(place: Path, desk: Desk) -> None:
    Image.new("RGB", (32, 24)).save(place / "out/images/a.png")
    with pytest.raises(InputError, match="is not the file that the run wrote"):
        decide(desk, "a.png", "accept")
    with pytest.raises(InputError, match="is not the file that the run wrote"):
        desk.result("a.png")
    with pytest.raises(InputError, match="cannot be signed"):
        decide(desk, "c.png", "accept")


def test_wishes_are_about_instances_of_the_picture(place: Path, desk: Desk) -> None:
    with pytest.raises(InputError, match="has no instance 9"):
        decide(desk, "a.png", "fill", instance=9)
    told = decide(desk, "a.png", "fill", instance=1)
    (line,) = told["decisions"]
    assert (line["label"], line["bbox"], line["reviewer"]) == ("person", [0, 0, 16, 12], "Ana")
    assert decide(desk, "a.png", "undo", of=line["number"])["state"] == "unsigned"
    assert (place / "out/images/a.png").exists()


def test_a_wish_points_to_where_the_original_showed_it(place: Path) -> None:
    class Moving(FakeAnonymizer):
        def __call__(self, image: Any, instances: Any = None, *, key: str = "") -> Any:
            result = super().__call__(image, instances, key=key)
            (done,) = result.treatments
            return replace(result, treatments=(replace(done, found=(2.0, 1.0, 12.0, 9.0)),))

    run(Moving(), Request(place / "in", place / "moved"))
    desk = Desk(place / "moved", "Ana")
    (line,) = decide(desk, "a.png", "fill", instance=1)["decisions"]
    assert line["bbox"] == [2.0, 1.0, 10.0, 8.0]


def test_decisions_are_written_in_pixels_of_the_source(place: Path) -> None:
    Image.new("RGB", (128, 96), "grey").save(place / "in/a.png")
    run(FakeAnonymizer(), Request(place / "in", place / "small", release=Release(max_side=64)))
    desk = Desk(place / "small", "Ana", place / "in")
    assert desk.picture("a.png")["size"] == [48, 64]
    told = decide(desk, "a.png", "missed", label="face", bbox=[40, 30, 10, 6])
    told = decide(desk, "a.png", "missed", label="face", segmentation=[[1, 2, 20, 2, 20, 9]])
    told = decide(desk, "a.png", "fill", instance=1)
    assert [line.get("bbox") for line in told["decisions"]] == [[40, 30, 10, 6], None, [0, 0, 32, 24]]
    written = [json.loads(line) for line in (place / "small/review.jsonl").read_text().splitlines()]
    assert [line.get("bbox") for line in written] == [[80, 60, 20, 12], None, [0, 0, 64, 48]]
    assert written[1]["segmentation"] == [[2, 4, 40, 4, 40, 18]]
    run(FakeAnonymizer(), Request(place / "in", place / "small", release=Release(max_side=64)))
    assert desk.picture("a.png")["instances"][0]["box"] == [40, 30, 50, 36]
    with pytest.raises(InputError, match="in numbers, got neither"):
        decide(desk, "b.png", "missed", label="face", bbox=[1, 2, "x", 4])


def test_undone_wishes_leave_the_picture(place: Path, desk: Desk) -> None:
    (line,) = decide(desk, "a.png", "redraw", instance=1)["decisions"]
    assert not (place / "out/images/a.png").exists()
    decide(desk, "a.png", "undo", of=line["number"])
    assert (place / "out/images/a.png").exists()


def test_classes_that_the_run_does_not_treat_cannot_be_marked(place: Path) -> None:
    class Faces(FakeAnonymizer):
        def describe(self) -> Any:
            return {"settings": {"classes": ["person", "face"], "people": "face"}}

    run(Faces(), Request(place / "in", place / "faces"))
    desk = Desk(place / "faces", "Ana")
    assert desk.picture("a.png")["classes"] == ["face"]
    with pytest.raises(InputError, match="the run treats face only"):
        decide(desk, "a.png", "missed", **BOX)


def test_originals_are_shown_while_input_is_given_and_never_kept(place: Path, desk: Desk) -> None:
    before = set((place / "out").rglob("*"))
    assert desk.original("a.png").startswith(b"\xff\xd8")
    assert desk.thumbnail("c.png").startswith(b"\xff\xd8")
    assert desk.picture("c.png")["size"] == [24, 32]
    assert set((place / "out").rglob("*")) == before
    blind = Desk(place / "out", "Ana")
    for call in (blind.original, blind.thumbnail):
        with pytest.raises(InputError, match="original is not at hand"):
            call("c.png")
    Image.new("RGB", (32, 24)).save(place / "in/a.png")
    with pytest.raises(InputError, match="its original has changed since the run"):
        desk.original("a.png")


def test_what_could_not_be_read_is_no_thumbnail_and_no_accident(place: Path) -> None:
    (place / "in/bad.png").write_bytes(b"no picture")
    run(FakeAnonymizer(), Request(place / "in", place / "out"))
    desk = Desk(place / "out", "Ana", place / "in")
    assert (states(desk)["bad.png"], desk.picture("bad.png")["size"]) == ("withheld", None)
    for call in (desk.thumbnail, desk.original):
        with pytest.raises(InputError, match="not a picture"):
            call("bad.png")


def test_originals_are_found_under_hashed_names(place: Path) -> None:
    run(FakeAnonymizer(), Request(place / "in", place / "hashed", release=Release(rename=True)))
    desk = Desk(place / "hashed", "Ana", place / "in")
    names = [picture["name"] for picture in desk.overview()["pictures"]]
    assert len(names) == 3 and not any(name.startswith("a") and len(name) < 10 for name in names)
    shown = {desk.original(name) for name in names}
    assert len(shown) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere", "Ana"), "expected the folder of a run"),
        (("s3://bucket/out", "Ana"), "expected a folder on this machine"),
        (("out", " "), "expected a name"),
        (("out", "Ana", "other"), "holds none of the 3 pictures"),
    ],
)
def test_what_cannot_be_reviewed_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(place)
    (place / "other").mkdir()
    Image.new("RGB", (8, 8)).save(place / "other/z.png")
    with pytest.raises(InputError, match=message):
        Desk(*arguments)


def test_a_broken_ledger_or_review_is_not_shown(place: Path, desk: Desk) -> None:
    decide(desk, "a.png", "accept")
    review = place / "out/review.jsonl"
    kept = review.read_text()
    review.write_text(kept.replace('"number": 1', '"number": 7'))
    with pytest.raises(InputError, match="does not follow"):
        desk.overview()
    review.write_text(kept)
    assert states(desk)["a.png"] == "signed"
    ledger = place / "out/ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text(lines[1] + lines[0])
    with pytest.raises(InputError, match="chain of lines is broken"):
        Desk(place / "out", "Ana")


def test_the_command_says_what_is_wrong_on_one_line(place: Path) -> None:
    result = CliRunner().invoke(cli.app, ["review", str(place / "nowhere"), "--reviewer", "Ana"])
    assert isinstance(result.exception, InputError)
    missing = CliRunner().invoke(cli.app, ["review", str(place / "out")])
    assert missing.exit_code == 2 and "--reviewer" in missing.output


class TestServer:
    """Answers of the server, to the page and to others."""

    @pytest.fixture
    def client(self, desk: Desk) -> Any:
        pytest.importorskip("starlette", reason="the extra review is not installed")
        from starlette.testclient import TestClient

        from anonymizer.review.server import make_app

        return TestClient(make_app(desk, "token", 4321), base_url="http://127.0.0.1:4321")

    def test_the_page_and_its_parts_are_served_with_a_policy(self, client: Any) -> None:
        page = client.get("/token/")
        assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
        assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert page.headers["cache-control"] == "no-store"
        for name in re.findall(r'(?:href|src)="([^"]+)"', page.text):
            assert client.get(f"/token/{name}").status_code == 200

    def test_every_file_of_the_page_is_served(self, client: Any) -> None:
        from anonymizer.review.server import STATIC as SERVED

        assert {path.name for path in STATIC.iterdir()} == set(SERVED)

    @pytest.mark.parametrize(
        ("path", "headers"),
        [
            ("/", {}),
            ("/wrong/", {}),
            ("/token", {"host": "evil.example:4321"}),
            ("/token/", {"host": "127.0.0.1:80"}),
            ("/token/api/overview", {"origin": "http://evil.example"}),
            ("/wrong/thumbnail?name=a.png", {}),
        ],
    )
    def test_whoever_lacks_token_or_host_gets_nothing(self, client: Any, path: str, headers: dict[str, str]) -> None:
        answer = client.get(path, headers=headers)
        assert answer.status_code == 403
        assert "a.png" not in answer.text and "content-security-policy" in answer.headers

    def test_pictures_are_jpeg_and_refusals_json(self, client: Any) -> None:
        for kind in ("thumbnail", "result", "original"):
            answer = client.get(f"/token/{kind}", params={"name": "a.png"})
            assert answer.headers["content-type"] == "image/jpeg" and answer.content.startswith(b"\xff\xd8")
        refused = client.get("/token/result", params={"name": "../../etc/passwd"})
        assert refused.status_code == 409 and "no picture of this OUTPUT" in refused.json()["error"]

    def test_a_decision_is_taken_as_json_only(self, client: Any, desk: Desk, place: Path) -> None:
        asked = {"name": "a.png", "decision": "accept", "seen": desk.picture("a.png")["seen"]}
        form = client.post("/token/api/decisions", content=json.dumps(asked), headers={"content-type": "text/plain"})
        assert form.status_code == 409
        foreign = client.post("/token/api/decisions", json=asked, headers={"origin": "http://evil.example"})
        assert foreign.status_code == 403
        for odd in ([1], {"name": "a.png"}, {"name": ["a"], "decision": {}}):
            assert client.post("/token/api/decisions", json=odd).status_code == 409
        large = client.post("/token/api/decisions", json={"comment": "x" * 300_000})
        assert large.status_code == 409
        assert not (place / "out/review.jsonl").exists()
        taken = client.post("/token/api/decisions", json=asked, headers={"origin": "http://127.0.0.1:4321"})
        assert taken.status_code == 200 and taken.json()["signed"] == "Ana"


def colours(css: str) -> tuple[dict[str, str], dict[str, str]]:
    parts = css.split("prefers-color-scheme")[:2]
    light, dark = (dict(re.findall(r"--([a-z_-]+): (#[0-9a-f]{6})", part)) for part in parts)
    return light, light | dark


def contrast(one: str, two: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_words_stand_out_from_their_ground_in_both_schemes() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for scheme in colours((STATIC / "review.css").read_text()):
        for ground in ("ground", "surface", "hover"):
            for word in ("text", "soft", "accent", "open", "withheld"):
                assert contrast(scheme[word], scheme[ground]) >= 4.5, (word, ground, scheme)
        assert contrast(scheme["on-accent"], scheme["accent"]) >= 4.5


def test_the_page_asks_nobody_else() -> None:
    for path in STATIC.iterdir():
        addresses = set(re.findall(r"https?://[^\"' )]+", path.read_text()))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path.name
