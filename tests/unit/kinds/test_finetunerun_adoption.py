"""An adopted artifact: the status names the run that made it."""

from stagecoach.kinds.finetunerun.reconcile import CONTROLLER
from tests import builders
from tests.unit.kinds.world import World

MAKER = {"namespace": "elsewhere", "name": "earlier", "at": "2025-12-31T23:59:59Z"}


def told(report: builders.Object) -> World:
    """Return a world whose run has ended with this report."""
    here = World(CONTROLLER, builders.stored(builders.run()), builders.ready_project(records=True))
    here.reconcile()
    here.reconcile()
    here.start_pods()
    here.run_pods()
    here.end_pods(report)
    here.reconcile()
    assert here.status["phase"] == "Succeeded"
    return here


def test_it_is_named_by_namespace_name_and_time() -> None:
    here = told(builders.artifact_report(adopted=True))
    assert here.status["adoptedFrom"] == MAKER
    assert here.condition("Ready")["message"] == (
        "Adapter 777777777777 was found under these inputs, nothing was trained; run elsewhere/earlier had made it at"
        " 2025-12-31T23:59:59Z."
    )
    here.wait(10_000)
    here.reconcile()
    assert here.status["adoptedFrom"] == MAKER, "it stays"


def test_a_trainer_of_before_does_not_tell_it() -> None:
    report = builders.artifact_report(adopted=True)
    del report["artifact"]["maker"]
    here = told(report)
    assert "adoptedFrom" not in here.status
    assert (
        here.condition("Ready")["message"] == "Adapter 777777777777 was found under these inputs, nothing was trained."
    )


def test_what_a_run_made_itself_was_adopted_from_nobody() -> None:
    here = told(builders.artifact_report())
    assert "adoptedFrom" not in here.status
    assert here.condition("Ready")["message"] == "Adapter 777777777777 was trained."
