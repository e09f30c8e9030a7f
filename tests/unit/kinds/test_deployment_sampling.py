"""What is kept of requests: what gateways are told at once, and where it lies when all of them have the place."""

import json
from typing import Any

from stagecoach.contract.gateway_routes import RedactionType, Sampling
from stagecoach.kinds.modeldeployment.stuck import PATIENCE
from tests.remedies import speaks
from tests.unit.kinds.deployment_scenes import NO_CLAIM
from tests.unit.kinds.deployments import Stage, serving

GATEWAY = "answers-gateway"
PLACE = "pvc://kept/samples/answers"


def sampling(claim: str = "kept", **changes: Any) -> dict[str, Any]:
    return {"claim": {"name": claim}, "rate": 0.05, "redact": [{"type": "card"}, {"type": "email"}]} | changes


def told(stage: Stage) -> list[Sampling | None]:
    return [routes.sampling for routes in stage.routes()]


def contract_has_feedback(stage: Stage) -> bool:
    text = stage.children["ConfigMap", "answers-contract"]["data"]["openapi.json"]
    return "/v1/feedback" in json.loads(text)["paths"]


def go_on(stage: Stage, rounds: int = 10) -> None:
    for _ in range(rounds):
        stage.go_on()


def test_it_begins_and_changes_and_ends_without_an_engine_that_begins_anew() -> None:
    stage = serving(gateway={"replicas": 2})
    engine = stage.told_status["serving"]["engine"]
    before = [pod["metadata"]["uid"] for pod in stage.pods(engine)]
    assert (told(stage), stage.told_status.get("samples")) == ([None, None], None)
    stage.change("ModelDeployment", "answers", sampling=sampling())
    go_on(stage)
    kept = Sampling(rate=0.05, redact=(RedactionType.CARD, RedactionType.EMAIL), keep_seconds=30 * 86_400)
    assert (told(stage), stage.told_status["samples"]) == ([kept, kept], PLACE)
    assert contract_has_feedback(stage)
    assert "sources" not in kept.document(), "engines and gateways of before there were sources know no such word"
    gateways = [pod["metadata"]["uid"] for pod in stage.pods()]
    stage.change("ModelDeployment", "answers", sampling=sampling(rate=0, redact=[], keep="1h"))
    go_on(stage)
    assert told(stage) == [Sampling(rate=0, keep_seconds=3600)] * 2
    assert [pod["metadata"]["uid"] for pod in stage.pods()] == gateways, "what gateways are told needs no new ones"
    stage.change("ModelDeployment", "answers", sampling=None)
    go_on(stage)
    assert (told(stage), stage.told_status.get("samples")) == ([None, None], None)
    assert not contract_has_feedback(stage)
    assert "samples" not in str(stage.children["Deployment", GATEWAY]["spec"]["template"])
    assert [pod["metadata"]["uid"] for pod in stage.pods(engine)] == before


def test_a_claim_that_is_not_there_takes_nothing_out_of_service_and_somebody_hears_of_it() -> None:
    stage = serving()
    stage.stuck = {GATEWAY: NO_CLAIM}
    stage.change("ModelDeployment", "answers", sampling=sampling())
    go_on(stage)
    stage.wait(PATIENCE.total_seconds())
    go_on(stage, 3)
    assert (stage.phase, stage.said()["reason"], stage.told_status.get("samples")) == ("Degraded", "Serving", None)
    assert not contract_has_feedback(stage), "gateways that are without the claim take none"
    stalled = stage.said("Stalled")
    assert stalled["reason"] == "Unschedulable"
    assert "spec.sampling.claim" in stalled["message"]
    assert speaks(stalled["reason"], stalled["message"])
    stage.stuck = {}
    go_on(stage)
    assert (stage.phase, stage.told_status["samples"]) == ("Available", PLACE)


def test_samples_lie_where_they_did_until_all_gateways_have_another_claim() -> None:
    stage = serving(sampling=sampling())
    go_on(stage, 3)
    stage.stuck = {GATEWAY: NO_CLAIM}
    stage.change("ModelDeployment", "answers", sampling=sampling("other"))
    go_on(stage)
    assert stage.told_status["samples"] == PLACE
    stage.stuck = {}
    go_on(stage)
    assert stage.told_status["samples"] == "pvc://other/samples/answers"


def test_a_claim_that_another_node_holds_is_told_with_what_to_use() -> None:
    stage = serving()
    held = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) answers-gateway-1'
    stage.stuck = {GATEWAY: {"phase": "Pending"}}
    stage.change("ModelDeployment", "answers", sampling=sampling())
    go_on(stage)
    [late] = [pod for pod in stage.pods() if pod["status"]["phase"] == "Pending"]
    stage.cache.set_warning(late["metadata"]["uid"], held)
    stage.wait(PATIENCE.total_seconds())
    go_on(stage, 3)
    stalled = stage.said("Stalled")
    assert stalled["reason"] == "PodNotStarting"
    assert "ReadWriteMany" in stalled["message"]
    assert speaks(stalled["reason"], stalled["message"])
