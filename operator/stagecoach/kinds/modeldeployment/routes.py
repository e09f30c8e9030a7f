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
from stagecoach.policies.fitting import Known, beside, schema_problem, servable_problem


def known(served: Served | None, admitted: Mapping[str, Admitted], last: Routes | None) -> Known | None:
    """Return what is known of a release: by its document, or, when that is gone, by what gateways were told last."""
    if served is None:
        return None
    targets = last.targets if last else ()
    return admitted.get(served.admitted) or next((each for each in targets if each.release == served.release), None)


def wanted(
    deployment: ModelDeployment,
    admitted: Mapping[str, Admitted],
    url: Callable[[str], str],
    last: Routes | None = None,
) -> Routes | None:
    """Return what gateways have to be told, of revision 1; None when nobody knows what it is.

    `admitted` by the names of their ConfigMaps, `url` of an engine by its name, and `last` what they were told last.
    Which releases answer follows from the status, whatever became of documents and spec: what is served goes on, and
    what is no candidate any more has no requests. By a spec that does not go with what is served, clients are answered
    as before.
    """
    spec, status = deployment.spec, deployment.status
    stable, candidate, unfit = None, None, schema_problem(spec.contract)
    keys = client_keys.asked_for(deployment)
    if status.serving:
        serving, new = (known(each, admitted, last) for each in (status.serving, status.candidate))
        if serving is None:
            return None
        stable, unfit = _target(status.serving, serving, url), servable_problem(spec, serving)
        candidate = _candidate(status.candidate, new, serving, url) if status.candidate and new else None
    if unfit and (last or stable):
        update = {"revision": 1, "stable": stable, "candidate": candidate, "keys": keys}
        return last.model_copy(update=update) if last else None
    # What is no schema keeps nobody from being told that nothing is served.
    asked, answer = (None, None) if unfit else (spec.contract.input, spec.contract.output)
    return Routes(
        deployment=deployment.metadata.uid,
        name=deployment.metadata.name,
        revision=1,
        api=spec.api.value,
        stable=stable,
        candidate=candidate,
        keys=keys,
        rate_limits=tuple(
            gateway_routes.RateLimit(requests=each.requests, seconds=int(duration(each.interval).total_seconds()))
            for each in spec.contract.rate_limits
        ),
        timeout=duration(spec.contract.timeout).total_seconds(),
        input_schema=asked and asked.json_schema,
        output_schema=answer and answer.json_schema,
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


def model_name(admitted: Known) -> str:
    """Return what engines call a release: the digits of its adapter or model, or those of the base itself."""
    described = admitted.described
    return hex_of(described.release.artifact or described.asked.base.model)


def _target(served: Served, admitted: Known, url: Callable[[str], str]) -> Target:
    return Target(
        described=admitted.described,
        labels=admitted.labels,
        model=model_name(admitted),
        engines=(url(served.engine),),
    )


def _candidate(
    candidate: Candidate, admitted: Known, serving: Known, url: Callable[[str], str]
) -> gateway_routes.Candidate | None:
    """Return the candidate with its part of the requests, if it has one and can stand beside what is served."""
    if candidate.weight is None or candidate.weight_until is None or not beside(admitted, serving):
        return None
    return gateway_routes.Candidate(
        target=_target(candidate, admitted, url), weight=candidate.weight, until=moment(candidate.weight_until)
    )


def _fallback(contract: Contract, namespace: str) -> gateway_routes.Fallback | None:
    given = contract.fallback
    if given is None:
        return None
    if given.deployment is not None:
        return gateway_routes.Fallback(gateway=f"http://{given.deployment}.{namespace}.svc:80")
    return gateway_routes.Fallback(static=given.static)
