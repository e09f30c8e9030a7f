"""When a storage is looked through, and what the cluster's objects keep in it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stagecoach.policies.retention import AFTER_FAULT, PAUSE, Look, due, named
from tests import builders
from tests.unit.kinds.gates import evaluation

END = datetime(2026, 1, 2, tzinfo=UTC)
SOON, LATER = END + timedelta(minutes=1), END + timedelta(days=2)


def look(**changes: Any) -> Look:
    facts = {"succeeded": True, "retry_at": None, "asked_anew": False, "made_anew": False, "again": None}
    return Look(end=END, **(facts | changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"asked_anew": True}, END),
        ({"made_anew": True}, END + PAUSE),
        ({"again": LATER}, LATER),
        ({"again": SOON}, END + PAUSE),
        ({"again": LATER, "made_anew": True}, END + PAUSE),
        ({"succeeded": False, "retry_at": SOON}, SOON),
        ({"succeeded": False, "retry_at": SOON, "made_anew": True}, SOON),
        ({"succeeded": False, "retry_at": SOON, "asked_anew": True}, END),
        ({"succeeded": False}, END + AFTER_FAULT),
        ({"succeeded": False, "again": SOON}, END + AFTER_FAULT),
        ({"succeeded": False, "made_anew": True}, END + PAUSE),
    ],
)
def test_when_it_is_looked_through_again(changes: dict[str, Any], expected: datetime | None) -> None:
    assert due(look(**changes)) == expected


def test_all_digests_that_an_object_names_are_kept() -> None:
    run = builders.stored(
        builders.run(method={"type": "Import", "uri": f"pvc://store/desk/artifacts/sha256/{'1' * 64}"})
    )
    run["metadata"]["annotations"] = {"note": f"served since May: {builders.digest('2')}"}
    run["status"] = {"artifact": {"digest": builders.digest("3")}, "inputs": {"digest": builders.digest("4")}}
    run["status"]["record"] = {"digest": builders.digest("5")}  # no artifact is called like that
    project = builders.stored(builders.project())
    project["spec"]["storage"]["retention"] = {"runs": 1, "pinned": [{"digest": builders.digest("6"), "reason": "x"}]}
    project["status"] = {"candidates": [{"model": builders.digest("7")}]}
    assert named([run, project, builders.stored(builders.run())]) == tuple(digit * 12 for digit in "123467")


def test_of_an_evaluation_only_what_was_judged_is_kept() -> None:
    made = evaluation()
    made["metadata"]["annotations"] = {"note": builders.digest("9")}
    kept = (made["spec"]["release"]["artifact"], made["spec"]["runInputs"])
    assert named([made]) == tuple(sorted(digest.removeprefix("sha256:")[:12] for digest in kept))


def test_of_an_evaluation_that_goes_on_what_it_is_compared_with_is_kept_too() -> None:
    made = evaluation()
    beside = {
        "release": {"artifact": builders.digest("1"), "asked": builders.digest("2")},
        "runInputs": builders.digest("3"),
    }
    alone = set(named([made]))
    made["spec"]["incumbent"] = beside
    assert set(named([made])) - alone == {"1" * 12, "3" * 12}
    made["status"] = {"completionTime": "2026-01-01T00:00:00Z"}
    assert set(named([made])) == alone


def test_of_a_deployment_what_it_serves_served_and_is_about_to_serve_is_kept() -> None:
    def served(digit: str) -> dict[str, Any]:
        return {"release": builders.digest("a"), "artifact": builders.digest(digit), "run": "first"}

    deployment = {
        "kind": "ModelDeployment",
        "metadata": {"annotations": {"note": builders.digest("1")}},
        "spec": {"model": {"release": builders.digest("a")}},
        "status": {
            "serving": served("2") | {"gates": [{"key": builders.digest("b")}]},
            "candidate": served("3"),
            "history": [served("2"), served("4"), {"release": builders.digest("a"), "run": "of-an-older-operator"}],
        },
    }
    assert named([deployment]) == tuple(digit * 12 for digit in "1234")
    assert named([deployment | {"status": {}}, {"kind": "ModelDeployment", "metadata": {}}]) == ("1" * 12,)


def test_all_that_a_document_of_a_deployment_names_is_kept() -> None:
    admitted = {"data": {"admitted.json": f'{{"described": {{"release": {{"artifact": "{builders.digest("5")}"}}}}}}'}}
    base = {"data": {"admitted.json": f'{{"base": {{"uri": "pvc://store/artifacts/sha256/{"6" * 64}"}}}}'}}
    assert named([], [admitted, base, {}]) == ("5" * 12, "6" * 12)
