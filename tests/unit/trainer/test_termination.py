import json
import random

import pytest

from stagecoach.contract.reports import (
    MAX_BYTES,
    PACKED,
    Finding,
    Outcome,
    Problem,
    Report,
    Resolution,
    ResolvedDataset,
    ResolvedLabels,
    ResolvedModel,
)
from stagecoach.contract.verdicts import (
    MAX_CRITERIA,
    MAX_SUITES,
    CriterionResult,
    EvaluationReport,
    SuiteRows,
    Verdict,
)
from stagecoach.contract.verdicts import Outcome as Result
from stagecoach_trainer import termination

DIGEST = "sha256:" + "a1" * 32


def resolution(datasets: int, candidates: int, labels: int, label: str, finding: str = "short.") -> Report:
    """Return a result whose names and digests have nothing in common that could be told in fewer bytes."""
    draw = random.Random(17)  # noqa: S311 - nothing is kept secret with it

    def named(length: int) -> str:
        return "".join(draw.choices("abcdefghijklmnopqrstuvwxyz0123456789-", k=length))

    def digest() -> str:
        return f"sha256:{draw.randbytes(32).hex()}"

    return Report(
        outcome=Outcome.DONE,
        resolution=Resolution(
            datasets=tuple(
                ResolvedDataset(name=named(40), digest=digest(), examples=10**9, revision=draw.randbytes(20).hex())
                for _ in range(datasets)
            ),
            labels=ResolvedLabels(
                count=labels, digest=DIGEST, first=tuple(f"{label}{number}" for number in range(min(labels, 100)))
            ),
            candidates=tuple(
                ResolvedModel(
                    name=named(40),
                    model=digest(),
                    tokenizer=digest(),
                    architecture=named(64),
                    context=10**7,
                    revision=draw.randbytes(20).hex(),
                )
                for _ in range(candidates)
            ),
            findings=tuple(
                Finding(code=code, message=finding)
                for code in ("Leakage", "OverflowAboveOnePercent", "LongerThanContext")
            ),
            has_records=True,
        ),
    )


@pytest.mark.parametrize("label", ["a", "größe_" * 20, "👋🏽" * 60, '\\"\n\x01' * 30])
@pytest.mark.parametrize("finding", ["ok.", "é" * 300])
@pytest.mark.parametrize(("datasets", "candidates", "labels"), [(1, 1, 2), (3, 1, 500), (12, 4, 500)])
def test_every_resolution_fits(datasets: int, candidates: int, labels: int, label: str, finding: str) -> None:
    whole = resolution(datasets, candidates, labels, label, finding)
    text = termination.message(whole)
    assert len(text.encode()) <= MAX_BYTES
    parsed = Report.parse(text)
    assert parsed is not None
    assert parsed.resolution is not None
    assert whole.resolution is not None
    # Digests and counts are never shortened: they are what the operator needs.
    assert parsed.outcome is Outcome.DONE
    assert parsed.resolution.datasets == whole.resolution.datasets
    assert parsed.resolution.candidates == whole.resolution.candidates
    assert parsed.resolution.labels is not None
    assert whole.resolution.labels is not None
    assert parsed.resolution.labels.digest == DIGEST
    first = parsed.resolution.labels.first
    assert first == whole.resolution.labels.first[: len(first)]
    assert [item.code for item in parsed.resolution.findings] == [item.code for item in whole.resolution.findings]


@pytest.mark.parametrize("finding", ["é" * 300, "ok."])
def test_the_largest_project_tells_what_was_found(finding: str) -> None:
    text = termination.message(resolution(12, 4, 500, "größe_" * 20, finding))
    assert text.startswith(PACKED), "it would not fit as it is"
    parsed = Report.parse(text)
    assert parsed is not None
    assert parsed.resolution is not None
    assert all(item.message[:90] == finding[:90] for item in parsed.resolution.findings)


def test_a_packed_message_that_is_damaged_is_none() -> None:
    text = termination.message(resolution(12, 4, 500, "a"))
    for damaged in (text[:-9], PACKED, f"{PACKED}\t\n,", f"{PACKED}{'a' * 40}"):
        assert Report.parse(damaged) is None


def test_what_fits_is_left_as_it_is() -> None:
    whole = resolution(1, 1, 8, "label_")
    assert Report.parse(termination.message(whole)) == whole


def evaluation(criteria: int, name: int, character: str) -> Report:
    """Return a verdict with nothing in common between its results."""
    draw = random.Random(17)  # noqa: S311 - nothing is kept secret with it

    def result(number: int) -> CriterionResult:
        value, reference, low, high = (draw.random() for _ in range(4))
        return CriterionResult(
            criterion=f"{number}-" + "".join(draw.choices("abcdefghijklmnopqrstuvwxyz0123456789-", k=name)),
            outcome=draw.choice(list(Result)),
            advisory=draw.random() < 0.5,
            value=value,
            reference=reference,
            low=low,
            high=high,
            threshold=draw.random(),
            mcnemar=draw.random(),
            scored=draw.randrange(10**6),
            needed=draw.randrange(10**6),
            message="".join(draw.choices(f"abcdefgh {character}", k=300)),
        )

    told = EvaluationReport(
        verdict=Verdict.FAILED,
        results=tuple(map(result, range(criteria))),
        message="".join(draw.choices(f"abcdefgh {character}", k=700)),
        record=f"sha256:{draw.randbytes(32).hex()}",
        rows=10**6,
        suites=tuple(SuiteRows(rows=draw.randrange(10**6), scored=draw.randrange(10**6)) for _ in range(MAX_SUITES)),
        leaked=10**6,
        exposures=10**6,
        seconds=draw.random(),
    )
    return Report(outcome=Outcome.DONE, evaluation=told)


@pytest.mark.parametrize("character", ["x", "é", "👋", "\x01"])
@pytest.mark.parametrize(("criteria", "name"), [(1, 5), (8, 20), (MAX_CRITERIA, 20), (MAX_CRITERIA, 60)])
def test_every_verdict_fits_with_all_of_its_results(criteria: int, name: int, character: str) -> None:
    whole = evaluation(criteria, name, character).evaluation
    text = termination.message(evaluation(criteria, name, character))
    assert len(text.encode()) <= MAX_BYTES
    parsed = Report.parse(text)
    assert parsed is not None
    assert whole is not None
    told = parsed.evaluation
    assert told is not None
    assert (told.verdict, told.record, told.rows, told.leaked) == (
        whole.verdict,
        whole.record,
        whole.rows,
        whole.leaked,
    )
    assert [(each.criterion, each.outcome, each.advisory, each.scored) for each in told.results] == [
        (each.criterion, each.outcome, each.advisory, each.scored) for each in whole.results
    ]
    for short, long in zip(told.results, whole.results, strict=True):
        decisive = (short.value, short.threshold, short.low)
        assert decisive == pytest.approx((long.value, long.threshold, long.low), abs=1e-4)
    if criteria == 1:
        assert told == whole


@pytest.mark.parametrize("character", ["x", "é", "👋", "\x01"])
def test_every_problem_fits(character: str) -> None:
    problem = Problem.of(
        "R" * 100, character * 2000, field=character * 500, value=character * 500, remedy=character * 900
    )
    text = termination.message(Report(outcome=Outcome.BAD_INPUT, problem=problem))
    assert len(text.encode()) <= MAX_BYTES
    parsed = Report.parse(text)
    assert parsed is not None
    assert parsed.outcome is Outcome.BAD_INPUT


def test_what_cannot_fit_says_so() -> None:
    told = json.loads(termination.message(resolution(60, 4, 2, "a")))
    assert (told["outcome"], told["problem"]["reason"]) == ("BadInput", "ReportTooLarge"), "it would not fit again"
    assert told["problem"]["remedy"] == "Use fewer data sets and candidates, or shorter names."
    told = json.loads(termination.message(evaluation(4 * MAX_CRITERIA, 60, "x")))
    assert told["problem"]["reason"] == "ReportTooLarge"
    assert told["problem"]["remedy"] == "Use fewer criteria, or shorter names."
