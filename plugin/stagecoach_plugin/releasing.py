"""What a decision on a release of a ModelDeployment has to be, by what is served and who decides: pure decisions."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from stagecoach_plugin import deployments
from stagecoach_plugin.approving import Person, among, known_as, name_of
from stagecoach_plugin.evaluations import Reviewer, condition
from stagecoach_plugin.problems import Object, Problem
from stagecoach_plugin.texts import either, short

PROMOTE = "Promote"
OVERRIDE = "Override"
REVOKE = "Revoke"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
AGAIN = timedelta(minutes=10)  # an Override that is said again later is to last longer
SHORT = 12  # digits of a release, as columns have them


@dataclass(frozen=True)
class Ruling:
    """What a person decides on a release."""

    decision: str
    release: str  # all digits of it, or the first
    reason: str = ""
    hours: int = 0  # of an Override


def release_of(given: str, deployment: Object, judged: Iterable[Object]) -> str:
    """Return a release by all digits of it, or by the first, if one is known that begins so. Raises Problem."""
    digits = given.removeprefix("sha256:")
    if re.fullmatch(r"[0-9a-f]{64}", digits):
        return f"sha256:{digits}"
    if not re.fullmatch(r"[0-9a-f]{12,63}", digits):
        raise Problem(f"--release {given!r} is no release: give its 64 hex digits, or the first {SHORT} or more.")
    found = [each for each in sorted(_known(deployment, judged)) if each.startswith(f"sha256:{digits}")]
    if len(found) != 1:
        raise Problem(
            f"--release {given}: {len(found) or 'no'} releases begin so, of those that ModelDeployment"
            f" {deployment['metadata']['name']} or an Evaluation here tells of: give all 64 digits of it."
        )
    return found[0]


def known(release: str, deployment: Object, judged: Iterable[Object]) -> None:
    """Raise Problem for a release that nothing tells of: who mistypes one would take out nothing, unknowing."""
    if release not in _known(deployment, judged):
        raise Problem(
            f"--release {release}: neither ModelDeployment {deployment['metadata']['name']} nor an Evaluation here"
            " tells of it: see that all its digits are as you mean them. To keep out what is not made yet, create an"
            " Approval."
        )


def as_approver(deployment: Object, person: Person) -> Reviewer:
    """Return as which of spec.approvers somebody decides: by his own name, else as a member. Raises Problem."""
    named = [Reviewer(item.get("user") or "", item.get("group") or "") for item in _approvers(deployment)]
    if found := among(named, person):
        return found
    name = deployment["metadata"]["name"]
    if not named:
        raise Problem(f"ModelDeployment {name} names nobody who may decide: add approvers to its spec.")
    takes = either([str(each) for each in named])
    raise Problem(
        f"You are no approver of ModelDeployment {name}: it takes the decision of {takes}, and the API server knows you"
        f" as {known_as(person)}. Ask one of them, or have your name added to spec.approvers."
    )


def something_waits(deployment: Object, release: str, command: str) -> None:
    """Raise Problem unless a Promote of this release has something to let go on. `command` asks why it is as it is."""
    status = deployment.get("status", {})
    candidate = status.get("candidate") or {}
    held = candidate.get("release") == release and "heldSince" in candidate
    if held or any(each["release"] == release for each in status.get("rejected") or ()):
        return
    name = deployment["metadata"]["name"]
    raise Problem(
        f"Nothing waits for release {short(release)} to be promoted in ModelDeployment {name}:"
        f" it is neither held in a step, nor rejected. A Promote of now would not count. See `{command}`."
    )


def unchanged(shown: Object, found: Object, command: str) -> None:
    """Raise Problem unless what is there now is what was shown. `command` shows it again."""
    if _looked_at(shown) != _looked_at(found):
        raise Problem(
            f"Nothing was decided: ModelDeployment {shown['metadata']['name']} serves something else than you were"
            f" shown, or something else is about to take over. Look at it again with `{command}`."
        )


def told(ruling: Ruling, deployment: Object, person: Person, role: Reviewer, now: datetime) -> str:
    """Return all that the Approval will say."""
    member = f", as {role}" if role.group else ""
    words = f"{ruling.decision} release {short(ruling.release)} of ModelDeployment {deployment['metadata']['name']}"
    words += f" as {person.user}{member}"
    if ruling.decision == OVERRIDE:
        words += f", until {_until(ruling, now)} and whatever its gates say{_short(ruling, deployment)}"
    return words + (f', because "{ruling.reason}"' if ruling.reason else "")


def approval(ruling: Ruling, deployment: Object, person: Person, role: Reviewer, now: datetime, number: int) -> Object:
    """Return the Approval that says this about a release. `number`: the last one did not count, or counts no more."""
    spec: Object = {
        "subject": {"kind": "ModelDeployment", "name": deployment["metadata"]["name"]},
        "release": ruling.release,
        "decision": ruling.decision,
        "reviewer": person.user,
    }
    if not role.user:
        spec["group"] = role.group
    if ruling.reason:
        spec["reason"] = ruling.reason
    if ruling.decision == OVERRIDE:
        spec["expires"] = _until(ruling, now)
    return {"metadata": {"name": name_of(spec, number)}, "spec": spec}


def stands(approval: Object) -> bool:
    """Whether an approval may still come to count: it is not refused, and has let nothing go on yet."""
    refused = condition(approval, "Stalled").get("status") == "True"
    return not refused and condition(approval).get("reason") != "Counted"


def repeated(wanted: Object, there: Iterable[Object], now: datetime) -> Object | None:
    """Return an Override that says the same already, and ends no more than ten minutes before this would.

    It is the same command again, maybe after a broken connection. Another beside it would keep letting the release in
    when somebody has deleted one.
    """
    end = _end(wanted)
    return next(
        (
            each
            for each in there
            if each["spec"] | {"expires": ""} == wanted["spec"] | {"expires": ""}
            and "deletionTimestamp" not in each["metadata"]
            and stands(each)
            and now < _end(each)
            and end - _end(each) <= AGAIN
        ),
        None,
    )


def _end(override: Object) -> datetime:
    return datetime.fromisoformat(override["spec"]["expires"].upper())


def _known(deployment: Object, judged: Iterable[Object]) -> set[str]:
    return {each["spec"]["release"]["digest"] for each in judged} | set(deployments.known(deployment))


def _approvers(deployment: Object) -> list[Object]:
    return list(deployment["spec"].get("approvers") or ())


def _looked_at(deployment: Object) -> list[object]:
    status, fields = deployment.get("status", {}), ("release", "step", "heldSince")
    places = [status.get(place) or {} for place in deployments.PLACES]
    return [deployment["metadata"]["uid"], *([place.get(field) for field in fields] for place in places)]


def _short(ruling: Ruling, deployment: Object) -> str:
    """Return a warning of an Override that may end before the engine answers."""
    deadline = deployment["spec"].get("engine", {}).get("startDeadline", "")
    seconds = sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", deadline))
    if ruling.hours * 3600 >= seconds:
        return ""
    return f" (its engine may take {deadline}, by engine.startDeadline: with more --hours it is sure to be in time)"


def _until(ruling: Ruling, now: datetime) -> str:
    return (now + timedelta(hours=ruling.hours)).replace(microsecond=0).isoformat().replace("+00:00", "Z")
