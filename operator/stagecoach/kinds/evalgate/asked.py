"""Which runs, and which bases themselves, deployments ask their gates about, however old these are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from stagecoach.kinds.plan import Key, Object, key_of
from stagecoach.kinds.view import View

KIND = "ModelDeployment"


def deployments(view: View, gate: Key) -> list[Object]:
    """Return the deployments that name a gate."""
    return [item for item in view.referrers(gate) if item["kind"] == KIND]


def gates_of(deployment: Object) -> tuple[Key, ...]:
    """Return the gates that a deployment names."""
    namespace = deployment["metadata"]["namespace"]
    return tuple(Key("EvalGate", namespace, each["name"]) for each in deployment["spec"].get("gates", ()))


def to_wake(before: Object | None, after: Object | None) -> tuple[Key, ...]:
    """Return the gates that have to look again because a deployment was as it was, and is as it is."""
    if _asks(before) == _asks(after):
        return ()
    return tuple({gate: None for raw in (before, after) if raw is not None for gate in gates_of(raw)})


def follows(deployment: Object) -> str:
    """Return the name of the deployment that one follows; nothing, if it follows none."""
    return str(deployment["spec"].get("model", {}).get("follow", {}).get("deployment", ""))


def serving(deployment: Object) -> Object:
    """Return what the status of a deployment says of what it serves; nothing, if it serves nothing."""
    found: Object = deployment.get("status", {}).get("serving", {})
    return found


def runs(
    deployment: Object, candidates: Sequence[Object], judged: Iterable[Object], others: Iterable[Object]
) -> Iterator[str]:
    """Yield the runs that a deployment asks about: what it serves, what is about to take over, and what it wants.

    `candidates`: the project's runs that can be judged; `judged`: its Evaluations, by which a release is found;
    `others`: its deployments. What one of these serves that is followed is judged before that is wanted.
    """
    yield from _told(deployment)
    wanted = deployment["spec"].get("model", {})
    if "run" in wanted:
        yield wanted["run"]
    if "latest" in wanted:
        labels = wanted["latest"].get("selector", {}).get("matchLabels", {})
        matching = [run for run in candidates if labels.items() <= run["metadata"].get("labels", {}).items()]
        yield from (run["metadata"]["name"] for run in sorted(matching, key=order)[-1:])
    if "release" in wanted:
        yield from (str(each["spec"].get("run", "")) for each in _of_release(judged, wanted["release"]))
    if "follow" in wanted:
        followed = (each for each in others if each["metadata"]["name"] == follows(deployment))
        yield from (str(serving(each).get("run", "")) for each in followed)


def bases(deployment: Object, judged: Iterable[Object], others: Iterable[Object]) -> Iterator[str]:
    """Yield the candidates of the project that a deployment asks about themselves, in the same way."""
    yield from filter(None, _told(deployment, "base"))
    yield from before_what_was_revoked(deployment)
    wanted = deployment["spec"].get("model", {})
    if "candidate" in wanted:
        yield wanted["candidate"]
    if "release" in wanted:
        yield from itself(judged, wanted["release"])
    if "follow" in wanted:
        followed = (each for each in others if each["metadata"]["name"] == follows(deployment))
        yield from filter(None, (str(serving(each).get("base", "")) for each in followed))


def before_what_was_revoked(deployment: Object) -> Iterator[str]:
    """Yield the bases that were served before what was revoked, while nothing is served: each of them may come back."""
    status: Object = deployment.get("status", {})
    if "revoked" in status and "serving" not in status:
        yield from (each["base"] for each in status.get("history", ()) if "base" in each)


def itself(judged: Iterable[Object], release: str) -> Iterator[str]:
    """Yield the candidates that Evaluations name of which a release is the base itself."""
    for each in _of_release(judged, release):
        if "artifact" not in each["spec"]["release"]:
            yield str(each["spec"].get("base", {}).get("candidate", ""))


def _of_release(judged: Iterable[Object], release: str) -> Iterator[Object]:
    return (each for each in judged if each["spec"].get("release", {}).get("digest") == release)


def served(deployment: Object) -> tuple[str | None, str | None]:
    """Return the release that a deployment serves, and the one that it took the place of."""
    release = serving(deployment).get("release")
    newest = [str(each.get("release", "")) for each in deployment.get("status", {}).get("history", ())[:2]]
    took_the_place = len(newest) == 2 and newest[0] == release != newest[1]
    return release, newest[1] if took_the_place else None


def order(run: Object) -> tuple[str, str]:
    """Return by what runs are newer than others."""
    metadata = run["metadata"]
    return metadata["creationTimestamp"], metadata["uid"]


def _told(deployment: Object, what: str = "run") -> tuple[str, ...]:
    """Return the runs, or the bases, that are served, and about to be."""
    status: Mapping[str, Object] = deployment.get("status", {})
    return tuple(str(status[each].get(what, "")) for each in ("serving", "candidate") if each in status)


def _asks(deployment: Object | None) -> tuple[object, ...] | None:
    """Return all by which it is said what a deployment asks of which gates."""
    if deployment is None:
        return None
    spec, leaves = deployment["spec"], "deletionTimestamp" in deployment["metadata"]
    told = (*_told(deployment), *_told(deployment, "base"), *before_what_was_revoked(deployment), *served(deployment))
    return key_of(deployment), leaves, spec.get("project"), spec.get("model"), spec.get("gates"), told
