"""What a gate judges of a base itself: which release that is, what its Evaluation says, and what its Job is told."""

from collections.abc import Callable
from typing import Any

import pytest

from stagecoach.api.evaluation import Evaluation
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.digests import digest_of_document
from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.inputs import LabelsInput
from stagecoach.contract.releases import Asked
from stagecoach.kinds.evaluation import document
from stagecoach.kinds.plan import Object
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds import test_gate_deployments as deployments
from tests.unit.kinds.gates import Hall, succeeded
from tests.unit.kinds.test_engine import served

LABELS = ["billing", "delivery"]


def known(project: Object | None = None) -> Object:
    """Return the project with the digest of its labels."""
    project = project or served()
    project["status"]["labels"]["digest"] = digest_of_document(project["status"]["labels"]["first"])
    return project


def hall(*objects: Object, project: Object | None = None, **gate: Any) -> Hall:
    asking = deployments.deployment(candidate="small")
    here = Hall(*(objects or (asking,)), **gate)
    here.put(known(project))
    here.look()
    return here


def judged(*objects: Object, project: Object | None = None, **gate: Any) -> Object:
    [made] = hall(*objects, project=project, **gate).evaluations
    return made


def test_its_evaluation_says_which_base_and_by_which_prompt() -> None:
    spec = judged()["spec"]
    assert {"run", "runInputs", "trainedOn", "baseline"}.isdisjoint(spec)
    assert "artifact" not in spec["release"]
    assert spec["release"]["prompt"] == {"name": "route", "version": 1}
    assert spec["base"] == {"candidate": "small", "model": builders.digest("5"), "tokenizer": builders.digest("6")}
    assert spec["storage"] == "pvc://store/desk"
    labels = judged()["metadata"]["labels"]
    assert labels["stagecoach.dev/base"] == "small"
    assert "stagecoach.dev/run" not in labels


def test_nobody_judges_a_base_that_no_deployment_asks_about() -> None:
    here = hall(succeeded())
    assert [each["spec"].get("run") for each in here.evaluations] == ["first"]
    here = hall(succeeded(), deployments.deployment(run="first"))
    assert [each["spec"].get("run") for each in here.evaluations] == ["first"]


def test_who_asks_about_it_by_what_is_served_or_wanted() -> None:
    served: Object = {"status": {"serving": {"base": "small", "release": builders.digest("a")}}}
    assert judged(deployments.deployment() | served)["spec"]["base"]["candidate"] == "small"
    about: Object = {"status": {"candidate": {"base": "small"}}}
    assert "run" not in judged(deployments.deployment() | about)["spec"]
    follows = deployments.deployment("b", follow={"deployment": "desk", "soak": "1h"})
    follows["spec"]["gates"] = [{"name": "good"}]
    leads = deployments.deployment(gates=("other",)) | served
    assert "run" not in judged(follows, leads)["spec"]


def test_it_is_found_by_its_release_once_it_was_judged() -> None:
    here = hall()
    [made] = here.evaluations
    here.decide(made["metadata"]["name"])
    here.put(deployments.deployment(release=made["spec"]["release"]["digest"]))
    here.change("EvalGate", "good", minScored=0.5)
    here.look()
    assert [each["spec"]["minScored"] for each in here.evaluations] == [0.99, 0.5]


def test_several_that_ask_get_one_evaluation() -> None:
    other = deployments.deployment("b", candidate="small")
    assert "run" not in judged(deployments.deployment(candidate="small"), other)["spec"]


def test_the_gate_tells_of_it_by_its_base() -> None:
    here = hall(succeeded(), deployments.deployment(candidate="small"))
    assert here.status["judging"] == [{"base": "small", "evaluation": here.evaluations[0]["metadata"]["name"]}]
    assert here.status["waiting"] == [{"run": "first"}]
    assert here.events[0][1].endswith(" judges base small.")
    here.decide(here.evaluations[0]["metadata"]["name"])
    here.look()
    assert here.status["latest"]["base"] == "small"
    assert "run" not in here.status["latest"]


def gone(project: Object) -> None:
    project["spec"]["candidates"][0]["name"] = project["status"]["candidates"][0]["name"] = "other"


def many_labels(project: Object) -> None:
    project["status"]["labels"] |= {"count": 300, "digest": builders.digest("4")}


def no_prompt(project: Object) -> None:
    project["spec"]["prompts"][0]["name"] = "another"


def no_labels(project: Object) -> None:
    project["status"].pop("labels")


def by_transformers(project: Object) -> None:
    project["spec"]["inference"]["engine"] = "Transformers"


def made_by_a_run(project: Object) -> None:
    project["spec"]["candidates"][0]["model"]["uri"] = f"pvc://store/desk/artifacts/sha256/{'a' * 64}"


def odd(project: Object) -> None:
    project["status"]["candidates"][0]["architecture"] = "OddForCausalLM"


AGAINST = {"name": "worth-it", "suite": "held-out", "metric": "f1_macro", "against": "Baseline"}
REFUSED: list[tuple[str, Callable[[Object], None], dict[str, Any]]] = [
    ("CandidateUnknown", gone, {}),
    ("TooManyLabels", many_labels, {}),
    ("ProjectChanged", no_prompt, {}),
    ("ProjectChanged", no_labels, {}),
    ("ArchitectureNotServed", odd, {}),
    ("EngineNotServed", by_transformers, {}),
    ("MadeByARun", made_by_a_run, {}),
    ("IsBaseline", lambda _: None, {"criteria": [AGAINST | {"minGain": {"absolute": 0.01}}]}),
    ("IsBaseline", lambda _: None, {"criteria": [AGAINST | {"allowedDrop": {"absolute": 0.9}}]}),
]


@pytest.mark.parametrize(
    ("reason", "change", "gate"), REFUSED, ids=[f"{n}-{each[0]}" for n, each in enumerate(REFUSED)]
)
def test_what_cannot_be_judged_is_not(reason: str, change: Callable[[Object], None], gate: dict[str, Any]) -> None:
    project = known()
    change(project)
    here = Hall(deployments.deployment(candidate="small"), **gate)
    here.put(project)
    here.look()
    assert not here.evaluations
    [told] = here.status["unjudged"]
    assert (told["base"], "run" in told, told["reason"]) == ("small", False, reason)
    assert speaks(reason, told["message"])
    assert "this run" not in told["message"]
    assert (reason, f"Base small cannot be judged: {told['message']}") in here.events


def told(made: Object, project: Object) -> EvaluateJob:
    return document.job(Evaluation.model_validate(made), TransformerProject.model_validate(project), 1)


def test_its_job_is_told_all_that_a_record_would_say() -> None:
    made = judged()
    job = told(made, known())
    assert job.untuned is not None
    assert (job.run, job.run_inputs, job.release.artifact, job.baseline) == (None, None, None, None)
    assert (job.untuned.architecture, job.untuned.context) == ("LlamaForCausalLM", 2048)
    assert job.untuned.asked.labels == LabelsInput(values=tuple(LABELS)), "listed, though they are from a data set"
    assert job.untuned.asked.digest == job.release.asked
    assert job.inputs.trained_on == ()
    assert job.inputs.digest == made["spec"]["key"]
    assert job.name == "the base small"
    assert EvaluateJob.model_validate_json(job.line()) == job


def test_labels_that_are_given_are_those_of_the_baseline() -> None:
    """So that its answers are asked once: the release is the same."""
    project = served()
    project["spec"]["problem"]["labels"] = {"values": LABELS}
    project["status"]["labels"]["digest"] = digest_of_document(LABELS)
    alone = judged(project=project)
    here = Hall(succeeded(), criteria=[AGAINST | {"minGain": {"absolute": 0.01}}])
    here.put(project)
    run = here.get("FineTuneRun", "first")
    run["status"]["inputs"].pop("labels", None)
    here.put(run)
    here.look()
    [beside] = here.evaluations
    assert beside["spec"]["baseline"]["digest"] == alone["spec"]["release"]["digest"]


def other_files(project: Object) -> None:
    project["status"]["candidates"][0]["model"] = builders.digest("d")


def other_tokenizer(project: Object) -> None:
    project["status"]["candidates"][0]["tokenizer"] = builders.digest("d")


def other_labels(project: Object) -> None:
    project["status"]["labels"]["first"] = ["billing", "returns"]
    known(project)


def shorter(project: Object) -> None:
    project["spec"]["tokenization"]["maxLength"] = 32


@pytest.mark.parametrize("change", [gone, other_files, other_tokenizer, other_labels, many_labels, no_prompt, shorter])
def test_a_project_that_says_otherwise_by_then_ends_it(change: Callable[[Object], None]) -> None:
    made, project = judged(), known()
    change(project)
    with pytest.raises(document.Changed):
        told(made, project)


def other_prompt(project: Object) -> None:
    project["spec"]["prompts"].append({"name": "route", "version": 2, "template": "Queue of: {text}"})
    project["spec"]["inference"]["prompt"] = {"name": "route", "version": 2}


@pytest.mark.parametrize("change", [other_files, other_tokenizer, other_labels, other_prompt, shorter])
def test_what_the_project_says_otherwise_is_another_release(change: Callable[[Object], None]) -> None:
    project = known()
    change(project)
    assert judged(project=project)["spec"]["release"]["digest"] != judged()["spec"]["release"]["digest"]


def test_which_columns_labels_are_from_decides_nothing_beyond_the_labels() -> None:
    """A data set has many columns, and its digest does not say which of them is meant: the labels do."""
    project = known()
    project["spec"]["data"]["sets"][0]["columns"] = {"text": "text", "label": "queue"}
    project["status"]["labels"]["first"] = ["a", "b"]
    known(project)
    one = judged(project=project)["spec"]["release"]
    assert one["asked"] != judged()["spec"]["release"]["asked"]
    project["status"]["labels"]["first"] = LABELS
    assert judged(project=known(project))["spec"]["release"] == judged()["spec"]["release"]


def test_a_task_without_labels_has_none() -> None:
    project = served()
    project["spec"]["problem"] |= {"task": "Generation"}
    project["spec"]["problem"].pop("labels")
    project["status"].pop("labels")
    criteria = [{"name": "good", "suite": "held-out", "metric": "rouge1", "min": 0.1}]
    here = Hall(deployments.deployment(candidate="small"), criteria=criteria)
    here.put(project)
    here.look()
    [made] = here.evaluations
    job = told(made, project)
    assert job.untuned is not None
    assert job.untuned.asked.labels is None
    assert isinstance(job.untuned.asked, Asked)
