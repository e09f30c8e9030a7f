"""What an Evaluation's reconcile looks at."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from stagecoach.api.approval import Approval
from stagecoach.api.evaluation import Evaluation
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.reviews import CanaryRows
from stagecoach.kinds.approval.neighbours import subject_key
from stagecoach.kinds.children import Child, child, ending, pods_of, unfinished
from stagecoach.kinds.evaluation.neighbours import elder, own_judged_key, project_key
from stagecoach.kinds.plan import Object, key_of
from stagecoach.kinds.view import View


@dataclass(frozen=True)
class Observed:
    """An Evaluation and all that its next step depends on."""

    evaluation: Evaluation
    project: TransformerProject | None
    unfinished: tuple[Object, ...]  # Jobs, of whatever attempt
    current: Child  # the current attempt's
    stopping: bool  # a pod of an attempt that has ended still runs
    ending: bool  # a pod whose program has ended goes on, because of what was injected beside it
    elder: str | None  # another Evaluation that asks for the same answers, and goes first
    approvals: tuple[Approval, ...] = ()  # decisions of people about it
    unread: tuple[str, ...] = ()  # those about its release that a later version of the operator would understand
    canary: CanaryRows | None = None  # in the log of the current attempt's pod; None: it was not read lately
    guarded: bool | None = None  # everybody decides in their own name alone; None: nobody asked lately


def observe(view: View, raw: Object, now: datetime) -> Observed:
    """Collect what is in memory. Raises ValidationError for an Evaluation that its model refuses."""
    evaluation = Evaluation.model_validate(raw)
    uid, attempt = evaluation.metadata.uid, evaluation.status.attempt
    pods = pods_of(view, uid)
    current = child(view, uid, attempt.job, pods) if attempt else Child()
    approvals, unread = approvals_of(view, raw)
    return Observed(
        evaluation=evaluation,
        project=_project(view, raw),
        unfinished=unfinished(view, uid, pods, now),
        current=current,
        stopping=any(pod.phase == "Running" and not pod.ended for pod in pods),
        ending=ending(pods),
        elder=elder(view, raw),
        approvals=approvals,
        unread=unread,
        canary=view.canary(current.pod.uid) if current.pod else None,
        guarded=view.guarded(evaluation.metadata.namespace),
    )


def approvals_of(view: View, raw: Object) -> tuple[tuple[Approval, ...], tuple[str, ...]]:
    """Return the decisions about an Evaluation, and the names of those of them that cannot be read.

    What is about another release counts for nothing, in whatever form it is. What rejects the release in another
    Evaluation does, where people saw the same rows of it: it may only be compared with something else by now.
    """
    release = raw["spec"].get("release", {}).get("digest")
    read: list[Approval] = []
    unread: list[str] = []
    about = [each for each in view.referrers(key_of(raw)) if each["kind"] == "Approval"]
    for each in (*about, *_rejections_elsewhere(view, raw)):
        try:
            found = view.read(key_of(each), Approval.model_validate)
        except ValidationError:
            if each["spec"].get("release", release) == release:
                unread.append(each["metadata"]["name"])
            continue
        read += [found] if found else []
    return tuple(read), tuple(sorted(unread))


def _rejections_elsewhere(view: View, raw: Object) -> list[Object]:
    """Return what rejects the release in another Evaluation of the gate, which shows the same rows, or is gone."""
    own = key_of(raw)
    others = [each for each in view.referrers(own_judged_key(raw)) if each["kind"] == "Approval"]
    found = [(each, view.get(subject_key(each))) for each in others if subject_key(each) != own]
    return [each for each, other in found if other is None or _shown(other) == _shown(raw)]


def _shown(raw: Object) -> str | None:
    """Return the data whose rows people look at; None: nobody is asked."""
    suite = raw["spec"].get("review", {}).get("suite")
    return next((each["digest"] for each in raw["spec"].get("suites", ()) if each["name"] == suite), None)


def _project(view: View, raw: Object) -> TransformerProject | None:
    try:
        return view.read(project_key(raw), TransformerProject.model_validate)
    except ValidationError:
        # The project's own status says what is wrong with it.
        return None
