"""Bases that cannot choose yet. Told without torch, which has no room beside an engine."""

from stagecoach.contract.inputs import Family
from stagecoach_evaluator.parties import Party
from stagecoach_trainer import kept
from stagecoach_trainer.bases import Base


def chooses_by_chance(party: Party, base: Base) -> bool:
    """Whether a base has no head for the labels: what it would choose is chance, and to be better is no merit."""
    of_a_head = party.record is None and bool(party.labels) and party.asked.family is Family.ENCODER
    suffix = kept.OF_TOKENS if party.asked.tags else kept.OF_TEXTS
    return of_a_head and not kept.keeps_head(base.folder, party.labels, suffix)
