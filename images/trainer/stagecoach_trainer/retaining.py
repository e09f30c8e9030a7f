"""What becomes of each artifact of a storage. Pure, and cautious: every reason to keep one is enough.

Nothing is removed at once. An artifact that has no reason to stay is announced: its manifest goes, so that nobody
adopts it from then on, and its files stay. Only a later decision that was taken after the notice, and so knows of all
who had adopted it before, removes it; with a reason to stay it comes back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from stagecoach.contract.retention import SHORT

IN_USE = "an object of the cluster names it"


@dataclass(frozen=True)
class Told:
    """What a record says, as far as it matters here. Digests are 64 hex digits."""

    inputs: str
    artifact: str
    finished: datetime
    project: str | None  # uid; None in a record of before
    mentions: frozenset[str] = frozenset()  # all digests in it


@dataclass(frozen=True)
class Held:
    """An artifact that is whole, or announced to leave."""

    whole: bool  # its manifest is there
    since: datetime | None = None  # it was announced, whether or not it became whole again
    used: datetime | None = None  # it was last adopted
    strange: str = ""  # why it cannot be judged


@dataclass(frozen=True)
class Rules:
    """What the project and the cluster say."""

    project: str
    runs: int
    keep: timedelta
    notice: timedelta
    now: datetime
    protected: frozenset[str] = frozenset()  # the first digits of what objects of the cluster name
    pins: frozenset[str] = frozenset()  # the first digits, 12 or more, of what the storage pins


class Fate(StrEnum):
    """What is done about an artifact."""

    KEEP = "keep"
    ANNOUNCE = "announce"
    WAIT = "wait"
    BRING_BACK = "bring back"
    REMOVE = "remove"


@dataclass(frozen=True)
class Verdict:
    """What is done about an artifact, and why it stays or until when."""

    fate: Fate
    why: str = ""
    until: datetime | None = None  # when time alone may decide otherwise


def decide(held: Mapping[str, Held], records: Iterable[Told], rules: Rules) -> dict[str, Verdict]:
    """Return the fate of every artifact that is there, by its digest."""
    known: dict[str, list[Told]] = {artifact: [] for artifact in held}
    for record in records:
        if record.artifact in held:
            known[record.artifact].append(record)
    newest = _newest(known, rules)
    verdicts = {}
    for artifact, item in held.items():
        why, until = _reason(artifact, item, known[artifact], newest, rules)
        verdicts[artifact] = _fate(item, why, until, rules)
    return _with_what_they_name(verdicts, held, known)


def _newest(known: Mapping[str, list[Told]], rules: Rules) -> set[str]:
    """Return the artifacts of the project's newest records."""
    own = [record for its in known.values() for record in its if record.project == rules.project]
    own.sort(key=lambda record: (record.finished, record.inputs, record.artifact), reverse=True)
    return {record.artifact for record in own[: rules.runs]}


def _reason(artifact: str, item: Held, its: list[Told], newest: set[str], rules: Rules) -> tuple[str, datetime | None]:
    """Return why an artifact stays, and until when at least; no words when it may go."""
    if item.strange:
        return item.strange, None
    if not its:
        return "no record names it", None
    names = {artifact, *(record.inputs for record in its)}
    if any(name[:SHORT] in rules.protected for name in names):
        # To be noted as in use now and then: who deletes the object by mistake has time to bring it back.
        return IN_USE, rules.now + rules.keep / 2
    if any(record.project != rules.project for record in its):
        return "it is another project's, or older than retention", None
    if is_pinned(names, rules.pins):
        return "it is pinned", None
    if artifact in newest:
        return f"it is of the newest {rules.runs} records", None
    end = max(filter(None, (*(record.finished for record in its), item.used))) + rules.keep
    return ("it was made or adopted lately", end) if rules.now < end else ("", None)


def is_pinned(names: Iterable[str], pins: Iterable[str]) -> bool:
    """Whether one of these digests begins like a pin."""
    begins = tuple(pins)
    return any(name.startswith(begins) for name in names)


def _fate(item: Held, why: str, until: datetime | None, rules: Rules) -> Verdict:
    if why:
        return _stays(item, why, until)
    if item.whole or item.since is None:
        return Verdict(Fate.ANNOUNCE, until=rules.now + rules.notice)
    due = item.since + rules.notice
    return Verdict(Fate.REMOVE) if due <= rules.now else Verdict(Fate.WAIT, until=due)


def _stays(item: Held, why: str, until: datetime | None = None) -> Verdict:
    return Verdict(Fate.KEEP if item.whole or item.strange else Fate.BRING_BACK, why, until)


def _with_what_they_name(
    verdicts: dict[str, Verdict], held: Mapping[str, Held], known: Mapping[str, list[Told]]
) -> dict[str, Verdict]:
    """Let what stays keep what its records name: an import's source, a model that was tuned further."""
    stays = {artifact for artifact, verdict in verdicts.items() if verdict.why}
    todo = set(stays)
    while todo:
        named = {name for artifact in todo for record in known[artifact] for name in record.mentions}
        todo = (named & held.keys()) - stays
        stays |= todo
        for artifact in todo:
            verdicts[artifact] = _stays(held[artifact], "a record that stays names it")
    return verdicts
