from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from anonymizer.evaluation import charts, report, summary
from anonymizer.evaluation.records import Estimate, Finding, Pair, Skipped, plain

from . import evaluation_document as made

HOSTILE = "<script>alert(1)</script>\"'&\n\udcff.jpg"
VOID = {"meta", "br", "img"}


class Strict(HTMLParser):
    """Refuses unbalanced tags, scripts and anything loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in ("href", "src", "action") or str(value).startswith("data:"), value
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def parsed(html: bytes) -> Strict:
    page = Strict()
    page.feed(html.decode())
    assert not page.open
    assert not page.seen & {"script", "link", "iframe", "object", "base", "form"}
    return page


def text(html: bytes) -> str:
    return re.sub(r"\s+", " ", " ".join(parsed(html).words))


def test_report_is_whole_and_holds_nothing_from_elsewhere() -> None:
    html = report.render(made.document())
    page = parsed(html)
    assert {"svg", "table", "path", "desc"} <= page.seen
    assert "img" not in page.seen
    assert not re.search(rb"https?://", html)
    assert set(re.findall(rb"url\((.)", html)) <= {b"#"}, "shapes of the page itself alone"
    words = text(html)
    for said in ("someface", "01" * 32, "auraface", "same picture twice", "lost.jpg", "small.jpg", "quarantined"):
        assert said in words


def test_numbers_stay_with_their_per_cent_and_dates_are_in_words() -> None:
    html = report.render(made.document(created="2026-11-03T07:05:00+00:00")).decode()
    assert re.search(r"\d\u00a0%", html) and not re.search(r"\d %", html)
    assert "evaluated on 3 November 2026 at 07:05 UTC with" in html
    assert "evaluated once with" in report.render(made.document(created="once")).decode()


def test_every_text_is_escaped_wherever_it_comes_from() -> None:
    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {"label", "variant", "attack", "name", "state", "question"}
            return {key: item if key in kept else poisoned(item) for key, item in value.items()}
        if isinstance(value, list):
            return [poisoned(item) for item in value]
        return HOSTILE if isinstance(value, str) else value

    document = poisoned(made.document())
    document["variants"].append({"name": HOSTILE, "strength": HOSTILE})
    document["findings"][0]["variant"] = HOSTILE
    document["findings"][1]["notes"] = [HOSTILE]
    document["inputs"]["problems"] = {HOSTILE: {"count": 1, "first": [HOSTILE]}}
    document["inputs"]["subjects"][HOSTILE] = 1
    html = report.render(document)
    parsed(html)
    assert b"<script" not in html
    assert b"&lt;script&gt;" in html
    assert b"\\udcff" in html


def test_summary_names_the_strongest_attack_with_chance_and_interval() -> None:
    document = made.document()
    strongest = summary.strongest(document["findings"], "face", "anonymized")
    assert strongest is not None and strongest["attack"] == "parrot"
    (faces,) = summarised(document["findings"], subjects={"face": 92}, identities={"face": 30})
    assert faces["title"] == "Faces"
    said = " ".join(faces["sentences"])
    estimate = strongest["estimates"]["rank1"]
    assert faces["verdict"] == "more"
    assert summary.percent(estimate["value"]) in said
    assert summary.percent(estimate["low"]) in said and summary.percent(estimate["high"]) in said
    assert summary.percent(strongest["estimates"]["rank1_chance"]["value"]) in said
    assert "2 % of 92 known or detected faces" in said
    assert "on untreated pictures" in said
    assert "92 faces of 30 known identities" in said


def summarised(
    findings: list[dict[str, Any]],
    skipped: list[dict[str, Any]] | None = None,
    subjects: dict[str, int] | None = None,
    identities: dict[str, int] | None = None,
) -> list[dict[str, Any]]:
    counts = subjects or {"face": 40}
    verdict = made.verdict(findings, counts)
    return summary.summary(verdict, findings, skipped or [], counts, identities)


def finding(value: float | None, low: float | None, high: float | None, **changes: Any) -> dict[str, Any]:
    estimates = {
        "rank1": Estimate(value, low, high, 40, "" if value is not None else "nobody was found"),
        "rank1_chance": Estimate(0.05),
    }
    null = {} if value is None else {"rank1": made.null(value, 0.05, 0.035)}
    options: dict[str, Any] = {"attack": "aligned", "label": "face", "variant": "anonymized", "recognizer": "r"}
    return dict(
        plain(
            Finding(
                **(
                    options
                    | {
                        "protocol": "p",
                        "estimates": estimates,
                        "null": null,
                        "counts": {"identities": 40},
                        "mode": "own",
                    }
                    | changes
                )
            )
        )
    )


@pytest.mark.parametrize(
    ("found", "verdict", "said"),
    [
        (finding(0.5, 0.3, 0.7), "more", "more than chance"),
        (finding(0.07, 0.02, 0.2), "chance", "does not follow that nothing is left"),
        (finding(0.07, 0.02, 0.2), "chance", "would have been told from chance in 8 of 10"),
        (finding(0.07, 0.02, 0.2, counts={"identities": 4}), "few", "take more people"),
        (finding(None, None, None), "unable", "NOT MEASURED"),
        (finding(0.0, 0.0, 0.0, judge=False), "unable", "prove nothing"),
    ],
)
def test_verdicts_follow_from_tests_power_and_judge(found: dict[str, Any], verdict: str, said: str) -> None:
    (part,) = summarised([found])
    assert part["verdict"] == verdict
    assert said in " ".join(part["sentences"])


def test_a_recogniser_that_verified_the_run_never_leads() -> None:
    partial, fair = finding(0.9, 0.8, 1.0, judge=False), finding(0.2, 0.1, 0.3)
    assert summary.strongest([partial, fair], "face", "anonymized") == fair


def test_what_is_surely_above_chance_goes_before_what_only_looks_strong() -> None:
    lucky, sure = finding(0.5, 0.0, 1.0), finding(0.2, 0.1, 0.3)
    assert summary.strongest([lucky, sure], "face", "anonymized") == sure


def test_protocols_are_the_rows_where_treatments_do_not_matter() -> None:
    found = [
        finding(0.5, 0.3, 0.7, attack="condition", variant="conditions", protocol=f"edges, guard {level}")
        for level in ("off", "on")
    ]
    html = report.render(made.document(findings=found))
    assert html.count(b"What was compared") == 1
    assert "edges, guard off" in text(html) and "edges, guard on" in text(html)


def test_a_figure_that_nobody_has_is_told_but_is_no_column() -> None:
    known = finding(0.5, 0.3, 0.7)
    known["estimates"]["rank5"] = plain(Estimate(None, reason="a gallery of three"))
    words = text(report.render(made.document(findings=[known])))
    assert "no Rank 5: a gallery of three" in words
    known["estimates"]["rank5"]["value"] = 0.9
    assert "a gallery of three" not in text(report.render(made.document(findings=[known])))


def test_what_was_not_done_for_one_reason_is_one_row() -> None:
    skipped = [Skipped("adaptive", "face", "too few identities", variant=name) for name in ("blur", "mosaic")]
    words = text(report.render(made.document(skipped=skipped)))
    assert words.count("too few identities") == 1
    assert "blur, mosaic" in words


def test_attacks_on_what_is_not_released_do_not_count_as_leakage() -> None:
    assert summary.strongest([finding(0.9, 0.8, 1.0, attack="condition")], "face", "anonymized") is None


def test_reasons_are_given_where_nothing_was_measured() -> None:
    skipped = plain([Skipped("naive", "face", "no recogniser of this class is at hand")])
    (part,) = summarised([], skipped, {"face": 3})
    assert "no recogniser of this class" in " ".join(part["sentences"])


def test_an_empty_evaluation_says_so() -> None:
    inputs = made.document()["inputs"] | {"subjects": {}, "identified": {}, "identities": {}}
    empty = made.document(inputs=inputs, findings=[], skipped=[], utility=None, recognizers=[], unavailable=[])
    words = text(report.render(empty))
    assert "Nothing was measured" in words
    assert "No attack was carried out" in words
    assert "No recogniser took part" in words
    assert "0 %" not in words.split("Every attack")[0]


def plate(name: str, variant: str, value: float, *, judge: bool = True) -> dict[str, Any]:
    estimates = {
        "character_accuracy": Estimate(value, value / 2, value, 8),
        "character_accuracy_chance": Estimate(0.08),
    }
    made = Finding("plate", "license_plate", variant, name, "OCR", estimates, judge=judge)
    return dict(plain(made))


def test_the_summary_names_independent_judges_and_weak_ones() -> None:
    found = [
        plate("ppocr", "original", 0.95),
        plate("ppocr", "anonymized", 0.9, judge=False),
        plate("tesseract", "original", 0.8),
        plate("tesseract", "anonymized", 0.1),
        plate("dim", "original", 0.3),
        plate("dim", "anonymized", 0.05),
    ]
    (part,) = summarised(found, subjects={"license_plate": 8})
    said = " ".join(part["sentences"])
    assert "reading with tesseract," in said
    assert "Independent judges: tesseract and dim, none of which checked these pictures before their release." in said
    assert "ppocr did; the tables show those values" in said
    assert "dim is a WEAK JUDGE" in said and "30 %" in said
    assert "tesseract is a WEAK" not in said


def test_the_summary_says_where_only_the_runs_own_detectors_looked() -> None:
    leaks = Finding(
        "leak", "face", "anonymized", "embedded (part of the run)", "p", {"leak_rate": Estimate(0.0, count=4)}
    )
    for judge in (True, False):
        (part,) = summarised([plain(leaks) | {"judge": judge}], subjects={"face": 4})
        said = " ".join(part["sentences"])
        assert "Looked for by embedded (part of the run)." in said
        assert ("No detector that is independent" in said) is not judge
        assert "false alarms" not in said
    (part,) = summarised([plain(leaks) | {"counts": {"detected_leaked": 2}}], subjects={"face": 4})
    assert "2 of these were found by detectors alone" in " ".join(part["sentences"])


def test_the_report_lists_who_looked_for_what_was_missed() -> None:
    words = text(report.render(made.document()))
    assert "embedded person no: part of it" in words
    assert "dlib-frontal face yes" in words


def test_missing_figures_are_dashes_not_zeros() -> None:
    none = plain(Estimate(None, reason="2 same pairs"))
    document = made.document(findings=[finding(0.5, 0.3, 0.7) | {"estimates": {"rank1": none, "rank1_chance": none}}])
    html = report.render(document)
    assert b'title="2 same pairs">\xe2\x80\x93' in html


def test_utility_without_pictures_is_labelled() -> None:
    utility = made.utility()
    for part in utility["outside"].values():
        if isinstance(part, dict):
            part["pictures"] = 0
    words = text(report.render(made.document(utility=utility)))
    assert "of no picture is it known what was treated" in words
    assert "Nobody annotated" not in words
    utility["annotations"] = ["yolo"]
    words = text(report.render(made.document(utility=utility)))
    assert "Nobody annotated these pictures" in words


def test_pictures_are_shown_on_demand_only(tmp_path: Path) -> None:
    pairs = []
    for n in range(report.MAX_PAIRS + 2):
        path = tmp_path / f"{n}.png"
        Pillow.fromarray(np.full((400, 300, 3), n, np.uint8)).save(path)
        pairs.append(Pair(f"<b>{n}</b>.png", path, path))
    shown = report.render(made.document(), pairs)
    assert shown.count(b"data:image/jpeg") == 2 * report.MAX_PAIRS
    assert b"And 2 more pairs" in shown
    assert b"<b>" not in shown
    assert b"shows originals" in shown
    assert b"data:image" not in report.render(made.document())


def test_report_is_written_whole(tmp_path: Path) -> None:
    path = report.write(made.document(), tmp_path)
    assert path == tmp_path / "report.html"
    assert path.read_bytes().endswith(b"</html>\n") or path.read_bytes().endswith(b"</html>")


def test_charts_take_the_pages_colours_and_have_names_of_their_own() -> None:
    axis = charts.Axis("a", 0.0, 1.0, ((0.0, "none"), (1.0, "all")))
    points = [charts.Point(f"treatment <{n}> $x$", n, 0.5, 0.1 * n, (0.4, 0.6), (None, None)) for n in range(7)]
    one = charts.scatter(points, axis, axis, "first <chart>")
    two = charts.lines([charts.Line("l", 5, [0.0, 1.0], [0.2, 0.9])], axis, axis, "second", diagonal=True)
    for svg in (one, two):
        parsed(f"<body>{svg}</body>".encode())
        assert not re.search(r"#[0-9a-f]{6}", svg.replace("&#", "")), "colours of the page alone"
        assert "<style" not in svg and "<metadata" not in svg and "http" not in re.sub(r'xmlns[^ ]*="[^"]*"', "", svg)
    assert all(f"var(--s{n})" in one for n in range(7)) and "var(--s5)" in two
    assert 'aria-label="first &lt;chart&gt;"' in one and "treatment &lt;3&gt; $x$ 0.50, 0.30" in one
    assert "a over a: l from 0.20 to 0.90." in two
    names = [re.findall(r'id="([^"]+)"', svg) for svg in (one, two)]
    assert not set(names[0]) & set(names[1])
    for svg, known in zip((one, two), names, strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) <= set(known)


def test_a_chart_is_the_same_every_time() -> None:
    axis = charts.Axis("a", 1e-4, 1.0, ((1e-4, "low"), (1.0, "high")), log=True)
    drawn = [charts.lines([charts.Line("l", 0, [0.0, 1.0], [0.0, 1.0])], axis, axis, "t") for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_marks_keep_their_text_to_the_last_digit() -> None:
    axis = charts.Axis("rate 0.125", 1e-4, 1.0, ((1e-4, "0.01 %"), (1.0, "100.25 %")), log=True)
    svg = charts.lines([charts.Line("l", 0, [0.0, 1.0], [0.0, 1.0])], axis, axis, "t")
    assert svg.count(">0.01 %<") == 2 and svg.count(">100.25 %<") == 2 and svg.count(">rate 0.125<") == 2


def test_a_histogram_of_nothing_is_drawn_empty() -> None:
    svg = charts.histogram([-1.0, 0.0, 1.0], [0, 0], [0, 0], "empty")
    assert "nan" not in svg


def test_the_recall_of_independent_detectors_stands_beside_the_leaks() -> None:
    (part,) = summarised([finding(0.1, 0.0, 0.3), plain_leak()])
    said = " ".join(part["sentences"])
    assert "Of the 30 known faces the independent ones of these find 40 % in the untouched originals" in said
    assert "0 % of 10 (0-16 px), 60 % of 20 (from 128 px)" in said


def plain_leak() -> dict[str, Any]:
    estimates = {
        "leak_rate": Estimate(0.0, 0.0, 0.1, 30),
        "recall_0-16px": Estimate(0.0, 0.0, 0.3, 10),
        "recall_16-32px": Estimate(None, reason="nobody known"),
        "recall_from_128px": Estimate(0.6, 0.4, 0.8, 20),
        "recall": Estimate(0.4, 0.2, 0.6, 30),
    }
    return dict(plain(Finding("leak", "face", "anonymized", "dlib-frontal", "detections", estimates)))


def test_judges_that_failed_for_one_reason_share_a_sentence() -> None:
    verdict = made.verdict([finding(0.1, 0.0, 0.3)], {"face": 40})
    verdict["classes"][0]["unable"] = [["a", "too few"], ["b", "blind"], ["c", "too few"]]
    (part,) = summary.summary(verdict, [finding(0.1, 0.0, 0.3)], [], {"face": 40})
    assert [s for s in part["sentences"] if "cannot judge" in s] == [
        "a and c cannot judge: too few.",
        "b cannot judge: blind.",
    ]
    assert "    a and c cannot judge: too few" in summary.verdict_lines(verdict)
