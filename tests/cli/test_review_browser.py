"""The review in a real browser: look, mark, redo, sign, verify."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonymizer.core.records import Image as Pixels
from anonymizer.core.records import Instance, Result
from anonymizer.run.ledger import SCHEMA_VERSION, START, chained, line_digest
from anonymizer.run.local import run
from anonymizer.run.request import Request

pytest.importorskip("selenium", reason="the extra test is not installed: no selenium")
pytest.importorskip("uvicorn", reason="the extra review is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="no Chromium with its driver: apt-get install chromium chromium-driver",
    ),
    # Selenium leaves closing its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--window-size=1440,900")
#: Seconds until something counts as not happening, on a busy machine.
PATIENCE = 60.0
LOADED = "return [...document.querySelectorAll('.frame img[src]')].every((image) => image.naturalWidth === 360)"


class Finder:
    """Finds the upper left quarter, and paints that and what is given in colours of noise."""

    settings_hash = "settings"

    def describe(self) -> dict[str, Any]:
        return {"preset": "fake"}

    def __call__(self, image: Pixels, instances: tuple[Instance, ...] | None = None, *, key: str = "") -> Result:
        from anonymizer.core.geometry import full_mask
        from anonymizer.core.records import Treatment, Verdict

        height, width = image.shape[:2]
        own = Instance(1, "person", np.array([0, 0, width // 2, height // 2], np.float32), score=0.4, source="fake")
        every = (own, *(Instance(n, i.label, i.box, i.mask, source=i.source) for n, i in enumerate(instances or (), 2)))
        out, treated = image.copy(), np.zeros((height, width), bool)
        for one in every:
            treated |= full_mask(one, (height, width))
        out[treated] = np.random.default_rng(len(every)).integers(0, 256, (int(treated.sum()), 3), dtype=np.uint8)
        verdicts = [Verdict("pixels_replaced", True, 1.0, 0.5, one.id) for one in every]
        treatments = tuple(Treatment(one.id, "redrawn", 1) for one in every)
        return Result(out, every, treatments, (*verdicts, Verdict("second_pass", True)), treated)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for index, name in enumerate(["a.png", "b <i>.png", "c.png"]):
        pixels = np.random.default_rng(index).integers(90, 160, (240, 360, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    run(Finder(), Request(tmp_path / "in", tmp_path / "out"))
    return tmp_path


@pytest.fixture
def review() -> Iterator[Callable[..., str]]:
    """Start ``anonymizer review`` and give its link."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> str:
        command = [sys.executable, "-m", "anonymizer", "review", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Review: http://127.0.0.1:"), line
        return line.split()[1]

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 0
        assert process.stdout is not None
        process.stdout.close()


class Page:
    """A browser at a link."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def wait(self, what: Callable[[], Any], told: str) -> Any:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if value := what():
                return value
            time.sleep(0.1)
        raise AssertionError(f"expected {told}; the page says: {self.text()[:600]}")

    def text(self) -> str:
        return str(self.driver.execute_script("return document.body.innerText"))

    def says(self, words: str) -> None:
        self.wait(lambda: words in self.text(), repr(words))

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def count(self, selector: str) -> int:
        return int(self.driver.execute_script("return document.querySelectorAll(arguments[0]).length", selector))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw from one place to another, both in shares of the picture."""
        from selenium.webdriver.common.action_chains import ActionChains

        (frame,) = self.all(".drawing")
        width, height = frame.size["width"], frame.size["height"]
        at = [(round((x - 0.5) * width), round((y - 0.5) * height)) for x, y in (start, end)]
        chain = ActionChains(self.driver).move_to_element_with_offset(frame, *at[0]).click_and_hold()
        chain.move_to_element_with_offset(frame, *at[1]).release().perform()

    def problems(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield Page(driver)
    finally:
        driver.quit()


def lines(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "review.jsonl").read_text().splitlines()]


def verify(output: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "anonymizer", "verify", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    return done.returncode, done.stdout


def test_a_missed_person_is_marked_redone_signed_and_verified(
    place: Path, review: Callable[..., str], page: Page
) -> None:
    output = place / "out"
    page.driver.get(review(str(output), "--reviewer", "Ana Ruiz", "--input", str(place / "in")))
    page.wait(lambda: page.count(".card") == 3, "three cards")
    page.says("0 of 3 signed")
    page.press("\ue014", "\ue007")  # Arrow right, Enter.
    page.says("Lowest score 0.40")
    assert page.count(".instance rect.line") == 1

    page.press("m")
    page.says("Draw a box")
    page.drag((0.6, 0.4), (0.8, 0.9))
    page.wait(lambda: page.count(".new rect.line") == 1, "a box")
    page.press("\ue007")
    page.says("Person was missed")
    page.says("Held back")
    (line,) = lines(output)
    assert (line["name"], line["decision"], line["label"], line["reviewer"]) == (
        "a.png",
        "missed",
        "person",
        "Ana Ruiz",
    )
    assert line["bbox"] == pytest.approx([216, 96, 72, 120], abs=3)
    assert not (output / "images/a.png").exists()
    assert verify(output)[0] == 1

    page.press("a")
    page.says("it can be signed after that")
    assert len(lines(output)) == 1

    summary = run(Finder(), Request(place / "in", output))
    assert (summary.released, summary.skipped) == (3, 2)
    # The page hears of the run by itself.
    page.wait(lambda: page.count(".instance rect.line") == 2, "a second instance")
    page.says("To review")
    page.wait(lambda: page.driver.execute_script(LOADED), "the new picture")
    page.press("a")
    page.says("a.png is signed")
    page.says("b <i>.png")
    assert [line["decision"] for line in lines(output)] == ["missed", "accept"]
    code, told = verify(output)
    assert code == 0
    assert "1 of 3 released pictures signed in review" in told
    # After the last one comes what is left at the beginning.
    page.press("\ue014")
    page.says("3 of 3")
    page.wait(lambda: page.driver.execute_script(LOADED), "the last picture")
    page.press("a")
    page.says("c.png is signed")
    page.says("2 of 3")
    assert page.problems() == []


def test_everything_can_be_done_with_keys_and_undone(place: Path, review: Callable[..., str], page: Page) -> None:
    output = place / "out"
    link = review(str(output), "--reviewer", "Ana", "--input", str(place / "in"))
    page.driver.get(f"{link}#/picture/c.png")
    page.says("Lowest score")
    page.press("m", "2", "\ue013", "\ue014")  # A face; arrows up and right place a box and move it.
    page.press("\ue007")
    page.says("Face was missed")
    page.press("\ue015")  # Arrow down chooses the instance.
    page.wait(lambda: page.count(".wishes button") == 3, "what can be asked")
    page.press("f")
    page.says("Person to be filled")
    assert not (output / "images/c.png").exists()
    for _ in range(2):
        before = len(lines(output))
        page.all(".decisions li:not(.undone) button")[0].click()
        page.wait(lambda before=before: len(lines(output)) > before, "an undoing")
        page.says("Undone")
    page.wait(lambda: (output / "images/c.png").exists(), "the picture back")
    page.press("r")
    page.says("Reject this picture?")
    page.press("a poster", "\ue007")
    page.says("Rejected: a poster")
    decisions = [line["decision"] for line in lines(output)]
    assert decisions == ["missed", "fill", "undo", "undo", "reject"]
    page.press("\ue00c")  # Escape.
    page.says("Waits for a run")
    assert page.driver.execute_script("return document.activeElement.innerText").startswith("c.png")
    assert page.problems() == []


def test_before_and_after_lie_over_each_other(place: Path, review: Callable[..., str], page: Page) -> None:
    link = review(str(place / "out"), "--reviewer", "Ana", "--input", str(place / "in"))
    page.driver.get(f"{link}#/picture/a.png")
    page.says("Lowest score")
    page.press("c")
    page.wait(lambda: page.count(".frame img[src]") == 2 and page.driver.execute_script(LOADED), "both pictures")
    clip = "return document.querySelector('.before').style.clipPath"
    assert page.driver.execute_script(clip) == "inset(0px 50% 0px 0px)"
    page.press("\ue014")
    assert page.driver.execute_script(clip) == "inset(0px 49.5% 0px 0px)"
    unlabelled = """return [...document.querySelectorAll('button, input, a, img[src]')].filter((node) =>
        !(node.innerText || node.getAttribute('aria-label') || node.alt || node.labels?.length)).length"""
    assert page.driver.execute_script(unlabelled) == 0


def test_ten_thousand_pictures_are_shown_a_window_at_a_time(
    tmp_path: Path, review: Callable[..., str], page: Page
) -> None:
    output = tmp_path / "large"
    (output / ".state").mkdir(parents=True)
    head, content = START, []
    instance = {"id": 1, "label": "person", "box": [1, 1, 9, 9], "source": "yolo", "action": "redrawn", "attempts": 1}
    for number in range(10_000):
        record: dict[str, Any] = {"name": f"{number:05d}.jpg", "status": "released", "input_sha256": "a" * 64}
        record |= {"output_sha256": "b" * 64, "settings_hash": "s", "released_name": record["name"], "size": [9, 9]}
        found = [{**instance, "score": number / 10_000, "verdicts": []}]
        line = chained(record | {"instances": found, "verdicts": []}, head, SCHEMA_VERSION)
        content.append(line)
        head = line_digest(line)
    (output / "ledger.jsonl").write_bytes(b"".join(content))
    page.driver.get(review(str(output), "--reviewer", "Ana"))
    page.says("0 of 10000 signed")
    assert 0 < page.count(".card") < 100
    assert page.all(".card .name")[0].text == "00000.jpg"
    page.driver.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    page.says("09999.jpg")
    assert page.count(".card") < 100
    page.press("/", "04242")
    page.wait(lambda: page.count(".card") == 1, "one card")
    page.says("04242.jpg")
