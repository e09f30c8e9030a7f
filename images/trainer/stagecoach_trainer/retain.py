"""RetainJob: announce what may leave the storage, remove what was announced long enough ago, and say so.

Every step may be the last one, and another Job may work in the same storage at any time: an artifact is adopted only
while its manifest is there, which goes first and comes back last; what says that it leaves goes last of all.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from stagecoach.contract import layout
from stagecoach.contract.digests import Manifest, hex_of
from stagecoach.contract.jobs import RetainJob
from stagecoach.contract.reports import Problem, RetentionReport
from stagecoach.contract.retention import SHORT, Leaving, Removed
from stagecoach.contract.store import Store, require_storage
from stagecoach.contract.times import moment, timestamp
from stagecoach_trainer import leftovers, places, survey, uses
from stagecoach_trainer.failures import WorkFailed
from stagecoach_trainer.retaining import IN_USE, Fate, Held, Rules, Verdict, decide, is_pinned
from stagecoach_trainer.survey import Survey

# A clock that is further off than the first, or a decision that is older than the second, is not trusted.
CLOCKS_DIFFER = timedelta(minutes=10)
DECISION_HOLDS = timedelta(days=7)
SHOWN = 5


def retain(job: RetainJob) -> RetentionReport:
    """Do all that is due. Raises BadInput or WorkFailed, and removes nothing, when anything is not clear."""
    storage = places.storage()
    require_storage(storage)
    return Pass(storage, job, datetime.now(UTC)).run()


@dataclass
class Pass:
    """One look at a storage, and what follows from it."""

    storage: Store
    job: RetainJob
    clock: datetime
    announced: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    bytes: int = 0
    notes: list[str] = field(default_factory=list)
    makers: dict[str, set[str]] = field(default_factory=dict)  # the inputs of the runs that made each artifact

    def run(self) -> RetentionReport:
        """Look, decide, bring back, remove, announce: in this order, so that what is wanted is safe first."""
        now = self._time()
        found = survey.survey(self.storage)
        rules = self._rules(now, found)
        verdicts = decide(found.held, found.records, rules)
        for record in found.records:
            self.makers.setdefault(record.artifact, set()).add(record.inputs)
        try:
            self._carry_out(found, verdicts)
            self.bytes += leftovers.remove(self.storage, self.job, now - rules.keep)
        finally:
            self.storage.clean(self._staging)
        return self._report(found, verdicts, rules)

    def _carry_out(self, found: Survey, verdicts: dict[str, Verdict]) -> None:
        fates: dict[Fate, list[str]] = {fate: [] for fate in Fate}
        for artifact, verdict in verdicts.items():
            fates[verdict.fate].append(f"sha256:{artifact}")
        for digest in fates[Fate.BRING_BACK]:
            self._bring_back(digest, verdicts[hex_of(digest)].why)
        for digest in fates[Fate.KEEP]:
            # Whole, although it was announced: it was published again, or bringing it back was cut off.
            if found.held[hex_of(digest)].since is not None:
                self.storage.remove(layout.leaving_file(digest))
        # A storage may be full: what is removed makes room for what is written about others.
        for digest in fates[Fate.REMOVE]:
            self._remove(digest, found)
        for digest in fates[Fate.ANNOUNCE]:
            self._announce(digest, found)
        self._note_uses(found, verdicts)

    def _note_uses(self, found: Survey, verdicts: dict[str, Verdict]) -> None:
        """Say of what objects of the cluster have that it is in use, for the time after them and for other clusters."""
        before = self.clock - timedelta(seconds=self.job.keep_seconds) / 4
        for artifact, verdict in verdicts.items():
            used = found.held[artifact].used
            if verdict.why == IN_USE and (used is None or used < before):
                uses.note(self.storage, f"sha256:{artifact}", self.job.subject, self.clock)

    @property
    def _staging(self) -> str:
        return f"{self.job.subject.uid}-retain"

    def _time(self) -> datetime:
        """Return the time that counts: what has come into use since the decision is not in that."""
        decided = moment(self.job.decided)
        if not -CLOCKS_DIFFER <= self.clock - decided <= DECISION_HOLDS:
            message = f"this was decided at {self.job.decided}, and here it is {timestamp(self.clock)}."
            remedy = "Nothing was removed. See to the clocks of the nodes; after a long wait in a queue, just wait."
            raise WorkFailed(Problem.of("DecisionStale", message, remedy=remedy))
        return min(decided, self.clock)

    def _rules(self, now: datetime, found: Survey) -> Rules:
        return Rules(
            project=self.job.subject.uid,
            runs=self.job.runs,
            keep=timedelta(seconds=self.job.keep_seconds),
            notice=timedelta(seconds=self.job.notice_seconds),
            now=now,
            protected=frozenset(self.job.protected),
            pins=found.pins,
        )

    def _bring_back(self, digest: str, why: str) -> None:
        told = survey.leaving(self.storage, digest)
        if told is None:
            return
        if not self._is_there(told.manifest):
            self.notes.append(f"{hex_of(digest)[:SHORT]} stays announced although {why}: files of it are missing.")
            return
        self._put_back(told)

    def _put_back(self, told: Leaving) -> None:
        digest = told.manifest.digest
        self.storage.write(layout.manifest_file(digest), told.manifest.line().encode(), self._staging)
        self.storage.remove(layout.leaving_file(digest))

    def _is_there(self, manifest: Manifest) -> bool:
        found = {item.path: item.size for item in self.storage.listing(layout.artifact_folder(manifest.digest))}
        return all(found.get(entry.path) == entry.size for entry in manifest.files)

    def _announce(self, digest: str, found: Survey) -> None:
        manifest = self.storage.manifest(digest)
        if manifest is None or not self._only_its_own(manifest):
            self._note(digest, "its manifest cannot be read, or there is more in its folder than its files")
            return
        since = timestamp(max(self.clock, moment(self.job.decided)))
        told = Leaving(since=since, by=self.job.subject, manifest=manifest)
        self.storage.write(layout.leaving_file(digest), told.line().encode(), self._staging)
        self.storage.remove(layout.manifest_file(digest))
        # From here nobody adopts it. Whoever was about to has said so before looking.
        if self._wanted(digest, found):
            self._put_back(told)
            return
        self.announced.append(digest)

    def _remove(self, digest: str, found: Survey) -> None:
        told = survey.leaving(self.storage, digest)
        if told is None or self.storage.exists(layout.manifest_file(digest)):
            return
        if self._wanted(digest, found):
            self._bring_back(digest, "it is wanted")
            return
        if not self._only_its_own(told.manifest):
            self._note(digest, "there is more in its folder than its files")
            return
        folder = layout.artifact_folder(digest)
        files = self.storage.listing(folder)
        if any(item.modified > moment(told.since) for item in files):
            # Somebody publishes it again, or tried: as if it were announced now.
            self._announce_again(told)
            return
        for item in files:
            if self.storage.exists(layout.manifest_file(digest)):
                return
            self.storage.remove(f"{folder}/{item.path}")
        self._gone(told)

    def _gone(self, told: Leaving) -> None:
        digest = told.manifest.digest
        self.storage.remove_empty(layout.artifact_folder(digest))
        done = Removed(at=timestamp(self.clock), announced=told.since, by=self.job.subject, bytes=told.manifest.size)
        self.storage.write(layout.removed_file(digest), done.line().encode(), self._staging)
        self.storage.remove(layout.used_file(digest))
        self.storage.remove(layout.leaving_file(digest))
        self.removed.append(digest)
        self.bytes += told.manifest.size

    def _announce_again(self, told: Leaving) -> None:
        again = told.model_copy(update={"since": timestamp(self.clock)})
        place = layout.leaving_file(told.manifest.digest)
        self.storage.write(place, again.line().encode(), self._staging)

    def _wanted(self, digest: str, found: Survey) -> bool:
        """Whether it was adopted or pinned since the survey, or that is not clear."""
        artifact = hex_of(digest)
        try:
            used = uses.last(self.storage, digest)
        except ValueError:
            return True
        names = {artifact, *self.makers.get(artifact, ())}
        return used != found.held[artifact].used or is_pinned(names, survey.pins(self.storage))

    def _only_its_own(self, manifest: Manifest) -> bool:
        own = {entry.path for entry in manifest.files}
        files = self.storage.listing(layout.artifact_folder(manifest.digest))
        return all(item.path in own and not item.link for item in files)

    def _note(self, digest: str, why: str) -> None:
        self.notes.append(f"{hex_of(digest)[:SHORT]} stays: {why}.")

    def _report(self, found: Survey, verdicts: dict[str, Verdict], rules: Rules) -> RetentionReport:
        after = survey.held(self.storage)
        away = {artifact: item for artifact, item in after.items() if not item.whole}
        times = [verdict.until for verdict in verdicts.values() if verdict.fate is Fate.KEEP and verdict.until]
        times += [item.since + rules.notice for item in away.values() if item.since]
        return RetentionReport(
            kept=len(after) - len(away),
            leaving=len(away),
            announced=len(self.announced),
            removed=len(self.removed),
            bytes=self.bytes,
            again=timestamp(min(times)) if times else None,
            message=self._words(found, verdicts, away, rules)[:1500],
        )

    def _words(self, found: Survey, verdicts: dict[str, Verdict], away: dict[str, Held], rules: Rules) -> str:
        reasons = Counter(verdict.why for verdict in verdicts.values() if verdict.why)
        kept = "; ".join(f"{count} because {why}" for why, count in sorted(reasons.items()))
        said = [f"Of {len(found.held)} artifacts {sum(reasons.values())} stay{f': {kept}' if kept else ''}."]
        if times := [item.since for item in away.values() if item.since]:
            said.append(
                f"From {timestamp(min(times) + rules.notice)} on leave, unless they are pinned: {_listed(away)}."
            )
        if self.removed:
            said.append(f"Removed: {_listed(map(hex_of, self.removed))}.")
        return " ".join([*said, *self.notes[:SHOWN]])


def _listed(artifacts: Iterable[str]) -> str:
    shorts = [artifact[:SHORT] for artifact in artifacts]
    more = f" and {len(shorts) - SHOWN} more" if len(shorts) > SHOWN else ""
    return ", ".join(shorts[:SHOWN]) + more
