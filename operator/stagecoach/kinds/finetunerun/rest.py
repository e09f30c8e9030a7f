"""Whether a run that has ended needs another look."""

from stagecoach.api.run_status import Phase
from stagecoach.kinds.plan import Object
from stagecoach.kinds.view import View
from stagecoach.policies.pods import job_state

ENDED = (Phase.SUCCEEDED.value, Phase.FAILED.value)


def rests(view: View, raw: Object) -> bool:
    """Whether there is nothing to do about a run until something happens to it, or to a child of its own.

    It is asked about thousands at once, so it reads little, and says no where it would have to read more.
    """
    status, metadata = raw.get("status", {}), raw["metadata"]
    if status.get("phase") not in ENDED or status.get("observedGeneration") != metadata["generation"]:
        return False
    told = {item["type"]: (item["reason"], item["message"]) for item in status.get("conditions", ())}
    # Something may have stood in the way since, which `Ready` then tells for as long as nobody looks.
    if told.get("Ready") != told.get("Complete"):
        return False
    uid = metadata["uid"]
    busy = any(pod["status"].get("phase") not in ("Succeeded", "Failed") for pod in view.pods(uid))
    return not (busy or view.services(uid) or any(not job_state(job).finished for job in view.jobs(uid)))
