"""An attempt of several pods: which of them speaks for all."""

from collections.abc import Iterable
from enum import IntEnum

from stagecoach.contract.reports import Outcome
from stagecoach.policies.pods import PodState


class Voice(IntEnum):
    """What a pod has to say; the lowest speaks for all. A cause comes before its effects, an end before what goes on.

    Kubernetes ends all pods once one has failed, and the trainer ends all processes once one has ended: most pods tell
    of an end that began elsewhere.
    """

    DONE = 0  # the pod of index 0: it alone publishes
    CAUSE = 1  # it says, or the kubelet does, what went wrong
    SILENT = 2  # it ended by itself and without a word
    SAVED = 3  # it was asked to stop, and all saved a checkpoint
    STOPPED = 4  # it was asked to stop, or its node took it away
    LEAVING = 5  # it is being taken away
    WAITING = 6  # it does not run yet
    RUNNING = 7
    LEFT = 8  # it only knows that another one is gone: as long as others go on, one of them may say more
    FINISHED = 9  # its part of the work is done


# Reasons of a pod that are the kubelet's word about what it did wrong, not about its node.
FAULTS = {"DeadlineExceeded"}
OF_ITS_END = {Outcome.PREEMPTED: Voice.SAVED, Outcome.TERMINATED: Voice.STOPPED, Outcome.PEER_LOST: Voice.LEFT}


def voice(pod: PodState) -> Voice:
    """Return what a pod of several has to say."""
    if not pod.ended:
        return _of_a_living(pod)
    if pod.report is not None and pod.report.outcome is Outcome.DONE:
        return Voice.FINISHED if pod.index else Voice.DONE
    if pod.reason in FAULTS or pod.end_reason == "OOMKilled":
        return Voice.CAUSE
    if pod.report is not None:
        left_by_its_node = pod.report.outcome is Outcome.PEER_LOST and pod.taken_away
        return Voice.STOPPED if left_by_its_node else OF_ITS_END.get(pod.report.outcome, Voice.CAUSE)
    if pod.index and pod.exit_code == 0:
        return Voice.FINISHED
    return Voice.STOPPED if pod.taken_away else Voice.SILENT


def _of_a_living(pod: PodState) -> Voice:
    if pod.leaves:
        return Voice.LEAVING
    return Voice.RUNNING if pod.phase == "Running" else Voice.WAITING


def speaker(pods: Iterable[PodState], nodes: int, *, started: bool) -> PodState | None:
    """Return the pod that speaks for an attempt of so many pods, None while there are too few of them.

    Of those with the same to say it is the one that was told to go first, or that ended first. `started`: all were
    there once, and what is left of them has to speak.
    """
    newest: dict[int, PodState] = {}
    for pod in sorted(pods, key=lambda pod: pod.created):
        newest[pod.index or 0] = pod
    found = sorted(
        newest.values(), key=lambda pod: (voice(pod), pod.leaves or "~", pod.finished or "~", pod.index or 0)
    )
    if not found or (len(found) < nodes and not started and voice(found[0]) > Voice.LEAVING):
        return None
    # Without the pod of index 0 nobody tells what was published; the next attempt finds it.
    return None if voice(found[0]) is Voice.FINISHED else found[0]
