"""Where a training is told beside its record, for those who look there. It decides nothing, and it fails nothing.

It travels in a variable of its own: a trainer of before, whose image is frozen into a run, does not read it.
"""

import os
from collections.abc import Mapping

from stagecoach.contract.model import ContractModel

ENVIRONMENT_VARIABLE = "STAGECOACH_TRACKING"


class Tracking(ContractModel):
    """Where a training is told."""

    mlflow: str


def read_tracking(environment: Mapping[str, str] = os.environ) -> Tracking | None:
    """Return where this pod tells its training, or None. Raises pydantic's ValidationError."""
    text = environment.get(ENVIRONMENT_VARIABLE)
    return Tracking.model_validate_json(text) if text else None
