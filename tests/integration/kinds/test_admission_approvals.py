"""What the API server refuses of reviews and Approvals, and that it says what to write instead."""

import pytest

from tests import builders
from tests.integration.kinds.admission import Change, put, refused, take, written
from tests.kube import Kube, KubeError

USERS = [{"user": "qa@example.com"}, {"user": "lead@example.com"}]


def reviewed(**changes: object) -> Change:
    """Return a change that gives a gate a canary and a review."""

    def change(spec: builders.Object) -> None:
        spec["suites"].append({"name": "canary", "dataset": "canary", "type": "Canary"})
        spec["review"] = {
            name: value
            for name, value in ({"suite": "canary", "reviewers": USERS} | changes).items()
            if value is not None
        }

    return change


REVIEWS = [
    ("no canary", put("review", {"suite": "held-out", "reviewers": USERS}), "review.suite must be the name of the suite of type Canary"),
    ("another suite", reviewed(suite="held-out"), "review.suite must be the name of the suite of type Canary"),
    ("no suite", reviewed(suite=None), "spec.review.suite: Required value"),
    ("nobody", reviewed(reviewers=[]), "should have at least 1 items"),
    ("no reviewers", reviewed(reviewers=None), "spec.review.reviewers: Required value"),
    ("17 reviewers", reviewed(reviewers=[{"user": f"u{n}"} for n in range(17)]), "must have at most 16 items"),
    ("both", reviewed(reviewers=[{"user": "a", "group": "b"}]), "give exactly one of user and group"),
    ("neither", reviewed(reviewers=[{}]), "give exactly one of user and group"),
    ("twice", reviewed(reviewers=[{"user": "a"}, {"user": "a"}]), "name each user and each group once"),
    ("no name", reviewed(reviewers=[{"user": ""}]), "must be a name without white space at its ends"),
    ("a name with a blank", reviewed(reviewers=[{"user": "a "}]), "must be a name without white space at its ends"),
    ("more approvals than people", reviewed(approvals=3), "approvals are of different people"),
    ("no approvals", reviewed(approvals=0), "should be greater than or equal to 1"),
    ("9 approvals", reviewed(approvals=9, reviewers=[{"group": "g"}]), "should be less than or equal to 8"),
    ("a rubric alone", reviewed(rubric=[{"name": "fluency"}]), "rubric and minScore go together"),
    ("a score alone", reviewed(minScore=4), "rubric and minScore go together"),
    ("a score of 6", reviewed(rubric=[{"name": "fluency"}], minScore=6), "should be less than or equal to 5"),
    ("no rubric", reviewed(rubric=[], minScore=3), "should have at least 1 items"),
    ("a rubric twice", reviewed(rubric=[{"name": "a"}, {"name": "a"}], minScore=3), "Duplicate value"),
    ("an odd rubric", reviewed(rubric=[{"name": "Fluent?"}], minScore=3), "must be lower-case letters"),
    ("an odd time", reviewed(validFor="1 month"), "must be a length of time such as 90s, 30m, 24h or 7d"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), [case[1:] for case in REVIEWS], ids=[case[0] for case in REVIEWS])
def test_a_review_that_makes_no_sense_is_refused_in_words(kube: Kube, change: Change, words: str) -> None:
    assert words in refused(kube, written(builders.gate, kube.namespace, change))


WHOLE = reviewed(
    reviewers=[*USERS, {"group": "ml leads"}],
    approvals=8,
    validFor="7d",
    rubric=[{"name": "fluency"}, {"name": "factual-accuracy"}],
    minScore=3.5,
)


def test_a_review_that_makes_sense_is_taken(kube: Kube) -> None:
    given = take(kube, written(builders.gate, kube.namespace, WHOLE))["spec"]["review"]
    assert given["approvals"] == 8
    given = take(kube, written(builders.gate, kube.namespace, reviewed()))["spec"]["review"]
    assert given == {"suite": "canary", "reviewers": USERS, "approvals": 1, "validFor": "720h"}


SOON = "2027-01-31T12:00:00Z"


def on_release(decision: str, **changes: object) -> Change:
    """Return a change that makes an Approval one on a release of a deployment."""

    def change(spec: builders.Object) -> None:
        spec |= {"subject": {"kind": "ModelDeployment", "name": "answers"}, "decision": decision} | changes

    return change


APPROVALS = [
    ("no subject", put("subject", None), "spec.subject: Required value"),
    ("of a gate", put("subject.kind", "EvalGate"), 'supported values: "Evaluation", "ModelDeployment"'),
    ("no release", put("release", None), "spec.release: Required value"),
    ("a short release", put("release", "sha256:0123456789ab"), "must be sha256: and 64 of the digits"),
    ("another decision", put("decision", "Banish"), 'supported values: "Approve", "Reject", "Promote", "Override", "Revoke"'),
    ("an override of a review", lambda spec: spec.update(decision="Override", reason="x", expires=SOON), "a ModelDeployment by Promote, Override or Revoke"),
    ("an approval of a deployment", put("subject.kind", "ModelDeployment"), "an Evaluation is decided on by Approve or Reject"),
    ("an override without an end", on_release("Override", reason="x"), "an Override ends: give expires"),
    ("an override without a reason", on_release("Override", expires=SOON), "an Override and a Revoke need a reason"),
    ("a revoke without a reason", on_release("Revoke"), "an Override and a Revoke need a reason"),
    ("a revoke that expires", on_release("Revoke", reason="x", expires=SOON), "do not expire: leave out expires"),
    ("a promote that expires", on_release("Promote", expires=SOON), "do not expire: leave out expires"),
    ("a promote with scores", on_release("Promote", scores=[{"name": "a", "score": 1}]), "scores are of a review"),
    ("by nobody", put("reviewer", None), "spec.reviewer: Required value"),
    ("by an empty name", put("reviewer", ""), "must be a name without white space at its ends"),
    ("a score of 6", put("scores", [{"name": "fluency", "score": 6}]), "should be less than or equal to 5"),
    ("half a score", put("scores", [{"name": "fluency", "score": 4.5}]), "must be of type integer"),
    ("scores twice", put("scores", [{"name": "a", "score": 1}, {"name": "a", "score": 5}]), "Duplicate value"),
    ("a Reject without a reason", put("decision", "Reject"), "a Reject needs a reason"),
    ("a Reject that expires", lambda spec: spec.update(decision="Reject", reason="no", expires="2027-01-31T12:00:00Z"), "a Reject, a Promote and a Revoke do not expire"),
    ("an odd time", put("expires", "tomorrow"), "must be of type date-time"),
    ("a time long ago", put("expires", "0000-01-01T00:00:00Z"), "must be a time such as"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), [case[1:] for case in APPROVALS], ids=[case[0] for case in APPROVALS])
def test_an_approval_that_makes_no_sense_is_refused_in_words(kube: Kube, change: Change, words: str) -> None:
    assert words in refused(kube, written(builders.approval, kube.namespace, change))


SCORES = [{"name": "fluency", "score": 5}, {"name": "factual-accuracy", "score": 1}]
TAKEN: list[Change] = [
    lambda _spec: None,
    put("group", "ml-leads"),
    put("scores", SCORES),
    lambda spec: spec.update(decision="Reject", reason="Row 3 is rude.", scores=SCORES),
    lambda spec: spec.update(expires="2027-01-31T12:00:00Z", reason="All is well.", group="ml leads"),
    on_release("Promote"),
    on_release("Promote", reason="I have looked.", group="ml-leads"),
    on_release("Override", reason="Incident 4711.", expires=SOON),
    on_release("Revoke", reason="Leaks addresses."),
]


@pytest.mark.parametrize("change", TAKEN)
def test_an_approval_that_makes_sense_is_taken(kube: Kube, change: Change) -> None:
    take(kube, written(builders.approval, kube.namespace, change))


TIMES = ["2027-01-31T12:00:00Z", "2027-01-31T12:00:00.123456789+02:00", "9999-12-31T23:59:59Z"]


@pytest.mark.parametrize("time", TIMES)
def test_times_of_all_forms_are_taken(kube: Kube, time: str) -> None:
    take(kube, written(builders.approval, kube.namespace, put("expires", time)))


def test_an_approval_never_changes(kube: Kube) -> None:
    made = kube.create(builders.approval(namespace=kube.namespace))
    with pytest.raises(KubeError, match="an Approval's spec cannot change: create another"):
        kube.patch("Approval", made["metadata"]["name"], {"spec": {"decision": "Reject", "reason": "no"}})
    with pytest.raises(KubeError, match="an Approval's spec cannot change"):
        kube.patch("Approval", made["metadata"]["name"], {"spec": {"scores": None, "expires": "2027-01-31T12:00:00Z"}})
