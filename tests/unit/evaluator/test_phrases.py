"""Numbers, rules and times as the page says them."""

from typing import Any

import pytest

pytest.importorskip("jinja2", reason="needs the evaluator's libraries: runs inside its image")

from stagecoach.contract.evaluation_report import Estimate, Measured
from stagecoach.contract.evaluations import Criterion, Reference
from stagecoach_evaluator import phrases


@pytest.mark.parametrize(
    ("value", "metric", "said", "signed"),
    [
        (0.8514, "accuracy", "0.851", "+0.851"),
        (-0.0314, "accuracy", "−0.031", "−0.031"),
        (-0.0001, "accuracy", "0.000", "0.000"),
        (0.0, "accuracy", "0.000", "0.000"),
        (41.876, "chrf", "41.88", "+41.88"),
        (-0.5, "bleu", "−0.50", "−0.50"),
    ],
)
def test_numbers(value: float, metric: str, said: str, signed: str) -> None:
    assert (phrases.figure(value, metric), phrases.signed(value, metric)) == (said, signed)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0 %"),
        (0.004, "< 1 %"),
        (0.5, "50 %"),
        (0.996, "> 99 %"),
        (0.9999999, "> 99 %"),
        (1, "100 %"),
        (0.125, "12 %"),
    ],
)
def test_shares(share: float, said: str) -> None:
    assert phrases.percent(share).replace("\u00a0", " ") == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "under a second"),
        (1, "1 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (4000, "1 h 6 min"),
        (90000, "25 h"),
    ],
)
def test_time_spans(seconds: float, said: str) -> None:
    assert phrases.duration(seconds) == said


def test_times_are_in_utc() -> None:
    assert phrases.when("2026-03-02T10:21:44+02:00") == "2026-03-02 08:21 UTC"


@pytest.mark.parametrize(
    ("bound", "asks", "held"),
    [
        ({"min": 0.8}, "at least 0.8", "by the value itself"),
        ({"min": 12.5, "confidence": 0.9}, "at least 12.5", "by the value's interval at 90 %"),
        (
            {"against": Reference.BASELINE, "allowed_drop": 0.02},
            "no more than 0.02 below the base",
            "by the difference's interval at 95 %",
        ),
        (
            {"against": Reference.BASELINE, "allowed_drop": 0.0},
            "no worse than the base",
            "by the difference's interval at 95 %",
        ),
        (
            {"against": Reference.BASELINE, "min_gain": 0.0, "confidence": 0.999},
            "at least 0 above the base",
            "by the difference's interval at 99.9 %",
        ),
    ],
)
def test_what_a_criterion_asks_for(bound: dict[str, Any], asks: str, held: str) -> None:
    criterion = Criterion(name="c", suite="s", metric="accuracy", **bound)
    assert phrases.asks(criterion) == asks
    assert phrases.held(criterion).replace("\u00a0", " ") == held


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.03, "▲ better"),
        (-0.03, -0.01, "▼ worse"),
        (-0.01, 0.01, "● too close to tell"),
        (0, 0.1, "● too close to tell"),
        (None, None, ""),
    ],
)
def test_whether_a_difference_is_one(low: float | None, high: float | None, said: str) -> None:
    difference = Estimate(value=0.02, low=low, high=high)
    assert phrases.verdict_on(difference)[0] == said


def test_a_common_scale_reaches_to_the_tenths_around() -> None:
    both = [
        Measured(metric="accuracy", candidate=Estimate(value=0.72, low=0.7, high=0.74)),
        Measured(metric="mcc", candidate=Estimate(value=0.1, low=-0.05, high=0.2), baseline=Estimate(value=0.95)),
        Measured(metric="chrf", candidate=Estimate(value=41.0, low=38.0, high=44.0), incumbent=Estimate(value=61.0)),
        Measured(metric="auc_roc", message="undefined"),
    ]
    assert phrases.shape(both) == {False: (-0.1, 1.0), True: (0.3, 0.7)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("card_lost", "card_<wbr>lost"),
        ("a sentence_with one", "a sentence_with one"),
        ("<b>&\"'", "&lt;b&gt;&amp;&#34;&#39;"),
        ("\x00\r\x7f\x85", "[U+0000][U+000D][U+007F][U+0085]"),
        ("\u202eabc", "[U+202E]abc"),
        ("_", "_"),
        ("tab\there", "tab\there"),
    ],
)
def test_a_text_as_it_goes_into_the_page(text: str, said: str) -> None:
    assert phrases.breakable(text) == said
