"""What gateways are told to keep of requests, and where it is said to lie."""

from stagecoach.api.common import duration
from stagecoach.api.modeldeployment import ModelDeployment, ModelDeploymentSpec
from stagecoach.build import samples
from stagecoach.contract.gateway_routes import RedactionType, Sampling


def told(spec: ModelDeploymentSpec) -> Sampling | None:
    """Return what gateways keep. One that was started without the claim keeps nothing, whatever it is told.

    One that was started without the sources of feedback takes none: it knows nobody who may give it.
    """
    if (asked := spec.sampling) is None:
        return None
    return Sampling(
        rate=asked.rate,
        redact=tuple(RedactionType(each.type.value) for each in asked.redact),
        keep_seconds=int(duration(asked.keep).total_seconds()),
        sources=True if spec.access and spec.access.feedback else None,
    )


def moves(deployment: ModelDeployment) -> bool:
    """Whether samples are to lie where no status has said that they do."""
    where = samples.place(deployment)
    return where is not None and deployment.status.samples != str(where)


def place(deployment: ModelDeployment, *, rolled: bool) -> str | None:
    """Return where samples lie. `rolled`: all gateways are as the spec wants them; until then it is as before."""
    if (where := samples.place(deployment)) is None:
        return None
    return str(where) if rolled else deployment.status.samples
