"""What of a gate does not go with its project: nothing is judged, and the message says what would go."""

from stagecoach.api.candidates import InferenceEngine
from stagecoach.api.data import Split
from stagecoach.api.evalgate import Against, EvalGate, Suite, SuiteType
from stagecoach.api.problem import Architecture
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract import readings
from stagecoach.contract.inputs import Family, OfTask
from stagecoach.contract.readings import Reads
from stagecoach.kinds import contracts
from stagecoach.kinds.controller import Settings
from stagecoach.policies import criteria

SPLITS = {
    SuiteType.HELD_OUT: Split.TEST,
    SuiteType.ADVERSARIAL: Split.ADVERSARIAL,
    SuiteType.CANARY: Split.CANARY,
}
CANARY_ROWS = range(10, 21)


def fault(gate: EvalGate, project: TransformerProject, settings: Settings) -> tuple[str, str] | None:
    """Return reason and message of the first thing that does not go, if any."""
    if project.spec.inference.engine is InferenceEngine.VLLM and (found := _of_engine(gate, project, settings)):
        return found
    suites = (_of_suite(suite, project) for suite in gate.spec.suites)
    labels = project.status.labels
    task = project.spec.problem.task.value
    known = criteria.Labels.of(task, labels.first, labels.count) if labels else None
    tasks = {suite.name: suite.task for suite in gate.spec.suites}
    measured = (
        criteria.misfit(criterion, task, known)
        if tasks.get(criterion.suite) is None
        else criteria.misfit_of_harness(criterion)
        for criterion in gate.spec.criteria
    )
    return next((found for found in (*suites, *measured) if found), None)


def _of_engine(gate: EvalGate, project: TransformerProject, settings: Settings) -> tuple[str, str] | None:
    field = f"spec.inference.engine of TransformerProject {project.metadata.name!r} is vLLM"
    problem = project.spec.problem
    of = OfTask(task=problem.task.value, architecture=contracts.architecture(project.spec))
    if of.family is not Family.DECODER and readings.reads(of) is None:
        return "EngineUnsuited", (
            f"{field}, by which decoders are judged, and encoders that choose a label for a text or make a vector of"
            f" it; its spec.problem.task is {problem.task}, and its spec.problem.architecture {problem.architecture}."
            " Set the engine to Transformers."
        )
    gpus = gate.spec.resources.gpus
    if not (needed := settings.engine(gpus)).image:
        return "EngineMissing", (
            f"{field}, spec.resources.gpus is {gpus}, and the operator was installed without an image of vLLM for that."
            f" Whoever installed the operator sets {needed.value} in the chart; or set the engine to Transformers."
        )
    return _of_baseline(gate, project, field) if readings.reads(of) is Reads.VECTORS else None


def _of_baseline(gate: EvalGate, project: TransformerProject, field: str) -> tuple[str, str] | None:
    """Return why bases cannot be asked for vectors: else the evaluator alone would say so, once all is trained."""
    compared = next((each.name for each in gate.spec.criteria if each.against is Against.BASELINE), None)
    unfound = next((each for each in project.status.candidates if not readings.makes_vectors(each.architecture)), None)
    if compared is None or unfound is None:
        return None
    return "EngineUnsuited", (
        f"spec.criteria[{compared}].against is Baseline, {field}, and its candidate {unfound.name!r} is a base that is"
        f" stored as {unfound.architecture}, by which that engine makes no vectors, only by what was trained from it."
        " Leave out the criteria against Baseline, select a base that is stored as a plain encoder, or set the engine"
        " to Transformers."
    )


def _of_suite(suite: Suite, project: TransformerProject) -> tuple[str, str] | None:
    field = f"spec.suites[{suite.name}].dataset"
    dataset = next((item for item in project.spec.data.sets if item.name == suite.dataset), None)
    resolved = next((item for item in project.status.datasets if item.name == suite.dataset), None)
    if dataset is None or resolved is None:
        names = ", ".join(sorted(item.name for item in project.spec.data.sets))
        return "UnknownDataset", (
            f"{field}: the project has no data set {suite.dataset!r}; it has {names}. Choose one of them, or add it"
            " to the project."
        )
    split, what = (
        (SPLITS[suite.type], f"of type {suite.type}") if suite.task is None else (Split.BENCHMARK, "with a task")
    )
    if dataset.split is not split:
        return "WrongSplit", (
            f"{field}: {suite.dataset!r} has split {dataset.split}, and a suite {what} takes a data set of split"
            f" {split}, from which no run may learn. Choose another data set, or another type or task."
        )
    if suite.task is not None and project.spec.problem.architecture is not Architecture.DECODER:
        return "TaskUnsuited", (
            f"spec.suites[{suite.name}].task: {suite.task} is asked of models that write on, of architecture Decoder,"
            f" and the project's are of {project.spec.problem.architecture}. Correct the gate: leave out this suite."
        )
    if suite.task is not None and project.spec.inference.engine is InferenceEngine.VLLM:
        return "TaskUnsuited", (
            f"spec.suites[{suite.name}].task: {suite.task} is asked by the engine Transformers alone, and"
            f" spec.inference.engine of TransformerProject {project.metadata.name!r} is vLLM. Leave out this suite,"
            " or set the engine to Transformers."
        )
    if suite.type is SuiteType.CANARY and resolved.examples not in CANARY_ROWS:
        return "CanarySize", (
            f"{field}: {suite.dataset!r} has {resolved.examples} rows, and a canary has {CANARY_ROWS.start} to"
            f" {CANARY_ROWS.stop - 1}, which people read one by one. Choose so many rows, or make it a suite of type"
            " HeldOut with a data set of split Test."
        )
    return None
