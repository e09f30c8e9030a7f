"""Who may ask: clients with keys alone, as soon as every gateway knows them, and nobody is told otherwise before."""

from collections.abc import Iterator

import pytest

from stagecoach.api.deployment_status import ClientKeys
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.kinds.modeldeployment import client_keys, parts
from stagecoach.kinds.modeldeployment.stuck import PATIENCE
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployment_scenes import MISSING
from tests.unit.kinds.deployments import Stage, serving

GATEWAY = "answers-gateway"
ACCESS = {"apiKeys": {"name": "clients"}}
OPEN, NOT_YET, AS_IT_WAS = "spec.access names no apiKeys", "is not in force until", "as it was"


def ready(stage: Stage) -> str:
    """Return what is said of what answers."""
    condition = stage.said()
    assert condition["status"] == "True", condition
    assert speaks(condition["reason"], condition["message"]) or "Nothing to do" not in condition["message"]
    return str(condition["message"])


def asked(stage: Stage) -> Iterator[bool]:
    """Yield of each gateway that clients reach, whether it asks them for keys."""
    return (routes.keys for routes in stage.routes())


def knows_clients(stage: Stage) -> bool:
    """Whether gateways that ask for keys have them, or will if nobody tells them better: else they refuse everybody."""
    doors = ((pod, stage.doors.get(pod["metadata"]["uid"])) for pod in stage.pods())
    asking = [pod for pod, door in doors if door and door.routes and door.routes.keys]
    return all("clients" in {each["name"] for each in pod["template"]["spec"]["volumes"]} for pod in asking)


def watched(stage: Stage, rounds: int = 20) -> Iterator[None]:
    """Let some time pass, in which no gateway refuses everybody, and none is said to be closed that is open."""
    for _ in range(rounds):
        stage.go_on()
        assert knows_clients(stage)
        said = stage.said()
        told_open = any(each in said["message"] for each in (OPEN, NOT_YET))
        assert all(asked(stage)) or told_open or said["status"] == "False", said
        yield


def test_from_the_first_request_on() -> None:
    stage = serving(access=ACCESS)
    assert list(asked(stage)) == [True]
    for _ in watched(stage, 3):
        assert "may ask" not in ready(stage)
    assert stage.told_status["routes"]["clientKeys"] == "InForce"


def test_keys_are_asked_for_when_all_gateways_know_them_and_no_longer_when_they_are_not_wanted() -> None:
    stage = serving(gateway={"replicas": 2})
    stage.change("ModelDeployment", "answers", access=ACCESS)
    said = [stage.said()["message"] for _ in watched(stage)]
    assert any(NOT_YET in words for words in said)
    assert "may ask" not in ready(stage)
    assert list(asked(stage)) == [True, True]
    stage.change("ModelDeployment", "answers", access=None)
    for _ in watched(stage):
        pass
    assert OPEN in ready(stage)
    assert list(asked(stage)) == [False, False]


@pytest.mark.parametrize("writes", range(8))
def test_an_operator_that_dies_as_keys_are_given_up_leaves_no_gateway_that_refuses_everybody(writes: int) -> None:
    stage = serving(access=ACCESS)
    for _ in watched(stage, 5):
        pass
    stage.change("ModelDeployment", "answers", access=None)
    stage.serve(writes=writes)
    stage.control()
    assert knows_clients(stage)
    stage.serve(writes=writes)
    stage.control()
    for _ in watched(stage):
        pass
    assert OPEN in ready(stage)


def test_gateways_know_their_clients_until_what_they_begin_with_is_open() -> None:
    stage = serving(access=ACCESS)
    for _ in watched(stage, 5):
        pass
    stage.refuses = lambda obj: obj["metadata"]["name"] == "answers-routes"
    stage.change("ModelDeployment", "answers", access=None)
    for _ in watched(stage, 5):
        assert "clients" in str(stage.children["Deployment", GATEWAY]["spec"]["template"])
    stage.refuses = lambda _: False
    for _ in watched(stage):
        pass
    assert "clients" not in str(stage.children["Deployment", GATEWAY]["spec"]["template"])


@pytest.mark.parametrize(
    ("spec", "keys", "says"),
    [
        ({}, ClientKeys.OFF, OPEN),
        ({}, None, OPEN),
        ({}, ClientKeys.IN_FORCE, "go on to ask for keys"),
        ({"access": ACCESS}, ClientKeys.OFF, "Whoever reaches it may ask"),
        ({"access": ACCESS}, ClientKeys.TOLD, "Some gateways may not ask for keys yet"),
        ({"access": ACCESS}, ClientKeys.IN_FORCE, AS_IT_WAS),
        ({"access": ACCESS}, None, AS_IT_WAS),
    ],
)
def test_who_may_ask_is_said_as_it_is(spec: builders.Object, keys: ClientKeys | None, says: str) -> None:
    """And nobody is told that there is nothing to do: a Secret may be missing, which Stalled says then."""
    deployment = ModelDeployment.model_validate(builders.stored(builders.deployment(**spec)))
    told = client_keys.words(deployment, keys, rolled=False)
    assert says in told
    assert "Nothing to do" not in told


def test_without_access_nobody_looks_whether_gateways_know_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would build their whole template once more, at each look at each deployment."""
    stage = serving()
    monkeypatch.setattr(parts, "gateways_are_new", lambda _: pytest.fail("nobody has asked for keys"))
    stage.go_on()


def test_a_secret_that_is_not_there_takes_nothing_out_of_service_and_somebody_hears_of_it() -> None:
    stage = serving()
    stage.stuck = {GATEWAY: MISSING}
    stage.change("ModelDeployment", "answers", access=ACCESS)
    for _ in watched(stage, 10):
        assert NOT_YET in ready(stage)
        assert list(asked(stage)) == [False]
    stage.wait(PATIENCE.total_seconds())
    for _ in watched(stage, 3):
        pass
    assert stage.phase == "Degraded"
    stalled = stage.said("Stalled")
    assert stalled["reason"] == "PodNotStarting"
    assert 'no "clients"' in stalled["message"]
    assert NOT_YET in stalled["message"], "why that is no small matter"
    assert speaks(stalled["reason"], stalled["message"])
    stage.stuck = {}
    for _ in watched(stage):
        pass
    assert stage.phase == "Available"
    assert "may ask" not in ready(stage)
    assert list(asked(stage)) == [True]


def test_another_secret_that_is_not_there_opens_nothing() -> None:
    stage = serving(access=ACCESS)
    stage.stuck = {GATEWAY: MISSING}
    stage.change("ModelDeployment", "answers", access={"apiKeys": {"name": "others"}})
    for _ in watched(stage, 40):
        assert list(asked(stage)) == [True]
    assert AS_IT_WAS in ready(stage)
    assert stage.said("Stalled")["reason"] == "PodNotStarting"
    assert AS_IT_WAS in stage.said("Stalled")["message"]


def test_what_was_taken_back_before_it_was_in_force_is_open_and_said_to_be() -> None:
    stage = serving()
    stage.stuck = {GATEWAY: MISSING}
    stage.change("ModelDeployment", "answers", access=ACCESS)
    for _ in watched(stage, 5):
        pass
    stage.stuck = {}
    stage.change("ModelDeployment", "answers", access=None)
    for _ in watched(stage, 5):
        assert list(asked(stage)) == [False]
    assert OPEN in ready(stage)


@pytest.mark.parametrize("access", [ACCESS, None])
def test_a_status_of_before_is_as_the_spec_says_whatever_gateways_are_doing(access: builders.Object | None) -> None:
    stage = serving(**({"access": access} if access else {}))
    status = stage.told_status
    del status["routes"]["clientKeys"]
    stage.stuck = {GATEWAY: MISSING}
    stage.put(stage.deployment | {"status": status})
    stage.settings = type(stage.settings)(
        **(vars(stage.settings) | {"gateway_image": "registry.example/next@sha256:" + "e" * 64})
    )
    for _ in watched(stage, 5):
        assert list(asked(stage)) == [access is not None]
    assert stage.told_status["routes"]["clientKeys"] == ("InForce" if access else "Off")
    assert stage.told_status["routes"]["revision"] == status["routes"]["revision"]


def test_who_begins_to_lead_says_of_keys_what_was_said() -> None:
    stage = serving(access=ACCESS)
    for _ in watched(stage, 5):
        pass
    before = stage.told_status
    stage.forget()
    stage.serve()
    assert stage.told_status == before
