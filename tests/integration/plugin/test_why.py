"""why and report on a real API server: what may not be read is named, and stops nothing."""

import json

import pytest

from tests import builders
from tests.integration.plugin.conftest import PersonOf, grant
from tests.integration.plugin.objects import put
from tests.kube import Kube
from tests.unit.plugin import samples

NAME = samples.NAME
READING = {"apiGroups": ["stagecoach.dev"], "resources": ["*"], "verbs": ["get", "list"]}


@pytest.fixture
def everything(kube: Kube) -> Kube:
    """A project, its run, its gate, an Evaluation that awaits a review, and an approval of somebody else."""
    project = builders.project("support-desk", kube.namespace)
    kube.create(project)
    kube.patch("TransformerProject", "support-desk", {"status": samples.project()["status"]}, "status")
    kube.create(builders.run("support-desk-lora", kube.namespace, project="support-desk"))
    running = {"phase": "Running", "conditions": samples.conditions("Running", "It trains.", "waits")}
    kube.patch("FineTuneRun", "support-desk-lora", {"status": running}, "status")
    kube.create(builders.gate("support-desk", kube.namespace, project="support-desk"))
    unjudged = [{"run": "old", "reason": "AskedUnknown", "message": "Create another run."}]
    judging = {
        "phase": "AwaitingReview",
        "conditions": samples.conditions("Judging", "People decide.", "ready"),
        "unjudged": unjudged,
    }
    kube.patch("EvalGate", "support-desk", {"status": judging}, "status")
    put(kube, samples.awaiting())
    put(
        kube, samples.approval("NotAReviewer", "Not you: ask qa@example.com.", "stalled", reviewer="editor@example.com")
    )
    return kube


def test_a_reviewer_is_told_what_he_may_not_read(everything: Kube, person: PersonOf) -> None:
    answer = person().run("why", f"evaluation/{NAME}")
    assert (answer.code, answer.err) == (0, "")
    for words in (
        f"Evaluation {NAME} … AwaitingReview",
        "qa@example.com: you may decide",
        f"kubectl stagecoach approve {NAME} -n {everything.namespace}",
        "Approval qa-ecfa139ab8f1-1 ✗ NotAReviewer Not you: ask qa@example.com.",
        "EvalGate support-desk ✓ AwaitingReview (Judging)",
        "FineTuneRun support-desk-lora is not shown: you lack the right to get finetuneruns.stagecoach.dev.",
        "TransformerProject support-desk is not shown: you lack the right to get transformerprojects.stagecoach.dev.",
    ):
        assert words in answer.words


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (f"eval/{NAME}", "FineTuneRun support-desk-lora … Running It trains."),
        (NAME, "FineTuneRun support-desk-lora … Running It trains."),
        ("egate/support-desk", f"Evaluation {NAME} … AwaitingReview"),
        ("egate/support-desk", "FineTuneRun old ✗ cannot be judged (AskedUnknown) Create another run."),
        ("ftr/support-desk-lora", f"Evaluation {NAME} … AwaitingReview"),
        ("ftr/support-desk-lora", "TransformerProject support-desk ✓ Ready (Resolved)"),
        ("txp/support-desk", "FineTuneRun support-desk-lora … Running It trains."),
        ("appr/qa-ecfa139ab8f1-1", "decision Approve by editor@example.com"),
        ("support-desk", "EvalGate support-desk ✓ AwaitingReview (Judging)"),
        ("support-desk", "TransformerProject support-desk ✓ Ready (Resolved), for"),
    ],
)
def test_whoever_may_read_all_sees_the_chain(everything: Kube, person: PersonOf, what: str, words: str) -> None:
    reader = person("reader@example.com", rights=False)
    grant(everything, "reader@example.com", [READING])
    answer = reader.run("why", what)
    assert (answer.code, answer.err) == (0, "")
    assert words in answer.words
    assert "Not seen" not in answer.out


PROBLEMS = [
    ("of a kind that he may not read", "ftr/support-desk-lora", "You lack the right to get finetuneruns.stagecoach.dev in namespace"),
    ("not there", "eval/none", "There is no object none of evaluations.stagecoach.dev in namespace"),
    ("of no kind", "none", "Not looked for, as you lack the rights: get finetuneruns.stagecoach.dev, get transformerprojects.stagecoach.dev."),
    ("alike", NAME[:-1], f"Did you mean {NAME} or support-desk?"),
    ("an unknown kind", "pod/x", "There is no kind 'pod' here"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "words"), [case[1:] for case in PROBLEMS], ids=[case[0] for case in PROBLEMS])
def test_what_cannot_be_told(everything: Kube, person: PersonOf, what: str, words: str) -> None:
    assert everything
    answer = person().run("why", what)
    assert (answer.code, answer.out) == (1, "")
    assert words in answer.words
    assert "Traceback" not in answer.err


def test_the_report_in_a_terminal(kube: Kube, person: PersonOf) -> None:
    put(kube, samples.awaiting())
    narrow = person().type("report", NAME, columns=80)
    wide = person().type("report", NAME, columns=140)
    assert (narrow.code, wide.code) == (0, 0)
    assert "row canary, row 1 ─" in narrow.words
    assert "Candidate" in wide.out
    for words in (
        "no row of the suites is in the training data",
        "have judged 3 releases",
        "evaluations/ecfa139ab8f105d4/report.html",
    ):
        assert words in narrow.words
        assert words in wide.words


def test_the_report_for_programs(kube: Kube, person: PersonOf) -> None:
    put(kube, samples.decided("Passed", "Passed", "Good."))
    answer = person().run("report", NAME, "--json")
    told = json.loads(answer.out)
    assert (told["name"], told["namespace"], told["verdict"]) == (NAME, kube.namespace, "Passed")
    assert told["criteria"][0]["value"] == 0.9137
