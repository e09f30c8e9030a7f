"""What a gateway has counted, by release, since it started: what a rollout is decided by, and drift is measured from.

All numbers only grow while a gateway runs. Those of several gateways are added; `started` tells a gateway that began
again from one that went on.
"""

from typing import Literal

from pydantic import AwareDatetime, Field

from stagecoach.contract.digests import Digest
from stagecoach.contract.model import ContractModel
from stagecoach.contract.profiles import Profile

# Upper bounds in seconds; one more bin is for what took longer.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)


class Durations(ContractModel):
    """How long something took, by bins of SECONDS."""

    bins: tuple[int, ...] = Field(min_length=len(SECONDS) + 1, max_length=len(SECONDS) + 1)
    total: float = Field(ge=0, description="Seconds of all together.")


class ReleaseCounts(ContractModel):
    """What came of the requests that one release had to answer."""

    release: Digest
    requests: int = Field(ge=0, description="Requests that ended, well or not; all others here are among them.")
    errors: dict[str, int] = Field(description="By error code; of one that a fallback answered, too.")
    abandoned: int = Field(ge=0, description="Clients that left before the end.")
    fallbacks: int = Field(ge=0, description="Errors that a fallback answered instead.")
    latency: Durations = Field(description="Until the end of what was answered without an error.")
    first_token: Durations = Field(description="Of streams, until the first part.")
    prompt_tokens: int = Field(ge=0, description="As engines count them.")
    completion_tokens: int = Field(ge=0, description="As engines count them.")
    feedback: int = Field(ge=0)
    profile: Profile | None = Field(None, description="What the texts look like. None: no tokenizer is at hand.")


class GatewayCounts(ContractModel):
    """All of it."""

    schema_version: Literal[1] = 1
    deployment: str
    revision: int
    started: AwareDatetime
    releases: tuple[ReleaseCounts, ...]
