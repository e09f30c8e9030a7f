"""Who is asked: the release that is judged, and what it is compared with, as the records of runs say.

Of a base itself there is no record: the job says how it is asked, or, of what is served, the storage.
"""

from dataclasses import dataclass
from typing import NoReturn

from pydantic import ValidationError

from stagecoach.contract import layout
from stagecoach.contract.digests import short
from stagecoach.contract.evaluations import EVALUATOR_REVISION, EvaluateJob, Incumbent, in_order
from stagecoach.contract.inputs import LabelsInput
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.records import Record, RunRecord
from stagecoach.contract.releases import Asked, DescribedRelease, Release
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import Store
from stagecoach_trainer import lookup

RECORD = "Bring back the record that the run wrote, or create another run and have the gate judge that."
# Nothing passes beside what is served before this is mended, so that nothing else comes to be served by waiting.
INCUMBENT = (
    "Bring it back, then delete the Evaluation; or take the criteria against Incumbent out of the gate until another"
    " release is served."
)
COLUMNS = "Give the project's data sets the columns that they had, or create another run and have the gate judge that."


@dataclass(frozen=True)
class Party:
    """A release, how it is asked, and the run's record if the run's artifact belongs to it."""

    name: str  # in words
    release: Release
    asked: Asked
    labels: tuple[str, ...]
    record: RunRecord | None
    base: ModelSource | None  # where its base lies; None: it cannot be asked

    @property
    def described(self) -> DescribedRelease:
        """What is kept of it."""
        return DescribedRelease(release=self.release, asked=self.asked)

    @property
    def seed(self) -> int:
        """What draws a head that the base lacks, before that of an adapter takes its place."""
        return self.record.inputs.hyperparameters.seed if isinstance(self.record, Record) else 0


@dataclass(frozen=True)
class Parties:
    """All of them, and the record of the run, if one made what is judged."""

    record: RunRecord | None
    candidate: Party
    baseline: Party | None
    incumbent: Party | None

    @property
    def all(self) -> tuple[Party, ...]:
        """Those that there are, each release once: a base that is served may be the baseline as well."""
        found: dict[str, Party] = {}
        for party in filter(None, (self.candidate, self.baseline, self.incumbent)):
            found.setdefault(party.release.digest, party)
        return tuple(found.values())


def read(job: EvaluateJob, record: RunRecord | None, storage: Store) -> Parties:
    """Return who is asked, by the record of the run. Raises BadInput when others are not what is to be compared."""
    if record is not None:
        asked, labels, baseline = Asked.of(record.inputs), record.labels, _baseline(job, record)
    elif job.untuned is not None:
        asked, labels, baseline = job.untuned.asked, _listed(job.untuned.asked), None
    else:
        raise AssertionError("a job without a run tells of a base itself")
    candidate = Party("the release", job.release, asked, labels, record, job.base)
    return Parties(record, candidate, baseline, _incumbent(job, asked, storage))


def read_run(job: EvaluateJob, storage: Store) -> RunRecord | None:
    """Return the record of the run; None, where a base itself is judged.

    Raises BadInput when the record is not there, or is of another release.
    """
    if job.inputs.revision != EVALUATOR_REVISION:
        message = (
            f"the gate asks for evaluator revision {job.inputs.revision}, and this image has {EVALUATOR_REVISION}."
        )
        remedy = "Set the operator's evaluator image to the one of its own version."
        raise BadInput(Problem.of("RevisionDiffers", message, remedy=remedy))
    if job.run_inputs is None:
        return None
    known = lookup.read_record(storage, job.run_inputs, job.release.artifact)
    if known is None:
        message = f"the storage has no record of the run {job.run} that can be read."
        remedy = "Bring back its folder below runs/, or create another run with the same inputs."
        raise BadInput(Problem.of("RecordMissing", message, value=job.run_inputs, remedy=remedy))
    record = known[0]
    asked = Asked.of(record.inputs)
    found = Release(asked=asked.digest, artifact=record.artifact.digest, engine=job.release.engine)
    if found.digest != job.release.digest:
        what = "is asked otherwise" if found.asked != job.release.asked else "made another artifact"
        _refuse(f"by its record the run {job.run} {what}: this is the release {short(found.digest)}", job)
    _check_training_data(job, record)
    return record


def _check_training_data(job: EvaluateJob, record: RunRecord) -> None:
    """See that rows are looked for in all that the record knows of, as it was read: else a leak would not be seen.

    The gate may know of more, from other runs with the same artifact. Where it knows nothing, nothing passes.
    """
    searched = job.inputs.trained_on
    if searched is None:
        return
    if isinstance(record, Record):
        known = in_order((*record.inputs.train, *record.inputs.validation))
        missing = [item.digest for item in known if item not in searched]
    elif record.inputs.method.trained_on is None:
        _refuse(f"by its record nobody knows what the run {job.run} was trained on, and the gate names data", job)
    else:
        digests = {item.digest for item in searched}
        missing = [digest for digest in record.inputs.method.trained_on if digest not in digests]
    if missing:
        data = f"the data {short(missing[0])}, and the gate names them with other columns, or not at all"
        _refuse(f"by its record the run {job.run} was trained on {data}", job, COLUMNS)


def _baseline(job: EvaluateJob, record: RunRecord) -> Party | None:
    asked, release = job.baseline, job.reference
    if asked is None or release is None:
        return None
    for name in ("task", "architecture", "base"):
        if getattr(asked, name) != getattr(record.inputs, name):
            _refuse(f"what it is to be compared with has another {name} than the run {job.run}", job)
    return Party("the base", release, asked, _labels(asked.labels, record, job), None, job.base)


def _incumbent(job: EvaluateJob, candidate: Asked, storage: Store) -> Party | None:
    """Return what is served, as its run's record says: it may be of another base, and choose among other labels."""
    served = job.incumbent
    if served is None:
        return None
    if served.run_inputs is None:
        return _untuned_incumbent(job, served, candidate, storage)
    known = lookup.read_record(storage, served.run_inputs, served.release.artifact)
    if known is None:
        message = f"the storage has no record of the run {served.run} that can be read, and what it made is served."
        raise BadInput(Problem.of("RecordMissing", message, value=served.run_inputs, remedy=INCUMBENT))
    record = known[0]
    asked = Asked.of(record.inputs)
    found = Release(asked=asked.digest, artifact=record.artifact.digest, engine=served.release.engine)
    what = "made another artifact than is served, or is asked otherwise" if found != served.release else ""
    if asked.task != candidate.task:
        what = f"does the task {asked.task}, and {job.name} {candidate.task}"
    if what:
        message = f"by its record the run {served.run} {what}: nothing can be compared with it."
        raise BadInput(Problem.of("IncumbentUnsuited", message, value=served.run_inputs, remedy=INCUMBENT))
    return Party("the incumbent", served.release, asked, record.labels, record, served.base)


def _untuned_incumbent(job: EvaluateJob, served: Incumbent, candidate: Asked, storage: Store) -> Party:
    """Return a base itself that is served, as whoever judged it wrote down how it is asked."""
    digest = served.release.digest
    place = layout.release_file(digest)
    try:
        # By its digests: whatever else a later version writes there would be another release.
        found = DescribedRelease.model_validate_json(storage.read(place), extra="ignore")
    except (FileNotFoundError, ValidationError):
        found = None
    if found is None or found.release != served.release or found.asked.digest != served.release.asked:
        message = f"{place} of the storage does not say how the release is asked that is served, a base itself."
        raise BadInput(Problem.of("RecordMissing", message, value=digest, remedy=INCUMBENT))
    if found.asked.task != candidate.task:
        message = (
            f"the base that is served does the task {found.asked.task}, and {job.name} {candidate.task}: nothing can be"
            " compared with it."
        )
        raise BadInput(Problem.of("IncumbentUnsuited", message, value=digest, remedy=INCUMBENT))
    return Party("the incumbent", served.release, found.asked, _listed(found.asked), None, served.base)


def _listed(asked: Asked) -> tuple[str, ...]:
    """Return the labels of what is asked by a list of them; none of a task without labels."""
    return (asked.labels.values or ()) if asked.labels is not None else ()


def _labels(labels: LabelsInput | None, record: RunRecord, job: EvaluateJob) -> tuple[str, ...]:
    """Return the labels that the base chooses among: the run's, given or by the same data."""
    if labels == record.inputs.labels:
        return record.labels
    if labels is None or labels.values != record.labels:
        _refuse(f"what it is to be compared with has other labels than the run {job.run}", job)
    return labels.values


def _refuse(what: str, job: EvaluateJob, remedy: str = RECORD) -> NoReturn:
    message = f"{what}, and {short(job.release.digest)} was to be judged."
    raise BadInput(Problem.of("ReleaseMismatch", message, value=job.run_inputs or job.release.digest, remedy=remedy))
