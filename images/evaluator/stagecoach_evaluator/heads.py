"""Bases that cannot choose yet. Built on torch: seconds and hundreds of megabytes."""

from stagecoach.contract.inputs import Family
from stagecoach_evaluator.parties import Party
from stagecoach_trainer.bases import Base
from stagecoach_trainer.families import encoder, tagger


def chooses_by_chance(party: Party, base: Base) -> bool:
    """Whether a base has no head for the labels: what it would choose is chance, and to be better is no merit."""
    of_a_head = party.record is None and bool(party.labels) and party.asked.family is Family.ENCODER
    return of_a_head and not encoder.keeps_head(base.folder, party.labels, tagger.head_of(party.asked))
