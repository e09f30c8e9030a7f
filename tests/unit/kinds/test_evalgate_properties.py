"""Any order of events, stale views, a crash between any two writes: what an EvalGate promises holds."""

import copy
import itertools
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stagecoach.api.evaluation import EvaluationSpec
from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.gate_status import EvalGateStatus
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.digests import short
from stagecoach.kinds.evalgate import asked
from stagecoach.kinds.evalgate.reconcile import CONTROLLER
from stagecoach.kinds.evaluation import document
from stagecoach.kinds.plan import Object, Plan
from stagecoach.policies.admission import GateState
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.gates import ASKING, Hall, gate_word, succeeded
from tests.unit.kinds.test_gate_deployments import deployment
from tests.unit.kinds.world import SETTINGS

RUNS = {f"run-{number}": succeeded(f"run-{number}", number) for number in range(1, 6)}
EXPERIMENT = succeeded("trial", 9, purpose="Experiment")
VERDICTS = st.sampled_from(["Passed", "Failed", "Inconclusive", "Error"])
# Of which nobody has to do anything; an Evaluation's own words are held to that elsewhere.
QUIET = {
    GateState.PASSED,
    GateState.JUDGING,
    GateState.WAITING,
    GateState.FAILED,
    GateState.INCONCLUSIVE,
    GateState.ERROR,
}
ENDS = QUIET - {GateState.JUDGING, GateState.WAITING}
GOOD = builders.gate()["spec"]["criteria"][0]
NO_WORSE: Object = {"name": "no-worse", "suite": "held-out", "metric": "accuracy", "against": "Incumbent"}
NO_WORSE |= {"allowedDrop": {"absolute": 0.03}}


class EvalGates(RuleBasedStateMachine):
    """A gate, its project and the project's runs, and Evaluations that come to their verdicts somehow."""

    def __init__(self) -> None:
        super().__init__()
        self.hall = Hall(EXPERIMENT, newest=3, maxConcurrent=2)
        self.decided: dict[str, Object] = {}  # by uid, as each was when it was decided
        self.plans: list[tuple[str, Plan]] = []  # of former leaders, with the version that they were made for
        self.uids = 0

    # What the operator does.

    @rule(writes=st.integers(0, 3))
    def the_operator_looks_and_may_crash(self, writes: int) -> None:
        plan = self._plan()
        self._carry_out(plan, writes, late=False)

    @rule()
    def a_leader_decides_and_freezes(self) -> None:
        self.plans.append((self.hall.gate["metadata"]["resourceVersion"], self._plan()))

    @rule()
    @precondition(lambda self: self.plans)
    def what_it_had_in_hand_arrives(self) -> None:
        """StaleWriterHarmless: the status is refused, and with it all that would follow."""
        version, plan = self.plans.pop()
        same = version == self.hall.gate["metadata"]["resourceVersion"]
        if plan.status == self.hall.status or same:
            self._carry_out(plan, 3, late=True)

    def _plan(self) -> Plan:
        plan = CONTROLLER.reconcile(self.hall.cache, copy.deepcopy(self.hall.gate), self.hall.now, SETTINGS)
        self._check(plan)
        return plan

    def _carry_out(self, plan: Plan, writes: int, *, late: bool) -> None:
        changed = plan.status is not None and plan.status != self.hall.status
        going_on = self._going_on()
        if not late:
            assert not plan.create or len(going_on) + len(plan.create) <= self.hall.gate["spec"]["maxConcurrent"]
        made = plan.create[: max(0, writes - changed)]
        self.hall.carry_out(replace(plan, status=plan.status if writes else None, create=made))

    def _check(self, plan: Plan) -> None:
        """A gate writes nothing but its own status and new Evaluations, and of the same key one."""
        assert not plan.delete
        assert {item["kind"] for item in plan.create} <= {"Evaluation"}
        # VerdictIsFinal: an Evaluation is made without a status, and the gate patches none.
        assert all("status" not in item for item in plan.create)
        told = {field.alias or name for name, field in EvalGateStatus.model_fields.items()}
        assert plan.status is None or set(plan.status) <= told
        keys = [item["spec"]["key"] for item in plan.create]
        assert len(keys) == len(set(keys)), "NothingTwice"
        assert "trial" not in {item["spec"]["run"] for item in plan.create}
        for item in plan.create:
            name, spec = item["metadata"]["name"], item["spec"]
            # The name is of the key: what another leader makes meanwhile is refused as there already.
            assert name == f"{spec['gate']}-{short(spec['key'])}"
            assert name not in self._names("Evaluation")
            known = EvaluationSpec.model_validate(spec)
            project = TransformerProject.model_validate(self.hall.get("TransformerProject", "desk"))
            assert document.inputs(known, project).digest == spec["key"]

    def _going_on(self) -> list[Object]:
        return [item for item in self.hall.evaluations if "completionTime" not in item.get("status", {})]

    # What everybody else does.

    @rule(name=st.sampled_from(sorted(RUNS)))
    def a_run_succeeds(self, name: str) -> None:
        if name not in self._names("FineTuneRun"):
            run = copy.deepcopy(RUNS[name])
            run["metadata"]["uid"] = self._uid(name)
            self.hall.put(run)

    @rule(name=st.sampled_from(sorted(RUNS)))
    def somebody_deletes_a_run(self, name: str) -> None:
        if name in self._names("FineTuneRun"):
            self.hall.remove("FineTuneRun", name)

    @rule(data=st.data(), verdict=VERDICTS)
    @precondition(lambda self: self._going_on())
    def an_evaluation_is_decided(self, data: st.DataObject, verdict: str) -> None:
        name = data.draw(st.sampled_from(sorted(item["metadata"]["name"] for item in self._going_on())))
        self.hall.decide(name, verdict)
        made = self.hall.get("Evaluation", name)
        self.decided[made["metadata"]["uid"]] = copy.deepcopy(made)

    @rule(data=st.data())
    @precondition(lambda self: self.hall.evaluations)
    def somebody_deletes_an_evaluation(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self._names("Evaluation"))))
        self.hall.remove("Evaluation", name)

    @rule(
        bound=st.sampled_from([0.7, 0.8, 80.0]),
        concurrent=st.integers(1, 3),
        absent=st.sampled_from([None, "Skip", "Fail"]),
    )
    def somebody_edits_the_gate(self, bound: float, concurrent: int, absent: str | None) -> None:
        criteria = [GOOD | {"min": bound}, *([NO_WORSE | {"whenAbsent": absent}] if absent else [])]
        self.hall.change("EvalGate", "good", criteria=criteria, maxConcurrent=concurrent)

    @rule(name=st.sampled_from(["desk", "shop"]), run=st.sampled_from(sorted(RUNS)))
    def a_deployment_serves_another_run(self, name: str, run: str) -> None:
        if run not in self._names("FineTuneRun"):
            return
        made = self.hall.get("FineTuneRun", run)
        release = gate_word(self.hall.cache, ASKING, "good", FineTuneRun.model_validate(made), SETTINGS).release
        if release:
            before = self._deployment(name).get("status", {}).get("history", [])
            served = {"run": run, "release": release, "runCreated": made["metadata"]["creationTimestamp"]}
            changed = before if before and before[0]["release"] == release else [{"release": release}, *before]
            self.hall.put(deployment(name) | {"status": {"serving": served, "history": changed[:3]}})

    def _deployment(self, name: str) -> Object:
        return self.hall.get("ModelDeployment", name) if name in self._names("ModelDeployment") else deployment(name)

    @rule(letter=st.sampled_from(["1", "e"]), dataset=st.sampled_from(["train", "test"]))
    def data_change(self, letter: str, dataset: str) -> None:
        if "desk" in self._names("TransformerProject"):
            found = copy.deepcopy(self.hall.get("TransformerProject", "desk"))
            for item in found["status"]["datasets"]:
                if item["name"] == dataset:
                    item["digest"] = builders.digest(letter)
            self.hall.put(found)

    @rule(ready=st.booleans())
    def the_project_comes_and_goes(self, ready: bool) -> None:
        self._project(ready)

    def _project(self, ready: bool) -> None:
        there = "desk" in self._names("TransformerProject")
        if not ready and there:
            self.hall.remove("TransformerProject", "desk")
        if ready and not there:
            project = builders.ready_project()
            project["metadata"]["uid"] = self._uid("desk")
            self.hall.put(project)

    def _uid(self, name: str) -> str:
        self.uids += 1
        return f"{name}-{self.uids}"

    def _names(self, kind: str) -> set[str]:
        return {key.name for key in self.hall.objects if key.kind == kind}

    # What must hold.

    @invariant()
    def the_verdict_is_final(self) -> None:
        """VerdictIsFinal: whatever becomes of gate, run and data, what was decided stays as it was."""
        for item in self.hall.evaluations:
            before = self.decided.get(item["metadata"]["uid"])
            assert before is None or (item["spec"], item["status"]) == (before["spec"], before["status"])

    @invariant()
    def nothing_twice(self) -> None:
        """NothingTwice: of the same key there is one Evaluation."""
        keys = {item["metadata"]["name"]: item["spec"]["key"] for item in self.hall.evaluations}
        assert len(keys) == len(set(keys.values()))
        assert "trial" not in {item["spec"]["run"] for item in self.hall.evaluations}

    @invariant()
    def what_it_says_to_deployments_follows_from_what_it_asks_for_now(self) -> None:
        """Passed is said of what has passed by just this text, these rows and this data, and what is not well speaks."""
        for name in self._names("FineTuneRun") - {"trial"}:
            run = self.hall.get("FineTuneRun", name)
            word = gate_word(self.hall.cache, ASKING, "good", FineTuneRun.model_validate(run), SETTINGS)
            assert word.state in QUIET or speaks(word.reason, word.message), word
            if word.state is GateState.PASSED:
                made = self.hall.get("Evaluation", word.evaluation)
                assert made["status"]["verdict"] == "Passed"
                assert made["spec"]["criteria"] == self.hall.gate["spec"]["criteria"]
                assert made["spec"]["release"]["artifact"] == run["status"]["artifact"]["digest"]
                now = {each["name"]: each["digest"] for each in self._project_now["status"]["datasets"]}
                used = [*made["spec"]["suites"], *made["spec"]["trainedOn"]]
                assert all(now[each.get("dataset", each["name"])] == each["digest"] for each in used)

    @invariant()
    def each_deployment_is_told_of_what_has_passed_beside_what_it_serves(self) -> None:
        """Passed beside another is not said, and nothing is compared with itself."""
        for each, name in itertools.product(("desk", "shop"), self._names("FineTuneRun") - {"trial"}):
            here, run = self._deployment(each), FineTuneRun.model_validate(self.hall.get("FineTuneRun", name))
            word = gate_word(self.hall.cache, here, "good", run, SETTINGS)
            assert word.state in QUIET or speaks(word.reason, word.message), word
            if word.state is GateState.PASSED:
                made = self.hall.get("Evaluation", word.evaluation)["spec"]
                serving, before = asked.served(here)
                reference = before if word.release == serving else serving
                beside = made.get("incumbent", {}).get("release", {}).get("digest")
                compares = any(item.get("against") == "Incumbent" for item in made["criteria"])
                assert beside == (reference if compares else None)
                assert beside != made["release"]["digest"]

    @property
    def _project_now(self) -> Object:
        return self.hall.get("TransformerProject", "desk")

    @invariant()
    def every_failure_speaks(self) -> None:
        """EveryFailureSpeaks: why, and what to do about it."""
        ready = self.hall.condition()
        if ready:
            assert ready["status"] == "True" or speaks(ready["reason"], ready["message"]), ready
        others = {kind: self.hall.condition(kind).get("status") for kind in ("Reconciling", "Stalled")}
        phase = self.hall.status.get("phase")
        expected = {"Blocked": ("True", None), "Incomplete": (None, "True")}.get(str(phase), (None, None))
        assert tuple(others.values()) == expected, "what kstatus reads"
        for item in self.hall.status.get("unjudged", []):
            assert speaks(item["reason"], item["message"]), item

    def teardown(self) -> None:
        """NothingStuck: when the accidents stop, each of the newest candidates comes to a verdict."""
        hall = self.hall
        self._project(False)
        self._project(True)
        hall.change("EvalGate", "good", criteria=[GOOD], maxConcurrent=1)
        for _ in range(40):
            hall.look()
            for item in self._going_on():
                hall.decide(item["metadata"]["name"])
        hall.look()
        newest = sorted(self._names("FineTuneRun") - {"trial"})[-3:]
        decided = {item["spec"]["run"] for item in hall.evaluations if "completionTime" in item["status"]}
        assert set(newest) <= decided
        said = [FineTuneRun.model_validate(hall.get("FineTuneRun", name)) for name in newest]
        assert all(gate_word(hall.cache, ASKING, "good", run, SETTINGS).state in ENDS for run in said)
        assert hall.status["phase"] == "Idle"
        assert hall.condition()["status"] == "True"
        writes = hall.writes
        hall.look()
        assert hall.writes == writes, "a gate that has nothing to do is written no more"


TestEvalGates = EvalGates.TestCase
TestEvalGates.settings = settings(max_examples=80, stateful_step_count=40, derandomize=True)
