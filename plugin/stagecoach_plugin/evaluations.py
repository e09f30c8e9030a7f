"""What an Evaluation says, as it lies in the cluster: all that commands show and decide by."""

from dataclasses import dataclass
from typing import Any

from stagecoach_plugin.problems import Object
from stagecoach_plugin.texts import interval, number

AWAITING = "AwaitingReview"


@dataclass(frozen=True)
class Line:
    """A criterion with what came of it, in words and numbers for people."""

    criterion: str
    asks: str
    outcome: str
    advisory: bool
    measured: str
    beside: str  # the same of what it is compared with
    interval: str
    threshold: str
    more: str


@dataclass(frozen=True)
class Reviewer:
    """Who may decide: a user, or whoever is in a group."""

    user: str = ""
    group: str = ""

    def __str__(self) -> str:
        return self.user or f"a member of {self.group}"


def verdict(evaluation: Object) -> str:
    """Return the final verdict; nothing while it is open."""
    return str(evaluation.get("status", {}).get("verdict") or "")


def awaits(evaluation: Object) -> bool:
    """Whether people have to decide, and nothing else is missing."""
    return not verdict(evaluation) and evaluation.get("status", {}).get("phase") == AWAITING


def state(evaluation: Object) -> str:
    """Return where it is in one word: its verdict, or its phase."""
    return verdict(evaluation) or str(evaluation.get("status", {}).get("phase") or "New")


def condition(obj: Object, kind: str = "Ready") -> Object:
    """Return a condition of any object; empty if it is not there."""
    found = (item for item in obj.get("status", {}).get("conditions") or () if item.get("type") == kind)
    return next(found, {})


def asked_review(evaluation: Object) -> Object:
    """Return what the gate asks of people: spec.review; empty: nothing."""
    return evaluation.get("spec", {}).get("review") or {}


def review(evaluation: Object) -> Object:
    """Return what people are shown and have decided: status.review."""
    return evaluation.get("status", {}).get("review") or {}


def reviewers(evaluation: Object) -> list[Reviewer]:
    """Return who may decide."""
    named = asked_review(evaluation).get("reviewers") or ()
    return [Reviewer(item.get("user") or "", item.get("group") or "") for item in named]


def rubrics(evaluation: Object) -> list[str]:
    """Return the names of what an approval has to score, 1 to 5."""
    return [str(item["name"]) for item in asked_review(evaluation).get("rubric") or ()]


def approvals(evaluation: Object) -> list[Object]:
    """Return the approvals that count."""
    return list(review(evaluation).get("approvals") or ())


def lines(evaluation: Object) -> list[Line]:
    """Return the criteria with their results, in the order of the gate; what nothing came of yet has no numbers."""
    asked = {item["name"]: item for item in evaluation["spec"].get("criteria") or ()}
    results = {item["criterion"]: item for item in evaluation.get("status", {}).get("results") or ()}
    names = [*asked, *(name for name in results if name not in asked)]
    return [_line(name, asked.get(name, {}), results.get(name, {})) for name in names]


def _line(name: str, asked: Object, result: Object) -> Line:
    relative = bool(asked.get("against"))
    return Line(
        criterion=name,
        asks=_asks(name, asked, result),
        outcome=result.get("outcome", "–"),
        advisory=bool(asked.get("advisory") or result.get("advisory")),
        measured=number(result.get("value")),
        beside=number(result["reference"]) if result.get("reference") is not None else "",
        interval=interval(result.get("low"), result.get("high"), signed=relative),
        threshold=_threshold(asked, result, relative=relative),
        more=_more(asked, result),
    )


def _asks(name: str, asked: Object, result: Object) -> str:
    if not asked:
        rubric = name.removeprefix("human_")
        least = f", at least {number(result['threshold'])}" if result.get("threshold") is not None else ""
        return f"{rubric}, as people scored it (1 to 5){least}"
    of = f" of {asked['label']}" if asked.get("label") else ""
    metric = f"{asked['metric']}{of} on {asked['suite']}"
    other = "what is served" if asked.get("against") == "Incumbent" else "the base"
    if asked.get("minGain"):
        return f"{metric}: better than {other} by {number(asked['minGain']['absolute'])}"
    if asked.get("allowedDrop"):
        return f"{metric}: not worse than {other} by more than {number(asked['allowedDrop']['absolute'])}"
    return f"{metric}: at least {number(asked.get('min'))}"


def _threshold(asked: Object, result: Object, *, relative: bool) -> str:
    told: Any = result.get("threshold")
    if told is None:
        told = asked.get("min")
    return "–" if told is None else f"≥ {number(told, signed=relative)}"


def _more(asked: Object, result: Object) -> str:
    told = [str(result["message"])] if result.get("message") else []
    if asked.get("advisory") or result.get("advisory"):
        told.append("Advisory: it decides nothing.")
    if result.get("needed"):
        told.append(f"About {result['needed']} rows would tell.")
    if result.get("mcnemar") is not None:
        told.append(f"McNemar's exact test: p = {result['mcnemar']:.2g}.")
    return " ".join(told)


def whose(evaluation: Object) -> str:
    """Return whose release is judged: a run's, or a base itself."""
    spec = evaluation["spec"]
    return f"run {spec['run']}" if spec.get("run") else f"base {spec['base']['candidate']}"


def document(evaluation: Object) -> Object:
    """Return the report for programs: what `report --json` prints. What there is none of is null, never left out."""
    spec, status, metadata = evaluation["spec"], evaluation.get("status", {}), evaluation["metadata"]
    ready = condition(evaluation)
    results = {item["criterion"]: item for item in status.get("results") or ()}
    report = status.get("report") or {}
    return {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "gate": spec["gate"],
        "project": spec["project"],
        "run": spec.get("run"),
        "base": spec["base"]["candidate"],
        "release": spec["release"]["digest"],
        "key": spec["key"],
        "state": state(evaluation),
        "verdict": verdict(evaluation) or None,
        "reason": ready.get("reason"),
        "message": status.get("message") or ready.get("message"),
        "decided": status.get("completionTime"),
        "criteria": [
            {"criterion": line.criterion, "asks": line.asks, "advisory": line.advisory}
            | {key: results.get(line.criterion, {}).get(key) for key in _NUMBERS}
            for line in lines(evaluation)
        ],
        "rows": status.get("rows"),
        "leaked": status.get("leaked"),
        "exposures": status.get("exposures"),
        "review": {"requires": asked_review(evaluation), **review(evaluation)} if asked_review(evaluation) else None,
        "page": page(evaluation),
        "record": report.get("digest"),
    }


_NUMBERS = ("outcome", "value", "reference", "low", "high", "threshold", "mcnemar", "scored", "needed", "message")


def page(evaluation: Object) -> str | None:
    """Return where the full page lies; None: there is none yet."""
    uri = (evaluation.get("status", {}).get("report") or {}).get("uri")
    return f"{uri.rstrip('/')}/report.html" if uri else None
