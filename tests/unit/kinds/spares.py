"""The Jobs of load tests around a deployment: their controller, their kubelet, and what they tell."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stagecoach.contract import serving
from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE
from stagecoach.contract.load_tests import LoadTestJob, LoadTestReport
from stagecoach.contract.reports import Outcome, Report
from stagecoach.contract.times import timestamp
from stagecoach.kinds.plan import Object
from stagecoach.policies.pods import CONTAINER, JOB_NAME

if TYPE_CHECKING:
    from tests.unit.kinds.deployments import Stage


@dataclass(frozen=True)
class Numbers:
    """What a test measures, whatever it is asked."""

    p50: float = 120
    p99: float = 480
    first_token: float = 90
    failed: int = 0
    slower: float = 1.0  # than the load comes

    def report(self, job: LoadTestJob) -> LoadTestReport:
        return LoadTestReport(
            identity=job.identity,
            completed=job.requests - self.failed,
            failed=self.failed,
            input_tokens=(job.requests - self.failed) * job.prompt_tokens,
            output_tokens=(job.requests - self.failed) * job.output_tokens,
            seconds=self.slower * job.requests / job.requests_per_second + self.p50 / 1000,
            p50=self.p50,
            p99=self.p99,
            first_token=self.first_token,
        )


NUMBERS = Numbers()
SLOW = Numbers(p99=2400)


def told(job: Object) -> LoadTestJob:
    """Return what a Job was told."""
    [container] = job["spec"]["template"]["spec"]["containers"]
    [text] = [each["value"] for each in container["env"] if each["name"] == ENVIRONMENT_VARIABLE]
    return LoadTestJob.model_validate_json(text.replace("$$", "$"))


def control(stage: "Stage") -> None:
    """Let each Job have a pod, which runs at once; a pod whose Job is gone goes."""
    jobs = {job["metadata"]["name"]: job for job in stage.of_kind("Job")}
    pods = {pod["metadata"]["labels"].get(JOB_NAME): pod for pod in stage.of_kind("Pod")}
    for name, pod in pods.items():
        if name is not None and name not in jobs:
            stage._gone(("Pod", pod["metadata"]["name"]))
    for name, job in jobs.items():
        if name in pods or job.get("status", {}).get("conditions"):
            continue
        stage.tests.append(told(job))
        labels = copy.deepcopy(job["spec"]["template"]["metadata"]["labels"]) | {JOB_NAME: name}
        metadata = {"name": f"{name}-{next(stage.numbers)}", "namespace": "team", "labels": labels}
        running = {"name": CONTAINER, "state": {"running": {"startedAt": timestamp(stage.now)}}}
        status = {"phase": "Running", "containerStatuses": [running]}
        stage._store({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})


def end(stage: "Stage", report: Report | None = None, *, engine: Object | None = None, **state: Any) -> None:
    """Let tests that run come to their end: with what the stage measures, or with this report, or without any.

    `engine`: how that beside it ended before.
    """
    for job in stage.of_kind("Job"):
        name = job["metadata"]["name"]
        pod = next((each for each in stage.of_kind("Pod") if each["metadata"]["labels"].get(JOB_NAME) == name), None)
        if pod is None or pod["status"]["phase"] != "Running":
            continue
        said = report
        if said is None and not state:
            if stage.reach is None:
                continue
            said = Report(outcome=Outcome.DONE, load_test=stage.reach.report(told(job)))
        ended = {"exitCode": 0 if said and said.outcome is Outcome.DONE else 70, "finishedAt": timestamp(stage.now)}
        ended |= {"startedAt": timestamp(stage.now)} | ({"message": said.line()} if said else {}) | state
        phase = "Failed" if ended["exitCode"] else "Succeeded"
        statuses = [{"name": CONTAINER, "state": {"terminated": ended}}]
        status: Object = {"phase": phase, "containerStatuses": statuses}
        if engine is not None:
            status["initContainerStatuses"] = [{"name": serving.CONTAINER, "lastState": {"terminated": engine}}]
        stage._store(copy.deepcopy(pod) | {"status": status})
        kind = "Failed" if ended["exitCode"] else "Complete"
        over = {"type": kind, "status": "True", "lastTransitionTime": timestamp(stage.now)}
        stage._store(copy.deepcopy(job) | {"status": {"conditions": [over]}})
