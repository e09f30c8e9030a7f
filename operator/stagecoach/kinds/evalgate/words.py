"""What an artifact was trained on, by everybody who says so: a better word of one must not hide what another knows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from stagecoach.api.evaluation import EvaluationSpec, TrainingData
from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.methods import MethodType
from stagecoach.api.run_status import InputDataset, Phase
from stagecoach.kinds.plan import Object


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


def of(
    artifacts: Iterable[str], related: Sequence[Object], read: Callable[[Object], FineTuneRun | None]
) -> Mapping[str, Sequence[Word]]:
    """Return what is said of artifacts, the newest word first: by all runs that have them, and by past Evaluations.

    An Evaluation that knows nothing is what a run said, which somebody may have corrected by another run.
    """
    found: dict[str, list[Word]] = {digest: [] for digest in artifacts}
    of_them = [(digest, raw) for raw in related if (digest := _artifact(raw)) in found]
    for digest, raw in sorted(of_them, key=lambda item: _order(item[1]), reverse=True):
        found[digest] += [_of_run(read(raw))] if raw["kind"] == "FineTuneRun" else _of_evaluation(raw)
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
