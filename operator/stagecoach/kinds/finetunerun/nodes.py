"""A training on several nodes: the claims that its pods share, and the Service by which they meet."""

from collections.abc import Mapping
from datetime import datetime

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build import services
from stagecoach.contract import uris
from stagecoach.kinds.finetunerun import status
from stagecoach.kinds.plan import Event, Object, Plan
from stagecoach.policies.sharing import Claim, first_refusal

# Claims are not watched: one that was refused is looked at again in this time.
LOOK_AGAIN = 60.0
NOT_SHARED = "StorageNotShared"


def beside(run: FineTuneRun) -> tuple[Object, ...]:
    """Return what is made with the Job of a training."""
    return (services.service(run),) if run.spec.resources.nodes > 1 else ()


def claims(run: FineTuneRun, project: TransformerProject | None) -> dict[str, bool]:
    """Return the claims that pods on several nodes mount, each with whether they write it."""
    inputs = run.status.inputs
    if run.spec.resources.nodes == 1 or inputs is None or project is None:
        return {}
    labels = project.spec.problem.labels
    # The last is read when it is not trained on.
    read = {item.name for item in (*inputs.train, *inputs.validation)} | {labels.from_dataset if labels else None}
    sources = [item.uri for item in project.spec.data.sets if item.name in read]
    sources += [item.model.uri for item in project.spec.candidates if item.name == inputs.candidate]
    found = {uri.name: False for uri in map(uris.parse, sources) if uri.scheme == "pvc"}
    storage = uris.parse(inputs.storage)
    return found | ({storage.name: True} if storage.scheme == "pvc" else {})


def refused(run: FineTuneRun, uses: Mapping[str, bool], seen: Mapping[str, Claim | None], now: datetime) -> Plan | None:
    """Return the plan that looks at claims, or tells why these cannot be shared; None when they can."""
    known = {name: claim for name, claim in seen.items() if claim is not None}
    if unknown := tuple((run.metadata.namespace, name) for name in uses if name not in known):
        return Plan(look=unknown)
    words = first_refusal(uses, known, run.spec.resources.nodes)
    if not words:
        return None
    told = status.blocked(run, NOT_SHARED, words, now)
    return Plan(status=told, events=(Event(NOT_SHARED, words, warning=True),), requeue_after=LOOK_AGAIN)
