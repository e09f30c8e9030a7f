"""Any order of events, a stale leader, a crash between any two writes: what a ModelDeployment promises holds."""

import copy
import itertools
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stagecoach.api.approval import MAX_OVERRIDE
from stagecoach.api.common import duration
from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.sla import Sla
from stagecoach.contract.digests import digest_of_document
from stagecoach.contract.gateway_routes import Routes
from stagecoach.contract.loading import State
from stagecoach.contract.times import moment
from stagecoach.kinds.evalgate.judging import Subject
from stagecoach.kinds.evalgate.untuned import BaseItself
from stagecoach.kinds.modeldeployment.holding import SETTLES
from stagecoach.kinds.modeldeployment.retiring import LINGERS
from stagecoach.kinds.plan import key_of
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds import spares
from tests.unit.kinds.deployment_cases import FOLLOW, leads_base, leads_unjudged
from tests.unit.kinds.deployment_scenes import MISSING
from tests.unit.kinds.deployments import Stage, project
from tests.unit.kinds.gates import gate_word, succeeded
from tests.unit.kinds.spares import NUMBERS, SLOW, Numbers
from tests.unit.kinds.test_deployment_access import knows_clients

CANARY = {"canary": {"steps": [{"weight": 10, "hold": "1m", "minRequests": 5}, {"weight": 50, "hold": "1m"}]}}
GOOD = builders.gate()["spec"]["criteria"][0]
NO_WORSE: builders.Object = {"name": "no-worse", "suite": "held-out", "metric": "accuracy", "against": "Incumbent"}
NO_WORSE |= {"allowedDrop": {"absolute": 0.03}}
OTHER = builders.digest("e")  # a tokenizer that gateways do not know yet
RUNS = [succeeded("first", 1), succeeded("second", 2), succeeded("third", 3, OTHER), succeeded("whole", 4)]
RUNS[3]["status"]["artifact"]["type"] = "Model"
NAMES = [run["metadata"]["name"] for run in RUNS]
LOAD = {"requestsPerSecond": 10, "promptTokens": 60, "outputTokens": 8, "duration": "30s"}
SLA = {"p99": "1500ms", "load": LOAD}
QA = "qa@example.com"
BAD: builders.Object = {"output": {"schema": {"type": "nonsense"}}}
SPECS = st.sampled_from(
    [
        {"rollout": None},
        {"rollout": CANARY},
        {"rollout": CANARY | {"rollbackWindow": 1}},
        {"rollout": {"rollbackWindow": 2}},
        {"replicas": 2},
        {"replicas": 1},
        {"replicas": 0},
        {"autoscaling": {"max": 3, "waitingRequests": 4}},
        {"autoscaling": None},
        {"engine": {"maxConcurrent": 8}},
        {"engine": {}},
        {"contract": {"timeout": "10s"}},
        {"contract": BAD},
        {"contract": {"output": {"schema": {"type": "object"}}}},
        {"model": {"latest": {}}},
        {"model": {"run": "first"}},
        {"model": {"run": "second"}},
        {"model": {"run": "nobody"}},
        {"model": {"candidate": "small"}},
        {"model": {"candidate": "first"}},
        {"model": FOLLOW},
        {"gateway": {"replicas": 2}},
        {"sla": SLA},
        {"sla": SLA | {"p99": "2s"}},
        {"sla": None},
        {"access": {"apiKeys": {"name": "clients"}}},
        {"access": {"apiKeys": {"name": "others"}}},
        {"access": None},
        {"sampling": {"claim": {"name": "kept"}, "rate": 1, "redact": []}},
        {"sampling": None},
    ]
)


class Deployments(RuleBasedStateMachine):
    """A ModelDeployment, what it may serve, its children, and everything that can happen to them."""

    spec: ClassVar[builders.Object] = {}

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(RUNS[0], **self.spec)
        self.seen_routes = self.seen_versions = self.seen_tested = 0
        self.passed: set[str] = set()  # releases that every gate has ever passed
        self.deleted = False  # somebody has deleted a Job: before it has a pod it is made again
        self.made: dict[str, builders.Object] = {}  # every decision that anybody made, by uid

    @rule(age=st.integers(0, 3), writes=st.integers(0, 12))
    def the_operator_looks_and_may_crash(self, age: int, writes: int) -> None:
        """StaleWriterHarmless: so does a former leader, which knows an older version, and all else here holds."""
        self.stage.serve(age, writes)

    @rule()
    def the_operator_looks(self) -> None:
        self.stage.serve()

    @initialize(served=st.sampled_from(["", "first", "small"]))
    def it_begins(self, served: str) -> None:
        if served == "small":
            self.stage.change("ModelDeployment", "answers", model={"candidate": "small"})
        for _ in range(2):  # the gate judges one after the other
            self.stage.judge()
        if served == "small":
            self.stage.until(lambda: self.stage.told_status.get("serving", {}).get("base") == "small")
        elif served:
            self.stage.until(lambda: self.stage.serves("first"))

    @rule(rounds=st.integers(1, 8), run=st.sampled_from([None, *RUNS]))
    def all_goes_well_for_a_while(self, rounds: int, run: builders.Object | None) -> None:
        self.mended()
        if run is not None:
            self.bring(run)
        self.stage.judge()
        for _ in range(rounds):
            self.stage.go_on()
            self.stage.ask()

    @rule(rounds=st.integers(1, 8), failing=st.sampled_from([False, False, True]))
    def steps_are_taken(self, rounds: int, failing: bool) -> None:
        for _ in range(rounds):
            self.stage.wait(31)
            for _ in range(2):
                self.stage.go_on()
            self.stage.ask(failing=failing)

    @rule()
    def pods_are_made(self) -> None:
        self.stage.control()

    @rule(state=st.sampled_from([State.ANSWERS, State.ANSWERS, State.ANSWERS, State.FAILED]))
    def loaders_come_to_an_end(self, state: State) -> None:
        self.stage.turn(state)
        self.stage.control()

    @rule(reach=st.sampled_from([NUMBERS, NUMBERS, SLOW, None]))
    def load_tests_measure_something_else(self, reach: Numbers | None) -> None:
        self.stage.reach = reach

    @rule(code=st.sampled_from([0, 70, 137]))
    def a_load_test_ends_without_numbers(self, code: int) -> None:
        spares.end(self.stage, exitCode=code)

    @rule(requests=st.sampled_from([1, 100]), failing=st.booleans())
    def clients_ask(self, requests: int, failing: bool) -> None:
        self.stage.ask(requests, failing=failing)

    @rule(waiting=st.sampled_from([None, 0, 5, 50]))
    def requests_wait(self, waiting: int | None) -> None:
        for loader in self.stage.loaders.values():
            loader.waiting = waiting

    @rule(run=st.sampled_from(RUNS))
    def a_run_succeeds(self, run: builders.Object) -> None:
        self.bring(run)

    @rule(name=st.sampled_from(NAMES), hours=st.sampled_from([0, 30]))
    def another_deployment_serves(self, name: str, hours: int) -> None:
        """Which this one may follow: what that was let in by counts for nothing here."""
        if name in self.runs() and any(each["spec"].get("run") == name for each in self.stage.evaluations):
            leads_unjudged(self.stage, name, hours)

    @rule(hours=st.sampled_from([0, 30]))
    def another_deployment_serves_a_base_itself(self, hours: int) -> None:
        """As far as a gate has ever judged it."""
        leads_base(self.stage, hours)

    @rule(name=st.sampled_from(NAMES))
    @precondition(lambda self: len(self.runs()) > 1)
    def a_run_is_deleted(self, name: str) -> None:
        if name in self.runs():
            self.stage.remove("FineTuneRun", name)

    @rule(verdict=st.sampled_from(["Passed", "Passed", "Failed"]))
    def the_gate_judges(self, verdict: str) -> None:
        if self.gate():
            self.stage.judge(verdict)

    @rule(score=st.sampled_from([0.99, 0.5]))
    def the_gate_changes(self, score: float) -> None:
        if self.gate():
            self.stage.change("EvalGate", "good", minScored=score)

    @rule(when_absent=st.sampled_from([None, "Skip", "Fail"]))
    def the_gate_compares_with_what_is_served_or_not(self, when_absent: str | None) -> None:
        if self.gate():
            self.compare(when_absent)

    def compare(self, when_absent: str | None) -> None:
        compared = [NO_WORSE | {"whenAbsent": when_absent}] if when_absent else []
        self.stage.change("EvalGate", "good", criteria=[GOOD, *compared])

    @rule()
    def the_gate_comes_and_goes(self) -> None:
        if self.gate():
            self.stage.remove("EvalGate", "good")
        else:
            self.bring(builders.stored(builders.gate()))

    @rule(how=st.sampled_from(["gone", "there", "not ready", "other prompt", "other base", "no base", "Transformers"]))
    def the_project_comes_and_goes(self, how: str) -> None:
        changed = project(**({"engine": "Transformers"} if how == "Transformers" else {}))
        if how == "gone":
            if any(key.kind == "TransformerProject" for key in self.stage.objects):
                self.stage.remove("TransformerProject", "desk")
            return
        if how == "not ready":
            changed["status"]["conditions"][0]["status"] = "False"
        if how == "other prompt":
            changed["spec"]["tokenization"]["maxLength"] = 64
        if how == "other base":
            changed["status"]["candidates"][0]["model"] = builders.digest("d")
        if how == "no base":
            changed["spec"]["candidates"][0]["name"] = changed["status"]["candidates"][0]["name"] = "other"
        self.bring(changed)

    @rule(spec=SPECS)
    def the_spec_changes(self, spec: dict[str, Any]) -> None:
        deployment = copy.deepcopy(self.stage.deployment)
        deployment["spec"] |= spec
        deployment["spec"] = {name: value for name, value in deployment["spec"].items() if value is not None}
        deployment["metadata"]["generation"] += 1
        self.stage.put(deployment)

    @rule(data=st.data())
    @precondition(lambda self: self.stage.children)
    def somebody_deletes_a_child(self, data: st.DataObject) -> None:
        kind, name = data.draw(st.sampled_from(sorted(self.stage.children)))
        self.deleted |= kind in ("Job", "Pod")
        self.stage._gone((kind, name))

    @rule(part=st.sampled_from(["serving", "serving", "candidate"]))
    def somebody_deletes_a_document(self, part: str) -> None:
        self.lose_document(part)

    def lose_document(self, part: str) -> None:
        at = "ConfigMap", self.stage.told_status.get(part, {}).get("admitted", "")
        if at in self.stage.children:
            self.stage._gone(at)

    @rule(run=st.sampled_from(RUNS[:3]), document=st.booleans())
    def routes_cannot_be_made_beside_a_candidate(self, run: builders.Object, document: bool) -> None:
        self.mended()
        self.bring(run)
        self.stage.judge()
        for _ in range(8):
            if "weight" not in self.stage.told_status.get("candidate", {}):
                self.stage.go_on()
        if document:
            self.lose_document("serving")
        else:
            self.stage.change("ModelDeployment", "answers", contract=BAD)
        self.all_gateways_hear()

    @rule()
    def all_gateways_are_told(self) -> None:
        self.all_gateways_hear()

    def all_gateways_hear(self) -> None:
        """NoUngatedTraffic: what was dropped, rejected or revoked has no part of the requests any more.

        Whatever became of documents and spec, while somebody knows what gateways were told last.
        """
        self.stage.silent, self.stage.refuses = set(), lambda _: False
        for _ in range(6):
            self.stage.go_on()
        status = self.stage.told_status
        for routes in self.stage.routes() if ("ConfigMap", "answers-routes") in self.stage.children else ():
            assert routes.stable is None or "serving" in status
            assert routes.candidate is None or routes.candidate.target.release == status["candidate"]["release"]

    @rule(data=st.data())
    @precondition(lambda self: self.stage.doors)
    def a_gateway_begins_anew_or_falls_silent(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(self.stage.doors)))
        if data.draw(st.booleans()):
            self.stage.restart(uid)
        else:
            self.stage.silent ^= {uid}

    @rule(
        what=st.sampled_from(
            ["", "Deployment", "ConfigMap", "Service", "NetworkPolicy", "Secret", "Job", "-e-", "gateway"]
        )
    )
    def the_cluster_refuses(self, what: str) -> None:
        self.stage.refuses = lambda obj: bool(what) and (obj["kind"] == what or what in obj["metadata"]["name"])

    @rule(stuck=st.booleans())
    def newer_gateways_start_or_do_not(self, stuck: bool) -> None:
        self.stage.stuck = {"answers-gateway": MISSING} if stuck else {}

    @rule()
    def another_process_leads(self) -> None:
        self.stage.forget()

    @rule()
    def the_operator_was_away(self) -> None:
        self.stage.wait(7200)
        self.stage.forget()

    @rule(seconds=st.sampled_from([1, 30, 130, 700, 2000]))
    def time_passes(self, seconds: int) -> None:
        self.stage.wait(seconds)

    # What must hold.

    @invariant()
    def every_verdict_is_noted(self) -> None:
        for each in self.stage.evaluations:
            if each.get("status", {}).get("verdict") == "Passed":
                self.passed.add(each["spec"]["release"]["digest"])

    @invariant()
    def no_ungated_traffic(self) -> None:
        """NoUngatedTraffic: of no release were gateways told that no gate has passed; and it was admitted by that."""
        for routes in self.new_routes():
            for target in routes.targets:
                assert target.release in self.passed or self.let_in(target.release)
                statuses = [version.get("status", {}) for version in self.stage.versions]
                told = [status[part] for status in statuses for part in ("serving", "candidate") if part in status]
                admitted = [each for each in told if each["release"] == target.release]
                assert admitted, "it stood in the status first"
                assert all({gate["gate"] for gate in each.get("gates", ())} == {"good"} for each in admitted) or (
                    self.let_in(target.release)
                )

    @invariant()
    def what_is_admitted_has_passed_by_what_gates_ask_then(self) -> None:
        """NoUngatedTraffic: nothing has happened since it was admitted, and its gates say so by their keys of now.

        A gate that compares has judged it beside what is served as it is admitted; or as it was when it was served.
        """
        stage = self.stage
        for before, after in itertools.pairwise(stage.versions[self.seen_versions :]):
            old, new = before.get("status", {}), after.get("status", {}).get("candidate")
            known = {old[part]["release"] for part in ("serving", "candidate") if part in old}
            if new is None or new["release"] in known or self.is_let_in(new):
                continue
            of = self.subject(new)
            words = [gate_word(stage.cache, before, each["gate"], of, stage.settings) for each in new["gates"]]
            assert {each["gate"] for each in new["gates"]} == {each["name"] for each in after["spec"]["gates"]}
            assert all(word.passed(new["release"]) for word in words)
            assert [word.key for word in words] == [each["key"] for each in new["gates"]]
            for each in new["gates"]:
                judged = stage.get("Evaluation", each["evaluation"])["spec"]
                beside = judged.get("incumbent", {}).get("release", {}).get("digest")
                compares = any(item.get("against") == "Incumbent" for item in judged["criteria"])
                now = stage.get("EvalGate", each["gate"])["spec"]
                assert (judged["criteria"], judged["minScored"]) == (now["criteria"], now.get("minScored", 0.99))
                assert [{name: item[name] for name in ("name", "dataset", "type")} for item in judged["suites"]] == (
                    now["suites"]
                )
                served = old.get("serving", {}).get("release") if compares else None
                assert beside == served or self.may_come_back(before, new, each)
        self.seen_versions = len(stage.versions) - 1

    @invariant()
    def a_base_itself_has_neither_artifact_nor_run(self) -> None:
        """NoUngatedTraffic: what answers for a release is one of both, a run with its artifact or a base."""
        for version in self.stage.versions[-2:]:
            for part in ("serving", "candidate"):
                told = version.get("status", {}).get(part, {})
                assert ("run" in told) == ("artifact" in told) == ("runCreated" in told)
                assert not told or ("run" in told) != ("base" in told)

    @invariant()
    def a_base_itself_takes_over_only_where_it_is_meant(self) -> None:
        """NoUngatedTraffic: as the spec names it then, or for what was revoked; `latest` never means one."""
        for before, after in itertools.pairwise(self.stage.versions):
            old, new = before.get("status", {}), after.get("status", {}).get("serving", {})
            if "base" not in new or new["release"] == old.get("serving", {}).get("release"):
                continue
            model = before["spec"]["model"]
            named = model.get("candidate") == new["base"] or not {"release", "follow"}.isdisjoint(model)
            stands_in = "serving" not in old and "revoked" in old
            assert named or (stands_in and new["release"] in {each["release"] for each in old["history"]})

    @invariant()
    def no_untested_traffic(self) -> None:
        """NoUngatedTraffic: with an SLA the first requests of a release come after a load test that has met it."""
        versions = self.stage.versions[self.seen_tested :]
        self.seen_tested += len(versions) - 1
        for before, after in itertools.pairwise(versions):
            old, new = before.get("status", {}), after.get("status", {})
            if old == new or "sla" not in before["spec"]:
                continue
            asked = digest_of_document(Sla.model_validate(before["spec"]["sla"]).beside_defaults())
            met = {(each["release"], each["engine"]) for each in new["sla"] if each["met"] and each["asked"] == asked}
            serving, candidate = new.get("serving"), new.get("candidate", {})
            known = old.get("serving", {})
            if serving and any(serving[name] != known.get(name) for name in ("release", "engine")):
                assert (serving["release"], serving["engine"]) in met or self.is_rescue(old, serving)
            assert "weight" not in candidate or (candidate["release"], candidate["engine"]) in met

    @invariant()
    def no_test_is_made_twice(self) -> None:
        """NothingTwice: a Job tests what stood in the status first, and no two have one identity."""
        identities = [test.identity for test in self.stage.tests]
        assert len(identities) == len(set(identities)) or self.deleted
        statuses = [version.get("status", {}) for version in self.stage.versions]
        told = {
            status["candidate"]["loadTest"]["job"] for status in statuses if "loadTest" in status.get("candidate", {})
        }
        assert {job["metadata"]["name"] for job in self.stage.of_kind("Job")} <= told

    @invariant()
    def the_incumbent_stays(self) -> None:
        """IncumbentStays: what is served leaves for nothing but what was the candidate, and answered."""
        statuses = [version.get("status", {}) for version in self.stage.versions]
        for before, after in itertools.pairwise(statuses):
            old, new = before.get("serving"), after.get("serving")
            assert new is not None or old is None or self.is_taken_out(old, after)
            if old is not None and new is not None and new["release"] != old["release"]:
                assert before["candidate"]["release"] == new["release"]
            used = {each["engine"] for each in (after.get("serving"), after.get("candidate")) if each}
            assert not used & {each["name"] for each in after.get("retiring", ())}

    @invariant()
    def no_step_is_skipped(self) -> None:
        """IncumbentStays: where requests are given by steps, what takes over has been in the last of them."""
        for before, after in itertools.pairwise(self.stage.versions):
            old, new = (version.get("status", {}).get("serving") for version in (before, after))
            if old and new and new["release"] != old["release"] and "canary" in before["spec"].get("rollout", {}):
                steps = before["spec"]["rollout"]["canary"]["steps"]
                assert before["status"]["candidate"]["step"] >= len(steps) - 1

    @invariant()
    def each_step_lasts_its_hold(self) -> None:
        """IncumbentStays: what goes on from a step had its weight from gateways for as long as the step asks."""
        for before, after in itertools.pairwise(self.stage.versions):
            old, new = before.get("status", {}), after.get("status", {})
            known, candidate = old.get("candidate", {}), new.get("candidate", {})
            served, is_served = (each.get("serving", {}).get("release") for each in (old, new))
            if "step" not in known or "canary" not in before["spec"].get("rollout", {}) or served is None:
                continue
            steps = before["spec"]["rollout"]["canary"]["steps"]
            hold = steps[min(known["step"], len(steps) - 1)]["hold"]
            lasts = SETTLES if hold == "Manual" else duration(hold)
            if candidate.get("step", 0) > known["step"]:
                assert moment(candidate["stepSince"]) - moment(known["weightSince"]) >= lasts
            elif served != is_served == known["release"]:
                assert moment(new["serving"]["since"]) - moment(known["weightSince"]) >= lasts

    @invariant()
    def what_was_the_first_needs_nobody(self) -> None:
        """Of what serves nothing is made of that nothing was served before it."""
        conditions = self.stage.told_status.get("conditions", ())
        told: builders.Object = next((each for each in conditions if each["type"] == "Gated"), {})
        for each in self.stage.evaluations if told.get("reason") == "GateFailed" else ():
            results = each.get("status", {}).get("results")
            absent = results and "incumbent" not in each["spec"]
            assert each["metadata"]["name"] not in told["message"] or not absent, "it failed for want of another"

    @invariant()
    def nobody_is_refused_for_want_of_clients(self) -> None:
        """IncumbentStays: a gateway that asks for keys has those of clients, and nobody says that it asks if not."""
        assert knows_clients(self.stage)

    @invariant()
    def revisions_only_grow(self) -> None:
        """StaleWriterHarmless: no revision stands for two things, and none goes back."""
        known: dict[int, str] = {}
        for routes in self.stage.told:
            assert known.setdefault(routes.revision, routes.digest) == routes.digest
        told = [version.get("status", {}).get("routes", {}).get("revision", 0) for version in self.stage.versions]
        assert told == sorted(told)

    @invariant()
    def nothing_is_made_without_an_intent(self) -> None:
        """What spends stands in the status first."""
        statuses = [version.get("status", {}) for version in self.stage.versions]
        told = [status[part] for status in statuses for part in ("serving", "candidate") if part in status]
        engines, documents = {each["engine"] for each in told}, {each["admitted"] for each in told}
        for each in self.stage.of_kind("Deployment"):
            assert each["metadata"]["name"] in engines | {"answers-gateway"}
        for each in self.stage.of_kind("ConfigMap"):
            assert each["metadata"]["name"] in documents | engines | {"answers-routes", "answers-contract"}

    @invariant()
    def every_failure_speaks(self) -> None:
        """EveryFailureSpeaks: what is not well says why, and what to do; and others read the same of it."""
        status = self.stage.told_status
        conditions = {each["type"]: each for each in status.get("conditions", ())}
        if not conditions:
            return
        for each in conditions.values():
            assert each["status"] == "True" or speaks(each["reason"], each["message"]), each
        for each in status.get("rejected", ()):
            assert speaks(each["reason"], each["message"]), each
        assert "Stalled" not in conditions or speaks(conditions["Stalled"]["reason"], conditions["Stalled"]["message"])
        well = status["phase"] in ("Available", "Progressing", "Degraded")
        gone = conditions["Ready"]["reason"] == "AdmittedMissing"
        assert (conditions["Ready"]["status"] == "True") == (well and not gone)
        assert ("serving" in status) == (status["phase"] != "Pending" and "revoked" not in status)
        assert not {"Reconciling", "Stalled"} <= conditions.keys()
        assert {"Reconciling", "Stalled"} & conditions.keys() or "candidate" not in status

    def teardown(self) -> None:
        """NothingStuck: when the accidents stop, the newest run is served, and nothing else is left."""
        stage = self.stage
        self.mended()
        self.bring(RUNS[0])
        deployment = copy.deepcopy(stage.deployment)
        deployment["spec"] |= {"model": {"latest": {}}, "replicas": 1, "contract": {"timeout": "7s"}}
        deployment["spec"].pop("autoscaling", None)
        deployment["metadata"]["generation"] += 1
        stage.put(deployment)
        stage.put(succeeded("last", 9))
        for _ in range(30):
            if "serving" not in stage.told_status:
                self.compare("Skip")  # by Fail, nothing may be the first
            stage.judge()
            stage.wait(61)
            self.people_help()
            for _ in range(4):
                stage.go_on()
                stage.ask()
            if stage.serves("last"):
                break
        assert stage.serves("last"), (stage.told_status, stage.events[-5:])
        stage.until(lambda: not stage.told_status["retiring"], LINGERS.total_seconds())
        stage.go_on()
        stage.go_on()
        engines = [each["metadata"]["name"] for each in stage.of_kind("Deployment")]
        assert sorted(engines) == sorted([stage.told_status["serving"]["engine"], "answers-gateway"])
        assert {routes.stable.release for routes in stage.routes() if routes.stable} == {
            stage.told_status["serving"]["release"]
        }
        versions = len(stage.versions)
        stage.go_on(15)
        stage.go_on(15)
        assert len(stage.versions) == versions, "what rests is written no more"

    # What people have decided.

    def let_in(self, release: str) -> bool:
        """Whether somebody who may has ever let a release be served whatever gates say."""
        made = self.made.items()
        return any(each["spec"]["release"] == release and self.counts(uid, "Override") for uid, each in made)

    def is_let_in(self, admitted: builders.Object) -> bool:
        """Whether what was admitted was so because somebody who may has let it be, for a day at most."""
        by = admitted.get("override")
        if by is None:
            return False
        made = self.made[by["uid"]]
        assert made["spec"]["release"] == admitted["release"]
        assert self.counts(by["uid"], "Override")
        assert moment(admitted["since"]) < moment(by["until"])
        assert moment(by["until"]) - moment(made["metadata"]["creationTimestamp"]) <= MAX_OVERRIDE
        return True

    def is_taken_out(self, served: builders.Object, after: builders.Object) -> bool:
        """Whether somebody who may has revoked what was served."""
        by = after["revoked"]
        return bool(by["release"] == served["release"] and self.counts(by["uid"], "Revoke"))

    def counts(self, uid: str, decision: str) -> bool:
        """Whether this was decided by who may."""
        spec = self.made[uid]["spec"]
        return (spec["decision"], spec["reviewer"]) == (decision, QA)

    def people_help(self) -> None:
        """Let people do what something waits for: no backup brings back what was deleted here."""
        if "or remove spec.rollout.canary" in self.stage.said("Reconciling").get("message", ""):
            deployment = copy.deepcopy(self.stage.deployment)
            deployment["spec"]["rollout"].pop("canary")
            deployment["metadata"]["generation"] += 1
            self.stage.put(deployment)

    # Helpers.

    def subject(self, served: builders.Object) -> Subject:
        """Return what gates are asked about."""
        if "run" in served:
            return FineTuneRun.model_validate(self.stage.get("FineTuneRun", served["run"]))
        return BaseItself(served["base"], "desk")

    def may_come_back(self, before: builders.Object, new: builders.Object, by: builders.Object) -> bool:
        """Whether somebody names what was lately served, and lets it come back by the verdict of then."""
        spec, history = before["spec"], before["status"].get("history", ())
        model = spec["model"]
        by_name = (new.get("run"), new.get("base")) in ((model.get("run"), None), (None, model.get("candidate")))
        named = by_name or new["release"] == model.get("release")
        releases = list(dict.fromkeys(each["release"] for each in history))
        lately = releases[1 : spec.get("rollout", {}).get("rollbackWindow", 0) + 1]
        served: builders.Object = next((each for each in history if each["release"] == new["release"]), {})
        return named and new["release"] in lately and "override" not in served and by in served["gates"]

    def is_rescue(self, before: builders.Object, serving: builders.Object) -> bool:
        """Whether nobody answered: what was served before comes back, or what is served goes to another engine."""
        if "revoked" in before:
            return serving["release"] in {each["release"] for each in before["history"]}
        lost = ("Loaded", "False") in {(each["type"], each["status"]) for each in before["conditions"]}
        return lost and bool(serving["release"] == before.get("serving", {}).get("release"))

    def mended(self) -> None:
        self.stage.silent, self.stage.stuck, self.stage.reach = set(), {}, NUMBERS
        self.stage.refuses = lambda _: False
        self.bring(project())
        if not self.gate():
            self.bring(builders.stored(builders.gate()))

    def bring(self, obj: builders.Object) -> None:
        """Store an object: as another one, if that of its name was deleted."""
        known = self.stage.objects.get(key_of(obj))
        uid = known["metadata"]["uid"] if known else f"uid-{obj['metadata']['name']}-{self.stage.version}"
        self.stage.put(obj | {"metadata": obj["metadata"] | {"uid": uid}})

    def runs(self) -> set[str]:
        return {key.name for key in self.stage.objects if key.kind == "FineTuneRun"}

    def gate(self) -> bool:
        return any(key.kind == "EvalGate" for key in self.stage.objects)

    def new_routes(self) -> list[Routes]:
        new = self.stage.told[self.seen_routes :]
        self.seen_routes = len(self.stage.told)
        return new


class CanaryDeployments(Deployments):
    """The same, where requests are given by steps."""

    spec: ClassVar[builders.Object] = {"rollout": CANARY}


class DeploymentsWithAnSla(Deployments):
    """The same, where a load test comes first."""

    spec: ClassVar[builders.Object] = {"rollout": CANARY, "sla": SLA}


TestDeployments = Deployments.TestCase
TestDeployments.settings = settings(max_examples=60, stateful_step_count=40, derandomize=True, deadline=None)
TestCanaryDeployments = CanaryDeployments.TestCase
TestCanaryDeployments.settings = settings(max_examples=60, stateful_step_count=40, derandomize=True, deadline=None)
TestDeploymentsWithAnSla = DeploymentsWithAnSla.TestCase
TestDeploymentsWithAnSla.settings = settings(max_examples=30, stateful_step_count=40, derandomize=True, deadline=None)
