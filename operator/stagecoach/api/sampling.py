"""What a ModelDeployment keeps of what its clients ask, where, and for how long."""

from pydantic import Field

from stagecoach.api.common import BaseModel, Duration, Enum, ObjectName, keyed, lasting


class RedactionType(Enum):
    """What is private, and found by its form."""

    EMAIL = "email"
    CARD = "card"


class Redaction(BaseModel):
    """What is not kept."""

    type: RedactionType = Field(
        description="email: mail addresses. card: numbers of cards. In their place is [email], or [card]."
    )


class LocalClaim(BaseModel):
    """A PersistentVolumeClaim of the same namespace."""

    name: ObjectName = Field(description="Name of the PersistentVolumeClaim.")


class Sampling(BaseModel):
    """What gateways keep of requests, to be looked at later, and where."""

    claim: LocalClaim = Field(
        description="Where samples and feedback are written: in the folder samples/<name of the deployment> of a claim"
        " of the same namespace. All gateways mount it, and at each change of them one more: it has to be"
        " ReadWriteMany, or all of them have to be on one node."
    )
    rate: float = Field(
        ge=0,
        le=1,
        description="Which share of the answered requests is kept: 0.05 is one in 20; 0 keeps feedback alone.",
    )
    redact: list[Redaction] = Field(
        max_length=len(RedactionType),
        description="What is taken out of texts before they are written; [] takes nothing out.",
        json_schema_extra=keyed("type"),
    )
    keep: Duration = Field(
        "30d",
        description="How long after the last line a file stays, of which there is one an hour; at least 1h, at most"
        " 365d. Beyond 768Mi of samples, or 256Mi of feedback, the oldest go before that. Default: 30d.",
        json_schema_extra=lasting(
            "keep must be at least 1h, for which there is a file, and at most 365d", "1h", "365d"
        ),
    )
