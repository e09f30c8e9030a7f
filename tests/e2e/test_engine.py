"""vLLM as the engine of a gate, on a CPU: a real server beside the evaluator, and its answers beside transformers'."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from stagecoach.build.labels import GROUP, OWNER_UID
from stagecoach.contract import layout, mounts
from stagecoach.contract.digests import digest_of_document
from tests import builders, client
from tests.clients import Clients
from tests.e2e.conftest import LATE, SMALL, SOON, Desk, Ground, new_desk
from tests.e2e.outside import forwarded
from tests.e2e.shop import Shop, fine, until
from tests.e2e.test_gates import DATA, SETS, evaluation, gate, read_file
from tests.following import is_settled
from tests.integration.support.eventually import eventually

pytestmark = pytest.mark.long

# vLLM gets three quarters of it, and takes 2Gi; an encoder, half as much.
RESOURCES = {"cpu": "50m", "memory": "4Gi"}
ENCODER_RESOURCES = {"cpu": "50m", "memory": "2500Mi"}
CRITERIA: list[builders.Object] = [
    {"name": "answers", "suite": "held-out", "metric": "accuracy", "min": 0.1},
    {
        "name": "close",
        "suite": "held-out",
        "metric": "accuracy",
        "against": "Baseline",
        "allowedDrop": {"absolute": 0.9},
    },
]
LEARNS = {
    "method": {"type": "LoRA", "rank": 8, "alpha": 16},
    "hyperparameters": {"learningRate": 1.0e-2, "epochs": 6, "perDeviceBatchSize": 8},
    "resources": SMALL,
}
# Whole encoders, and the deployment that serves one of them.
READERS, READS = ("read", "read-again"), "reads"
TEXT = "where is parcel 112"
CANDIDATE = {"name": "small", "model": {"uri": "pvc://models/served"}, "license": "Apache-2.0"}


def project(namespace: str, engine: str) -> builders.Object:
    inference = builders.project_spec()["inference"] | {"engine": engine}
    sets = [item for item in SETS if item["name"] in ("train", "valid", "test")]
    return builders.project("desk", namespace, data={"sets": sets}, candidates=[CANDIDATE], inference=inference)


@pytest.fixture(scope="module")
def served(ground: Ground) -> Iterator[Desk]:
    """A namespace whose gate judges an adapter by vLLM."""
    with new_desk(ground) as made:
        made.bases()
        made.claim("store")
        made.data({name: DATA[name] for name in ("train.csv", "valid.csv", "test.csv")})
        judge = gate("desk", made.namespace, criteria=CRITERIA)
        judge["spec"]["resources"] = RESOURCES
        made.apply(project(made.namespace, "vLLM"), builders.run("learned", made.namespace, **LEARNS), judge)
        assert made.awaits("ftr", "learned", "Succeeded", "Failed")["status"]["phase"] == "Succeeded"
        yield made


def labels(desk: Desk, found: builders.Object, release: str) -> list[Any]:
    """Return what a release answered to the rows of the suite, as it is kept."""
    suite = found["spec"]["suites"][0]
    rows = digest_of_document({"data": suite["digest"], "columns": {"text": "text", "label": "label"}})
    content = read_file(desk, f"{mounts.STORAGE}/{layout.outputs_file(release, rows)}")
    return [json.loads(line).get("label") for line in content.splitlines() if line.startswith("{")]


def test_an_adapter_and_its_base_are_judged_by_vllm_and_answer_as_by_transformers(served: Desk) -> None:
    found = evaluation(served, "desk", "learned", seconds=LATE)
    status = found["status"]
    assert status["verdict"] in ("Passed", "Failed", "Inconclusive"), status
    assert found["spec"]["engineImage"]
    [pod] = served.kube.select("Pod", f"{OWNER_UID}={found['metadata']['uid']}")
    assert [each["name"] for each in pod["status"]["initContainerStatuses"]] == ["engine"]
    assert pod["status"]["initContainerStatuses"][0]["restartCount"] == 0
    by_vllm = {name: labels(served, found, found["spec"][name]["digest"]) for name in ("release", "baseline")}
    rows = status["rows"]
    assert all(len(each) == rows and None not in each for each in by_vllm.values())

    # The same run, judged by transformers: another release, beside the first.
    served.apply(project(served.namespace, "Transformers"))
    served.awaits("txp", "desk", "Ready")
    other = judged_by_transformers(served)
    assert other["spec"]["release"]["digest"] != found["spec"]["release"]["digest"]
    for name, ours in by_vllm.items():
        theirs = labels(served, other, other["spec"][name]["digest"])
        same = sum(one == another for one, another in zip(ours, theirs, strict=True))
        assert same >= rows - 1, "sums in another order may turn a row, and no more"
    assert by_vllm["release"] != by_vllm["baseline"], "the adapter is asked, not the base"


def test_a_base_itself_is_judged_served_and_gives_way_to_a_run_and_no_request_fails(served: Desk) -> None:
    """Its engine has no adapters, and what was made of it another one."""
    served.apply(project(served.namespace, "vLLM"))
    served.awaits("txp", "desk", "Ready")
    judge = gate("plain", served.namespace, criteria=CRITERIA[:1])
    judge["spec"]["resources"] = RESOURCES
    spec = {"gates": [{"name": "plain"}], "model": {"candidate": "small"}}
    spec |= {"engine": {"resources": {"cpu": "50m", "memory": "3500Mi"}}}
    spec |= {"gateway": {"resources": {"cpu": "50m", "memory": "256Mi"}}}
    served.apply(judge, builders.deployment("itself", served.namespace, **spec))
    clients = Clients(served.tools, served.namespace, "itself", served.tests_image)
    shop = Shop(served, clients, "itself")
    status = shop.awaits(
        lambda deployment: (
            deployment.get("status", {}).get("serving", {}).get("base") == "small" and is_settled(deployment)
        ),
        LATE,
        "the base itself is served",
    )
    [found] = [each for each in served.kube.select("Evaluation", f"{GROUP}/gate=plain") if "run" not in each["spec"]]
    old = found["spec"]["release"]["digest"]
    assert (found["status"]["verdict"], status["serving"]["release"]) == ("Passed", old)
    assert read_file(served, f"{mounts.STORAGE}/{layout.release_file(old)}")
    clients.start([TEXT], 0.2)
    until(shop, 0, old)
    assert clients.ask(TEXT)["label"] in set(labels(served, found, old))
    new = evaluation(served, "plain", "learned", seconds=LATE)["spec"]["release"]["digest"]
    shop.want(model={"candidate": None, "run": "learned"})
    serving = shop.serves("learned", seconds=LATE)["serving"]
    assert serving["engine"] != status["serving"]["engine"]
    answers = until(shop, 0, new)
    fine(answers, old, new)
    served.kube.delete("ModelDeployment", "itself")


def reader(namespace: str, engine: str) -> builders.Object:
    """Return a project of an encoder that chooses labels."""
    made = project(namespace, engine)
    made["metadata"]["name"] = "reader"
    made["spec"]["problem"] |= {"architecture": "Encoder"}
    made["spec"]["candidates"] = [CANDIDATE | {"model": {"uri": "pvc://models/served-bert"}}]
    return made


@pytest.fixture(scope="module")
def readers(served: Desk) -> Desk:
    """The same namespace, with whole encoders that a gate judges by vLLM."""
    judge = gate("reader", served.namespace, criteria=CRITERIA[:1])
    judge["spec"] |= {"project": "reader", "resources": RESOURCES}
    whole: builders.Object = LEARNS | {"method": {"type": "Full"}, "project": "reader"}
    runs = [
        builders.run(name, served.namespace, **whole | {"hyperparameters": whole["hyperparameters"] | {"seed": seed}})
        for seed, name in enumerate(READERS)
    ]
    served.apply(reader(served.namespace, "vLLM"), *runs, judge)
    for name in READERS:
        assert served.awaits("ftr", name, "Succeeded", "Failed")["status"]["phase"] == "Succeeded"
    return served


def test_a_whole_model_takes_over_from_another_and_no_request_fails(readers: Desk) -> None:
    """Each has an engine of its own."""
    judged = {name: evaluation(readers, "reader", name, seconds=LATE) for name in READERS}
    assert {each["status"]["verdict"] for each in judged.values()} == {"Passed"}
    old, new = (each["spec"]["release"]["digest"] for each in judged.values())
    spec = {"project": "reader", "gates": [{"name": "reader"}], "model": {"run": READERS[0]}}
    # As long as the project reads, and said so: then an engine is the same for both APIs.
    spec |= {"engine": {"resources": ENCODER_RESOURCES, "maxLength": 128}}
    spec |= {"gateway": {"resources": {"cpu": "50m", "memory": "256Mi"}}}
    readers.apply(builders.deployment(READS, readers.namespace, **spec))
    clients = Clients(readers.tools, readers.namespace, READS, readers.tests_image)
    shop = Shop(readers, clients, READS)
    before = shop.serves(READERS[0], seconds=LATE)["serving"]
    assert before["release"] == old
    clients.start([TEXT], 0.2)
    until(shop, 0, old)
    shop.switch(READERS[1])
    serving = shop.serves(READERS[1], seconds=LATE)["serving"]
    assert serving["engine"] != before["engine"]
    answers = until(shop, 0, new)
    fine(answers, old, new)
    assert {answer["release"] for answer in answers} == {old, new}

    answer = clients.ask(TEXT)
    assert answer["label"] == max(answer["scores"], key=answer["scores"].get)
    revision = shop.status["routes"]["revision"]
    shop.want(api="OpenAI")

    def changed(deployment: builders.Object) -> bool:
        return bool(deployment["status"]["routes"]["revision"] > revision and is_settled(deployment))

    assert shop.awaits(changed, SOON, "gateways speak OpenAI's API")["serving"] == serving
    with forwarded(readers, READS) as url:
        found = client.post(f"{url}/classify", "", {"model": READS, "input": [f"Which queue? {TEXT}"]})
    assert (found["status"], found["release"]) == (200, new), found
    assert found["data"][0]["probs"] == pytest.approx(list(answer["scores"].values()), abs=0.01)
    readers.kube.delete("ModelDeployment", READS)


def test_an_encoder_is_judged_by_vllm_and_answers_as_by_transformers(readers: Desk) -> None:
    found = evaluation(readers, "reader", "read", seconds=LATE)
    assert found["status"]["verdict"] in ("Passed", "Failed", "Inconclusive"), found["status"]
    ours = labels(readers, found, found["spec"]["release"]["digest"])
    readers.apply(reader(readers.namespace, "Transformers"))
    readers.awaits("txp", "reader", "Ready")
    other = judged_by_transformers(readers, "reader", "read")
    theirs = labels(readers, other, other["spec"]["release"]["digest"])
    assert len(ours) == len(theirs) == found["status"]["rows"]
    assert None not in ours
    same = sum(one == another for one, another in zip(ours, theirs, strict=True))
    assert same >= len(ours) - 1, "sums in another order may turn a row, and no more"


def judged_by_transformers(desk: Desk, gate_name: str = "desk", run: str = "learned") -> builders.Object:
    """Return the Evaluation of the run by transformers, once it is decided."""

    def look() -> builders.Object | None:
        found = desk.kube.select("Evaluation", f"{GROUP}/gate={gate_name},{GROUP}/run={run}")
        return next(
            (
                item
                for item in found
                if "engineImage" not in item["spec"] and item.get("status", {}).get("phase") == "Decided"
            ),
            None,
        )

    found = eventually(look, LATE, "the run is judged by transformers", every=0.5)
    assert found
    return found
