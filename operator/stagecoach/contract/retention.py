"""What retention leaves beside an artifact, how a Job knows whose artifacts it makes, and what names a digest."""

import os
import re
from collections.abc import Mapping

from pydantic import Field

from stagecoach.contract.digests import Manifest
from stagecoach.contract.jobs import Subject
from stagecoach.contract.model import ContractModel

# The uid of the project; beside the Job's document, which an older trainer that a run began with could not read.
PROJECT_VARIABLE = "STAGECOACH_PROJECT_UID"
# Uids of runs of the same inputs that had ended when the Job was made; a variable of its own for the same reason.
ENDED_VARIABLE = "STAGECOACH_ENDED_RUNS"
# The first digits by which a Job is told what is in use. Where two digests begin alike, one too many stays.
SHORT = 12

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def project_uid(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the uid of the project whose run this is, if it is said."""
    return environment.get(PROJECT_VARIABLE) or None


def ended_runs(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the uids of runs of the same inputs that go on no more, as far as they are said."""
    return frozenset(filter(None, environment.get(ENDED_VARIABLE, "").split(",")))


def digests_in(text: str) -> frozenset[str]:
    """Return all that look like a digest, by their 64 hex digits."""
    return frozenset(_DIGEST.findall(text))


class Use(ContractModel):
    """That a run adopted an artifact, or that objects of a project's cluster had it."""

    at: str = Field(description="RFC 3339 time, UTC.")
    by: Subject


class Leaving(ContractModel):
    """That an artifact is about to be removed. It is not there for adoption; its files are."""

    since: str = Field(description="RFC 3339 time, UTC.")
    by: Subject
    manifest: Manifest = Field(description="To be put back if it stays after all.")


class Removed(ContractModel):
    """That an artifact was removed."""

    at: str = Field(description="RFC 3339 time, UTC.")
    announced: str = Field(description="RFC 3339 time, UTC.")
    by: Subject
    bytes: int
