"""What people decide on what is served, on a real API server: the tests play the kubelet, loaders and gateways."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import builders
from tests.integration.support.eventually import eventually, stays
from tests.integration.support.house import House
from tests.integration.support.players import Players
from tests.remedies import speaks

HELD = {"canary": {"steps": [{"weight": 10, "hold": "Manual", "minRequests": 5}]}}
APPROVERS = [{"user": "qa@example.com"}]


def decide(house: House, decision: str, release: str, name: str, **changes: Any) -> None:
    subject = {"kind": "ModelDeployment", "name": "answers"}
    spec = {"subject": subject, "release": release, "decision": decision, "reason": "I have seen it."}
    house.kube.create(builders.approval(name, house.kube.namespace, **spec | changes))


def comes_to(house: House, name: str, reason: str) -> None:
    def look() -> bool:
        told, message = house.reason("Approval", name)
        return told == reason and (reason in ("Counted", "Revoked", "Overridden") or speaks(reason, message))

    eventually(look, 60, f"{name} comes to {reason}")


@pytest.mark.long
def test_a_candidate_waits_for_whoever_may_promote_and_is_taken_out_by_a_revoke(house: House, players: Players) -> None:
    """NoUngatedTraffic, IncumbentStays: what was served before comes back."""
    house.admit()
    house.deploy(rollout=HELD, approvers=APPROVERS)
    house.serves("first")
    [door] = players.doors.values()
    house.admit("second", "8")
    eventually(lambda: door.routes and door.routes.candidate, 60, "it has some requests")
    door.ask(1000, door.started, failing=False)
    eventually(lambda: "heldSince" in house.status.get("candidate", {}), 60, "it waits for somebody")
    second = house.status["candidate"]["release"]
    decide(house, "Promote", second, "stranger", reviewer="ed@example.com")
    comes_to(house, "stranger", "NotAnApprover")
    decide(house, "Promote", builders.digest("e"), "other")
    comes_to(house, "other", "NotAwaiting")
    stays(lambda: house.status["serving"]["run"] == "first", 2.0)
    decide(house, "Promote", second, "fine")
    house.serves("second")
    comes_to(house, "fine", "Counted")
    decide(house, "Revoke", second, "leaks")
    comes_to(house, "leaks", "Revoked")
    house.serves("first")
    first = house.status["serving"]["release"]
    assert first != second
    eventually(lambda: (stable := door.routes and door.routes.stable) and stable.release == first, 60, "it is told so")
    decide(house, "Revoke", house.status["serving"]["release"], "both")
    eventually(lambda: house.ready()[0] == "Revoked", 60, "nothing is served")
    assert house.status["phase"] == "Unavailable"
    eventually(lambda: door.routes and door.routes.stable is None, 60, "the gateway knows")
    house.kube.delete("Approval", "both")
    house.serves("first")


def test_an_override_lets_in_what_its_gate_has_failed_and_says_so(house: House, players: Players) -> None:
    house.make_candidate()
    house.judge("first", "Failed")
    house.deploy(approvers=APPROVERS)
    eventually(lambda: house.ready()[0] == "GateFailed", 60, "its gate has failed it")
    assert not players.doors
    [judged] = house.kube.select("Evaluation")
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    decide(house, "Override", judged["spec"]["release"]["digest"], "now", expires=ends)
    comes_to(house, "now", "Overridden")
    eventually(lambda: house.status.get("serving", {}).get("run") == "first", 60, "it is served")
    eventually(lambda: house.status["phase"] == "Degraded", 60, "and said")
    gated = next(each for each in house.status["conditions"] if each["type"] == "Gated")
    assert (gated["status"], gated["reason"]) == ("False", "Overridden")
    assert house.status["history"][0]["override"]["approval"] == "now"
