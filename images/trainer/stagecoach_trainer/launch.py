"""Several processes of one training: how those of this pod are started, by torchrun, and what came of them together."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE, INDEX_VARIABLE, Group
from stagecoach.contract.reports import Outcome, Problem, Report

# Set by torchrun in the processes that it starts: number among all, number in this pod, index of the pod, and how many
# there are in a pod.
RANK, LOCAL_RANK, NODE, PER_NODE = "RANK", "LOCAL_RANK", "GROUP_RANK", "LOCAL_WORLD_SIZE"
# Pods that do not meet in this time end: a queue that admits all of them or none makes them start together.
MEETING_SECONDS = 600
# torchrun waits for the other pods' ends once its own work is done; we do not, for one of them may be gone.
PARTING_SECONDS = 20.0


def group_of(environment: Mapping[str, str]) -> Group | None:
    """Return the group that this pod's document tells of; what is wrong with the document the work itself says."""
    try:
        found = json.loads(environment[ENVIRONMENT_VARIABLE]).get("group")
        return Group.model_validate(found) if found else None
    except (AttributeError, KeyError, TypeError, ValueError, ValidationError):
        return None


def index_of(environment: Mapping[str, str]) -> int:
    """Return the index of this pod."""
    return int(environment.get(INDEX_VARIABLE) or 0)


def command(group: Group, index: int, work: Sequence[str], grace: int) -> list[str]:
    """Return the command that starts this pod's processes and ends them all when one of them fails.

    Asked to stop, torchrun asks them, and waits as long as a checkpoint may take.
    """
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *(f"--nnodes={group.nodes}", f"--node-rank={index}", f"--nproc-per-node={group.processes}"),
        *("--rdzv-backend=static", f"--master-addr={group.address}", f"--master-port={group.port}"),
        *(f"--rdzv-conf=timeout={MEETING_SECONDS}", "--max-restarts=0", "--monitor-interval=0.5"),
        *(f"--shutdown-timeout={grace}", "--no-python", *work),
    ]


def own_file(place: Path, local_rank: int | str) -> Path:
    """Return the file that a process of this pod has where one that works alone has this one.

    That of its Report is there, and empty, as soon as it has begun.
    """
    return place.with_name(f"{place.stem}-{local_rank}{place.suffix}")


def together(reports: Sequence[Report | None], group: Group, *, begun: bool, asked: bool) -> Report | None:
    """Return what the processes of a pod come to, or None when one was ended before it could report.

    That another one is gone is what the others say of it: it does not hide the cause. Nor does it that they were told
    to stop when the pod was not `asked` to: torchrun tells them when one has ended.
    """
    effects = (Outcome.PEER_LOST,) if asked else (Outcome.PEER_LOST, Outcome.TERMINATED)
    own = [report for report in reports if report is not None and report.outcome not in effects]
    if own:
        return own[0]
    if not begun:
        return _not_met(group)
    return None if None in reports else reports[0]


def _not_met(group: Group) -> Report:
    message = (
        f"this pod did not meet the others of its training at {group.address}, port {group.port}, within"
        f" {MEETING_SECONDS // 60} minutes."
    )
    remedy = (
        "See that all pods of the Job can start at the same time (kubectl describe job), such as by a queue, and that"
        " no NetworkPolicy keeps them from each other."
    )
    return Report(outcome=Outcome.SERVICE_FAILED, problem=Problem.of("PeersMissing", message, remedy=remedy))
