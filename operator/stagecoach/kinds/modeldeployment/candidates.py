"""The runs that a deployment may mean, and what gates say of them: the newest first, and no more than have to be.

Besides, the bases of the project that it means themselves.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from pydantic import ValidationError

from stagecoach.api.deployment_status import Served
from stagecoach.api.evaluation_status import EvaluationVerdict
from stagecoach.api.finetunerun import FineTuneRun, Purpose
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.api.run_status import Phase
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.admitted import Admitted
from stagecoach.kinds import releases
from stagecoach.kinds.controller import Settings
from stagecoach.kinds.evalgate import asked
from stagecoach.kinds.evalgate.gate_word import gate_words
from stagecoach.kinds.evalgate.untuned import BaseItself
from stagecoach.kinds.modeldeployment.deciding import people
from stagecoach.kinds.modeldeployment.neighbours import project_key
from stagecoach.kinds.modeldeployment.rejections import in_force, passed_over
from stagecoach.kinds.plan import Key, Object, key_of
from stagecoach.kinds.releases import Unjudged
from stagecoach.kinds.view import View
from stagecoach.policies.admission import Followed, GateWord, NotAdmitted, People, Run
from stagecoach.policies.decisions import Decisions
from stagecoach.policies.fitting import Known, servable_problem, untestable

# So many are asked about at a time, for that is cheaper; and so many in all.
AT_ONCE, MOST = 8, 64
SUCCEEDED, FAILED, EXPERIMENT = Phase.SUCCEEDED.value, Phase.FAILED.value, Purpose.EXPERIMENT.value
PASSED = EvaluationVerdict.PASSED.value
LATER = "a later version of the operator wrote it. Upgrade the operator again."
OLDER = NotAdmitted("NothingNewer", "it is older than what is served. Name it in spec.model.run to go back to it.")
PASSED_OVER = NotAdmitted(
    "Rejected",
    "it may have been tried: more runs were rejected than status.rejected has room for, and it is no newer than some of"
    " them. Create another run, or name it in spec.model.run to have it tried.",
)


@dataclass(frozen=True)
class Candidates:
    """Runs as admission takes them, and all that has to be known to serve what they made."""

    runs: tuple[Run, ...] = ()
    # By whose it is, run or base, whenever that was created: what was admitted is told by its own name.
    made: Mapping[tuple[str, str], Admitted] = field(default_factory=dict)
    told: Mapping[tuple[str, str, str], Run] = field(default_factory=dict)  # what gates say of runs, by their origin
    # Those of which something was served before what was revoked, the last one first; while nothing is served.
    before: tuple[Run, ...] = ()

    def of(self, served: Served) -> Run | None:
        """Return the run of what is served or about to be, if it is there: not another that has its name by now."""
        return self.told.get(served.origin)


def candidates(
    view: View,
    raw: Object,
    deployment: ModelDeployment,
    project: TransformerProject,
    serving: Known | None,
    decisions: Decisions,
    followed: Followed | NotAdmitted | None,
    settings: Settings,
) -> Candidates:
    """Return what a project that is ready has to offer to a deployment."""
    search = _Search(view, raw, deployment, project, settings, serving, decisions, followed)
    return search.all(list(view.referrers(project_key(raw))))


@dataclass
class _Search:
    view: View
    raw: Object
    deployment: ModelDeployment
    project: TransformerProject
    settings: Settings
    serving: Known | None  # what is served
    decisions: Decisions
    followed: Followed | NotAdmitted | None
    made: dict[tuple[str, str], Admitted] = field(default_factory=dict)

    @cached_property
    def _people(self) -> People:
        return people(self.decisions)

    @cached_property
    def _rejected(self) -> set[str]:
        return {each.release for each in in_force(self.deployment, self.decisions)}

    @cached_property
    def _passed_over(self) -> str:
        return passed_over(self.deployment)

    def all(self, related: Sequence[Object]) -> Candidates:
        there = [raw for raw in related if raw["kind"] == "FineTuneRun" and "deletionTimestamp" not in raw["metadata"]]
        status = self.deployment.status
        of_serving, of_candidate = self._of(status.serving), self._of(status.candidate)
        chosen = self._chosen(there, related)
        candidates = [raw for raw in chosen if _is_candidate(raw)]
        newer = [raw for raw in candidates if self._may_be_wanted(raw, of_serving)]
        over = [raw for raw in newer if self._is_passed_over(raw)]
        runs = list(self._first_that_passes([raw for raw in newer if not self._is_passed_over(raw)], related))
        bases = self._bases(related)
        told = {run.origin: run for run in (*runs, *bases)}
        held = {_identity(raw): raw for raw in (of_serving, of_candidate) if raw is not None}
        rest = [raw for identity, raw in held.items() if identity not in told]
        if rest:  # a gate looks through the whole project
            told |= {run.origin: run for run in self._asked(rest)}
        before = tuple(self._before(there, bases))
        others = [_shallow(max(over, key=asked.order), PASSED_OVER)] if over else []
        runs = [*runs, *others, *self._others(chosen, candidates, newer), *bases]
        return Candidates(tuple(runs), self.made, told, before)

    def _bases(self, related: Sequence[Object]) -> list[Run]:
        """Return the bases that are meant themselves: by the spec, or because they are served, are about to, or were.

        A base that the project has no more is none of these.
        """
        status, model = self.deployment.status, self.deployment.spec.model
        names = [model.candidate, self.followed.base if isinstance(self.followed, Followed) else None]
        names += [each.base for each in (status.serving, status.candidate) if each is not None]
        if status.serving is None and status.revoked is not None:
            names += [each.base for each in status.history]
        if model.release is not None:
            names += asked.itself((raw for raw in related if raw["kind"] == "Evaluation"), model.release)
            if model.release in self._people.overridden:  # whoever lets it in need not wait for a gate
                names += [each.name for each in self.project.status.candidates]
        known = {each.name for each in self.project.status.candidates}
        bases = [BaseItself(name, self.project.metadata.name) for name in dict.fromkeys(names) if name in known]
        return [self._base(each) for each in bases]

    def _before(self, there: Sequence[Object], bases: Sequence[Run]) -> Iterator[Run]:
        """Yield the runs of what was served before what was revoked, as far as they still make that."""
        status = self.deployment.status
        if status.serving is not None or status.revoked is None:
            return
        names = {each.run for each in status.history}
        found = {run.name: run for run in self._asked(raw for raw in there if raw["metadata"]["name"] in names)}
        themselves = {run.name: run for run in bases}
        for entry in status.history:
            run = found.get(entry.run) if entry.run else themselves.get(entry.base or "")
            if run is not None and run.made == entry.release:
                yield run

    def _of(self, served: Served | None) -> Object | None:
        """Return the run that made what is served; one that was created anew under its name is another."""
        if served is None or served.run is None:
            return None
        raw = self.view.get(Key("FineTuneRun", self.deployment.metadata.namespace, served.run))
        if raw is None or _identity(raw) != served.origin or "deletionTimestamp" in raw["metadata"]:
            return None
        return raw

    def _others(self, chosen: list[Object], candidates: list[Object], newer: list[Object]) -> list[Run]:
        """Return what is told of runs that nobody is asked about: of `latest`, one says as much as all of them."""
        if len(newer) < len(candidates):
            return [_shallow(min(candidates, key=asked.order), OLDER)]
        others = [raw for raw in chosen if not _is_candidate(raw)]
        if self.deployment.spec.model.latest is not None:
            others = heapq.nlargest(1, filter(_goes_on, others), key=asked.order)
        return [_shallow(raw, None) for raw in others]

    def _may_be_wanted(self, raw: Object, of_serving: Object | None) -> bool:
        """Whether a run is named, or is not older than the one of what is served."""
        served = self.deployment.status.serving
        if self.deployment.spec.model.latest is None or served is None or served.run_created is None:
            return True
        if of_serving is not None:
            return asked.order(raw) >= asked.order(of_serving)
        return bool(raw["metadata"]["creationTimestamp"] > served.run_created)

    def _is_passed_over(self, raw: Object) -> bool:
        served = self.deployment.status.serving
        serves = served is not None and _identity(raw) == served.origin
        return not serves and bool(raw["metadata"]["creationTimestamp"] <= self._passed_over)

    def _chosen(self, there: Sequence[Object], related: Sequence[Object]) -> list[Object]:
        """Return the runs that the spec may mean."""
        model = self.deployment.spec.model
        if model.follow is not None:
            followed = self.followed if isinstance(self.followed, Followed) else None
            return [raw for raw in there if followed and _identity(raw) == followed.origin]
        if model.run is not None:
            return [raw for raw in there if raw["metadata"]["name"] == model.run]
        if model.release is not None:
            judged = [raw for raw in related if raw["kind"] == "Evaluation"]
            names = {
                raw["spec"].get("run")
                for raw in judged
                if raw["spec"].get("release", {}).get("digest") == model.release
            }
            if model.release in self._people.overridden:  # whoever lets it in need not wait for a gate
                names |= self._let_in(filter(_is_candidate, there))
            return [raw for raw in there if raw["metadata"]["name"] in names]
        if model.latest is None:
            return []  # a base itself is meant
        labels = model.latest.selector.match_labels
        return [raw for raw in there if labels.items() <= (raw["metadata"].get("labels") or {}).items()]

    def _first_that_passes(self, raws: Sequence[Object], related: Sequence[Object]) -> Iterator[Run]:
        """Return runs from the newest on, up to one that may be served: nothing older can be wanted before it.

        Of the newest it is told why they are not served. Of others those are asked about that may be: an artifact that
        no Evaluation of each gate has passed, whatever it went by, has not passed by what they ask now; and those that
        somebody lets in.
        """
        newest = heapq.nlargest(AT_ONCE, raws, key=asked.order)
        passed = self._passed(related) if len(raws) > AT_ONCE else set()
        let_in = self._let_in(raws) if len(raws) > AT_ONCE else set()
        may_be = [raw for raw in raws if _artifact(raw) in passed or raw["metadata"]["name"] in let_in]
        older = [raw for raw in may_be if asked.order(raw) < asked.order(newest[-1])]
        rest = iter([*newest, *heapq.nlargest(MOST, older, key=asked.order)])
        while some := list(islice(rest, AT_ONCE)):
            runs = self._asked(some)
            yield from runs
            if any(map(self._passes, runs)):
                return

    def _let_in(self, raws: Iterable[Object]) -> set[str]:
        """Return the names of the newest runs that have made what somebody lets be served whatever gates say."""
        names: set[str] = set()
        missing = set(self._people.overridden)
        for raw in sorted(raws, key=asked.order, reverse=True) if missing else ():
            run = self._read(raw)
            made = self._made(run) if run else None
            if isinstance(made, str) and made in missing:
                names.add(raw["metadata"]["name"])
                missing.remove(made)
                if not missing:
                    break
        return names

    def _passed(self, related: Sequence[Object]) -> set[str]:
        """Return the artifacts of which each gate has passed something."""
        passed: dict[str, set[str]] = {gate.name: set() for gate in self.deployment.spec.gates}
        for raw in related:
            if raw["kind"] == "Evaluation" and raw.get("status", {}).get("verdict") == PASSED:
                passed.get(raw["spec"]["gate"], set()).add(raw["spec"]["release"].get("artifact", ""))
        return set.intersection(*passed.values())

    def _passes(self, run: Run) -> bool:
        if not isinstance(run.made, str) or run.made in self._rejected or run.made in self._people.refused:
            return False
        return run.made in self._people.overridden or all(word.passed(run.made) for word in run.words)

    def _base(self, base: BaseItself) -> Run:
        """Return a base itself with the release that it is now, and what every gate says of that."""
        try:
            made = self._fitting(releases.admitted_itself(base, self.project), ("", base.name))
        except Unjudged as why:
            made = NotAdmitted(why.reason, why.message)
        words: list[GateWord] = []
        if isinstance(made, str):
            for gate in self.deployment.spec.gates:
                words += gate_words(self.view, self.raw, gate.name, [base], self.settings)
        return Run(name=base.name, created="", uid="", made=made, words=tuple(words), base=True)

    def _asked(self, raws: Iterable[Object]) -> list[Run]:
        """Return runs with what they made, and what every gate says of them."""
        read = [(raw, self._read(raw)) for raw in raws]
        made = {run.metadata.name: self._made(run) for _, run in read if run is not None}
        judged = [run for _, run in read if run is not None and isinstance(made[run.metadata.name], str)]
        words: dict[str, list[GateWord]] = {run.metadata.name: [] for run in judged}
        for gate in self.deployment.spec.gates:
            said = gate_words(self.view, self.raw, gate.name, judged, self.settings)
            for run, word in zip(judged, said, strict=True):
                words[run.metadata.name].append(word)
        return [
            _shallow(
                raw,
                NotAdmitted("RunUnknown", LATER) if run is None else made[run.metadata.name],
                words.get(raw["metadata"]["name"], ()),
            )
            for raw, run in read
        ]

    def _read(self, raw: Object) -> FineTuneRun | None:
        try:
            return self.view.read(key_of(raw), FineTuneRun.model_validate)
        except ValidationError:
            return None

    def _made(self, run: FineTuneRun) -> str | NotAdmitted | None:
        """Return the release that a run made, or why that cannot be served; None while it has made nothing."""
        status = run.status
        if status.phase is not Phase.SUCCEEDED or status.artifact is None or status.inputs is None:
            return None
        try:
            found = releases.admitted(run, self.project)
        except Unjudged as why:
            return NotAdmitted(why.reason, why.message)
        return self._fitting(found, (run.metadata.name, ""))

    def _fitting(self, found: Admitted, whose: tuple[str, str]) -> str | NotAdmitted:
        """Return a release, or why the deployment cannot serve it."""
        if unfit := servable_problem(self.deployment.spec, found, self.serving) or self._untestable(found):
            return unfit
        self.made[whose] = found
        return found.release

    def _untestable(self, found: Admitted) -> NotAdmitted | None:
        """Return why a new release cannot be tested; what serves, and what comes back after a Revoke, need not be."""
        status = self.deployment.status
        before = status.history if status.serving is None and status.revoked is not None else ()
        known = {each.release for each in (status.serving, *before) if each is not None}
        return None if found.release in known else untestable(self.deployment.spec, found)


def _is_candidate(raw: Object) -> bool:
    """Whether a run has made something that may be served; what else it is, is said of it in few words."""
    return bool(raw.get("status", {}).get("phase") == SUCCEEDED and raw["spec"].get("purpose") != EXPERIMENT)


def _goes_on(raw: Object) -> bool:
    """Whether a run may yet make something that may be served."""
    return bool(raw.get("status", {}).get("phase") != FAILED and raw["spec"].get("purpose") != EXPERIMENT)


def _artifact(raw: Object) -> str:
    return str(raw["status"].get("artifact", {}).get("digest", ""))


def _identity(raw: Object) -> tuple[str, str, str]:
    return raw["metadata"]["name"], "", raw["metadata"]["creationTimestamp"]


def _shallow(raw: Object, made: str | NotAdmitted | None, words: Sequence[GateWord] = ()) -> Run:
    metadata = raw["metadata"]
    return Run(
        name=metadata["name"],
        created=metadata["creationTimestamp"],
        uid=metadata["uid"],
        phase=str(raw.get("status", {}).get("phase", "")),
        experiment=raw["spec"].get("purpose") == EXPERIMENT,
        labels=metadata.get("labels") or {},
        made=made,
        words=tuple(words),
    )
