"""What it takes to ask: a base that is what it should be, and where the run's artifact lies, if that is needed."""

from collections.abc import Sequence
from dataclasses import dataclass

from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.prompts import Encoder, encoder_for
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import Store
from stagecoach_evaluator.parties import Parties, Party
from stagecoach_evaluator.suites import CHANGED
from stagecoach_trainer import bases, copies, lengths, lookup, uses
from stagecoach_trainer.bases import Base


@dataclass(frozen=True)
class Pieces:
    """Both, as folders that libraries read."""

    base: Base
    artifact: str | None


def base(job: EvaluateJob, parties: Parties) -> Base:
    """Return the base, hashed and found to be that of the run. Raises BadInput."""
    inputs = parties.record.inputs
    source = job.base.model_copy(update={"model": inputs.base.model, "tokenizer": inputs.base.tokenizer})
    return bases.read(source, mismatch="InputChanged", remedy=CHANGED, family=inputs.family, embeds=inputs.embeds)


def encoder(party: Party, base: Base) -> Encoder:
    """Return how the texts of rows become tokens: as the party is asked."""
    return encoder_for(party.asked.family, bases.load_tokenizer(base), party.asked.prompt, party.asked.tokenization)


def check_base(party: Party, base: Base) -> None:
    """Raise BadInput for a prompt that the base has no positions for."""
    lengths.check(base, lengths.of(encoder(party, base), party.labels))


def artifact(job: EvaluateJob, parties: Parties, wanted: Sequence[Party], storage: Store) -> str | None:
    """Return where the artifact's files are, as they were published; None where nobody is asked who needs it.

    Raises BadInput.
    """
    if parties.candidate not in wanted:
        return None
    digest = parties.record.artifact.digest
    uses.note(storage, digest, job.subject)
    manifest = storage.verified(digest)
    if manifest is None:
        remedy = "Create a run with the same inputs: what has no artifact is trained again."
        message = f"{lookup.absent(storage, parties.record)}."
        raise BadInput(Problem.of("ArtifactMissing", message, value=digest, remedy=remedy))
    return copies.artifact(storage, manifest)
