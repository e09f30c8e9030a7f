"""An object that got past the schema and is still not what this version expects: shown, never thrown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from stagecoach.api.common import Condition
from stagecoach.kinds.conditions import Fact, dated, stalled
from stagecoach.kinds.plan import Object, Plan

# The conditions that are decided here.
TOLD = ("Ready", "Reconciling", "Stalled")


def unreadable(raw: Object, error: ValidationError, now: datetime) -> Plan:
    """Return the plan that tells which fields are wrong and leaves the rest of the status alone.

    What has ended is left as it is: a later version of the operator may have ended it, and this one adds nothing.
    """
    before = raw.get("status", {})
    if "completionTime" in before:
        return Plan()
    conditions = before.get("conditions", ())
    known = [Condition.model_validate(item) for item in conditions if item["type"] in TOLD]
    told = dated(_facts(error), known, raw["metadata"]["generation"], now)
    others = [item for item in conditions if item["type"] not in TOLD]
    seen = {"observedGeneration": raw["metadata"]["generation"]}  # else kstatus waits for somebody to look at it
    return Plan(status=before | seen | {"conditions": [*(item.document() for item in told), *others]})


def _facts(error: ValidationError) -> Sequence[Fact]:
    wrong = [(".".join(map(str, item["loc"])), item) for item in error.errors()]
    of_status = [f"{place}: {_value(item)}" for place, item in wrong if item["loc"][0] == "status"]
    if len(of_status) < len(wrong):
        problems = "; ".join(_problem(place, item) for place, item in wrong[:5])
        message = (
            f"{problems}. Correct the object; the CustomResourceDefinition may be older or newer than the operator."
        )
        return stalled("InvalidSpec", message)
    message = (
        f"{'; '.join(of_status[:5])} is not known to this version of the operator: a later one wrote it. Upgrade the"
        " operator again: it goes on from there. Until then nothing is done."
    )
    return stalled("StatusUnknown", message)


def _problem(place: str, item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return f"{place} is not known to this version of the operator"
    return f"{place}: {item['msg']}"


def _value(item: Any) -> str:
    text = repr(item["input"])
    return text if len(text) <= 80 else f"{text[:79]}…"
