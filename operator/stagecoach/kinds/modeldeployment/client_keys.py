"""Whether gateways ask clients for keys: not before every one of them knows the clients, or it would refuse all."""

from stagecoach.api.deployment_status import ClientKeys
from stagecoach.api.modeldeployment import ModelDeployment


def asked_for(deployment: ModelDeployment) -> bool:
    """Whether gateways are told to ask for keys, by the status; where that does not say it, as the spec wants it."""
    told = deployment.status.routes
    if told is None or told.client_keys is None:
        return deployment.spec.api_keys is not None
    return told.client_keys is not ClientKeys.OFF


def following(deployment: ModelDeployment, *, rolled: bool, acknowledged: bool) -> ClientKeys:
    """Return what comes next. `rolled`: all gateways are as the spec wants them. `acknowledged`: all have the routes.

    What is to be open is so at once: gateways that know no clients any more would refuse everybody.
    """
    told = deployment.status.routes
    if deployment.spec.api_keys is None:
        return ClientKeys.OFF
    if not asked_for(deployment):
        return ClientKeys.TOLD if rolled else ClientKeys.OFF
    if told is not None and (told.client_keys is ClientKeys.IN_FORCE or (told.client_keys and acknowledged)):
        return ClientKeys.IN_FORCE
    return ClientKeys.TOLD


def words(deployment: ModelDeployment, keys: ClientKeys | None, *, rolled: bool) -> str:
    """Return what whoever reads that it serves has to know of who may ask; nothing, where that is as the spec says."""
    secret = deployment.spec.api_keys
    if secret is None and keys in (None, ClientKeys.OFF):
        return " Whoever reaches it may ask: spec.access names no apiKeys."
    if secret is None:
        return " Gateways go on to ask for keys until they are told that spec.access names no apiKeys any more."
    named = f"spec.access.apiKeys ({secret.name})"
    if keys is ClientKeys.OFF:
        return f" Whoever reaches it may ask: {named} is not in force until every gateway knows it."
    if keys is ClientKeys.TOLD:
        return f" Some gateways may not ask for keys yet: {named} is not in force until all of them go by it."
    return "" if rolled else f" Gateways are started anew: until all of them are, some go by {named} as it was."
