"""A small model of what surrounds the pure reconcilers: an API server, a Job controller, a kubelet, and accidents.

It checks the promises that no order of events may break. It proves nothing about Kubernetes itself: the same promises
are tested against a real API server in tests/integration.
"""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from stagecoach.contract.reports import Progress
from stagecoach.contract.reviews import CanaryRows
from stagecoach.kinds.controller import Controller, Settings
from stagecoach.kinds.plan import Key, Object, Plan, key_of
from stagecoach.kinds.registry import CONTROLLERS
from stagecoach.kinds.view import Answer, Read
from stagecoach.policies.pods import INDEX, JOB_NAME
from stagecoach.policies.sharing import Claim
from stagecoach.runtime.problems import Problem, overlay
from tests import builders
from tests.remedies import speaks

SETTINGS = Settings(
    trainer_image=builders.IMAGE,
    evaluator_image=builders.EVALUATOR_IMAGE,
    engine_image=builders.GPU_ENGINE_IMAGE,
    engine_cpu_image=builders.ENGINE_IMAGE,
)
REFERENCES = {each.kind: each.references for each in CONTROLLERS}
TERMINAL = ("Succeeded", "Failed")
# A watch that is later than this has broken, and nothing is decided until its next list.
LAG = timedelta(seconds=30)
READINESS = ("Ready", "Stalled", "Reconciling")


def lasting(status: Object) -> Object:
    """Return what of the status of a run that has ended never changes: all but what is said again of a later spec."""
    conditions = [{**each, "observedGeneration": 0} for each in status["conditions"] if each["type"] not in READINESS]
    return status | {"observedGeneration": 0, "conditions": conditions}


def artifact_of(index: str) -> str:
    """Return the digest of what the pod of an index tells of: that of index 0 alone is published."""
    return builders.digest("7bcdef"[int(index)])


@dataclass(frozen=True)
class Moment:
    """How the children were at a time."""

    at: datetime
    jobs: dict[str, Object]
    pods: dict[str, Object]


class World:
    """One object of ours with its Jobs and pods, and possibly the project it names.

    What the operator sees of the object may be of any age, as a former leader sees it. Of Jobs and pods it sees what two
    watches brought, each as late as it is and never earlier than before, and the answers to what it created itself.
    """

    def __init__(self, controller: Controller, obj: Object, project: Object | None = None) -> None:
        self.controller = controller
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        self.node_is_off = timedelta(0)  # the clock of the nodes, from ours
        self.operator_is_off = timedelta(0)  # and the operator's
        self.project = project
        self.stored = obj
        self.history = [builders.copied(obj)]
        self.job_objects: dict[str, Object] = {}
        self.pod_objects: dict[str, Object] = {}  # by the Job's name; of several pods, with the index behind it
        self.taken_back: set[str] = set()  # uids of pods that were told to go because their Job was suspended
        self.numbers = itertools.count(1)  # of pods: each has a uid of its own
        self.service_objects: dict[str, Object] = {}
        self.modes: tuple[str, ...] | None = ("ReadWriteMany",)  # of all claims
        self.seen_claims: dict[str, Claim] = {}
        self.warnings: dict[str, str] = {}
        self.logged: CanaryRows = builders.canary_rows()  # in the logs of all pods
        self.canaries: dict[str, CanaryRows] = {}  # what was read of them, by the pod's uid
        self.policy = True  # by which everybody decides in their own name alone
        self.proved: bool | None = None  # what was seen of it
        self.approvals: dict[str, Object] = {}
        self.checkpoint: int | None = None  # of the newest progress line
        self.loss: float | None = None  # of the same
        self.twins: tuple[
            World, ...
        ] = ()  # objects of the same kind that compute the same; a gate's runs and Evaluations
        self.creations: Counter[str] = Counter()
        self.late_creations: Counter[str] = Counter()  # those that were decided on an old version of the object
        self.moments: list[Moment] = []
        self.answers: list[tuple[int, Object]] = []  # Jobs as they were made, and how many moments were before that
        self.brought = {"jobs": 0, "pods": 0}  # the moment up to which each watch was seen to be
        self.seen_jobs: list[Object] | None = None  # None: as they are
        self.seen_pods: list[Object] | None = None
        self.status_writes = 0

    # What the reconcilers look at.

    def get(self, key: Key) -> Object | None:
        if key.kind == "TransformerProject":
            return self.project
        return next((item for item in self.everything() if key_of(item) == key), None)

    def read(self, key: Key, read: Callable[[Object], Read]) -> Read | None:
        found = self.get(key)
        return read(found) if found else None

    def referrers(self, key: Key) -> Iterable[Object]:
        stored = [*(world.stored for world in (self, *self.twins)), *self.approvals.values()]
        return [item for item in stored if key in REFERENCES[item["kind"]](item)]

    def everything(self) -> Iterable[Object]:
        own = (self.project, *(world.stored for world in (self, *self.twins)), *self.approvals.values())
        return [item for item in own if item]

    def jobs(self, uid: str) -> Sequence[Object]:
        owner = next(world for world in (self, *self.twins) if world.stored["metadata"]["uid"] == uid)
        return list(owner.job_objects.values()) if owner.seen_jobs is None else owner.seen_jobs

    def pods(self, _uid: str) -> Sequence[Object]:
        return list(self.pod_objects.values()) if self.seen_pods is None else self.seen_pods

    def services(self, _uid: str) -> Sequence[Object]:
        return list(self.service_objects.values())

    def deployments(self, _uid: str) -> Sequence[Object]:
        return ()

    def config_maps(self, _uid: str) -> Sequence[Object]:
        return ()

    def answer(self, _pod_uid: str, _method: str, _path: str) -> Answer | None:
        return None

    def refusals(self, _uid: str) -> Mapping[tuple[str, str], str]:
        return {}

    def claim(self, _namespace: str, name: str) -> Claim | None:
        return self.seen_claims.get(name)

    def progress(self, _pod_uid: str) -> Progress | None:
        if self.checkpoint is None:
            return None
        at = self.now.isoformat()
        return Progress(step=self.checkpoint, steps=1000, percent=1, loss=self.loss, checkpoint=self.checkpoint, at=at)

    def warning(self, pod_uid: str) -> str | None:
        return self.warnings.get(pod_uid)

    def canary(self, pod_uid: str) -> CanaryRows | None:
        return self.canaries.get(pod_uid)

    def guarded(self, _namespace: str) -> bool | None:
        return self.proved

    # What the operator does.

    def reconcile(self, age: int = 0, writes: int = 99, jobs_lag: int = 0, pods_lag: int = 0) -> Plan:
        """Decide on the object of some versions ago, and carry out only the first writes of the plan: then crash.

        The lags are how many moments the watches of Jobs and of pods are behind.
        """
        seen = builders.copied(self.history[max(0, len(self.history) - 1 - age)])
        self.seen_jobs, self.seen_pods = self._jobs_behind(jobs_lag), self._pods_behind(pods_lag)
        plan = self.controller.reconcile(self, seen, self.now + self.operator_is_off, SETTINGS)
        self.seen_jobs = self.seen_pods = None
        self._carry_out(plan, seen, writes)
        return plan

    def note(self) -> None:
        """Remember this moment, for watches that are late."""
        self.moments.append(Moment(self.now, builders.copied(self.job_objects), builders.copied(self.pod_objects)))

    def _behind(self, watch: str, lag: int) -> int | None:
        """Return the number of the moment up to which a watch has come; None: it brought everything."""
        last = len(self.moments) - 1
        number = max(self.brought[watch], last - lag)
        while number < last and self.now - self.moments[number].at > LAG:
            number += 1
        self.brought[watch] = max(0, number)
        return number if number < last else None

    def _jobs_behind(self, lag: int) -> list[Object] | None:
        number = self._behind("jobs", lag)
        if number is None:
            return None
        known = {job["metadata"]["uid"]: job for job in self.moments[number].jobs.values()}
        known |= {job["metadata"]["uid"]: job for before, job in self.answers if before > number}
        return builders.copied(list(known.values()))

    def _pods_behind(self, lag: int) -> list[Object] | None:
        number = self._behind("pods", lag)
        return None if number is None else builders.copied(list(self.moments[number].pods.values()))

    def _carry_out(self, plan: Plan, seen: Object, writes: int) -> None:
        changed = plan.status is not None and plan.status != seen.get("status", {})
        if changed:
            ends = "completionTime" in (plan.status or {}) and "completionTime" not in seen.get("status", {})
            assert plan.events or not ends, "an end without an Event"
            if writes == 0 or not self._write_status(seen, plan.status or {}):
                return
            writes -= 1
        for child in plan.delete[:writes]:
            if not self._remove(child):
                return
        writes -= len(plan.delete)
        late = seen["metadata"]["resourceVersion"] != self.history[-1 - changed]["metadata"]["resourceVersion"]
        for child in plan.create[: max(0, writes)]:
            self._create(child, late=late)
        writes -= len(plan.create)
        self.seen_claims = {name: Claim(self.modes) for _, name in plan.look if writes > 0}
        self.canaries = {plan.read[1]: self.logged} if plan.read and writes > 0 else {}
        if plan.prove and writes > 0:
            self.proved = self.policy

    def _write_status(self, seen: Object, status: Object) -> bool:
        if seen["metadata"]["resourceVersion"] != self.stored["metadata"]["resourceVersion"]:
            return False
        before = self.stored.get("status", {})
        ended = before.get("phase") in TERMINAL and self.controller.kind == "FineTuneRun"
        assert not ended or lasting(before) == lasting(status), "a terminal run changed"
        assert "verdict" not in before or lasting(before) == lasting(status), "VerdictIsFinal"
        json.dumps(status)  # what cannot be sent cannot be meant
        self.stored = builders.copied(self.stored)
        self.stored["status"] = builders.copied(status)
        self.stored["metadata"]["resourceVersion"] = str(int(self.stored["metadata"]["resourceVersion"]) + 1)
        self.history.append(builders.copied(self.stored))
        self.status_writes += 1
        return True

    def _remove(self, child: Object) -> bool:
        """Delete a child; return False when it is not as it was seen: such a deletion is refused."""
        name = child["metadata"]["name"]
        if child["kind"] == "Service":
            self.service_objects.pop(name, None)
            return True
        if self.job_objects.get(name, child) != child:
            return False
        self.remove_job(name)
        return True

    def _create(self, job: Object, *, late: bool) -> None:
        name = job["metadata"]["name"]
        if job["kind"] == "Evaluation":
            [controller] = [each for each in CONTROLLERS if each.kind == "Evaluation"]
            self.twins += (World(controller, builders.stored(job, uid=f"uid-{name}"), self.project),)
            return
        if job["kind"] == "Service":
            assert self.intended(), "a Service was made without an intent in the stored status"
            self.service_objects[name] = builders.copied(job)
            return
        if name not in self.job_objects:
            assert name in self.intended(), f"Job {name} was made without an intent in the stored status"
            self.creations[name] += 1
            self.late_creations[name] += late
            self.job_objects[name] = builders.copied(job)
            uid = f"job-{name}-{self.creations[name]}"
            self.job_objects[name]["metadata"] |= {"uid": uid, "creationTimestamp": self.now.isoformat()}
        self.answers.append((len(self.moments), builders.copied(self.job_objects[name])))

    def intended(self) -> set[str]:
        """Return the Jobs that ever stood in the stored status; of those, only an old writer makes a past one."""
        statuses = [version.get("status", {}) for version in self.history]
        resolutions = {
            status[part]["job"] for status in statuses for part in ("resolution", "retention") if part in status
        }
        attempts = [each for status in statuses for each in (*status.get("attempts", []), status.get("attempt", {}))]
        return resolutions | {attempt["job"] for attempt in attempts if attempt}

    # What everybody else does.

    def start_pods(self) -> None:
        for name, job in self.job_objects.items():
            waits = job["spec"].get("suspend") or "conditions" in job.get("status", {})
            if waits:
                continue
            for key, index in self._keys(name):
                if key not in self.pod_objects or self._makes_room(self.pod_objects[key]):
                    self.pod_objects[key] = self._pod(name, key, index)

    def _makes_room(self, pod: Object) -> bool:
        """Whether a pod that was taken back has ended: then its Job gets another, and not before."""
        return pod["metadata"]["uid"] in self.taken_back and pod not in self.live_pods()

    def _keys(self, job: str) -> list[tuple[str, dict[str, str]]]:
        """Return the keys of a Job's pods, and the labels that tell them apart."""
        pods = self.job_objects[job]["spec"].get("completions", 1)
        if pods == 1:
            return [(job, {})]
        return [(f"{job}-{number}", {INDEX: str(number)}) for number in range(pods)]

    def _pod(self, job: str, key: str, index: dict[str, str]) -> Object:
        return {
            "metadata": {
                "name": f"{key}-x",
                "uid": f"pod-{key}-{next(self.numbers)}",
                "creationTimestamp": self.now.isoformat(),
                "labels": {JOB_NAME: job} | index,
            },
            "spec": {"nodeName": "node-1"},
            "status": {"phase": "Pending"},
        }

    def live_pods(self) -> list[Object]:
        return [pod for pod in self.pod_objects.values() if pod["status"]["phase"] in ("Pending", "Running")]

    def run_pods(self) -> None:
        for pod in self.live_pods():
            running = {"startedAt": (self.now + self.node_is_off).isoformat()}
            pod["status"] = {
                "phase": "Running",
                "containerStatuses": [{"name": "trainer", "state": {"running": running}}],
            }

    def end_pods(self, report: Object | None, code: int = 0, reason: str = "Completed") -> None:
        for pod in self.live_pods():
            self.end_pod(pod, report, code, reason)

    def end_pod(self, pod: Object, report: Object | None, code: int = 0, reason: str = "Completed") -> None:
        labels = pod["metadata"]["labels"]
        state: dict[str, Any] = {"exitCode": code, "reason": reason}
        told = (self.now + self.node_is_off).isoformat()
        state |= {"startedAt": told, "finishedAt": told}
        if report is not None:
            state["message"] = json.dumps(report).replace(builders.digest("7"), artifact_of(labels.get(INDEX, "0")))
        phase = "Succeeded" if code == 0 else "Failed"
        pod["status"] = {"phase": phase, "containerStatuses": [{"name": "trainer", "state": {"terminated": state}}]}
        others = [each for each in self.live_pods() if each["metadata"]["labels"][JOB_NAME] == labels[JOB_NAME]]
        if code and pod["metadata"]["uid"] in self.taken_back:
            return  # its Job holds nothing against it
        if code:  # the Job controller ends the others
            for each in others:
                each["metadata"].setdefault("deletionTimestamp", self.now.isoformat())
        if code or not others:
            self.finish_job(labels[JOB_NAME], phase)

    def show_problem(self) -> None:
        """Lay a problem over what Ready says, as the runtime does, and forget what it said before."""
        problem = Problem("InternalError", "This is a bug.")
        self.stored = builders.copied(self.stored)
        self.stored["status"] = overlay(self.stored, self.status, problem, self.now)
        self.stored["metadata"]["resourceVersion"] = str(int(self.stored["metadata"]["resourceVersion"]) + 1)
        self.history.append(builders.copied(self.stored))

    def tell_pods_to_go(self) -> None:
        for pod in self.live_pods():
            pod["metadata"].setdefault("deletionTimestamp", self.now.isoformat())

    def lose_pods(self) -> None:
        for key in list(self.pod_objects):
            self.lose_pod(key)

    def lose_pod(self, key: str) -> None:
        metadata = self.pod_objects.pop(key)["metadata"]
        if metadata["uid"] not in self.taken_back:
            self.finish_job(metadata["labels"][JOB_NAME], "Failed")

    def admit(self, admitted: bool) -> None:
        """Let the queue release all Jobs, or take their pods away."""
        for name, job in self.job_objects.items():
            if "suspend" in job["spec"] and "conditions" not in job.get("status", {}):
                job["spec"]["suspend"] = not admitted
                if not admitted:
                    self._remove_pods(name)

    def take_back(self) -> None:
        """Let the queue suspend all Jobs, and their pods have the time to save themselves."""
        for name, job in self.job_objects.items():
            if "suspend" in job["spec"] and "conditions" not in job.get("status", {}):
                job["spec"]["suspend"] = True
                for key, pod in list(self.pod_objects.items()):
                    if pod["metadata"]["labels"][JOB_NAME] != name or pod not in self.live_pods():
                        continue
                    if pod["status"]["phase"] == "Pending":
                        del self.pod_objects[key]
                    else:
                        pod["metadata"].setdefault("deletionTimestamp", self.now.isoformat())
                        self.taken_back.add(pod["metadata"]["uid"])

    def set_spec(self, **changes: Any) -> None:
        """Change the stored spec, as a person does."""
        self.stored = builders.copied(self.stored)
        self.stored["spec"] |= changes
        metadata = self.stored["metadata"]
        metadata["generation"] += 1
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        self.history.append(builders.copied(self.stored))

    def finish_job(self, name: str, phase: str) -> None:
        if name in self.job_objects:
            kind = "Complete" if phase == "Succeeded" else "Failed"
            condition = {"type": kind, "status": "True", "message": "words of the Job controller"}
            condition["lastTransitionTime"] = self.now.isoformat()
            self.job_objects[name]["status"] = {"conditions": [condition]}

    def remove_job(self, name: str) -> None:
        self._remove_pods(name)
        self.job_objects.pop(name, None)

    def _remove_pods(self, job: str) -> None:
        of_job = [key for key, pod in self.pod_objects.items() if pod["metadata"]["labels"][JOB_NAME] == job]
        for key in of_job:
            del self.pod_objects[key]

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # What must hold.

    @property
    def status(self) -> Object:
        result: Object = self.stored.get("status", {})
        return result

    def condition(self, kind: str) -> Object:
        return next((item for item in self.status.get("conditions", []) if item["type"] == kind), {})

    def check_every_failure_speaks(self) -> None:
        """EveryFailureSpeaks: whatever is not well says why, and what to do about it."""
        if not self.status:
            return
        for attempt in (*self.status.get("attempts", []), self.status.get("attempt", {})):
            well = attempt.get("outcome") in (None, "Succeeded")
            assert well or speaks(attempt["outcome"], attempt.get("message", "")), attempt
        ready = self.condition("Ready")
        if ready["reason"] == "InternalError":
            return  # until the operator looks again
        assert ready["status"] == "True" or speaks(ready["reason"], ready["message"]), ready
        well = self.status["phase"] == "Succeeded" or self.status.get("verdict") == "Passed"
        assert ready["status"] == ("True" if well else "False")

    def check_what_others_read(self, goes_on: tuple[str, ...], needs_somebody: str) -> None:
        """kstatus reads nothing else: an object is being worked on, or it needs somebody, or Ready says whether it is done."""
        phase = self.status.get("phase", "")
        there = {each["type"]: each["status"] for each in self.status.get("conditions", [])}
        stuck = phase == needs_somebody and self.status.get("verdict") != "Passed"
        assert there.get("Reconciling") == ("True" if phase in goes_on else None)
        assert there.get("Stalled") == ("True" if stuck else None)
