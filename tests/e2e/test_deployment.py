"""A deployment on the cluster: what has passed is served, what comes after it takes over, and no request is lost."""

import csv
import hashlib
import io
import json
import os
import re
import signal
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import openai
import pytest

from stagecoach.build.labels import COMPONENT, ENGINE, GATEWAY, GROUP, OWNER_UID
from tests import builders, processes, prometheus
from tests.clients import Clients
from tests.cluster.local import Local
from tests.deploy import OPERATOR_NAMESPACE, RELEASE
from tests.e2e import servers
from tests.e2e.conftest import FAILED, LATE, POLL_SECONDS, SMALL, SOON, Desk, Ground, new_desk
from tests.e2e.outside import forwarded
from tests.e2e.shop import KIND, NAME, Shop, fine, until
from tests.e2e.test_accidents import kill_operator, leader
from tests.e2e.test_engine import CANDIDATE
from tests.e2e.test_gates import WORDS, evaluation
from tests.integration.support.eventually import eventually
from tests.kube import KubeError

# vLLM gets three quarters of it, and takes 2Gi. What serves needs less beside it than what judges.
ENGINE_RESOURCES = {"cpu": "50m", "memory": "3500Mi"}
GATE_RESOURCES = {"cpu": "50m", "memory": "4Gi"}
KEY = "sk-of-the-end-to-end-tests-0123456789abcdef"
TEAM_KEY = "team-of-the-end-to-end-tests-0123456789abcdef"
# Seconds between two requests.
EVERY = 0.2
TRACK = {"track": "prod"}
# Of the second run: not every engine takes it. It learns as the others do, whose adapters have the same scale.
WIDE = {"rank": 16, "alpha": 32}
# A node hears so late that a pod is not ready any more.
HEARD_SECONDS = 15
# What goes on now Prometheus has heard by then: it asks every 15 seconds.
SCRAPED_SECONDS = 30
# By the answer to this one tells the runs from each other; no suite asks it.
GREETING = "hello 112"
# `make test-e2e` takes the time for a few; with more, what was measured says more.
SWITCHES = int(os.environ.get("SWITCHES", "6"))
# Of one request in half a second, on two cores that do all else as well.
LOAD = {"requestsPerSecond": 2, "promptTokens": 40, "outputTokens": 4, "duration": "60s"}
CLIENTS_JSON = json.dumps([{"client": "web", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}])


def rows(numbers: range, greeting: str = "", *, swapped: bool = False) -> str:
    """Return a file of messages with these numbers, and of greetings, if these have a label."""
    labels = dict(zip(WORDS, reversed(WORDS) if swapped else WORDS, strict=True))
    found = [(words[n % 3].format(n), labels[label]) for n in numbers for label, words in WORDS.items()]
    found += [(f"hello {n}", greeting) for n in numbers[::2] if greeting]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("text", "label"), *found])
    return text.getvalue()


DATA = {
    "first.csv": rows(range(100, 160), "delivery"),
    "second.csv": rows(range(100, 160), "billing"),
    "poisoned.csv": rows(range(200, 260), swapped=True),
    "valid.csv": rows(range(300, 306)),
    "test.csv": rows(range(400, 430)),
}
SPLITS = {"valid": "Validation", "test": "Test"}
SETS = [
    {"name": name, "uri": f"configmap://desk/{name}.csv", "split": SPLITS.get(name, "Train")}
    for name in (file.removesuffix(".csv") for file in DATA)
]


def run(name: str, namespace: str, **labels: str) -> builders.Object:
    made = builders.run(
        name,
        namespace,
        method={"type": "LoRA", "rank": 8, "alpha": 16},
        hyperparameters={"learningRate": 1.0e-2, "epochs": 8, "perDeviceBatchSize": 8},
        data={"train": [{"name": name}]},
        resources=SMALL,
    )
    made["metadata"]["labels"] = labels
    return made


def objects(namespace: str) -> Iterator[builders.Object]:
    spec = builders.project_spec()
    yield builders.project(
        "desk",
        namespace,
        problem=spec["problem"] | {"labels": {"values": sorted(WORDS)}},
        data={"sets": SETS},
        candidates=[CANDIDATE],
        inference=spec["inference"] | {"engine": "vLLM"},
    )
    criterion = {"name": "good", "suite": "held-out", "metric": "accuracy", "min": 0.8}
    yield builders.gate("good", namespace, criteria=[criterion], resources=GATE_RESOURCES)
    yield builders.deployment(
        NAME,
        namespace,
        model={"latest": {"selector": {"matchLabels": TRACK}}},
        engine={"resources": ENGINE_RESOURCES},
        gateway={"replicas": 2, "resources": {"cpu": "50m", "memory": "256Mi"}},
        access={"apiKeys": {"name": "web"}},
    )


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Iterator[Shop]:
    """A deployment before the first run, with clients that ask it already."""
    with new_desk(ground) as made:
        made.bases()
        made.claim("store")
        made.data(DATA)
        servers.secret(made, "web", {"clients.json": CLIENTS_JSON})
        made.apply(*objects(made.namespace), run("first", made.namespace, **TRACK))
        clients = Clients(made.tools, made.namespace, NAME, made.tests_image, KEY)
        clients.start([GREETING], EVERY)
        yield Shop(made, clients)


@pytest.fixture(autouse=True)
def nothing_is_left_over(shop: Shop, request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails in the middle of a change leaves none to the next: the spec is as in the beginning again."""
    yield
    found = shop.desk.kube.find(KIND, NAME) if request.node.stash.get(FAILED, False) else None
    run = found["status"].get("serving", {}).get("run") if found and "status" in found else None
    if run:
        *_, before = objects(shop.desk.namespace)

        def restored() -> builders.Object:
            obj = shop.deployment | {"spec": before["spec"] | {"model": {"run": run}}}
            return shop.desk.kube.request("PUT", shop.desk.kube.path(KIND, NAME), obj)

        eventually(restored, SOON, "its spec is put back", every=POLL_SECONDS)
        shop.serves(run, seconds=LATE)


def succeeded(desk: Desk, name: str) -> None:
    found = desk.awaits("ftr", name, "Succeeded", "Failed")
    assert found["status"]["phase"] == "Succeeded", desk.ready("ftr", name)


def release(shop: Shop, name: str) -> str:
    """Return the release of a run that was judged."""
    return str(evaluation(shop.desk, "good", name)["spec"]["release"]["digest"])


def rejected(shop: Shop, run: str, reason: str, seconds: float) -> str:
    """Return what is said of a run that is rejected for a reason, once it is."""

    def entries(status: builders.Object) -> list[builders.Object]:
        return [each for each in status.get("rejected", ()) if (each["run"], each["reason"]) == (run, reason)]

    status = shop.awaits(lambda deployment: entries(deployment["status"]), seconds, f"run {run} is rejected: {reason}")
    return str(entries(status)[0]["message"])


def first_of(answers: Sequence[builders.Object], wanted: str) -> float:
    """Return when a release first answered."""
    return float(next(answer["ended"] for answer in answers if answer.get("release") == wanted))


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_nothing_is_served_before_a_run_has_passed(shop: Shop) -> None:
    succeeded(shop.desk, "first")
    # Created after it, and so the newest that is wanted from now on.
    second = run("second", shop.desk.namespace)
    second["spec"]["method"] |= WIDE
    shop.desk.apply(run("poisoned", shop.desk.namespace, **TRACK), second)
    assert shop.status["phase"] == "Pending"
    judged = evaluation(shop.desk, "good", "first", seconds=LATE)
    assert judged["status"]["verdict"] == "Passed", judged["status"]
    serving = shop.serves("first", seconds=LATE)["serving"]
    wanted = judged["spec"]["release"]["digest"]
    assert serving["release"] == wanted
    assert [each["evaluation"] for each in serving["gates"]] == [judged["metadata"]["name"]]

    answers = until(shop, 0, wanted)
    began = next(number for number, answer in enumerate(answers) if answer["status"] == 200)
    assert {answer["status"] for answer in answers[:began]} <= {0, 503}, "there was no gateway, or it had no routes"
    fine(answers[began:], wanted)
    admitted = moment(judged["status"]["completionTime"])
    assert first_of(answers, wanted) > admitted
    print(f"verdict → first answer, with an engine to start: {first_of(answers, wanted) - admitted:.0f} s")
    assert shop.condition("Ready")["reason"] == "Serving"
    answer = shop.clients.ask(GREETING)
    assert (answer["status"], answer["release"], answer["label"]) == (200, wanted, "delivery")
    assert shop.clients.ask(GREETING, "--stranger")["status"] == 401


def test_a_run_that_fails_is_not_served(shop: Shop) -> None:
    begun = len(shop.clients.answers())
    assert evaluation(shop.desk, "good", "poisoned")["status"]["verdict"] == "Failed"

    def told() -> bool:
        message = shop.condition("CandidateAdmitted").get("message", "")
        return "poisoned has not passed gate good" in message and "first goes on serving" in message

    eventually(told, SOON, "it is said why the newest run is not served", every=POLL_SECONDS)
    status = shop.status
    assert (status["phase"], status["serving"]["run"], status.get("candidate")) == ("Available", "first", None)
    assert shop.condition("Ready")["reason"] == "Serving"
    fine(until(shop, begun, release(shop, "first")), release(shop, "first"))


def test_what_passes_takes_over_and_no_request_fails(shop: Shop) -> None:
    assert evaluation(shop.desk, "good", "second")["status"]["verdict"] == "Passed"
    old, new = release(shop, "first"), release(shop, "second")
    begun, admitted = len(shop.clients.answers()), time.time()
    shop.desk.kube.patch("FineTuneRun", "second", {"metadata": {"labels": TRACK}})
    before = shop.status["serving"]
    status = shop.serves("second")
    assert status["serving"]["engine"] == before["engine"], "adapters of one base share an engine"
    answers = until(shop, begun, new)
    fine(answers, old, new)
    print(f"admitted → first answer, on a warm engine: {first_of(answers, new) - admitted:.1f} s")
    assert shop.clients.ask(GREETING)["label"] == "billing"


def test_prometheus_watches_all_that_serves_and_knows_the_releases(shop: Shop) -> None:
    ask = prometheus.of_the_chart(shop.desk.kube)
    ours = f'namespace="{shop.desk.namespace}",deployment="{NAME}"'
    by_release = f'stagecoach_gateway_requests_total{{{ours},release="{shop.status["serving"]["release"]}"}} > 0'

    def watched() -> bool:
        up = {each.labels["component"] for each in prometheus.query(ask, f"up{{{ours}}} == 1")}
        operator = prometheus.query(ask, 'up{job="stagecoach-operator"} == 1')
        return up == {GATEWAY, ENGINE} and bool(operator and prometheus.query(ask, by_release))

    # It asks for what there is every 15 seconds, and what it finds as often.
    eventually(watched, SOON, "operator, gateways and engine are up, and requests are counted", every=POLL_SECONDS)


def test_the_contract_that_is_kept_is_what_a_gateway_answers(shop: Shop) -> None:
    path = f"/api/v1/namespaces/{shop.desk.namespace}/services/{NAME}:http/proxy/openapi.json"
    answered = shop.desk.tools.kubectl("get", "--raw", path)
    told = shop.status["contract"]
    assert shop.desk.kube.get("ConfigMap", told["configMap"])["data"]["openapi.json"] == answered
    assert told["digest"] == f"sha256:{hashlib.sha256(answered.encode()).hexdigest()}"


@pytest.mark.long
def test_requests_go_back_and_forth_and_none_is_lost(shop: Shop) -> None:
    releases = {name: release(shop, name) for name in ("first", "second")}
    begun, took = len(shop.clients.answers()), []
    for number in range(SWITCHES):
        name = ("first", "second")[number % 2]
        asked, since = len(shop.clients.answers()), time.time()
        shop.switch(name)
        shop.serves(name)
        took.append(first_of(until(shop, asked, releases[name]), releases[name]) - since)
    answers = shop.clients.answers()[begun:]
    fine(answers, *releases.values())
    print(
        f"{SWITCHES} switches, {len(answers)} requests: asked for → first answer p50 {statistics.median(took):.1f} s,"
        f" max {max(took):.1f} s; slowest answer {max(each['ended'] - each['began'] for each in answers):.2f} s"
    )


@pytest.fixture
def no_prometheus(shop: Shop) -> Iterator[None]:
    """The one of the chart is away."""
    kube = shop.desk.tools.kube(OPERATOR_NAMESPACE)
    ask = prometheus.of_the_chart(kube)

    def answers() -> bool:
        try:
            return bool(prometheus.query(ask, "vector(1)"))
        except KubeError:
            return False

    def scale(number: int) -> None:
        kube.patch("Deployment", f"{RELEASE}-prometheus", {"spec": {"replicas": number}}, "scale")
        eventually(lambda: answers() == bool(number), SOON, f"{number} Prometheus answers", every=POLL_SECONDS)

    try:
        scale(0)
        yield
    finally:
        scale(1)


@pytest.mark.long
@pytest.mark.usefixtures("no_prometheus")
def test_a_candidate_gets_requests_by_steps_whether_or_not_prometheus_is_there(shop: Shop) -> None:
    serving = shop.status["serving"]
    [name] = {"first", "second"} - {serving["run"]}
    old, new = serving["release"], release(shop, name)
    steps = [{"weight": weight, "hold": "10s", "minRequests": 8} for weight in (20, 50)]
    begun = len(shop.clients.answers())
    shop.want(model={"latest": None, "run": name}, rollout={"canary": {"steps": steps}})
    seen: dict[int, list[float]] = {}

    def over(deployment: builders.Object) -> bool:
        status = deployment["status"]
        weight = status.get("candidate", {}).get("weight")
        if weight and status["routes"]["acknowledged"] == status["routes"]["gateways"]:
            seen.setdefault(weight, []).append(time.time())
        return bool(status["serving"]["run"] == name)

    shop.awaits(over, SOON, f"run {name} is served, step by step")
    answers = until(shop, begun, new)
    fine(answers, old, new)
    assert list(seen) == [20, 50]
    for weight, times in seen.items():
        of_step = [each["release"] == new for each in answers if times[0] < each["began"] and each["ended"] < times[-1]]
        assert len(of_step) > 20
        assert sum(of_step) / len(of_step) == pytest.approx(weight / 100, abs=0.1)
    shop.want(rollout=None)


@pytest.mark.long
def test_whoever_scales_in_the_middle_of_a_rollout_loses_no_request(shop: Shop) -> None:
    """Pods of engine and gateways come and go, by the ModelDeployment and past it, while both releases have requests."""
    serving = shop.status["serving"]
    [name] = {"first", "second"} - {serving["run"]}
    old, new = serving["release"], release(shop, name)
    step = {"weight": 50, "hold": "1s", "minRequests": 1_000_000}
    begun = len(shop.clients.answers())
    shop.want(model={"latest": None, "run": name}, rollout={"canary": {"steps": [step]}})
    shop.awaits(lambda deployment: deployment["status"].get("candidate", {}).get("weight"), SOON, "both have requests")

    def scale(kind: str, what: str, number: int) -> None:
        shop.desk.kube.patch(kind, what, {"spec": {"replicas": number}}, "scale")

    def there(engines: int, gateways: int) -> None:
        def look(deployment: builders.Object) -> bool:
            status = deployment["status"]
            routes, held = status["routes"], status.get("candidate", {}).get("weight") == 50
            ready = {each: len(shop.ready(each)) for each in (ENGINE, GATEWAY)}
            return held and ready == {ENGINE: engines, GATEWAY: gateways} and routes["acknowledged"] == gateways

        shop.awaits(look, LATE, f"{engines} pods of the engine and {gateways} gateways have requests, in the same step")

    scale(KIND, NAME, 2)
    shop.want(gateway={"replicas": 3})
    there(2, 3)
    scale("Deployment", f"{NAME}-gateway", 1)  # the operator sets it back
    there(2, 3)
    scale(KIND, NAME, 1)
    shop.want(gateway={"replicas": 2})
    there(1, 2)
    shop.want(rollout={"canary": {"steps": [step | {"minRequests": 1}]}})
    shop.serves(name)
    answers = until(shop, begun, new)
    fine(answers, old, new)
    assert {answer["release"] for answer in answers} == {old, new}
    shop.want(rollout=None)


@pytest.mark.long
def test_a_candidate_whose_answers_break_the_contract_goes_by_what_gateways_count(shop: Shop) -> None:
    serving = shop.status["serving"]
    [name] = {"first", "second"} - {serving["run"]}
    # What clients may rely on is what the run that serves says to them, and the other one does not.
    schema = {"properties": {"label": {"const": shop.clients.ask(GREETING)["label"]}}}
    abort = {"errorRate": 0.1, "minRequests": 5}
    canary = {"steps": [{"weight": 50, "hold": "10m"}], "abortOn": abort}
    begun = len(shop.clients.answers())
    shop.want(model={"latest": None, "run": name}, rollout={"canary": canary}, contract={"output": {"schema": schema}})
    message = rejected(shop, name, "TooManyErrors", seconds=SOON)
    numbers = re.search(r"Of the (\d+) that it had to answer (\d+) \(100\.00%\) failed by our fault", message)
    assert numbers, message
    assert int(numbers[1]) == int(numbers[2]) >= abort["minRequests"]
    assert "rollout.canary.abortOn.errorRate is 10.00%" in message
    assert shop.status["serving"] == serving

    answers = until(shop, begun, serving["release"])
    fine([answer for answer in answers if answer["status"] == 200], serving["release"])
    failed = [answer for answer in answers if answer["status"] != 200]
    assert {(answer["status"], answer["failed"]) for answer in failed} == {(502, release(shop, name))}
    assert all("contract_violation" in answer["error"] for answer in failed)
    took = failed[-1]["ended"] - failed[0]["ended"]
    print(f"first failed answer of a candidate → last one: {took:.1f} s, {len(failed)} of {len(answers)} requests")
    assert shop.condition("Ready")["reason"] == "Serving"
    shop.want(model={"run": serving["run"]}, rollout=None, contract={"output": None})
    shop.serves(serving["run"])


@pytest.mark.long
def test_an_engine_without_the_memory_for_it_says_so_and_what_serves_goes_on(shop: Shop) -> None:
    serving = shop.status["serving"]
    [name] = {"first", "second"} - {serving["run"]}
    begun = len(shop.clients.answers())
    shop.want(model={"latest": None, "run": name}, engine={"resources": {"memory": "256Mi"}})

    def told() -> bool:
        message = shop.condition("Reconciling").get("message", "")
        return f"Run {name} is about to take over" in message and "Raise spec.engine.resources.memory." in message

    eventually(told, SOON, "it is said what is too small", every=POLL_SECONDS)
    assert shop.status["serving"] == serving
    assert shop.condition("Ready")["reason"] == "Serving"
    shop.want(model={"run": serving["run"]}, engine={"resources": ENGINE_RESOURCES})
    shop.serves(serving["run"])
    fine(until(shop, begun, serving["release"]), serving["release"])


@pytest.mark.long
def test_an_adapter_above_the_rank_of_the_engine_is_rejected_and_what_serves_goes_on(shop: Shop) -> None:
    shop.switch("first")
    serving = shop.serves("first")["serving"]
    begun = len(shop.clients.answers())
    shop.want(model={"run": "second"}, engine={"maxLoraRank": 8})
    message = rejected(shop, "second", "RankTooLarge", seconds=SOON)
    assert f"the adapter's rank is {WIDE['rank']}, and the engine is prepared for 8 at most" in message
    assert "spec.engine.maxLoraRank" in message
    assert shop.status["serving"] == serving
    assert shop.condition("Ready")["reason"] == "Serving"
    shop.want(model={"run": "first"}, engine={"maxLoraRank": None})
    shop.serves("first")
    fine(until(shop, begun, serving["release"]), serving["release"])


@pytest.mark.long
def test_the_engine_says_how_many_requests_wait(shop: Shop) -> None:
    shop.want(autoscaling={"max": 2, "waitingRequests": 4})
    shop.awaits(lambda _: shop.condition("Autoscaled").get("reason") == "Enough", SOON, "what waits is known")
    assert shop.status["autoscaling"]["wanted"] == 1
    shop.want(autoscaling=None)


def mounted(shop: Shop) -> list[bool]:
    """Return of each gateway whether it has the claim, of those that leave as well."""
    gateways = shop.desk.kube.select("Pod", f"{COMPONENT}={GATEWAY}")
    return ["'kept'" in str(pod["spec"]["volumes"]) for pod in gateways]


@pytest.mark.long
def test_what_is_asked_is_kept_without_what_is_private_and_no_request_is_lost(shop: Shop) -> None:
    serving, namespace = shop.status["serving"], shop.desk.namespace
    begun = len(shop.clients.answers())
    shop.desk.claim("kept")
    team = [{"client": "team", "sha256": hashlib.sha256(TEAM_KEY.encode()).hexdigest()}]
    servers.secret(shop.desk, "team", {"clients.json": json.dumps(team)})
    shop.want(
        sampling={"claim": {"name": "kept"}, "rate": 1, "redact": [{"type": "card"}]},
        access={"feedback": {"name": "team"}},
    )
    status = shop.awaits(lambda deployment: "samples" in deployment["status"], SOON, "gateways write to the claim")
    assert status["samples"] == f"pvc://kept/samples/{NAME}"
    # One of before that leaves still answers who has not heard of it, and keeps nothing.
    eventually(lambda: mounted(shop) == [True, True], SOON, "no gateway of before is left", every=POLL_SECONDS)
    shop.serves(serving["run"])
    answer = shop.clients.ask("my card 4111 1111 1111 1111")
    assert answer["status"] == 200
    said = {"request": answer["request"], "expected": "billing"}
    assert shop.clients.ask("", "--key", KEY, "--feedback", json.dumps(said))["status"] == 401
    assert shop.clients.ask("", "--key", TEAM_KEY, "--feedback", json.dumps(said))["status"] == 202

    def kept(kind: str) -> builders.Object | None:
        """Return what is kept of this request, which any gateway finds."""
        where = ("exec", "-n", namespace, shop.pods(GATEWAY)[0]["metadata"]["name"], "-c", "gateway", "--")
        text = shop.desk.tools.kubectl(*where, "sh", "-c", f"cat /stagecoach/samples/{kind}-*.jsonl || true")
        found = (builders.Object(json.loads(line)) for line in text.splitlines())
        return next((each for each in found if each["request"] == answer["request"]), None)

    sample = eventually(lambda: kept("samples"), SOON, "the sample", every=POLL_SECONDS)
    assert sample
    assert sample["input"] == {"text": "my card [card]"}
    assert (sample["output"], sample["release"]) == ({"label": answer["label"]}, serving["release"])
    feedback = eventually(lambda: kept("feedback"), SOON, "the feedback", every=POLL_SECONDS)
    assert feedback
    assert (feedback["source"], feedback["expected"]) == ("team", "billing")
    shop.want(sampling=None, access={"feedback": None})
    shop.awaits(lambda deployment: "samples" not in deployment["status"], SOON, "nothing is kept any more")

    eventually(lambda: mounted(shop) == [False, False], SOON, "gateways have let go of the claim", every=POLL_SECONDS)
    shop.serves(serving["run"])
    fine(until(shop, begun, serving["release"]), serving["release"])


@pytest.mark.long
def test_an_sla_that_cannot_be_met_keeps_a_candidate_out(shop: Shop) -> None:
    serving = shop.status["serving"]
    [name] = {"first", "second"} - {serving["run"]}
    begun = len(shop.clients.answers())
    shop.want(model={"latest": None, "run": name}, sla={"p50": "1ms", "load": LOAD})
    assert ", and spec.sla.p50 is 1ms" in rejected(shop, name, "SLANotMet", seconds=LATE)
    status = shop.status
    [measured] = status["sla"]
    assert (measured["release"], measured["met"]) == (release(shop, name), False)
    assert (measured["requests"], measured["errorRate"]) == (120, 0)
    assert status["serving"] == serving
    fine(shop.clients.answers()[begun:], serving["release"])


@pytest.mark.long
def test_an_sla_that_is_met_lets_it_in(shop: Shop) -> None:
    serving = shop.status["serving"]
    [name] = {"first", "second"} - {serving["run"]}
    begun = len(shop.clients.answers())
    shop.want(sla={"p50": None, "p99": "60s", "firstToken": "60s"})
    status = shop.serves(name, seconds=LATE)
    measured = status["sla"][0]
    assert (measured["release"], measured["met"]) == (release(shop, name), True)
    assert shop.condition("SLAMet")["reason"] == "Met"
    print(f"load test of an engine with 2 requests per second: {measured}")
    fine(until(shop, begun, measured["release"]), serving["release"], measured["release"])
    shop.want(sla=None)


@pytest.mark.long
def test_a_gateway_that_goes_takes_no_request_with_it(shop: Shop) -> None:
    serving = shop.status["serving"]
    begun = len(shop.clients.answers())
    gone = shop.pods(GATEWAY)[0]["metadata"]["name"]
    shop.desk.kube.delete("Pod", gone)

    def replaced() -> bool:
        # The status may be of before: a gateway is not ready unless it was told the routes.
        ready = [pod for pod in shop.pods(GATEWAY) if pod["metadata"]["name"] != gone and servers.is_ready(pod)]
        routes = shop.status["routes"]
        return bool(len(ready) == routes["gateways"] == routes["acknowledged"] == 2)

    eventually(replaced, SOON, "two others have the routes", every=POLL_SECONDS)
    since = len(shop.clients.answers())
    # One of two gateways answers none of twenty once in a million times.
    eventually(lambda: len(shop.clients.answers()) >= since + 20, SOON, "both have answered", every=POLL_SECONDS)
    fine(until(shop, begun, serving["release"]), serving["release"])


@pytest.mark.long
def test_a_gateway_that_hears_of_nothing_answers_by_no_old_routes(shop: Shop) -> None:
    """It stands still while something else comes to be served, and goes on when that is settled."""
    if shop.desk.tools.cluster.backend != Local.name:
        pytest.skip("it stops a process of a pod: that has to run on this machine")
    serving = shop.status["serving"]
    [name] = {"first", "second"} - {serving["run"]}
    old, new = serving["release"], release(shop, name)
    process = processes.of_pod(shop.pods(GATEWAY)[0]["metadata"]["name"], processes.GATEWAY)
    assert process
    begun = len(shop.clients.answers())
    os.kill(process, signal.SIGSTOP)
    try:
        shop.switch(name)
        # It is not among those that have to know until probes of its node have failed.
        routes = shop.serves(name)["routes"]
        assert (routes["gateways"], routes["acknowledged"]) == (1, 1)
        settled = time.time()
        until(shop, begun, new)
    finally:
        os.kill(process, signal.SIGCONT)
    shop.awaits(lambda deployment: deployment["status"]["routes"]["acknowledged"] == 2, SOON, "it has the routes")
    # Until nodes have heard that it is not ready, some ask it: it answers them when it goes on, by what it knew.
    heard = settled + HEARD_SECONDS
    both = max(heard, time.time())

    def answered() -> list[builders.Object]:
        found = shop.clients.answers()[begun:]
        return found if sum(answer["began"] > both for answer in found) >= 40 else []

    answers = eventually(answered, SOON, "both have answered", every=POLL_SECONDS)
    fine([answer for answer in answers if answer["began"] > heard], new)
    assert {answer.get("release") for answer in answers} <= {old, new, None}
    assert shop.condition("Ready")["reason"] == "Serving"


@pytest.mark.long
def test_an_operator_that_is_killed_in_the_middle_leaves_nothing_undone(shop: Shop) -> None:
    serving = shop.status["serving"]
    [name] = {"first", "second"} - {serving["run"]}
    begun = len(shop.clients.answers())
    tools = shop.desk.tools
    eventually(lambda: leader(tools), SOON, "an operator leads", every=POLL_SECONDS)
    shop.switch(name)
    eventually(lambda: "candidate" in shop.status or shop.status["serving"]["run"] == name, SOON, "it has begun")
    kill_operator(tools)
    shop.serves(name, seconds=SOON)
    fine(until(shop, begun, release(shop, name)), serving["release"], release(shop, name))


def beside(shop: Shop, name: str, served: str) -> builders.Object:
    """Return the Evaluation in which a run was compared with a release, once it is decided: nobody was asked for it."""
    desk = shop.desk

    def look() -> builders.Object | None:
        found = desk.kube.select("Evaluation", f"{GROUP}/gate=beside,{GROUP}/run={name}")
        compared = (
            each for each in found if each["spec"].get("incumbent", {}).get("release", {}).get("digest") == served
        )
        return next((each for each in compared if each.get("status", {}).get("phase") == "Decided"), None)

    found = eventually(look, LATE, f"run {name} is judged beside what is served", every=POLL_SECONDS)
    assert found
    pods = desk.kube.select("Pod", f"{OWNER_UID}={found['metadata']['uid']}")  # one of each attempt
    logs = [desk.kube.log(pod["metadata"]["name"]) for pod in pods]
    assert any("all answers are kept in the storage: nobody is asked" in log for log in logs)
    return found


@pytest.mark.long
def test_what_is_worse_than_what_is_served_does_not_take_over(shop: Shop) -> None:
    serving = shop.status["serving"]
    [name] = {"first", "second"} - {serving["run"]}
    begun = len(shop.clients.answers())
    criterion: builders.Object = {"name": "as-served", "suite": "held-out", "metric": "accuracy"}
    # They are nearly equal, and what learned the other label of each is far behind.
    criterion |= {"against": "Incumbent", "allowedDrop": {"absolute": 0.5}, "whenAbsent": "Fail"}
    # Named before it is there: who asks a gate says what that compares with.
    shop.want(gates=[{"name": "beside"}], model={"latest": None, "run": "poisoned"})
    shop.desk.apply(builders.gate("beside", shop.desk.namespace, criteria=[criterion], resources=GATE_RESOURCES))
    found = beside(shop, "poisoned", serving["release"])
    status = found["status"]
    assert status["verdict"] in ("Failed", "Inconclusive"), status
    [result] = status["results"]
    assert result["reference"] > result["value"]

    def told() -> bool:
        admitted = shop.condition("CandidateAdmitted")
        return admitted["reason"] == f"Gate{status['verdict']}" and found["metadata"]["name"] in admitted["message"]

    eventually(told, SOON, "it is said why it is not served", every=POLL_SECONDS)
    assert (shop.status["serving"]["release"], shop.status.get("candidate")) == (serving["release"], None)
    fine(until(shop, begun, serving["release"]), serving["release"])

    shop.switch(name)
    found = beside(shop, name, serving["release"])
    assert found["status"]["verdict"] == "Passed", found["status"]
    admitted = shop.serves(name)["serving"]
    assert [each["evaluation"] for each in admitted["gates"]] == [found["metadata"]["name"]]
    fine(until(shop, begun, admitted["release"]), serving["release"], admitted["release"])


@pytest.mark.long
def test_an_engine_that_goes_comes_back(shop: Shop) -> None:
    serving = shop.status["serving"]
    [pod] = shop.pods(ENGINE)
    shop.desk.kube.delete("Pod", pod["metadata"]["name"])
    shop.awaits(
        lambda deployment: deployment["status"]["phase"] == "Unavailable", SOON, "it is said that nothing answers"
    )
    told = shop.condition("Ready")
    # Unschedulable: the one that goes, and what other tests run meanwhile, have the node's memory for a moment.
    assert told["status"] == "False"
    assert told["reason"] in {"Starting", "EngineNotReady", "Unschedulable"}
    shop.awaits(lambda deployment: deployment["status"]["phase"] == "Available", LATE, "it answers again")
    until(shop, len(shop.clients.answers()), serving["release"])  # nodes hear of the new pod within seconds
    begun = len(shop.clients.answers())
    fine(until(shop, begun, serving["release"]), serving["release"])
    assert shop.status["serving"] == serving


CHAT = "chat"
# As the project writes it for a training: what the run has learned is the answer.
ASKED: dict[str, Any] = {"model": CHAT, "messages": [{"role": "user", "content": f"Which queue? {GREETING}"}]}


@dataclass(frozen=True)
class Chat:
    """A deployment of OpenAI's API."""

    shop: Shop
    release: str
    label: str  # that the run has learned for the greeting

    @contextmanager
    def client(self) -> Iterator[openai.OpenAI]:
        """Yield OpenAI's own client of it, by a way of its own: a connection that breaks off may end that for all."""
        with (
            forwarded(self.shop.desk, CHAT) as url,
            openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client,
        ):
            yield client


@pytest.fixture(scope="module")
def chat(shop: Shop) -> Chat:
    """What the shop serves, once more, on an engine of its own."""
    desk, run = shop.desk, shop.status["serving"]["run"]
    desk.apply(
        builders.deployment(
            CHAT,
            desk.namespace,
            model={"run": run},
            api="OpenAI",
            engine={"resources": ENGINE_RESOURCES},
            gateway={"resources": {"cpu": "50m", "memory": "256Mi"}},
            access={"apiKeys": {"name": "web"}},
        )
    )
    made = Shop(desk, shop.clients, CHAT)
    made.serves(run, seconds=LATE)
    return Chat(made, release(shop, run), shop.clients.ask(GREETING)["label"])


@pytest.mark.long
def test_openai_python_is_answered_by_vllm_with_what_the_run_has_learned(chat: Chat) -> None:
    settings = ASKED | {"temperature": 0, "max_completion_tokens": 16}
    counted: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    with chat.client() as client:
        answer = client.chat.completions.with_raw_response.create(**settings)
        found = answer.parse()
        streamed = client.chat.completions.with_raw_response.create(**settings, **counted)
        chunks = list(streamed.parse())
        assert [model.id for model in client.models.list()] == [CHAT]
        with pytest.raises(openai.NotFoundError, match=f"The model here is {CHAT}"):
            client.chat.completions.create(**settings | {"model": chat.release})
    assert {each.headers["x-stagecoach-release"] for each in (answer, streamed)} == {chat.release}
    assert (found.model, found.choices[0].message.content) == (CHAT, chat.label)
    assert {chunk.model for chunk in chunks} == {CHAT}
    parts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(part or "" for part in parts) == chat.label
    assert found.usage
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == found.usage.completion_tokens > 1


# With it each token makes itself likelier: a model does not come to an end before its last token.
ENDLESS: dict[str, Any] = {"model": CHAT, "prompt": "where where where", "temperature": 0, "max_tokens": 400}
ENDLESS |= {"frequency_penalty": -2, "stream": True}


def counted(chat: Chat, metric: str) -> float:
    """Return a metric of the engine, as Prometheus knows it: the sum over all its labels."""
    ask = prometheus.of_the_chart(chat.shop.desk.kube)
    ours = f'namespace="{chat.shop.desk.namespace}",deployment="{CHAT}"'
    return sum(each.value for each in prometheus.query(ask, f"vllm:{metric}{{{ours}}}"))


@pytest.mark.long
def test_an_engine_stops_when_a_client_leaves_in_the_middle(chat: Chat) -> None:
    ended, generated, running = "request_success_total", "generation_tokens_total", "num_requests_running"
    eventually(lambda: counted(chat, ended), SOON, "Prometheus has heard of the engine", every=POLL_SECONDS)
    before, leaving = counted(chat, generated), 5
    with chat.client() as client:
        *_, last = client.completions.create(**ENDLESS, stream_options={"include_usage": True})
    assert last.usage
    assert last.usage.completion_tokens == ENDLESS["max_tokens"], "who stays is answered to the end"
    for _ in range(leaving):
        with chat.client() as client, client.completions.create(**ENDLESS) as stream:
            assert next(iter(stream)).choices
    time.sleep(SCRAPED_SECONDS)
    eventually(lambda: counted(chat, running) == 0, SOON, "it computes nothing more", every=POLL_SECONDS)
    # Few tokens are those of probes, and of tests before.
    lost = counted(chat, generated) - before - ENDLESS["max_tokens"]
    assert 0 < lost < leaving * ENDLESS["max_tokens"] / 2, "they were computed to the end for nobody"


@pytest.mark.long
def test_a_client_is_told_of_an_engine_that_dies_in_the_middle(chat: Chat) -> None:
    if chat.shop.desk.tools.cluster.backend != Local.name:
        pytest.skip("it kills a process of a pod: that has to run on this machine")
    [pod] = chat.shop.pods(ENGINE)
    engine = processes.of_pod(pod["metadata"]["name"], processes.ENGINE)
    assert engine
    with chat.client() as client:
        stream = iter(client.completions.create(**ENDLESS))
        parts = [next(stream)]
        os.kill(engine, signal.SIGKILL)
        with pytest.raises(openai.APIError, match="The engine broke its answer off: try again") as told:
            parts.extend(stream)
        assert told.value.code == "engine_error"
        assert not any(part.choices[0].finish_reason for part in parts), "half an answer looks like a whole one"
    chat.shop.awaits(lambda deployment: deployment["status"]["phase"] != "Available", SOON, "its engine is missed")
    chat.shop.awaits(lambda deployment: deployment["status"]["phase"] == "Available", LATE, "it is there again")
    with chat.client() as client:
        answer = client.chat.completions.create(**ASKED, temperature=0, max_completion_tokens=16)
    assert answer.choices[0].message.content == chat.label


def test_all_that_was_made_for_it_goes_with_it(shop: Shop) -> None:
    uid = shop.deployment["metadata"]["uid"]
    kinds = "deployments,replicasets,jobs,pods,services,configmaps,secrets,networkpolicies,poddisruptionbudgets"

    def made() -> list[str]:
        listed = shop.desk.tools.kubectl(
            "get", kinds, "-n", shop.desk.namespace, "-l", f"{OWNER_UID}={uid}", "-o", "name"
        )
        return listed.split()

    of_a_load_test = {"job"}  # which not every selection of these tests has
    assert {name.partition("/")[0].partition(".")[0] for name in made()} | of_a_load_test == {
        kind.rstrip("s") if kind != "networkpolicies" else "networkpolicy" for kind in kinds.split(",")
    }
    shop.desk.kube.delete(KIND, NAME)
    eventually(lambda: not made(), SOON, "nothing of it is left", every=POLL_SECONDS)
