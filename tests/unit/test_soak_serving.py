"""Each check of a soak finds what is wrong with what is served, by the log and by clients' answers."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import builders
from tests.soak import answers, serving, verdict
from tests.soak.audit import Write
from tests.soak.evidence import CONTROL_PLANE, Answer
from tests.unit.test_soak_verdict import GOOD as OF_RUNS
from tests.unit.test_soak_verdict import Object, hit, lease, write

RELEASES = {"first": builders.digest("a"), "second": builders.digest("b"), "poisoned": builders.digest("c")}
FIRST, SECOND, POISONED = RELEASES.values()


def evaluation(run: str, gate: str = "good", namespace: str = "team") -> Object:
    spec = {"gate": gate, "run": run, "release": {"digest": RELEASES[run]}}
    return {"metadata": {"namespace": namespace, "name": f"{gate}-{run}"}, "spec": spec}


def judged(at: int, run: str, verdict: str = "Passed", **more: Any) -> Write:
    return write(at, "patch", "evaluations/status", f"good-{run}", response={"status": {"verdict": verdict}}, **more)


def part(run: str, *, gate: str = "good", by: str = "", **more: Any) -> Object:
    return {
        "release": RELEASES[run],
        "run": run,
        "gates": [{"gate": gate, "evaluation": f"good-{by or run}"}],
        **more,
    }


def routes(revision: int, acknowledged: int = 2, digest: str = "") -> Object:
    return {"revision": revision, "digest": digest or f"digest {revision}", "gateways": 2, "acknowledged": acknowledged}


def deployment(run: str = "second", **status: Any) -> Object:
    made = builders.deployment(model={"run": run})
    made["status"] = status
    return made


def told(at: int, obj: Object, **more: Any) -> Write:
    return write(at, "patch", "modeldeployments/status", "answers", response=obj, **more)


def lost(at: int, **status: Any) -> Write:
    """A status that the API server may have taken, and has not answered."""
    return told(at, {}, code=504, request={"status": status})


def applied(at: int, revision: int) -> Write:
    metadata = {"annotations": {"stagecoach.dev/revision": str(revision)}}
    return write(at, "patch", "configmaps", "answers-routes", request={"metadata": metadata})


def answer(at: float, release: str = SECOND, status: int = 200, error: str = "", took: float = 0.1) -> Answer:
    began = datetime(2026, 1, 2, 3, 4, tzinfo=UTC) + timedelta(seconds=at)
    return Answer(began, began + timedelta(seconds=took), status, release, error)


ADMITTED = told(10, deployment("first", candidate=part("first")))
SERVED = told(12, deployment("first", serving=part("first"), routes=routes(1, 0)))
SETTLED = told(14, deployment("first", serving=part("first"), routes=routes(1)))
CHOSEN = told(20, deployment(serving=part("first"), candidate=part("second"), routes=routes(1)))
WEIGHED = told(22, deployment(serving=part("first"), candidate=part("second", weight=50), routes=routes(2, 0)))
SWITCHED = told(24, deployment(serving=part("second"), routes=routes(3, 1)))
LAST = deployment(serving=part("second"), routes=routes(3))
STATUSES = [ADMITTED, SERVED, SETTLED, CHOSEN, WEIGHED, SWITCHED, told(26, LAST)]
VERDICTS = [judged(5, "first"), judged(6, "second"), judged(7, "poisoned", "Failed")]
WRITES = [lease(1, "a"), *VERDICTS, *STATUSES, applied(13, 1), applied(23, 2), applied(25, 3)]
ANSWERS = [answer(15, FIRST), answer(23, FIRST), answer(23), answer(25, FIRST), *(answer(27 + n) for n in range(20))]
EVALUATIONS = [evaluation(run) for run in RELEASES]
ELSEWHERE = [evaluation(run, namespace="elsewhere") for run in RELEASES]
GOOD = replace(
    OF_RUNS,
    writes=[*OF_RUNS.writes, *WRITES],
    evaluations=EVALUATIONS,
    deployments=[LAST],
    answers=ANSWERS,
)


CHECKS = {check.__name__: check for check in verdict.CHECKS}


def found(check: str, changes: Object) -> list[str]:
    return list(CHECKS[check](replace(GOOD, **changes)))


def test_nothing_is_found_where_all_is_well() -> None:
    assert not [name for name, check in CHECKS.items() if check.__module__ == serving.__name__ and found(name, {})]


def but(before: Write, *after: Write) -> Object:
    """Return the log in which other statuses are in the place of one."""
    place = WRITES.index(before)
    return {"writes": [*WRITES[:place], *after, *WRITES[place + 1 :]]}


def with_answers(*more: Answer) -> Object:
    return {"answers": sorted([*ANSWERS, *more], key=lambda each: each.began)}


def error(at: float, status: int = 502, code: str = "engine_unavailable", release: str = "") -> Object:
    return with_answers(answer(at, release, status, code))


ENGINE = hit(answers.ENGINE_DELETED, "the engine", 30, 40)
ENGINE_KILLED = hit(answers.ENGINE_KILLED, "the engine", 30, 40)
KILLED = hit(answers.GATEWAY_KILLED, "a gateway", 30, 40)
DELETED = hit(answers.GATEWAY_DELETED, "a gateway", 30, 40)
RESTARTED = hit("restart_api_server", CONTROL_PLANE, 28, 32)
SILENT = hit("pause_etcd", CONTROL_PLANE, 45, 48)
RESET = "Connection reset by peer"
UNTOLD = {"type": "Ready", "status": "False", "reason": "EngineNotReady", "message": "It does not answer."}
TOO_EARLY = told(4, deployment("first", candidate=part("first")))
OTHER_GATE = told(10, deployment("first", candidate=part("first", gate="other")))
TOO_FEW = told(10, deployment("first", candidate=part("first") | {"gates": []}))
MORE = told(
    10,
    deployment(
        "first", candidate=part("first") | {"gates": [*part("first")["gates"], *part("first", gate="other")["gates"]]}
    ),
)
OTHER_RELEASE = told(10, deployment("first", candidate=part("poisoned", by="first")))
OTHER_RUN = told(24, deployment("first", serving=part("second"), routes=routes(3, 1)))
OTHER_MODEL = replace(SWITCHED, response=SWITCHED.response | {"spec": {"model": {"release": FIRST}}})


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        ("clients_ask_all_the_time", {"answers": []}),
        ("clients_ask_all_the_time", {"answers": [answer(0), answer(31)]}),
        ("nothing_ungated_is_admitted", but(ADMITTED, TOO_EARLY)),
        ("nothing_ungated_is_admitted", but(ADMITTED, OTHER_GATE)),
        ("nothing_ungated_is_admitted", but(ADMITTED, TOO_FEW)),
        ("nothing_ungated_is_admitted", but(ADMITTED, MORE)),
        ("nothing_ungated_is_admitted", but(ADMITTED, OTHER_RELEASE)),
        ("nothing_ungated_is_admitted", {"evaluations": ELSEWHERE}),
        ("nothing_ungated_is_admitted", but(ADMITTED, told(10, deployment(serving=part("poisoned"))))),
        ("nothing_ungated_is_admitted", but(VERDICTS[1], judged(6, "second", "Inconclusive"))),
        ("nothing_ungated_is_admitted", but(ADMITTED, lost(10, candidate=part("poisoned")))),
        (
            "nothing_ungated_answers",
            {"evaluations": ELSEWHERE, "writes": [replace(each, namespace="elsewhere") for each in WRITES]},
        ),
        ("nothing_ungated_answers", with_answers(answer(30, POISONED))),
        ("nothing_ungated_answers", with_answers(answer(30, builders.digest("d")))),
        ("nothing_ungated_answers", with_answers(answer(4, FIRST))),
        # Nor may it have failed to answer.
        ("nothing_ungated_answers", error(30, release=POISONED)),
        ("nothing_ungated_answers", but(VERDICTS[0], judged(5, "first", code=409))),
        ("the_incumbent_stays", {"writes": [*WRITES, told(27, deployment(routes=routes(3)))]}),
        ("the_incumbent_stays", {"writes": [*WRITES, lost(27, serving=None)]}),
        ("the_incumbent_stays", but(CHOSEN, told(20, deployment(serving=part("second"), routes=routes(2))))),
        ("the_incumbent_stays", but(CHOSEN, lost(20, serving=part("second")))),
        ("the_incumbent_stays", but(SWITCHED, OTHER_RUN)),
        ("the_incumbent_stays", but(SWITCHED, OTHER_MODEL)),
        # After every gateway had other routes; before there were any; and while it had no requests yet.
        ("only_what_is_served_answers", with_answers(answer(26.5, FIRST))),
        ("only_what_is_served_answers", with_answers(answer(9, FIRST))),
        ("only_what_is_served_answers", with_answers(answer(21))),
        ("only_what_is_served_answers", but(WEIGHED)),
        ("revisions_only_grow", but(SWITCHED, told(24, deployment(serving=part("second"), routes=routes(1))))),
        ("revisions_only_grow", but(SWITCHED, told(24, deployment(serving=part("second"), routes=routes(2, 0, "d"))))),
        ("revisions_only_grow", {"writes": [*WRITES, applied(27, 2)]}),
        ("every_failed_request_is_explained", error(30)),
        ("every_failed_request_is_explained", error(29, code="engine_error") | {"hits": [ENGINE]}),
        ("every_failed_request_is_explained", error(51) | {"hits": [ENGINE]}),
        ("every_failed_request_is_explained", error(35, 0, RESET) | {"hits": [ENGINE]}),
        ("every_failed_request_is_explained", error(35, 500, "internal_error") | {"hits": [ENGINE, KILLED]}),
        ("every_failed_request_is_explained", error(35) | {"hits": [KILLED, RESTARTED]}),
        ("every_failed_request_is_explained", error(35, 503, "nothing_served") | {"hits": [ENGINE]}),
        ("every_failed_request_is_explained", error(35, 0, RESET) | {"hits": [DELETED]}),
        ("every_failed_request_is_explained", error(35, 0, RESET) | {"hits": [RESTARTED]}),
        ("every_failed_request_is_explained", error(35) | {"hits": [DELETED, RESTARTED]}),
        ("every_failed_request_is_explained", error(59) | {"hits": [ENGINE, SILENT]}),
        ("every_failed_request_is_explained", error(53) | {"hits": [ENGINE, hit("pause_etcd", CONTROL_PLANE, 52, 55)]}),
        # A second silence, which began when all had heard.
        (
            "every_failed_request_is_explained",
            error(62) | {"hits": [ENGINE, SILENT, hit("pause_etcd", CONTROL_PLANE, 59, 59)]},
        ),
        ("every_deployment_serves_in_the_end", {"deployments": [deployment("first", serving=part("second"))]}),
        ("every_deployment_serves_in_the_end", {"deployments": [deployment()]}),
        (
            "every_deployment_serves_in_the_end",
            {"deployments": [deployment(serving=part("second"), candidate=part("second"))]},
        ),
        ("every_deployment_serves_in_the_end", error(46.5, release=SECOND)),
        ("every_deployment_serves_in_the_end", with_answers(answer(46.5, FIRST))),
        (
            "every_trouble_speaks",
            but(SERVED, told(12, deployment("first", serving=part("first"), conditions=[UNTOLD]))),
        ),
        (
            "every_trouble_speaks",
            but(SERVED, told(12, deployment("first", serving=part("first"), rejected=[part("second") | UNTOLD]))),
        ),
        ("stale_writers_are_refused", {"writes": [lease(1, "a"), lease(3, "b"), *STATUSES]}),
    ],
)
def test_what_is_wrong_is_found(check: str, changes: Object) -> None:
    assert found(check, changes)


UNSURE = lost(22, candidate={"weight": 50}, routes={"revision": 2, "acknowledged": 0})


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        # What the API server could not answer may have been written.
        (
            "nothing_ungated_is_admitted",
            but(VERDICTS[0], judged(5, "first", code=504, request={"status": {"verdict": "Passed"}})),
        ),
        ("the_incumbent_stays", but(CHOSEN, lost(20, candidate=part("second")))),
        ("the_incumbent_stays", but(SWITCHED, lost(23, candidate=None), SWITCHED)),
        ("only_what_is_served_answers", but(WEIGHED, UNSURE)),
        (
            "only_what_is_served_answers",
            but(SWITCHED, SWITCHED, lost(25, routes={"acknowledged": 2})) | with_answers(answer(25.5, FIRST)),
        ),
        # What began before all gateways had newer routes may end after that.
        ("only_what_is_served_answers", with_answers(answer(25.5, FIRST, took=5))),
        ("revisions_only_grow", but(SWITCHED, lost(24, routes={"revision": 1}))),
        ("every_failed_request_is_explained", error(35) | {"hits": [ENGINE]}),
        ("every_failed_request_is_explained", error(45, 504, "engine_timeout") | {"hits": [ENGINE]}),
        ("every_failed_request_is_explained", error(35, code="engine_error") | {"hits": [ENGINE_KILLED]}),
        ("every_failed_request_is_explained", error(35, 0, RESET) | {"hits": [KILLED]}),
        ("every_failed_request_is_explained", error(35, 503, "nothing_served") | {"hits": [KILLED]}),
        ("every_failed_request_is_explained", error(35, 0, RESET) | {"hits": [DELETED, RESTARTED]}),
        ("every_failed_request_is_explained", with_answers(answer(25, "", 0, RESET, took=6)) | {"hits": [KILLED]}),
        # Nodes hear later that it is back while nobody can be told, and for a while after that.
        ("every_failed_request_is_explained", error(57) | {"hits": [ENGINE, SILENT]}),
        ("every_failed_request_is_explained", error(65) | {"hits": [ENGINE, hit("away", CONTROL_PLANE, 20, 45)]}),
        # A second silence in a row.
        (
            "every_failed_request_is_explained",
            error(72) | {"hits": [ENGINE, SILENT, hit("pause_etcd", CONTROL_PLANE, 56, 59)]},
        ),
    ],
)
def test_what_is_well_is_left_alone(check: str, changes: Object) -> None:
    assert not found(check, changes)


def test_what_the_program_of_clients_tells_is_read() -> None:
    refusal = json.dumps({"error": {"message": "words", "code": "engine_unavailable"}})
    times: Object = {"began": 1767323047.0, "ended": 1767323047.5}
    lines = [
        times | {"status": 0, "error": RESET},
        times | {"status": 502, "failed": SECOND, "error": refusal},
        times | {"status": 503, "failed": None, "error": "no document"},
        times | {"status": 200, "release": FIRST, "label": "billing", "began": 1767323046.0},
    ]
    read = answers.read(lines)
    assert [(each.status, each.release, each.error) for each in read] == [
        (200, FIRST, ""),
        (0, "", RESET),
        (502, SECOND, "engine_unavailable"),
        (503, "", "no document"),
    ]
    assert read[1] == answer(7, "", 0, RESET, took=0.5)
