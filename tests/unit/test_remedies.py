"""EveryFailureSpeaks: the check of words that say what to do, and the words that no event of a property test reaches."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from stagecoach.api.resolved import FindingCode
from stagecoach.contract.reports import Outcome, Problem, Report
from stagecoach.kinds.finetunerun import imports
from stagecoach.kinds.finetunerun.reconcile import LOOKUP_ADVICE
from stagecoach.kinds.transformerproject.findings import REMEDIES
from stagecoach.policies.attempts import TABLE, AttemptOutcome, Ended
from stagecoach.policies.verdicts import REASONS
from stagecoach.policies.verdicts import REMEDIES as REMEDIES_OF_VERDICTS
from stagecoach.runtime.errors import NameTaken, from_response
from stagecoach.runtime.problems import MESSAGE_LENGTH, refused
from tests.remedies import NOTHING_TO_DO, speaks

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT / "images" / "trainer" / "stagecoach_trainer", ROOT / "operator" / "stagecoach" / "contract")
# The operator says what to do about these: it depends on whose Job it was.
OF_THE_OPERATOR = {"OutOfMemory", "Preempted", "Terminated", "ReportUnknown"}


@pytest.mark.parametrize("advice", [*LOOKUP_ADVICE.items(), *imports.ADVICE.items()])
def test_advice_that_goes_before_the_tables_says_what_to_do(advice: tuple[AttemptOutcome, str]) -> None:
    assert speaks(*advice)


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("", "Create it."),
        ("Lost", ""),
        ("Lost", " "),
        ("Lost", "It is gone."),
        ("ArtifactMissing", "The trainer reported success and no artifact. Its image does not fit this operator's version."),
        ("Unschedulable", "0/3 nodes are available: insufficient memory. It starts by itself once the cluster lets it."),
    ],
)  # fmt: skip
def test_words_without_a_remedy_are_found(reason: str, message: str) -> None:
    assert not speaks(reason, message)


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("UnknownColumn", "There is no column 'a'. Set columns.text to one of them."),
        ("SpecTooLarge", "It takes 9 bytes, and a Job holds 8: shorten prompts."),
        ("BadImage", "It is odd. Whoever installed the operator sets it right."),
        ("PodLost", "It is gone. Nothing to do: nodes drain."),
        *((reason, "It goes on.") for reason in sorted(NOTHING_TO_DO)),
    ],
)
def test_words_with_one_are_left_alone(reason: str, message: str) -> None:
    assert speaks(reason, message)


@pytest.mark.parametrize("outcome", sorted(set(TABLE) - {AttemptOutcome.SUCCEEDED}))
def test_every_end_of_an_attempt_has_advice(outcome: AttemptOutcome) -> None:
    assert speaks(outcome, TABLE[outcome].advice)


@pytest.mark.parametrize(("remedy", "words"), [("Renew it.", "It is old. Renew it."), ("", "It is old. See that ")])
def test_the_programs_own_remedy_comes_before_the_tables(remedy: str, words: str) -> None:
    problem = Problem(reason="KeysExpired", message="It is old.", remedy=remedy)
    report = Report(outcome=Outcome.SERVICE_FAILED, problem=problem)
    told = Ended(AttemptOutcome.SERVICE_FAILED, problem.sentence, report).words()
    assert told.startswith(words)
    assert remedy == "" or told == words


@pytest.mark.parametrize(("reason", "remedy"), REMEDIES_OF_VERDICTS.items())
def test_every_verdict_but_passed_has_a_remedy(reason: str, remedy: str) -> None:
    assert speaks(reason, remedy)
    assert set(REASONS.values()) - {"Passed"} <= set(REMEDIES_OF_VERDICTS)


@pytest.mark.parametrize("code", FindingCode)
def test_every_finding_has_a_remedy(code: FindingCode) -> None:
    assert speaks(code.value, REMEDIES[code])


@pytest.mark.parametrize(
    "error",
    [
        *(from_response(code, {}, b'{"message": "the quota says no"}', "create jobs") for code in (400, 403, 422)),
        from_response(403, {}, b'{"message": "User x cannot create jobs"}', "create jobs"),
        from_response(422, {}, b'{"message": "%s"}' % (b"x" * 5000), "create jobs"),
        NameTaken("Job team/a exists and was not made for this FineTuneRun. Delete it."),
    ],
    ids=lambda error: str(error)[:60],
)
def test_what_the_cluster_refuses_is_told_with_what_to_do(error: Exception) -> None:
    problem = refused(error)
    assert speaks(problem.reason, problem.message[:MESSAGE_LENGTH])


def test_every_problem_of_the_trainer_has_a_remedy() -> None:
    found = [each for folder in SOURCES for path in sorted(folder.rglob("*.py")) for each in problems(path)]
    assert len(found) > 50
    assert {place for place, reason, told in found if not told and reason not in OF_THE_OPERATOR} == set()


def problems(path: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield each place where a problem is made, its reason where that is written there, and whether it has a remedy."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Problem.of":
            reason = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
            remedies = [each.value for each in node.keywords if each.arg == "remedy"]
            told = any(not (isinstance(each, ast.Constant) and not each.value) for each in remedies)
            yield f"{path.name}:{node.lineno}", str(reason), told
