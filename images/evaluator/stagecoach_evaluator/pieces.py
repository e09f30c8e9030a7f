"""What it takes to ask a release: a base that is what it should be, and where a run's artifact lies, if it has one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.inputs import BaseInput
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.prompts import Encoder, encoder_for
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import Store
from stagecoach_evaluator.parties import INCUMBENT, Party
from stagecoach_evaluator.suites import CHANGED
from stagecoach_trainer import bases, copies, lengths, lookup, uses
from stagecoach_trainer.bases import Base


@dataclass(frozen=True)
class Pieces:
    """Both, as folders that libraries read."""

    base: Base
    artifact: str | None


# By the release.
All = Mapping[str, Pieces]


def ready(job: EvaluateJob, wanted: Sequence[Party], storage: Store) -> All:
    """Return what it takes to ask each of these; a base is read once. Raises BadInput."""
    read: dict[BaseInput, Base] = {}
    for party in wanted:
        source = _source(party)
        if party.asked.base not in read:
            read[party.asked.base] = _base(job, party, source)
    return {party.release.digest: Pieces(read[party.asked.base], _artifact(job, party, storage)) for party in wanted}


def _source(party: Party) -> ModelSource:
    """Return where the base of a release lies. Raises BadInput for a release that cannot be asked."""
    if party.base is not None:
        return party.base
    message = (
        "not all answers of what is served are stored, and it cannot be asked: the project does not have its base any"
        " more, or computes answers by another engine."
    )
    raise BadInput(Problem.of("IncumbentUnasked", message, value=party.release.digest, remedy=INCUMBENT))


def _base(job: EvaluateJob, party: Party, source: ModelSource) -> Base:
    """Return the base, hashed and found to be that of the release. Raises BadInput."""
    asked = party.asked
    remedy = f"It is the base of what is served. {INCUMBENT}" if _is_served(job, party) else CHANGED
    source = source.model_copy(update={"model": asked.base.model, "tokenizer": asked.base.tokenizer})
    return bases.read(source, mismatch="InputChanged", remedy=remedy, family=asked.family, embeds=asked.embeds)


def encoder(party: Party, base: Base) -> Encoder:
    """Return how the texts of rows become tokens: as the party is asked."""
    return encoder_for(party.asked.family, bases.load_tokenizer(base), party.asked.prompt, party.asked.tokenization)


def check_base(party: Party, base: Base) -> None:
    """Raise BadInput for a prompt that the base has no positions for."""
    lengths.check(base, lengths.of(encoder(party, base), party.labels))


def _artifact(job: EvaluateJob, party: Party, storage: Store) -> str | None:
    """Return where the artifact's files are, as they were published; None of the base itself. Raises BadInput."""
    if party.record is None:
        return None
    digest = party.record.artifact.digest
    uses.note(storage, digest, job.subject)
    manifest = storage.verified(digest)
    if manifest is None:
        again = "Create a run with the same inputs: what has no artifact is trained again."
        remedy = INCUMBENT if _is_served(job, party) else again
        message = f"{lookup.absent(storage, party.record)}."
        raise BadInput(Problem.of("ArtifactMissing", message, value=digest, remedy=remedy))
    return copies.artifact(storage, manifest)


def _is_served(job: EvaluateJob, party: Party) -> bool:
    return party.release.digest == job.inputs.incumbent
