"""Deployments as tests of several subjects begin: judged, with a second run, in a step."""

from typing import Any

from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployments import Stage, serving
from tests.unit.kinds.gates import succeeded

STEPS = [{"weight": 10, "hold": "1m", "minRequests": 20}, {"weight": 50, "hold": "5m"}]
CANARY = {"canary": {"steps": STEPS}}


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
