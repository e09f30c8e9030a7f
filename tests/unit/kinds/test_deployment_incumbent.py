"""What is served stays, whatever becomes of that by which it was admitted; and what is kept of it."""

import copy
from collections.abc import Callable

import pytest

from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployment_cases import change_of_gate, told, with_second
from tests.unit.kinds.deployments import Stage, project, serving


def gate_is_gone(stage: Stage) -> None:
    stage.remove("EvalGate", "good")


def run_is_gone(stage: Stage) -> None:
    stage.remove("FineTuneRun", "first")


def project_is_gone(stage: Stage) -> None:
    stage.remove("TransformerProject", "desk")


def project_asks_otherwise(stage: Stage) -> None:
    stage.put(project(precision="bfloat16"))


def verdict_is_deleted(stage: Stage) -> None:
    for each in stage.evaluations:
        stage.remove("Evaluation", each["metadata"]["name"])


def gate_says_no(stage: Stage) -> None:
    change_of_gate(stage)
    stage.judge("Failed")


@pytest.mark.parametrize(
    ("change", "phase", "gated"),
    [
        (change_of_gate, "Available", ("False", "GateChanged")),
        (gate_is_gone, "Degraded", ("False", "GateMissing")),
        (run_is_gone, "Available", ("Unknown", "RunMissing")),
        (project_is_gone, "Degraded", ("Unknown", "ProjectMissing")),
        (project_asks_otherwise, "Available", ("False", "GateChanged")),
        (verdict_is_deleted, "Available", ("False", "GateChanged")),
        (gate_says_no, "Degraded", ("False", "GateFailed")),
    ],
)
def test_the_incumbent_goes_on_whatever_becomes_of_what_it_was_admitted_by(
    change: Callable[[Stage], None], phase: str, gated: tuple[str, str]
) -> None:
    """IncumbentStays."""
    stage = serving()
    before = stage.told_status["serving"]
    change(stage)
    for _ in range(100):
        stage.go_on(15)
    assert stage.told_status["serving"] == before
    assert told(stage) == (phase, "Serving", "True")
    found = stage.said("Gated")
    assert (found["status"], found["reason"]) == gated
    assert speaks(found["reason"], found["message"])
    assert len(stage.loaders) == 1
    [routes] = stage.routes()
    assert routes.stable is not None
    assert routes.stable.release == before["release"]


def test_a_document_that_somebody_deleted_is_made_again_or_missed_with_words() -> None:
    stage = serving()
    name = stage.told_status["serving"]["admitted"]
    stage._gone(("ConfigMap", name))
    stage.until(lambda: ("ConfigMap", name) in stage.children)
    stage.until(lambda: stage.serves("first"))
    stage.remove("FineTuneRun", "first")
    stage._gone(("ConfigMap", name))
    for _ in range(5):
        stage.go_on()
    assert told(stage) == ("Degraded", "AdmittedMissing", "False")
    assert len(stage.loaders) == 1
    assert all(routes.stable for routes in stage.routes())
    with_second(stage)
    stage.until(lambda: stage.serves("second"))


def test_what_was_admitted_once_is_forgotten_when_nothing_needs_it_any_more() -> None:
    stage = serving()
    before = stage.told_status["serving"]["admitted"]
    with_second(stage)
    stage.until(lambda: stage.serves("second"))
    for _ in range(5):
        stage.go_on(60)
    assert ("ConfigMap", before) in stage.children
    stage.wait(3600)
    stage.go_on()
    assert ("ConfigMap", before) not in stage.children
    assert ("ConfigMap", stage.told_status["serving"]["admitted"]) in stage.children


@pytest.mark.parametrize("model", [{"run": "first"}, {"latest": {}}])
def test_a_document_that_is_lost_is_made_again_from_a_run_that_was_created_anew(model: builders.Object) -> None:
    """IncumbentStays: it adopts what the one before has made, and what is made has the same name only if it is the same."""
    stage = serving(model=model)
    name = stage.told_status["serving"]["admitted"]
    again = copy.deepcopy(stage.get("FineTuneRun", "first"))
    again["metadata"] |= {"uid": "uid-again", "creationTimestamp": "2026-01-01T00:00:00Z"}
    stage.remove("FineTuneRun", "first")
    stage.put(again)
    stage._gone(("ConfigMap", name))
    for _ in range(5):
        stage.go_on()
    assert ("ConfigMap", name) in stage.children
    assert told(stage) == ("Available", "Serving", "True")
