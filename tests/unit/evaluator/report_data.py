"""What evaluations to make reports of are built from."""

import random
from collections.abc import Sequence
from typing import Any

from stagecoach.contract.answers import Answer
from stagecoach.contract.digests import digest_of_document
from stagecoach.contract.evaluation_report import Estimate, Measured
from stagecoach.contract.evaluations import (
    Criterion,
    EvaluateJob,
    EvaluationInputs,
    Incumbent,
    Scored,
    Suite,
    SuiteType,
)
from stagecoach.contract.inputs import BaseInput, Columns, DataInput
from stagecoach.contract.jobs import DataSource, ModelSource, Owner, Split, Subject
from stagecoach.contract.records import BaseRecord
from stagecoach.contract.releases import Asked, Engine, Release
from stagecoach.contract.verdicts import CriterionResult, Outcome, Verdict
from stagecoach_evaluator.report import Data, SuiteData
from stagecoach_evaluator.report_rows import Case
from tests.unit.contract.documents import DIGEST, LENGTHS, PROMPT

SUBJECT = Subject(kind="Evaluation", namespace="support-desk", name="intents-4f2a91c07be3", uid="uid-9")
HOSTILE = '<script>alert(1)</script> "quoted" & \x00\u202eevil ' + "long" * 60 + " مرحبا שלום"
COMPANY = ["card", "transfer", "top_up", "cash", "exchange", "refund", "identity", "beneficiary"]
TROUBLE = [
    "lost",
    "declined",
    "pending",
    "wrong_amount",
    "not_working",
    "fee_charged",
    "limits",
    "arrival",
    "unknown",
    "help",
]
INTENTS = tuple(sorted(f"{one}_{other}" for one in COMPANY for other in TROUBLE)[:77])


def drawn(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


def digest(text: str) -> str:
    return digest_of_document(text)


def estimate(value: float, half: float, top: float = 1.0) -> Estimate:
    return Estimate(value=value, low=max(0.0, value - half), high=min(top, value + half))


def measured(metric: str, candidate: float, baseline: float | None, half: float, top: float = 1.0) -> Measured:
    if baseline is None:
        return Measured(metric=metric, candidate=estimate(candidate, half, top))
    gain = candidate - baseline
    difference = Estimate(value=gain, low=gain - 0.8 * half, high=gain + 0.8 * half)
    both = estimate(candidate, half, top), estimate(baseline, half * 1.2, top)
    return Measured(metric=metric, candidate=both[0], baseline=both[1], difference=difference)


def source(name: str, split: Split = Split.TEST) -> DataSource:
    return DataSource(name=name, uri=f"pvc://data/{name}.csv", split=split, columns=Columns(), digest=digest(name))


def answers(
    cases: Sequence[Case], labels: Sequence[str], accuracy: float, draw: random.Random, *, scores: bool = False
) -> list[Answer]:
    """Return answers of which about so many are right; a wrong one is mostly a neighbour of the right one."""
    made = []
    for row, case in enumerate(cases):
        place = labels.index(case.expected)
        if draw.random() > accuracy:
            place = (place + draw.choice((1, 1, 1, 2, -1, draw.randrange(len(labels))))) % len(labels)
        given = None
        if scores:
            sure = min(0.995, 0.4 + 0.6 * draw.random() ** 0.5)
            given = [(1 - sure) / max(1, len(labels) - 1)] * len(labels)
            given[place] = sure
        made.append(Answer(row=row, label=labels[place], scores=tuple(given) if given else None))
    return made


def cases_of(name: str, labels: Sequence[str], rows: int, draw: random.Random) -> list[Case]:
    starts = ("Hi, I have a question about", "Why is my", "please help:", "urgent!!", "Can you tell me about the")
    found = []
    for row in range(rows):
        label = draw.choice(labels)
        found.append(Case(f"{name}.csv:{row + 1}", f"{draw.choice(starts)} {label.replace('_', ' ')}?", label))
    return found


def suite(name: str, kind: SuiteType, cases: Sequence[Case], candidate: Sequence[Answer], **changes: Any) -> SuiteData:
    scored = Scored(
        suite=name, rows=len(cases), scored=sum(answer.error is None for answer in candidate), leaked=(), leaked_rows=0
    )
    values: dict[str, Any] = {
        "suite": Suite(name=name, type=kind, data=digest(name), columns=Columns()),
        "source": source(name),
        "cases": cases,
        "candidate": candidate,
        "baseline": None,
        "metrics": (),
        "scored": scored,
        "exposures": 3,
    }
    return SuiteData(**(values | changes))


def data(
    suites: Sequence[SuiteData], criteria: Sequence[Criterion], results: Sequence[CriterionResult], **changes: Any
) -> Data:
    against = any(item.baseline is not None for item in suites)
    served = any(item.incumbent is not None for item in suites)
    task, labels = changes.pop("task", "Classification"), changes.pop("labels", ())
    asked = Asked(task=task, base=BaseInput(model=DIGEST, tokenizer=DIGEST), prompt=PROMPT, tokenization=LENGTHS)
    release = Release(asked=asked.digest, artifact=digest("artifact"), engine=Engine())
    before = Release(asked=asked.digest, artifact=digest("served"), engine=Engine())
    inputs = EvaluationInputs(
        release=release.digest,
        baseline=Release(asked=asked.digest, artifact=None, engine=Engine()).digest if against else None,
        incumbent=before.digest if served else None,
        suites=tuple(item.suite for item in suites),
        criteria=tuple(criteria),
        min_scored=0.99,
        trained_on=(DataInput(digest=digest("train"), columns=Columns()),),
    ).model_copy(update=changes.pop("inputs", {}))
    job = EvaluateJob(
        subject=SUBJECT,
        project="support-desk",
        owner=Owner(name="payments-ml", contact="#payments-ml"),
        gate="intents",
        run="support-desk-lora",
        inputs=inputs,
        release=release,
        run_inputs=digest("run"),
        baseline=asked if against else None,
        incumbent=Incumbent(release=before, run="support-desk-last", run_inputs=digest("last")) if served else None,
        base=ModelSource(name="smollm2", uri="hf://HuggingFaceTB/SmolLM2-135M-Instruct"),
        datasets=tuple(item.source for item in suites),
        trained_on=(source("train", Split.TRAIN),) if inputs.trained_on else (),
        image="example.com/stagecoach/evaluator@" + DIGEST,
    )
    values: dict[str, Any] = {
        "job": job,
        "asked": asked,
        "base": BaseRecord(
            name="smollm2",
            uri="hf://HuggingFaceTB/SmolLM2-135M-Instruct",
            revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
            license="Apache-2.0",
            model=DIGEST,
            tokenizer=DIGEST,
            architecture="LlamaForCausalLM",
            context=8192,
        ),
        "method": "LoRA",
        "labels": labels,
        "suites": tuple(suites),
        "verdict": Verdict.PASSED,
        "message": "All criteria passed.",
        "results": tuple(results),
        "exposures": 3,
        "started": "2026-03-02T10:14:05Z",
        "finished": "2026-03-02T10:21:44Z",
        "seconds": 459.2,
    }
    return Data(**(values | changes))


def result(criterion: Criterion, outcome: str, **values: Any) -> CriterionResult:
    values.setdefault("scored", 3080)
    return CriterionResult(criterion=criterion.name, outcome=Outcome(outcome), advisory=criterion.advisory, **values)
