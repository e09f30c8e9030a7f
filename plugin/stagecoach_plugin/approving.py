"""What an approval has to be, by the Evaluation, who somebody is and what he says: pure decisions."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stagecoach_plugin import evaluations
from stagecoach_plugin.evaluations import Reviewer
from stagecoach_plugin.problems import Object, Problem
from stagecoach_plugin.texts import both, either

APPROVE = "Approve"
REJECT = "Reject"
MAX_NAME = 63  # of an Approval
_ENDING = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Person:
    """Who asks, as the API server knows him."""

    user: str
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class Said:
    """What a person decides."""

    decision: str
    scores: dict[str, int] = field(default_factory=dict)
    reason: str = ""


def open_for_review(evaluation: Object, command: str) -> None:
    """Raise Problem unless people decide about this Evaluation now. `command` asks why it is as it is."""
    name = evaluation["metadata"]["name"]
    decided = evaluations.verdict(evaluation)
    if decided:
        raise Problem(
            f"Evaluation {name} is decided already: {decided}. A verdict never changes. See `kubectl stagecoach report"
            f" {name}`; to have the same judged again, delete the Evaluation, and its gate makes another."
        )
    if not evaluations.asked_review(evaluation):
        raise Problem(
            f"Nobody is asked about Evaluation {name}: its gate had no spec.review when it was made, and its criteria"
            f" alone decide. See `{command}`."
        )
    if not evaluations.awaits(evaluation):
        raise Problem(
            f"Evaluation {name} does not await a review yet: it is {evaluations.state(evaluation)}, and there is"
            f" nothing to look at. An approval of now would not count. See `{command}`."
        )


def unchanged(shown: Object, found: Object, command: str) -> None:
    """Raise Problem unless what is there now is what was shown. `command` shows it again."""
    if _looked_at(shown) != _looked_at(found):
        raise Problem(
            f"Nothing was decided: Evaluation {shown['metadata']['name']} is another than the one that you were shown,"
            f" for it was made anew, or asks anew, in the meantime. Look at it again with `{command}`."
        )


def _looked_at(evaluation: Object) -> list[Any]:
    """Return what somebody decides about. Approvals of others may come in the meantime."""
    review = evaluations.review(evaluation)
    return [evaluation["metadata"]["uid"], evaluation["spec"], review.get("asked"), review.get("rows")]


def as_reviewer(evaluation: Object, person: Person) -> Reviewer:
    """Return as which of the gate's reviewers somebody decides: by his own name, else as a member. Raises Problem."""
    found = role_of(evaluation, person)
    if found is None:
        raise _stranger(evaluation, person)
    return found


def role_of(evaluation: Object, person: Person) -> Reviewer | None:
    """Return the same; None: somebody is no reviewer."""
    return among(evaluations.reviewers(evaluation), person)


def among(named: Sequence[Reviewer], person: Person) -> Reviewer | None:
    """Return as which of these somebody decides: by his own name, else as a member; None: he is none of them."""
    own = next((each for each in named if each.user == person.user), None)
    member = next((each for each in named if each.group and each.group in person.groups), None)
    return own or member


def known_as(person: Person) -> str:
    """Return as whom the API server knows somebody, in words."""
    groups = [group for group in person.groups if not group.startswith("system:")]
    return f"{person.user}{f', in {both(groups)}' if groups else ', in no group'}"


def _stranger(evaluation: Object, person: Person) -> Problem:
    takes = either([str(each) for each in evaluations.reviewers(evaluation)])
    return Problem(
        f"You are no reviewer of Evaluation {evaluation['metadata']['name']}: it takes the decision of {takes},"
        f" and the API server knows you as {known_as(person)}. Ask one of them, or have your name added to"
        f" spec.review.reviewers of EvalGate {evaluation['spec']['gate']}, which makes another Evaluation."
    )


def parse_scores(given: Sequence[str]) -> dict[str, int]:
    """Return `fluency=5 accuracy=4` as numbers. Raises Problem."""
    scores: dict[str, int] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name or value not in ("1", "2", "3", "4", "5"):
            raise Problem(f"--score {text!r} is no score: write --score <rubric>=<1 to 5>, such as --score fluency=5.")
        if name in scores:
            raise Problem(f"--score gives {name} twice: leave one of them out.")
        scores[name] = int(value)
    return scores


def unknown_scores(evaluation: Object, scores: dict[str, int]) -> None:
    """Raise Problem for scores of what the gate does not ask for."""
    known = evaluations.rubrics(evaluation)
    odd = [name for name in scores if name not in known]
    if odd and not known:
        raise Problem("This gate asks for no scores: leave --score out.")
    if odd:
        raise Problem(f"This gate has no rubric {either(odd)}: give scores of {either(known)}.")


def missing_scores(evaluation: Object, scores: dict[str, int]) -> list[str]:
    """Return the rubrics that have no score yet."""
    return [name for name in evaluations.rubrics(evaluation) if name not in scores]


def earlier(evaluation: Object, person: Person) -> Object | None:
    """Return the approval of this person that counts already."""
    return next((each for each in evaluations.approvals(evaluation) if each.get("reviewer") == person.user), None)


def stands(approval: Object, evaluation: Object) -> bool:
    """Whether an approval may still come to count: it is not refused, and not of before there was anything to see."""
    if evaluations.condition(approval, "Stalled").get("status") == "True":
        return False
    made = datetime.fromisoformat(approval["metadata"]["creationTimestamp"])
    # The API server tells whole seconds of an object.
    return made >= datetime.fromisoformat(evaluations.review(evaluation)["asked"]).replace(microsecond=0)


def approval(evaluation: Object, person: Person, role: Reviewer, said: Said, number: int = 1) -> Object:
    """Return the Approval that says this about what the Evaluation judged. `number`: the last one did not count."""
    spec: Object = {
        "subject": {"kind": "Evaluation", "name": evaluation["metadata"]["name"]},
        "release": evaluation["spec"]["release"]["digest"],
        "decision": said.decision,
        "reviewer": person.user,
    }
    if not role.user:
        spec["group"] = role.group
    if said.scores:
        spec["scores"] = [{"name": name, "score": score} for name, score in said.scores.items()]
    if said.reason:
        spec["reason"] = said.reason
    return {"metadata": {"name": name_of(spec, number)}, "spec": spec}


def name_of(spec: Object, number: int) -> str:
    """Return the name of an approval: who, what about, and six digits of all that it says.

    The same said twice has the same name, so that a command that is repeated makes nothing twice.
    """
    digits = hashlib.sha256(json.dumps([spec, number], sort_keys=True).encode()).hexdigest()[:6]
    key = spec["subject"]["name"].rpartition("-")[2]
    end = f"{key[:12]}-{digits}"
    who = _ENDING.sub("-", spec["reviewer"].rpartition(":")[2].partition("@")[0].lower()).strip("-")
    return f"{who[: MAX_NAME - len(end) - 1].rstrip('-') or 'reviewer'}-{end}"
