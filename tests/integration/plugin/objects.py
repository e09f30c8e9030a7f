"""Objects in a cluster, with the status that the operator would have given them."""

import copy
from typing import Any

from tests.kube import Kube
from tests.unit.plugin import samples


def put(kube: Kube, obj: samples.Object) -> str:
    """Create an object of the samples in the test's namespace, status and all; return its name."""
    whole: samples.Object = {"apiVersion": "stagecoach.dev/v1alpha1"} | copy.deepcopy(obj)
    name = str(whole["metadata"]["name"])
    whole["metadata"] = {"name": name, "namespace": kube.namespace}
    status = whole.pop("status", None)
    kube.create(whole)
    if status:
        kube.patch(whole["kind"], name, {"status": status}, "status")
    return name


def judge_approval(kube: Kube, name: str, reason: str, message: str, /, **evaluation: Any) -> None:
    """Say of an Approval what the operator would, and what follows for its Evaluation."""
    obj = kube.get("Approval", name)
    if evaluation:
        kube.patch("Evaluation", obj["spec"]["subject"]["name"], {"status": evaluation}, "status")
    mood = "ready" if reason == "Counted" else "stalled"
    kube.patch("Approval", name, {"status": {"conditions": samples.conditions(reason, message, mood)}}, "status")


def counted(approval: samples.Object) -> samples.Object:
    """Return how an Approval stands in the status of its Evaluation once it counts."""
    metadata, spec = approval["metadata"], approval["spec"]
    told = {
        "name": metadata["name"],
        "uid": metadata["uid"],
        "reviewer": spec["reviewer"],
        "at": metadata["creationTimestamp"],
    }
    return told | ({"as": spec["group"]} if "group" in spec else {})
