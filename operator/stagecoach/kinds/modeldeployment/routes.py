"""What gateways are told of a deployment: a document that follows from spec, status and what was admitted.

It is told only when its digest stands in the status, with a revision that is above all that came before.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from stagecoach.api.common import duration
from stagecoach.api.deployment_status import Candidate, ClientKeys, RoutesStatus, Served
from stagecoach.api.modeldeployment import Contract, ModelDeployment
from stagecoach.contract import gateway_routes
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.digests import Digest, hex_of
from stagecoach.contract.gateway_routes import Acknowledgement, Routes, Target
from stagecoach.contract.times import moment, timestamp
from stagecoach.kinds.modeldeployment import client_keys, sampling
from stagecoach.policies.fitting import beside, servable_problem


def wanted(deployment: ModelDeployment, admitted: Mapping[str, Admitted], url: Callable[[str], str]) -> Routes | None:
    """Return what gateways have to be told, of revision 1; None when nobody knows what it is.

    `admitted` by the names of their ConfigMaps, and `url` of an engine by its name. What is served is not taken away
    because its document is gone: gateways go on with what they know. A candidate then has no requests.
    """
    spec, status = deployment.spec, deployment.status
    stable, candidate = None, None
    if status.serving:
        serving = admitted.get(status.serving.admitted)
        if serving is None or servable_problem(spec, serving):
            return None
        stable = _target(status.serving, serving, url)
        candidate = _candidate(status.candidate, admitted, serving, url) if status.candidate else None
    return Routes(
        deployment=deployment.metadata.uid,
        name=deployment.metadata.name,
        revision=1,
        api=spec.api.value,
        stable=stable,
        candidate=candidate,
        keys=client_keys.asked_for(deployment),
        rate_limits=tuple(
            gateway_routes.RateLimit(requests=each.requests, seconds=int(duration(each.interval).total_seconds()))
            for each in spec.contract.rate_limits
        ),
        timeout=duration(spec.contract.timeout).total_seconds(),
        input_schema=spec.contract.input and spec.contract.input.json_schema,
        output_schema=spec.contract.output and spec.contract.output.json_schema,
        fallback=_fallback(spec.contract, deployment.metadata.namespace),
        sampling=sampling.told(spec),
    )


def identity(routes: Routes) -> Digest:
    """Return what tells routes from others, whatever their revision."""
    return routes.model_copy(update={"revision": 1}).digest


def intended(
    routes: Routes | None, before: RoutesStatus | None, keys: ClientKeys, now: datetime, known: int = 0
) -> RoutesStatus | None:
    """Return what the status has to say before routes are told: the same, or a revision above all that came before.

    `known` is the highest revision that a gateway has with something else in it, such as after a status was put back.
    """
    if routes is None:
        return before
    digest = identity(routes)
    if before is None:
        return RoutesStatus(revision=known + 1, digest=digest, since=timestamp(now), client_keys=keys)
    if before.digest == digest and known < before.revision:
        return before.model_copy(update={"client_keys": keys})
    revision = max(before.revision, known) + 1
    update = {"revision": revision, "digest": digest, "since": timestamp(now), "acknowledged": 0, "client_keys": keys}
    return before.model_copy(update=update)


def announced(routes: Routes | None, observed: RoutesStatus | None) -> Routes | None:
    """Return the routes with their revision, if the observed status has said so; None before that."""
    if routes is None or observed is None or observed.digest != identity(routes):
        return None
    return routes.model_copy(update={"revision": observed.revision})


def contradicts(theirs: Acknowledgement, ours: Acknowledgement) -> bool:
    """Whether a gateway that has theirs takes ours for none that are newer."""
    if theirs.deployment != ours.deployment or theirs.revision < ours.revision:
        return False
    return theirs != ours


def model_name(admitted: Admitted) -> str:
    """Return what engines call a release: the digits of its adapter or model, or those of the base itself."""
    described = admitted.described
    return hex_of(described.release.artifact or described.asked.base.model)


def _target(served: Served, admitted: Admitted, url: Callable[[str], str]) -> Target:
    return Target(
        described=admitted.described,
        labels=admitted.labels,
        model=model_name(admitted),
        engines=(url(served.engine),),
    )


def _candidate(
    candidate: Candidate, admitted: Mapping[str, Admitted], serving: Admitted, url: Callable[[str], str]
) -> gateway_routes.Candidate | None:
    """Return the candidate with its part of the requests, if it has one and can stand beside what is served."""
    document = admitted.get(candidate.admitted)
    if document is None or candidate.weight is None or candidate.weight_until is None or not beside(document, serving):
        return None
    return gateway_routes.Candidate(
        target=_target(candidate, document, url), weight=candidate.weight, until=moment(candidate.weight_until)
    )


def _fallback(contract: Contract, namespace: str) -> gateway_routes.Fallback | None:
    given = contract.fallback
    if given is None:
        return None
    if given.deployment is not None:
        return gateway_routes.Fallback(gateway=f"http://{given.deployment}.{namespace}.svc:80")
    return gateway_routes.Fallback(static=given.static)
