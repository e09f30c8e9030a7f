"""What gateways are told, and when."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.api.deployment_status import ClientKeys, ModelDeploymentStatus, RoutesStatus
from stagecoach.contract import openapi
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.gateway_routes import MAX_BYTES, Acknowledgement, Routes, sign
from stagecoach.contract.inputs import Family
from stagecoach.contract.times import timestamp
from stagecoach.kinds.modeldeployment import published
from stagecoach.kinds.modeldeployment.routes import announced, contradicts, identity, intended, model_name, wanted
from stagecoach.policies import keys
from stagecoach.policies.fitting import servable_problem
from stagecoach_gateway.current import Current, Loaded, Refused
from tests import builders
from tests.builders import Object
from tests.unit.gateway import releases
from tests.unit.kinds.deployments import serving
from tests.unit.kinds.gateways import LABELS, NOW, UID, admitted, deployment, in_step, served

A, B = admitted("a"), admitted("b")
DOCUMENTS = {f"answers-{document.run}": document for document in (A, B)}
SERVING: Object = {"serving": served(A)}
BOTH: Object = SERVING | {"candidate": in_step(B, 20)}
KEY = keys.derive(b"k" * 32, UID, keys.Purpose.ROUTES).encode()


def url(engine: str) -> str:
    return f"http://{engine}.team.svc:8000"


def told(status: Object, documents: dict[str, Admitted] = DOCUMENTS, **spec: Any) -> Routes:
    found = wanted(deployment(status, **spec), documents, url)
    assert found is not None
    return found


def test_before_anything_is_admitted_gateways_are_told_so() -> None:
    routes = told({})
    assert routes == Routes(deployment=UID, name="answers", revision=1, api="Task", stable=None, keys=False, timeout=30)
    assert told({"candidate": in_step(B)}) == routes, "nothing takes a part beside nothing"


def test_what_is_served_and_what_is_about_to_be() -> None:
    routes = told(BOTH)
    assert routes.stable is not None
    assert routes.candidate is not None
    assert (routes.stable.described, routes.stable.labels, routes.stable.model) == (A.described, LABELS, "a" * 64)
    assert routes.stable.engines == ("http://answers-e-00000001.team.svc:8000",)
    assert (routes.candidate.target.release, routes.candidate.weight) == (B.release, 20)
    assert routes.candidate.until == datetime.fromisoformat("2026-01-02T12:05:00Z")


@pytest.mark.parametrize(
    "status",
    [
        SERVING,
        SERVING | {"candidate": served(B)},  # it does not answer yet
        SERVING | {"candidate": in_step(admitted("c"))},  # nobody knows what was admitted
        SERVING | {"candidate": in_step(A, engine="answers-e-00000002")},  # the same, on another engine
        SERVING | {"candidate": in_step(admitted("d"))},  # of other labels
    ],
)
def test_when_all_requests_stay_with_what_is_served(status: Object) -> None:
    other = {"answers-d": admitted("d", labels=("yes", "no"))}
    assert told(status, DOCUMENTS | other) == told(SERVING)


def test_what_is_served_and_not_known_leaves_gateways_as_they_are() -> None:
    assert wanted(deployment(BOTH), {"answers-b": B}, url) is None
    assert wanted(deployment(BOTH), {"answers-b": B}, url, told({})) is None
    tags = admitted("a", task="TokenClassification", labels=None, architecture=Family.ENCODER)
    assert wanted(deployment(SERVING), {"answers-a": tags}, url) is None
    assert wanted(deployment(SERVING, api="OpenAI"), {"answers-a": tags}, url) is not None


BAD: Object = {"contract": {"output": {"schema": {"type": "nonsense"}}, "timeout": "9s"}}


@pytest.mark.parametrize("documents", [DOCUMENTS, {"answers-a": A}, {"answers-b": B}, {}])
@pytest.mark.parametrize(("spec", "timeout"), [({}, 30), ({"contract": {"timeout": "9s"}}, 9), (BAD, 30)])
@pytest.mark.parametrize(
    "status",
    [
        BOTH,
        SERVING | {"candidate": in_step(B, 50)},
        SERVING | {"candidate": in_step(B, 20, weightUntil="2026-01-02T12:10:00Z")},
        SERVING,  # the candidate was dropped, rejected or revoked
        SERVING | {"candidate": served(B)},  # it begins anew
        SERVING | {"candidate": in_step(admitted("c"), 20)},  # another takes its place
        {"serving": served(A, "answers-e-00000002")},  # on another engine
        {"serving": served(B)},  # it is in
        {},  # what was served was revoked
    ],
)
def test_which_releases_answer_follows_from_the_status_whatever_else_is_unknown(
    status: Object, spec: Object, timeout: float, documents: dict[str, Admitted]
) -> None:
    """NoUngatedTraffic, IncumbentStays: by a spec that does not go with what is served the contract is as before."""
    last = told(BOTH).model_copy(update={"revision": 7})
    found = wanted(deployment(status, **spec), documents, url, last)
    assert found == told(status).model_copy(update={"timeout": timeout})


def test_who_may_ask_follows_from_the_status_whatever_becomes_of_the_spec() -> None:
    keys = {"access": {"apiKeys": {"name": "clients"}}}
    last = told(SERVING, DOCUMENTS, **keys)
    assert last.keys
    for spec, asks in (({}, False), (keys, True)):
        found = wanted(deployment(SERVING, **BAD, **spec), DOCUMENTS, url, last)
        assert found is not None
        assert found.keys is asks


def test_that_nothing_is_served_can_be_told_whatever_the_spec_says() -> None:
    """NoUngatedTraffic: what was revoked leaves also gateways that refuse routes with what is no schema."""
    found = told({}, DOCUMENTS, **BAD)
    assert (found.stable, found.output_schema, found.timeout) == (None, None, 9)


def test_an_encoder_that_serves_can_be_told_whatever_spec_sla_asks_for() -> None:
    encoder = {"answers-a": admitted("a", architecture=Family.ENCODER)}
    sla = {"p99": "1s", "load": {"requestsPerSecond": 20, "promptTokens": 60, "outputTokens": 16}}
    assert told(SERVING, encoder, sla=sla, contract={"timeout": "90s"}).timeout == 90


@pytest.mark.parametrize(
    ("document", "name"), [(A, "a" * 64), (admitted("c", "Model"), "c" * 64), (admitted("c", None), "5" * 64)]
)
def test_what_engines_call_it(document: Admitted, name: str) -> None:
    assert model_name(document) == name


@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        ({"api": "OpenAI"}, {"api": "OpenAI"}),
        ({"access": {"apiKeys": {"name": "clients"}}}, {"keys": True}),
        ({"contract": {"timeout": "90s"}}, {"timeout": 90.0}),
        ({"contract": {"timeout": "1h"}}, {"timeout": 3600.0}),
        ({"contract": {"input": {"schema": {"maxProperties": 1}}}}, {"input_schema": {"maxProperties": 1}}),
        ({"contract": {"output": {"schema": {"minProperties": 1}}}}, {"output_schema": {"minProperties": 1}}),
        (
            {"contract": {"rateLimits": [{"requests": 600, "interval": "1m"}, {"requests": 9000, "interval": "1d"}]}},
            {"rateLimits": [{"requests": 600, "seconds": 60}, {"requests": 9000, "seconds": 86_400}]},
        ),
        ({"contract": {"fallback": {"static": {"label": "other"}}}}, {"fallback": {"static": {"label": "other"}}}),
        (
            {"contract": {"fallback": {"deployment": "simple"}}},
            {"fallback": {"gateway": "http://simple.team.svc:80"}},
        ),
        (
            {"sampling": {"claim": {"name": "kept"}, "rate": 0.05, "redact": [{"type": "email"}], "keep": "1h"}},
            {"sampling": {"rate": 0.05, "redact": ["email"], "keepSeconds": 3600}},
        ),
        (
            {
                "sampling": {"claim": {"name": "kept"}, "rate": 0, "redact": []},
                "access": {"feedback": {"name": "team"}},
            },
            {"sampling": {"rate": 0, "keepSeconds": 30 * 86_400, "sources": True}},
        ),
        ({"replicas": 3, "engine": {"maxConcurrent": 8}}, {}),
    ],
)
def test_what_clients_may_rely_on(spec: Object, changes: Object) -> None:
    assert told(SERVING, **spec) == Routes.model_validate(told(SERVING).document() | changes)


def status_of(routes: Routes, revision: int, **changes: int) -> RoutesStatus:
    return RoutesStatus(revision=revision, digest=identity(routes), since=builders.CREATED, **changes)


@pytest.mark.parametrize(
    ("before", "known", "revision"),
    [
        (None, 0, 1),
        (None, 9, 10),  # the status was put back, and gateways have served before
        (status_of(told(SERVING), 4), 0, 4),
        (status_of(told(SERVING), 4), 3, 4),
        (status_of(told(SERVING), 4), 4, 5),  # the same revision, with something else in it
        (status_of(told(SERVING), 4), 9, 10),
        (status_of(told({}), 4), 0, 5),
        (status_of(told({}), 4), 9, 10),
        (status_of(told(BOTH), 4), 0, 5),
    ],
)
def test_the_intent_to_tell(before: RoutesStatus | None, known: int, revision: int) -> None:
    found = intended(told(SERVING), before, ClientKeys.OFF, NOW, known)
    assert found is not None
    assert (found.revision, found.digest) == (revision, identity(told(SERVING)))
    assert found.since == (before.since if before and before.revision == revision else timestamp(NOW))
    assert intended(told(SERVING), found, ClientKeys.OFF, NOW) == found
    assert intended(None, before, ClientKeys.OFF, NOW, known) == before


def test_who_has_acknowledged_is_asked_anew() -> None:
    before = status_of(told({}), 4, gateways=2, acknowledged=2)
    found = intended(told(SERVING), before, ClientKeys.OFF, NOW)
    assert found is not None
    assert (found.gateways, found.acknowledged) == (2, 0)


def test_nothing_is_told_before_the_status_says_so() -> None:
    routes = told(SERVING)
    assert announced(routes, None) is None
    assert announced(routes, status_of(told({}), 4)) is None
    assert announced(None, status_of(routes, 4)) is None
    found = announced(routes, status_of(routes, 4))
    assert found is not None
    assert (found.revision, identity(found)) == (4, identity(routes))


@pytest.mark.parametrize(
    ("revision", "digest", "uid", "holds"),
    [(3, "d", UID, False), (4, "d", UID, True), (4, "e", UID, False), (5, "e", UID, True), (5, "e", "other", False)],
)
def test_what_is_not_newer_for_a_gateway(revision: int, digest: str, uid: str, holds: bool) -> None:
    ours = Acknowledgement(deployment=UID, revision=4, digest=builders.digest("e"))
    theirs = Acknowledgement(deployment=uid, revision=revision, digest=builders.digest(digest))
    assert contradicts(theirs, ours) is holds


@given(st.lists(st.sampled_from(["serve a", "serve b", "step", "renew", "drop", "restore"]), max_size=12))
def test_every_change_has_a_revision_above_all_before(events: list[str]) -> None:
    """A gateway takes whatever is told, in the order in which it is told, whatever became of the status meanwhile."""
    asyncio.run(_takes_all(events))


async def _takes_all(events: list[str]) -> None:
    gateway = Current(UID, KEY, Path("/nowhere"), lambda _: None, 0)
    gateway._load = lambda routes: Loaded(routes, routes.digest, {}, None, None)  # type: ignore[method-assign]
    status, until, has = deployment().status, NOW, 0
    saved: RoutesStatus | None = None
    for event in events:
        until += timedelta(minutes=5 if event == "renew" else 0)
        told_of = _after(event, status.document())
        status = deployment(told_of | _renewed(told_of, until)).status
        if event == "restore":
            status = status.model_copy(update={"routes": saved})
        saved = saved or status.routes
        status, acknowledged = await _hand_over(gateway, status)
        assert acknowledged.revision >= has
        has = acknowledged.revision


async def _hand_over(
    gateway: Current, status: ModelDeploymentStatus, known: int = 0
) -> tuple[ModelDeploymentStatus, Acknowledgement]:
    """Do what a reconcile does, until the gateway has acknowledged."""
    routes = wanted(deployment(status.document()), DOCUMENTS, url)
    status = status.model_copy(update={"routes": intended(routes, status.routes, ClientKeys.OFF, NOW, known)})
    found = announced(routes, status.routes)
    assert found is not None
    before = gateway.loaded
    try:
        acknowledged = await gateway.take(sign(found, KEY).line())
    except Refused:
        assert known == 0, "once its revision is known, it takes what is above it"
        assert before is not None
        ours = Acknowledgement(deployment=UID, revision=found.revision, digest=found.digest)
        assert contradicts(before.acknowledgement, ours)
        return await _hand_over(gateway, status, before.routes.revision)
    assert acknowledged.digest == found.digest
    return status, acknowledged


def _after(event: str, status: Object) -> Object:
    status = {key: value for key, value in status.items() if key != "candidate" or event not in ("drop", "serve b")}
    if event.startswith("serve"):
        status["serving"] = served({"a": A, "b": B}[event[-1]])
    if event == "step" and "serving" in status:
        before = status.get("candidate", {}).get("weight", 0)
        status["candidate"] = in_step({A.release: B, B.release: A}[status["serving"]["release"]], before % 99 + 1)
    return status


def _renewed(status: Object, until: datetime) -> Object:
    candidate = status.get("candidate")
    return {"candidate": candidate | {"weightUntil": until.isoformat()}} if candidate else {}


async def test_a_gateway_has_all_that_it_needs_of_them(tmp_path: Path) -> None:
    """Of a decoder with its labels, as the gateway itself makes it ready."""
    tokenizer = releases.tokenizer(tmp_path)
    documents = {f"answers-{run}": admitted(run, tokenizer=tokenizer) for run in "ab"}
    a, b = documents.values()
    status = {"serving": served(a), "candidate": in_step(b, 20)}
    routes = wanted(deployment(status), documents, url)
    intent = intended(routes, None, ClientKeys.OFF, NOW)
    found = announced(routes, intent)
    assert found is not None
    current = Current(UID, KEY, tmp_path, lambda _: None, 0)
    acknowledged = await current.take(sign(found, KEY).line())
    assert acknowledged == Acknowledgement(deployment=UID, revision=1, digest=found.digest)
    assert current.loaded is not None
    assert set(current.loaded.ready) == {a.release, b.release}
    assert len(current.loaded.ready[a.release].choice.following(())) > 1


FAMILIES = st.sampled_from([None, Family.ENCODER, Family.ENCODER_DECODER])
TASKS = ["Classification", "TokenClassification", "Generation", "Embedding", "Translation"]


@given(st.sampled_from(TASKS), FAMILIES, st.sampled_from(["Task", "OpenAI"]), st.text(max_size=40))
def test_what_may_be_served_can_be_told(task: str, family: Family | None, api: str, words: str) -> None:
    labels = (f"a{words}", f"b{words}") if task == "Classification" else None
    one = admitted("a", task=task, architecture=family, labels=labels)
    made = deployment({"serving": served(one)}, api=api)
    routes = wanted(made, {"answers-a": one}, url)
    assert (routes is None) is (servable_problem(made.spec, one) is not None)
    if routes is not None:
        assert Routes.model_validate_json(routes.line()) == routes


def test_the_largest_routes_fit_into_a_config_map() -> None:
    labels = tuple(f"{number:03}{'é' * 70}" for number in range(500))
    documents = {f"answers-{run}": admitted(run, labels=labels) for run in "ab"}
    made = deployment({"serving": served(documents["answers-a"]), "candidate": in_step(documents["answers-b"])})
    assert servable_problem(made.spec, documents["answers-a"]) is None
    routes = wanted(made, documents, url)
    assert routes is not None
    signed = sign(routes, KEY)
    assert len(signed.payload) <= MAX_BYTES
    assert len(signed.line().encode()) < 1_000_000


def test_what_gateways_answer_of_the_contract_is_kept_for_those_who_write_clients() -> None:
    stage = serving()
    stage.until(lambda: {routes.revision for routes in stage.routes()} == {stage.told_status["routes"]["revision"]})

    def is_kept() -> bool:
        told = stage.told_status["contract"]
        text = stage.children["ConfigMap", "answers-contract"]["data"]["openapi.json"].encode()
        said = {openapi.text(routes, feedback=False) for routes in stage.routes()}
        digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
        return said == {text} and told == {"configMap": "answers-contract", "digest": digest}

    assert is_kept()
    before = stage.told_status["contract"]["digest"]
    stage.change("ModelDeployment", "answers", contract={"timeout": "9s"})
    stage.until(lambda: stage.told_status["contract"]["digest"] != before)
    stage.until(is_kept)


@pytest.mark.parametrize("installed", [True, False])
def test_a_contract_that_outgrows_its_config_map_is_not_kept(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is served it is short: what was kept then does not stay."""
    stage = serving()
    text = stage.children["ConfigMap", "answers-contract"]["data"]["openapi.json"]
    monkeypatch.setattr(published, "MOST_BYTES", len(text.encode()) - 1)
    if not installed:
        stage.settings = replace(stage.settings, gateway_image="")
    for _ in range(3):
        stage.go_on()
    assert "contract" not in stage.told_status
    assert ("ConfigMap", "answers-contract") not in stage.children
    assert ("ConfigMap", "answers-routes") in stage.children


def test_what_the_status_says_of_the_contract_is_what_is_seen_in_the_config_map() -> None:
    stage = serving()
    before = stage.told_status["contract"]

    def changed(timeout: str) -> None:
        stage.change("ModelDeployment", "answers", contract={"timeout": timeout})
        for _ in range(3):
            stage.go_on()

    stage.refuses = lambda child: child["metadata"]["name"] == "answers-contract"
    changed("9s")
    assert [routes.timeout for routes in stage.routes()] == [9]
    assert stage.told_status["contract"] == before, "the older one is there"
    stage._gone(("ConfigMap", "answers-contract"))
    changed("8s")
    assert "contract" not in stage.told_status
    stage.refuses = lambda _: False
    changed("7s")
    assert stage.told_status["contract"] != before
