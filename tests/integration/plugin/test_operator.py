"""The plugin and the operator together: from a run that meets its criteria to the verdict that people bring."""

import pytest

from tests.integration.plugin.conftest import PersonOf, grant
from tests.integration.support.jury import Jury

ALL = {"apiGroups": ["stagecoach.dev"], "resources": ["*"], "verbs": ["get", "list"]}


@pytest.mark.long
def test_two_people_let_it_pass(jury: Jury, person: PersonOf) -> None:
    name = jury.asked(approvals=2, rubric=[{"name": "fluency"}], minScore=4)
    reader = person("reader@example.com", rights=False)
    grant(jury.kube, "reader@example.com", [ALL])
    told = reader.run("why", "egate/good").words
    assert f"Evaluation {name} … AwaitingReview" in told
    assert f"kubectl stagecoach approve {name} -n {jury.kube.namespace}" in told
    assert "FineTuneRun first ✓ Succeeded" in reader.run("why", name).words

    answer = person("qa@example.com").run("approve", name, "--score", "fluency=5", "--yes")
    assert answer.code == 0, answer
    assert ": Counted. It counts." in answer.words
    assert f"Evaluation {name}: 1 of 2 approvals; the verdict follows when all are there." in answer.words
    answer = person("qa@example.com").run("approve", name, "--score", "fluency=5", "--yes")
    assert "You have approved already" in answer.words

    answer = person("lead@example.com", ["ml-leads"]).type("approve", name, keys="4\ny\n", columns=120)
    assert answer.code == 0, answer
    assert f"Evaluation {name}: Passed." in answer.words
    assert "lead@example.com (as a member of ml-leads)" in answer.words
    decided = jury.awaits("Evaluation", name, "Decided")["status"]
    assert [each["scores"][0]["score"] for each in decided["review"]["approvals"]] == [5, 4]

    answer = person("qa@example.com").run("reject", name, "--reason", "too late", "--yes")
    assert answer.code == 1
    assert "is decided already: Passed" in answer.words
    report = person("qa@example.com").run("report", name).words
    assert "human_fluency Passed 4.5 – ≥ 4" in report
    assert f"Evaluation {name} ✓ Passed" in reader.run("why", "ftr/first").words


def test_one_of_them_rejects(jury: Jury, person: PersonOf) -> None:
    name = jury.asked(approvals=2)
    answer = person("lead@example.com", ["ml-leads"]).run("reject", name, "--reason", "Row 3 is rude.", "--yes")
    assert answer.code == 0, answer
    assert ": Rejected. It is why the verdict is Failed." in answer.words
    assert (
        f"Evaluation {name}: Failed. Rejected by lead@example.com (as a member of ml-leads): Row 3 is rude."
        in answer.words
    )
