"""What an Evaluation says."""

import json

import pytest

from stagecoach_plugin import evaluations
from tests.unit.plugin import samples


@pytest.mark.parametrize(
    ("evaluation", "state", "awaits", "verdict"),
    [
        (samples.evaluation(), "New", False, ""),
        (samples.evaluation(phase="Running"), "Running", False, ""),
        (samples.awaiting(), "AwaitingReview", True, ""),
        (samples.decided("Passed", "Passed", ""), "Passed", False, "Passed"),
        (samples.decided("Error", "Lost", ""), "Error", False, "Error"),
    ],
)
def test_where_it_is(evaluation: samples.Object, state: str, awaits: bool, verdict: str) -> None:
    found = (evaluations.state(evaluation), evaluations.awaits(evaluation), evaluations.verdict(evaluation))
    assert found == (state, awaits, verdict)


def test_each_criterion_with_its_numbers() -> None:
    told = {line.criterion: line for line in evaluations.lines(samples.awaiting())}
    assert [*told] == ["good", "lost-card", "no-worse", "worth-it"]
    assert told["lost-card"].asks == "recall of lost_card on held-out: at least 0.9"
    assert told["no-worse"].asks == "accuracy on held-out: not worse than the base by more than 0.03"
    assert (told["good"].measured, told["good"].beside, told["good"].threshold) == ("0.9137", "", "≥ 0.8")
    assert (told["no-worse"].beside, told["no-worse"].interval, told["no-worse"].threshold) == (
        "0.7133",
        "+0.1533 … +0.26",
        "≥ -0.03",
    )
    assert "McNemar's exact test: p = 1.3e-07." in told["no-worse"].more
    assert told["worth-it"].advisory
    assert (
        told["worth-it"].more
        == "The interval has the bound in it. Advisory: it decides nothing. About 420 rows would tell."
    )


def test_a_criterion_without_a_result_and_one_of_people() -> None:
    scored = [{"criterion": "human_fluency", "outcome": "Passed", "value": 4.5, "threshold": 4, "scored": 2}]
    [good, *_, fluency] = evaluations.lines(samples.evaluation(results=scored))
    assert (good.outcome, good.measured, good.interval, good.threshold) == ("–", "–", "–", "≥ 0.8")
    assert fluency.asks == "fluency, as people scored it (1 to 5), at least 4"
    assert (fluency.measured, fluency.threshold) == ("4.5", "≥ 4")


def test_the_report_for_programs() -> None:
    told = evaluations.document(samples.awaiting(samples.NAME, samples.FIRST))
    assert json.loads(json.dumps(told)) == told
    assert (told["state"], told["verdict"], told["reason"]) == ("AwaitingReview", None, "AwaitingReview")
    assert told["release"] == samples.RELEASE
    assert told["page"] == "pvc://store/support-desk/evaluations/ecfa139ab8f105d4/report.html"
    assert told["criteria"][2]["reference"] == 0.7133
    assert told["criteria"][0]["reference"] is None
    assert told["review"]["rows"] == samples.ROWS
    assert told["review"]["approvals"] == [samples.FIRST]
    assert told["review"]["requires"]["approvals"] == 2


def test_the_report_of_what_was_not_looked_at_yet() -> None:
    told = evaluations.document(samples.evaluation())
    assert (told["state"], told["verdict"], told["page"], told["review"]) == ("New", None, None, None)
    assert told["criteria"][0]["outcome"] is None
