"""What the API server refuses of gates and Evaluations, and that it says what to write instead."""

import copy
from typing import Any

import pytest

from tests import builders
from tests.integration.kinds.admission import Change, put, refused, take, written
from tests.kube import Kube, KubeError
from tests.unit.kinds import gates

AGAINST = {"name": "worth", "suite": "held-out", "metric": "f1_macro", "against": "Baseline"}
CANARY = [{"name": "held-out", "dataset": "canary", "type": "Canary"}]


def criterion(**changes: Any) -> Change:
    """Return a change of the only criterion; None removes."""

    def change(spec: builders.Object) -> None:
        given = spec["criteria"][0] | changes
        spec["criteria"] = [{name: value for name, value in given.items() if value is not None}]

    return change


GATES = [
    ("two bounds", criterion(against="Baseline", minGain={"absolute": 0.1}), "give exactly one of min, allowedDrop and minGain"),
    ("at most", criterion(min=None, max=0.9), 'unknown field "spec.criteria[0].max"'),
    ("no bound", criterion(min=None), "give exactly one of min, allowedDrop and minGain"),
    ("a drop from nothing", criterion(min=None, allowedDrop={"absolute": 0.1}), "against goes with allowedDrop or minGain"),
    ("a bound against the baseline", criterion(against="Baseline"), "against goes with allowedDrop or minGain"),
    ("against whom", criterion(min=None, against="Luck", minGain={"absolute": 0.1}), 'supported values: "Baseline"'),
    ("a negative drop", criterion(min=None, against="Baseline", allowedDrop={"absolute": -0.1}), "should be greater than or equal to 0"),
    ("a drop in words", criterion(min=None, against="Baseline", allowedDrop={}), "Required value"),
    ("an incumbent that may be absent", criterion(min=None, against="Incumbent", minGain={"absolute": 0.1}), "whenAbsent goes with against: Incumbent"),
    ("a baseline that may be absent", criterion(min=None, against="Baseline", minGain={"absolute": 0.1}, whenAbsent="Fail"), "whenAbsent goes with against: Incumbent"),
    ("a bound that may be absent", criterion(whenAbsent="Skip"), "whenAbsent goes with against: Incumbent"),
    ("only what is skipped", criterion(min=None, against="Incumbent", minGain={"absolute": 0.1}, whenAbsent="Skip"), "a gate whose criteria are all skipped would admit everything"),
    ("absent somehow", criterion(min=None, against="Incumbent", minGain={"absolute": 0.1}, whenAbsent="Pass"), 'supported values: "Skip", "Fail"'),
    ("a suite that is not there", criterion(suite="none"), "criteria[].suite must be the name of one of suites"),
    ("an odd metric", criterion(metric="F1 macro"), "must be the name of a metric, such as accuracy"),
    ("all confidence", criterion(confidence=1.0), "should be less than or equal to 0.9999"),
    ("only advice", criterion(advisory=True), "a gate whose criteria are all advisory would admit everything"),
    ("names twice", lambda spec: spec["criteria"].append(spec["criteria"][0]), "Duplicate value"),
    ("suites twice", lambda spec: spec["suites"].append(spec["suites"][0]), "Duplicate value"),
    ("a data set twice", lambda spec: spec["suites"].append(spec["suites"][0] | {"name": "other"}), "a data set is one suite"),
    ("two canaries", put("suites", [*CANARY, CANARY[0] | {"name": "other", "dataset": "b"}]), "a gate has one canary"),
    ("an interval of a canary", lambda spec: (put("suites", CANARY)(spec), criterion(confidence=0.9)(spec)), "a canary has too few rows for an interval"),
    ("a canary against the baseline", lambda spec: (put("suites", CANARY)(spec), put("criteria", [AGAINST | {"minGain": {"absolute": 0.1}}])(spec)), "a canary has too few rows for an interval"),
    ("an unknown type", put("suites.0.type", "Training"), 'supported values: "HeldOut", "Adversarial", "Canary"'),
    ("a task of few rows", put("suites", [CANARY[0] | {"task": "arc_easy"}]), "a task of lm-evaluation-harness is a suite of type HeldOut"),
    ("an odd task", put("suites.0.task", "arc easy"), "must be the name of a task of lm-evaluation-harness"),
    ("33 criteria", put("criteria", [{"name": f"c{n}", "suite": "held-out", "metric": "accuracy", "min": 0.1} for n in range(33)]), "must have at most 32 items"),
    ("no criteria", put("criteria", []), "should have at least 1 items"),
    ("no suites", put("suites", []), "should have at least 1 items"),
    ("nothing scored", put("minScored", 0), "minScored must be more than 0"),
    ("more than all scored", put("minScored", 1.1), "should be less than or equal to 1"),
    ("no candidates", put("newest", 0), "should be greater than or equal to 1"),
    ("many at a time", put("maxConcurrent", 9), "should be less than or equal to 8"),
    ("odd duration", put("maxDuration", "1h30m"), "must be a length of time such as 90s, 30m, 24h or 7d"),
    ("cleaned up too early", put("cleanUpAfter", "9m"), "cleanUpAfter must be at least 10m"),
    ("several GPUs", put("resources.gpus", 2), "should be less than or equal to 1"),
    ("odd GPUs", put("resources.gpuResource", "gpu"), "must be <domain>/<name>, such as nvidia.com/gpu"),
    ("odd CPUs", put("resources.cpu", "two"), "must be a number of CPUs"),
    ("a field that is not built", put("override", {"by": "a"}), 'unknown field "spec.override"'),
    ("no project", put("project", None), "spec.project: Required value"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), [case[1:] for case in GATES], ids=[case[0] for case in GATES])
def test_a_gate_that_makes_no_sense_is_refused_in_words(kube: Kube, change: Change, words: str) -> None:
    assert words in refused(kube, written(builders.gate, kube.namespace, change))


TAKEN: list[Change] = [
    criterion(),
    criterion(confidence=0.95, label="billing", metric="recall", outcome="no lost cards", advisory=False),
    criterion(metric="rougeL", min=1),
    lambda spec: spec["criteria"].append(AGAINST | {"minGain": {"absolute": 0}}),
    lambda spec: spec["criteria"].append(AGAINST | {"allowedDrop": {"absolute": 0.03}, "advisory": True}),
    lambda spec: spec["suites"].append({"name": "hard", "dataset": "hard", "type": "Adversarial"}),
    put("suites", CANARY),
    lambda spec: (put("suites.0.task", "arc_easy")(spec), criterion(metric="exact_match,strict-match")(spec)),
    put("resources", {"cpu": "500m", "memory": "512Mi", "gpus": 1, "gpuResource": "amd.com/gpu"}),
    lambda spec: spec.update(newest=50, maxConcurrent=8, maxDuration="1d", retries=0, minScored=1, cleanUpAfter="1h"),
]


@pytest.mark.parametrize("change", TAKEN)
def test_what_makes_sense_is_taken(kube: Kube, change: Change) -> None:
    spec = take(kube, written(builders.gate, kube.namespace, change))["spec"]
    assert spec["newest"] in (10, 50)
    assert "confidence" in spec["criteria"][0] or "advisory" not in spec["criteria"][0], "no default written out"


def test_the_name_of_a_gate_leaves_room_for_its_evaluations(kube: Kube) -> None:
    take(kube, builders.gate("g" * 37, kube.namespace))
    assert "at most 37 characters" in refused(kube, builders.gate("g" * 38, kube.namespace))


def test_a_gate_may_change(kube: Kube) -> None:
    kube.create(builders.gate(namespace=kube.namespace))
    changed = kube.patch("EvalGate", "good", {"spec": {"minScored": 0.5}})
    assert changed["metadata"]["generation"] == 2


def evaluation(kube: Kube) -> builders.Object:
    made = copy.deepcopy(gates.evaluation())
    made["metadata"] = {"name": made["metadata"]["name"], "namespace": kube.namespace}
    return kube.create(made)


def test_an_evaluations_spec_cannot_change(kube: Kube) -> None:
    name = evaluation(kube)["metadata"]["name"]
    with pytest.raises(KubeError, match="an Evaluation's spec cannot change: it says what was judged"):
        kube.patch("Evaluation", name, {"spec": {"run": "another"}})
    with pytest.raises(KubeError, match="cannot change"):
        kube.patch("Evaluation", name, {"spec": {"criteria": []}})


def of_a_base(**changes: Any) -> builders.Object:
    """Return the Evaluation of a base itself; None takes something away."""
    made = copy.deepcopy(gates.evaluation())
    spec, release = made["spec"], made["spec"]["release"]
    for name in ("run", "runInputs", "trainedOn"):
        spec.pop(name)
    release.pop("artifact")
    release["prompt"] = {"name": "route", "version": 1}
    for name, value in changes.items():
        place = release if name in ("artifact", "prompt") else spec
        place[name] = value
    made["spec"]["release"] = {name: value for name, value in release.items() if value is not None}
    return made


DIGEST = builders.digest("7")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": "first"}, "give run, runInputs and release.artifact, or none of them"),
        ({"runInputs": DIGEST}, "give run, runInputs and release.artifact, or none of them"),
        ({"artifact": DIGEST, "prompt": None}, "give run, runInputs and release.artifact, or none of them"),
        ({"prompt": None}, "release.prompt says by which prompt a base itself is asked"),
        ({"run": "first", "runInputs": DIGEST, "artifact": DIGEST}, "give it where there is no release.artifact"),
        ({"trainedOn": []}, "leave out baseline and trainedOn"),
        (
            {"baseline": {"digest": DIGEST, "asked": DIGEST, "prompt": {"name": "a", "version": 1}}},
            "leave out baseline",
        ),
    ],
)
def test_an_evaluation_is_of_a_run_or_of_a_base_itself(kube: Kube, changes: builders.Object, message: str) -> None:
    made = of_a_base(**changes)
    made["metadata"] = {"name": made["metadata"]["name"], "namespace": kube.namespace}
    with pytest.raises(KubeError, match=message):
        kube.create(made)
    good = of_a_base()
    good["metadata"] = made["metadata"]
    assert "run" not in kube.create(good)["spec"]


DECIDED = {
    "phase": "Decided",
    "verdict": "Failed",
    "message": "It is not good enough.",
    "completionTime": builders.CREATED,
    "results": [{"criterion": "good", "outcome": "Failed", "scored": 150, "value": 0.5}],
    "report": {"uri": "pvc://store/desk/evaluations/x", "digest": builders.digest("c")},
}


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "Passed"},
        {"verdict": None},
        {"results": []},
        {"results": [DECIDED["results"][0] | {"value": 0.9}]},  # type: ignore[index]
        {"results": None},
        {"report": {"digest": builders.digest("d")}},
        {"report": None},
        {"message": "It is fine."},
        {"completionTime": "2027-01-01T00:00:00Z"},
    ],
)
def test_a_verdict_is_final(kube: Kube, change: builders.Object) -> None:
    """VerdictIsFinal: the API server itself takes no other, from whomever."""
    made = evaluation(kube)
    name = made["metadata"]["name"]
    kube.patch("Evaluation", name, {"status": DECIDED}, "status")
    with pytest.raises(KubeError, match="a verdict is final: to have the same judged again, delete the Evaluation"):
        kube.patch("Evaluation", name, {"status": change}, "status")
    found = kube.patch("Evaluation", name, {"status": {"observedGeneration": 1, "phase": "Decided"}}, "status")
    assert {key: found["status"][key] for key in DECIDED} == DECIDED
    whole = found | {"status": {}}
    with pytest.raises(KubeError, match="a verdict is final"):
        kube.request("PUT", kube.path("Evaluation", name, "status"), whole)
    del whole["status"]
    with pytest.raises(KubeError, match="a verdict is final"):
        kube.request("PUT", kube.path("Evaluation", name, "status"), whole)
    kube.delete("Evaluation", name)


ASKED = {
    "phase": "AwaitingReview",
    "message": "It is good enough.",
    "results": [{"criterion": "good", "outcome": "Passed", "scored": 150, "value": 0.9}],
    "report": DECIDED["report"],
    "review": {
        "asked": builders.CREATED,
        "rows": [{"row": "canary.csv:1", "input": "a", "expected": "b", "candidate": "b"}],
        "approvals": [],
    },
}
APPROVED = {"name": "fine", "uid": "u", "reviewer": "qa@example.com", "at": builders.CREATED}
PASSED = {"phase": "Decided", "verdict": "Passed", "completionTime": builders.CREATED}


def awaiting(kube: Kube, **review: object) -> str:
    made = copy.deepcopy(gates.reviewed(**review))
    made["metadata"] = {"name": made["metadata"]["name"], "namespace": kube.namespace}
    name: str = kube.create(made)["metadata"]["name"]
    kube.patch("Evaluation", name, {"status": ASKED}, "status")
    return name


@pytest.mark.parametrize(
    "change",
    [
        {"review": None},
        {"review": {"asked": "2027-01-01T00:00:00Z"}},
        {"review": {"rows": [ASKED["review"]["rows"][0] | {"candidate": "c"}]}},  # type: ignore[index]
        {"review": {"rows": []}},
        {"report": {"digest": builders.digest("d")}},
        {"report": None},
    ],
)
def test_what_people_are_asked_about_does_not_change(kube: Kube, change: builders.Object) -> None:
    """VerdictIsFinal: the API server itself keeps what people looked at."""
    name = awaiting(kube)
    with pytest.raises(KubeError, match="what reviewers are asked about does not change"):
        kube.patch("Evaluation", name, {"status": change}, "status")


@pytest.mark.parametrize(
    "review",
    [
        {},
        {"approvals": [APPROVED]},
        {"approvals": [APPROVED, APPROVED | {"name": "other", "uid": "v"}]},
        {
            "approvals": [APPROVED, APPROVED | {"name": "other", "uid": "v", "reviewer": "b"}],
            "rejected": APPROVED | {"reason": "Row 3 is rude."},
        },
    ],
)
def test_nothing_passes_without_the_approvals(kube: Kube, review: builders.Object) -> None:
    """VerdictIsFinal: nor does the API server take a Passed that people did not approve."""
    name = awaiting(kube, approvals=2)
    with pytest.raises(KubeError, match="nothing passes without the approvals that its review asks for"):
        kube.patch("Evaluation", name, {"status": PASSED | {"review": review}}, "status")
    whole = {"approvals": [APPROVED, APPROVED | {"name": "other", "uid": "v", "reviewer": "b"}]}
    kube.patch("Evaluation", name, {"status": PASSED | {"review": whole}}, "status")
    with pytest.raises(KubeError, match="a verdict is final"):
        kube.patch("Evaluation", name, {"status": {"review": {"approvals": []}}}, "status")


def test_an_evaluation_that_was_never_asked_about_does_not_pass_either(kube: Kube) -> None:
    made = copy.deepcopy(gates.reviewed())
    made["metadata"] = {"name": made["metadata"]["name"], "namespace": kube.namespace}
    kube.create(made)
    with pytest.raises(KubeError, match="nothing passes without the approvals that its review asks for"):
        kube.patch("Evaluation", made["metadata"]["name"], {"status": DECIDED | PASSED}, "status")
    kube.patch("Evaluation", made["metadata"]["name"], {"status": DECIDED}, "status")


def test_the_largest_review_is_taken(kube: Kube) -> None:
    name = awaiting(kube, approvals=8)
    text = "\U0001f600" * 400
    rows = [
        {"row": f"{'x' * 100}{n}", "input": text, "expected": text, "candidate": text, "baseline": text}
        for n in range(20)
    ]
    made = copy.deepcopy(kube.get("Evaluation", name))
    kube.delete("Evaluation", name)
    made["metadata"] = {"name": name, "namespace": kube.namespace}
    kube.create(made)
    counted = [
        {"name": f"a{n}", "uid": f"u{n}", "reviewer": str(n) + "r" * 255, "as": "g" * 256, "at": builders.CREATED}
        | {"scores": [{"name": f"{'s' * 49}{m}", "score": 5} for m in range(8)]}
        for n in range(8)
    ]
    told = ASKED | {"review": {"asked": builders.CREATED, "rows": rows, "approvals": counted}}
    kube.patch("Evaluation", name, {"status": told}, "status")
    kube.patch("Evaluation", name, {"status": PASSED}, "status")
    kube.patch("Evaluation", name, {"status": {"observedGeneration": 1}}, "status")


def test_the_largest_evaluation_is_taken(kube: Kube) -> None:
    names = [f"c{number}-{'x' * 44}" for number in range(32)]
    criteria = [{"name": name, "suite": "held-out", "metric": "f1_macro", "min": 0.8} for name in names]
    made = copy.deepcopy(gates.evaluation(criteria=criteria))
    made["metadata"] = {"name": made["metadata"]["name"], "namespace": kube.namespace}
    kube.create(made)
    results = [{"criterion": name, "outcome": "Failed", "scored": 1, "message": "x" * 300} for name in names]
    told = DECIDED | {"results": results, "message": "x" * 2048}
    for _ in range(2):
        kube.patch("Evaluation", made["metadata"]["name"], {"status": told}, "status")
