"""What releases answer to the rows of suites: as it is kept in the storage or, where it is not, by asking them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from stagecoach.contract import layout, progress
from stagecoach.contract.answers import ASKING_REVISION, Answer, AnswersManifest
from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.releases import EngineType
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import Store
from stagecoach_evaluator import records, silence
from stagecoach_evaluator.parties import Parties, Party
from stagecoach_evaluator.suites import Rows
from stagecoach_evaluator.telling import Teller
from stagecoach_trainer import bases, places, quiet
from stagecoach_trainer.train import say

if TYPE_CHECKING:
    from stagecoach_evaluator import asking, served


@dataclass(frozen=True)
class Answers:
    """The answers of a release to each row of a data set, and the digest of the file that they are kept in."""

    each: tuple[Answer, ...]
    digest: str

    def at(self, positions: Sequence[int]) -> "Answers":
        """Return the answers to some of the rows."""
        return replace(self, each=tuple(self.each[position] for position in positions))


# By release and rows.
All = dict[tuple[str, str], Answers]


def collect(job: EvaluateJob, parties: Parties, suites: Sequence[Rows], storage: Store) -> All:
    """Return the answers of all parties to all suites; what was asked is kept as soon as it is answered.

    There are none of a baseline that has no head for the labels.

    Raises BadInput when a release has to be asked, and cannot, and when the one that is judged says nothing: that is
    not kept, so that an engine that was mended is asked anew.
    """
    if job.release.engine.type is not EngineType.TRANSFORMERS:
        _refuse_tasks(suites)
    found: All = {}
    missing: list[tuple[Party, list[Rows]]] = []
    for party in parties.all:
        left = []
        for rows in {each.suite.rows: each for each in suites}.values():
            known = kept(storage, party.release.digest, rows)
            if known is None:
                left.append(rows)
            else:
                _check_says_something(party, parties, rows, known.each)
                found[party.release.digest, rows.suite.rows] = known
        if left:
            missing.append((party, left))
    if not missing:
        say("all answers are kept in the storage: nobody is asked")
        return found
    progress.begins("loading libraries and models")
    asker = _asker(job)(job, [party for party, _ in missing], storage)
    _check_can_choose(parties, asker.unasked)
    missing = [(party, left) for party, left in missing if party.release.digest not in asker.unasked]
    total = sum(len(rows.dataset.rows) for _, left in missing for rows in left)
    teller = Teller(total)
    for party, left in missing:
        for rows, answers, seconds in asker.ask(party, left, teller):
            bases.check_unchanged(asker.pieces[party.release.digest].base)
            _check_says_something(party, parties, rows, answers)
            key = party.release.digest, rows.suite.rows
            found[key] = keep(job, party, rows, answers, seconds, asker.engine)
    return found


def _check_says_something(party: Party, parties: Parties, rows: Rows, answers: Sequence[Answer]) -> None:
    """Raise BadInput where it does not. A base may have nothing to say: to be better is what training is for."""
    if party is parties.candidate:
        silence.check(rows.suite.name, answers)


def _check_can_choose(parties: Parties, unasked: Collection[str]) -> None:
    """Raise BadInput where a base itself is judged, or served, and what it would choose is chance."""
    for party in filter(None, (parties.candidate, parties.incumbent)):
        if party.release.digest in unasked:
            message = f"{party.name} is a base that has no head for the labels: what it would choose is chance."
            remedy = "Let the gate judge a run of it, or another base."
            raise BadInput(Problem.of("BaseUntrained", message, value=party.release.digest, remedy=remedy))


def _refuse_tasks(suites: Sequence[Rows]) -> None:
    """Raise BadInput for what another engine would be asked by the project's prompt, and not by the task's."""
    if task := next((rows.suite.name for rows in suites if rows.harness is not None), None):
        message = "a task of lm-evaluation-harness is asked by the engine Transformers alone."
        remedy = "Leave out this suite, or set the project's inference.engine to Transformers."
        raise BadInput(Problem.of("TaskUnsupported", message, field=f"suites[{task}].task", remedy=remedy))


def _asker(job: EvaluateJob) -> "Callable[..., asking.Asker | served.Asker]":
    """Return what makes ready to ask the engine of the releases."""
    if job.release.engine.type is EngineType.VLLM:
        from stagecoach_evaluator.served import ready as by_an_engine

        return by_an_engine
    # torch and all that is built on it: seconds and hundreds of megabytes, so not before it is needed.
    with quiet.importing():
        from stagecoach_evaluator.asking import ready as by_transformers

    return by_transformers


def kept(storage: Store, release: str, rows: Rows) -> Answers | None:
    """Return what a release answered when it was last asked, or None when that is not there, or not as it was."""
    suite = rows.suite
    place = layout.outputs_manifest(release, suite.rows)
    try:
        manifest = AnswersManifest.model_validate_json(storage.read(place), extra="ignore")
        content = storage.read(layout.outputs_file(release, suite.rows))
        answers = tuple(Answer.model_validate_json(line) for line in content.splitlines())
    except FileNotFoundError:
        return None
    except ValidationError:
        say(f"the answers in {place} cannot be read: they are asked for anew")
        return None
    if manifest.revision != ASKING_REVISION:
        say(f"the answers in {place} were asked for by another version: they are asked for anew")
        return None
    numbers = list(range(len(rows.dataset.rows)))
    intact = manifest.digest == records.digest_of(content) and [answer.row for answer in answers] == numbers
    if not intact or (manifest.release, manifest.data, manifest.columns) != (release, suite.data, suite.columns):
        say(f"the answers in {place} are not those that were written: they are asked for anew")
        return None
    if rows.harness is not None and any(answer.values is None and answer.error is None for answer in answers):
        say(f"the answers in {place} are not those to a task of lm-evaluation-harness: they are asked for anew")
        return None
    return Answers(answers, manifest.digest)


def keep(
    job: EvaluateJob,
    party: Party,
    rows: Rows,
    answers: tuple[Answer, ...],
    seconds: float,
    engine: str | None = None,
) -> Answers:
    """Write answers, and that they are complete last; return those of another who was faster, where there are any."""
    storage, release, uid, suite = places.storage(), party.release.digest, job.subject.uid, rows.suite
    faster = kept(storage, release, rows)
    if faster is not None:
        return faster
    content = "".join(f"{answer.line()}\n" for answer in answers).encode()
    found = Answers(answers, records.digest_of(content))
    manifest = AnswersManifest(
        revision=ASKING_REVISION,
        release=release,
        data=suite.data,
        columns=suite.columns,
        rows=len(answers),
        digest=found.digest,
        image=job.image,
        engine=engine,
        seconds=round(seconds, 3),
    )
    storage.write(layout.outputs_file(release, suite.rows), content, uid)
    storage.write(layout.outputs_manifest(release, suite.rows), f"{manifest.line()}\n".encode(), uid)
    return found
