"""A gate with its project, runs that have succeeded, and the Evaluations that it made, in the operator's own memory."""

from datetime import UTC, datetime, timedelta
from typing import Any

from stagecoach.contract.times import timestamp
from stagecoach.kinds.controller import Settings
from stagecoach.kinds.evalgate.gate_word import gate_words
from stagecoach.kinds.evalgate.judging import Subject
from stagecoach.kinds.evalgate.reconcile import CONTROLLER
from stagecoach.kinds.evaluation.reconcile import CONTROLLER as EVALUATIONS
from stagecoach.kinds.plan import Key, Object, Plan, key_of
from stagecoach.kinds.registry import CONTROLLERS
from stagecoach.kinds.view import View
from stagecoach.policies.admission import GateWord
from stagecoach.runtime.cache import Cache
from tests import builders
from tests.unit.kinds import test_finetunerun as runs
from tests.unit.kinds.world import SETTINGS, World

NOW = datetime(2026, 1, 3, tzinfo=UTC)
# A deployment that serves nothing yet.
ASKING: Object = {"metadata": {"namespace": "team"}, "spec": {}}


def succeeded(name: str = "first", number: int = 1, tokenizer: str = builders.digest("6"), **spec: Any) -> Object:
    """Return a run that has its artifact; the higher the number, the newer it is."""
    project = builders.ready_project()
    project["status"]["candidates"][0]["tokenizer"] = tokenizer
    here = runs.world(builders.run(name, **spec), project)
    runs.start(here)
    here.end_pods(builders.artifact_report())
    here.reconcile()
    run = here.stored
    assert run["status"]["phase"] == "Succeeded"
    run["metadata"] |= {"uid": f"uid-{name}", "creationTimestamp": timestamp(NOW - timedelta(hours=100 - number))}
    run["status"]["artifact"] |= {"digest": f"sha256:{number:064x}", "short": f"{number:064x}"[:12]}
    return run


def gate_word(view: View, deployment: Object, gate: str, subject: Subject, settings: Settings) -> GateWord:
    """Return what a gate says of one run, or of a base itself, to a deployment."""
    return gate_words(view, deployment, gate, [subject], settings)[0]


class Hall:
    """All objects of a namespace, and a gate that is reconciled."""

    def __init__(self, *objects: Object, **gate: Any) -> None:
        self.now = NOW
        self.version = 10
        self.cache = Cache(CONTROLLERS)
        self.objects: dict[Key, Object] = {}
        self.events: list[tuple[str, str]] = []
        self.writes = 0
        self.put(builders.ready_project())
        self.put(builders.stored(builders.gate(**gate), uid="uid-gate"))
        for obj in objects:
            self.put(obj)

    def put(self, obj: Object) -> None:
        """Store an object, as its newest version."""
        self.version += 1
        obj = builders.copied(obj)
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.objects[key_of(obj)] = obj
        self.cache.store(obj)

    def remove(self, kind: str, name: str) -> None:
        self.cache.remove(self.objects.pop(Key(kind, "team", name)))

    def get(self, kind: str, name: str) -> Object:
        return self.objects[Key(kind, "team", name)]

    def change(self, kind: str, name: str, **spec: Any) -> None:
        obj = builders.copied(self.get(kind, name))
        obj["spec"] |= spec
        obj["metadata"]["generation"] += 1
        self.put(obj)

    @property
    def gate(self) -> Object:
        return self.get("EvalGate", "good")

    @property
    def status(self) -> Object:
        result: Object = self.gate.get("status", {})
        return result

    @property
    def evaluations(self) -> list[Object]:
        return [obj for key, obj in self.objects.items() if key.kind == "Evaluation"]

    def condition(self, kind: str = "Ready") -> Object:
        return next((item for item in self.status.get("conditions", []) if item["type"] == kind), {})

    def look(self) -> Plan:
        """Reconcile, and carry the plan out."""
        plan = CONTROLLER.reconcile(self.cache, builders.copied(self.gate), self.now, SETTINGS)
        self.carry_out(plan)
        return plan

    def carry_out(self, plan: Plan) -> None:
        assert not plan.delete
        if plan.status is not None and plan.status != self.status:
            self.put(self.gate | {"status": plan.status})
            self.writes += 1
            self.events += [(event.reason, event.message) for event in plan.events]
        for obj in plan.create:
            self.create(obj)

    def create(self, obj: Object) -> None:
        if key_of(obj) not in self.objects:
            uid = f"uid-{obj['metadata']['name']}-{self.version}"
            made = builders.stored(obj, uid=uid)
            made["metadata"]["creationTimestamp"] = timestamp(self.now)
            self.put(made)

    def decide(self, name: str, verdict: str = "Passed") -> None:
        """Let an Evaluation come to its verdict."""
        self.now += timedelta(seconds=60)
        told = {"phase": "Decided", "verdict": verdict, "completionTime": timestamp(self.now)}
        self.put(self.get("Evaluation", name) | {"status": told})

    def fail(self, name: str, *results: Object, reason: str = "CriterionFailed") -> None:
        """Let an Evaluation fail by these results of its criteria."""
        self.decide(name, "Failed")
        made = self.get("Evaluation", name)
        complete: Object = {"type": "Complete", "status": "True", "reason": reason, "message": "It has not passed."}
        complete |= {"lastTransitionTime": made["status"]["completionTime"], "observedGeneration": 1}
        told = {"conditions": [complete], "results": [{"scored": 0} | each for each in results]}
        self.put(made | {"status": made["status"] | told})


def evaluation(**gate: Any) -> Object:
    """Return an Evaluation as the default gate makes it of a run, stored."""
    hall = Hall(succeeded(), **gate)
    hall.look()
    [made] = hall.evaluations
    return made


def world(obj: Object | None = None, project: Object | None = None) -> World:
    """Return an Evaluation with its Jobs and pods."""
    made = builders.copied(obj or evaluation())
    made["metadata"] |= {"resourceVersion": "1", "creationTimestamp": builders.CREATED}
    return World(EVALUATIONS, made, builders.ready_project() if project is None else project)


REVIEW = {"suite": "canary", "reviewers": [{"user": "qa@example.com"}, {"group": "ml-leads"}]}


def project_with_canary() -> Object:
    """Return a project that is ready and has rows for people to read."""
    project = builders.ready_project()
    project["spec"]["data"]["sets"].append({"name": "canary", "uri": "pvc://lake/desk/canary.csv", "split": "Canary"})
    project["status"]["datasets"].append({"name": "canary", "digest": builders.digest("8"), "examples": 10})
    return project


def reviewed_spec(**review: Any) -> dict[str, Any]:
    """Return the changes of a gate's spec that let people look at each release."""
    suites = [*builders.gate()["spec"]["suites"], {"name": "canary", "dataset": "canary", "type": "Canary"}]
    return {"suites": suites, "review": REVIEW | review}


def reviewed(**review: Any) -> Object:
    """Return an Evaluation that people have to look at, stored."""
    hall = Hall(succeeded(), project_with_canary(), **reviewed_spec(**review))
    hall.look()
    [made] = hall.evaluations
    return made


def reviewed_world(**review: Any) -> World:
    """Return it with its Jobs and pods."""
    return world(reviewed(**review), project_with_canary())


def canary_report(**changes: Any) -> Object:
    """Return what an evaluation that passed by its criteria reports of rows for people."""
    return builders.evaluation_report(canary=builders.canary_rows().digest, rows=160, **changes)


def approval(here: World, name: str = "fine", **changes: Any) -> Object:
    """Let somebody decide about the Evaluation now; it is there at once."""
    stored = here.stored
    spec = {
        "subject": {"kind": "Evaluation", "name": stored["metadata"]["name"]},
        "release": stored["spec"]["release"]["digest"],
    }
    made = builders.stored(builders.approval(name, **spec | changes), uid=f"uid-{name}-{len(here.history)}")
    made["metadata"]["creationTimestamp"] = timestamp(here.now)
    here.approvals[name] = made
    return made
