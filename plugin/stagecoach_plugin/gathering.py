"""What has to be read to tell a story: what may not be read, or is not there, is said and stops nothing."""

from collections.abc import Iterable
from difflib import get_close_matches

from stagecoach_plugin import deployments, evaluations
from stagecoach_plugin.approving import Person
from stagecoach_plugin.connection import Connection
from stagecoach_plugin.kinds import APPROVAL, DEPLOYMENT, EVALUATION, GATE, KINDS, PROJECT, RUN, Kind
from stagecoach_plugin.problems import Missing, NotServed, Object, Problem, Unreadable
from stagecoach_plugin.stories import Around

# What is listed whole for each kind, and what is read by name.
_LISTS = {
    GATE: (EVALUATION,),
    EVALUATION: (APPROVAL,),
    RUN: (EVALUATION, GATE),
    PROJECT: (RUN, GATE),
    APPROVAL: (),
    DEPLOYMENT: (RUN, EVALUATION, APPROVAL),
}


def find(connection: Connection, kind: Kind | None, name: str) -> list[tuple[Kind, Object]]:
    """Return the objects of this name: of the kind, or of all kinds. Raises Problem if there is none."""
    if kind is not None:
        return [(kind, connection.get(kind, name))]
    found: list[tuple[Kind, Object]] = []
    problems: list[Problem] = []
    for each in KINDS:
        try:
            found.append((each, connection.get(each, name)))
        except Problem as problem:
            problems.append(problem)
    if found:
        return found
    raise _nothing(name, connection.namespace, problems)


def _nothing(name: str, namespace: str, problems: list[Problem]) -> Problem:
    """Return what it means that an object of this name could be had of no kind."""
    rights = [problem.right for problem in problems if isinstance(problem, Unreadable)]
    absent = [problem for problem in problems if isinstance(problem, NotServed)]
    others = [problem for problem in problems if not isinstance(problem, Missing | Unreadable | NotServed)]
    if others or len(rights) == len(problems) or len(absent) == len(problems):
        return (others or problems)[0]
    unseen = f" Not looked for, as you lack the rights: {', '.join(rights)}." if rights else ""
    return Missing(
        f"There is nothing of Stagecoach with the name {name} in namespace {namespace}: choose another with -n;"
        f" `kubectl get stagecoach -n {namespace}` lists what is there.{unseen}",
        get_close_matches(
            name, {each for problem in problems if isinstance(problem, Missing) for each in problem.alike}
        ),
    )


def around(connection: Connection, kind: Kind, obj: Object) -> Around:
    """Return what an object hangs on, as far as it may be read."""
    objects: dict[tuple[str, str], Object] = {}
    notes: list[str] = []
    for other in _LISTS[kind]:
        try:
            objects |= {(other.name, item["metadata"]["name"]): item for item in connection.every(other)}
        except Unreadable as problem:
            notes.append(f"{other.name}s are not shown: you lack the right to {problem.right}.")
        except Problem as problem:
            notes.append(str(problem))
    for other, name in _named(kind, obj):
        if (other.name, name) in objects:
            continue
        try:
            objects[other.name, name] = connection.get(other, name)
        except Missing:
            notes.append(f"{other.name} {name} is not there (any more).")
        except Unreadable as problem:
            notes.append(f"{other.name} {name} is not shown: you lack the right to {problem.right}.")
        except Problem as problem:
            notes.append(str(problem))
    return Around(objects, tuple(notes), _person(connection) if evaluations.awaits(obj) else None)


def _person(connection: Connection) -> Person | None:
    """Return who asks: an Evaluation that awaits people may await this one."""
    try:
        return Person(*connection.who_am_i())
    except Problem:
        return None


def _named(kind: Kind, obj: Object) -> Iterable[tuple[Kind, str]]:
    spec = obj["spec"]
    if kind == DEPLOYMENT:
        yield from ((RUN, run) for run in deployments.runs(obj))
        yield from ((EVALUATION, name) for name in deployments.verdicts(obj))
        yield from ((GATE, gate["name"]) for gate in spec["gates"])
    if kind == EVALUATION:
        yield from [(RUN, spec["run"])] if spec.get("run") else []
        yield GATE, spec["gate"]
    if kind == APPROVAL:
        yield DEPLOYMENT if spec["subject"]["kind"] == DEPLOYMENT.name else EVALUATION, spec["subject"]["name"]
    if kind in (DEPLOYMENT, EVALUATION, GATE, RUN):
        yield PROJECT, spec["project"]
