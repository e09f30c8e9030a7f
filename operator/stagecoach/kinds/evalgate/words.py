"""What an artifact was trained on, by everybody who says so: a better word of one must not hide what another knows.

Who says so is found by the artifact: a project has thousands of runs and Evaluations, of which few are about it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from stagecoach.api.evaluation import EvaluationSpec, TrainingData
from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.methods import MethodType
from stagecoach.api.run_status import InputDataset, Phase
from stagecoach.kinds.plan import Key, Object
from stagecoach.kinds.view import View


class Contradiction(Exception):
    """Two contents of one data set are named; the text says which."""


@dataclass(frozen=True)
class Word:
    """What a run, or an Evaluation, says of an artifact."""

    data: tuple[TrainingData, ...] | None  # None: it says nothing
    run: FineTuneRun | None = None  # None: it is an Evaluation, or a run that cannot be read


def has_trained(run: FineTuneRun) -> bool:
    """Whether a run knows what its artifact was trained on, and does not only say so."""
    return run.spec.method.type is not MethodType.IMPORT


def artifact_keys(raw: Object) -> tuple[Key, ...]:
    """Return the artifact that a run of a project has made, or that an Evaluation is about, if there is one."""
    digest = _artifact(raw)
    return (_key(raw["metadata"]["namespace"], raw["spec"].get("project", ""), digest),) if digest else ()


def of(
    view: View, project: Key, artifacts: Iterable[str], read: Callable[[Object], FineTuneRun | None]
) -> Mapping[str, Sequence[Word]]:
    """Return what is said of artifacts, the newest word first: by all runs that have them, and by past Evaluations.

    An Evaluation that knows nothing is what a run said, which somebody may have corrected by another run.
    """
    found: dict[str, list[Word]] = {}
    for digest in artifacts:
        about = view.referrers(_key(project.namespace, project.name, digest))
        said = (
            [_of_run(read(raw))] if raw["kind"] == "FineTuneRun" else _of_evaluation(raw)
            for raw in sorted(about, key=_order, reverse=True)
        )
        found[digest] = [word for words in said for word in words]
    return found


def trained_on(words: Sequence[Word], judged: FineTuneRun) -> list[TrainingData] | None:
    """Return all that is said together, None when it is not known. Raises Contradiction.

    Where one says it and another does not, it is known only if the run that is judged has trained the artifact.
    """
    if not has_trained(judged) and any(word.data is None for word in words):
        return None
    known: dict[str, TrainingData] = {}
    for item in (item for word in words for item in word.data or ()):
        if known.setdefault(item.name, item).digest != item.digest:
            raise Contradiction(f"the contents {known[item.name].digest} and {item.digest} of data set {item.name!r}")
    return [known[name] for name in sorted(known)] or None


def _order(raw: Object) -> tuple[str, str]:
    return raw["metadata"]["creationTimestamp"], raw["metadata"]["uid"]


def _key(namespace: str, project: str, digest: str) -> Key:
    return Key("Artifact", namespace, f"{digest} in {project}")


def _artifact(raw: Object) -> str:
    """Return what a run has made, or an Evaluation is about."""
    if raw["kind"] == "Evaluation":
        return str(raw["spec"].get("release", {}).get("artifact", ""))
    status = raw.get("status", {})
    succeeded = raw["kind"] == "FineTuneRun" and status.get("phase") == Phase.SUCCEEDED.value
    return str(status.get("artifact", {}).get("digest", "")) if succeeded else ""


def _of_run(run: FineTuneRun | None) -> Word:
    if run is None or run.status.inputs is None:
        return Word(None)
    inputs = run.status.inputs
    given = [*inputs.train, *inputs.validation] if has_trained(run) else inputs.trained_on
    return Word(tuple(map(_data, given)) if given else None, run)


def _data(item: InputDataset) -> TrainingData:
    return TrainingData(name=item.name, digest=item.digest, revision=item.revision)


def _of_evaluation(raw: Object) -> list[Word]:
    try:
        known = EvaluationSpec.model_validate(raw["spec"]).trained_on
    except ValidationError:
        return [Word(None)]
    return [Word(tuple(known))] if known else []
