"""What an engine was made of is kept: what serves can be made again, whatever spec, project and operator say by then."""

import pytest

from stagecoach.build import recipes
from stagecoach.contract.loading import State
from tests.unit.kinds.deployments import Stage, project, serving


def engine_of(stage: Stage) -> str:
    return str(stage.told_status["serving"]["engine"])


def test_scaled_up_again_it_serves_although_another_engine_that_is_asked_for_does_not_start() -> None:
    stage = serving()
    engine = engine_of(stage)
    stage.change("ModelDeployment", "answers", replicas=0)
    stage.until(lambda: not stage.pods(engine))
    stage.change("ModelDeployment", "answers", replicas=1, engine={"maxConcurrent": 8})
    for _ in range(9):
        stage.go_on(loads=False)
        for pod in stage.pods(engine):
            stage.loaders[pod["metadata"]["uid"]].turn(State.ANSWERS)
    assert stage.said()["status"] == "True"
    assert stage.told_status["candidate"]["engine"] != engine
    stage.turn(State.FAILED)
    stage.until(lambda: stage.told_status["rejected"], loads=False)
    stage.change("ModelDeployment", "answers", replicas=3)
    stage.until(lambda: len(stage.pods(engine)) == 3)
    assert stage.phase == "Degraded"
    assert stage.said()["status"] == "True"


def test_without_its_project_all_that_serves_is_made_again() -> None:
    stage = serving()
    engine, names = engine_of(stage), sorted(each["metadata"]["name"] for each in stage.of_kind("Deployment"))
    templates = [each["spec"]["template"] for each in stage.of_kind("Deployment")]
    stage.remove("TransformerProject", "desk")
    for name in names:
        stage._gone(("Deployment", name))
    stage._gone(("Service", engine))
    stage.until(lambda: stage.said()["status"] == "True" and stage.of_kind("Deployment"))
    assert [each["spec"]["template"] for each in stage.of_kind("Deployment")] == templates
    assert ("Service", engine) in stage.children


def test_what_a_later_operator_decides_otherwise_moves_nothing_that_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = serving()
    engine = engine_of(stage)
    monkeypatch.setattr(recipes, "ADAPTERS", 5)
    monkeypatch.setattr(recipes, "ENDS", 99)
    for _ in range(5):
        stage.go_on()
    assert engine_of(stage) == engine
    assert "candidate" not in stage.told_status
    assert stage.phase == "Available"


def test_what_a_project_says_of_pods_is_another_engine_beside() -> None:
    stage = serving()
    engine = engine_of(stage)
    changed = project()
    changed["spec"]["pods"] = {"nodeSelector": {"pool": "new"}, "queue": "fast"}
    stage.put(changed)
    stage.until(lambda: stage.serves("first") and engine_of(stage) != engine)
    [pod] = stage.pods(engine_of(stage))
    assert pod["template"]["spec"]["nodeSelector"] == {"pool": "new"}
    changed["spec"]["pods"]["queue"] = "slow"
    engine = engine_of(stage)
    stage.put(changed)
    stage.go_on()
    stage.go_on()
    assert (engine_of(stage), stage.phase) == (engine, "Available")


def test_an_engine_that_was_rejected_is_another_matter_than_the_next_one_that_is_asked_for() -> None:
    stage, changed = serving(), project()
    changed["spec"]["pods"] = {"nodeSelector": {"pool": "typo"}}
    stage.put(changed)
    stage.until(lambda: len(stage.loaders) == 2, loads=False)
    stage.turn(State.FAILED)
    stage.until(lambda: stage.told_status["rejected"], loads=False)
    stage.go_on()
    assert "candidate" not in stage.told_status
    changed["spec"]["pods"] = {"nodeSelector": {"pool": "right"}}
    stage.put(changed)
    stage.go_on()
    assert stage.told_status["candidate"]["run"] == "first"


def test_what_an_engine_was_made_of_is_kept_as_long_as_it_is_needed_and_made_again() -> None:
    stage = serving()
    engine = engine_of(stage)
    before = stage.children["ConfigMap", engine]["data"]
    stage._gone(("ConfigMap", engine))
    stage.go_on()
    assert stage.children["ConfigMap", engine]["data"] == before
    stage.change("ModelDeployment", "answers", engine={"maxConcurrent": 8})
    stage.until(lambda: stage.serves("first") and engine_of(stage) != engine)
    stage.until(lambda: ("ConfigMap", engine) not in stage.children, 700)
    assert ("ConfigMap", engine_of(stage)) in stage.children


def test_what_serves_is_seen_to_before_anything_of_a_candidate() -> None:
    stage = serving()
    engine = engine_of(stage)
    stage.change("ModelDeployment", "answers", engine={"maxConcurrent": 8}, contract={"timeout": "9s"}, replicas=2)
    stage.until(lambda: len(stage.of_kind("Deployment")) == 3, loads=False)
    for name in (engine, "answers-gateway"):
        stage._gone(("Deployment", name))
    stage._gone(("Deployment", stage.told_status["candidate"]["engine"]))
    plan = stage.serve(writes=0)
    made = [each["metadata"]["name"] for each in plan.apply if each["kind"] == "Deployment"]
    assert made == [engine, "answers-gateway", stage.told_status["candidate"]["engine"]]


def test_what_somebody_put_in_the_place_of_a_document_is_said_and_not_made_again_and_again() -> None:
    stage = serving()
    name = stage.told_status["serving"]["admitted"]
    changed = stage.children["ConfigMap", name] | {"immutable": False}
    stage._store(changed)
    plan = stage.serve()
    assert not [each for each in plan.create if each["kind"] == "ConfigMap"]
    assert f"kubectl delete configmap {name} -n team" in stage.said()["message"]
    assert stage.said("Stalled")["reason"] == "AdmittedMissing"
    assert plan.requeue_after == 15
