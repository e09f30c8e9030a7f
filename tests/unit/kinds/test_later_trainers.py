"""The last words of a trainer that is of a later version than the operator."""

import json

import pytest

from stagecoach.contract import reports
from tests import builders
from tests.unit.kinds import test_transformerproject as projects
from tests.unit.kinds.test_finetunerun import start, world

LATER = {"outcome": "Splendid", "problem": {"reason": "NewReason", "message": "A shard is finished."}}


def test_a_run_waits_for_an_operator_that_knows_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    here = world()
    start(here)
    here.end_pods(LATER | {"artifact": builders.artifact_report()["artifact"]})
    here.reconcile()
    told = here.condition("Ready")
    assert (here.status["phase"], told["reason"]) == ("Blocked", "ReportUnknown")
    for words in ("'Splendid'", "A shard is finished.", builders.IMAGE, "Upgrade the operator"):
        assert words in told["message"]
    here.wait(100_000)
    assert here.reconcile().create == ()
    assert [attempt["number"] for attempt in here.status["attempts"]] == [1], "it is not tried again"

    def as_a_later_operator(text: str) -> reports.Report:
        return reports.Report.model_validate(json.loads(text) | {"outcome": "Done", "problem": None})

    monkeypatch.setattr(reports.Report, "parse", as_a_later_operator)
    here.reconcile()
    assert here.status["phase"] == "Succeeded", "nothing is lost"


def test_a_run_whose_pod_is_cleaned_up_meanwhile_tries_again_and_not_for_ever() -> None:
    here = world()
    for _ in range(10):
        start(here)
        here.end_pods(LATER, 70, "Error")
        here.reconcile()
        for name in list(here.job_objects):
            here.remove_job(name)
        here.reconcile()
        here.wait(400)
    assert here.status["phase"] == "Failed"
    assert here.condition("Ready")["reason"] == "NoProgress"
    assert len(here.creations) == 3


def test_such_a_run_can_be_suspended_and_its_waiting_is_no_training() -> None:
    here = world()
    start(here)
    here.wait(60)
    here.end_pods(LATER, 70, "Error")
    here.reconcile()
    here.wait(100_000)
    here.set_spec(suspend=True)
    here.reconcile()
    assert here.status["phase"] == "Suspended"
    assert here.status["totals"]["seconds"] == 60
    here.set_spec(suspend=False)
    start(here)
    assert here.status["phase"] == "Running"


@pytest.mark.parametrize(
    "report",
    [LATER, {"outcome": "Done", "resolution": builders.resolution() | {"hasRecords": "perhaps"}}],
)
def test_a_project_ends_with_the_way_to_look_again(report: builders.Object) -> None:
    here = projects.world()
    projects.resolve(here, report)
    told = here.condition("Ready")
    assert (here.status["phase"], told["reason"]) == ("Incomplete", "ReportUnknown")
    for words in (builders.IMAGE, "stagecoach.dev/requested-at"):
        assert words in told["message"]
    here.wait(100_000)
    here.reconcile()
    assert len(here.creations) == 1
