"""The policy of the chart about Approvals, as far as the operator asks for it: it refuses what is in nobody's name.

The tests create Approvals in everybody's name, and are the cluster's administrator, as their operators are. The chart's
own is tested with its release, in tests/integration/chart.
"""

from collections.abc import Mapping

from stagecoach.kinds.approval import guard
from tests.kube import Kube

NAME = "approvals-of-the-tests"
OFF = "approvals-of-the-tests/off"  # a label of namespaces in which it does not hold
_GROUP = "admissionregistration.k8s.io/v1"


def install(kube: Kube) -> None:
    """Create the policy for all namespaces without that label."""
    rules = [
        {
            "apiGroups": ["stagecoach.dev"],
            "apiVersions": ["*"],
            "operations": ["CREATE"],
            "resources": ["approvals"],
        }
    ]
    validation = {
        "expression": f"object.spec.reviewer != '{guard.NOBODY}'",
        "reason": "Forbidden",
        "message": f"spec.reviewer is another: {guard.REFUSAL}. Write your own",
    }
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "validations": [validation],
    }
    _create(kube, "ValidatingAdmissionPolicy", spec)
    elsewhere = {"namespaceSelector": {"matchExpressions": [{"key": OFF, "operator": "DoesNotExist"}]}}
    binding = {"policyName": NAME, "validationActions": ["Deny"], "matchResources": elsewhere}
    _create(kube, "ValidatingAdmissionPolicyBinding", binding)


def _create(kube: Kube, kind: str, spec: Mapping[str, object]) -> None:
    kube.create({"apiVersion": _GROUP, "kind": kind, "metadata": {"name": NAME}, "spec": spec})
