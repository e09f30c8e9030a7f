"""EvaluateJob: from inputs that are fixed by digest to a verdict, and the evidence for it.

Every step leaves something whole or nothing, and the record comes last: an attempt that ends before it is followed by
one that goes on from the answers that are kept.
"""

import time

from stagecoach.contract import progress
from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.store import Store, require_storage
from stagecoach.contract.times import now
from stagecoach.contract.verdicts import EvaluationReport
from stagecoach_evaluator import answering, parties, records, suites
from stagecoach_evaluator.parties import Parties
from stagecoach_trainer import places
from stagecoach_trainer.train import say

MAX_LEAKED = 100


def evaluate(job: EvaluateJob) -> EvaluationReport:
    """Come to a verdict unless there is one, publish the evidence, and return what to report. Raises BadInput."""
    storage = places.storage()
    require_storage(storage)
    who = parties.read(job, storage)
    known = records.adopted(storage, job)
    if known is not None:
        return known
    uid = job.subject.uid
    storage.probe(uid)  # what an attempt that was killed left there goes as well
    try:
        return _evaluated(job, who, storage, uid)
    finally:
        places.storage().clean(uid)


def _evaluated(job: EvaluateJob, who: Parties, storage: Store, uid: str) -> EvaluationReport:
    started, begun = now(), time.monotonic()
    say(reading := "reading the suites")
    progress.begins(reading)
    rows = suites.read(job, who)
    leaks = _leaks(job, rows)
    answers = answering.collect(job, who, rows, storage, uid)
    say(judging_ := "judging the answers")
    progress.begins(judging_)
