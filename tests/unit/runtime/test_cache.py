"""The operator's memory."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stagecoach.build.labels import APPLIED
from stagecoach.contract.reports import Progress
from stagecoach.kinds.plan import Call, Object
from stagecoach.kinds.registry import CONTROLLERS
from stagecoach.kinds.view import Answer
from stagecoach.runtime.cache import Cache, Tombstones
from stagecoach.runtime.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS, PODS, SERVICES, Resource
from tests import builders
from tests.unit.runtime.fakes import Clock, controller, key, owned, pod, toy

PROGRESS = Progress(step=1, steps=10, percent=10, at="2026-01-01T00:00:00Z")


def cache(clock: Clock | None = None) -> Cache:
    return Cache((controller(),), clock or Clock())


def owners(*names: str) -> Cache:
    """Return a memory of these Toys."""
    memory = cache()
    for name in names or ("a",):
        memory.store(toy(name))
    return memory


def names(children: Iterable[Object]) -> list[str]:
    return [each["metadata"]["name"] for each in children]


def test_an_object_is_found_and_forgotten() -> None:
    memory = cache()
    assert memory.store(toy("a"))
    assert memory.get(key("a")) == toy("a")
    assert memory.remove(toy("a"))
    assert memory.get(key("a")) is None


def test_what_only_the_server_needs_is_not_kept() -> None:
    memory = cache()
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "x"}
    memory.store(toy("a", metadata={"managedFields": [{}], "annotations": annotations}))
    found = memory.get(key("a"))
    assert found is not None
    assert "managedFields" not in found["metadata"]
    assert found["metadata"]["annotations"] == {"team": "x"}


def test_the_same_version_is_no_news() -> None:
    memory = cache()
    assert memory.store(toy("a", version=5))
    assert not memory.store(toy("a", version=5))


def test_an_older_version_that_comes_late_is_ignored() -> None:
    memory = cache()
    memory.store(toy("a", version=10, status={"phase": "new"}))
    assert not memory.store(toy("a", version=9))
    found = memory.get(key("a"))
    assert found is not None
    assert found["status"] == {"phase": "new"}


def test_a_listed_object_counts_even_when_its_version_is_older() -> None:
    memory = cache()
    memory.store(toy("a", version=10))
    assert memory.store(toy("a", version=7), listed=True)
    assert not memory.store(toy("a", version=7), listed=True)


def test_an_answer_about_a_deleted_object_does_not_bring_it_back() -> None:
    memory = cache()
    memory.store(toy("a", version=5))
    memory.remove(toy("a", version=6))
    assert not memory.store(toy("a", version=7))
    assert memory.get(key("a")) is None


def test_a_list_does_bring_it_back() -> None:
    memory = cache()
    memory.remove(toy("a", version=6))
    assert memory.store(toy("a", version=5), listed=True)


def test_a_late_deletion_of_a_predecessor_leaves_the_new_object() -> None:
    memory = cache()
    memory.store(toy("a", uid="new"))
    assert not memory.remove(toy("a", uid="old"))
    assert memory.get(key("a")) is not None


def test_a_new_object_of_the_same_name_replaces_the_old() -> None:
    memory = cache()
    memory.store(toy("a", version=9, uid="old", created="2026-01-01T00:00:00Z"))
    assert memory.store(toy("a", version=12, uid="new", created="2026-01-02T00:00:00Z"))
    assert not memory.store(toy("a", version=13, uid="old", created="2026-01-01T00:00:00Z"))


def test_referrers_follow_the_spec() -> None:
    memory = cache()
    memory.store(toy("child", spec={"parent": "a"}))
    assert [each["metadata"]["name"] for each in memory.referrers(key("a"))] == ["child"]
    memory.store(toy("child", version=2, spec={"parent": "b"}))
    assert not memory.referrers(key("a"))
    assert [each["metadata"]["name"] for each in memory.referrers(key("b"))] == ["child"]
    memory.remove(toy("child"))
    assert not memory.referrers(key("b"))


def test_children_are_found_by_their_owner() -> None:
    memory = owners("a", "b")
    memory.store_child(PODS, pod("p", owner="a"))
    memory.store_child(JOBS, pod("j", owner="a"))
    memory.store_child(PODS, pod("q", owner="b"))
    assert [each["metadata"]["name"] for each in memory.pods("uid-a")] == ["p"]
    assert [each["metadata"]["name"] for each in memory.jobs("uid-a")] == ["j"]
    memory.remove_child(PODS, pod("p"))
    assert memory.pods("uid-a") == []


def test_of_a_pod_only_what_is_read_is_kept() -> None:
    memory = owners()
    memory.store_child(PODS, pod("p", hostIP="1.2.3.4", containerStatuses=[{"name": "trainer"}]))
    [found] = memory.pods("uid-a")
    assert found["spec"] == {"nodeName": "node", "containers": [{"name": "trainer"}]}
    assert found["status"] == {"phase": "Running", "containerStatuses": [{"name": "trainer"}]}
    assert (found["apiVersion"], found["kind"]) == ("v1", "Pod")


def test_why_a_container_that_was_started_again_had_ended_is_kept() -> None:
    memory = owners()
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    beside = {"name": "engine", "restartCount": 1, "state": {"running": {}}, "lastState": ended}
    memory.store_child(PODS, pod("p", initContainerStatuses=[beside]))
    kept = {"name": "engine", "state": {"running": {}}, "lastState": {"terminated": {"reason": "OOMKilled"}}}
    assert memory.pods("uid-a")[0]["status"]["initContainerStatuses"] == [kept]


@pytest.mark.parametrize(
    ("change", "news"),
    [
        ({}, False),
        ({"conditions": [{"type": "Ready", "status": "True"}]}, False),
        ({"containerStatuses": [{"name": "trainer", "ready": True, "state": {"waiting": {}}}]}, False),
        ({"containerStatuses": [{"name": "trainer", "state": {"running": {}}}]}, True),
        ({"conditions": [{"type": "DisruptionTarget", "status": "True"}]}, True),
        ({"phase": "Failed"}, True),
        ({"reason": "Evicted"}, True),
    ],
)
def test_a_version_of_a_pod_is_news_when_it_says_something(change: Object, news: bool) -> None:
    memory = owners()
    before: Object = {"containerStatuses": [{"name": "trainer", "state": {"waiting": {}}}]}
    assert memory.store_child(PODS, pod("p", **before))
    assert memory.store_child(PODS, pod("p", version=2, **(before | change))) is news
    assert memory.pods("uid-a")[0]["metadata"]["resourceVersion"] == "2"


@pytest.mark.parametrize(
    ("change", "news"),
    [
        ({"active": 1, "ready": 1, "uncountedTerminatedPods": {}}, False),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, True),
    ],
)
def test_what_a_job_counts_is_no_news(change: Object, news: bool) -> None:
    memory = cache()
    assert memory.store_child(JOBS, pod("j") | {"status": {}})
    assert memory.store_child(JOBS, pod("j", version=2) | {"status": change}) is news


CALL = Call("uid-p", "10.0.0.1", 8001, "GET", "/models", "token")
ANSWER = Answer(200, b"{}", datetime(2026, 1, 1, tzinfo=UTC), b"")


def test_an_answer_is_news_when_it_says_something_else_or_something_else_was_asked() -> None:
    memory = cache()
    memory.store_child(PODS, pod("p"))
    assert memory.answer("uid-p", "GET", "/models") is None
    assert memory.set_answer(CALL, ANSWER)
    later = replace(ANSWER, at=ANSWER.at + timedelta(seconds=5))
    assert not memory.set_answer(CALL, later)
    assert memory.answer("uid-p", "GET", "/models") == later
    for change in ({"status": 0}, {"body": b"[]"}, {"asked": b"x"}):
        assert memory.set_answer(CALL, replace(ANSWER, **change))
    assert memory.answer("uid-p", "PUT", "/models") is None


def test_answers_of_pods_that_are_gone_are_forgotten_and_late_ones_not_kept() -> None:
    memory = cache()
    memory.store_child(PODS, pod("p"))
    memory.set_answer(CALL, ANSWER)
    memory.remove_child(PODS, pod("p"))
    assert memory.answer("uid-p", "GET", "/models") is None
    assert not memory.set_answer(CALL, ANSWER)
    assert memory.answer("uid-p", "GET", "/models") is None


def test_deployments_and_config_maps_are_found_by_their_owner() -> None:
    memory = owners()
    memory.store_child(DEPLOYMENTS, owned("d"))
    memory.store_child(CONFIG_MAPS, owned("c"))
    assert names(memory.deployments("uid-a")) == ["d"]
    assert names(memory.config_maps("uid-a")) == ["c"]
    assert memory.live() == []


SORTS = {PODS: "pods", JOBS: "jobs", SERVICES: "services", DEPLOYMENTS: "deployments", CONFIG_MAPS: "config_maps"}


@pytest.mark.parametrize("resource", SORTS)
def test_what_says_in_another_namespace_that_it_is_ours_is_not(resource: Resource) -> None:
    memory = owners()
    memory.store_child(resource, owned("theirs", namespace="attackers"))
    found = getattr(memory, SORTS[resource])
    assert found("uid-a") == []
    memory.store_child(resource, owned("ours"))
    assert names(found("uid-a")) == ["ours"]


@pytest.mark.parametrize("resource", [SERVICES, DEPLOYMENTS, CONFIG_MAPS])
@pytest.mark.parametrize("owner", ["b", None])
def test_a_label_alone_makes_nobody_the_owner(resource: Resource, owner: str | None) -> None:
    memory = owners()
    others = owned("x", "b")["metadata"]["ownerReferences"] if owner else []
    memory.store_child(resource, owned("x", ownerReferences=others))
    assert getattr(memory, SORTS[resource])("uid-a") == []
    memory.store_child(resource, owned("x", resourceVersion="2"))
    assert names(getattr(memory, SORTS[resource])("uid-a")) == ["x"]


def test_a_deployment_is_as_it_was_applied_for_as_long_as_its_spec_is() -> None:
    clock = Clock()
    memory = cache(clock)
    memory.store(toy("a"))
    annotations = {APPLIED: "sha256:abc"}

    def see(version: int, generation: int) -> Object:
        found = owned("d", annotations=annotations, resourceVersion=str(version), generation=generation)
        memory.store_child(DEPLOYMENTS, found | {"spec": {}, "status": {"readyReplicas": version}})
        [told] = memory.deployments("uid-a")
        assert told["status"]["readyReplicas"] == version
        return told["metadata"].get("annotations")  # type: ignore[no-any-return]

    assert see(1, 1) is None, "what happened before this process began is not known"
    memory.set_applied(owned("d", resourceVersion="2", generation=1))
    clock.now += 100
    assert see(3, 1) == annotations, "a status is nobody's change"
    assert see(4, 2) is None
    memory.set_applied(owned("d", resourceVersion="5", generation=3))
    assert see(5, 3) == annotations


def test_who_is_gone_has_no_children() -> None:
    memory = owners()
    memory.store_child(PODS, pod("p"))
    memory.store(toy("a", uid="another", created="2026-01-02T00:00:00Z"))
    assert memory.pods("uid-a") == memory.pods("another") == []
    memory.remove(toy("a", uid="another"))
    memory.store(toy("a"), listed=True)
    assert names(memory.pods("uid-a")) == ["p"]


def test_a_child_whose_label_changes_changes_its_owner() -> None:
    memory = owners("a", "b")
    memory.store_child(PODS, pod("p", owner="a"))
    memory.store_child(PODS, pod("p", owner="b", version=2))
    assert memory.pods("uid-a") == []
    assert len(memory.pods("uid-b")) == 1


def test_ended_pods_are_not_live() -> None:
    memory = cache()
    memory.store_child(PODS, pod("p"))
    assert len(memory.live()) == 1
    memory.store_child(PODS, pod("p", version=2, phase="Succeeded"))
    assert memory.live() == []


def test_a_job_that_lacks_one_of_its_pods_is_live_and_a_service_never() -> None:
    memory = owners()
    job = pod("j") | {"spec": {"parallelism": 2}}
    memory.store_child(JOBS, job | {"status": {"active": 1}})
    memory.store_child(SERVICES, owned("s") | {"spec": {}, "status": {}})
    assert [each["metadata"]["name"] for each in memory.live()] == ["j"]
    job["metadata"]["resourceVersion"] = "2"
    memory.store_child(JOBS, job | {"status": {"active": 2}})
    assert memory.live() == []
    assert [each["metadata"]["name"] for each in memory.services("uid-a")] == ["s"]


def test_old_progress_is_unknown() -> None:
    clock = Clock()
    memory = cache(clock)
    assert memory.set_progress("uid-p", PROGRESS)
    assert not memory.set_progress("uid-p", PROGRESS)
    clock.now += 60
    assert memory.progress("uid-p") == PROGRESS
    clock.now += 1
    assert memory.progress("uid-p") is None


def test_facts_go_with_their_pod() -> None:
    memory = cache()
    memory.store_child(PODS, pod("p"))
    memory.set_progress("uid-p", PROGRESS)
    memory.set_warning("uid-p", "FailedMount: x")
    memory.remove_child(PODS, pod("p"))
    assert memory.progress("uid-p") is None
    assert memory.warning("uid-p") is None


def test_a_warning_is_news_once() -> None:
    memory = cache()
    memory.store_child(PODS, pod("p"))
    assert memory.set_warning("uid-p", "x")
    assert not memory.set_warning("uid-p", "x")
    assert memory.warning("uid-p") == "x"
    assert memory.set_warning("uid-p", None)
    assert memory.warning("uid-p") is None


def test_phases_are_counted() -> None:
    memory = cache()
    memory.store(toy("a", status={"phase": "Running"}))
    memory.store(toy("b", status={"phase": "Running"}))
    memory.store(toy("c"))
    assert memory.phases() == {("Toy", "Running"): 2, ("Toy", ""): 1}


def test_what_is_served_by_an_override_is_told() -> None:
    memory = Cache(CONTROLLERS)
    let_in = {"release": "sha256:b", "override": {"reviewer": "qa@example.com"}}
    for name, status in (
        ("a", {"serving": {"release": "sha256:a"}, "candidate": let_in}),
        ("b", {"serving": let_in}),
        ("c", {"serving": {"release": "sha256:a"}}),
        ("d", {}),
    ):
        memory.store(builders.stored(builders.deployment(name), uid=f"uid-{name}") | {"status": status})
    assert list(memory.overridden()) == [
        ("team", "a", "sha256:b", "candidate"),
        ("team", "b", "sha256:b", "serving"),
    ]


def test_how_many_pods_are_wanted_is_told_where_somebody_decides_it() -> None:
    memory = Cache(CONTROLLERS)
    for name, status in (("a", {"autoscaling": {"wanted": 3}}), ("b", {"replicas": 2}), ("c", {})):
        memory.store(builders.stored(builders.deployment(name), uid=f"uid-{name}") | {"status": status})
    assert list(memory.autoscaled()) == [("team", "a", 3)]


def test_tombstones_are_bounded() -> None:
    graves = Tombstones(size=2)
    for uid in "abc":
        graves.add(uid)
    assert ["a" in graves, "b" in graves, "c" in graves] == [False, True, True]


def test_an_object_is_read_once_for_each_of_its_versions() -> None:
    memory = cache()
    versions: list[str] = []

    def read(obj: Object) -> str:
        versions.append(obj["metadata"]["resourceVersion"])
        return versions[-1]

    assert memory.read(key("a"), read) is None
    memory.store(toy("a", version=1))
    assert [memory.read(key("a"), read), memory.read(key("a"), read)] == ["1", "1"]
    memory.store(toy("a", version=2))
    assert memory.read(key("a"), read) == "2"
    memory.remove(toy("a", version=3))
    assert memory.read(key("a"), read) is None
    assert versions == ["1", "2"]
