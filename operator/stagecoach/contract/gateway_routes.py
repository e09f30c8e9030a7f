"""What a gateway serves: the routes of one deployment, signed, with a revision that only grows.

The operator signs the text as it is sent, by a key that it shares with the gateways of this deployment alone. A gateway
takes no document of another deployment, none that is older than what it has, and no other one of the same revision.
"""

import hashlib
import hmac
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints, ValidationError, model_validator

from stagecoach.contract.digests import Digest, digest_of_document
from stagecoach.contract.inputs import Family
from stagecoach.contract.model import ContractModel
from stagecoach.contract.releases import DescribedRelease
from stagecoach.contract.task_api import TASKS

# A ConfigMap holds a mebibyte.
MAX_BYTES = 900_000
MIN_KEY = 32
# In the ConfigMap `<deployment>-routes`, and where that is mounted.
ROUTES_FILE = "routes.json"
_DOMAIN = b"stagecoach routes v1\n"
Form = TypeVar("Form", bound=BaseModel)

EngineUrl = Annotated[str, StringConstraints(pattern=r"^http://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?:[0-9]{1,5}$")]
# No slash: engines look for an adapter of this name in a folder.
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")]


class BadRoutes(ValueError):
    """A document is not signed by the key, or is none; the message says which, and shows nothing of the key."""


class Target(ContractModel):
    """A release, and the engines that answer for it."""

    described: DescribedRelease
    labels: tuple[str, ...] | None = Field(None, description="Of a Classification: in the order of the model's head.")
    model: ModelName = Field(description="What the engines call it; no client ever sees or says this name.")
    engines: tuple[EngineUrl, ...] = Field(min_length=1, max_length=16)

    @cached_property
    def release(self) -> Digest:
        """What answers, verdicts and counts name it by."""
        return self.described.release.digest

    @model_validator(mode="after")
    def _is_what_it_says(self) -> Self:
        if self.described.release.asked != self.described.asked.digest:
            raise ValueError("described.release.asked is not the digest of described.asked")
        if (self.described.asked.task == "Classification") != bool(self.labels):
            raise ValueError("labels go with the task Classification, and with no other")
        return self


class Candidate(ContractModel):
    """What takes a part of the requests, for as long as the operator renews it."""

    target: Target
    weight: int = Field(ge=1, le=100, description="Of 100 requests so many.")
    until: AwareDatetime = Field(description="From then on the stable release takes all.")

    def share(self, now: datetime) -> int:
        """Return the weight, or 0 when it has run out."""
        return self.weight if now < self.until else 0


class RateLimit(ContractModel):
    """How often one client may ask one gateway: so often at once, and as often again in the course of an interval."""

    requests: int = Field(ge=1, le=10_000_000)
    seconds: int = Field(ge=1, le=86_400)


class Fallback(ContractModel):
    """What is answered when no engine does."""

    static: dict[str, Any] | None = Field(None, description="This answer.")
    gateway: EngineUrl | None = Field(None, description="What the gateway of another deployment answers.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.static is None) == (self.gateway is None):
            raise ValueError("give static or gateway")
        return self


class RedactionType(StrEnum):
    """What is private, and found by its form."""

    EMAIL = "email"
    CARD = "card"


class Sampling(ContractModel):
    """What is kept to be looked at: a share of requests, without what is private in them, and feedback."""

    rate: float = Field(ge=0, le=1)
    redact: tuple[RedactionType, ...] = ()
    keep_seconds: int = Field(ge=3600, le=365 * 86_400)
    sources: Literal[True] | None = Field(
        None,
        description="True: feedback is taken from named sources alone, on any answer. Never false: who was made before"
        " there were sources refuses the word.",
    )


class Routes(ContractModel):
    """All that decides what a gateway answers."""

    schema_version: Literal[1] = 1
    deployment: str = Field(min_length=1, max_length=63, description="The deployment's uid.")
    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$", description="What clients call the model.")
    revision: int = Field(ge=1)
    api: Literal["OpenAI", "Task"]
    stable: Target | None = Field(None, description="None: nothing is served, and nothing is answered.")
    candidate: Candidate | None = None
    keys: bool = Field(description="Whether clients need a key. Without, who reaches the gateway may ask.")
    rate_limits: tuple[RateLimit, ...] = Field((), max_length=4)
    timeout: float = Field(30, gt=0, le=3600, description="Seconds for an answer; of a stream, for each part of it.")
    input_schema: dict[str, Any] | None = Field(None, description="What a request's body has to fulfil besides.")
    output_schema: dict[str, Any] | None = Field(None, description="What an answer has to fulfil, or it is none.")
    fallback: Fallback | None = None
    sampling: Sampling | None = None

    @property
    def targets(self) -> tuple[Target, ...]:
        """The releases that may answer."""
        return tuple(target for target in (self.stable, self.candidate and self.candidate.target) if target)

    @property
    def urls(self) -> frozenset[str]:
        """All that a gateway may ask."""
        fallback = {self.fallback.gateway} if self.fallback and self.fallback.gateway else set[str]()
        return frozenset(url for target in self.targets for url in target.engines) | fallback

    @property
    def sources(self) -> bool:
        """Whether feedback is taken from named sources alone."""
        return self.sampling is not None and self.sampling.sources is True

    @property
    def digest(self) -> Digest:
        """What a gateway acknowledges, besides the revision."""
        return digest_of_document(self.document())

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.stable is None and self.candidate is not None:
            raise ValueError("a candidate goes beside a stable release")
        if len({target.release for target in self.targets}) < len(self.targets):
            raise ValueError("stable and candidate have to be two releases: by these a gateway tells them apart")
        if len({_shape(target) for target in self.targets}) > 1:
            raise ValueError("stable and candidate have to be of one task, with the same labels")
        if self.api == "Task":
            for target in self.targets:
                asked = target.described.asked
                if asked.family not in TASKS.get(asked.task, ()):
                    raise ValueError(f"{asked.task} by an {asked.family} cannot be answered by the Task API")
        return self


class SignedRoutes(ContractModel):
    """Routes as they travel: the text that was signed, and the signature."""

    payload: str = Field(max_length=MAX_BYTES)
    signature: str = Field(pattern=r"^hmac-sha256:[0-9a-f]{64}$")


class Acknowledgement(ContractModel):
    """What a gateway has."""

    deployment: str
    revision: int
    digest: Digest


def sign(routes: Routes, key: bytes) -> SignedRoutes:
    """Return the routes as they travel."""
    payload = routes.line()
    return SignedRoutes(payload=payload, signature=_signature(payload, key))


def verified(text: str | bytes, key: bytes) -> Routes:
    """Return the routes that a text holds. Raises BadRoutes when they were not signed by this key, or are none."""
    return read(opened(text, key), Routes)


def read(payload: str, form: type[Form]) -> Form:
    """Return what was signed, or as much of it as the form has. Raises BadRoutes when it is none."""
    try:
        return form.model_validate_json(payload)
    except ValidationError as error:
        raise BadRoutes(f"the routes cannot be read by this version: {_first(error)}") from None


def opened(text: str | bytes, key: bytes) -> str:
    """Return what was signed. Raises BadRoutes when it was not by this key."""
    if len(text) > 2 * MAX_BYTES:
        raise BadRoutes(f"the document is longer than {2 * MAX_BYTES} bytes")
    try:
        signed = SignedRoutes.model_validate_json(text)
    except ValidationError as error:
        raise BadRoutes(f"this is no signed document of routes: {_first(error)}") from None
    if not hmac.compare_digest(signed.signature, _signature(signed.payload, key)):
        raise BadRoutes("the signature is not that of this key")
    return signed.payload


def _signature(payload: str, key: bytes) -> str:
    if len(key) < MIN_KEY:
        raise ValueError(f"a key for routes has at least {MIN_KEY} bytes")
    return "hmac-sha256:" + hmac.new(key, _DOMAIN + payload.encode(), hashlib.sha256).hexdigest()


def _first(error: ValidationError) -> str:
    found = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, found['loc'])) or 'document'}: {found['msg']}"


def _shape(target: Target) -> tuple[str, Family, tuple[str, ...] | None]:
    asked = target.described.asked
    return asked.task, asked.family, target.labels
