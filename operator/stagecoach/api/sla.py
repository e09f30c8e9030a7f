"""What an engine has to reach before a release has its first request, and what load tests have measured of it."""

from typing import Annotated

from pydantic import Field, StringConstraints

from stagecoach.api.common import (
    DURATION,
    ODD,
    BaseModel,
    Digest,
    Duration,
    Matches,
    ObjectName,
    Optional,
    Time,
    Told,
    cel,
    duration,
    lasting,
    rules,
)
from stagecoach.api.of_a_release import OfARelease

MAX_MEASURED = 10
# Of fewer the slowest alone would be the 99th percentile.
LEAST_REQUESTS, MOST_REQUESTS = 100, 50_000
# What asks has a fixed amount of memory. Prompts are all made before the first is sent, and times of tokens are kept.
MOST_TOKENS = 10_000_000
LATENCY = Matches(r"^([1-9][0-9]{0,5}ms|[1-9][0-9]{0,2}s)$", "must be a time such as 300ms or 2s, and less than 1000s")
Latency = Annotated[str, StringConstraints(max_length=ODD), LATENCY]


def milliseconds(latency: str) -> int:
    """Return the length of time that `300ms` or `2s` stands for."""
    return int(latency[:-2]) if latency.endswith("ms") else 1000 * int(latency[:-1])


def _told(latency: str) -> str:
    """Return the same in CEL."""
    return f"({latency}.endsWith('ms') ? int({latency}.replace('ms', '')) : 1000 * int({latency}.replace('s', '')))"


def _in_order(less: str, more: str) -> str:
    """Return the rule that one latency is at most another, where both are given and well written."""
    given = [f"!has(self.{each}) || !self.{each}.matches('{LATENCY.pattern}')" for each in (less, more)]
    return f"{' || '.join(given)} || {_told(f'self.{less}')} <= {_told(f'self.{more}')}"


# Longer ones are refused by another rule.
_SECONDS = "int(self.duration.substring(0, size(self.duration) - 1)) * (self.duration.endsWith('m') ? 60 : 1)"
_REQUESTS = f"self.requestsPerSecond * double({_SECONDS})"
LOAD_RULES = rules(
    cel(
        f"!self.duration.matches('{DURATION.pattern}') ||"
        f" ({_REQUESTS} >= {LEAST_REQUESTS}.0 && {_REQUESTS} <= {MOST_REQUESTS}.0)",
        f"requestsPerSecond times duration must be {LEAST_REQUESTS} to {MOST_REQUESTS} requests: of fewer, the slowest"
        " alone would decide. Change duration, or requestsPerSecond",
    ),
    cel(
        f"!self.duration.matches('{DURATION.pattern}') ||"
        f" {_REQUESTS} * double(self.promptTokens + self.outputTokens) <= {MOST_TOKENS}.0",
        f"all prompts and answers together must be at most {MOST_TOKENS} tokens: lower duration, requestsPerSecond,"
        " promptTokens or outputTokens",
    ),
)


class Load(BaseModel, json_schema_extra=LOAD_RULES):
    """What an engine's pod is asked in a test."""

    requests_per_second: float = Field(
        ge=0.1, le=1000, description="Of one pod of the engine. Requests come at random times, so many on average."
    )
    prompt_tokens: int = Field(ge=1, le=1_000_000, description="Tokens of each prompt. They are drawn at random.")
    output_tokens: int = Field(ge=1, le=100_000, description="Tokens of each answer, no more and no less.")
    duration: Duration = Field(
        "60s",
        description="So long requests come; 10s to 10m. Default: 60s.",
        json_schema_extra=lasting(
            "duration must be at least 10s, for less tells nothing, and at most 10m", "10s", "10m"
        ),
    )

    @property
    def requests(self) -> int:
        """How many requests that is."""
        return round(self.requests_per_second * duration(self.duration).total_seconds())


SLA_RULES = rules(
    cel(
        "has(self.p50) || has(self.p99) || has(self.firstToken)",
        "give at least one of p50, p99 and firstToken: how long an answer may take",
    ),
    cel(_in_order("p50", "p99"), "p50 must be at most p99: of 100 answers 50 come at least as soon as 99 do"),
    cel(
        _in_order("firstToken", "p99"),
        "firstToken must be at most p99: an answer's first token comes no later than the answer",
    ),
)


class Sla(BaseModel, json_schema_extra=SLA_RULES):
    """What a pod of the engine has to reach under a load."""

    p50: Optional[Latency] = Field(None, description="In this time 50 of 100 answers have to be whole, such as 300ms.")
    p99: Optional[Latency] = Field(None, description="In this time 99 of 100 answers have to be whole, such as 1500ms.")
    first_token: Optional[Latency] = Field(
        None, description="In this time 99 of 100 answers have to have begun, such as 200ms."
    )
    error_rate: float = Field(
        0.001,
        ge=0,
        le=0.5,
        description="The largest share of requests that may fail; 0: none. Default: 0.001, one in a thousand.",
    )
    load: Load = Field(description="What it is asked.")


class LoadTest(Told):
    """The newest Job that tests a candidate. It is written here before it is made."""

    number: int = Field(description="Counted from 1, over all candidates.")
    job: ObjectName = Field(description="Name of the Job.")
    asked: Digest = Field(description="Identity of spec.sla as it is tested.")
    decided: Time = Field(description="When it was decided.")
    start: Optional[Time] = Field(None, description="When its pod started; nothing while it waits.")
    end: Optional[Time] = Field(None, description="When it was found to have ended.")
    message: Optional[str] = Field(None, max_length=1024, description="Why it ended without numbers.")
    failures: int = Field(0, description="How many tests of this candidate failed so far.")
    interruptions: int = Field(0, description="How many were interrupted through no fault of their own.")


class Measured(OfARelease):
    """What a load test has measured of a release on an engine."""

    release: Digest = Field(description="Identity of the release.")
    engine: ObjectName = Field(description="Name of the engine: it stands for all that the engine is made of.")
    asked: Digest = Field(description="Identity of spec.sla as it was tested: by another it is tested again.")
    met: bool = Field(description="Whether all of it was reached.")
    p50: str = Field(max_length=16, description="In this time 50 of 100 answers were whole.")
    p99: str = Field(max_length=16, description="In this time 99 of 100 answers were whole.")
    first_token: str = Field(max_length=16, description="In this time 99 of 100 answers had begun.")
    error_rate: float = Field(description="Share of requests that failed.")
    requests_per_second: float = Field(description="How many requests ended per second.")
    requests: int = Field(description="How many there were.")
    at: Time = Field(description="When it was found.")
