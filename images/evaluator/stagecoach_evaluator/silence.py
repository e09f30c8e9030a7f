"""Answers in which nothing was written. Each is a wrong one; where most are, there is no model to judge by them."""

from collections.abc import Sequence

from stagecoach.contract.answers import Answer
from stagecoach.contract.reports import BadInput, Problem


def empty(answers: Sequence[Answer]) -> int:
    """Return how many of them are empty texts. What a task of lm-evaluation-harness makes of one is its own affair."""
    return sum(not text.strip() for text in _texts(answers))


def check(suite: str, answers: Sequence[Answer]) -> None:
    """Raise BadInput for the answers of a release to a suite of which more than half are empty texts."""
    texts, nothing = len(_texts(answers)), empty(answers)
    if 2 * nothing <= texts:
        return
    message = f"{nothing} of {texts} answers of the release are empty texts, by which nothing can be judged."
    remedy = (
        "Ask it a row of the suite by hand. If it says nothing then, see that the targets it was trained on are whole,"
        " and that its prompt ends where it has to go on, and try another release. If it does, see the engine's log."
    )
    raise BadInput(Problem.of("NothingAnswered", message, field=f"suites[{suite}]", remedy=remedy))


def _texts(answers: Sequence[Answer]) -> list[str]:
    return [answer.text for answer in answers if answer.text is not None and answer.values is None]
