"""What gateways and engines are told of what a run has made, and when nobody knows it any more."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.digests import digest_of_document
from stagecoach.contract.gateway_routes import Target
from stagecoach.kinds.finetunerun.inputs import decided
from stagecoach.kinds.releases import Unjudged, admitted
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.gates import ASKING, Hall, gate_word, succeeded
from tests.unit.kinds.test_engine import served
from tests.unit.kinds.world import SETTINGS

Object = builders.Object
LABELS = ["billing", "delivery", "returns"]


def project(**status: Any) -> Object:
    """Return the default project by vLLM, whose labels are those of its training data."""
    made = served()
    made["status"]["labels"] = {"count": len(LABELS), "digest": digest_of_document(LABELS), "first": LABELS} | status
    return made


def hall(run: Object | None = None, desk: Object | None = None) -> Hall:
    return Hall(run or succeeded(), desk or project())


def of(here: Hall) -> Any:
    run = FineTuneRun.model_validate(here.get("FineTuneRun", "first"))
    return admitted(run, TransformerProject.model_validate(here.get("TransformerProject", "desk")))


def test_it_is_told_in_full_and_is_the_release_that_is_judged() -> None:
    here = hall()
    run = here.get("FineTuneRun", "first")
    found = of(here)
    word = gate_word(here.cache, ASKING, "good", FineTuneRun.model_validate(run), SETTINGS)
    assert found.release == word.release
    inputs = run["status"]["inputs"]
    assert found.described.asked.digest == found.described.release.asked == inputs["asked"]
    assert found.described.asked.prompt.template == "Which queue? {text}"
    assert found.labels == tuple(LABELS)
    assert (found.base.model, found.base.tokenizer, found.base.uri) == (
        inputs["base"],
        inputs["tokenizer"],
        "pvc://models/small",
    )
    assert (found.artifact, found.storage, found.run) == ("Adapter", "pvc://store/desk", "first")


def test_a_gateway_can_be_told_of_it() -> None:
    found = of(hall())
    target = Target(described=found.described, labels=found.labels, model="m", engines=("http://engine:8000",))
    assert target.release == found.release


def test_labels_that_are_listed_are_in_the_order_of_the_list() -> None:
    listed = ["returns", "billing"]
    desk = project(count=2, digest=digest_of_document(listed), first=listed)
    desk["spec"]["problem"]["labels"] = {"values": listed}
    run = succeeded()
    del run["status"]["inputs"]["labels"], run["status"]["inputs"]["asked"]
    run["status"]["inputs"]["digest"] = digest_now(run, desk)
    assert of(hall(run, desk)).labels == tuple(listed)


def digest_now(run: Object, desk: Object) -> str:
    """Return the digest that a run's inputs have by what the project says."""
    parsed = FineTuneRun.model_validate(run)
    assert parsed.status.inputs
    return decided(parsed, TransformerProject.model_validate(desk), parsed.status.inputs).digest


def test_a_task_without_labels_has_none() -> None:
    desk = project()
    desk["spec"]["problem"] |= {"task": "Generation"}
    del desk["spec"]["problem"]["labels"], desk["status"]["labels"]
    run = succeeded()
    del run["status"]["inputs"]["labels"], run["status"]["inputs"]["asked"]
    run["status"]["inputs"]["digest"] = digest_now(run, desk)
    found = of(hall(run, desk))
    assert (found.labels, found.described.asked.labels) == (None, None)


def test_the_commit_of_a_base_of_a_hub_is_told() -> None:
    desk = project()
    desk["spec"]["candidates"][0]["model"] = {"uri": "hf://maker/small"}
    run = succeeded()
    run["status"]["inputs"]["baseRevision"] = "abc"
    assert of(hall(run, desk)).base.revision == "abc"


def test_a_whole_model_is_told_as_one() -> None:
    run = succeeded(method={"type": "Full"})
    run["status"]["artifact"]["type"] = "Model"
    assert of(hall(run)).artifact == "Model"


def other_template(spec: Object) -> None:
    spec["prompts"][0]["template"] = "Where? {text}"


def other_column(spec: Object) -> None:
    spec["data"]["sets"][0]["columns"] = {"label": "queue"}


@pytest.mark.parametrize(
    "change",
    [
        other_template,
        other_column,
        lambda spec: spec.update(prompts=[spec["prompts"][0] | {"version": 2}]),
        lambda spec: spec.update(tokenization={"maxLength": 9, "overflow": "Truncate"}),
        lambda spec: spec["candidates"][0].update(name="another"),
        lambda spec: spec["problem"].update(labels={"fromDataset": "valid"}),
        lambda spec: spec["problem"].update(labels={"values": LABELS}),
    ],
)
def test_what_the_project_no_longer_tells_is_not_guessed(change: Callable[[Object], None]) -> None:
    desk = project()
    change(desk["spec"])
    with pytest.raises(Unjudged) as why:
        of(hall(desk=desk))
    assert why.value.reason == "ProjectChanged"
    assert speaks(why.value.reason, why.value.message)


def test_data_that_the_labels_are_of_and_that_are_others_by_now_do_not_tell_them() -> None:
    desk = project()
    desk["status"]["datasets"][0]["digest"] = builders.digest("e")
    with pytest.raises(Unjudged, match="ProjectChanged"):
        of(hall(desk=desk))


def test_labels_of_which_the_status_holds_a_part_are_not_all() -> None:
    desk = project(count=4, digest=digest_of_document([*LABELS, "other"]))
    with pytest.raises(Unjudged) as why:
        of(hall(desk=desk))
    assert why.value.reason == "TooManyLabels"
    assert speaks(why.value.reason, why.value.message)


def test_what_transformers_has_judged_is_not_served() -> None:
    desk = project()
    del desk["spec"]["inference"]["engine"]
    with pytest.raises(Unjudged) as why:
        of(hall(desk=desk))
    assert why.value.reason == "EngineNotServed"
    assert speaks(why.value.reason, why.value.message)


@pytest.mark.parametrize("holds", ["False", "Unknown"])
def test_what_vllm_is_not_known_to_serve_is_not_served(holds: str) -> None:
    run = succeeded()
    [told] = [item for item in run["status"]["conditions"] if item["type"] == "Servable"]
    told |= {"status": holds, "reason": "NeedsMerging"}
    with pytest.raises(Unjudged, match="NeedsMerging") as why:
        of(hall(run))
    assert why.value.message.endswith("Create another run, of what vLLM serves.")


def test_an_artifact_of_a_kind_that_a_later_version_makes_is_not_served() -> None:
    run = copy.deepcopy(succeeded())
    run["status"]["artifact"]["type"] = "Merged"
    with pytest.raises(Unjudged) as why:
        of(hall(run))
    assert (why.value.reason, speaks(why.value.reason, why.value.message)) == ("ArtifactUnknown", True)
