"""What a FineTuneRun tells people to do, and that doing it helps."""

import copy

import pytest

from tests import builders
from tests.unit.kinds.test_finetunerun import start, world
from tests.unit.kinds.test_finetunerun_imports import importing

OUT_OF_MEMORY = {"phase": "Failed", "containerStatuses": [{"name": "trainer", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}  # fmt: skip
OUT_OF_TIME = {"phase": "Failed", "reason": "DeadlineExceeded"}
OF_A_TRAINING = ("resources.memory", "perDeviceBatchSize", "maxDuration", "fewer steps")


@pytest.mark.parametrize(
    ("records", "pod", "words"),
    [
        (False, OUT_OF_MEMORY, "raise resources.memory"),
        (False, OUT_OF_TIME, "Raise maxDuration"),
        (True, OUT_OF_MEMORY, "without a lookup: that has 2Gi of memory"),
        (True, OUT_OF_TIME, "A lookup may take 30 minutes"),
    ],
)
def test_the_advice_fits_what_the_attempt_was_for(records: bool, pod: builders.Object, words: str) -> None:
    here = world(project=builders.ready_project(records))
    start(here)
    here.live_pods()[0]["status"] = pod
    here.reconcile()
    assert here.status["phase"] == "Failed"
    message = here.condition("Ready")["message"]
    assert words in message
    assert ("force: true" in message) is records
    assert not records or not any(each in message for each in OF_A_TRAINING)
    assert here.status["attempts"][0]["message"] == message


def test_a_job_that_waits_is_made_anew_with_what_the_project_says_now() -> None:
    here = world()
    here.reconcile()
    here.reconcile()
    here.start_pods()
    [(name, pod)] = here.pod_objects.items()
    taint = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: untolerated taint."}
    pod["status"]["conditions"] = [taint]
    here.reconcile()
    assert here.condition("Ready")["reason"] == "Unschedulable"
    assert "untolerated taint" in here.condition("Ready")["message"]
    assert f"kubectl delete job {name} -n team;" in here.condition("Ready")["message"]
    assert "create a run that asks for less in spec.resources" in here.condition("Ready")["message"]

    changed = copy.deepcopy(builders.ready_project())
    changed["spec"]["pods"] = {"nodeSelector": {"pool": "batch"}}
    here.project = changed
    del here.job_objects[name]
    pod["metadata"]["deletionTimestamp"] = builders.CREATED
    here.reconcile()
    assert here.job_objects[name]["spec"]["template"]["spec"]["nodeSelector"] == {"pool": "batch"}

    never_started = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None}
    pod["status"] = {
        "phase": "Failed",
        "containerStatuses": [{"name": "trainer", "state": {"terminated": never_started}}],
    }
    here.reconcile()
    here.pod_objects.clear()
    start(here)
    assert here.status["phase"] == "Running"
    assert here.creations[name] == 2
    assert [attempt["number"] for attempt in here.status["attempts"]] == [1], "no retry was counted"


MISSING = [
    (builders.run(), "models", "It is named by the project's candidates[small].model.uri."),
    (importing(), "made", "It is named by spec.method.uri."),
    (builders.run(), "gone", "or correct the URI that names it. It starts by itself"),
]


@pytest.mark.parametrize(("run", "claim", "words"), MISSING)
def test_a_claim_that_is_missing_is_told_with_the_fields_that_name_it(
    run: builders.Object, claim: str, words: str
) -> None:
    here = world(run)
    here.reconcile()
    here.reconcile()
    here.start_pods()
    [pod] = here.pod_objects.values()
    told = f'0/1 nodes are available: persistentvolumeclaim "{claim}" not found. not found.'
    pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": told}]
    here.reconcile()
    ready = here.condition("Ready")
    assert ready["reason"] == "Unschedulable"
    assert f"Create the claim {claim!r}" in ready["message"]
    assert words in ready["message"]
    assert "with another URI, delete this run and create it again" in ready["message"]
    assert "asks for less" not in ready["message"], "no resources are at fault"
