"""Rows that people read, on their way through a log."""

import pytest
from pydantic import ValidationError

from stagecoach.contract.evaluations import Criterion, EvaluationInputs, Suite, SuiteType
from stagecoach.contract.inputs import Columns
from stagecoach.contract.reviews import MAX_SHOWN, CanaryRow, CanaryRows, Review, Reviewer, shown

DIGEST = "sha256:" + "a" * 64
# Whatever a text may have in it, a row is one line.
ODD = "a\nb\r\u2028c\x85d\x0be\u0000 \U0001f600 \"}'"


def row(number: int, text: str = "text") -> CanaryRow:
    return CanaryRow(row=f"canary.csv:{number}", input=text, expected=text, candidate=text)


def test_rows_are_read_from_a_log_as_they_were_told() -> None:
    rows = CanaryRows(rows=(row(1, ODD), row(2), CanaryRow(row="canary.csv:3", input="", expected="x")))
    lines = list(rows.lines())
    assert not any("\n" in line or "\r" in line for line in lines)
    log = "\n".join(["asking", '{"progress": 1}', *lines, "a library says farewell", ""])
    read = CanaryRows.read(log)
    assert read == rows
    assert read.digest == rows.digest


@pytest.mark.parametrize(
    "log",
    [
        "",
        '{"canary": 1}',
        '{"canary": {"row": "a", "input": "b"',
        '{"canary": {"row": "a", "input": "b", "expected": "c", "more": "d"}}',
        "\n".join([*CanaryRows(rows=(row(1),)).lines()] * 2),
        "\n".join(f'{{"canary": {row(number).line()}}}' for number in range(21)),
        f'{{"canary": {{"row": "a", "input": "{"x" * 401}", "expected": "c"}}}}',
    ],
)
def test_a_log_that_is_not_as_it_has_to_be_has_no_rows(log: str) -> None:
    assert CanaryRows.read(log).rows == ()


def test_another_word_is_another_digest() -> None:
    one, other = CanaryRows(rows=(row(1),)), CanaryRows(rows=(row(1, "other"),))
    assert one.digest != other.digest
    assert CanaryRows(rows=(row(1), row(2))).digest != CanaryRows(rows=(row(2), row(1))).digest


def test_the_longest_rows_have_a_stated_size() -> None:
    text = shown("x" * 1000)
    assert (len(text), text[-1]) == (MAX_SHOWN, "…")
    longest = CanaryRow(row="r" * 120, input=text, expected=text, candidate=text, baseline=text, incumbent=text)
    assert len(longest.line()) * 20 < 44_000
    odd = "\u0001" * MAX_SHOWN  # six bytes each, in JSON
    worst = CanaryRow(row="r" * 120, input=odd, expected=odd, candidate=odd, baseline=odd, incumbent=odd)
    assert len(worst.line().encode()) < 16 * 1024, "a container runtime breaks longer lines in two"


def inputs(review: Review | None = None) -> EvaluationInputs:
    columns = Columns(text="text", label="label")
    return EvaluationInputs(
        release=DIGEST,
        suites=(Suite(name="canary", type=SuiteType.CANARY, data=DIGEST, columns=columns),),
        criteria=(Criterion(name="good", suite="canary", metric="accuracy", min=0.5),),
        min_scored=0.99,
        review=review,
    )


def test_who_reviews_is_part_of_the_key() -> None:
    qa = Review(suite="canary", reviewers=(Reviewer(user="qa@example.com"),), approvals=1, valid_for="720h")
    others = qa.model_copy(update={"reviewers": (Reviewer(group="qa@example.com"),)})
    assert len({inputs(each).digest for each in (None, qa, others)}) == 3
    assert "review" not in inputs().document(), "keys without a review stay"


def test_what_is_reviewed_is_a_suite() -> None:
    elsewhere = Review(suite="none", reviewers=(Reviewer(user="a"),), approvals=1, valid_for="1h")
    with pytest.raises(ValidationError, match="the rows to review are of no suite"):
        inputs(elsewhere)
