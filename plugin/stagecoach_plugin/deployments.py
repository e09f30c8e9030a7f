"""What a ModelDeployment says, as it lies in the cluster: what it serves, what is to come, and what is not served."""

from collections.abc import Iterable, Iterator

from stagecoach_plugin.evaluations import condition
from stagecoach_plugin.problems import Object

PLACES = ("candidate", "serving")


def releases(deployment: Object) -> Iterator[tuple[str, Object]]:
    """Yield the release that is about to take over and the one that serves, as far as there are any."""
    status = deployment.get("status", {})
    yield from ((place, status[place]) for place in PLACES if status.get(place))


def told(release: Object) -> str:
    """Return a release in words: its run, or the base that it is, and by which verdicts it was admitted."""
    weight = f", {release['weight']} of 100 requests" if release.get("weight") else ""
    passed = ", ".join(f"{each['gate']} ({each['evaluation']})" for each in release.get("gates") or ())
    by = release.get("override") or {}
    let_in = f", let in by {by['reviewer']} until {by['until']} whatever its gates say: {by['reason']}" if by else ""
    told = f"{whose(release)}, release {release['short']}{weight}" + (f", passed {passed}" if passed else "")
    return told + let_in


def whose(told: Object) -> str:
    """Return whose release a status tells of: a run's, or a base itself."""
    return f"run {told['run']}" if told.get("run") else f"base {told.get('base')}"


def runs(deployment: Object) -> list[str]:
    """Return the runs whose releases are served, or about to be; a base itself has none."""
    return list(dict.fromkeys(str(release["run"]) for _, release in releases(deployment) if release.get("run")))


def known(deployment: Object) -> Iterator[str]:
    """Yield the releases that it tells of, whatever became of them."""
    status = deployment.get("status", {})
    for place in ("serving", "candidate", "revoked"):
        if status.get(place):
            yield str(status[place]["release"])
    yield from (str(each["release"]) for place in ("rejected", "history") for each in status.get(place) or ())


def verdicts(deployment: Object) -> list[str]:
    """Return the Evaluations by which something is served, or about to be."""
    found = (each["evaluation"] for _, release in releases(deployment) for each in release.get("gates") or ())
    return list(dict.fromkeys(found))


def waits(deployment: Object) -> str:
    """Return what the candidate waits for, beside what is served; before that, Ready says it."""
    reconciling = condition(deployment, "Reconciling")
    return str(reconciling.get("message") or "") if reconciling.get("reason") == "TakingOver" else ""


def tests(deployment: Object) -> list[Object]:
    """Return what load tests have measured of what serves, and of what is about to."""
    known = {(release["release"], release.get("engine")) for _, release in releases(deployment)}
    told = deployment.get("status", {}).get("sla") or ()
    return [each for each in told if (each["release"], each["engine"]) in known]


def measured(test: Object) -> str:
    """Return the numbers of a load test."""
    times = f"p50 {test['p50']}, p99 {test['p99']}, firstToken {test['firstToken']}, errorRate {test['errorRate']:.2%}"
    found = "met spec.sla as it was" if test["met"] else "did not meet spec.sla"
    return f"{found} on {test['at']}: {times}, at {test['requestsPerSecond']:g} requests per second"


def not_served(deployment: Object) -> str:
    """Return why it is not a newer run, or the one that is named, in the operator's words, which say what to do."""
    admitted = condition(deployment, "CandidateAdmitted")
    message = str(admitted.get("message") or "")
    if admitted.get("status") == "True":
        return message.partition("). ")[2]  # before that it says what has passed
    return f"{admitted.get('reason')}. {message}" if message else ""


def passes_over(deployment: Object, run: Object) -> bool:
    """Whether a run is none that `latest` takes, under the spec by which that was told."""
    told = deployment.get("status", {}).get("passedOver") or {}
    return str(run["metadata"]["creationTimestamp"]) <= str(told.get("runCreated") or "")


def newer(deployment: Object, others: Iterable[Object]) -> list[Object]:
    """Return the runs that could be served instead, as far as `latest` means them, for they are newer."""
    latest = deployment["spec"].get("model", {}).get("latest")
    if latest is None:
        return []
    labels = (latest.get("selector") or {}).get("matchLabels") or {}
    known = runs(deployment)
    since = str(deployment.get("status", {}).get("serving", {}).get("runCreated") or "")
    return [
        run
        for run in others
        if run["spec"]["project"] == deployment["spec"]["project"]
        and run["spec"].get("purpose") != "Experiment"
        and labels.items() <= (run["metadata"].get("labels") or {}).items()
        and str(run["metadata"]["creationTimestamp"]) >= since
        and run["metadata"]["name"] not in known
    ]
