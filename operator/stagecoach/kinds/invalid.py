"""An object that got past the schema and is still not valid: shown, never thrown."""

from datetime import datetime

from pydantic import ValidationError

from stagecoach.api.common import Condition
from stagecoach.kinds.conditions import dated, stalled
from stagecoach.kinds.plan import Object, Plan


def invalid_spec(raw: Object, error: ValidationError, now: datetime) -> Plan:
    """Return the plan that tells which fields are wrong and leaves the rest of the status alone."""
    problems = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()[:5])
    message = f"{problems}. Correct the object; the CustomResourceDefinition may be older or newer than the operator."
    before = raw.get("status", {})
    conditions = [Condition.model_validate(item) for item in before.get("conditions", ())]
    generation = raw["metadata"]["generation"]
    told = dated(stalled("InvalidSpec", message), conditions, generation, now)
    return Plan(status=before | {"conditions": [item.document() for item in told]})
