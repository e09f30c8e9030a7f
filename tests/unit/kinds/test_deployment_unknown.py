"""What goes on while a document of what is served is gone, or the spec does not go with it: steps, weights, loaders."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from stagecoach.contract.gateway_routes import Routes
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployment_cases import canary, told, with_second
from tests.unit.kinds.deployments import SERVING, Stage, serving
from tests.unit.kinds.gates import succeeded
from tests.unit.kinds.test_load_testing import SLA

HELD = {"weight": 50, "hold": "Manual", "minRequests": 5}
APPROVERS = [{"user": "qa@example.com"}]


def held() -> Stage:
    """Return a stage whose second run has half of the requests, and waits for somebody to promote it."""
    stage = canary(HELD)
    stage.change("ModelDeployment", "answers", approvers=APPROVERS)
    go_on(stage)
    return stage


def go_on(stage: Stage, times: int = 8) -> None:
    for _ in range(times):
        stage.go_on()
        stage.ask()


def document(stage: Stage) -> tuple[str, str]:
    return "ConfigMap", stage.told_status["serving"]["admitted"]


def is_deleted(stage: Stage) -> None:
    stage._gone(document(stage))


def is_changed(stage: Stage) -> None:
    stage._store(stage.children[document(stage)] | {"immutable": False})


def is_gone_for_good(stage: Stage) -> None:
    stage.remove("FineTuneRun", "first")
    stage._gone(document(stage))


def is_not_what_the_spec_asks_for(stage: Stage) -> None:
    stage.change("ModelDeployment", "answers", contract={"output": {"schema": {"type": "nonsense"}}})


def newest(stage: Stage) -> Routes:
    [routes] = stage.routes()
    return routes


UNKNOWN = [is_deleted, is_changed, is_gone_for_good]


@pytest.mark.parametrize("happens", UNKNOWN)
def test_a_candidate_skips_no_step_because_nobody_knows_what_is_served(happens: Callable[[Stage], None]) -> None:
    """IncumbentStays: and nobody's word is passed over."""
    stage = held()
    before = stage.told_status
    happens(stage)
    for _ in range(200):
        go_on(stage, 1)
        assert stage.told_status["serving"]["run"] == "first"
    candidate = stage.told_status["candidate"]
    assert (candidate["step"], candidate["heldSince"]) == (0, before["candidate"]["heldSince"])
    routes = newest(stage)
    assert routes.candidate is not None
    assert routes.candidate.share(stage.now) == 50, "its weight is renewed"
    stage.decided("Promote", candidate["release"])
    stage.until(lambda: stage.serves("second"))


@pytest.mark.parametrize("happens", UNKNOWN)
def test_a_candidate_that_fails_goes_though_nobody_knows_what_is_served(happens: Callable[[Stage], None]) -> None:
    stage = held()
    happens(stage)
    for _ in range(10):
        stage.go_on()
        stage.ask(1000, failing=True)
    assert [each["reason"] for each in stage.told_status["rejected"]] == ["TooManyErrors"]
    assert newest(stage).candidate is None


def test_a_candidate_waits_with_words_when_gateways_routes_are_gone_as_well() -> None:
    stage = held()
    is_gone_for_good(stage)
    stage._gone(("ConfigMap", "answers-routes"))
    stage.forget()
    stage.silent = set(stage.doors)
    go_on(stage)
    assert stage.told_status["serving"]["run"] == "first"
    words = stage.said("Reconciling")["message"]
    assert "nor answers-routes" in words
    assert speaks("AdmittedMissing", words)
    stage.change("ModelDeployment", "answers", rollout=None)
    stage.silent = set()
    stage.until(lambda: stage.serves("second"))


def test_a_candidate_takes_no_step_while_gateways_cannot_have_its_tokenizer_beside_that_of_what_is_served() -> None:
    stage = serving(rollout={"canary": {"steps": [{"weight": 50, "hold": "30s"}]}})
    is_gone_for_good(stage)
    stage.put(succeeded("second", 2, tokenizer=builders.digest("e")))
    stage.judge()
    for _ in range(60):
        go_on(stage, 1)
        stage.wait(29)
    assert (stage.told_status["serving"]["run"], stage.told_status["candidate"]["run"]) == ("first", "second")
    assert "step" not in stage.told_status["candidate"]
    words = stage.said("Reconciling")["message"]
    assert "gateways cannot be started with both" in words
    assert speaks("AdmittedMissing", words)
    assert newest(stage).stable is not None
    stage.change("ModelDeployment", "answers", rollout=None)
    stage.until(lambda: stage.serves("second"))


@pytest.mark.parametrize("happens", [is_deleted, is_gone_for_good, is_not_what_the_spec_asks_for])
def test_what_is_revoked_has_no_requests_from_then_on(happens: Callable[[Stage], None]) -> None:
    """NoUngatedTraffic: whether it is served, or about to be."""
    stage = held()
    release = stage.told_status["candidate"]["release"]
    happens(stage)
    stage.decided("Revoke", release)
    go_on(stage, 4)
    assert newest(stage).candidate is None
    assert newest(stage).stable is not None
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    go_on(stage, 4)
    assert stage.phase == "Unavailable"
    assert newest(stage).stable is None


def test_a_candidate_that_a_spec_drops_has_no_requests() -> None:
    stage = held()
    engines, revision = len(stage.loaders), newest(stage).revision
    is_not_what_the_spec_asks_for(stage)
    go_on(stage)
    assert "candidate" not in stage.told_status
    assert told(stage) == ("Degraded", "Serving", "True")
    assert stage.said("Stalled")["reason"] == "BadSchema"
    routes = newest(stage)
    assert (routes.candidate, routes.output_schema, routes.revision) == (None, None, revision + 1)
    assert len(stage.loaders) == engines
    stage.change("ModelDeployment", "answers", contract={"output": {"schema": {"type": "object"}}})
    stage.until(lambda: newest(stage).output_schema == {"type": "object"})


def test_loaders_are_asked_for_what_is_served_though_its_document_is_gone() -> None:
    """IncumbentStays: a loader forgets what it is not asked for."""
    stage = serving(sla=SLA)
    stage.reach = None
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("loadTest"))
    go_on(stage)
    [loader] = stage.loaders.values()
    both = loader.wanted
    assert len(both) == 2
    is_gone_for_good(stage)
    go_on(stage)
    assert loader.wanted == both
    stage._gone(("ConfigMap", "answers-routes"))
    stage.forget()
    go_on(stage)
    assert loader.wanted == both


@pytest.mark.parametrize("happens", [is_gone_for_good, is_not_what_the_spec_asks_for])
@pytest.mark.parametrize("routes_too", [False, True])
def test_gateways_that_begin_anew_are_told_the_routes_of_before(
    happens: Callable[[Stage], None], routes_too: bool
) -> None:
    stage = serving()
    happens(stage)
    go_on(stage)
    if routes_too:
        stage._gone(("ConfigMap", "answers-routes"))
        go_on(stage, 2)
    [uid] = stage.doors
    stage.restart(uid)
    stage.forget()  # another process leads, which has told nobody anything
    go_on(stage, 3)
    assert stage.doors[uid].confirmed
    assert newest(stage).stable is not None


def test_routes_that_somebody_put_back_bring_no_older_contract_into_force() -> None:
    stage = serving(contract={"timeout": "5s"})
    before = builders.copied(stage.children["ConfigMap", "answers-routes"])
    stage.change("ModelDeployment", "answers", contract={"timeout": "9s"})
    go_on(stage)
    is_not_what_the_spec_asks_for(stage)
    go_on(stage)
    routes = newest(stage)
    stage._store(before)
    stage.forget()  # another process leads, which has told nobody anything
    go_on(stage)
    assert newest(stage) == routes
    assert routes.timeout == 9
    assert told(stage) == ("Degraded", "AdmittedMissing", "False"), "one that begins anew would answer by the older"
    assert "ConfigMap answers-routes" in stage.said()["message"]
    stage.change("ModelDeployment", "answers", contract={"timeout": "9s"})
    stage.until(lambda: stage.serves("first"))


def test_an_operator_without_images_tells_gateways_what_they_know_and_what_is_revoked() -> None:
    stage = held()
    stage.settings = replace(stage.settings, engine_cpu_image="")
    [uid] = stage.doors
    stage._gone(("ConfigMap", "answers-routes"))
    go_on(stage, 2)
    stage.restart(uid)
    go_on(stage, 3)
    assert stage.doors[uid].confirmed
    stage.decided("Revoke", stage.told_status["candidate"]["release"])
    go_on(stage, 3)
    assert newest(stage).candidate is None
    assert "candidate" not in stage.told_status
    assert told(stage) == ("Degraded", "Serving", "True")
    assert stage.said("Stalled")["reason"] == "ServingNotInstalled"
    versions = len(stage.versions)
    go_on(stage, 3)
    assert len(stage.versions) == versions


def test_an_operator_without_an_engines_image_looks_after_what_is_served() -> None:
    """IncumbentStays: an upgrade that forgets the image takes nothing from what was admitted with another."""
    stage = serving()
    engine = stage.told_status["serving"]["engine"]
    stage.settings = replace(SERVING, engine_cpu_image="")
    stage._gone(("Deployment", "answers-gateway"))
    stage._gone(("Service", "answers"))
    stage.change("ModelDeployment", "answers", replicas=2)
    with_second(stage)
    go_on(stage)
    assert {("Deployment", "answers-gateway"), ("Service", "answers")} <= stage.children.keys()
    assert stage.children["Deployment", engine]["spec"]["replicas"] == 2
    assert {each["metadata"]["name"] for each in stage.of_kind("Deployment")} == {"answers-gateway", engine}
    assert "candidate" not in stage.told_status
    assert stage.said("Stalled")["reason"] == "ServingNotInstalled"
    stage.settings = SERVING
    stage.until(lambda: stage.serves("second"))
