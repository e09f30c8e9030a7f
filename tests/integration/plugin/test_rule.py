"""promote, override and revoke on a real API server, by people with a reviewer's rights; the tests play the operator."""

from datetime import datetime, timedelta

import pytest

from tests import builders
from tests.integration.plugin.conftest import PersonOf, ended
from tests.integration.support.eventually import eventually
from tests.kube import Kube
from tests.unit.plugin import samples

SECOND = samples.digest("b")
APPROVERS = [{"user": "qa@example.com"}, {"group": "ml-leads"}]


@pytest.fixture
def held(kube: Kube) -> Kube:
    """A deployment whose candidate waits for somebody to promote it."""
    kube.create(builders.deployment(namespace=kube.namespace, approvers=APPROVERS))
    one = samples.deployment()["status"]["serving"] | {
        "admitted": "answers-r-1",
        "engine": "answers-e-1",
        "engineImage": builders.ENGINE_IMAGE,
        "loaderImage": builders.EVALUATOR_IMAGE,
        "gates": [{"gate": "good", "evaluation": "good-1", "key": builders.digest("c")}],
    }
    other = one | {"release": SECOND, "short": SECOND[7:19], "run": "second"}
    for status in (
        {"candidate": one},
        {"serving": one, "candidate": None},
        {"candidate": other},
        {"candidate": {"step": 0, "weight": 50, "weightUntil": samples.AT, "heldSince": samples.AT}},
    ):
        kube.patch("ModelDeployment", "answers", {"status": status}, "status")
    return kube


def the_approval(kube: Kube) -> samples.Object:
    [made] = eventually(lambda: kube.select("Approval"), 60, "an Approval")
    return made


def comes_to(kube: Kube, name: str, reason: str, message: str, mood: str = "ready") -> None:
    kube.patch("Approval", name, {"status": {"conditions": samples.conditions(reason, message, mood)}}, "status")


def test_a_promote_in_a_terminal(held: Kube, person: PersonOf) -> None:
    answer = person().type("promote", "mdep/answers", "--release", SECOND[7:19], "--wait", "0", keys="y\n", columns=160)
    assert answer.code == 1
    assert "candidate: run second, release" in answer.words
    assert "Promote release bbbbbbbbbbbb of ModelDeployment answers as qa@example.com?" in answer.words
    made = the_approval(held)
    assert made["spec"] == {
        "subject": {"kind": "ModelDeployment", "name": "answers"},
        "release": SECOND,
        "decision": "Promote",
        "reviewer": "qa@example.com",
    }


def test_a_revoke_that_is_repeated_makes_nothing_twice(held: Kube, person: PersonOf) -> None:
    revoke = ("revoke", "answers", "--release", SECOND, "--reason", "Leaks addresses.", "--yes")
    process = person().start(*revoke)
    comes_to(held, the_approval(held)["metadata"]["name"], "Revoked", "It is served no more.")
    for done in (ended(process), person().run(*revoke)):
        assert done.code == 0, done
        assert ": Revoked. It is served no more." in done.words
    assert len(held.select("Approval")) == 1


def test_an_override_as_a_member_of_a_group(held: Kube, person: PersonOf) -> None:
    lead = person("lead@example.com", ["ml-leads"])
    override = ("override", "answers", "--release", SECOND, "--reason", "Incident", "--hours", "2", "--yes")
    process = lead.start(*override)
    made = the_approval(held)
    assert (made["spec"]["group"], made["spec"]["decision"]) == ("ml-leads", "Override")
    ends = datetime.fromisoformat(made["spec"]["expires"]) - datetime.fromisoformat(
        made["metadata"]["creationTimestamp"]
    )
    assert timedelta(hours=1, minutes=50) < ends <= timedelta(hours=2)
    comes_to(held, made["metadata"]["name"], "Overridden", "It may be admitted.")
    assert ended(process).code == 0
    again = lead.run(*override)
    assert (again.code, len(held.select("Approval"))) == (0, 1)
    assert f"You have said so already, until {made['spec']['expires']}" in again.words
    assert "about ModelDeployment answers" in lead.run("why", f"appr/{made['metadata']['name']}").words


def test_what_would_not_count_is_not_made(held: Kube, person: PersonOf) -> None:
    revoke = ("revoke", "answers", "--release", SECOND, "--reason", "x", "--yes")
    assert "You are no approver of ModelDeployment answers" in person("ed@example.com").run(*revoke).words
    promote = ("promote", "answers", "--release", samples.RELEASE, "--yes")
    assert "Nothing waits for release f5aadf0949ff" in person().run(*promote).words
    assert "no terminal, so nobody can be asked" in person().run(*revoke[:-1]).words
    assert held.select("Approval") == []
