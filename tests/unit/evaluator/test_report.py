"""The report's files: the same for the same data, bounded, and nothing in them that a row could have put there."""

import os
import re
import subprocess
import sys
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

pytest.importorskip("jinja2", reason="needs the evaluator's libraries: runs inside its image")

from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluation_report import EvaluationDocument
from stagecoach.contract.evaluations import SuiteType
from stagecoach_evaluator import page
from stagecoach_evaluator.report import HTML, JSON, document, render

from . import report_examples

EVERY = report_examples.ALL | {"hostile": report_examples.hostile}
VOID = {"meta", "link", "br", "wbr", "img"}


class Page(HTMLParser):
    """What a browser would make of it, as far as the tests ask."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.unbalanced: list[str] = []
        self.words: list[str] = []
        self.titled = self.svgs = 0
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag == "svg":
            self.svgs += 1
        if tag == "title" and self.open[-1] == "svg":
            self.titled += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module", params=EVERY)
def files(request: pytest.FixtureRequest) -> dict[str, bytes]:
    return render(EVERY[request.param]())


@pytest.fixture
def parsed(files: dict[str, bytes]) -> Page:
    return Page(files[HTML])


def test_the_same_data_are_the_same_bytes_whatever_the_order_of_sets() -> None:
    script = (
        "import hashlib; from tests.unit.evaluator import report_examples; from stagecoach_evaluator.report import render;"
        "print(*(hashlib.sha256(content).hexdigest() for content in render(report_examples.names()).values()))"
    )
    path = os.pathsep.join(sys.path)
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONPATH": path, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {
        " ".join(sha256(content).hexdigest() for content in render(report_examples.names()).values()) + "\n"
    }


def test_other_data_are_other_bytes() -> None:
    data = report_examples.routing()
    assert render(replace(data, message="Another."))[HTML] != render(data)[HTML]


def test_empty_texts_are_counted_as_the_wrong_answers_that_they_are() -> None:
    made = report_examples.summaries()
    [suite] = document(made).suites
    assert (suite.rows, suite.scored, suite.empty) == (40, 40, 8)
    assert suite.worst is not None
    assert sum(row.candidate == "" and row.right is False for row in suite.worst.rows) == 8
    assert "8 of them empty, which are wrong" in render(made)[HTML].decode()


def test_programs_read_back_what_was_written(files: dict[str, bytes]) -> None:
    read = EvaluationDocument.model_validate_json(files[JSON])
    assert page.html(read) == files[HTML]


def test_it_is_well_formed(parsed: Page) -> None:
    assert parsed.unbalanced == []
    assert parsed.open == []


def test_nothing_runs_and_nothing_is_asked_for(files: dict[str, bytes], parsed: Page) -> None:
    names = {name for name, _ in parsed.elements}
    assert not names & {"script", "iframe", "object", "embed", "img", "base", "form", "foreignobject", "use", "image"}
    for name, attributes in parsed.elements:
        assert not [
            key for key in attributes if key.startswith("on") or key in {"style", "src", "srcdoc", "xlink:href"}
        ]
        if name == "a":
            assert (attributes["href"] or "").startswith("#")
    assert [link["href"] for link in parsed.all("link")] == ["data:,"]
    assert b"url(" not in files[HTML]
    assert b"@import" not in files[HTML]


def test_the_policy_allows_its_own_style_and_nothing_else(files: dict[str, bytes], parsed: Page) -> None:
    found = re.search(rb"<style>(.*?)</style>", files[HTML], re.DOTALL)
    assert found is not None
    policy = next(meta["content"] for meta in parsed.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert f"'sha256-{b64encode(sha256(found[1]).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_what_a_row_says_is_shown_as_it_is_and_does_nothing() -> None:
    files = render(report_examples.hostile())
    assert b"<script" not in files[HTML]
    assert b"<svg onload" not in files[HTML]
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", files[HTML])
    assert "\u202e" not in files[HTML].decode()
    text = Page(files[HTML]).text
    assert '<script>alert(1)</script> "quoted" & [U+0000][U+202E]evil' in text


def test_it_can_be_read_by_a_screen_reader(parsed: Page) -> None:
    levels = [int(name[1]) for name, _ in parsed.elements if re.fullmatch("h[1-6]", name)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(parsed.all("caption")) == len(parsed.all("table"))
    assert all(cell.get("scope") in {"row", "col"} for cell in parsed.all("th"))
    hidden = sum(svg.get("aria-hidden") == "true" for svg in parsed.all("svg"))
    assert parsed.titled == parsed.svgs - hidden
    assert all(svg.get("aria-label") for svg in parsed.all("svg") if svg.get("aria-hidden") != "true")
    assert parsed.all("html")[0]["lang"] == "en"


def test_every_link_has_its_place_and_every_place_is_one(parsed: Page) -> None:
    places = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(set(places)) == len(places)
    wanted = {(link["href"] or "")[1:] for link in parsed.all("a")}
    wanted |= {
        attributes["aria-labelledby"] or "" for _, attributes in parsed.elements if "aria-labelledby" in attributes
    }
    assert wanted <= set(places)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "banking",
            [
                "Failed",
                "2 of 4 and 1 advisory",
                "2 rows of the suite held-out are in the training data too.",
                "they have judged 23 releases",
                "From 20 on it is too many at 95 %",
                "up to 58 %",
                "a confidence above 0.957",
                "recall of card_lost at least 0.95",
                "about 1,450 rows would tell",
                "1 row: the prompt is 141 tokens long",
                "● too close to tell",
                "Expected calibration error",
                "canary.jsonl:12",
            ],
        ),
        (
            "routing",
            [
                "Passed",
                "1 of 1",
                "accuracy at least 0.9 by the value's interval at 95 %",
                "interval 0.927 to 0.969",
                "The most frequent of 20 mistakes",
                "± 0.030",
            ],
        ),
        (
            "summaries",
            [
                "Inconclusive",
                "chrf at least 2 above the base",
                "difference +2.90",
                "same text",
                "those least like what was expected first",
            ],
        ),
        ("names", ["Failed", "PER: Angela Merkel; LOC: Hamburg; ORG: Siemens", "missing or too many"]),
        (
            "passages",
            [
                "Error",
                "Nobody knows what this was trained on.",
                "30 of 50 rows could be judged",
                "20 rows: the text is 300 tokens long, and maxLength is 96",
                "found at place",
                "What the suite faq says has no confidence.",
            ],
        ),
        ("empty", ["Error", "has no rows", "nothing to compare"]),
    ],
)
def test_it_says_what_there_is_to_say(name: str, said: list[str]) -> None:
    text = Page(render(EVERY[name]())[HTML]).text
    assert [each for each in said if each not in text] == []


@pytest.mark.parametrize("name", ["banking", "routing"])
def test_what_was_judged_is_named_by_digest(name: str) -> None:
    data = EVERY[name]()
    text = Page(render(data)[HTML]).text
    inputs = data.job.inputs
    for digest in (
        inputs.digest,
        inputs.release,
        data.job.run_inputs or "",
        *(suite.data for suite in inputs.suites),
        *(item.digest for item in inputs.trained_on or ()),
    ):
        assert digest in text
    for told in (
        data.asked.prompt.template,
        data.base.uri,
        data.job.image,
        "payments-ml",
        "Transformers, precision auto",
    ):
        assert told in text


def test_a_verdict_is_no_matter_of_colour(parsed: Page) -> None:
    signs = {"passed": "✓", "failed": "✕", "inconclusive": "?", "error": "!", "skipped": "–"}
    badges = [
        attributes["class"] or ""
        for name, attributes in parsed.elements
        if (attributes.get("class") or "").startswith("badge")
    ]
    assert badges
    for badge in badges:
        kind = badge.split()[1]
        assert f"{signs[kind]} {kind.capitalize()}" in parsed.text


def test_much_of_everything_stays_bounded() -> None:
    labels = tuple(f"label number {number:04} of a thousand" for number in range(1000))
    data = report_examples.banking(rows=20_000, labels=labels, scores=False)
    long = "word " * 4000
    cases = [replace(case, text=long) for case in data.suites[0].cases]
    errors = [Answer(row=row, error=f"why {row}") for row in range(3000)]
    candidate = [*errors, *data.suites[0].candidate[3000:]]
    canary = replace(data.suites[0], suite=data.suites[0].suite.model_copy(update={"type": SuiteType.CANARY}))
    suites = (replace(data.suites[0], cases=cases, candidate=candidate), *data.suites[1:], canary)
    files = render(replace(data, suites=suites))
    read = EvaluationDocument.model_validate_json(files[JSON])
    first = read.suites[0]
    assert (first.labels, len(first.classes), len(first.unscored)) == (1000, 100, 20)
    assert first.confusion is not None
    assert (first.confusion.labels, first.confusion.cells, len(first.confusion.most)) == ((), (), 100)
    assert sum(len(suite.worst.rows) for suite in read.suites if suite.worst) <= 500
    assert first.worst is not None
    assert first.worst.wrong > 2000
    assert len(read.suites[3].canaries) == 100
    assert len(files[JSON]) < 2_000_000
    assert len(files[HTML]) < 3_000_000


def test_a_matrix_of_intents_is_small() -> None:
    files = render(report_examples.banking())
    assert {name: len(content) < 600_000 for name, content in files.items()} == {JSON: True, HTML: True}


def test_a_place_that_leaked_is_shown_with_its_text() -> None:
    suite = document(report_examples.banking()).suites[0]
    assert suite.leaked_rows == 2
    assert [row.place for row in suite.leaked] == ["test.csv:1", "test.csv:18"]
    assert suite.leaked[0].input is not None
    assert suite.leaked[0].input.startswith("<script>")


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_told_from_its_ground(scheme: str) -> None:
    """WCAG 2.2, AA: 4.5 for text."""
    style = (page.FOLDER / "style.css").read_text()
    blocks: list[Any] = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", blocks[0 if scheme == "light" else 1]))
    tones = ("passed", "failed", "inconclusive", "error")
    pairs = [
        ("ink", "ground"),
        ("ink", "card"),
        ("soft", "ground"),
        ("soft", "card"),
        ("ink", "code"),
        ("now", "card"),
        ("on-hit", "hit"),
    ]
    pairs += [(tone, f"{tone}-soft") for tone in tones] + [("ink", f"{tone}-soft") for tone in tones]
    pairs += [("passed", "card"), ("failed", "card"), ("now", "failed-soft"), ("now", "error-soft")]
    low = {pair: round(contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in low.items() if ratio < 4.5} == {}


def test_what_is_served_stands_beside_the_candidate() -> None:
    told, page = document(report_examples.beside()), render(report_examples.beside())[HTML].decode()
    paired = told.suites[0].paired_incumbent
    assert paired is not None
    assert paired.both + paired.only_candidate + paired.only_incumbent + paired.neither == 200
    assert all(row.incumbent is not None for row in told.suites[1].canaries)
    assert told.suites[0].metrics[0].detectable == pytest.approx(2.8 * 0.03 / 1.96, rel=0.01)
    assert told.incumbent_run == "support-desk-last"
    for words in ("no more than 0.03 below the incumbent", "Row by row, beside the incumbent", "support-desk-last"):
        assert words in page
    assert page.count(">Difference</th>") == 2 * 2


def test_it_says_why_base_and_incumbent_have_no_answer() -> None:
    data = report_examples.beside()
    one, *others = data.suites
    base, served = (
        [*(Answer(row=row, error=f"the {who} refused") for row in range(10)), *(answers or ())[10:]]
        for who, answers in (("base", one.baseline), ("incumbent", one.incumbent))
    )
    one = replace(one, baseline=base, incumbent=served)
    data = replace(data, suites=(one, *others))
    told, text = document(data).suites[0], Page(render(data)[HTML]).text
    assert told.unscored == ()
    assert [(each.reason, each.rows) for each in told.incumbent_unscored] == [("the incumbent refused", 10)]
    assert [(each.reason, each.rows) for each in told.baseline_unscored] == [("the base refused", 10)]
    for who in ("base", "incumbent"):
        assert f"Rows without an answer of the {who}" in text
        assert f"10 rows: the {who} refused" in text


def test_what_is_served_is_told_label_by_label_and_by_its_probabilities() -> None:
    data = report_examples.beside()
    suite, text = document(data).suites[0], Page(render(data)[HTML]).text
    assert sum(each.incumbent.rows for each in suite.classes if each.incumbent) == suite.rows
    assert suite.incumbent_reliability is not None
    assert suite.baseline_reliability is not None
    errors = (suite.baseline_reliability.error, suite.incumbent_reliability.error)
    assert "of the base {:.3f}, of the incumbent {:.3f}: how far".format(*errors) in text
    assert f"; of the incumbent {errors[1]:.3f}" in text, "its curve is in the picture"
    for words in ("Incumbent expected", "Incumbent precision", "Incumbent recall", "Incumbent F1"):
        assert words in text
    assert "Incumbent F1" not in Page(render(report_examples.banking())[HTML]).text


def test_before_anything_is_served_a_criterion_is_shown_as_skipped() -> None:
    page = render(report_examples.beside(absent=True))[HTML].decode()
    assert "and 1 skipped" in page
    assert 'class="badge skipped"' in page
    assert "1 of 1" in page
    assert "incumbent_" not in page
