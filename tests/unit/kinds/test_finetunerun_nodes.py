"""Runs of several processes: what is made for them, and what is decided by their number."""

import json
from typing import Any

import pytest

from stagecoach.contract.jobs import Group, TrainJob
from stagecoach.kinds.finetunerun.reconcile import CONTROLLER
from stagecoach.policies.attempts import LEAVING_PATIENCE
from stagecoach.policies.sharing import Claim
from tests import builders
from tests.unit.kinds.world import World


def world_of(project: builders.Object | None = None, **resources: Any) -> World:
    run = builders.stored(builders.run(resources=resources))
    return World(CONTROLLER, run, project or builders.ready_project())


def started(world: World) -> builders.Object:
    """Let the operator do what it can, and return the Job that it made."""
    for _ in range(4):
        world.reconcile()
    [job] = world.job_objects.values()
    return job


def document(job: builders.Object) -> TrainJob:
    [told] = [item for item in job["spec"]["template"]["spec"]["containers"][0]["env"] if item["name"] == "STAGECOACH_JOB"]  # fmt: skip
    return TrainJob.model_validate_json(told["value"].replace("$$", "$"))


def test_one_process_is_told_and_hashed_as_ever() -> None:
    world = world_of()
    job = started(world)
    told = json.loads(document(job).line())
    assert "group" not in told
    assert not {"processes", "sharding"} & set(told["inputs"])
    assert not {"completionMode", "completions", "parallelism"} & set(job["spec"])
    assert "subdomain" not in job["spec"]["template"]["spec"]
    assert not world.service_objects


def test_several_nodes_are_an_indexed_job_whose_pods_have_names() -> None:
    world = world_of(nodes=3, gpusPerNode=2, cpu="8")
    job = started(world)
    assert {key: job["spec"][key] for key in ("completionMode", "completions", "parallelism")} == {
        "completionMode": "Indexed",
        "completions": 3,
        "parallelism": 3,
    }
    assert (job["spec"]["backoffLimit"], job["spec"]["template"]["spec"]["restartPolicy"]) == (0, "Never")
    [service] = world.service_objects.values()
    name = service["metadata"]["name"]
    assert job["spec"]["template"]["spec"]["subdomain"] == name
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["metadata"]["ownerReferences"][0]["uid"] == world.stored["metadata"]["uid"]
    [spread] = job["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    told = document(job)
    address = f"{job['metadata']['name']}-0.{name}.team.svc"
    assert told.group == Group(nodes=3, processes=2, address=address)
    assert (told.inputs.processes, told.inputs.devices, told.threads) == (6, 6, 4)
    mounts = job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert "shared-memory" in [mount["name"] for mount in mounts]


def test_gpus_of_one_node_are_processes_of_one_pod() -> None:
    world = world_of(gpusPerNode=4)
    job = started(world)
    assert "completions" not in job["spec"]
    assert not world.service_objects
    told = document(job)
    assert told.group == Group(nodes=1, processes=4, address="127.0.0.1")
    assert (told.inputs.processes, told.inputs.devices) == (4, 4)


def test_the_number_of_processes_decides_the_result_and_nothing_else_of_them() -> None:
    digests = []
    asked: list[dict[str, Any]] = [{}, {"nodes": 2}, {"nodes": 3}, {"gpusPerNode": 4}, {"nodes": 4, "gpusPerNode": 1}]
    for resources in asked:
        world = world_of(**resources)
        world.reconcile()
        digests.append(world.status["inputs"]["digest"])
    assert digests[3] == digests[4], "four GPUs are four GPUs"
    assert len(set(digests)) == 4


def test_sharing_out_the_model_decides_the_result_and_is_told_to_the_trainer() -> None:
    digests = []
    asked: list[dict[str, Any]] = [{}, {"sharding": "None"}, {"sharding": "Full"}]
    for resources in asked:
        told = document(started(world_of(gpusPerNode=4, **resources)))
        assert told.inputs.sharding == ("Full" if resources == {"sharding": "Full"} else None)
        digests.append(told.inputs.digest)
    assert digests[0] == digests[1], "a default that is written out changes nothing"
    assert digests[0] != digests[2]


def test_the_name_of_a_service_is_one_for_the_longest_run() -> None:
    run = builders.stored(builders.run(name="1" + "x" * 49, resources={"nodes": 32}))
    world = World(CONTROLLER, run, builders.ready_project())
    started(world)
    [name] = world.service_objects
    assert name[0].isalpha()
    assert len(name) <= 63


@pytest.mark.parametrize("modes", [("ReadWriteOnce",), ("ReadWriteOncePod",), None])
def test_a_claim_that_nodes_cannot_share_is_refused_until_it_is_another(modes: tuple[str, ...] | None) -> None:
    world = world_of(nodes=2)
    world.modes = modes
    for _ in range(4):
        world.reconcile()
    assert not world.job_objects
    assert not world.service_objects
    ready = world.condition("Ready")
    assert (world.status["phase"], ready["reason"]) == ("Blocked", "StorageNotShared")
    assert "ReadWriteMany" in ready["message"]
    world.modes = ("ReadWriteMany",)
    world.seen_claims = {}
    started(world)


@pytest.mark.parametrize("claim", ["store", "models"])
def test_every_claim_is_looked_at(claim: str) -> None:
    world = world_of(nodes=2)
    world.reconcile()
    assert {name for _, name in world.reconcile().look} == {"store", "models"}
    world.seen_claims[claim] = Claim(("ReadWriteOnce",))
    world.reconcile()
    assert repr(claim) in world.condition("Ready")["message"]


def test_one_node_asks_for_no_claim() -> None:
    world = world_of()
    world.modes = ("ReadWriteOnce",)
    assert started(world)


def test_a_lookup_is_one_pod() -> None:
    world = world_of(builders.ready_project(records=True), nodes=2)
    world.modes = ("ReadWriteOnce",)
    job = started(world)
    assert "completions" not in job["spec"]
    assert not world.service_objects


def test_a_queue_releases_all_pods_of_a_job() -> None:
    project = builders.ready_project()
    project["spec"]["pods"] = {"queue": "gpu"}
    job = started(world_of(project, nodes=2))
    assert (job["spec"]["suspend"], job["spec"]["parallelism"]) == (True, 2)


def test_the_service_goes_when_the_run_has_ended() -> None:
    world = world_of(nodes=2)
    started(world)
    world.start_pods()
    world.run_pods()
    world.reconcile()
    assert world.status["phase"] == "Running"
    world.end_pods(builders.artifact_report())
    world.reconcile()
    assert world.status["phase"] == "Succeeded"
    assert world.service_objects, "only once its end is seen in the status"
    world.reconcile()
    assert not world.service_objects


def test_the_job_of_a_run_that_is_done_stays_while_its_other_pods_end_and_no_longer() -> None:
    world = world_of(nodes=2)
    started(world)
    world.start_pods()
    world.run_pods()
    world.reconcile()
    first, _ = world.live_pods()
    world.end_pod(first, builders.artifact_report())
    world.reconcile()
    assert world.status["phase"] == "Succeeded"
    plan = world.reconcile()
    assert world.job_objects, "its logs are kept"
    assert plan.requeue_after, "nothing else may tell that the other pod goes on"
    world.wait(LEAVING_PATIENCE.total_seconds())
    world.reconcile()
    assert not world.job_objects


def test_progress_is_that_of_the_first_pod_and_the_failed_index_is_told() -> None:
    world = world_of(nodes=2)
    started(world)
    world.start_pods()
    world.run_pods()
    world.checkpoint = 20
    world.reconcile()
    assert world.status["progress"]["checkpoint"] == 20
    [second] = [pod for pod in world.live_pods() if pod["metadata"]["name"].endswith("-1-x")]
    problem = {"reason": "BadRow", "message": "It is wrong."}
    world.end_pod(second, {"outcome": "BadInput", "problem": problem}, 64, "Error")
    plan = world.reconcile()
    assert world.status["phase"] == "Failed"
    assert world.condition("Ready")["message"] == "Index 1: It is wrong. Correct what it names."
    assert "Index 1" in plan.events[0].message
