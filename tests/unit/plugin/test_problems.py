"""What the API server's refusals mean, in a sentence with the next step."""

import json

import pytest

from stagecoach_plugin.problems import Conflict, Missing, NotServed, Problem, Refused, Unreadable, of_answer
from tests.remedies import speaks

RESOURCE = "evaluations.stagecoach.dev"


def status(reason: str, message: str, **details: str) -> str:
    return json.dumps({"kind": "Status", "reason": reason, "message": message, "details": details})


ANSWERS = [
    (401, status("Unauthorized", "Unauthorized"), Problem, "does not know who you are"),
    (403, status("Forbidden", 'evaluations "a" is forbidden: User "x" cannot get'), Unreadable, "lack the right to get evaluations.stagecoach.dev in namespace team"),
    (403, status("Forbidden", "approvals \"a\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: in your own name"), Refused, "An admission policy refuses it"),
    (403, "<html>proxy</html>", Unreadable, "<html>proxy</html>"),
    (404, status("NotFound", 'evaluations "a" not found', name="a", kind="evaluations"), Missing, "There is no object a of evaluations.stagecoach.dev in namespace team"),
    (404, status("NotFound", 'namespaces "team" not found', name="team", kind="namespaces"), Missing, "There is no namespace team"),
    (404, status("NotFound", "the server could not find the requested resource"), NotServed, "does not know evaluations.stagecoach.dev"),
    (404, "404 page not found\n", NotServed, "does not know evaluations.stagecoach.dev"),
    (409, status("AlreadyExists", "exists"), Conflict, "already"),
    (422, status("Invalid", "spec.reason: required"), Refused, "spec.reason: required"),
    (400, status("BadRequest", "unknown field"), Refused, "unknown field"),
    (429, "", Problem, "429"),
    (500, status("InternalError", "etcd is gone"), Problem, "etcd is gone"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "body", "kind", "words"), ANSWERS)
def test_what_an_answer_means(code: int, body: str, kind: type[Problem], words: str) -> None:
    problem = of_answer(code, body, "get", RESOURCE, "a", "team")
    assert type(problem) is kind
    assert words in str(problem)


@pytest.mark.parametrize(
    ("code", "body"), [(code, body) for code, body, kind, _ in ANSWERS if kind in (Missing, NotServed, Unreadable)]
)
def test_it_says_what_to_do(code: int, body: str) -> None:
    told = str(of_answer(code, body, "get", RESOURCE, "a", "team"))
    assert speaks("Problem", told) or "Ask an administrator" in told or "`kubectl" in told


def test_of_another_group_the_cluster_is_too_old() -> None:
    problem = of_answer(404, "404 page not found", "create", "selfsubjectreviews.authentication.k8s.io", "", "team")
    assert "Kubernetes 1.30 or later" in str(problem)


def test_names_that_are_alike() -> None:
    assert str(Missing("It is not there.", ("a", "b"))) == "It is not there. Did you mean a or b?"
    assert str(Missing("It is not there.")) == "It is not there."
