"""Pods of engines and gateways that come and go, on a real API server: the tests play the kubelet, loaders and gateways."""

import pytest

from stagecoach.contract.loading import State
from tests import builders
from tests.integration.support.eventually import eventually, stays
from tests.integration.support.house import House
from tests.integration.support.players import Players
from tests.kube import KubeError
from tests.remedies import speaks

# It goes on when clients have asked, and nobody asks before a test says so.
STEPS = {"canary": {"steps": [{"weight": 10, "hold": "1s", "minRequests": 5}]}}


def ready(house: House, engine: str) -> int:
    """Return how many pods of an engine requests may reach."""
    pods = house.kube.select("Pod", f"stagecoach.dev/engine={engine}")
    conditions = [each for pod in pods for each in pod["status"].get("conditions", ())]
    return sum(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def replicas(house: House, name: str) -> int:
    return int(house.kube.get("Deployment", name)["spec"]["replicas"])


@pytest.mark.long
def test_whoever_scales_in_a_held_step_changes_nothing_of_what_is_served(house: House, players: Players) -> None:
    """NoUngatedTraffic, IncumbentStays: new pods are told of both releases, and have requests when both answer."""
    kube = house.kube
    house.admit()
    house.deploy(rollout=STEPS)
    house.serves("first")
    before, engine = house.status["serving"], house.status["serving"]["engine"]
    house.admit("second", "8")
    eventually(lambda: house.status.get("candidate", {}).get("weight") == 10, 60, "it has some requests")
    players.outcome = State.LOADING  # of new pods
    kube.patch("ModelDeployment", "answers", {"spec": {"replicas": 3}}, "scale")
    kube.patch("ModelDeployment", "answers", {"spec": {"gateway": {"replicas": 2}}})
    eventually(
        lambda: [len(loader.wanted) for loader in players.of_engine(engine)] == [2] * 3, 60, "new pods are told of both"
    )
    eventually(lambda: len(players.doors) == 2 and all(door.confirmed for door in players.doors.values()), 60)
    for door in players.doors.values():
        assert door.routes
        assert door.routes.candidate
        assert (door.routes.candidate.weight, len(door.routes.targets)) == (10, 2)
        door.ask(1000, door.started, failing=False)

    def is_held() -> bool:
        status = house.status
        held = status["candidate"].get("weight") == 10 and not status.get("rejected")
        return bool(held and status["serving"] == before and ready(house, engine) == 1)

    stays(is_held, 3.0)
    for name, wanted in ((engine, 3), ("answers-gateway", 2)):
        kube.patch("Deployment", name, {"spec": {"replicas": 5}}, "scale")
        eventually(lambda name=name, wanted=wanted: replicas(house, name) == wanted, 60, "it is set back")  # type: ignore[misc]
    assert is_held()
    players.outcome = State.ANSWERS
    house.serves("second")
    assert (ready(house, engine), house.ready()[0]) == (3, "Serving")


@pytest.mark.long
def test_pods_follow_what_waits_and_not_what_nobody_says(house: House, players: Players) -> None:
    kube = house.kube
    house.admit()
    house.deploy(autoscaling={"max": 3, "waitingRequests": 4})
    house.serves("first")
    engine = house.status["serving"]["engine"]
    assert (replicas(house, engine), house.status["autoscaling"]["wanted"]) == (1, 1)
    with pytest.raises(KubeError, match="replicas goes without autoscaling, which decides"):
        kube.patch("ModelDeployment", "answers", {"spec": {"replicas": 2}}, "scale")
    [loader] = players.of_engine(engine)
    loader.waiting = 5
    eventually(lambda: replicas(house, engine) == 2, 60, "there is another pod")
    status = house.status["autoscaling"]
    assert (status["wanted"], status["waiting"]) == (2, 5)
    words = "2 engine pods instead of 1: 5 requests wait"
    eventually(
        lambda: [each for each in kube.select("Event") if words in each.get("message", "")], 60, "an event says why"
    )
    loader.waiting, loader.running = 0, 30
    eventually(lambda: ready(house, engine) == 2 and condition(house)["reason"] == "Enough", 60, "that is enough")
    loader.waiting = None
    eventually(lambda: condition(house)["reason"] == "LoadUnknown", 60, "it is said")
    assert speaks("LoadUnknown", condition(house)["message"])
    eventually(lambda: house.ready()[0] == "Serving", 60, "it serves")
    stays(lambda: replicas(house, engine) == 2, 1.0)


def condition(house: House) -> builders.Object:
    return next(each for each in house.status["conditions"] if each["type"] == "Autoscaled")


@pytest.mark.long
def test_two_deployments_of_one_project_have_each_an_engine_of_their_own(house: House, players: Players) -> None:
    """IncumbentStays: neither takes anything of the other's, whatever they have in common."""
    kube = house.kube
    house.admit()
    house.deploy()
    kube.create(builders.deployment("others", kube.namespace))
    house.serves("first")
    other = eventually(lambda: serving(house, "others"), 60, "the other one serves, too")
    own = house.status["serving"]
    assert other
    assert (other["release"], other["engine"].rpartition("-")[0]) == (own["release"], "others-e")
    pods = {name: kube.select("Pod", selector(house, name)) for name in (own["engine"], other["engine"])}
    assert [len(each) for each in pods.values()] == [len(players.of_engine(name)) for name in pods] == [1, 1]
    assert len({pod["metadata"]["uid"] for each in pods.values() for pod in each}) == 2
    assert sum("-keys-" in each["metadata"]["name"] for each in kube.select("Secret")) == 2, "each has keys of its own"
    kube.create(builders.deployment(own["engine"], kube.namespace))
    refusal = f"Service {kube.namespace}/{own['engine']} exists and was not made for this ModelDeployment"
    eventually(lambda: refusal in said(house, own["engine"]), 60, "a name that is taken is told")
    assert kube.get("Service", own["engine"])["metadata"]["ownerReferences"][0]["name"] == "answers"
    kube.patch("ModelDeployment", "others", {"spec": {"replicas": 2}}, "scale")
    eventually(lambda: replicas(house, other["engine"]) == 2, 60, "one is scaled")
    kube.delete("ModelDeployment", "others")
    eventually(lambda: not kube.find("Deployment", other["engine"]), 60, "one goes with all that is its own")
    stays(lambda: house.status["serving"] == own and house.ready()[0] == "Serving", 2.0)
    assert (replicas(house, own["engine"]), ready(house, own["engine"])) == (1, 1)


def serving(house: House, name: str) -> builders.Object | None:
    status = house.kube.get("ModelDeployment", name).get("status", {})
    found: builders.Object | None = status.get("serving") if status.get("phase") == "Available" else None
    return found


def selector(house: House, engine: str) -> str:
    """Return by what a Service finds the pods of an engine."""
    labels = house.kube.get("Service", engine)["spec"]["selector"]
    return ",".join(f"{name}={value}" for name, value in labels.items())


def said(house: House, name: str) -> str:
    """Return all that is said of a deployment."""
    conditions = house.kube.get("ModelDeployment", name).get("status", {}).get("conditions", ())
    return " ".join(each["message"] for each in conditions)
