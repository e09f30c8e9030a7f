"""Whether a release can be what a deployment promises, and take over from the one that serves: before it is admitted.

What gateways would refuse as routes is found here, where there are words for it.
"""

import json
from typing import Any

from stagecoach.api.modeldeployment import Api, ModelDeploymentSpec
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.task_api import CLASSIFICATION, TASKS
from stagecoach.policies.admission import NotAdmitted

# Routes are in a ConfigMap, which holds a mebibyte: two releases and little else, as text within a text.
MOST_BYTES = 350_000


def unservable(spec: ModelDeploymentSpec, admitted: Admitted) -> NotAdmitted | None:
    """Return why a deployment cannot serve a release, or None."""
    asked = admitted.described.asked
    if spec.api is Api.TASK and asked.family not in TASKS.get(asked.task, ()):
        message = f"the Task API has no answer for the task {asked.task} by an {asked.family}, and spec.api is Task."
        return NotAdmitted("TaskNotServed", f"{message} Set spec.api to OpenAI, or name a run of another task.")
    if (asked.task == CLASSIFICATION) != bool(admitted.labels):
        message = f"its task is {asked.task}, and it has {len(admitted.labels or ())} labels."
        return NotAdmitted("LabelsUnknown", f"{message} Create another run of a project that is Ready.")
    if (size := _size(admitted.document())) > MOST_BYTES:
        message = f"its labels and prompt take {size} bytes of the gateways' routes, and {MOST_BYTES} are the most."
        return NotAdmitted(
            "ReleaseTooLarge", f"{message} Shorten labels or prompt in the project, and create another run."
        )
    return None


def unlike(spec: ModelDeploymentSpec, admitted: Admitted, serving: Admitted) -> NotAdmitted | None:
    """Return why a release cannot have a part of the requests beside the one that serves, or None.

    Without a rollout it takes over all at once, and needs no likeness.
    """
    if spec.rollout is None or shape(admitted) == shape(serving):
        return None
    message = (
        f"it is not of the task and labels of run {serving.run}, which is served: clients would be answered now one"
        " way, now another, for as long as spec.rollout has steps"
    )
    advice = "Remove spec.rollout, to have it take over at once, or create another ModelDeployment for it."
    return NotAdmitted("OtherContract", f"{message}. {advice}")


def shape(admitted: Admitted) -> Any:
    """Return what two releases have in common that answer for each other."""
    asked = admitted.described.asked
    return asked.task, asked.family, admitted.labels


def _size(document: Any) -> int:
    """Return how many bytes a document takes as text within a text."""
    return len(json.dumps(json.dumps(document, ensure_ascii=False), ensure_ascii=False).encode())
