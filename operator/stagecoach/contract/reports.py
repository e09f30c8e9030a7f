"""What a Job tells: one Report as the container's termination message, and progress lines on stdout."""

import base64
import json
import re
import zlib
from contextlib import suppress
from enum import IntEnum, StrEnum
from typing import Any, Self

from pydantic import Field, ValidationError

from stagecoach.contract.digests import Digest
from stagecoach.contract.layout import RECORD, RECORD_PATTERN
from stagecoach.contract.load_tests import LoadTestReport
from stagecoach.contract.model import ContractModel
from stagecoach.contract.verdicts import EvaluationReport

# The kubelet cuts a termination message at this length.
MAX_BYTES = 4096
TERMINATION_LOG = "/dev/termination-log"
# Before a report that is told compressed, in base 85.
PACKED = "deflate:"


class ExitCode(IntEnum):
    """How a program of ours ends. The operator decides by the Report; the code is for those who read pods."""

    DONE = 0
    BAD_INPUT = 64
    SERVICE_FAILED = 69
    FAILED = 70
    PREEMPTED = 75


class Outcome(StrEnum):
    """What became of a Job's work."""

    DONE = "Done"
    BAD_INPUT = "BadInput"  # the same input would fail again: not retried
    SERVICE_FAILED = "ServiceFailed"  # storage or another service refused: may pass
    OUT_OF_MEMORY = "OutOfMemory"  # the kernel killed the work, not this reporter
    TERMINATED = "Terminated"  # the pod was asked to stop
    PREEMPTED = "Preempted"  # the pod was asked to stop, and saved a checkpoint from which another attempt goes on
    PEER_LOST = "PeerLost"  # another process of the same training is gone: its own pod may say why
    FAILED = "Failed"  # anything else, the traceback is in the log
    UNKNOWN = "Unknown"  # no trainer says it: what a later one said cannot be read


class Problem(ContractModel):
    """Why the work did not succeed, in words for a person who can mend it."""

    reason: str = Field(max_length=64, description="CamelCase, such as UnknownColumn.")
    field: str = Field(
        "", max_length=200, description="The spec field at fault, such as data.sets[train].columns.text."
    )
    value: str = Field("", max_length=200, description="The offending value, shortened; never what a Secret holds.")
    message: str = Field(max_length=700, description="What is wrong.")
    remedy: str = Field("", max_length=400, description="What to do about it.")

    @classmethod
    def of(cls, reason: str, message: str, *, field: str = "", value: str = "", remedy: str = "") -> Self:
        """Return a problem whose texts are shortened to what a report may hold."""
        return cls(
            reason=_shortened(reason, 64),
            field=_shortened(field, 200),
            value=_shortened(value, 200),
            message=_shortened(message, 700),
            remedy=_shortened(remedy, 400),
        )

    @property
    def sentence(self) -> str:
        """All of it on one line, for a condition's message; the value where neither field nor message has it."""
        value = " ".join(self.value.split())
        if _says(f"{self.field}: {self.message}", value):
            value = ""
        where = f"{self.field} ({value})" if self.field and value else self.field or value
        return " ".join(part for part in (f"{where}:" if where else "", _ended(self.message), self.remedy) if part)


def _ended(words: str) -> str:
    """End words that may be somebody else's: what to do follows them."""
    words = words.rstrip(" :\n")
    return f"{words}." if words and not words.endswith((".", "!", "?", "…")) else words


def _says(text: str, value: str) -> bool:
    """Whether a value is in a text, and not as a part of a word."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


class BadInput(Exception):
    """What was asked for cannot be done; the problem says why, and the same input would fail again."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


class ResolvedDataset(ContractModel):
    """What a data set turned out to be."""

    name: str
    digest: Digest
    examples: int
    revision: str | None = Field(None, description="Commit of a hub's data set.")


class ResolvedModel(ContractModel):
    """What a candidate turned out to be."""

    name: str
    model: Digest
    tokenizer: Digest
    architecture: str = Field(max_length=64, description="transformers' class name, such as LlamaForCausalLM.")
    context: int = Field(description="Longest native context in tokens.")
    revision: str | None = Field(None, description="Commit of a hub's model.")


class ResolvedLabels(ContractModel):
    """The label set; the list itself is bounded, the digest stands for all of it."""

    count: int
    digest: Digest
    first: tuple[str, ...] = Field(max_length=100, description="As many as fit, in order.")


class Finding(ContractModel):
    """Something that a person should know before the next stage."""

    code: str = Field(max_length=64)
    message: str = Field(max_length=300)


class Resolution(ContractModel):
    """The result of a ResolveJob."""

    datasets: tuple[ResolvedDataset, ...]
    labels: ResolvedLabels | None = Field(None, description="None: the task has no labels.")
    candidates: tuple[ResolvedModel, ...]
    findings: tuple[Finding, ...] = ()
    has_records: bool = Field(description="Whether the storage holds records of earlier runs.")


class TrackingReport(ContractModel):
    """What a tracking server was told of a training."""

    mlflow: str = Field(description="URI of the server.")
    run: str | None = Field(None, description="Id of the run there; None when there is none that is known.")
    problem: str | None = Field(None, max_length=500, description="Why the server does not have all of it.")

    @classmethod
    def of(cls, mlflow: str, run: str | None, problem: str | None) -> Self:
        """Return a report whose problem is shortened to what it may hold."""
        return cls(mlflow=mlflow, run=run, problem=_shortened(problem, 500) if problem else None)


class Maker(ContractModel):
    """The run that made an artifact: it may be of another cluster, or gone."""

    namespace: str
    name: str
    at: str = Field(description="RFC 3339 time at which it had.")


class ArtifactReport(ContractModel):
    """What a run published."""

    digest: Digest
    bytes: int
    type: str = Field("Adapter", description="Adapter or Model.")
    method: str | None = Field(None, description="Of an import: the method whose result it is, such as LoRA or Full.")
    record: Digest = Field(description="Digest of the record's content.")
    record_name: str = Field(
        RECORD, pattern=RECORD_PATTERN, description="Its name. A trainer that does not tell has written record.json."
    )
    adopted: bool = Field(False, description="The record was there already; nothing was trained.")
    maker: Maker | None = Field(None, description="When adopted. None from a trainer that does not tell.")
    train_loss: float | None = None
    eval_loss: float | None = None
    seconds: float | None = Field(None, description="Training time.")
    cpu_hours: float | None = None
    gpu_hours: float | None = None
    tracking: TrackingReport | None = Field(None, description="None when nobody asked for it, and when adopted.")


class RetentionReport(ContractModel):
    """What a RetainJob did."""

    kept: int = Field(description="Artifacts that are there, whoever's, but for those that leave.")
    leaving: int = Field(description="Artifacts that are announced to be removed.")
    announced: int = Field(description="Those of them that this Job announced.")
    removed: int = Field(description="Artifacts that this Job removed.")
    bytes: int = Field(description="What they took, with the checkpoints and staged files that it removed.")
    again: str | None = Field(None, description="RFC 3339 time at which there is more to do, by time alone.")
    message: str = Field(max_length=1500, description="The same in words.")


class Report(ContractModel):
    """A Job's last word."""

    outcome: Outcome
    problem: Problem | None = None
    resolution: Resolution | None = None
    artifact: ArtifactReport | None = Field(None, description="Of a Train, or of a Lookup that found a record.")
    retention: RetentionReport | None = Field(None, description="Of a Retain.")
    evaluation: EvaluationReport | None = Field(None, description="Of an Evaluate.")
    load_test: LoadTestReport | None = Field(None, description="Of a load test.")
    checkpoint: int | None = Field(None, description="Step of the checkpoint that a Preempted work saved.")
    index: int | None = Field(
        None, description="Of a training in several pods: the pod that this comes from. All of them tell it."
    )

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Return the Report in a termination message, or None when there is none.

        A later trainer, frozen into a run before the operator was rolled back, may say more than is known here, which
        is passed over; or what cannot be read, which has the outcome Unknown.
        """
        text = _unpacked(text or "")
        try:
            return cls.model_validate_json(text, extra="ignore") if text else None
        except ValidationError as error:
            said = _read(text)
            return cls._unknown(said, error) if "outcome" in said else None

    @property
    def packed(self) -> str:
        """The text of one that would be too long as it is: most of it are digests in hexadecimal."""
        return PACKED + base64.b85encode(zlib.compress(self.line().encode(), 9)).decode()

    @classmethod
    def _unknown(cls, said: dict[str, Any], error: ValidationError) -> Self:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        message = f"{place} of its report is {_shortened(repr(first['input']), 200)}, which is not known here."
        with suppress(ValidationError):
            message += f" {Problem.model_validate(said.get('problem'), extra='ignore').sentence}"
        return cls(outcome=Outcome.UNKNOWN, problem=Problem.of("ReportUnknown", message))


def _unpacked(text: str) -> str:
    if not text.startswith(PACKED):
        return text
    try:
        return zlib.decompress(base64.b85decode(text.removeprefix(PACKED).strip())).decode()
    except (ValueError, zlib.error):
        return ""


def _read(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


class Progress(ContractModel):
    """How far a training is; one JSON line on stdout as `{"progress": {...}}`."""

    step: int
    steps: int
    percent: int
    remaining_seconds: int | None = None
    tokens_per_second: float | None = None
    loss: float | None = None
    checkpoint: int | None = Field(None, description="Step of the newest checkpoint in the storage.")
    at: str = Field(description="RFC 3339 time, UTC.")


class ProgressLine(ContractModel):
    """The line around a Progress, so that it cannot be mistaken for another program's output."""

    progress: Progress

    @classmethod
    def parse(cls, text: str) -> Progress | None:
        """Return the progress on this line, or None."""
        try:
            return cls.model_validate_json(text, extra="ignore").progress
        except ValidationError:
            return None
