"""The operator's promises about what is served, on a real API server: the tests play the kubelet, loaders and gateways."""

import pytest

from stagecoach.contract.loading import Serve, State
from stagecoach.contract.reports import Outcome, Report
from tests import builders
from tests.integration.conftest import StartOperator
from tests.integration.support import quota
from tests.integration.support.eventually import eventually, stays
from tests.integration.support.house import INSTALLED, House
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.operator import EVALUATOR_IMAGE, OperatorProcess
from tests.integration.support.players import Players
from tests.kube import Kube
from tests.unit.kinds import spares
from tests.unit.kinds.spares import NUMBERS, SLOW, Numbers

CANARY = {"canary": {"steps": [{"weight": 10, "hold": "3s", "minRequests": 5}]}}


def test_without_a_verdict_nothing_is_made_and_with_one_everything_is(house: House) -> None:
    """NoUngatedTraffic: and nobody answers yet, so that nothing is served."""
    kube = house.kube
    house.deploy()
    eventually(lambda: house.ready()[0] == "NoCandidates", 60, "there is nothing to serve")
    house.make_candidate()
    eventually(lambda: house.ready()[0] == "Judging", 60, "its gate has not decided")
    stays(lambda: not kube.select("Deployment") and "candidate" not in house.status, 1.0)
    house.judge("first")
    eventually(lambda: house.status.get("candidate", {}).get("run") == "first", 60, "it is admitted")
    candidate = house.status["candidate"]
    engine = eventually(lambda: kube.find("Deployment", candidate["engine"]), 60, "its engine")
    assert engine
    pod = engine["spec"]["template"]["spec"]
    [loader], [server] = pod["initContainers"], pod["containers"]
    assert (loader["image"], server["image"]) == (EVALUATOR_IMAGE, builders.ENGINE_IMAGE)
    serve = Serve.model_validate_json(
        next(each["value"] for each in loader["env"] if each["name"] == "STAGECOACH_SERVE")
    )
    assert (serve.model, serve.base.model) == (None, builders.digest("5"))
    gateway = eventually(lambda: kube.find("Deployment", "answers-gateway"), 60, "the gateways")
    assert gateway
    assert gateway["spec"]["template"]["spec"]["containers"][0]["image"] == builders.GATEWAY_IMAGE
    for kind, name in (
        ("Service", "answers"),
        ("Service", candidate["engine"]),
        ("NetworkPolicy", "answers-engines"),
        ("ConfigMap", candidate["admitted"]),
    ):
        found = kube.get(kind, name)
        assert (
            found["metadata"]["labels"]["stagecoach.dev/uid"]
            == kube.get("ModelDeployment", "answers")["metadata"]["uid"]
        )
        assert found["metadata"]["ownerReferences"][0]["kind"] == "ModelDeployment"
    assert (house.routes().revision, house.routes().stable) == (1, None)
    assert set(kube.get("ConfigMap", candidate["admitted"])["data"]) == {"admitted.json"}
    assert house.ready()[0] == "Starting"
    stays(lambda: house.status["phase"] == "Pending" and "serving" not in house.status, 3.0)
    pods = eventually(lambda: kube.select("Pod", f"stagecoach.dev/engine={candidate['engine']}"), 60, "a pod")
    house.kubelet.waiting(pods[0]["metadata"]["name"], "ErrImagePull", "no such image")
    eventually(lambda: house.ready()[0] == "ImagePullFailed", 60, "its pod complains")
    kube.delete("ModelDeployment", "answers")
    gone = ("Deployment", "Service", "NetworkPolicy", "Pod")
    eventually(
        lambda: not any(kube.select(kind, "stagecoach.dev/kind=ModelDeployment") for kind in gone),
        60,
        "all goes with it",
    )


def test_from_a_verdict_to_requests_and_on_to_the_next_release(house: House, players: Players) -> None:
    """IncumbentStays: until the next release is in."""
    house.admit()
    house.deploy(rollout=CANARY)
    house.serves("first")
    first = house.status["serving"]
    assert house.ready()[0] == "Serving"
    [door] = players.doors.values()
    assert door.routes is not None
    assert door.routes.stable is not None
    assert door.routes.stable.release == first["release"] == house.status["history"][0]["release"]
    [target] = door.routes.stable.engines
    assert target == f"http://{first['engine']}.{house.kube.namespace}.svc:8000"
    house.admit("second", "8")
    eventually(lambda: house.status.get("candidate", {}).get("weight") == 10, 60, "it has some requests")
    eventually(lambda: door.routes and door.routes.candidate, 60, "the gateway knows")
    assert door.routes.stable.release == first["release"]
    door.ask(1000, door.started, failing=False)
    house.serves("second")
    assert house.status["serving"]["engine"] == first["engine"], "adapters of one base share an engine"
    assert [each["run"] for each in house.status["history"]] == ["second", "first"]
    assert (house.routes().revision, door.routes.stable.release) == (
        house.status["routes"]["revision"],
        house.status["serving"]["release"],
    )
    told = {each["reason"] for each in house.kube.select("Event") if each["involvedObject"]["name"] == "answers"}
    assert {"Admitted", "StepTaken", "Serving"} <= told


def test_a_base_itself_is_judged_and_served_and_a_run_takes_over_from_it(house: House, players: Players) -> None:
    """NoUngatedTraffic, IncumbentStays."""
    kube = house.kube
    house.deploy(model={"candidate": "small"})
    eventually(lambda: house.ready()[0] == "Judging", 60, "its gate has not decided")
    name = house.evaluation_of_base("small")
    stays(lambda: not kube.select("Deployment") and "candidate" not in house.status, 1.0)
    house.judge_base()
    spec = kube.get("Evaluation", name)["spec"]
    eventually(lambda: house.status.get("phase") == "Available", 60, "it is served")
    serving = house.status["serving"]
    assert (serving["base"], serving["release"], "run" in serving) == ("small", spec["release"]["digest"], False)
    [loader] = kube.get("Deployment", serving["engine"])["spec"]["template"]["spec"]["initContainers"]
    serve = Serve.model_validate_json(
        next(each["value"] for each in loader["env"] if each["name"] == "STAGECOACH_SERVE")
    )
    assert (serve.model, serve.max_adapters, serve.base.model) == (None, 0, builders.digest("5"))
    [door] = players.doors.values()
    assert door.routes is not None
    assert door.routes.stable is not None
    assert (door.routes.stable.release, door.routes.stable.model) == (serving["release"], "5" * 64)
    house.make_candidate()
    kube.patch("ModelDeployment", "answers", {"spec": {"model": {"candidate": None, "latest": {}}}})
    house.judge("first")
    house.serves("first")
    assert house.status["serving"]["engine"] != serving["engine"]
    kube.patch("ModelDeployment", "answers", {"spec": {"model": {"latest": None, "candidate": "nobody"}}})
    eventually(lambda: house.condition("CandidateAdmitted") == ("False", "CandidateUnknown"), 60, "it is told")
    stays(lambda: house.status["serving"]["run"] == "first" and "candidate" not in house.status, 1.0)
    kube.patch("ModelDeployment", "answers", {"spec": {"model": {"candidate": "small"}}})
    eventually(lambda: house.status["serving"].get("base") == "small", 60, "it comes back, for it has passed")
    assert [each.get("run") or each["base"] for each in house.status["history"]] == ["small", "first", "small"]


@pytest.mark.long
def test_a_candidate_that_fails_goes_and_the_incumbent_stays(house: House, players: Players) -> None:
    """IncumbentStays: an abort returns to it."""
    house.admit()
    house.deploy(rollout=CANARY)
    house.serves("first")
    release = house.status["serving"]["release"]
    [door] = players.doors.values()
    house.admit("second", "8")
    eventually(lambda: door.routes and door.routes.candidate, 60, "it has some requests")
    door.ask(1000, door.started, failing=True)
    eventually(lambda: house.status.get("rejected"), 60, "it is rejected")
    assert house.status["rejected"][0]["reason"] == "TooManyErrors"
    eventually(lambda: door.routes and door.routes.candidate is None, 60, "it has no requests any more")
    assert door.routes is not None
    assert door.routes.stable is not None
    assert door.routes.stable.release == house.status["serving"]["release"] == release
    players.outcome = State.FAILED
    house.admit("third", "9")
    eventually(lambda: len(house.status.get("rejected", ())) == 2, 60, "nor is what cannot be loaded")
    assert house.status["rejected"][0]["reason"] == "WrongDigest"
    eventually(lambda: house.status["phase"] == "Degraded", 60)
    assert house.ready()[0] == "Serving"


LOAD = {"requestsPerSecond": 20, "promptTokens": 60, "outputTokens": 8, "duration": "10s"}
SLA = {"p99": "1500ms", "load": LOAD}


def end_test(house: House, number: int, reach: Numbers) -> None:
    """Let the load test of this number measure this."""
    suffix = f"-s{number}"
    jobs = eventually(
        lambda: [each for each in house.kube.select("Job") if each["metadata"]["name"].endswith(suffix)], 60, suffix
    )
    report = Report(outcome=Outcome.DONE, load_test=reach.report(spares.told(jobs[0])))
    house.kubelet.succeeded(house.kubelet.pod_of(jobs[0]["metadata"]["name"]), report.line())


def test_with_an_sla_nothing_has_requests_before_a_load_test_has_met_it(house: House, players: Players) -> None:
    """NoUngatedTraffic, IncumbentStays."""
    kube = house.kube
    house.admit()
    house.deploy(rollout=CANARY, sla=SLA)
    job = eventually(lambda: house.status.get("candidate", {}).get("loadTest", {}).get("job"), 60, "its test")
    pod = kube.get("Pod", house.kubelet.pod_of(job))
    assert [each["name"] for each in pod["spec"]["initContainers"]] == ["loader", "engine"]
    house.kubelet.running(pod["metadata"]["name"])
    stays(lambda: "serving" not in house.status and not kube.find("Deployment", house.status["candidate"]["engine"]), 2)
    end_test(house, 1, NUMBERS)
    house.serves("first")
    assert house.condition("SLAMet") == ("True", "Met")
    [door] = players.doors.values()
    house.admit("second", "8")
    eventually(lambda: house.status.get("candidate", {}).get("loadTest"), 60, "so is what comes after it")
    stays(lambda: "weight" not in house.status["candidate"] and door.routes and door.routes.candidate is None, 2)
    end_test(house, 2, SLOW)
    eventually(lambda: house.status.get("rejected"), 60, "it does not meet it")
    [entry] = house.status["rejected"]
    assert (entry["reason"], "p99 was 2400ms" in entry["message"]) == ("SLANotMet", True)
    assert house.status["serving"]["run"] == "first"
    kube.patch("ModelDeployment", "answers", {"spec": {"sla": {"p99": "3s"}}})
    end_test(house, 3, SLOW)
    eventually(lambda: house.status.get("candidate", {}).get("weight") == 10, 60, "what is asked now, it meets")
    assert {each["run"]: each["met"] for each in house.status["sla"]} == {"first": True, "second": True}


@pytest.mark.long
@pytest.mark.usefixtures("players")
def test_what_another_deployment_has_served_for_long_enough_is_followed(house: House) -> None:
    """IncumbentStays."""
    kube = house.kube
    house.deploy(model={"follow": {"deployment": "staging", "soak": "8s"}})
    eventually(lambda: house.ready()[0] == "FollowedMissing", 60, "there is nobody to follow")
    kube.create(builders.deployment("staging", kube.namespace))
    eventually(lambda: house.ready()[0] == "FollowedServesNothing", 60, "it is there")

    def staging() -> str:
        return str(kube.get("ModelDeployment", "staging")["status"].get("serving", {}).get("run"))

    house.admit()
    eventually(lambda: staging() == "first", 60, "it serves")
    eventually(lambda: house.ready()[0] == "Soaking", 60, "it is known at once")
    stays(lambda: "candidate" not in house.status, 3.0)
    house.serves("first")
    house.admit("second", "8")
    eventually(lambda: staging() == "second", 60, "it goes on")
    eventually(lambda: house.condition("CandidateAdmitted") == ("False", "Soaking"), 60, "it is known at once")
    stays(lambda: house.status["serving"]["run"] == "first" and "candidate" not in house.status, 3.0)
    house.serves("second")
    kube.delete("ModelDeployment", "staging")
    eventually(lambda: house.condition("CandidateAdmitted") == ("False", "FollowedMissing"), 60, "it is gone")
    stays(lambda: house.status["serving"]["run"] == "second" and house.ready()[0] == "Serving", 2.0)


def test_what_is_served_outlives_what_it_was_admitted_by(house: House, players: Players) -> None:
    """IncumbentStays."""
    kube = house.kube
    house.admit()
    house.deploy()
    house.serves("first")
    before = house.status["serving"]
    for kind, name in (("EvalGate", "good"), ("FineTuneRun", "first"), ("TransformerProject", "desk")):
        kube.delete(kind, name)
    eventually(lambda: house.status["phase"] == "Degraded", 60, "it is said")
    assert (house.ready()[0], house.status["serving"]) == ("Serving", before)
    kube.delete("Deployment", "answers-gateway")
    kube.delete("Service", "answers")
    eventually(lambda: kube.find("Service", "answers"), 60, "what needs no project is mended")
    stays(lambda: house.status["serving"] == before, 2.0)
    assert len(players.of_engine(before["engine"])) == 1


@pytest.mark.long
def test_another_engine_is_started_beside_and_requests_move(house: House, players: Players) -> None:
    house.admit()
    house.deploy()
    house.serves("first")
    before = house.status["serving"]["engine"]
    house.kube.patch("ModelDeployment", "answers", {"spec": {"engine": {"maxConcurrent": 8}}})
    eventually(lambda: house.status["serving"]["engine"] != before, 60, "requests move")
    eventually(lambda: [each["name"] for each in house.status.get("retiring", ())] == [before], 60, "the old one goes")
    assert house.kube.find("Deployment", before), "two minutes later"
    assert len(players.of_engine(house.status["serving"]["engine"])) == 1


def test_a_candidate_that_is_refused_waits_in_the_clusters_words_and_what_serves_is_well(
    house: House, players: Players
) -> None:
    kube = house.kube
    house.admit()
    house.deploy()
    house.serves("first")
    before = house.status["serving"]["engine"]
    quota.allow_none(kube, "count/deployments.apps", quota.deployment("x"))
    kube.patch("ModelDeployment", "answers", {"spec": {"engine": {"maxConcurrent": 8}, "contract": {"timeout": "7s"}}})
    eventually(lambda: "exceeded quota" in words(house), 60, "it is said")
    well = ("Serving", "Progressing")
    # Whoever answers for pods may be slow to, and be missed for a moment.
    eventually(lambda: (house.ready()[0], house.status["phase"]) == well, 60, "what serves is well")
    [door] = players.doors.values()
    eventually(lambda: door.routes and door.routes.timeout == 7, 60, "all else goes on")
    kube.delete("ResourceQuota", quota.NAME)
    eventually(lambda: house.status["serving"]["engine"] != before, 60, "it is tried again")


def words(house: House) -> str:
    return next((each["message"] for each in house.status["conditions"] if each["type"] == "Reconciling"), "")


@pytest.mark.long
def test_the_operator_may_be_killed_and_another_goes_on(
    kube: Kube, kubelet: FakeKubelet, start_operator: StartOperator
) -> None:
    """NothingStuck: whoever comes next goes on from the objects."""
    operator = start_operator(*INSTALLED).wait_ready().wait_leading()
    house = House(kube, kubelet)
    house.open()
    house.admit()
    with Players(kube, kubelet).playing():
        house.deploy()
        for when in ("candidate", "routes"):
            eventually(lambda when=when: when in house.status, 60, when)  # type: ignore[misc]
            operator = again(operator, start_operator)
        house.serves("first", 60)
        assert house.status["routes"]["revision"] == 2


def again(operator: OperatorProcess, start_operator: StartOperator) -> OperatorProcess:
    operator.kill()
    return start_operator(*INSTALLED).wait_ready().wait_leading()
