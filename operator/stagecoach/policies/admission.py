"""Which release a deployment should serve: the newest that every gate has passed, or the one that was asked for.

Nothing is admitted but by a verdict Passed of each gate as it is now, about that very release, or by an Override of
somebody who may. What is judged late and is older replaces nothing, unless somebody names it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from stagecoach.api.common import whose
from stagecoach.api.deployment_status import Overridden, PassedGate, Rejected, Served
from stagecoach.api.modeldeployment import DeploymentGate, ModelDeploymentSpec
from stagecoach.contract.digests import short
from stagecoach.policies.instead import instead
from stagecoach.policies.verdicts import OF_A_BASE, REMEDIES


class GateState(StrEnum):
    """What a gate says of a run, in one word."""

    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"
    UNJUDGED = "Unjudged"  # the run cannot be judged
    BLOCKED = "Blocked"  # the gate judges nothing at the moment
    MISSING = "Missing"  # there is no such gate
    AWAITING_REVIEW = "AwaitingReview"
    JUDGING = "Judging"
    WAITING = "Waiting"  # its Evaluation is still to come


# What a gate with whenAbsent Fail says of what is served, where nothing is known that was served before.
NOTHING_BEFORE = "NothingBefore"


@dataclass(frozen=True)
class GateWord:
    """What a gate says of a run, and by which Evaluation."""

    gate: str
    state: GateState
    reason: str
    message: str
    evaluation: str = ""
    key: str = ""
    release: str = ""
    of_then: bool = False  # it is not compared with what is served, but was with what was served then

    def passed(self, release: str) -> bool:
        """Whether this release may be served, as far as this gate is asked."""
        judged = self.release == release and bool(self.evaluation and self.key)
        return self.state is GateState.PASSED and judged


@dataclass(frozen=True)
class NotAdmitted:
    """Why something is not to be served, with what to do about it."""

    reason: str
    message: str
    until: datetime | None = None  # when that is over by itself, where it is known


class _OfARelease:
    """Whose release it is."""

    run: str  # empty: it is a base itself
    run_created: str
    base: str

    @property
    def origin(self) -> tuple[str, str, str]:
        """What tells it from others, also from those that have its name by now."""
        return self.run, self.base, self.run_created

    @property
    def title(self) -> str:
        """Whose it is, at the beginning of a sentence."""
        return f"Run {self.run}" if self.run else f"Base {self.base}"


@dataclass(frozen=True)
class Followed(_OfARelease):
    """What another deployment serves, and has for long enough."""

    deployment: str
    run: str
    run_created: str
    release: str
    base: str = ""


@dataclass(frozen=True)
class Run:
    """A FineTuneRun of the project; or, without one, a base of it itself, with its prompt: as if it made a release."""

    name: str
    created: str
    uid: str
    phase: str = "Succeeded"
    experiment: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    # The release that it made, or why that cannot be served whatever gates say. None: it has not succeeded.
    made: str | NotAdmitted | None = None
    words: Sequence[GateWord] = ()
    base: bool = False  # it is one of the project's candidates itself: nobody created it, and it is no run

    @property
    def origin(self) -> tuple[str, str, str]:
        """What tells it from others, also from those that have its name by now."""
        return ("", self.name, "") if self.base else (self.name, "", self.created)

    @property
    def title(self) -> str:
        """What it is, at the beginning of a sentence."""
        return f"Base {self.name}" if self.base else f"Run {self.name}"

    @property
    def order(self) -> tuple[str, str]:
        """The newer one is greater."""
        return self.created, self.uid

    def passed(self, gates: Sequence[DeploymentGate], release: str) -> bool:
        """Whether every one of these gates has passed this release of it."""
        return bool(gates) and all(_word(gate.name, self).passed(release) for gate in gates)


@dataclass(frozen=True)
class People:
    """What people have decided on releases."""

    refused: Mapping[str, NotAdmitted] = field(default_factory=dict)  # by release: why it is not to be served
    overridden: Mapping[str, Overridden] = field(default_factory=dict)  # by release: who lets it be, without its gates


@dataclass(frozen=True)
class Wanted(_OfARelease):
    """What is to be served; that may be what is served already."""

    run: str
    run_created: str
    release: str
    gates: tuple[PassedGate, ...]
    # Of `latest`: why it is not a newer run.
    instead_of: NotAdmitted | None = None
    # By whom it may be served, although not every gate has passed it.
    override: Overridden | None = None
    of_then: bool = False  # a gate that compares has passed it beside what was served then
    base: str = ""


NOBODY = People()
# What is said of a verdict of then.
OF_THEN = " beside what was served then: by spec.rollout.rollbackWindow it is not compared with what was served since"
# Behind all uids.
_LAST = "~"
# By state, the most final first: the reason that is told, and what to do, where the gate's own words do not say it.
OBSTACLES: dict[GateState, tuple[str, str]] = {
    GateState.FAILED: ("GateFailed", "See Evaluation {evaluation}, and {instead}."),
    GateState.INCONCLUSIVE: ("GateInconclusive", "See Evaluation {evaluation}."),
    GateState.ERROR: ("GateError", "See Evaluation {evaluation}."),
    GateState.MISSING: ("GateMissing", ""),
    GateState.UNJUDGED: ("GateCannotJudge", ""),
    GateState.BLOCKED: ("GateBlocked", ""),
    GateState.AWAITING_REVIEW: (
        "AwaitingReview",
        "See Evaluation {evaluation}: its message says who decides, and how.",
    ),
    GateState.JUDGING: ("Judging", "Nothing to do: the verdict comes by itself."),
    GateState.WAITING: ("Judging", "Nothing to do: the gate judges it when its turn comes."),
}
# A gate that has said nothing else yet, or may say nothing for a while, does not take back what it has passed before.
OPEN = {GateState.PASSED, GateState.JUDGING, GateState.WAITING, GateState.AWAITING_REVIEW, GateState.BLOCKED}


def decide(
    spec: ModelDeploymentSpec,
    serving: Served | None,
    rejected: Sequence[Rejected],
    runs: Sequence[Run],
    people: People = NOBODY,
    followed: Followed | NotAdmitted | None = None,
) -> Wanted | NotAdmitted:
    """Return what is to be served, or why nothing else is.

    `rejected` are releases that are not to be tried again under this spec; `runs` are those that it may mean: of
    `latest`, whichever its selector takes. `followed`: what spec.model.follow comes to, if it is given.
    """
    case = _Case(spec, serving, rejected, runs, people)
    if followed is not None:
        found = followed if isinstance(followed, NotAdmitted) else case.of_followed(followed)
    elif spec.model.run is not None:
        found = case.of_run(spec.model.run)
    elif spec.model.release is not None:
        found = case.of_release(spec.model.release)
    elif spec.model.candidate is not None:
        found = case.of_base(spec.model.candidate)
    else:
        found = case.latest()
    return case.told(found)


def stand_in(
    spec: ModelDeploymentSpec, rejected: Sequence[Rejected], before: Sequence[Run], people: People
) -> Wanted | None:
    """Return the first of the runs that were served before which every gate passes as it is now, whatever spec names.

    What was admitted without its gates was not judged by them: nobody has said that it is to come back.
    """
    case = _Case(spec, None, rejected, before, replace(people, overridden={}))
    return next((found for run in before if isinstance(found := case.admitted(run), Wanted)), None)


def objection(spec: ModelDeploymentSpec, serving: Served | None, candidate: Served, run: Run | None) -> str:
    """Return why a release that was admitted is not to take over any more, by what is said of its run now; or nothing.

    What is served is never asked about: it goes on.
    """
    if run is None:
        return f"its run, of {candidate.run_created}, is gone" if candidate.run else "its project has it no more"
    if isinstance(run.made, NotAdmitted):
        return f"it cannot be served any more: {run.made.message}"
    if run.base and run.made != candidate.release:
        says = f"by what the project says now {candidate.named} is another release"
        return f"{says}, {short(run.made or '')}, which its gates judge"
    for word in (_word(gate.name, run) for gate in spec.gates):
        if word.state not in OPEN:
            told = f"gate {word.gate} says {word.state} by what it asks now: {_sentence(word.message)}"
            return f"{told} {_remedy(word, run)}".strip()
    if spec.model.latest is None:
        return ""
    labels = spec.model.latest.selector.match_labels
    if not labels.items() <= run.labels.items():
        return f"spec.model.latest.selector asks for {_listed(labels)}, which its run does not have"
    if serving is not None and (candidate.run_created or "") < (serving.run_created or ""):
        return "it is older than what is served. Name it in spec.model.run to go back to it"
    return ""


@dataclass(frozen=True)
class _Case:
    spec: ModelDeploymentSpec
    serving: Served | None
    rejected: Sequence[Rejected]
    runs: Sequence[Run]
    people: People

    def latest(self) -> Wanted | NotAdmitted:
        """Return the newest run that passed, unless it is older than what is served."""
        candidates = [run for run in self.runs if run.made is not None and not run.experiment and not run.base]
        oldest = self._oldest()
        newer = sorted((run for run in candidates if run.order >= oldest), key=lambda run: run.order, reverse=True)
        newest: NotAdmitted | None = None
        for run in newer:
            found = self.admitted(run)
            if isinstance(found, Wanted):
                return replace(found, instead_of=newest)
            newest = newest or found
        return newest or (self._none_newer() if candidates else self._none_yet())

    def of_run(self, name: str) -> Wanted | NotAdmitted:
        """Return the run of this name, if it passed."""
        run = next((run for run in self.runs if run.name == name and not run.base), None)
        if run is None:
            message = f"spec.model.run: project {self.spec.project!r} has no FineTuneRun {name!r}."
            return NotAdmitted("RunUnknown", f"{message} Create it, or name another.")
        return self.admitted(run)

    def of_base(self, name: str) -> Wanted | NotAdmitted:
        """Return the base of this name itself, if it passed."""
        base = next((run for run in self.runs if run.name == name and run.base), None)
        if base is None:
            message = f"spec.model.candidate: project {self.spec.project!r} has no candidate {name!r}."
            return NotAdmitted("CandidateUnknown", f"{message} Add it to its spec.candidates, or name another.")
        return self.admitted(base)

    def of_release(self, digest: str) -> Wanted | NotAdmitted:
        """Return a run that made this release and passed: of several, the newest; or the base that it is itself."""
        newest = sorted(self.runs, key=lambda run: run.order, reverse=True)
        found = [self.admitted(run) for run in newest if run.made == digest]
        # What a run made is not known, or not to be served: it may be this release.
        found += [self.admitted(run) for run in newest if isinstance(run.made, NotAdmitted) and not run.base]
        if not found:
            message = f"spec.model.release: no FineTuneRun of project {self.spec.project!r} has made release"
            message += f" {short(digest)} as the project is now, and none of its candidates that were judged is it."
            advice = "Create a run of the same inputs, which adopts what was made; for a base itself, bring the project"
            advice += " back to what it said of it; or name another release."
            return NotAdmitted("ReleaseUnknown", f"{message} {advice}")
        return next((each for each in found if isinstance(each, Wanted)), found[0])

    def of_followed(self, followed: Followed) -> Wanted | NotAdmitted:
        """Return what another deployment serves, if it passed here too."""
        serves = f"spec.model.follow: ModelDeployment {followed.deployment!r} serves release {short(followed.release)}"
        serves += f" of {whose(followed.run, followed.base)},"
        run = next((run for run in self.runs if run.origin == followed.origin), None)
        if run is None and followed.base:
            advice = f"Add it to its spec.candidates again, or let {followed.deployment} serve something else."
            return NotAdmitted("CandidateUnknown", f"{serves} which the project has no more. {advice}")
        if run is None:
            message = f"{serves} which is gone. Create another run, and let that one serve it."
            return NotAdmitted("RunUnknown", message)
        if isinstance(run.made, str) and run.made != followed.release:
            message = f"{serves} which as the project is now makes release {short(run.made)}."
            advice = f"Let {followed.deployment} serve that one, or set the project back."
            return NotAdmitted("ReleaseUnknown", f"{message} {advice}")
        return self.admitted(run)

    def told(self, found: Wanted | NotAdmitted) -> Wanted | NotAdmitted:
        """Say with each reason what is served meanwhile."""
        if isinstance(found, NotAdmitted):
            meanwhile = f"{self.serving.title} goes on serving." if self.serving else "Nothing is served until then."
            return replace(found, message=f"{found.message} {meanwhile}")
        if found.instead_of is None:
            return found
        serves = self.serving is not None and self.serving.release == found.release
        meanwhile = f"{found.title} {'goes on serving' if serves else 'is taken meanwhile'}."
        return replace(found, instead_of=replace(found.instead_of, message=f"{found.instead_of.message} {meanwhile}"))

    def _oldest(self) -> tuple[str, str]:
        """Return the place in the order of runs of what is served: what is older is not taken."""
        if self.serving is None or self.serving.run_created is None:  # any run is newer than a base itself
            return "", ""
        created = self.serving.run_created
        uid = next((each.uid for each in self.runs if each.origin == self.serving.origin), None)
        # Its run may be gone, and nobody knows its uid: what was created in the same second is then taken for older.
        return created, _LAST if uid is None else uid

    def admitted(self, run: Run) -> Wanted | NotAdmitted:
        """Return what a run has made, if it may be served."""
        if run.experiment:
            message = f"spec.purpose of run {run.name} is Experiment, which is never judged, and never served."
            advice = "Create a run of purpose Candidate with the same inputs: it adopts what this one made."
            return NotAdmitted("RunIsExperiment", f"{message} {advice}")
        if run.made is None:
            return _not_finished(run)
        if isinstance(run.made, NotAdmitted):
            return NotAdmitted(run.made.reason, f"{run.title} cannot be served: {run.made.message}")
        if (refused := self.people.refused.get(run.made)) is not None:
            return NotAdmitted(refused.reason, f"{run.title} is not served: {refused.message}")
        before = next((each for each in self.rejected if each.release == run.made), None)
        if before is not None:
            message = f"{run.title} was tried, and rejected ({before.reason}): {_sentence(before.message)}"
            again = "a change of this spec, or a Promote by one of spec.approvers, has it tried again."
            return NotAdmitted("Rejected", f"{message} To have another release, {instead(run.origin[0])}; {again}")
        return self._by_gates(run, run.made)

    def _by_gates(self, run: Run, release: str) -> Wanted | NotAdmitted:
        words = [_word(gate.name, run) for gate in self.spec.gates]
        passed = [word for word in words if word.passed(release)]
        gates = tuple(PassedGate(gate=word.gate, evaluation=word.evaluation, key=word.key) for word in passed)
        name, base = ("", run.name) if run.base else (run.name, "")
        if run.passed(self.spec.gates, release):
            of_then = any(word.of_then for word in words)
            return Wanted(name, run.created, release, gates, of_then=of_then, base=base)
        if (override := self.people.overridden.get(release)) is not None:
            return Wanted(name, run.created, release, gates, override=override, base=base)
        found = (_obstacle(word) for word in words if not word.passed(release))
        word = min(found, key=lambda word: list(OBSTACLES).index(word.state))
        told = f"{run.title} has not passed gate {word.gate} ({word.reason}): {_sentence(word.message)}"
        return NotAdmitted(OBSTACLES[word.state][0], f"{told} {_remedy(word, run)}".strip())

    def _none_newer(self) -> NotAdmitted:
        message = f"Every run that has succeeded{self._selected()} is older than the one that is served."
        return NotAdmitted("NothingNewer", f"{message} Create a run; or name an older one in spec.model.run.")

    def _none_yet(self) -> NotAdmitted:
        message = (
            f"No FineTuneRun of purpose Candidate of project {self.spec.project!r}{self._selected()} has succeeded"
        )
        going_on = [run for run in self.runs if not run.experiment and not run.base and run.phase != "Failed"]
        if going_on:
            run = max(going_on, key=lambda run: run.order)
            return NotAdmitted("NoCandidates", f"{message} yet: {_state(run)}. Nothing to do: it is judged then.")
        return NotAdmitted("NoCandidates", f"{message}. Create one.")

    def _selected(self) -> str:
        labels = self.spec.model.latest.selector.match_labels if self.spec.model.latest else {}
        return f" with label {_listed(labels)}" if labels else ""


def _not_finished(run: Run) -> NotAdmitted:
    if run.phase == "Failed":
        message = f"Run {run.name} has failed, and made nothing that could be served."
        return NotAdmitted("RunFailed", f"{message} Create another run: its own condition Ready says what went wrong.")
    message = f"{_state(run)[0].upper()}{_state(run)[1:]}, and has made nothing yet that could be served."
    return NotAdmitted("RunNotFinished", f"{message} Nothing to do: it is judged when it has succeeded.")


def _state(run: Run) -> str:
    return f"run {run.name} is {run.phase or 'new'}"


def _word(gate: str, run: Run) -> GateWord:
    nothing = GateWord(gate, GateState.WAITING, "NotBegun", "the gate has said nothing of it yet")
    return next((word for word in run.words if word.gate == gate), nothing)


def _obstacle(word: GateWord) -> GateWord:
    """Return why a word does not admit: a Passed of another release, or without its Evaluation, is none."""
    if word.state is not GateState.PASSED:
        return word
    message = "the gate has passed another release of it, and not yet what it is as the project is now"
    return replace(word, state=GateState.WAITING, reason="NotBegun", message=message)


def _remedy(word: GateWord, run: Run) -> str:
    advice, known = OBSTACLES[word.state][1], OF_A_BASE if run.base else REMEDIES
    return known.get(word.reason, advice.format(evaluation=word.evaluation, instead=instead(run.origin[0])))


def _listed(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def _sentence(words: str) -> str:
    return f"{words.rstrip('. ')}."
