"""Deployments as tests of several subjects begin: judged, with a second run, in a step."""

from datetime import timedelta
from typing import Any

from stagecoach.contract.times import timestamp
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployments import Stage, serving
from tests.unit.kinds.gates import succeeded

STEPS = [{"weight": 10, "hold": "1m", "minRequests": 20}, {"weight": 50, "hold": "5m"}]
CANARY = {"canary": {"steps": STEPS}}
FOLLOW = {"follow": {"deployment": "staging", "soak": "24h"}}


def told(stage: Stage) -> tuple[str, str, str]:
    """Return phase, and reason and status of Ready, whose words say what to do."""
    ready = stage.said()
    assert ready["status"] == "True" or speaks(ready["reason"], ready["message"]), ready
    return stage.phase, ready["reason"], ready["status"]


def judged(*objects: builders.Object, **spec: Any) -> Stage:
    stage = Stage(*objects, **spec)
    stage.judge()
    return stage


def with_second(stage: Stage) -> None:
    """Let a newer run pass."""
    stage.put(succeeded("second", 2))
    stage.judge()


def canary(*steps: builders.Object) -> Stage:
    """Return a stage whose second run is about to have requests."""
    stage = serving(rollout={"canary": {"steps": list(steps) or STEPS}})
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("step") == 0)
    stage.until(lambda: stage.told_status["routes"]["acknowledged"] == 1)
    return stage


def change_of_gate(stage: Stage) -> None:
    stage.change("EvalGate", "good", minScored=0.5)


def leader(name: str = "staging", **changes: Any) -> builders.Object:
    """Return a deployment that others follow."""
    return builders.stored(builders.deployment(name, **changes), uid=f"uid-{name}")


def leads(stage: Stage, run: str, hours: float = 0, verdict: str = "Passed") -> None:
    """Let the other deployment serve what a run makes by its gate, since so many hours."""
    for _ in range(2):  # the gate judges one after the other
        stage.judge(verdict)
    leads_unjudged(stage, run, hours)


def leads_base(stage: Stage, hours: float) -> None:
    """Let the other deployment serve the base itself, as it was ever judged, if it was."""
    judged = next((each["spec"] for each in stage.evaluations if "run" not in each["spec"]), None)
    if judged is not None:
        serving = {"base": judged["base"]["candidate"], "release": judged["release"]["digest"]}
        serving |= {"short": judged["release"]["short"], "since": timestamp(stage.now - timedelta(hours=hours))}
        stage.put(leader() | {"status": {"serving": serving}})


def leads_unjudged(stage: Stage, run: str, hours: float) -> None:
    """Let the other deployment serve what a run makes by an Evaluation, whatever came of that."""
    judged = next(each["spec"] for each in stage.evaluations if each["spec"].get("run") == run)
    made = stage.get("FineTuneRun", run)
    serving = {"run": run, "runCreated": made["metadata"]["creationTimestamp"]}
    serving |= {"release": judged["release"]["digest"], "short": judged["release"]["short"]}
    serving |= {"since": timestamp(stage.now - timedelta(hours=hours))}
    stage.put(leader() | {"status": {"serving": serving}})
