"""Whether people can decide in their own name alone: by the chart's policy, which has to refuse the operator too.

Without the policy whoever may create Approvals could write any name into them. The operator need not read policies of
the cluster to know: it asks for an Approval in the name of another, by a dry run, of which nothing is ever kept.
"""

from stagecoach.build.labels import API_VERSION
from stagecoach.kinds.plan import Object

# What the policy says; charts/stagecoach/templates/approvals.yaml.
REFUSAL = "everybody decides in their own name"
NOBODY = "stagecoach:nobody"
MISSING = (
    "The policy by which everybody decides in their own name alone, <release>-approvals.<namespace>, does not hold"
    " here: without it an Approval could be in any name, so none counts. Whoever installed the operator installs the"
    " whole chart, of the operator's version, and sees that its account is not among approvals.gitAccounts. It goes on"
    " by itself then."
)

UNPROVEN = (
    "The API server is asked whether everybody decides in their own name alone, without which this does not count."
    " Nothing to do; if it lasts, see the operator's log for what the API server answers."
)

UNGUARDED = (
    "When it was created, the policy by which everybody decides in their own name alone,"
    " <release>-approvals.<namespace>, did not hold here, or had only just come back: it could be in any name, so it"
    " never counts. Create another Approval once the policy holds."
)


def in_the_name_of_another(namespace: str) -> Object:
    """Return an Approval that nobody may create."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Approval",
        "metadata": {"name": "in-the-name-of-another", "namespace": namespace},
        "spec": {
            "subject": {"kind": "Evaluation", "name": "none"},
            "release": f"sha256:{'0' * 64}",
            "decision": "Approve",
            "reviewer": NOBODY,
        },
    }
