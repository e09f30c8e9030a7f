"""What stands beside a serving engine: the loader, which brings models to where the engine finds them.

It verifies base and adapters against their digests, tells the engine what to serve, and asks the engine itself for an
answer of each model: what it says of a model is that it answers, not that its files are there.
"""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from stagecoach.contract.digests import Digest
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.model import ContractModel
from stagecoach.contract.readings import Reads
from stagecoach.contract.releases import Precision

ENVIRONMENT_VARIABLE = "STAGECOACH_SERVE"
# Where gateways ask the engine, as their routes say it.
URL_VARIABLE = "STAGECOACH_ENGINE_URL"
CONTAINER = "loader"
PORT = 8001
# A JSON list of ModelSource, in the environment of what lays tokenizers for a gateway.
TOKENIZERS_VARIABLE = "STAGECOACH_TOKENIZERS"
# Files of the Secret that engines and gateways of a deployment share, below mounts.KEYS: what is asked of the loader's
# callers, what the engine asks for, and what routes are signed by.
TOKEN_FILE, ENGINE_KEY_FILE, ROUTES_KEY_FILE = "loader-token", "engine-key", "routes-key"
# PUT takes Wanted and answers Loaded; GET answers Loaded.
PATH = "/models"
# GET answers Load, or 503 with why not. A loader of an earlier version knows nothing of it.
LOAD_PATH = "/load"
# 200 when the pod may have requests, 503 with why not. For the kubelet: it needs no token.
HEALTH_PATH = "/health"
# Each model is asked so often; an answer that is older than that twice says nothing about now.
PROBE_SECONDS, FRESH_SECONDS = 15.0, 30
MAX_ADAPTERS = 16
# No engine has more to do: whoever says so is none.
MOST_REQUESTS = 1_000_000_000


class Serve(ContractModel):
    """What an engine serves, from its start to its end: the loader's document, in its environment."""

    schema_version: Literal[1] = 1
    base: ModelSource = Field(description="With digests.")
    model: Digest | None = Field(None, description="A whole model, served in the place of the base.")
    storage: str
    precision: Precision = Precision.AUTO
    reads: Reads | None = Field(None, description="What an encoder makes of a text. None: a decoder, which writes.")
    max_length: int = Field(ge=1, description="Tokens of a prompt and its answer together; no more than the base has.")
    max_adapters: int = Field(
        ge=0,
        le=MAX_ADAPTERS,
        description="So many compute at once, and as many again are kept in memory; 0: none is served.",
    )
    max_rank: int = Field(ge=0, description="The largest rank of an adapter that the engine is prepared for.")
    at_once: int = Field(ge=1, le=1024, description="Requests that are computed at a time.")


class Wanted(ContractModel):
    """Which adapters have to answer. Others may be forgotten.

    A pod that nobody has told this yet goes by the routes: it comes back while the operator is away.
    """

    adapters: tuple[Digest, ...] = Field(
        (),
        max_length=MAX_ADAPTERS,
        description="First what serves, where it is one of them: a new pod gets no requests before the first answers.",
    )


class State(StrEnum):
    """What has become of a model."""

    LOADING = "Loading"
    ANSWERS = "Answers"
    FAILED = "Failed"


class LoadedModel(ContractModel):
    """One model: an adapter, or what all others are adapters of."""

    name: str = Field(description="What the engine calls it: 64 digits of a digest.")
    state: State
    reason: str = Field("", max_length=64, description="Of Failed, and of a Loading that takes long.")
    message: str = Field("", max_length=1024)
    age: int | None = Field(
        None,
        ge=FRESH_SECONDS,
        multiple_of=FRESH_SECONDS,
        description="Of Answers: how many seconds ago it last did, by the loader's own clock. It is rounded up, "
        "so that the same is said for as long as all goes well.",
    )

    @property
    def answers(self) -> bool:
        """Whether it answered lately."""
        return self.state is State.ANSWERS and self.age == FRESH_SECONDS


class Loaded(ContractModel):
    """What the loader says of the engine beside it."""

    schema_version: Literal[1] = 1
    engine: str = Field("", max_length=64, description="The engine's version, once it answers.")
    models: tuple[LoadedModel, ...]

    def of(self, name: str) -> LoadedModel | None:
        """Return what it says of a model."""
        return next((each for each in self.models if each.name == name), None)


class Load(ContractModel):
    """How much an engine has to do at this moment."""

    schema_version: Literal[1] = 1
    waiting: int = Field(ge=0, le=MOST_REQUESTS, description="Requests that wait until others have ended.")
    running: int = Field(ge=0, le=MOST_REQUESTS, description="Requests that are computed.")
