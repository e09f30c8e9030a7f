"""What a Job with a small share of a node is like, whatever it does: what training asks for is said on top of it."""

from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build import jobs
from stagecoach.build.pods import credentials
from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.jobs import AnyJob
from stagecoach.kinds.controller import Settings

KEEP_SECONDS = 3600


def work(
    project: TransformerProject,
    settings: Settings,
    *,
    name: str,
    document: AnyJob | EvaluateJob,
    image: str,
    seconds: int,
    storage: str = "",
    sources: tuple[str, ...] = (),
    keep_seconds: int = KEEP_SECONDS,
) -> jobs.Work:
    """Return work in the project's storage, or in the one that was fixed, with the project's pods and credentials."""
    return jobs.Work(
        name=name,
        document=document,
        image=image,
        pull_policy=settings.trainer_pull_policy,
        network=settings.network,
        storage=storage or project.spec.storage.uri,
        sources=sources,
        demand=jobs.SMALL,
        pods=project.spec.pods,
        seconds=seconds,
        keep_seconds=keep_seconds,
        credentials=credentials(project.spec),
    )
