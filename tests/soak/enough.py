"""What has to have happened in a long soak: a verdict on less would be one on nothing."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from stagecoach.policies.pods import pod_state
from tests.soak import timeline
from tests.soak.evidence import Evidence, Hit
from tests.soak.faults import API_SERVER_AWAY, OPERATORS_AWAY
from tests.soak.ground import REAL, SIMULATED
from tests.soak.served import GOOD
from tests.soak.switches import WAYS

# In so long a soak every fault happens at least once to each of its victims, and there is at least so much of the rest.
LONG_SECONDS = 600.0
FEWEST_RUNS = {REAL: 20, SIMULATED: 100}
FEWEST_VERDICTS = {REAL: 4, SIMULATED: 30}
FEWEST_CHANGES = 3
FEWEST_REQUESTS, FEWEST_SWITCHES = 1000, 6
# Whose pods have to end meanwhile; simulated ones cannot without the API server.
AWAY = {OPERATORS_AWAY: (REAL, SIMULATED), API_SERVER_AWAY: (REAL,)}


def too_little(evidence: Evidence) -> Iterator[str]:
    """Say what there was too little of."""
    yield from _too_few("runs", [namespace for namespace, _ in evidence.made], FEWEST_RUNS)
    yield from _too_few(
        "Evaluations", [each["metadata"]["namespace"] for each in evidence.evaluations], FEWEST_VERDICTS
    )
    if all(each.get("status", {}).get("attempt", {}).get("number", 1) == 1 for each in evidence.evaluations):
        yield "no Evaluation was interrupted"
    # Without these nothing is said of late writes: there is nobody whose turn it is not.
    changes = len(evidence.holders()) - 1
    if changes < FEWEST_CHANGES:
        yield f"the leader changed only {max(0, changes)} times, not {FEWEST_CHANGES}"
    if not any(_overtaken(evidence, hit) for hit in evidence.hits):
        yield "no leader was frozen until another operator had taken its Lease"
    yield from _too_little_served(evidence)
    for hit in {hit.fault: hit for hit in evidence.hits if hit.fault in AWAY}.values():
        for namespace in AWAY[hit.fault]:
            if not _ended(evidence, namespace, hit):
                yield f"{hit.fault}: no pod in {namespace} ended meanwhile"


def _too_little_served(evidence: Evidence) -> Iterator[str]:
    if len(evidence.answers) < FEWEST_REQUESTS:
        yield f"only {len(evidence.answers)} requests, not {FEWEST_REQUESTS}"
    if (switches := sum(timeline.switches(evidence))) < FEWEST_SWITCHES:
        yield f"only {switches} times something else was served, not {FEWEST_SWITCHES}"
    if (releases := len({each.release for each in evidence.answers if each.status == 200})) < len(GOOD):
        yield f"only {releases} releases answered, not {len(GOOD)}"
    yield from (f"nobody wanted {way}" for way in WAYS if not evidence.wanted.get(way))


def _too_few(what: str, where: Iterable[str], least: Mapping[str, int]) -> Iterator[str]:
    there = Counter(where)
    for namespace, fewest in least.items():
        if there[namespace] < fewest:
            yield f"only {there[namespace]} {what} in {namespace}, not {fewest}"


def _overtaken(evidence: Evidence, hit: Hit) -> bool:
    """Whether this froze a leader for so long that another one leads when it wakes."""
    holders = [(datetime.fromisoformat(at), user) for at, user in evidence.holders()]
    before = [user for at, user in holders if at <= hit.began]
    meanwhile = [user for at, user in holders if hit.began < at <= hit.ended]
    return hit.fault.startswith("freeze") and before[-1:] == [hit.victim] and bool(meanwhile)


def _ended(evidence: Evidence, namespace: str, hit: Hit) -> list[datetime]:
    """Return when pods in a namespace ended while a fault went on, each by the clock of its node."""
    pods = (pod_state(pod) for pod in evidence.pods if pod["metadata"]["namespace"] == namespace)
    times = (datetime.fromisoformat(pod.finished) for pod in pods if pod.finished)
    return [at for at in times if hit.began <= at <= hit.ended]
