"""A gate that compares with what is served: for each deployment with its own, and never a release with itself."""

import copy
from typing import Any

import pytest

from stagecoach.api.evaluation import Evaluation, EvaluationSpec, JudgedIncumbent
from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.digests import short
from stagecoach.contract.evaluations import EvaluationInputs
from stagecoach.contract.verdicts import EvaluationReport
from stagecoach.kinds.evalgate import asked
from stagecoach.kinds.evalgate.incumbents import Incumbents
from stagecoach.kinds.evaluation import document, neighbours
from stagecoach.kinds.plan import key_of
from stagecoach.policies import verdicts
from stagecoach.policies.admission import GateState, GateWord
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployments import Stage
from tests.unit.kinds.gates import ASKING, evaluation, gate_word, succeeded
from tests.unit.kinds.test_gate_deployments import Served, deployment
from tests.unit.kinds.world import SETTINGS

Object = builders.Object
GOOD = builders.gate()["spec"]["criteria"][0]
NO_WORSE: Object = {"name": "no-worse", "suite": "held-out", "metric": "accuracy", "against": "Incumbent"}
NO_WORSE |= {"allowedDrop": {"absolute": 0.03}, "whenAbsent": "Skip"}
COMPARING: Object = {"criteria": [GOOD, NO_WORSE], "maxConcurrent": 8}
GAIN = {"name": "gain", "suite": "held-out", "metric": "f1_macro", "against": "Baseline", "minGain": {"absolute": 0.05}}


@pytest.mark.parametrize(
    ("criteria", "key"),
    [
        ([GOOD], "sha256:feec0f81142ddc35cc614030c935ae9f75203853fe0755145dfda1ab0b0f5beb"),
        ([GAIN], "sha256:87f9c2e3c5f3bda499beb49010ff02986da5a396dd91ea3d9ab9cd6a3faa4ee6"),
    ],
)
def test_gates_that_compare_with_nothing_served_have_the_keys_of_before(criteria: list[Object], key: str) -> None:
    """What is compared with nothing changes no key: verdicts of then count, by the same revision of the evaluator."""
    assert evaluation(criteria=criteria)["spec"]["key"] == key


@pytest.mark.parametrize(
    ("serving", "history", "found"),
    [
        (None, [], (None, None)),
        ("b", [], ("b", None)),
        ("b", ["b"], ("b", None)),
        ("b", ["b", "a"], ("b", "a")),
        ("b", ["b", "a", "b"], ("b", "a")),
        ("b", ["a", "b"], ("b", None)),
        ("b", ["b", "b"], ("b", None)),
    ],
)
def test_what_is_served_took_the_place_of_something(
    serving: str | None, history: list[str], found: tuple[str | None, str | None]
) -> None:
    status: Object = {"history": [{"release": each} for each in history]}
    status |= {"serving": {"release": serving}} if serving else {}
    assert asked.served({"status": status}) == found


class Compared(Served):
    """A gate that compares, beside deployments that serve what it has passed, of the runs run-1 to run-5."""

    def __init__(self, *objects: Object, **gate: Any) -> None:
        super().__init__(*objects, **COMPARING | {"newest": 2} | gate)

    def release(self, run: str) -> str:
        """Return the release that a run has made, as Evaluations name it."""
        found = FineTuneRun.model_validate(self.get("FineTuneRun", run))
        return gate_word(self.cache, ASKING, "good", found, SETTINGS).release

    def serve(self, *runs: str, name: str = "desk", **model: Any) -> None:
        """Let a deployment serve the last of these runs, which took the place of those before."""
        here = deployment(name, **model)
        releases = [self.release(run) for run in runs]
        serving = {"run": runs[-1], "release": releases[-1]}
        serving["runCreated"] = self.get("FineTuneRun", runs[-1])["metadata"]["creationTimestamp"]
        here["status"] = {"serving": serving, "history": [{"release": each} for each in reversed(releases)]}
        self.put(here)

    @property
    def pairs(self) -> list[tuple[str, str | None]]:
        """The runs that are judged, each with the run that it is compared with."""
        self.look()
        return [(each["spec"]["run"], each["spec"].get("incumbent", {}).get("run")) for each in self.evaluations]

    def say(self, run: str, name: str = "desk") -> GateWord:
        """Return what the gate says of a run to a deployment."""
        found = FineTuneRun.model_validate(self.get("FineTuneRun", run))
        return gate_word(self.cache, self.get("ModelDeployment", name), "good", found, SETTINGS)


def test_without_deployments_and_before_the_first_is_served_there_is_no_incumbent() -> None:
    here = Compared()
    assert here.pairs == [("run-5", None), ("run-4", None)]
    here.put(deployment())
    assert here.pairs == [("run-5", None), ("run-4", None)]
    assert all("incumbent" not in each["spec"] for each in here.evaluations)


def test_what_is_newer_is_compared_with_what_is_served() -> None:
    here = Compared()
    here.look()
    here.serve("run-4")
    assert here.pairs == [("run-5", None), ("run-4", None), ("run-5", "run-4")]
    last = here.evaluations[-1]["spec"]
    assert last["incumbent"]["release"] == here.evaluations[1]["spec"]["release"]
    inputs = here.get("FineTuneRun", "run-4")["status"]["inputs"]
    assert (last["incumbent"]["runInputs"], last["incumbent"]["storage"]) == (inputs["digest"], inputs["storage"])


def move(here: Compared, run: str) -> None:
    """Let a run be one that was made after the project's storage had moved."""
    made = copy.deepcopy(here.get("FineTuneRun", run))
    made["status"]["inputs"]["storage"] = "pvc://elsewhere/desk"
    here.put(made)


def test_what_is_served_from_another_storage_ends_in_no_verdict() -> None:
    here = Compared()
    here.look()
    here.serve("run-4")
    move(here, "run-5")
    count = len(here.pairs)
    word = here.say("run-5")
    assert (word.state, word.reason) == (GateState.UNJUDGED, "IncumbentElsewhere")
    assert speaks(word.reason, word.message)
    assert here.status["unjudged"][0]["reason"] == "IncumbentElsewhere"
    assert len(here.pairs) == count


def test_what_serves_and_took_the_place_of_what_is_in_another_storage_is_judged_beside_nothing() -> None:
    here = Compared()
    here.look()
    move(here, "run-5")
    here.serve("run-4", "run-5")
    here.change("EvalGate", "good", minScored=0.5)
    assert ("run-5", None) in here.pairs[-2:]
    assert here.say("run-5").state is GateState.JUDGING


def test_of_many_evaluations_those_that_name_a_release_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Compared()
    here.look()
    here.serve("run-4")
    here.look()
    judged = here.evaluations
    newer = copy.deepcopy(judged[1])
    newer["metadata"]["creationTimestamp"] = "2027-01-01T00:00:00Z"
    newer["spec"]["run"] = "again"
    read: list[str] = []
    model = JudgedIncumbent.model_validate

    def noting(told: Object) -> JudgedIncumbent:
        read.append(told["run"])
        return model(told)

    monkeypatch.setattr(JudgedIncumbent, "model_validate", noting)
    found = Incumbents.of(here.get("ModelDeployment", "desk"), [newer, *judged])
    assert read == ["again"]
    assert [each.run for each in found.known.values()] == ["again"]


def test_what_is_older_than_what_is_served_is_judged_for_nobody_unless_somebody_asks() -> None:
    here = Compared(newest=5)
    here.look()
    before = len(here.evaluations)
    here.serve("run-5")
    assert len(here.pairs) == before
    here.serve("run-5", run="run-2")
    assert here.pairs[before:] == [("run-2", "run-5")]


def test_each_deployment_has_its_own_incumbent() -> None:
    here = Compared()
    here.look()
    here.serve("run-4")
    here.serve("run-5", name="other", run="run-4")
    here.put(deployment("third"))
    assert set(here.pairs) == {("run-5", None), ("run-4", None), ("run-5", "run-4"), ("run-4", "run-5")}
    assert here.say("run-5").evaluation != here.say("run-5", "third").evaluation


def test_two_releases_that_change_places_are_judged_once_each_way() -> None:
    here = Compared()
    here.look()
    for times in range(1, 9):
        runs = [f"run-{4 + number % 2}" for number in range(times)]
        here.serve(*runs, run="run-5" if runs[-1] == "run-4" else "run-4")
        here.look()
    assert sorted(here.pairs[2:]) == [("run-4", "run-5"), ("run-5", "run-4")]


def test_the_verdict_by_which_it_was_admitted_stays_the_word_of_what_is_served() -> None:
    here = Compared()
    here.look()
    here.serve("run-4")
    here.look()
    [name] = [each["metadata"]["name"] for each in here.evaluations if "incumbent" in each["spec"]]
    here.decide(name)
    word = here.say("run-5")
    assert (word.state, word.evaluation) == (GateState.PASSED, name)
    here.serve("run-4", "run-5")
    assert here.say("run-5") == word
    count = len(here.pairs)
    here.change("EvalGate", "good", minScored=0.5)
    assert ("run-5", "run-4") in here.pairs[count:], "judged anew beside what it took the place of"
    assert here.say("run-5").state is GateState.JUDGING


def test_what_has_passed_beside_another_is_judged_again_and_that_is_said() -> None:
    here = Compared(newest=3)
    for each in copy.copy(here.pairs):
        assert each[1] is None
    here.serve("run-3")
    here.look()
    passed = next(
        each["metadata"]["name"]
        for each in here.evaluations
        if each["spec"]["run"] == "run-5" and "incumbent" in each["spec"]
    )
    here.decide(passed)
    assert here.say("run-5").state is GateState.PASSED
    here.serve("run-3", "run-4")
    word = here.say("run-5")
    assert (word.state, word.reason, word.passed(word.release)) == (GateState.WAITING, "IncumbentChanged", False)
    assert f"beside another release, or beside none (Evaluation {passed}); here run run-4 is served" in word.message
    here.look()
    assert (here.say("run-5").state, here.say("run-5").reason) == (GateState.JUDGING, "IncumbentChanged")


def test_another_change_is_not_said_to_be_one_of_what_is_served() -> None:
    here = Compared()
    here.look()
    here.serve("run-4")
    here.look()
    for each in here.evaluations:
        here.decide(each["metadata"]["name"])
    here.change("EvalGate", "good", minScored=0.5)
    assert here.say("run-5").reason == "NotBegun"


def test_an_incumbent_of_which_nothing_is_known_is_told_once() -> None:
    here = Compared()
    here.look()
    here.serve("run-3")
    here.serve("run-2", name="other")
    for each in here.evaluations:
        here.remove("Evaluation", each["metadata"]["name"])
    word = here.say("run-5")
    assert (word.state, word.reason) == (GateState.UNJUDGED, "IncumbentUnknown")
    here.look()
    told = here.status["unjudged"]
    assert [each["run"] for each in told] == ["run-5", "run-3", "run-4"]
    assert {each["reason"] for each in told} == {"IncumbentUnknown"}
    assert any(short(here.release(run)) in told[0]["message"] for run in ("run-2", "run-3"))
    assert speaks(told[0]["reason"], told[0]["message"])
    # What is served is judged anew, beside nothing, and is known by that.
    assert [each["spec"]["run"] for each in here.evaluations] == ["run-3", "run-2"]
    assert ("run-5", "run-3") in here.pairs
    assert here.status["unjudged"] == []


def test_what_serves_has_its_verdict_also_where_evaluations_of_what_served_before_are_gone() -> None:
    here = Compared()
    here.look()
    here.serve("run-4")
    here.look()
    [name] = [each["metadata"]["name"] for each in here.evaluations if "incumbent" in each["spec"]]
    here.decide(name)
    here.serve("run-4", "run-5")
    for each in here.evaluations:
        if each["metadata"]["name"] != name:
            here.remove("Evaluation", each["metadata"]["name"])
    assert (here.say("run-5").state, here.say("run-5").evaluation) == (GateState.PASSED, name)
    here.remove("Evaluation", name)
    assert here.say("run-5").state is GateState.WAITING
    assert here.pairs == [("run-5", None)], "nobody knows what it was compared with"


def test_runs_that_wait_for_several_incumbents_are_listed_once() -> None:
    here = Compared(maxConcurrent=1)
    here.look()
    for each in range(3, 6):
        here.serve("run-3", name=f"desk-{each}")
    here.put(deployment("new"))
    here.look()
    names = [each["run"] for each in here.status["waiting"]]
    assert len(names) == len(set(names))


def test_a_release_is_never_compared_with_itself() -> None:
    made = evaluation(**COMPARING)["spec"]
    inputs = {"release": made["release"]["digest"], "incumbent": made["release"]["digest"], "suites": []}
    criterion = {name: NO_WORSE[name] for name in ("name", "suite", "metric", "against", "whenAbsent")}
    with pytest.raises(ValueError, match="with itself"):
        EvaluationInputs.model_validate(inputs | {"minScored": 1, "criteria": [criterion | {"allowedDrop": 0.03}]})


def stage(*runs: Object) -> Stage:
    """Return a deployment that serves its first run, whose gate compares."""
    here = Stage(*(runs or (succeeded(),)))
    here.change("EvalGate", "good", **COMPARING)
    here.judge()
    here.until(lambda: here.serves("first"))
    return here


def gated(here: Stage) -> tuple[str, str]:
    told = here.said("Gated")
    return told["status"], told["reason"]


def test_a_deployment_admits_what_has_passed_beside_what_it_serves() -> None:
    here = stage()
    assert gated(here) == ("True", "Passed")
    here.put(succeeded("second", 2))
    here.go_on()
    assert "Run second has not passed gate good (NotBegun)" in here.said("CandidateAdmitted")["message"]
    here.judge()
    here.until(lambda: here.serves("second"))
    told = here.told_status["serving"]["gates"][0]
    assert here.get("Evaluation", told["evaluation"])["spec"]["incumbent"]["run"] == "first"
    here.go_on()
    assert gated(here) == ("True", "Passed"), "it is not compared with itself"
    count = len(here.evaluations)
    here.judge()
    assert len(here.evaluations) == count


def test_a_verdict_beside_what_is_served_no_more_admits_nothing() -> None:
    here = stage()
    here.put(succeeded("second", 2))
    here.put(succeeded("third", 3))
    here.look()
    second, third = (
        next(each["metadata"]["name"] for each in here.evaluations if each["spec"]["run"] == run)
        for run in ("second", "third")
    )
    here.decide(second)
    here.until(lambda: here.serves("second"))
    here.decide(third)
    for _ in range(3):
        here.go_on()
    assert here.serves("second")
    told = here.said("CandidateAdmitted")["message"]
    assert "Run third has not passed gate good (IncumbentChanged)" in told
    assert f"Evaluation {third}" in told
    here.judge()
    here.until(lambda: here.serves("third"))


def test_what_serves_goes_on_whatever_a_changed_gate_says_of_it() -> None:
    here = stage()
    here.put(succeeded("second", 2))
    here.judge()
    here.until(lambda: here.serves("second"))
    here.change("EvalGate", "good", minScored=0.5)
    here.go_on()
    assert gated(here) == ("False", "GateChanged")
    here.judge("Failed")
    here.until(lambda: here.phase == "Degraded")
    assert here.told_status["serving"]["run"] == "second"
    assert gated(here) == ("False", "GateFailed")


def result(outcome: str, **numbers: Any) -> Object:
    told = {"value": 0.9, "reference": 0.9, "low": -0.01, "high": 0.01, "threshold": -0.03, "scored": 150}
    return {"criterion": "no-worse", "outcome": outcome} | (told if outcome == "Passed" else {"scored": 0}) | numbers


@pytest.mark.parametrize(
    ("served", "when", "outcome", "verdict", "words"),
    [
        (False, "Skip", "Skipped", "Passed", ""),
        (False, "Skip", "Passed", "Passed", "with nothing to compare with it is Skipped"),
        (False, "Fail", "Skipped", "Passed", "with nothing to compare with it is Failed"),
        (False, "Fail", "Failed", "Passed", "criterion 'no-worse' is Failed"),
        (False, "Fail", "Failed", "Failed", ""),
        (True, "Skip", "Passed", "Passed", ""),
        (True, "Skip", "Skipped", "Passed", "is Skipped, and there is something to measure"),
        (True, "Fail", "Failed", "Failed", ""),
    ],
)
def test_a_report_is_believed_where_it_says_what_comes_of_an_absent_incumbent(
    served: bool, when: str, outcome: str, verdict: str, words: str
) -> None:
    here = Compared(criteria=[GOOD, NO_WORSE | {"whenAbsent": when}])
    here.look()
    if served:
        here.serve("run-4")
        here.look()
    spec = EvaluationSpec.model_validate(here.evaluations[-1 if served else 0]["spec"])
    assert (spec.incumbent is not None) == served
    report = builders.evaluation_report()["evaluation"]
    report |= {"verdict": verdict, "results": [*report["results"], result(outcome)]}
    why = verdicts.inconsistency(EvaluationReport.model_validate(report), document.asked(spec))
    assert (words in (why or "")) if words else why is None


def test_nothing_passes_where_every_criterion_was_skipped() -> None:
    here = Compared(criteria=[NO_WORSE])
    here.look()
    report = builders.evaluation_report()["evaluation"] | {"results": [result("Skipped")]}
    asked_for = document.asked(EvaluationSpec.model_validate(here.evaluations[0]["spec"]))
    why = verdicts.inconsistency(EvaluationReport.model_validate(report), asked_for)
    assert why == "its verdict is Passed, and no criterion decides"


def test_a_job_is_told_where_what_is_served_is_found() -> None:
    here = Compared()
    here.look()
    here.serve("run-4")
    here.look()
    project = TransformerProject.model_validate(here.get("TransformerProject", "desk"))
    made = Evaluation.model_validate(here.evaluations[-1])
    told = document.job(made, project, threads=1)
    assert told.incumbent is not None
    assert told.incumbent.base == told.base
    assert (told.incumbent.run, told.inputs.incumbent) == ("run-4", told.incumbent.release.digest)
    # Another engine computes by now, or its base is gone: only its stored answers are left of it.
    other = made.model_copy(deep=True)
    assert other.spec.incumbent is not None
    other.spec.incumbent.base.candidate = "gone"
    assert document.job(other, project, threads=1).incumbent.base is None  # type: ignore[union-attr]


def test_who_compares_waits_for_who_asks_what_is_served() -> None:
    """What is served is judged anew at the same time: its answers are asked for once."""
    here = Compared()
    here.look()
    here.decide(here.evaluations[0]["metadata"]["name"])
    here.serve("run-4")
    here.look()
    of_served, compared = here.evaluations[1], here.evaluations[-1]
    assert neighbours.elder(here.cache, compared) == of_served["metadata"]["name"]
    assert neighbours.elder(here.cache, of_served) is None
    before = here.get("Evaluation", of_served["metadata"]["name"])
    here.decide(of_served["metadata"]["name"])
    after = here.get("Evaluation", of_served["metadata"]["name"])
    assert neighbours.elder(here.cache, compared) is None
    assert key_of(compared) in neighbours.wakes(key_of(after), here.cache, before, after)


def test_those_that_compare_with_the_same_wait_for_the_first_unless_its_answers_are_stored() -> None:
    """NothingTwice: the rows have changed since what is served was judged."""
    here = Compared(newest=3)
    here.look()
    here.serve("run-3")
    here.look()
    for each in here.evaluations:
        if "incumbent" not in each["spec"]:
            here.decide(each["metadata"]["name"])
    [first, second] = [each for each in here.evaluations if "incumbent" in each["spec"]]
    first["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    here.put(first)
    assert neighbours.elder(here.cache, second) == first["metadata"]["name"]
    assert neighbours.elder(here.cache, first) is None
    here.decide(first["metadata"]["name"])
    after = here.get("Evaluation", first["metadata"]["name"])
    assert key_of(second) in neighbours.wakes(key_of(after), here.cache, first, after)
    here.put(first)
    of_served = next(each for each in here.evaluations if each["spec"]["run"] == "run-3")
    report = {"uri": "pvc://store/desk/evaluations", "digest": builders.digest("1")}
    here.put(of_served | {"status": of_served["status"] | {"report": report}})
    assert neighbours.elder(here.cache, second) is None, "both may be measured at the same time"
    changed = copy.deepcopy(second)
    changed["spec"]["suites"][0]["digest"] = builders.digest("9")
    assert neighbours.elder(here.cache, changed) == first["metadata"]["name"]


NOTHING_MET: Object = {"criterion": "no-worse", "outcome": "Failed"}


@pytest.mark.parametrize(
    ("reason", "more", "served", "told"),
    [
        ("CriterionFailed", [], ["first"], ("False", "NothingBefore", "Available")),
        (
            "CriterionFailed",
            [{"criterion": "good", "outcome": "Passed"}],
            ["first"],
            ("False", "NothingBefore", "Available"),
        ),
        (
            "CriterionFailed",
            [{"criterion": "good", "outcome": "Failed"}],
            ["first"],
            ("False", "GateFailed", "Degraded"),
        ),
        (
            "CriterionFailed",
            [{"criterion": "good", "outcome": "Error"}],
            ["first"],
            ("False", "GateFailed", "Degraded"),
        ),
        ("RowsLeaked", [], ["first"], ("False", "GateFailed", "Degraded")),
        ("CriterionFailed", [], ["first", "second"], ("False", "GateFailed", "Degraded")),
    ],
)
def test_what_was_the_first_needs_nobody_where_a_gate_fails_that_nothing_was_before(
    reason: str, more: list[Object], served: list[str], told: tuple[str, str, str]
) -> None:
    here = Stage(succeeded())
    here.judge()
    here.until(lambda: here.serves("first"))
    if "second" in served:
        here.put(succeeded("second", 2))
        here.judge()
        here.until(lambda: here.serves("second"))
    here.change("EvalGate", "good", criteria=[GOOD, NO_WORSE | {"whenAbsent": "Fail"}])
    here.go_on()
    assert here.phase == "Available"
    here.look()
    for each in here.evaluations:
        if "verdict" not in each.get("status", {}):
            here.fail(each["metadata"]["name"], NOTHING_MET, *more, reason=reason)
    here.look()
    for _ in range(3):
        here.go_on()
    assert (*gated(here), here.phase) == told
    assert speaks(here.said("Gated")["reason"], here.said("Gated")["message"])
    assert here.told_status["serving"]["run"] == served[-1]
    if told[1] == "NothingBefore":
        assert "create another run" not in str(here.told_status["conditions"])
        here.put(succeeded("third", 3))
        here.judge()
        here.until(lambda: here.serves("third"))
        assert gated(here) == ("True", "Passed"), "it was compared with the first"
