"""EvaluateJob: from inputs that are fixed by digest to a verdict, and the evidence for it.

Every step leaves something whole or nothing, and the record comes last: an attempt that ends before it is followed by
one that goes on from the answers that are kept.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from stagecoach.contract import progress
from stagecoach.contract.evaluations import EvaluateJob, EvaluationRecord
from stagecoach.contract.store import Store, require_storage
from stagecoach.contract.times import now
from stagecoach.contract.verdicts import EvaluationReport
from stagecoach_evaluator import answering, exposures, judging, leakage, parties, records, reporting, suites
from stagecoach_evaluator.answering import Answers
from stagecoach_evaluator.leakage import Leaks
from stagecoach_evaluator.parties import Parties
from stagecoach_evaluator.seen import Seen
from stagecoach_evaluator.suites import Rows
from stagecoach_trainer import places
from stagecoach_trainer.train import say

SHOWN = 20


def evaluate(job: EvaluateJob) -> EvaluationReport:
    """Come to a verdict unless there is one, publish the evidence, and return what to report. Raises BadInput."""
    storage = places.storage()
    require_storage(storage)
    record = parties.read_run(job, storage)
    known = records.adopted(storage, job.inputs)
    if known is not None:
        return known  # whatever became of what it was compared with
    who = parties.read(job, record, storage)
    uid = job.subject.uid
    storage.probe(uid)  # what an attempt that was killed left there goes as well
    try:
        return _evaluated(job, who, storage)
    finally:
        places.storage().clean(uid)


def _evaluated(job: EvaluateJob, who: Parties, storage: Store) -> EvaluationReport:
    started, begun = now(), time.monotonic()
    _begins("reading the suites")
    rows = suites.read(job, who)
    for each in rows:
        if each.repeated:
            say(f"suite {each.suite.name}: {each.repeated} rows repeat others to the letter, and are not counted")
    leaks = _leaks(job, rows)
    seen = _seen(job, who, rows, leaks, storage)
    _begins("judging the answers")
    judged = judging.judged(job, who, seen)
    record = EvaluationRecord(
        key=job.inputs.digest,
        inputs=job.inputs,
        release=job.release,
        run_inputs=job.run_inputs,
        project=job.project,
        owner=job.owner,
        subject=job.subject,
        gate=job.gate,
        run=job.run,
        verdict=judged.verdict,
        message=judged.message,
        results=judged.results,
        suites=tuple(each.scored for each in seen),
        exposures=max((each.exposures for each in seen), default=0),
        report=(),
        image=job.image,
        engine_image=job.engine_image,
        started=started,
        finished=now(),
        seconds=round(time.monotonic() - begun, 3),
    )
    _begins("publishing")
    files = reporting.files(job, who, seen, judged, record)
    # Opened anew, for its keys may have been renewed meanwhile.
    storage = places.storage()
    described = tuple(party.described for party in who.all)
    return records.publish(storage, record, files, described, job.subject.uid)


def _leaks(job: EvaluateJob, rows: Sequence[Rows]) -> Leaks | None:
    """Return which rows were trained on, and tell of them; None: nobody knows what was trained on."""
    if job.inputs.trained_on is None:
        return None
    _begins("looking for the suites' rows in the training data")
    leaks = leakage.find([each.dataset for each in rows], map(suites.data, job.trained_on))
    for each, found in zip(rows, leaks, strict=True):
        for row, place in list(found.items())[:SHOWN]:
            say(f"suite {each.suite.name}: {each.dataset.place(row)} is in the training data too: {place}")
        if len(found) > SHOWN:
            say(
                f"suite {each.suite.name}: {len(found)} rows are in the training data, {SHOWN} of which are named above"
            )
    return leaks


def _seen(
    job: EvaluateJob, who: Parties, rows: Sequence[Rows], leaks: Leaks | None, storage: Store
) -> tuple[Seen, ...]:
    """Return the suites with all answers. Raises BadInput when a release has to be asked, and cannot."""
    answers = answering.collect(job, who, rows, storage)
    judged = exposures.count(places.storage(), job.release.digest, {each.suite.data for each in rows})
    return tuple(
        _seen_of(each, job, who, answers, None if leaks is None else leaks[number], judged[each.suite.data])
        for number, each in enumerate(rows)
    )


def _seen_of(
    rows: Rows, job: EvaluateJob, who: Parties, answers: answering.All, leaks: dict[int, str] | None, exposures: int
) -> Seen:
    said = {release: each.at(rows.judged) for (release, of), each in answers.items() if of == rows.suite.rows}
    reference, served = job.reference, job.incumbent
    return Seen(
        rows=rows,
        task=who.candidate.asked.task,
        candidate=said[job.release.digest],
        baseline=said.get(reference.digest) if reference else None,
        incumbent=comparable(said[served.release.digest], who) if served else None,
        leaked=None if leaks is None else {row: leaks[row] for row in rows.judged if row in leaks},
        in_prompt={} if leaks is None else _in_prompt(rows, who),
        exposures=exposures,
    )


def _in_prompt(rows: Rows, who: Parties) -> dict[int, str]:
    """Return which rows stand in the candidate's prompt, and tell of them; a task has prompts of its own."""
    if rows.harness is not None:
        return {}
    found = leakage.find_in_prompt(rows.dataset, who.candidate.asked.prompt)
    for row, part in list(found.items())[:SHOWN]:
        say(f"suite {rows.suite.name}: {rows.dataset.place(row)} is in {part}")
    return {row: found[row] for row in rows.judged if row in found}


def comparable(incumbent: Answers, who: Parties) -> Answers:
    """Return its answers without the probabilities of labels, where these are not those of the candidate's labels."""
    if who.incumbent is None or who.incumbent.labels == who.candidate.labels:
        return incumbent
    return replace(incumbent, each=tuple(each.model_copy(update={"scores": None}) for each in incumbent.each))


def _begins(what: str) -> None:
    say(what)
    progress.begins(what)
