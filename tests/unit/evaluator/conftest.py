"""Runs of tiny models in a folder that stands for the mounts of a pod, and gates that judge them."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from stagecoach.contract import layout
from stagecoach.contract.benchmarks import LM_EVAL
from stagecoach.contract.evaluations import (
    Criterion,
    EvaluateJob,
    EvaluationInputs,
    EvaluationRecord,
    Incumbent,
    Reference,
    Suite,
    SuiteType,
    in_order,
)
from stagecoach.contract.inputs import DataInput, TaskDocuments
from stagecoach.contract.jobs import DataSource, Split, Subject, TrainJob
from stagecoach.contract.records import RunRecord
from stagecoach.contract.releases import Asked, Engine, EngineType, Release
from stagecoach.contract.verdicts import EvaluationReport
from stagecoach_evaluator import records
from stagecoach_trainer import lookup, sources
from tests.unit.contract.documents import OWNER
from tests.unit.trainer.conftest import (  # noqa: F401
    Project,
    _servers_of_this_machine,
    _trained,
    project,
    real,
    tiny_base,
    trained,
)

ENGINE_IMAGE = "example.com/vllm@sha256:" + "1" * 64
EVALUATION = Subject(kind="Evaluation", namespace="team", name="gate-1", uid="eval-1")
HELD_OUT = [
    (f"{start} {what}", label)
    for start in ("today", "since monday", "excuse me;", "in short:", "dear all,")
    for what, label in (("my card is lost", "card_lost"), ("the parcel is late", "parcel_late"))
]
ACCURATE = Criterion(name="accurate", suite="held-out", metric="accuracy", min=0.6)
NO_WORSE = Criterion(
    name="no-worse", suite="held-out", metric="accuracy", against=Reference.BASELINE, allowed_drop=0.05
)


@dataclass(frozen=True)
class Judging:
    """A run that was made, and what judges it."""

    project: Project
    run: TrainJob
    criteria: tuple[Criterion, ...] = (ACCURATE,)
    suites: tuple[tuple[str, str, SuiteType], ...] = (("held-out", "test", SuiteType.HELD_OUT),)
    trained_on: tuple[str, ...] | None = ("train", "valid")
    min_scored: float = 0.99
    engine: Engine = field(default_factory=Engine)
    prompt: Any = None  # of the base
    tasks: Mapping[str, str] = field(default_factory=dict)  # of suites, where these are tasks of lm-eval
    served: TrainJob | None = None  # the run whose release is the incumbent

    def job(self, **changes: Any) -> EvaluateJob:
        """Return the document that the operator would write."""
        known = self.run_record()
        asked = Asked.of(known.inputs)
        release = Release(asked=asked.digest, artifact=known.artifact.digest, engine=self.engine)
        relative = any(criterion.against is Reference.BASELINE for criterion in self.criteria)
        incumbent = self._incumbent()
        baseline = asked.model_copy(update={"prompt": self.prompt or asked.prompt}) if relative else None
        reference = Release(asked=baseline.digest, artifact=None, engine=self.engine) if baseline else None
        read = [self._source(name, Split.TEST, self.tasks.get(suite)) for suite, name, _ in self.suites]
        seen = None if self.trained_on is None else [self._source(name, Split.TRAIN) for name in self.trained_on]
        inputs = EvaluationInputs(
            release=release.digest,
            baseline=reference.digest if reference else None,
            incumbent=incumbent.release.digest if incumbent else None,
            suites=tuple(
                Suite(name=name, type=kind, data=source.digest or "", columns=source.columns)
                for (name, _, kind), source in zip(self.suites, read, strict=True)
            ),
            criteria=self.criteria,
            min_scored=self.min_scored,
            trained_on=None if seen is None else in_order(map(_input, seen)),
        )
        job = EvaluateJob(
            subject=EVALUATION,
            project="desk",
            owner=OWNER,
            gate="gate",
            run=self.run.subject.name,
            inputs=inputs,
            release=release,
            run_inputs=self.run.inputs.digest,
            baseline=baseline,
            incumbent=incumbent,
            base=self.run.base,
            datasets=tuple(read),
            trained_on=tuple(seen or ()),
            image="example.com/evaluator@sha256:" + "0" * 64,
            engine_image=ENGINE_IMAGE if self.engine.type is EngineType.VLLM else None,
        )
        return job.model_copy(update=changes)

    def _incumbent(self) -> Incumbent | None:
        if self.served is None:
            return None
        known = self.run_record(self.served)
        asked = Asked.of(known.inputs)
        release = Release(asked=asked.digest, artifact=known.artifact.digest, engine=self.engine)
        return Incumbent(release=release, run="served", run_inputs=self.served.inputs.digest, base=self.served.base)

    def _source(self, name: str, split: Split, task: str | None = None) -> DataSource:
        source = self.project.source(name, split)
        if task is not None:
            columns = TaskDocuments(task=task, lm_eval=LM_EVAL)
            source = source.model_copy(update={"uri": f"pvc://data/{name}.jsonl", "columns": columns})
        return source.model_copy(update={"digest": sources.read(source, mismatch="", remedy="").digest})

    def judge(self, **changes: Any) -> EvaluationReport:
        """Carry it out."""
        return evaluate(self.job(**changes))

    def run_record(self, run: TrainJob | None = None) -> RunRecord:
        """Return what the storage says of the run, or of another."""
        known = lookup.read_record(self.project.storage, (run or self.run).inputs.digest)
        assert known is not None
        return known[0]

    def record(self) -> EvaluationRecord:
        """Return what the storage says of it."""
        [(known, _digest)] = records.read(self.project.storage, self.job().inputs.digest)
        return known

    def answers(self, release: str, suite: Suite) -> list[dict[str, Any]]:
        """Return the answers that are kept, as they lie there."""
        content = self.project.storage.read(layout.outputs_file(release, suite.rows))
        return [json.loads(line) for line in content.splitlines()]


@contextmanager
def trained_again(made: Project, record: RunRecord) -> Iterator[None]:
    """While the same inputs have given other bytes too, in a run that was forced, say."""
    artifact = record.artifact.model_copy(update={"digest": "sha256:" + "ab" * 32})
    later = record.model_copy(update={"artifact": artifact, "finished": "2099-01-01T00:00:00Z"})
    place = layout.record_file(record.inputs_digest, "record.0123456789ab.json")
    made.storage.write(place, later.model_dump_json(by_alias=True, exclude_none=True).encode(), "test")
    try:
        yield
    finally:
        made.storage.remove(place)
        made.storage.clean("test")


def _input(source: DataSource) -> DataInput:
    return DataInput(digest=source.digest or "", columns=source.columns)


def evaluate(job: EvaluateJob) -> EvaluationReport:
    """Carry out an evaluation."""
    from stagecoach_evaluator.evaluate import evaluate as work

    return work(job)


def write(made: Project, name: str, rows: Sequence[Sequence[str]], header: Sequence[str] = ("text", "label")) -> None:
    """Write a data set as a .csv file."""
    with (made.root / "pvc" / "data" / f"{name}.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


@pytest.fixture
def judging(trained: Any) -> Judging:  # noqa: F811
    """A classifier that was trained as an adapter of a decoder, and rows that it has not seen. What was kept is gone."""
    made: Project = trained[0]
    write(made, "test", HELD_OUT)
    for folder in (layout.OUTPUTS, layout.EVALUATIONS, layout.RELEASES):
        made.storage.remove(folder)
    return Judging(made, made.train_job())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The releases that are asked, by what they are called in words, once for each suite."""
    from stagecoach_evaluator import asking

    found: list[str] = []
    ask = asking.Asker.ask

    def noting(self: Any, party: Any, suites: Any, teller: Any) -> Any:
        for item in ask(self, party, suites, teller):
            found.append(party.name)
            yield item

    monkeypatch.setattr(asking.Asker, "ask", noting)
    return found
