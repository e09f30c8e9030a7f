"""Each check of a soak finds what it is there for."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests import builders
from tests.simulation import MARK
from tests.soak import verdict
from tests.soak.audit import Write
from tests.soak.evidence import Evidence, Hit

Object = dict[str, Any]


def run(name: str = "first", phase: str = "Succeeded", **status: Any) -> Object:
    made = builders.run(name)
    made["metadata"]["resourceVersion"] = "20"
    ready = {"type": "Ready", "status": "True", "reason": "Trained", "message": "Trained."}
    outcome = phase if phase in verdict.FINAL else None
    attempts = [{"number": 1, "job": f"{name}-a1", "outcome": outcome, "message": "words"}]
    made["status"] = {
        "phase": phase,
        "conditions": [ready],
        "inputs": {"digest": builders.digest("1")},
        "artifact": {"digest": builders.digest("7")},
        "attempts": attempts,
        **status,
    }
    return made


def pod(name: str = "first-pod", of: str = "first", report: Object | None = None) -> Object:
    message = json.dumps(builders.artifact_report() if report is None else report)
    ended = {"exitCode": 0, "message": message, "startedAt": builders.CREATED, "finishedAt": builders.CREATED}
    return {
        "metadata": {"name": name, "uid": name, "namespace": "team", "labels": {"stagecoach.dev/name": of}},
        "status": {"phase": "Succeeded", "containerStatuses": [{"name": "trainer", "state": {"terminated": ended}}]},
    }


def write(at: int, verb: str, resource: str, name: str = "first", user: str = "a", **more: Any) -> Write:
    when = f"2026-01-02T03:04:{at:02}.000000Z"
    told: Object = {"code": 200, "received": when, "completed": when} | more
    return Write(user, verb, resource, "team", name, **told)


def lease(at: int, user: str) -> Write:
    return write(at, "update", "leases", "stagecoach", user, response={"spec": {"holderIdentity": user}})


def status(at: int, obj: Object, user: str = "a") -> Write:
    return write(at, "patch", "finetuneruns/status", obj["metadata"]["name"], user, response=obj)


def unanswered(at: int) -> Write:
    return write(at, "patch", "finetuneruns/status", code=504, request=run(), response={"status": "Failure"})


def job(at: int, name: str = "first-a1", user: str = "a") -> Write:
    labels = {"stagecoach.dev/kind": "FineTuneRun", "stagecoach.dev/name": "first"}
    return write(at, "create", "jobs", name, user, code=201, request={"metadata": {"labels": labels}})


GOOD = Evidence(
    writes=[lease(1, "a"), status(2, run(phase="Queued", artifact=None)), job(3), status(9, run())],
    runs=[run()],
    pods=[pod()],
    events=[],
    made=frozenset({("team", "first")}),
    storage={builders.digest("1"): ""},
)


def event(message: str = "Trained.", of: str = "first", kind: str = "Normal", version: int = 2) -> Object:
    metadata = {"namespace": "team", "name": f"{of}.{message}"}
    about = {"kind": "FineTuneRun", "namespace": "team", "name": of, "resourceVersion": str(version)}
    return {"metadata": metadata, "involvedObject": about, "type": kind, "reason": "Succeeded", "message": message}


def warning(message: str = "Attempt 1: words", of: str = "first") -> Object:
    return event(message, of, "Warning")


def recorded(at: int, told: Object, code: int = 201, user: str = "a") -> Write:
    return write(at, "create", "events", told["metadata"]["name"], user, code=code, request=told)


def hit(fault: str, victim: str, began: int, ended: int) -> Hit:
    return Hit(fault, victim, *(datetime(2026, 1, 2, 3, 4, second, tzinfo=UTC) for second in (began, ended)))


def test_nothing_is_found_where_all_is_well() -> None:
    assert not any(verdict.judge(GOOD).values())


def simulated(obj: Object) -> Object:
    obj["metadata"]["labels"] = MARK
    return obj


SILENT: Object = {"conditions": [], "attempts": []}
FAILED_SILENTLY = [{"number": 1, "job": "first-a1", "outcome": "PodLost"}]
HELPLESS: Object = {"type": "Ready", "status": "False", "reason": "ArtifactMissing", "message": "There is no artifact."}
LOST_HELPLESSLY = [FAILED_SILENTLY[0] | {"message": "The pod is gone."}]
TOLD = [FAILED_SILENTLY[0] | {"message": "The pod is gone. Nothing to do: nodes drain."}]
BEGUN: Object = {"artifact": None, "record": None}
OTHER_INPUTS: Object = BEGUN | {"inputs": {"digest": builders.digest("2")}}
OTHER_END = [{"number": 1, "job": "first-a1", "outcome": "PodLost", "message": "words"}]
# An attempt that was lost at 20 s, and what its run did after it.
LOST = run(attempts=OTHER_END)
ENDS: Object = {"runs": [LOST], "writes": [status(20, LOST)]}
EARLY = "2026-01-02T03:04:05.000000Z"  # an answer at 20 s came when nobody waited for it any more
UNTOLD = [status(20, LOST), recorded(26, event(version=30))]
# What was said of earlier statuses may be written later than that, with what is said of this one still to come.
BEHIND = [status(20, LOST), recorded(26, event())]
SECOND = run("second", attempts=OTHER_END)
TWO_ENDS: Object = {"runs": [LOST, SECOND], "writes": [status(20, LOST), status(20, SECOND)]}
SUSPENDED = [{"number": 1, "job": "first-a1", "outcome": "Suspended", "message": "words"}]


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        ("every_run_ends", {"runs": []}),
        ("every_run_ends", {"runs": [run(phase="Running")]}),
        ("every_run_is_in_the_log", {"writes": []}),
        ("every_failure_speaks", {"runs": [run(phase="Failed", **SILENT)]}),
        ("every_failure_speaks", {"runs": [run(phase="Failed", conditions=[HELPLESS], attempts=[])]}),
        ("every_failure_speaks", {"runs": [run(attempts=FAILED_SILENTLY)]}),
        ("every_failure_speaks", {"runs": [run(attempts=LOST_HELPLESSLY)]}),
        ("real_runs_succeed", {"runs": [run(phase="Failed")]}),
        ("no_job_twice", {"writes": [*GOOD.writes, job(5)]}),
        ("same_inputs_once", {"pods": [pod(), pod("again")]}),
        ("same_inputs_once", {"runs": [run(), run("twin", artifact={"digest": builders.digest("8")})]}),
        ("intent_first", {"writes": [lease(1, "a"), job(3)]}),
        ("intent_first", {"writes": [lease(1, "a"), job(3), status(4, run())]}),
        ("nothing_is_lost", {"writes": [status(1, run(**BEGUN)), status(2, run(**OTHER_INPUTS))]}),
        ("nothing_is_lost", {"writes": [status(1, run()), status(2, run(phase="Running"))]}),
        ("nothing_is_lost", {"writes": [status(1, run()), status(2, run(artifact=None))]}),
        ("nothing_is_lost", {"writes": [status(1, run()), status(2, run(attempts=OTHER_END))]}),
        ("nothing_is_lost", {"writes": [status(1, run()), job(2), status(3, run(attempts=[]))]}),
        ("stale_writers_are_refused", {"writes": [lease(1, "a"), lease(2, "b"), status(3, run())]}),
        ("stale_writers_are_refused", {"writes": [status(3, run())]}),
        ("nothing_is_refused_that_should_not_be_asked", {"writes": [write(1, "create", "jobs", code=403)]}),
        ("nothing_is_refused_that_should_not_be_asked", {"writes": [write(1, "create", "jobs", code=422)]}),
        ("success_is_the_trainers_word", {"pods": []}),
        ("success_is_the_trainers_word", {"runs": [run(phase="Failed")]}),
        ("no_event_twice", {"events": [event(), event()]}),
        ("no_event_twice", {"events": [event() | {"count": 2}]}),
        ("every_bad_end_has_its_event", ENDS),
        ("every_bad_end_has_its_event", ENDS | {"events": [warning(), warning("Attempt 1: and more")]}),
        ("every_bad_end_has_its_event", ENDS | {"events": [event("Attempt 1: words")]}),
        ("every_bad_end_has_its_event", ENDS | {"events": [warning("Attempt 2: words")]}),
        ("every_bad_end_has_its_event", ENDS | {"events": [warning("Attempt 10: words")]}),
        ("every_bad_end_has_its_event", ENDS | {"events": [warning(of="second")]}),
        ("every_bad_end_has_its_event", ENDS | {"writes": [status(20, LOST), recorded(21, warning(), code=403)]}),
        # Faults that were over before, that came when later Events were written already, of others, and of the clock.
        ("every_bad_end_has_its_event", ENDS | {"hits": [hit("kill_operator", "a", 10, 14)]}),
        ("every_bad_end_has_its_event", ENDS | {"writes": UNTOLD, "hits": [hit("kill_operator", "a", 27, 30)]}),
        ("every_bad_end_has_its_event", ENDS | {"hits": [hit("kill_operator", "b", 20, 30)]}),
        ("every_bad_end_has_its_event", ENDS | {"hits": [hit("refuse_storage", "storage", 20, 30)]}),
        ("every_bad_end_has_its_event", ENDS | {"hits": [hit("step_clock", "a", 20, 30)]}),
        # One fault does not take two Events.
        ("every_bad_end_has_its_event", TWO_ENDS | {"hits": [hit("kill_operator", "a", 21, 30)]}),
        ("artifacts_are_whole", {"storage": {}}),
        ("artifacts_are_whole", {"storage": {builders.digest("1"): "a file is missing"}}),
    ],
)
def test_what_is_wrong_is_found(check: str, changes: Object) -> None:
    assert verdict.judge(replace(GOOD, **changes))[check]


# It was not answered, and says of an attempt that is known only what has changed.
UNNAMED = write(2, "patch", "evaluations/status", "judged", code=504, request={"status": {"attempt": {"end": "now"}}})


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        ("every_failure_speaks", {"runs": [run(attempts=TOLD)]}),
        ("real_runs_succeed", {"runs": [simulated(run(phase="Failed"))]}),
        ("same_inputs_once", {"pods": [pod(), pod("twin", report=builders.artifact_report(adopted=True))]}),
        ("intent_first", {"writes": [lease(1, "a"), unanswered(2), job(3)]}),
        ("intent_first", {"writes": [lease(1, "a"), UNNAMED, status(2, run()), job(3)]}),
        ("nothing_is_lost", {"writes": [status(1, run(**BEGUN)), status(2, run(**BEGUN, attempts=[])), job(3)]}),
        ("success_is_the_trainers_word", {"pods": [], "bereft": frozenset({("team", "first")})}),
        ("stale_writers_are_refused", {"writes": [lease(1, "a"), lease(3, "b"), status(2, run())]}),
        ("stale_writers_are_refused", {"writes": [lease(1, "a"), lease(2, "b"), replace(status(3, run()), code=409)]}),
        ("nothing_is_refused_that_should_not_be_asked", {"writes": [write(1, "create", "jobs", code=409)]}),
        ("no_event_twice", {"events": [event(), event("Something else.")]}),
        ("every_bad_end_has_its_event", ENDS | {"events": [warning(), event("Attempt 1: goes on.")]}),
        ("every_bad_end_has_its_event", ENDS | {"writes": [status(20, LOST), recorded(20, warning())]}),
        ("every_bad_end_has_its_event", ENDS | {"writes": [recorded(20, warning())], "events": [warning()]}),
        ("every_bad_end_has_its_event", {"runs": [run(attempts=SUSPENDED)]}),
        ("every_bad_end_has_its_event", ENDS | {"writes": [status(20, LOST), recorded(21, warning(), code=503)]}),
        ("every_bad_end_has_its_event", ENDS | {"writes": [status(20, LOST), recorded(21, warning(), code=429)]}),
        ("every_bad_end_has_its_event", ENDS | {"writes": [replace(unanswered(20), request=LOST), status(22, LOST)]}),
        ("every_bad_end_has_its_event", ENDS | {"writes": [replace(status(20, LOST), received=EARLY)]}),
        ("every_bad_end_has_its_event", ENDS | {"hits": [hit("kill_operator", "a", 21, 30)]}),
        ("every_bad_end_has_its_event", ENDS | {"hits": [hit("api_server_away", "control plane", 10, 18)]}),
        # It may have waited behind others that the API server did not take.
        ("every_bad_end_has_its_event", ENDS | {"hits": [hit("kill_operator", "a", 40, 45)]}),
        ("every_bad_end_has_its_event", ENDS | {"writes": UNTOLD, "hits": [hit("kill_operator", "a", 25, 30)]}),
        ("every_bad_end_has_its_event", ENDS | {"writes": BEHIND, "hits": [hit("kill_operator", "a", 27, 30)]}),
        ("artifacts_are_whole", {"runs": [simulated(run())], "storage": {}}),
    ],
)
def test_what_is_well_is_left_alone(check: str, changes: Object) -> None:
    assert not verdict.judge(replace(GOOD, **changes))[check]


def test_a_check_that_fails_itself_leaves_the_others_their_say() -> None:
    found = verdict.judge(replace(GOOD, runs=[{}]))
    assert "the check itself fails: KeyError" in found["every_run_ends"][0]
    assert not found["stale_writers_are_refused"]
