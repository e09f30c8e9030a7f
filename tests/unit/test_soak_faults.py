"""To whom a soak does its faults, and what it remembers of them."""

import random
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from tests.integration.support.eventually import eventually
from tests.soak import answers, faults, pods
from tests.soak.evidence import CONTROL_PLANE
from tests.soak.faults import (
    API_SERVER_AWAY,
    ENGINES,
    GATEWAYS,
    LEADER,
    OPERATORS,
    OPERATORS_AWAY,
    OTHER,
    STORAGE,
    Faults,
)
from tests.soak.ground import REAL, SIMULATED, Ground

POD: dict[str, Any] = {
    "metadata": {"name": "pod", "labels": {"stagecoach.dev/name": "first"}},
    "status": {"phase": "Running"},
}
VICTIMS = {LEADER, OTHER, OPERATORS, CONTROL_PLANE, STORAGE, REAL, SIMULATED, GATEWAYS, ENGINES}
DONE = {"kill a", "start a", "freeze b", "thaw b", "cut a", "clock b", "delete pod"}
DONE |= {f"{what} gateway-{number}" for what in ("kill", "delete") for number in (1, 2)}
DURATIONS = ("BRIEF_SECONDS", "FROZEN_SECONDS", "KILLED_SECONDS", "STORAGE_SECONDS", "CLOCK_SECONDS")


class Process:
    """Of an operator, or etcd."""

    def __init__(self, did: list[str], name: str) -> None:
        self.name = name
        self._did = did

    def kill(self) -> None:
        self._did.append(f"kill {self.name}")

    def freeze(self) -> None:
        self._did.append(f"freeze {self.name}")

    def thaw(self) -> None:
        self._did.append(f"thaw {self.name}")

    def signal(self, _number: int) -> None:
        self._did.append(f"signal {self.name}")


class Operator:
    """One that leads or does not, for ever."""

    def __init__(self, did: list[str], name: str, *, leads: bool) -> None:
        self.name = name
        self._did = did
        self._leads = leads

    def leads(self) -> bool:
        return self._leads

    def running(self) -> Process:
        return Process(self._did, self.name)

    def start(self) -> None:
        self._did.append(f"start {self.name}")

    def cut(self) -> None:
        self._did.append(f"cut {self.name}")

    def set_clock(self, _seconds: int) -> None:
        self._did.append(f"clock {self.name}")


class World:
    """A ground on which nothing runs."""

    def __init__(self, storage: Path) -> None:
        self.did: list[str] = []
        self.operators = (Operator(self.did, "a", leads=True), Operator(self.did, "b", leads=False))
        self.storages = {REAL: storage}
        self.pods = [POD]
        self.serving = {name: serving_pod(name, name) for name in ("gateway-1", "gateway-2", "engine-1")}
        self.backend = self.processes = self

    def restart_api_server(self, _policy: object) -> None:
        self.did.append("restart the API server")

    def end_api_server(self) -> None:
        self.did.append("end the API server")

    def start_api_server(self, _policy: object) -> None:
        self.did.append("start the API server")

    def find(self, name: str) -> Process:
        return Process(self.did, name)

    def kube(self, _namespace: str) -> "World":
        return self

    def select(self, _kind: str, selector: str = "") -> list[dict[str, Any]]:
        component = selector.partition("=")[2]
        return [pod for name, pod in self.serving.items() if name.startswith(component)] if component else self.pods

    def delete(self, _kind: str, name: str) -> None:
        self.did.append(f"delete {name}")
        if name in self.serving:
            self.serving[name] = serving_pod(name, f"{name} after {len(self.did)}")

    def kill(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        self.did.append(f"kill {name}")
        restarts = pod["status"]["containerStatuses"][0]["restartCount"] + 1
        self.serving[name] = serving_pod(name, pod["metadata"]["uid"], restarts)


def serving_pod(name: str, uid: str, restarts: int = 0, *, ready: bool = True) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    status = {"conditions": conditions, "containerStatuses": [{"restartCount": restarts}]}
    return {"metadata": {"name": name, "uid": uid}, "status": status}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for each in DURATIONS:
        monkeypatch.setattr(faults, each, (0.0, 0.0))
    monkeypatch.setattr(faults, "ETCD_SECONDS", 0.0)
    monkeypatch.setattr(faults, "PAUSES", (0.001, 0.002))
    monkeypatch.setattr(faults, "AGAIN", 0.001)
    monkeypatch.setattr(faults, "PAUSES_OF_SERVING", (0.001, 0.002))
    found = World(tmp_path)
    monkeypatch.setattr(faults, "kill_gateway", found.kill)
    monkeypatch.setattr(faults, "kill_engine", found.kill)
    return found


def made(world: World) -> Faults:
    return Faults(cast(Ground, world), random.Random(1), lambda _what: None)  # noqa: S311


def test_every_fault_happens_to_each_of_its_victims_and_is_counted_by_them(world: World) -> None:
    doing = made(world)
    assert "kill_operator of the leader" in doing.not_done()
    with doing:
        doing.operators_away(0.0)
        doing.api_server_away(0.0)
        # Chance chooses among those that serve.
        eventually(lambda: not doing.not_done() and set(world.did) >= DONE, 60)
    assert not doing.errors
    assert {whom for _, whom in doing.done} == VICTIMS
    assert {(hit.fault, hit.victim) for hit in doing.hits} >= {
        *(("kill_operator", name) for name in ("a", "b")),
        *(("freeze_beyond_lease", name) for name in ("a", "b")),
        ("pause_etcd", CONTROL_PLANE),
        ("delete_pod", REAL),
        ("delete_pod", SIMULATED),
        (answers.GATEWAY_KILLED, GATEWAYS),
        (answers.GATEWAY_DELETED, GATEWAYS),
        (answers.ENGINE_KILLED, ENGINES),
        (answers.ENGINE_DELETED, ENGINES),
    }
    assert len(doing.hits) == doing.done.total() + 1  # operators are away together
    assert all(hit.began <= hit.ended for hit in doing.hits)
    assert {"kill engine-1", "delete engine-1"} <= set(world.did)


def test_the_leader_is_hit_more_often_than_the_other(world: World) -> None:
    doing = made(world)
    with doing:
        eventually(lambda: doing.done.total() > 100, 20)
    hits = Counter(hit.victim for hit in doing.hits if hit.fault in ("kill_operator", "freeze_beyond_lease"))
    assert hits["a"] > hits["b"] > 0


def test_a_fault_that_found_nobody_is_not_counted(world: World) -> None:
    world.pods = []
    doing = made(world)
    with doing:
        eventually(lambda: doing.done.total() > 50, 20)
    missing = {f"delete_pod of {namespace}" for namespace in (REAL, SIMULATED)}
    assert {what for what in doing.not_done() if "away" not in what} == missing
    assert not doing.errors
    assert not doing.bereft


def test_what_goes_wrong_with_a_fault_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "find", lambda _name: None)
    doing = made(world)
    with doing:
        eventually(lambda: doing.errors, 20)
    assert doing.errors[0] == "pause_etcd of control plane: etcd does not run"


def test_operators_are_away_together_and_nothing_else_is_done_to_them(world: World) -> None:
    doing = made(world)
    with doing:
        eventually(lambda: doing.done.total() > 20, 20)
        doing.operators_away(0.2)
        eventually(lambda: doing.hits[-1].fault != OPERATORS_AWAY, 20)
    away = [hit for hit in doing.hits if hit.fault == OPERATORS_AWAY]
    assert {hit.victim for hit in away} == {"a", "b"}
    others = [hit for hit in doing.hits if hit.victim in ("a", "b", CONTROL_PLANE) and hit not in away]
    assert all(hit.ended <= away[0].began or hit.began >= away[0].ended for hit in others)


def test_the_api_server_is_away_while_operators_are_hit(world: World) -> None:
    doing = made(world)
    with doing:
        doing.api_server_away(0.5)
    [away] = [hit for hit in doing.hits if hit.fault == API_SERVER_AWAY]
    # What was drawn right before may still come.
    since = away.began + timedelta(seconds=0.1)
    meanwhile = {hit.victim for hit in doing.hits if hit.began > since and hit.ended < away.ended}
    assert meanwhile == {"a", "b", STORAGE}
    first, second = (world.did.index(f"{what} the API server") for what in ("end", "start"))
    assert first < second
    assert "restart the API server" not in world.did[first:second]


def test_what_serves_is_taken_out_once_all_of_it_is_there(world: World) -> None:
    """Clients have the other gateway: with both away, no request could be answered."""
    world.serving["gateway-2"] = serving_pod("gateway-2", "2", ready=False)
    world.serving["engine-1"]["metadata"]["deletionTimestamp"] = "now"
    doing = made(world)
    with doing:
        eventually(lambda: doing.done.total() > 50, 20)
    assert not {GATEWAYS, ENGINES} & {whom for _, whom in doing.done}
    assert not doing.errors


def test_what_does_not_come_back_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "BACK_SECONDS", 0.0)
    monkeypatch.setattr(faults, "kill_gateway", lambda _pod: None)
    doing = made(world)
    with doing:
        eventually(lambda: doing.errors, 20)
    assert doing.errors[0].startswith("kill_gateway of a gateway: not within 0 s: every gateway is ready again")


def test_an_absence_in_which_nothing_would_end_is_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "TRAINING_SECONDS", 0.0)
    world.pods = []
    doing = made(world)
    doing.operators_away(0.0)
    doing.api_server_away(0.0)
    assert not world.did
    assert {"operators_away of both operators", "api_server_away of control plane"} <= doing.not_done()


def test_an_operator_that_ended_by_itself_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended() -> Process:
        raise RuntimeError("b ended by itself")

    monkeypatch.setattr(world.operators[1], "running", ended)
    doing = made(world)
    doing.operators_away(0.0)
    assert doing.errors == ["operators_away of both operators: b ended by itself"]
    assert not world.did
