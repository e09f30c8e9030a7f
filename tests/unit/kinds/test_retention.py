"""How a project looks through its storage for what may leave it."""

import copy
import json
from typing import Any

import pytest

from stagecoach.kinds.plan import Key
from stagecoach.kinds.transformerproject.reconcile import CONTROLLER
from tests import builders
from tests.unit.kinds.test_transformerproject import edit, resolve
from tests.unit.kinds.world import World

STORE = {"uri": "pvc://store/desk", "retention": {"runs": 20, "keepFor": "30d"}}
NOTHING = {"kept": 3, "leaving": 0, "announced": 0, "removed": 0, "bytes": 0, "message": "Of 3 artifacts 3 stay."}
HOUR, DAY = 3600, 86400


def ended_run(name: str, letter: str) -> builders.Object:
    run = builders.stored(builders.run(name), uid=f"{letter * 8}-0000-0000-0000-000000000000")
    run["status"] = {
        "phase": "Succeeded",
        "completionTime": builders.CREATED,
        "artifact": {"digest": builders.digest(letter)},
        "inputs": {"digest": builders.digest("e"), "storage": "pvc://store/desk"},
    }
    return run


class Storehouse(World):
    """A project with runs."""

    def __init__(self, **spec: Any) -> None:
        super().__init__(CONTROLLER, builders.stored(builders.project(**({"storage": STORE} | spec))))
        self.runs = [ended_run("first", "a")]
        self.others: list[builders.Object] = []
        self.documents: dict[str, list[builders.Object]] = {}

    def referrers(self, key: Key) -> list[builders.Object]:
        assert key.kind == "TransformerProject"
        return self.runs

    def everything(self) -> list[builders.Object]:
        return [self.stored, *self.runs, *self.others]

    def config_maps(self, uid: str) -> list[builders.Object]:
        return self.documents.get(uid, [])

    @property
    def told(self) -> builders.Object:
        found: builders.Object = self.status.get("retention", {})
        return found

    def document(self, name: str) -> builders.Object:
        [variable] = self.job_objects[name]["spec"]["template"]["spec"]["containers"][0]["env"]
        found: builders.Object = json.loads(variable["value"].replace("$$", "$"))
        return found

    def end(self, report: builders.Object | None = None, code: int = 0, **found: Any) -> None:
        """Let the Job that was decided be made, run and end."""
        self.reconcile()
        self.start_pods()
        self.run_pods()
        self.end_pods(report or {"outcome": "Done", "retention": NOTHING | found}, code)
        self.reconcile()


@pytest.fixture
def here() -> Storehouse:
    made = Storehouse()
    resolve(made)
    assert made.told["number"] == 1, "with a run that has succeeded, it is decided as soon as the project is Ready"
    return made


def jobs_of(here: World) -> list[str]:
    return sorted(name.rpartition("-")[2] for name in here.creations)


def test_without_retention_nothing_is_looked_through() -> None:
    here = Storehouse(storage={"uri": "pvc://store/desk"})
    resolve(here)
    here.wait(1000 * DAY)
    here.reconcile()
    assert jobs_of(here) == ["r1"]
    assert "retention" not in here.status


def test_a_storage_without_records_is_not_looked_through() -> None:
    here = Storehouse()
    here.runs = []
    resolve(here)
    assert "retention" not in here.status
    here.runs = [ended_run("first", "a")]
    here.reconcile()
    assert here.told["number"] == 1


def test_the_intent_stands_in_the_status_before_the_job_is_made(here: Storehouse) -> None:
    assert jobs_of(here) == ["r1"]
    here.reconcile()
    assert jobs_of(here) == ["k1", "r1"]
    [volume] = [
        item
        for item in here.job_objects[here.told["job"]]["spec"]["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in item
    ]
    assert volume == {"name": "storage", "persistentVolumeClaim": {"claimName": "store"}}


def test_the_job_is_told_what_the_objects_of_the_cluster_name(here: Storehouse) -> None:
    here.others = [ended_run("elsewhere", "b")]
    here.others[0]["metadata"]["namespace"] = "another"
    here.runs.append(builders.stored(builders.run("second"), uid="cccccccc-0000-0000-0000-000000000000"))
    here.wait(100)
    here.reconcile()
    document = here.document(here.told["job"])
    assert document["kind"] == "Retain"
    assert (document["runs"], document["keepSeconds"], document["noticeSeconds"]) == (20, 30 * DAY, 3 * DAY)
    assert {"a" * 12, "b" * 12, "e" * 12} <= set(document["protected"])
    assert document["knownRuns"] == ["cccccccc-0000"], "what has ended goes on from nothing"
    assert document["decided"] == here.now.strftime("%Y-%m-%dT%H:%M:%SZ"), "the lists are of then, whenever it was due"
    assert document["subject"]["uid"] == here.stored["metadata"]["uid"]


def test_the_job_is_told_what_deployments_serve_whose_runs_and_projects_are_gone(here: Storehouse) -> None:
    deployment: builders.Object = {
        "kind": "ModelDeployment",
        "metadata": {"name": "desk", "namespace": "another", "uid": "uid-deployment"},
        "spec": {"project": "gone", "model": {"run": "gone"}, "gates": [{"name": "gone"}]},
        "status": {"serving": {"artifact": builders.digest("b")}, "history": [{"artifact": builders.digest("c")}]},
    }
    here.others = [deployment]
    here.documents = {"uid-deployment": [{"data": {"admitted.json": f'{{"artifact": "{builders.digest("d")}"}}'}}]}
    here.reconcile()
    assert {"b" * 12, "c" * 12, "d" * 12} <= set(here.document(here.told["job"])["protected"])


def test_what_it_came_to_is_told_and_what_leaves_is_an_event(here: Storehouse) -> None:
    here.end(leaving=2, announced=2, removed=1, bytes=7, again="2026-01-09T00:00:00Z", message="2 leave.")
    assert {key: here.told[key] for key in ("kept", "leaving", "removed", "bytes", "outcome", "message")} == {
        "kept": 3,
        "leaving": 2,
        "removed": 1,
        "bytes": 7,
        "outcome": "Succeeded",
        "message": "2 leave.",
    }
    assert here.told["at"] == here.told["completionTime"]
    assert here.status["phase"] == "Ready"
    writes = here.status_writes
    here.reconcile()
    assert here.status_writes == writes


def test_events_are_about_what_was_removed_and_announced(here: Storehouse) -> None:
    here.reconcile()
    here.start_pods()
    here.end_pods({"outcome": "Done", "retention": NOTHING | {"announced": 1, "removed": 2}})
    plan = here.reconcile()
    assert [event.reason for event in plan.events] == ["ArtifactsRemoved", "ArtifactsLeave"]


def test_another_look_follows_a_change_of_what_runs_have_and_not_at_once(here: Storehouse) -> None:
    here.end()
    here.wait(30 * DAY)
    here.reconcile()
    assert here.told["number"] == 1, "nothing has changed"
    here.runs.append(ended_run("second", "b"))
    here.reconcile()
    assert here.told["number"] == 2
    here.end()
    here.runs.pop(0)
    plan = here.reconcile()
    assert here.told["number"] == 2
    assert plan.requeue_after
    assert 0 < plan.requeue_after <= HOUR
    here.wait(HOUR)
    here.reconcile()
    assert here.told["number"] == 3


def test_another_look_is_taken_when_the_trainer_said(here: Storehouse) -> None:
    here.end(again=here.now.replace(month=2).strftime("%Y-%m-%dT%H:%M:%SZ"))
    here.wait(29 * DAY)
    here.reconcile()
    assert here.told["number"] == 1
    here.wait(3 * DAY)
    here.reconcile()
    assert here.told["number"] == 2
    assert here.told["kept"] == 3, "what the last one came to is still said"


def test_another_rule_is_looked_at_at_once(here: Storehouse) -> None:
    here.end()
    edit(here, storage={"uri": "pvc://store/desk", "retention": {"runs": 5}})
    here.reconcile()
    assert here.told["number"] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"storage": {"uri": "pvc://store/desk"}},
        {"storage": {"uri": "pvc://store/desk", "retention": {"runs": 99}}},
        {"tokenization": {"maxLength": 64, "overflow": "Reject"}},
    ],
)
def test_a_change_of_mind_stops_the_job(here: Storehouse, change: builders.Object) -> None:
    here.reconcile()
    here.start_pods()
    here.run_pods()
    edit(here, **change)
    here.reconcile()
    assert not [name for name in here.job_objects if name.endswith("-k1")]
    assert here.told.get("outcome", "Cancelled") == "Cancelled"
    if "retention" not in change.get("storage", STORE):
        assert "retention" not in here.status


def test_a_retention_that_is_back_takes_no_earlier_job_for_an_answer(here: Storehouse) -> None:
    here.end()
    edit(here, storage={"uri": "pvc://store/desk"})
    here.reconcile()
    edit(here, storage={"uri": "pvc://store/desk", "retention": {"runs": 1}})
    here.reconcile()
    assert (here.told["number"], here.told.get("outcome")) == (2, None)
    here.end()
    assert jobs_of(here) == ["k1", "k2", "r1"]


def test_what_was_found_in_another_storage_is_not_said_of_this_one(here: Storehouse) -> None:
    here.end()
    edit(here, storage={"uri": "pvc://store/other", "retention": {"runs": 20}})
    here.reconcile()
    resolve(here)
    assert here.told["number"] == 2
    assert not {"kept", "leaving", "removed", "at", "message"} & here.told.keys()


@pytest.mark.parametrize("name", ["{job}-again", "copy-k1", "desk-k7"])
def test_a_job_that_a_person_copied_is_left_alone(here: Storehouse, name: str) -> None:
    here.reconcile()
    copied = copy.deepcopy(here.job_objects[here.told["job"]])
    copied["metadata"]["name"] = name.format(job=here.told["job"])
    here.job_objects[copied["metadata"]["name"]] = copied
    edit(here, storage={"uri": "pvc://store/desk"})
    here.reconcile()
    assert [job for job in here.job_objects if "-k" in job] == [copied["metadata"]["name"]]


@pytest.mark.parametrize("ended", [False, True])
def test_a_problem_in_ready_is_over_without_a_word_about_the_storage(here: Storehouse, ended: bool) -> None:
    if ended:
        here.end(again="2026-03-01T00:00:00Z")
    here.reconcile()
    told, writes = here.told, here.status_writes
    here.show_problem()
    here.reconcile()
    assert here.condition("Ready")["reason"] == "Resolved"
    here.reconcile()
    assert (here.told, here.status_writes) == (told, writes + 1)


def test_a_project_that_is_not_ready_looks_through_nothing(here: Storehouse) -> None:
    here.end()
    edit(here, tokenization={"maxLength": 64, "overflow": "Reject"})
    here.runs.append(ended_run("second", "b"))
    here.wait(DAY)
    here.reconcile()
    here.reconcile()
    assert here.status["phase"] == "Resolving"
    assert here.told["number"] == 1


def test_what_may_pass_is_tried_again_ever_more_slowly_and_the_project_stays_ready(here: Storehouse) -> None:
    problem = {"reason": "StorageStale", "message": "The mount is stale.", "remedy": "See to it."}
    for failures in (1, 2, 3):
        here.end({"outcome": "ServiceFailed", "problem": problem}, 69)
        assert here.told["failures"] == failures
        assert "The mount is stale. See to it." in here.told["message"]
        assert here.status["phase"] == "Ready"
        plan = here.reconcile()
        assert plan.requeue_after
        here.wait(plan.requeue_after)
        here.reconcile()
        assert here.told["number"] == failures + 1
    here.end()
    assert here.told["failures"] == 0


def test_what_only_a_person_can_mend_is_looked_at_again_the_next_day(here: Storehouse) -> None:
    here.end({"outcome": "BadInput", "problem": {"reason": "RecordUnreadable", "message": "Broken."}}, 64)
    assert here.told["outcome"] == "BadInput"
    here.wait(DAY - 60)
    here.reconcile()
    assert here.told["number"] == 1
    here.wait(60)
    here.reconcile()
    assert here.told["number"] == 2


def test_a_success_without_words_is_none(here: Storehouse) -> None:
    here.end({"outcome": "Done"})
    assert here.told["outcome"] == "ProgramFailed"


def test_what_is_in_use_and_does_not_fit_into_a_job_removes_nothing(here: Storehouse) -> None:
    runs = [ended_run(f"run-{number}", "a") for number in range(9000)]
    for number, run in enumerate(runs):
        run["status"]["artifact"]["digest"] = f"sha256:{number:064x}"[:7] + f"{number:012x}" + "0" * 52
    here.others = runs
    [event] = here.reconcile().events
    assert jobs_of(here) == ["r1"]
    assert "does not fit" in here.told["message"]
    assert (event.reason, event.message, event.warning) == ("SpecTooLarge", here.told["message"], True)
    assert here.status["phase"] == "Ready"


def test_a_queue_holds_it_up_and_says_so() -> None:
    here = Storehouse(pods={"queue": "small"})
    here.reconcile()
    here.reconcile()
    here.admit(True)
    resolve(here)
    here.reconcile()
    here.reconcile()
    assert "waits for queue 'small'" in here.told["message"]
    assert here.job_objects[here.told["job"]]["spec"]["suspend"] is True
