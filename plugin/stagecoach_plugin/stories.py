"""Why an object is as it is: its state in words, what it waits for or why it failed, and what to do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from stagecoach_plugin import deployments, evaluations
from stagecoach_plugin.approving import Person, earlier, role_of
from stagecoach_plugin.evaluations import condition
from stagecoach_plugin.kinds import APPROVAL, DEPLOYMENT, EVALUATION, GATE, PROJECT, RUN, Kind
from stagecoach_plugin.problems import Object
from stagecoach_plugin.texts import ago, either, several, short

SHOWN = 5  # of a list: the rest is counted
PASSED_OVER = (
    "More runs were rejected than status.rejected has room for, and it is no newer than some of them. Create another"
    " run, or name it in spec.model.run to have it tried."
)


class Mood(StrEnum):
    """How it stands."""

    GOOD = "good"
    WAITS = "waits"
    BAD = "bad"
    OTHER = "other"


@dataclass(frozen=True)
class Link:
    """An object that another hangs on, in a line or two."""

    subject: str
    mood: Mood
    state: str
    says: str = ""


@dataclass(frozen=True)
class Story:
    """What is said of one object."""

    subject: str
    mood: Mood
    state: str
    says: str
    since: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    todo: tuple[str, ...] = ()
    chain: tuple[Link, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Around:
    """What else was read: of what may not be read, or is not there, a note says so."""

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    person: Person | None = None  # who asks, where that matters

    def get(self, kind: Kind, name: str) -> Object | None:
        """Return an object, if it was read."""
        return self.objects.get((kind.name, name))

    def all(self, kind: Kind) -> list[Object]:
        """Return all that were read of a kind, the newest first."""
        found = [obj for (name, _), obj in self.objects.items() if name == kind.name]
        return sorted(found, key=lambda obj: str(obj["metadata"].get("creationTimestamp", "")), reverse=True)


@dataclass(frozen=True)
class Commands:
    """Commands to copy, for the namespace and the context that were asked."""

    namespace: str
    context: str | None = None

    def stagecoach(self, rest: str) -> str:
        """Return a command of this plugin."""
        return f"kubectl stagecoach {rest}{self._where}"

    def kubectl(self, rest: str) -> str:
        """Return a command of kubectl."""
        return f"kubectl {rest}{self._where}"

    @property
    def _where(self) -> str:
        return f" -n {self.namespace}" + (f" --context {self.context}" if self.context else "")


def tell(kind: Kind, obj: Object, around: Around, commands: Commands, now: datetime) -> Story:
    """Return the story of an object of any kind."""
    tellers = {
        EVALUATION: _evaluation,
        GATE: _gate,
        RUN: _run,
        PROJECT: _project,
        APPROVAL: _approval,
        DEPLOYMENT: _deployment,
    }
    facts, todo, chain = tellers[kind](obj, around, commands)
    ready = condition(obj)
    return Story(
        subject=f"{kind.name} {obj['metadata']['name']}",
        mood=mood(obj),
        state=state(obj),
        says=says(obj),
        since=ago(ready.get("lastTransitionTime"), now),
        facts=tuple(facts),
        todo=tuple(todo),
        chain=tuple(chain),
        notes=around.notes,
    )


def mood(obj: Object) -> Mood:
    """Return how an object stands, as its conditions tell kstatus."""
    if condition(obj, "Stalled").get("status") == "True":
        return Mood.BAD
    ready = condition(obj)
    if ready.get("status") == "True":
        return Mood.GOOD
    if not ready or condition(obj, "Reconciling").get("status") == "True":
        return Mood.WAITS
    return Mood.OTHER


def state(obj: Object) -> str:
    """Return phase or verdict, and the reason where that says more."""
    word = evaluations.state(obj)
    reason = str(condition(obj).get("reason") or "")
    return f"{word} ({reason})" if reason and reason != word and word != "New" else (reason or word)


def says(obj: Object) -> str:
    """Return the operator's words, which say what to do, and whether they are about the object as it is now."""
    ready = condition(obj)
    if not ready:
        return (
            "The operator has not looked at it yet. If that lasts for more than a minute, see whether it runs, and"
            " whether it serves this namespace."
        )
    told = str(ready.get("message") or "")
    seen = int(obj.get("status", {}).get("observedGeneration") or 0)
    if seen and seen < int(obj["metadata"].get("generation") or 0):
        return f"{told} (Said before its last change, which the operator has not looked at yet.)"
    return told


def link(kind: Kind, obj: Object) -> Link:
    """Return an object in a line."""
    return Link(f"{kind.name} {obj['metadata']['name']}", mood(obj), state(obj), says(obj))


Parts = tuple[Sequence[tuple[str, str]], Sequence[str], Sequence[Link]]


def _evaluation(obj: Object, around: Around, commands: Commands) -> Parts:
    spec, name = obj["spec"], obj["metadata"]["name"]
    facts = [
        ("gate", spec["gate"]),
        ("run", spec["run"]) if spec.get("run") else ("base", spec["base"]["candidate"]),
        ("release", short(spec["release"]["digest"])),
        *(
            (f"criterion {line.criterion}", f"{line.outcome}. {line.asks}, measured {line.measured}. {line.more}")
            for line in _short(obj)
        ),
        *_review_facts(obj, around.person),
    ]
    if _asks(obj, around.person):
        todo = [
            commands.stagecoach(f"approve {name}"),
            commands.stagecoach(f'reject {name} --reason "…"'),
        ]
    elif evaluations.verdict(obj) or evaluations.awaits(obj):
        todo = [commands.stagecoach(f"report {name}")]
    else:
        todo = _about_pods(obj, commands)
    own = _decisions(EVALUATION, name, around)
    chain = [*_links(APPROVAL, own), *_one(RUN, spec.get("run", ""), around), *_one(GATE, spec["gate"], around)]
    return facts, todo, [*chain, *_one(PROJECT, spec["project"], around)]


def _decisions(kind: Kind, name: str, around: Around) -> list[Object]:
    """Return the Approvals about an object."""
    subject = {"kind": kind.name, "name": name}
    return [each for each in around.all(APPROVAL) if each["spec"]["subject"] == subject]


def _short(evaluation: Object) -> Iterable[evaluations.Line]:
    """Return the criteria that keep it from passing."""
    return (line for line in evaluations.lines(evaluation) if line.outcome not in ("Passed", "–") and not line.advisory)


def _review_facts(evaluation: Object, person: Person | None) -> Iterable[tuple[str, str]]:
    asked = evaluations.asked_review(evaluation)
    if not asked:
        return
    counted = evaluations.approvals(evaluation)
    who = either([str(each) for each in evaluations.reviewers(evaluation)])
    by = f": {', '.join(str(each.get('reviewer')) for each in counted)}" if counted else ""
    yield "review", f"{len(counted)} of {several(asked.get('approvals', 1), 'approval')}{by}; may decide: {who}"
    if person and evaluations.awaits(evaluation):
        mine = earlier(evaluation, person)
        may = "have approved" if mine else "may decide" if _may_decide(evaluation, person) else "are no reviewer"
        yield "you", f"{person.user}: you {may}"


def _asks(evaluation: Object, person: Person | None) -> bool:
    """Whether it awaits somebody's decision."""
    open_still = evaluations.awaits(evaluation) and not (person and earlier(evaluation, person))
    return open_still and _may_decide(evaluation, person)


def _may_decide(evaluation: Object, person: Person | None) -> bool:
    """Whether somebody is a reviewer; who is not known may be one."""
    return person is None or role_of(evaluation, person) is not None


def _about_pods(obj: Object, commands: Commands) -> list[str]:
    status = obj.get("status", {})
    attempt = status.get("attempt") or (status.get("attempts") or [{}])[-1]
    if not attempt.get("job") or attempt.get("end"):
        return []
    return [commands.kubectl(f"describe pods -l job-name={attempt['job']}")]


def _gate(obj: Object, around: Around, commands: Commands) -> Parts:
    spec, status, name = obj["spec"], obj.get("status", {}), obj["metadata"]["name"]
    verdicts = status.get("verdicts") or {}
    counts = ", ".join(f"{count} {word}" for word, count in verdicts.items() if count)
    waiting = [_name(item) for item in status.get("waiting") or ()]
    facts = [("project", spec["project"]), ("verdicts", counts or "none yet")]
    if waiting:
        facts.append(("runs that wait", _listed(waiting)))
    own = [each for each in around.all(EVALUATION) if each["spec"]["gate"] == name]
    unjudged = [
        Link(_subject(item), Mood.BAD, f"cannot be judged ({item['reason']})", item["message"])
        for item in status.get("unjudged") or ()
    ]
    todo = [commands.stagecoach(f"approve {each['metadata']['name']}") for each in own if _asks(each, around.person)]
    if mood(obj) is Mood.BAD:
        todo.append(commands.kubectl(f"edit evalgate {name}"))
    chain = [*_links(EVALUATION, own), *_cut(unjudged), *_one(PROJECT, spec["project"], around)]
    return facts, todo[:SHOWN], chain


def _subject(item: Object) -> str:
    """Return what a gate cannot judge."""
    return f"FineTuneRun {item['run']}" if item.get("run") else f"Candidate {item.get('base')}, itself"


def _run(obj: Object, around: Around, commands: Commands) -> Parts:
    spec, status, name = obj["spec"], obj.get("status", {}), obj["metadata"]["name"]
    artifact, progress = status.get("artifact") or {}, status.get("progress") or {}
    facts = [("project", spec["project"]), ("purpose", spec.get("purpose") or "Candidate")]
    if progress:
        facts.append(
            ("progress", f"step {progress.get('step')} of {progress.get('steps')} ({progress.get('percent')} %)")
        )
    if status.get("attempts"):
        last = status["attempts"][-1]
        facts.append(
            (
                "last attempt",
                f"{last['number']}, {last.get('outcome') or 'goes on'}. {last.get('message') or ''}".strip(),
            )
        )
    if artifact:
        facts.append(("artifact", f"{artifact.get('type')} {artifact.get('short')}"))
    own = [
        each
        for each in around.all(EVALUATION)
        if each["spec"].get("run") == name or each["spec"]["release"].get("artifact") == artifact.get("digest", "none")
    ]
    chain = [
        *_links(EVALUATION, own),
        *(() if own else _at_gates(obj, around)),
        *_one(PROJECT, spec["project"], around),
    ]
    todo = [] if status.get("phase") in ("Succeeded", "Failed") else _about_pods(obj, commands)
    todo += [commands.stagecoach(f"why evaluation/{each['metadata']['name']}") for each in own[:1]]
    return facts, todo, chain


def _at_gates(run: Object, around: Around) -> list[Link]:
    """Return what the gates of its project say of a run that no Evaluation is about."""
    name, spec = run["metadata"]["name"], run["spec"]
    if spec.get("purpose") == "Experiment":
        return [
            Link("Gates", Mood.OTHER, "none judges it", "Its purpose is Experiment: create a run of purpose Candidate.")
        ]
    if run.get("status", {}).get("phase") != "Succeeded":
        return []
    gates = [each for each in around.all(GATE) if each["spec"]["project"] == spec["project"]]
    found = [told for gate in gates for told in _at_gate(gate, name)]
    if found or not gates:
        return found or [
            Link("Gates", Mood.OTHER, "there is none", f"Create an EvalGate of project {spec['project']}.")
        ]
    return [link(GATE, gate) for gate in gates[:SHOWN]]


def _at_gate(gate: Object, run: str) -> Iterable[Link]:
    status, subject = gate.get("status", {}), f"EvalGate {gate['metadata']['name']}"
    for item in status.get("unjudged") or ():
        if item.get("run") == run:
            yield Link(subject, Mood.BAD, f"cannot judge it ({item['reason']})", item["message"])
    if run in [item.get("run") for item in status.get("waiting") or ()]:
        yield Link(
            subject, Mood.WAITS, "judges it after others", "Nothing to do; spec.maxConcurrent says how many at a time."
        )


def _project(obj: Object, around: Around, commands: Commands) -> Parts:
    status, name = obj.get("status", {}), obj["metadata"]["name"]
    facts = [("storage", obj["spec"]["storage"]["uri"])]
    accepted = {item["finding"] for item in obj["spec"].get("accepted") or ()}
    found = [item for item in status.get("findings") or () if item.get("code") not in accepted]
    facts += [(f"finding {item.get('code')}", str(item.get("message") or "")) for item in found[:SHOWN]]
    runs = [each for each in around.all(RUN) if each["spec"]["project"] == name]
    open_runs = [each for each in runs if each.get("status", {}).get("phase") != "Succeeded"]
    gates = [each for each in around.all(GATE) if each["spec"]["project"] == name]
    if runs:
        facts.append(("runs", f"{len(runs) - len(open_runs)} of {len(runs)} have succeeded"))
    todo = [commands.kubectl(f"edit transformerproject {name}")] if mood(obj) is Mood.BAD else []
    return facts, todo, [*_links(RUN, open_runs), *_links(GATE, gates)]


def _approval(obj: Object, around: Around, commands: Commands) -> Parts:
    spec = obj["spec"]
    kind, about = spec["subject"]["kind"], spec["subject"]["name"]
    facts = [
        (
            "decision",
            f"{spec['decision']} by {spec['reviewer']}"
            + (f", as a member of {spec['group']}" if spec.get("group") else ""),
        ),
        ("about", f"{kind} {about}, release {short(spec['release'])}"),
    ]
    if spec.get("scores"):
        facts.append(("scores", ", ".join(f"{item['name']} {item['score']}" for item in spec["scores"])))
    if spec.get("reason"):
        facts.append(("reason", spec["reason"]))
    if spec.get("expires"):
        facts.append(("expires", spec["expires"]))
    todo = [commands.stagecoach(f"why {kind.lower()}/{about}")]
    return facts, todo, _one(DEPLOYMENT if kind == DEPLOYMENT.name else EVALUATION, about, around)


def _deployment(obj: Object, around: Around, commands: Commands) -> Parts:
    spec, status, name = obj["spec"], obj.get("status", {}), obj["metadata"]["name"]
    facts = [("project", spec["project"])]
    facts += [(place, deployments.told(release)) for place, release in deployments.releases(obj)]
    facts += [
        ("the candidate waits", deployments.waits(obj)),
        ("what is not served", deployments.not_served(obj)),
        *((f"rejected {_name(item)}", f"{item['reason']}. {item['message']}") for item in _rejected(obj)),
        *((f"load test of {_name(item)}", deployments.measured(item)) for item in deployments.tests(obj)),
        ("endpoint", status.get("endpoint") or ""),
        *((kind, _untrue(obj, kind)) for kind in ("Loaded", "Gated", "SLAMet")),
    ]
    others = deployments.newer(obj, around.all(RUN))
    judged = _judged(obj, others, around)
    chain = [each for run in deployments.runs(obj) for each in _one(RUN, run, around)]
    chain += [each for verdict in deployments.verdicts(obj) for each in _one(EVALUATION, verdict, around)]
    chain += _cut(list(_links(APPROVAL, _decisions(DEPLOYMENT, name, around))))
    chain += _cut([_unserved(obj, run, judged) for run in others])
    chain += [each for gate in spec["gates"] for each in _one(GATE, gate["name"], around)]
    todo = [commands.kubectl(f"edit modeldeployment {name}")] if mood(obj) is Mood.BAD else []
    todo += [
        commands.stagecoach(f"approve {each['metadata']['name']}") for each in judged if _asks(each, around.person)
    ]
    todo += [commands.stagecoach(f"why ftr/{run['metadata']['name']}") for run in others[:1]]
    todo = todo[: SHOWN - 1]
    todo.append(commands.kubectl(f"describe pods -l stagecoach.dev/kind=ModelDeployment,stagecoach.dev/name={name}"))
    told = [(label, text) for label, text in facts if text and says(obj) not in text]
    return told, todo, [*chain, *_one(PROJECT, spec["project"], around)]


def _name(item: Object) -> str:
    """Return the run, or the base itself, that a status tells of."""
    return str(item.get("run") or deployments.whose(item))


def _rejected(deployment: Object) -> list[Object]:
    return list(deployment.get("status", {}).get("rejected") or ())[:SHOWN]


def _untrue(obj: Object, kind: str) -> str:
    told = condition(obj, kind)
    return f"{told.get('reason')}. {told.get('message')}" if told.get("status") in ("False", "Unknown") else ""


def _judged(deployment: Object, runs: Sequence[Object], around: Around) -> list[Object]:
    """Return what the deployment's gates have made of runs, the newest first."""
    gates, names = {gate["name"] for gate in deployment["spec"]["gates"]}, {run["metadata"]["name"] for run in runs}
    return [
        each for each in around.all(EVALUATION) if each["spec"]["gate"] in gates and each["spec"].get("run") in names
    ]


def _unserved(deployment: Object, run: Object, judged: Sequence[Object]) -> Link:
    """Return a run that could be served, with what keeps it from that: itself, a gate, or what came of a try."""
    name = run["metadata"]["name"]
    subject = f"Newer FineTuneRun {name}"
    for item in deployment.get("status", {}).get("rejected") or ():
        if item.get("run") == name:
            return Link(subject, Mood.BAD, f"rejected ({item['reason']})", item["message"])
    if run.get("status", {}).get("phase") != "Succeeded":
        return replace(link(RUN, run), subject=subject)
    for gate in deployment["spec"]["gates"]:
        newest = next(
            (each for each in judged if (each["spec"]["gate"], each["spec"].get("run")) == (gate["name"], name)), None
        )
        if newest is None:
            advice = f"See EvalGate {gate['name']}: when its turn comes, or why it cannot be judged."
            return Link(subject, Mood.WAITS, f"no Evaluation of gate {gate['name']} is about it", advice)
        if evaluations.verdict(newest) != "Passed":
            state_of = f"gate {gate['name']}: {state(newest)}"
            return Link(subject, mood(newest), state_of, f"Evaluation {newest['metadata']['name']}: {says(newest)}")
    if deployments.passes_over(deployment, run):
        return Link(subject, Mood.OTHER, "passed over, unless the spec has changed since", PASSED_OVER)
    return Link(subject, Mood.OTHER, "passed", "If it stays so, its gates ask for more by now: see their Evaluations.")


def _one(kind: Kind, name: str, around: Around) -> list[Link]:
    found = around.get(kind, name)
    return [link(kind, found)] if found else []


def _links(kind: Kind, objects: Sequence[Object]) -> list[Link]:
    return _cut([link(kind, obj) for obj in objects])


def _cut(links: list[Link]) -> list[Link]:
    if len(links) <= SHOWN:
        return links
    return [*links[:SHOWN], Link(f"and {len(links) - SHOWN} more", Mood.OTHER, "")]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
