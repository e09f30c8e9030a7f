"""What the API server refuses of deployments, of specs and of what the operator itself might say by mistake."""

from typing import Any

import pytest

from tests import builders
from tests.integration.kinds.admission import Change, put, refused, take, written
from tests.kube import Kube, KubeError
from tests.unit.kinds.deployment_scenes import OF_DEPLOYMENTS

STEP = {"weight": 5, "hold": "5m"}
ANSWER = {"label": "other"}
LATER = "2026-01-02T03:14:05Z"
LOAD = {"requestsPerSecond": 20, "promptTokens": 60, "outputTokens": 16}


def steps(*weights: int, **changes: Any) -> Change:
    """Return a change to a canary of these weights."""
    return put("rollout", {"canary": {"steps": [STEP | {"weight": weight} | changes for weight in weights]}})


def keeps(**changes: Any) -> Change:
    return put("sampling", {"claim": {"name": "kept"}, "rate": 0.05, "redact": []} | changes)


def keeps_for(secret: builders.Object) -> Change:
    def both(spec: builders.Object) -> None:
        keeps(rate=0)(spec)
        put("access", {"feedback": secret})(spec)

    return both


def falls_back(**to: Any) -> Change:
    return put("contract.fallback", to)


def scales(**bounds: int) -> Change:
    return put("autoscaling", {"waitingRequests": 4} | bounds)


def speaks_openai(change: Change) -> Change:
    def both(spec: builders.Object) -> None:
        spec["api"] = "OpenAI"
        change(spec)

    return both


def sla(load: builders.Object | None = None, **limits: Any) -> Change:
    """Return a change to an SLA of these limits."""
    return put("sla", {"load": LOAD | (load or {})} | (limits or {"p99": "1s"}))


def limits(*intervals: str) -> Change:
    return put("contract.rateLimits", [{"requests": 60, "interval": interval} for interval in intervals])


DEPLOYMENTS = [
    ("no project", put("project", None), "spec.project: Required value"),
    ("nothing to serve", put("model", {}), "give exactly one of latest, run, release, candidate and follow"),
    ("two to serve", put("model", {"latest": {}, "run": "first"}), "give exactly one of latest, run, release, candidate and follow"),
    ("a run and a base", put("model", {"candidate": "small", "run": "first"}), "give exactly one of latest, run, release, candidate and follow"),
    ("an odd candidate", put("model", {"candidate": "Small Model"}), "spec.model.candidate"),
    ("a circle of one", put("model", {"follow": {"deployment": "answers", "soak": "24h"}}), "spec.model.follow.deployment must be another ModelDeployment than this one"),
    ("an odd soak", put("model", {"follow": {"deployment": "staging", "soak": "a day"}}), "must be a length of time such as 90s, 30m, 24h or 7d"),
    ("no soak", put("model", {"follow": {"deployment": "staging"}}), "spec.model.follow.soak: Required value"),
    ("a tag", put("model", {"release": "v1"}), "must be sha256: and 64 of the digits 0-9 and a-f"),
    ("an odd run", put("model", {"run": "First"}), "must be lower-case letters, digits and '-'"),
    ("odd labels", put("model.latest.selector", {"matchLabels": {"a b": "c"}}), "a label's key must be <name> or <domain>/<name>"),
    ("no gates", put("gates", None), "spec.gates: Required value"),
    ("a list without gates", put("gates", []), "should have at least 1 items"),
    ("a gate twice", put("gates", [{"name": "good"}] * 2), "Duplicate value"),
    ("five gates", put("gates", [{"name": f"g{n}"} for n in range(5)]), "must have at most 4 items"),
    ("an odd rank", put("engine.maxLoraRank", 24), "must be 8, 16, 32, 64, 128, 256, 320 or 512: take the next larger one"),
    ("a rank that is too large", put("engine.maxLoraRank", 513), "should be less than or equal to 512"),
    ("nothing at a time", put("engine.maxConcurrent", 0), "should be greater than or equal to 1"),
    ("no room", put("engine.maxLength", 15), "should be greater than or equal to 16"),
    ("no patience", put("engine.startDeadline", "59s"), "startDeadline must be at least 1m"),
    ("endless patience", put("engine.startDeadline", "2d"), "startDeadline must be at least 1m, for vLLM"),
    ("an odd deadline", put("engine.startDeadline", "1h30m"), "must be a length of time such as 90s, 30m, 24h or 7d"),
    ("several GPUs", put("engine.resources.gpus", 2), "should be less than or equal to 1"),
    ("odd GPUs", put("engine.resources.gpuResource", "gpu"), "must be <domain>/<name>, such as nvidia.com/gpu"),
    ("odd memory", put("engine.resources.memory", "8GB"), "must be an amount of memory such as 512Mi or 8Gi"),
    ("65 replicas", put("replicas", 65), "should be less than or equal to 64"),
    ("fewer than none", put("replicas", -1), "should be greater than or equal to 0"),
    ("pods of two minds", lambda spec: (put("replicas", 2)(spec), scales(max=4)(spec)), "replicas goes without autoscaling"),
    ("no pods of two minds", lambda spec: (put("replicas", 0)(spec), scales(max=4)(spec)), "replicas goes without autoscaling"),
    ("bounds without room", scales(min=5, max=4), "min must be no more than max"),
    ("down to nothing", scales(min=0, max=4), "should be greater than or equal to 1"),
    ("up to everything", scales(max=65), "should be less than or equal to 64"),
    ("no upper bound", scales(), "spec.autoscaling.max: Required value"),
    ("as soon as nothing waits", scales(max=4, waitingRequests=0), "should be greater than or equal to 1"),
    ("another API", put("api", "gRPC"), 'supported values: "Task", "OpenAI"'),
    ("a limit of days", limits("2d"), "interval must be at most 1d"),
    ("a limit of hours", limits("25h"), "interval must be at most 1d"),
    ("a limit of seconds", limits("86401s"), "interval must be at most 1d"),
    ("an odd interval", limits("0.5s"), "must be a length of time such as 90s, 30m, 24h or 7d"),
    ("an interval twice", limits("1m", "1m"), "Duplicate value"),
    ("five limits", limits("1m", "2m", "3m", "4m", "5m"), "must have at most 4 items"),
    ("no requests", put("contract.rateLimits", [{"requests": 0, "interval": "1m"}]), "should be greater than or equal to 1"),
    ("a long answer", put("contract.timeout", "61m"), "timeout must be at most 1h"),
    ("an answer of a day", put("contract.timeout", "1d"), "timeout must be at most 1h"),
    ("requests of no schema", put("contract.input", {}), "spec.contract.input.schema: Required value"),
    ("answers by a word", put("contract.output", {"schema": "integer"}), "must be of type object"),
    ("a fallback to nothing", falls_back(), "give exactly one of static and deployment"),
    ("a fallback to two", falls_back(static=ANSWER, deployment="other"), "give exactly one of static and deployment"),
    ("an empty answer", falls_back(static={}), "should have at least 1 properties"),
    ("an answer of another form", falls_back(static={"code": "later"}), "static must hold label or text"),
    ("an answer of two forms", falls_back(static=ANSWER | {"text": "other"}), "static must hold label or text"),
    ("an answer in numbers", falls_back(static={"label": 1}), "must be of type string"),
    ("an answer that is too long", falls_back(static={"text": "x" * 4097}), "may not be more than 4096"),
    ("an answer of nine fields", falls_back(static=ANSWER | {f"f{n}": "x" for n in range(8)}), "must have at most 8 items"),
    ("an answer with odd fields", falls_back(static=ANSWER | {"a b": "c"}), "a field of an answer must be at most 63 letters"),
    ("a label to OpenAI's clients", speaks_openai(falls_back(static=ANSWER)), "contract.fallback goes with api Task"),
    ("another's answer to OpenAI's clients", speaks_openai(falls_back(deployment="other")), "contract.fallback goes with api Task"),
    ("a circle", falls_back(deployment="answers"), "spec.contract.fallback.deployment must be another ModelDeployment than this one"),
    ("keys of nobody", put("access", {}), "access names who may ask, apiKeys, or who may give feedback: give one of them"),
    ("feedback that is not kept", put("access", {"feedback": {"name": "team"}}), "give sampling, such as with rate 0, or leave access.feedback out"),
    ("feedback of an odd name", keeps_for({"name": "My team"}), "must be the name of an object"),
    ("keys nowhere", put("access", {"apiKeys": {"name": "My keys"}}), "must be the name of an object"),
    ("samples of nothing", put("sampling", {}), "spec.sampling.rate: Required value"),
    ("samples nowhere", keeps(claim={}), "spec.sampling.claim.name: Required value"),
    ("samples in an odd place", keeps(claim={"name": "pvc://kept"}), "must be the name of an object"),
    ("more samples than requests", keeps(rate=1.5), "should be less than or equal to 1"),
    ("no word on what is private", put("sampling", {"claim": {"name": "kept"}, "rate": 1}), "spec.sampling.redact: Required value"),
    ("private by another word", keeps(redact=[{"type": "name"}]), 'supported values: "email", "card"'),
    ("private twice", keeps(redact=[{"type": "card"}] * 2), "Duplicate value"),
    ("samples of minutes", keeps(keep="59m"), "keep must be at least 1h"),
    ("samples for ever", keeps(keep="366d"), "keep must be at least 1h, for which there is a file, and at most 365d"),
    ("an odd time to keep", keeps(keep="1y"), "must be a length of time such as 90s, 30m, 24h or 7d"),
    ("no gateway", put("gateway.replicas", 0), "should be greater than or equal to 1"),
    ("many gateways", put("gateway.replicas", 17), "should be less than or equal to 16"),
    ("a way back to nothing", put("rollout", {"rollbackWindow": 0}), "should be greater than or equal to 1"),
    ("a way back to everything", put("rollout", {"rollbackWindow": 11}), "should be less than or equal to 10"),
    ("no steps", steps(), "should have at least 1 items"),
    ("nine steps", steps(*range(1, 10)), "must have at most 8 items"),
    ("weights that fall", steps(50, 5), "each step must have a larger weight than the one before"),
    ("a weight twice", steps(5, 5), "each step must have a larger weight than the one before"),
    ("a step of nothing", steps(0), "should be greater than or equal to 1"),
    ("a step of all", steps(100), "should be less than or equal to 99"),
    ("a step by hand of nobody", steps(5, hold="Manual"), "a step with hold Manual waits for somebody who may promote: name approvers"),
    ("an odd hold", steps(5, hold="manual"), "or Manual: until somebody promotes it"),
    ("an approver twice", put("approvers", [{"user": "a"}] * 2), "name each user and each group once in approvers"),
    ("an approver of two names", put("approvers", [{"user": "a", "group": "b"}]), "give exactly one of user and group"),
    ("17 approvers", put("approvers", [{"user": f"u{n}"} for n in range(17)]), "must have at most 16 items"),
    ("all may fail", lambda spec: (steps(5)(spec), put("rollout.canary.abortOn", {"errorRate": 1})(spec)), "errorRate must be less than 1"),
    ("arguments of the engine", put("engine.args", ["--seed=1"]), 'unknown field "spec.engine.args"'),
    ("another image", put("engine.image", "vllm"), 'unknown field "spec.engine.image"'),
    ("an objective without a load", put("sla", {"p99": "1s"}), "spec.sla.load: Required value"),
    ("no objective", put("sla", {"load": LOAD}), "give at least one of p50, p99 and firstToken"),
    ("an objective in words", sla(p99="soon"), "must be a time such as 300ms or 2s"),
    ("an objective of minutes", sla(p99="1m"), "must be a time such as 300ms or 2s"),
    ("half that comes after all", sla(p50="3s", p99="2999ms"), "p50 must be at most p99"),
    ("a beginning after the end", sla(firstToken="3s", p99="2999ms"), "firstToken must be at most p99"),
    ("a short test", sla({"duration": "9s"}), "duration must be at least 10s"),
    ("a long test", sla({"duration": "11m"}), "duration must be at least 10s, for less tells nothing, and at most 10m"),
    ("an odd test", sla({"duration": "1.5m"}), "must be a length of time such as 90s, 30m, 24h or 7d"),
    ("few requests", sla({"requestsPerSecond": 1}), "must be 100 to 50000 requests"),
    ("many requests", sla({"requestsPerSecond": 900}), "must be 100 to 50000 requests"),
    ("hardly any requests", sla({"requestsPerSecond": 0.05}), "should be greater than or equal to 0.1"),
    ("a library", sla({"promptTokens": 100_000}), "all prompts and answers together must be at most 10000000 tokens"),
    ("a novel each", sla({"outputTokens": 100_000}), "all prompts and answers together must be at most 10000000 tokens"),
    ("no prompts", sla({"promptTokens": 0}), "should be greater than or equal to 1"),
    ("most may fail", sla(p99="1s", errorRate=0.51), "should be less than or equal to 0.5"),
    ("more than the engine takes", lambda spec: (sla()(spec), put("engine.maxLength", 75)(spec)), "together must be at most engine.maxLength"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), [case[1:] for case in DEPLOYMENTS], ids=[case[0] for case in DEPLOYMENTS])
def test_a_deployment_that_makes_no_sense_is_refused_in_words(kube: Kube, change: Change, words: str) -> None:
    assert words in refused(kube, written(builders.deployment, kube.namespace, change))


TAKEN: list[Change] = [
    lambda _spec: None,
    put("model", {"run": "first"}),
    put("model", {"release": builders.digest("a")}),
    put("model", {"candidate": "small"}),
    put("model.latest", {"selector": {"matchLabels": {"track": "prod", "stagecoach.dev/tier": ""}}}),
    put("gates", [{"name": f"g{n}"} for n in range(4)]),
    put("engine", {"maxLoraRank": 320, "maxConcurrent": 1024, "maxLength": 16, "startDeadline": "60s"}),
    put("engine.resources", {"cpu": "500m", "memory": "512Mi", "gpus": 1, "gpuResource": "amd.com/gpu"}),
    put("replicas", 0),
    put("replicas", 64),
    lambda spec: (put("replicas", 1)(spec), scales(max=4)(spec)),
    scales(min=64, max=64),
    put("api", "OpenAI"),
    limits("1s", "60m", "24h", "1d"),
    limits("86400s", "1440m"),
    put("contract.timeout", "3600s"),
    put("contract.timeout", "1h"),
    put(
        "contract.input", {"schema": {"$defs": {"a": {"maxLength": 9}}, "properties": {"text": {"$ref": "#/$defs/a"}}}}
    ),
    put("contract.output", {"schema": {"type": ["object"], "default": None}}),
    falls_back(static=ANSWER | {"because": "maintenance"}),
    falls_back(static={"text": "😀" * 4096}),
    falls_back(deployment="other"),
    put("access", {"apiKeys": {"name": "support.keys"}}),
    keeps(),
    keeps_for({"name": "support.team"}),
    keeps(rate=0, redact=[{"type": "card"}, {"type": "email"}], keep="365d"),
    put("gateway", {"replicas": 16, "resources": {"cpu": "1", "memory": "1Gi"}}),
    steps(1, 2, 3, 4, 5, 6, 98, 99, minRequests=1_000_000),
    lambda spec: (steps(50)(spec), put("rollout.canary.abortOn", {"errorRate": 0, "minRequests": 1})(spec)),
    lambda spec: (steps(50)(spec), put("rollout.canary.abortOn", {"errorRate": 0.999})(spec)),
    sla(p50="999s", p99="999s", firstToken="1ms", errorRate=0),
    sla({"requestsPerSecond": 0.2, "duration": "10m"}, firstToken="200ms"),
    sla({"requestsPerSecond": 1000, "duration": "50s"}, p50="999999ms", errorRate=0.5),
    lambda spec: (sla()(spec), put("engine.maxLength", 76)(spec)),
    lambda spec: (steps(50, hold="Manual")(spec), put("approvers", [{"user": "qa"}, {"group": "ml leads"}])(spec)),
]


@pytest.mark.parametrize("change", TAKEN)
def test_what_makes_sense_is_taken(kube: Kube, change: Change) -> None:
    spec = take(kube, written(builders.deployment, kube.namespace, change))["spec"]
    assert spec["engine"]["resources"]["memory"] in ("8Gi", "512Mi")
    assert spec["contract"]["timeout"] in ("30s", "1h", "3600s")
    assert "rollout" not in spec or spec["rollout"]["canary"]["abortOn"]["minRequests"] in (1, 20)


def test_the_name_is_that_of_a_service_and_leaves_room_for_those_of_engines(kube: Kube) -> None:
    take(kube, builders.deployment("d" * 50, kube.namespace))
    assert "at most 50 characters" in refused(kube, builders.deployment("d" * 51, kube.namespace))
    assert "metadata.name must begin with a letter" in refused(kube, builders.deployment("1st", kube.namespace))


def test_the_project_cannot_change_and_all_else_may(kube: Kube) -> None:
    kube.create(builders.deployment(namespace=kube.namespace))
    with pytest.raises(KubeError, match="project cannot change, for what is served was admitted in it"):
        kube.patch("ModelDeployment", "answers", {"spec": {"project": "other"}})
    changes = {"model": {"latest": None, "run": "first"}, "gates": [{"name": "better"}], "api": "OpenAI"}
    assert kube.patch("ModelDeployment", "answers", {"spec": changes})["metadata"]["generation"] == 2


def test_kubectl_scale_and_autoscalers_set_the_replicas(kube: Kube) -> None:
    kube.create(builders.deployment(namespace=kube.namespace))
    told = {"replicas": 1, "selector": "stagecoach.dev/engine=answers-e-01234567"}
    kube.patch("ModelDeployment", "answers", {"status": told}, "status")
    scale = kube.request("GET", kube.path("ModelDeployment", "answers", "scale"))
    assert (scale["spec"], scale["status"]) == ({"replicas": 1}, told)
    kube.patch("ModelDeployment", "answers", {"spec": {"replicas": 3}}, "scale")
    assert kube.get("ModelDeployment", "answers")["spec"]["replicas"] == 3
    with pytest.raises(KubeError, match="should be less than or equal to 64"):
        kube.patch("ModelDeployment", "answers", {"spec": {"replicas": 65}}, "scale")


def test_where_pods_follow_what_waits_nobody_else_sets_the_replicas(kube: Kube) -> None:
    kube.create(builders.deployment(namespace=kube.namespace, autoscaling={"max": 4, "waitingRequests": 4}))
    with pytest.raises(KubeError, match="replicas goes without autoscaling"):
        kube.patch("ModelDeployment", "answers", {"spec": {"replicas": 3}}, "scale")
    kube.patch("ModelDeployment", "answers", {"spec": {"autoscaling": None, "replicas": 3}})
    kube.patch("ModelDeployment", "answers", {"spec": {"replicas": 2}}, "scale")
    follow = {"autoscaling": {"max": 4, "waitingRequests": 4}}
    with pytest.raises(KubeError, match="set replicas to 1"):  # what scaled is in the object, whoever leaves it out
        kube.patch("ModelDeployment", "answers", {"spec": follow})
    kube.patch("ModelDeployment", "answers", {"spec": follow | {"replicas": 1}})


def release(letter: str, **changes: Any) -> builders.Object:
    """Return a release as a status names it, with what answers for it."""
    passed = [{"gate": "good", "evaluation": f"good-{letter * 12}", "key": builders.digest(letter)}]
    return {
        "release": builders.digest(letter),
        "short": letter * 12,
        "run": f"run-{letter}",
        "runCreated": builders.CREATED,
        "admitted": f"answers-a-{letter * 8}",
        "engine": "answers-e-01234567",
        "engineImage": builders.ENGINE_IMAGE,
        "loaderImage": builders.EVALUATOR_IMAGE,
        "gates": passed,
        "since": builders.CREATED,
    } | changes


def decided(**changes: Any) -> builders.Object:
    """Return who has decided something, as a status names them."""
    return {"approval": "fine", "uid": "0123", "reviewer": "qa@example.com", "reason": "Incident 4711."} | changes


def revoked(letter: str) -> builders.Object:
    return decided(release=builders.digest(letter), run=f"run-{letter}", at=LATER)


def routes(revision: int, letter: str) -> builders.Object:
    return {
        "revision": revision,
        "digest": builders.digest(letter),
        "since": builders.CREATED,
        "gateways": 1,
        "acknowledged": 0,
    }


class Told:
    """A deployment of which somebody says something, one word after the other."""

    def __init__(self, kube: Kube, **spec: Any) -> None:
        self._kube = kube
        kube.create(builders.deployment(namespace=kube.namespace, **spec))

    def says(self, **status: Any) -> "Told":
        """Write these parts of the status; None removes."""
        self._kube.patch("ModelDeployment", "answers", {"status": status}, "status")
        return self

    def asks(self, **spec: Any) -> "Told":
        """Change the spec, as people may at any time."""
        self._kube.patch("ModelDeployment", "answers", {"spec": spec})
        return self

    def serves(self, letter: str = "a", **changes: Any) -> "Told":
        """Bring a release to where it is served."""
        one = release(letter, **changes)
        return self.says(candidate=one).says(serving=one, candidate=None, routes=routes(1, letter))


def base(letter: str, **changes: Any) -> builders.Object:
    """Return a release that is a base itself."""
    of = {name: value for name, value in release(letter).items() if name not in ("run", "runCreated")}
    return of | {"base": "small"} | changes


WEIGHT = {"step": 0, "weight": 5, "stepSince": builders.CREATED, "weightUntil": LATER}


def test_a_whole_life_is_taken(kube: Kube) -> None:
    told = Told(kube).says(observedGeneration=1, phase="Pending").serves("a")
    # By a canary, in steps, whose weight is renewed.
    told.says(candidate=release("b"))
    told.says(candidate=release("b", **WEIGHT), routes=routes(2, "2"))
    told.says(candidate={"weightUntil": "2026-01-02T03:24:05Z", "requests": 20})
    told.says(candidate={"step": 1, "weight": 50}, routes=routes(3, "3"))
    told.says(serving=release("b", since=LATER), candidate=None, routes=routes(4, "4"))
    # Back: the candidate goes, and what was served has all requests again.
    told.says(candidate=release("c")).says(candidate=release("c", **WEIGHT), routes=routes(5, "5"))
    rejected: builders.Object = {
        "release": builders.digest("c"),
        "run": "run-c",
        "reason": "TooManyErrors",
        "message": "Five of 20.",
    }
    rejected |= {"engine": "answers-e-1", "spec": builders.digest("f"), "at": LATER}
    told.says(candidate=None, rejected=[rejected], routes=routes(6, "4"))
    # A newer one drops one that has requests already.
    told.says(candidate=release("d")).says(candidate=release("d", **WEIGHT))
    gone = dict.fromkeys(WEIGHT)
    told.says(candidate=release("e", **gone), routes=routes(7, "4"))
    # The same release by another engine, while the old one goes; and back to it at once, when another is next.
    told.says(serving=release("e"), candidate=None)
    told.says(candidate=release("e", engine="answers-e-89abcdef", since=LATER))
    retiring = [{"name": "answers-e-01234567", "since": LATER}]
    told.says(serving=release("e", engine="answers-e-89abcdef"), candidate=release("a", engine="answers-e-00000000"))
    told.says(retiring=retiring).says(retiring=[])
    # Somebody revokes it, and something comes that somebody lets in.
    told.says(serving=None, candidate=None, revoked=revoked("e"), routes=routes(8, "0"))
    let_in = release("f", gates=[], override=decided(until=LATER))
    told.says(candidate=let_in).says(serving=let_in, candidate=None, revoked=None)
    # A gateway knows a higher revision.
    told.says(routes=routes(90, "4"))


@pytest.mark.parametrize("scene", sorted(OF_DEPLOYMENTS.keys() - {"InvalidSpec", "StatusUnknown"}))
def test_every_step_of_the_operator_is_taken(kube: Kube, scene: str) -> None:
    """Whatever is refused above: of all that the operator does, nothing is."""
    first, *later = OF_DEPLOYMENTS[scene]().history
    kube.create(builders.deployment(namespace=kube.namespace) | {"spec": first["spec"]})
    before = first
    for version in later:
        for part, subresource in (("spec", ""), ("status", "status")):
            if version.get(part) != before.get(part):
                change: Any = [{"op": "add", "path": f"/{part}", "value": version[part]}]
                path = kube.path("ModelDeployment", "answers", subresource)
                kube.request("PATCH", path, change, "application/json-patch+json")
        before = version


def test_a_base_itself_is_taken_like_a_run_and_nothing_is_both(kube: Kube) -> None:
    """NoUngatedTraffic: whoever writes a status."""
    of_one = "a release is of a run, with runCreated, or a base, without artifact"
    told = Told(kube)
    for odd in (
        base("a", run="first"),
        base("a", run="first", runCreated=builders.CREATED),
        base("a", runCreated=builders.CREATED),
        base("a", artifact=builders.digest("7")),
        {name: value for name, value in base("a").items() if name != "base"},
    ):
        with pytest.raises(KubeError, match=of_one):
            told.says(candidate=odd)
    with pytest.raises(KubeError, match="gates: a release is admitted by verdicts, or by an Override"):
        told.says(candidate=base("a", gates=[]))
    told.says(candidate=base("a"))
    of_a_run: builders.Object = {"base": None, "run": "first", "runCreated": builders.CREATED}
    with pytest.raises(KubeError, match=NOT_A_CANDIDATE):
        told.says(serving=release("a"), candidate=None)
    told.says(serving=base("a"), candidate=None, routes=routes(1, "a"))
    with pytest.raises(KubeError, match=NOT_A_CANDIDATE):
        told.says(serving=of_a_run)
    told.says(candidate=release("b"))
    told.says(candidate=release("b", **WEIGHT), routes=routes(2, "b"))
    nothing = dict.fromkeys(base("a"))
    told.says(serving=nothing | release("b"), candidate=None, routes=routes(3, "b"))
    entries = [release("b"), base("a")]
    history = [{name: each[name] for name in ("release", "run", "base", "since") if name in each} for each in entries]
    told.says(history=history)


UNTESTED = "with spec.sla the first requests come after a load test that has met it"
UNTESTED_AT_ONCE = "with spec.sla nothing is served that no load test has found to meet it"
SLA = {"p99": "1s", "load": LOAD}


def measured(letter: str, *, met: bool = True, **changes: Any) -> builders.Object:
    told = {"release": builders.digest(letter), "run": f"run-{letter}", "engine": "answers-e-01234567", "met": met}
    told |= {"asked": builders.digest("f"), "p50": "1ms", "p99": "2ms", "firstToken": "1ms", "errorRate": 0}
    return told | {"requestsPerSecond": 20, "requests": 1200, "at": LATER} | changes


@pytest.mark.parametrize(
    "known", [[], [measured("a")], [measured("b", met=False)], [measured("b", engine="answers-e-89abcdef")]]
)
def test_with_an_sla_nothing_has_requests_before_its_test(kube: Kube, known: list[builders.Object]) -> None:
    """NoUngatedTraffic: whoever writes a status."""
    told = Told(kube).serves("a").asks(sla=SLA)
    told.says(candidate=release("b"), sla=known, phase="Progressing")
    with pytest.raises(KubeError, match=UNTESTED):
        told.says(candidate=release("b", **WEIGHT))
    with pytest.raises(KubeError, match=UNTESTED_AT_ONCE):
        told.says(serving=release("b"), candidate=None)
    told.says(candidate=release("b", **WEIGHT), sla=[measured("b")])
    told.says(serving=release("b"), candidate=None)


@pytest.mark.parametrize(
    ("history", "comes", "back"),
    [
        ([], {}, False),
        (["b"], {}, False),
        (["b", "a"], {"override": decided(until=LATER)}, False),
        (["b", "a"], {}, True),
    ],
)
def test_with_an_sla_what_was_served_before_comes_back_after_a_revoke(
    kube: Kube, history: list[str], comes: builders.Object, *, back: bool
) -> None:
    entries = [{"release": builders.digest(each), "run": f"run-{each}", "since": LATER} for each in history]
    told = Told(kube).serves("b").says(history=entries).asks(sla=SLA)
    one = release("a", **comes)
    told.says(serving=None, revoked=revoked("b")).says(candidate=one)
    if back:
        told.says(serving=one, candidate=None, revoked=None)
    else:
        with pytest.raises(KubeError, match=UNTESTED_AT_ONCE):
            told.says(serving=one, candidate=None, revoked=None)


@pytest.mark.parametrize(
    ("letter", "status", "reason"),
    [
        ("a", "False", "Starting"),
        ("a", "Unknown", "ScaledToZero"),
        ("a", "False", "ScaledToZero"),  # of a version before
        ("a", "True", "Answers"),
        ("a", None, ""),
        ("b", "False", "Starting"),
    ],
)
def test_with_an_sla_what_is_served_leaves_an_engine_that_does_not_answer(
    kube: Kube, letter: str, status: str | None, reason: str
) -> None:
    loaded = {
        "type": "Loaded",
        "status": status,
        "reason": reason,
        "message": "It starts.",
        "observedGeneration": 2,
        "lastTransitionTime": LATER,
    }
    other = release(letter, engine="answers-e-89abcdef")
    told = Told(kube).serves("a").asks(sla=SLA).says(candidate=other, conditions=[loaded] if status else None)
    if (letter, status, reason) == ("a", "False", "Starting"):
        told.says(serving=other, candidate=None)
    else:
        with pytest.raises(KubeError, match=UNTESTED_AT_ONCE):
            told.says(serving=other, candidate=None)


def test_an_sla_may_come_while_a_candidate_has_requests(kube: Kube) -> None:
    told = Told(kube).serves("a").says(candidate=release("b")).says(candidate=release("b", **WEIGHT))
    told.asks(sla=SLA).says(candidate={"weightUntil": "2026-01-02T03:24:05Z"})
    told.says(candidate=release("b", **dict.fromkeys(WEIGHT)))


def test_what_serves_goes_on_when_gates_are_others(kube: Kube) -> None:
    told = Told(kube).serves().asks(gates=[{"name": "better"}])
    told.says(observedGeneration=2, phase="Degraded")
    told.says(candidate=release("a", engine="answers-e-89abcdef")).says(
        serving=release("a", engine="answers-e-89abcdef")
    )
    better = [{"gate": "better", "evaluation": "better-0", "key": builders.digest("e")}]
    told.says(candidate=release("b", gates=better)).says(serving=release("b", gates=better), candidate=None)


NOT_PASSED = "a release becomes one by an Evaluation that passed of each of spec.gates"
NOT_YET = "requests are given to what was the candidate before, beside what is served, and for a time"
NOT_A_CANDIDATE = "nothing is served that was not the candidate before"
LEAVES = "what is served leaves only when something else takes over"
GOES_BACK = "the revision grows with every change, and never goes back"
OTHER_GATE = [{"gate": "other", "evaluation": "other-0", "key": builders.digest("e")}]
REFUSED: list[tuple[str, builders.Object, str]] = [
    ("served at once", {"serving": release("b")}, NOT_A_CANDIDATE),
    ("served in the place of the candidate", {"serving": release("b"), "candidate": release("b")}, NOT_A_CANDIDATE),
    ("served by another engine", {"serving": {"engine": "answers-e-89abcdef"}}, NOT_A_CANDIDATE),
    ("served by another image", {"serving": {"engineImage": builders.IMAGE}}, NOT_A_CANDIDATE),
    ("served as another document says", {"serving": {"admitted": "answers-a-00000000"}}, NOT_A_CANDIDATE),
    ("no longer served", {"serving": None}, LEAVES),
    ("no longer served, since another was revoked", {"serving": None, "revoked": revoked("b")}, LEAVES),
    ("served by no verdict", {"serving": {"gates": []}}, "status.serving.gates: a release is admitted by verdicts"),
    ("served by what is not said", {"serving": {"gates": None}}, "status.serving.gates: a release is admitted by"),
    ("a candidate by no verdict", {"candidate": release("b", gates=[])}, "status.candidate.gates: a release is admitted"),
    ("a candidate by an Override of nobody", {"candidate": release("b", gates=[], override={"reviewer": "qa"})}, "status.candidate.override.approval: Required value"),
    ("a candidate by another gate", {"candidate": release("b", gates=OTHER_GATE)}, NOT_PASSED),
    ("a candidate with requests", {"candidate": release("b", **WEIGHT)}, NOT_YET),
    ("another in its place with requests", {"candidate": release("d", **WEIGHT)}, NOT_YET),
    ("the candidate by another engine with requests", {"candidate": {"engine": "answers-e-89abcdef"} | WEIGHT}, NOT_YET),
    ("a weight for ever", {"candidate": WEIGHT | {"weightUntil": None}}, NOT_YET),
    ("no weight", {"candidate": WEIGHT | {"weight": 0}}, "should be greater than or equal to 1"),
    ("more than all", {"candidate": WEIGHT | {"weight": 101}}, "should be less than or equal to 100"),
    ("other gates of the candidate", {"candidate": {"gates": OTHER_GATE}}, NOT_PASSED),
    ("its engine goes", {"retiring": [{"name": "answers-e-01234567", "since": LATER}]}, "the engine of what is served does not go"),
    ("an older revision", {"routes": routes(4, "a")}, GOES_BACK),
    ("the same revision of others", {"routes": routes(5, "b")}, GOES_BACK),
    ("no routes", {"routes": None}, GOES_BACK),
]  # fmt: skip
WITH_CANDIDATE = (
    "another in its place",
    "the candidate",
    "a weight",
    "no weight",
    "more than all",
    "other gates of the candidate",
)


@pytest.mark.parametrize(("name", "status", "words"), REFUSED, ids=[case[0] for case in REFUSED])
def test_the_api_server_itself_keeps_what_is_served(kube: Kube, name: str, status: builders.Object, words: str) -> None:
    """NoUngatedTraffic, IncumbentStays: whoever writes a status, a faulty operator as well."""
    told = Told(kube).serves("a").says(routes=routes(5, "a"))
    if name.startswith(WITH_CANDIDATE):
        told.says(candidate=release("c"))
    with pytest.raises(KubeError, match=words) as caught:
        told.says(**status)
    assert caught.value.code == 422


def test_nothing_is_served_before_it_was_a_candidate(kube: Kube) -> None:
    told = Told(kube)
    with pytest.raises(KubeError, match=NOT_A_CANDIDATE):
        told.says(serving=release("a"))
    with pytest.raises(KubeError, match=NOT_YET):
        told.says(candidate=release("a")).says(candidate=WEIGHT)


def test_a_status_as_a_whole_cannot_be_taken_away(kube: Kube) -> None:
    Told(kube).serves("a")
    with pytest.raises(KubeError, match=LEAVES):
        kube.patch("ModelDeployment", "answers", {"status": None}, "status")


def test_the_largest_status_is_taken(kube: Kube) -> None:
    long = "x" * 39
    gates = [{"name": f"g{n}-{'x' * 46}"} for n in range(4)]
    told = Told(kube, gates=gates)
    passed = [{"gate": each["name"], "evaluation": "e" * 253, "key": builders.digest("a")} for each in gates]
    names: builders.Object = {
        "admitted": "a" * 253,
        "engine": "e" * 253,
        "engineImage": "i" * 512,
        "run": "r" * 50,
        "gates": passed,
    }
    who = {"approval": "a" * 63, "uid": "u" * 64, "reviewer": "😀" * 256, "reason": "😀" * 1024}
    by = who | {"until": LATER}
    names |= {"loaderImage": "l" * 512, "artifact": builders.digest("a"), "override": by}
    seen = [
        {"gateway": f"{n:064}", "started": builders.CREATED, "requests": 10**12, "errors": 10**12} for n in range(32)
    ]
    rejected = [
        {"release": builders.digest("a")[:-2] + f"{n:02}", "run": "r" * 50, "reason": "R" * 64, "message": "😀" * 1024}
        | {"engine": "answers-e-1", "spec": builders.digest("f"), "at": LATER}
        for n in range(20)
    ]
    history = [
        {"release": builders.digest("a"), "artifact": builders.digest("a"), "run": f"{long}{n}", "since": LATER}
        | {"override": by}
        for n in range(20)
    ]
    retiring = [{"name": f"answers-e-{n:08}", "since": LATER} for n in range(8)]
    promoted = {"approval": "a" * 63, "reviewer": "😀" * 256, "release": builders.digest("a")}
    promotions = [promoted | {"uid": f"{n:064}", "created": LATER, "at": LATER} for n in range(20)]
    told.says(promotions=promotions, revoked=who | {"release": builders.digest("a"), "run": "r" * 50, "at": LATER})
    told.serves("a", **names).says(candidate=release("b", **names))
    told.says(candidate=release("b", **names, **WEIGHT, seen=seen), rejected=rejected)
    told.says(history=history, retiring=retiring, routes=routes(2, "b"))
    told.says(serving=release("b", **names), candidate=None, routes=routes(3, "c"))
    told.asks(replicas=2)


def test_a_schema_is_kept_as_it_was_written_and_set_as_a_whole(kube: Kube) -> None:
    schema = {"properties": {"text": {"enum": [1, 1.5, None, {"a": []}], "x-kubernetes-y": {}}}, "required": []}
    change = put("contract.input", {"schema": schema})
    made = kube.create(written(builders.deployment, kube.namespace, change))
    assert made["spec"]["contract"]["input"]["schema"] == schema
