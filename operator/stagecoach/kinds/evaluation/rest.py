"""Whether an Evaluation that is decided needs another look."""

from stagecoach.api.evaluation_status import EvaluationPhase
from stagecoach.kinds.plan import Object
from stagecoach.kinds.view import View
from stagecoach.policies.pods import job_state


def rests(view: View, raw: Object) -> bool:
    """Whether there is nothing to do about an Evaluation until something happens to it, or to a child of its own."""
    status, metadata = raw.get("status", {}), raw["metadata"]
    if (
        status.get("phase") != EvaluationPhase.DECIDED.value
        or status.get("observedGeneration") != metadata["generation"]
    ):
        return False
    told = {item["type"]: (item["reason"], item["message"]) for item in status.get("conditions", ())}
    # Something may have stood in the way since, which `Ready` then tells for as long as nobody looks.
    if told.get("Ready") != told.get("Complete"):
        return False
    uid = metadata["uid"]
    busy = any(pod["status"].get("phase") not in ("Succeeded", "Failed") for pod in view.pods(uid))
    return not (busy or any(not job_state(job).finished for job in view.jobs(uid)))
