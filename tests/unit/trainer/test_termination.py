import json

import pytest

from stagecoach.contract.reports import (
    MAX_BYTES,
    Finding,
    Outcome,
    Problem,
    Report,
    Resolution,
    ResolvedDataset,
    ResolvedLabels,
    ResolvedModel,
)
from stagecoach_trainer import termination

DIGEST = "sha256:" + "a1" * 32


def resolution(datasets: int, candidates: int, labels: int, label: str, finding: str = "short.") -> Report:
    return Report(
        outcome=Outcome.DONE,
        resolution=Resolution(
            datasets=tuple(
                ResolvedDataset(name=f"d{number}".ljust(40, "x"), digest=DIGEST, examples=10**9)
                for number in range(datasets)
            ),
            labels=ResolvedLabels(
                count=labels, digest=DIGEST, first=tuple(f"{label}{number}" for number in range(min(labels, 100)))
            ),
            candidates=tuple(
                ResolvedModel(
                    name=f"c{number}".ljust(40, "x"),
                    model=DIGEST,
                    tokenizer=DIGEST,
                    architecture="A" * 64,
                    context=10**7,
                )
                for number in range(candidates)
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


def test_what_fits_is_left_as_it_is() -> None:
    whole = resolution(1, 1, 8, "label_")
    assert Report.parse(termination.message(whole)) == whole


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
    text = termination.message(resolution(60, 4, 2, "a"))
    assert json.loads(text)["problem"]["reason"] == "ReportTooLarge"
