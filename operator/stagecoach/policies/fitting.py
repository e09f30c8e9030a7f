"""Whether a release can be what a deployment promises, and take over from the one that serves: before it is admitted.

What gateways would refuse as routes is found here, where there are words for it.
"""

import json
from functools import lru_cache
from typing import Any

from stagecoach.api.modeldeployment import Api, Contract, ModelDeploymentSpec
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.gateway_routes import Target
from stagecoach.contract.inputs import Family
from stagecoach.contract.readings import reads
from stagecoach.contract.schemas import BadSchema, validator
from stagecoach.contract.task_api import TASKS
from stagecoach.policies.admission import NotAdmitted

# Routes are in a ConfigMap, which holds a mebibyte: two releases and little else, as text within a text.
MOST_BYTES = 350_000

# What says of a release all that counts here: its document, or, when that is gone, what gateways were told of it.
Known = Admitted | Target


def servable_problem(spec: ModelDeploymentSpec, admitted: Known, serving: Known | None = None) -> NotAdmitted | None:
    """Return why a deployment cannot serve a release, or have it take over from what is served; None when it can."""
    if unfit := schema_problem(spec.contract):
        return unfit
    asked = admitted.described.asked
    if spec.api is Api.TASK and asked.family not in TASKS.get(asked.task, ()):
        message = f"the Task API has no answer for the task {asked.task} by an {asked.family}, and spec.api is Task."
        return NotAdmitted("TaskUnsuited", f"{message} Set spec.api to OpenAI, or serve what is of another task.")
    if (size := _size(admitted.document())) > MOST_BYTES:
        message = f"its labels and prompt take {size} bytes of the gateways' routes, and {MOST_BYTES} are the most."
        return NotAdmitted(
            "ReleaseTooLarge", f"{message} Shorten labels or prompt in the project, and try another release."
        )
    if serving is not None and spec.canary is not None and _shape(admitted) != _shape(serving):
        message = "it is not of the task and labels of what is served, and by the steps of spec.rollout.canary clients"
        message += " would be answered now one way, now another."
        advice = "Remove spec.rollout.canary, to have it take over at once, or create another ModelDeployment for it."
        return NotAdmitted("OtherContract", f"{message} {advice}")
    return None


def untestable(spec: ModelDeploymentSpec, admitted: Admitted) -> NotAdmitted | None:
    """Return why a release cannot go through the load test that is asked for; None when it can, or none is."""
    asked = admitted.described.asked
    if spec.sla is None or not reads(asked):
        return None
    message = f"it is of the task {asked.task} by an Encoder, which writes nothing, and the load test of spec.sla asks"
    advice = "Remove spec.sla, or create another ModelDeployment for it."
    return NotAdmitted("TaskUnsuited", f"{message} for answers that are written. {advice}")


def beside(one: Known, other: Known) -> bool:
    """Whether requests can be shared out between two: releases that gateways tell apart, of one task and its labels."""
    return one.release != other.release and _shape(one) == _shape(other)


def schema_problem(contract: Contract) -> NotAdmitted | None:
    """Return which schema of a contract is none; None when both are."""
    for place, body in (("input", contract.input), ("output", contract.output)):
        if body is not None and (why := _wrong(json.dumps(body.json_schema))):
            return NotAdmitted("BadSchema", f"spec.contract.{place}.schema is no JSON Schema: {why}. Correct it there.")
    return None


@lru_cache(64)
def _wrong(schema: str) -> str:
    """Return why a text is no schema, or nothing. It is asked at every look, for every run."""
    try:
        validator(json.loads(schema))
    except BadSchema as error:
        return str(error)
    return ""


def _shape(admitted: Known) -> tuple[str, Family, tuple[str, ...] | None]:
    asked = admitted.described.asked
    return asked.task, asked.family, admitted.labels


def _size(document: Any) -> int:
    """Return how many bytes a document takes as text within a text."""
    return len(json.dumps(json.dumps(document, ensure_ascii=False), ensure_ascii=False).encode())
