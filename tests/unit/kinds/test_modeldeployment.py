"""How a release comes to be served, and what is said on the way."""

import copy
from dataclasses import replace

from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployment_cases import judged, told, with_second
from tests.unit.kinds.deployments import Stage, serving


def kinds(stage: Stage) -> list[str]:
    return sorted({each["kind"] for each in stage.children.values()} - {"Pod"})


def test_before_anything_has_passed_nothing_is_made() -> None:
    stage = Stage()
    plan = stage.serve()
    assert told(stage) == ("Pending", "Judging", "False")
    assert (plan.create, plan.apply, plan.ask, plan.requeue_after) == ((), (), (), None)
    assert stage.said("Reconciling")["status"] == "True"
    stage.judge("Failed")
    assert stage.serve().requeue_after is None
    assert told(stage) == ("Pending", "GateFailed", "False")
    assert stage.said("Stalled")["reason"] == "GateFailed"
    assert kinds(stage) == []


def test_intent_first_then_the_document_then_the_engine() -> None:
    stage = judged()
    plan = stage.serve()
    assert (plan.create, plan.apply) == ((), ())
    assert stage.told_status["candidate"]["run"] == "first"
    plan = stage.serve()
    assert [each["kind"] for each in plan.create] == ["ConfigMap", "ConfigMap"]
    assert [each["kind"] for each in plan.apply] == ["NetworkPolicy", "ConfigMap", "ConfigMap"]
    plan = stage.serve()
    assert [each["kind"] for each in plan.create] == ["Secret"]
    order = [(each["kind"], each["metadata"]["name"]) for each in plan.apply]
    engine = stage.told_status["candidate"]["engine"]
    assert order == [
        ("NetworkPolicy", "answers-engines"),
        ("Service", "answers"),
        ("PodDisruptionBudget", "answers-gateway"),
        ("Deployment", "answers-gateway"),
        ("Service", engine),
        ("Deployment", engine),
    ]
    assert stage.serve().requeue_after == 0.2, "soon, for all of it is new"


def test_it_is_served_when_its_engine_answers_and_a_gateway_knows() -> None:
    stage = judged()
    stage.until(lambda: stage.loaders, loads=False)
    for _ in range(5):
        stage.go_on(loads=False)
    assert told(stage) == ("Pending", "Starting", "False")
    stage.until(lambda: stage.serves("first"))
    assert told(stage) == ("Available", "Serving", "True")
    status = stage.told_status
    assert "candidate" not in status
    assert [each["run"] for each in status["history"]] == ["first"]
    assert (status["endpoint"], status["replicas"]) == ("http://answers.team.svc", 1)
    assert status["routes"] == status["routes"] | {"gateways": 1, "acknowledged": 1}
    assert "spec.access names no apiKeys" in stage.said()["message"]
    assert (stage.said("Gated")["status"], stage.said("Loaded")["status"]) == ("True", "True")
    [routes] = stage.routes()
    assert routes.stable is not None
    assert routes.stable.release == status["serving"]["release"]
    assert stage.serve().requeue_after == 15
    assert [reason for reason, _ in stage.events if reason != "Judging"] == ["Admitted", "Serving"]


def test_at_rest_nothing_is_written_and_answers_are_renewed() -> None:
    stage = serving()
    for _ in range(3):
        stage.go_on(15)
    versions = len(stage.versions)
    for _ in range(6):
        plan = stage.serve()
        assert plan.requeue_after == 15
        assert [call.path for call in plan.ask if call.port == 8001] == ["/models"]
        stage.wait(15)
    assert len(stage.versions) == versions


def test_an_operator_that_begins_says_nothing_else_before_it_has_asked() -> None:
    stage = serving()
    for _ in range(3):
        stage.go_on(15)
    versions = len(stage.versions)
    stage.cache._answers.clear()
    plan = stage.serve(writes=0)
    assert {call.path for call in plan.ask} == {"/models", "/routes"}
    assert plan.status == stage.told_status
    stage.serve()
    stage.serve()
    assert len(stage.versions) == versions
    stage.cache._answers.clear()
    stage.silent = {*stage.loaders}
    stage.serve()
    stage.serve()
    assert stage.said()["status"] == "False", "who was asked, and is silent, does not answer"


def test_an_adapter_of_the_same_base_takes_over_on_the_same_engine() -> None:
    stage = serving()
    before = stage.told_status["serving"]
    with_second(stage)
    stage.until(lambda: stage.serves("second"))
    assert not any(version["status"].get("candidate", {}).get("seen") for version in stage.versions[1:])
    after = stage.told_status["serving"]
    assert (after["engine"], after["release"]) != (before["engine"], before["release"])
    assert after["engine"] == before["engine"]
    assert stage.told_status["retiring"] == []
    stage.go_on()
    [loader] = stage.loaders.values()
    assert [name[-1] for name in loader.wanted] == ["2"]


def test_whether_it_has_passed_is_said_of_the_run_that_has_just_taken_over() -> None:
    stage = serving()
    with_second(stage)
    stage.until(lambda: stage.told_status["serving"]["run"] == "second")
    after = [each["status"] for each in stage.versions if each.get("status", {}).get("serving")]
    gated = [next(word for word in each["conditions"] if word["type"] == "Gated") for each in after]
    assert {(word["status"], word["reason"]) for word in gated} == {("True", "Passed")}


def test_the_contract_is_told_with_another_revision() -> None:
    stage = serving()
    revision = stage.told_status["routes"]["revision"]
    stage.change("ModelDeployment", "answers", contract={"timeout": "7s"})
    stage.until(lambda: all(routes.timeout == 7 for routes in stage.routes()))
    assert stage.told_status["routes"]["revision"] == revision + 1


def test_a_gateway_that_knows_more_raises_the_revision() -> None:
    stage = serving()
    [door] = stage.doors.values()
    assert door.routes is not None
    door.routes = door.routes.model_copy(update={"revision": 40, "timeout": 3})
    stage.wait(60)
    stage.until(lambda: stage.told_status["routes"]["revision"] > 40, 15)
    stage.until(lambda: stage.told_status["routes"]["acknowledged"] == 1)
    assert door.routes.timeout == 30


def test_a_contract_that_is_wrong_leaves_the_one_of_before_in_force_and_says_so() -> None:
    stage = serving()
    [before] = stage.routes()
    stage.change("ModelDeployment", "answers", contract={"timeout": "9s", "input": {"schema": {"type": "nonsense"}}})
    for _ in range(20):
        stage.go_on()
    stage.until(lambda: told(stage) == ("Degraded", "Serving", "True"))
    assert list(stage.routes()) == [before]
    assert stage.said("Stalled")["reason"] == "BadSchema"
    assert speaks("BadSchema", stage.said("Stalled")["message"])
    stage.change("ModelDeployment", "answers", contract={"input": {"schema": {"maxProperties": 1}}})
    schema = {"maxProperties": 1}
    stage.until(lambda: [each.input_schema for each in stage.routes()] == [schema])
    stage.until(lambda: told(stage) == ("Available", "Serving", "True"))


def test_children_that_somebody_changed_or_deleted_are_mended() -> None:
    stage = serving()
    engine = stage.told_status["serving"]["engine"]
    stage._gone(("Deployment", "answers-gateway"))
    stage._gone(("Service", "answers"))
    stage._gone(("Deployment", engine))
    for _ in range(3):
        stage.go_on()
    stage.until(lambda: stage.serves("first"))
    assert {("Deployment", "answers-gateway"), ("Service", "answers"), ("Deployment", engine)} <= stage.children.keys()


def test_without_what_serving_takes_nothing_is_begun_and_nothing_taken_away() -> None:
    stage = judged()
    stage.settings = replace(stage.settings, gateway_image="", master_key=b"")
    plan = stage.serve()
    assert told(stage) == ("Pending", "ServingNotInstalled", "False")
    assert "gateway.image" in stage.said()["message"]
    assert (plan.create, plan.apply, plan.ask) == ((), (), ())
    served = serving()
    served.settings = stage.settings
    plan = served.serve()
    assert told(served) == ("Degraded", "Serving", "True")
    assert served.said("Stalled")["reason"] == "ServingNotInstalled"
    assert (plan.delete, plan.apply) == ((), ())
    assert served.told_status["serving"]["run"] == "first"


def test_a_deployment_that_goes_is_left_alone() -> None:
    stage = serving()
    leaving = copy.deepcopy(stage.deployment)
    leaving["metadata"]["deletionTimestamp"] = builders.CREATED
    stage.put(leaving)
    plan = stage.serve()
    assert (plan.status, plan.create, plan.apply, plan.delete, plan.ask) == (None, (), (), (), ())


def test_words_of_a_later_version_are_told_and_nothing_is_done() -> None:
    stage = serving()
    later = copy.deepcopy(stage.deployment)
    later["spec"]["sla"] = {"p99": "1s"}
    stage.put(later)
    plan = stage.serve()
    assert stage.said()["reason"] == "InvalidSpec"
    assert (plan.apply, plan.delete) == ((), ())
    assert stage.told_status["serving"]["run"] == "first"
