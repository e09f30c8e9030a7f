"""What has to hold of what is served whatever happens: by the log, and by what clients were answered."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

from stagecoach.build.labels import REVISION
from tests.remedies import speaks
from tests.soak import answers, timeline
from tests.soak.audit import Write
from tests.soak.evidence import Evidence, key_of, title_of
from tests.soak.timeline import Said

Object = dict[str, Any]

LAST_ANSWERS = 5
# A client that asks more rarely would not notice what it is there for.
PAUSE = timedelta(seconds=30)


def clients_ask_all_the_time(evidence: Evidence) -> Iterator[str]:
    """What is judged by clients' answers is worth as much as they asked."""
    for deployment in evidence.deployments:
        if not evidence.answers:
            yield f"nobody asked deployment {title_of(deployment)}"
    for before, after in pairwise(evidence.answers):
        if after.began - before.began > PAUSE:
            yield f"nobody asked from {before.began} to {after.began}"


def nothing_ungated_is_admitted(evidence: Evidence) -> Iterator[str]:
    """NoUngatedTraffic: what is served or to be has passed each gate before, by the Evaluation that it names."""
    passed = timeline.passed(evidence)
    for deployment in evidence.deployments:
        namespace, gates = key_of(deployment)[0], _gates(deployment)
        for said in timeline.said_of(evidence, deployment):
            for part in said.parts:
                named = {each["gate"]: passed.get((namespace, each["evaluation"])) for each in part.get("gates", ())}
                for gate in {*gates, *named}:
                    known = named.get(gate)
                    of_it = known and (known.gate, known.release) == (gate, part["release"])
                    if not (known and of_it and known.since <= timeline.at(said.write.received)):
                        yield f"{said.write.title}: it has {part['run']}, which gate {gate} had not passed"


def nothing_ungated_answers(evidence: Evidence) -> Iterator[str]:
    """NoUngatedTraffic: each release that answered clients had passed every gate by then."""
    passed = timeline.passed(evidence)
    for deployment in evidence.deployments:
        namespace = key_of(deployment)[0]
        since = {(each.gate, each.release): each.since for key, each in passed.items() if key[0] == namespace}
        for answer in (each for each in evidence.answers if each.release):
            for gate in _gates(deployment):
                at = since.get((gate, answer.release))
                if at is None or at > answer.ended:
                    yield f"{answer.release} answered at {answer.ended}, and gate {gate} had not passed it"


def the_incumbent_stays(evidence: Evidence) -> Iterator[str]:
    """IncumbentStays: what is served leaves for nothing but what was the candidate, and is wanted."""
    for deployment in evidence.deployments:
        before: list[Said] = []  # the last that was written for sure, and those since that may have been
        for said in timeline.said_of(evidence, deployment):
            if before:
                yield from (f"{said.write.title}: {words}" for words in _left(before, said))
            before = [said] if said.write.accepted else [*before, said]


def _left(before: Sequence[Said], said: Said) -> Iterator[str]:
    """Say what is wrong with how what was served was replaced, if it was."""
    served = [each.status["serving"] for each in before if "serving" in each.status]
    serving = said.status.get("serving")
    if serving is None:
        if served:
            yield f"{served[-1]['run']} was served, and nothing is"
        return
    if serving["release"] in [each["release"] for each in served]:
        return
    if serving["release"] not in [each.status["candidate"]["release"] for each in before if "candidate" in each.status]:
        yield f"{serving['run']} is served, and was not the candidate"
    if any(said.model.get(field, serving[field]) != serving[field] for field in ("run", "release")):
        yield f"{serving['run']} is served, and wanted is {said.model}"


def only_what_is_served_answers(evidence: Evidence) -> Iterator[str]:
    """IncumbentStays, StaleWriterHarmless: once all gateways have newer routes, nothing answers by older ones."""
    for deployment in evidence.deployments:
        turns = timeline.turns(timeline.said_of(evidence, deployment))
        for answer in (each for each in evidence.answers if each.release):
            if not any(turn.allows(answer) for turn in turns):
                yield f"{answer.release} answered from {answer.began} to {answer.ended}, and was not served then"


def revisions_only_grow(evidence: Evidence) -> Iterator[str]:
    """StaleWriterHarmless: no routes take the place of newer ones, and no revision stands for two."""
    for deployment in evidence.deployments:
        said = [each for each in timeline.said_of(evidence, deployment) if each.write.accepted]
        for before, after in pairwise([each.status["routes"] for each in said if "routes" in each.status]):
            if after["revision"] < before["revision"]:
                yield f"{title_of(deployment)} had revision {before['revision']}, and then {after['revision']}"
            elif after["revision"] == before["revision"] and after["digest"] != before["digest"]:
                yield f"{title_of(deployment)} had two routes of revision {after['revision']}"
    applied: dict[str, int] = {}
    for write in evidence.accepted:
        if (revision := _revision(write)) is not None:
            name = f"{write.namespace}/{write.name}"
            if revision < applied.get(name, 0):
                yield f"ConfigMap {name} had revision {applied[name]}, and then {revision}"
            applied[name] = revision


def _revision(write: Write) -> int | None:
    """Return the revision of the routes that a write brings into their ConfigMap, if it does."""
    if write.resource != "configmaps":
        return None
    told = write.request.get("metadata", {}).get("annotations", {}).get(REVISION)
    return int(told) if told else None


def every_failed_request_is_explained(evidence: Evidence) -> Iterator[str]:
    """IncumbentStays: what is served answers, but for what takes its engine or a gateway away."""
    for answer in answers.failed(evidence.answers):
        if not answers.cause(answer, evidence.hits):
            took = (answer.ended - answer.began).total_seconds()
            yield f"at {answer.began}, after {took:.1f} s: {answer.status} {answer.error}"


def every_deployment_serves_in_the_end(evidence: Evidence) -> Iterator[str]:
    """NothingStuck: what is wanted in the end is served, and answers."""
    for deployment in evidence.deployments:
        status, wanted = deployment.get("status", {}), deployment["spec"]["model"].get("run")
        serving = status.get("serving", {})
        if "candidate" in status or not serving or serving["run"] != wanted:
            yield f"deployment {title_of(deployment)} serves {serving.get('run')}, and {wanted} is wanted"
        last = evidence.answers[-LAST_ANSWERS:]
        if any((answer.status, answer.release) != (200, serving.get("release")) for answer in last):
            yield f"deployment {title_of(deployment)} serves {serving.get('run')}, which does not answer"


def every_trouble_speaks(evidence: Evidence) -> Iterator[str]:
    """EveryFailureSpeaks: what is not well with a deployment says at any time why, and what to do."""
    for deployment in evidence.deployments:
        told: dict[tuple[str, str], None] = {}
        for said in timeline.said_of(evidence, deployment):
            conditions = said.status.get("conditions", ())
            troubles = [each for each in conditions if each["status"] != "True" or each["type"] == "Stalled"]
            told |= {(each["reason"], each["message"]): None for each in (*troubles, *said.status.get("rejected", ()))}
        for reason, message in told:
            if not speaks(reason, message):
                yield f"deployment {title_of(deployment)} does not say what to do: {reason}: {message}"


def _gates(deployment: Object) -> list[str]:
    """Return the gates that a deployment names: a soak changes none of them."""
    return [each["name"] for each in deployment["spec"]["gates"]]
