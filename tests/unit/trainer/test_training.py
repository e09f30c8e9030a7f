"""What a real run reports and refuses. Needs the trainer's libraries: runs inside its image."""

import json
from typing import Any

import pytest

from stagecoach.contract.inputs import FullMethod
from stagecoach.contract.jobs import Split
from stagecoach.contract.reports import BadInput

from .conftest import EXAMPLES, Project, record_of, train
from .weights import thin_out

pytestmark = pytest.mark.filterwarnings("ignore")


def test_steps_may_be_given_instead_of_epochs(real: Project) -> None:
    job = real.train_job(settings={"epochs": None, "max_steps": 6, "gradient_accumulation_steps": 2})
    train(job)
    training = record_of(real, job).training
    assert (training.steps, training.effective_batch_size) == (6, 8)
    assert [point.step for point in training.evaluations] == [2, 4, 6]


def test_without_a_validation_set(real: Project) -> None:
    job = real.train_job(settings={"epochs": 1})
    job = job.model_copy(update={"validation": (), "inputs": job.inputs.model_copy(update={"validation": ()})})
    assert train(job).eval_loss is None


def test_a_loss_that_is_not_a_number_ends_the_run(real: Project) -> None:
    from stagecoach_trainer.failures import WorkFailed

    with pytest.raises(WorkFailed) as caught:
        train(real.train_job(settings={"learning_rate": 1e30, "max_grad_norm": 0.0}))
    assert caught.value.problem.reason == "LossNotFinite"
    assert "learningRate" in caught.value.problem.remedy
    assert real.storage.folders("artifacts") == []


def test_a_step_that_makes_weights_that_are_no_numbers_ends_the_run(
    real: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from stagecoach_trainer import loop
    from stagecoach_trainer.failures import WorkFailed

    inner = loop._Metered.training_step

    def step(trainer: Any, model: Any, *arguments: Any, **options: Any) -> Any:
        loss = inner(trainer, model, *arguments, **options)
        if trainer.state.global_step == trainer.state.max_steps - 1:
            next(each for each in model.parameters() if each.requires_grad).grad.fill_(torch.inf)
        return loss

    monkeypatch.setattr(loop._Metered, "training_step", step)
    job = real.train_job(settings={"epochs": None, "max_steps": 2})
    job = job.model_copy(update={"validation": (), "inputs": job.inputs.model_copy(update={"validation": ()})})
    with pytest.raises(WorkFailed, match=r"after step 2, base_model\.model\..* holds numbers that are") as caught:
        train(job)
    assert caught.value.problem.reason == "LossNotFinite"
    assert real.storage.folders("artifacts") == []


def test_a_validation_loss_that_is_not_a_number_ends_the_run_at_once(
    real: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from stagecoach_trainer import loop
    from stagecoach_trainer.failures import WorkFailed

    nothing = (torch.tensor(torch.nan), None, None)
    monkeypatch.setattr(loop._Writing, "prediction_step", lambda *_, **__: nothing)
    with pytest.raises(WorkFailed, match="validation data is not a finite number after step 4") as caught:
        train(real.train_job(settings={"epochs": 3}))
    assert caught.value.problem.reason == "LossNotFinite"


@pytest.mark.parametrize("method", [{}, FullMethod()], ids=["LoRA", "Full"])
def test_a_base_that_lacks_weights(real: Project, method: Any) -> None:
    thin_out(real.root / "pvc" / "models" / "tiny", "model.layers.1.", "lm_head.")
    with pytest.raises(BadInput) as caught:
        train(real.train_job(method=method))
    problem = caught.value.problem
    assert (problem.reason, problem.field) == ("BaseUnusable", "candidates[tiny].model.uri")
    assert problem.value == "pvc://models/tiny"
    assert "10 are missing, such as lm_head.weight" in problem.message
    assert problem.remedy.startswith("Put the whole checkpoint there again")


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (("query",), "no module of this name"),
        (("q_proj", "lm_head"), "lm_head is not a linear layer that can be adapted"),
        (("embed_tokens",), "not a linear layer"),
        (("mlp",), "not a linear layer"),
    ],
)
def test_unknown_target_modules(real: Project, targets: tuple[str, ...], words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        train(real.train_job(method={"target_modules": targets}))
    assert caught.value.problem.reason == "UnknownTargetModule"
    assert "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj" in caught.value.problem.remedy


def test_named_target_modules(real: Project) -> None:
    job = real.train_job(method={"target_modules": ("q_proj", "v_proj")}, settings={"epochs": 1})
    train(job)
    training = record_of(real, job).training
    assert training.target_modules == ("q_proj", "v_proj")
    assert training.adapted_layers == 4


def test_an_architecture_that_transformers_does_not_know(real: Project) -> None:
    config = real.root / "pvc" / "models" / "tiny" / "config.json"
    config.write_text(config.read_text().replace('"model_type": "llama"', '"model_type": "nonesuch"'))
    with pytest.raises(BadInput) as caught:
        train(real.train_job())
    assert caught.value.problem.reason == "BaseUnusable"


@pytest.mark.parametrize("method", [{}, FullMethod()], ids=["LoRA", "Full"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": "32"}, "expected int, got str"),
        ({"num_attention_heads": 0}, "zero"),
        ({"id2label": 5}, "'int' object"),
    ],
)
def test_a_base_whose_settings_have_wrong_values(real: Project, method: Any, changes: Any, words: str) -> None:
    config = real.root / "pvc" / "models" / "tiny" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    with pytest.raises(BadInput, match=words) as caught:
        train(real.train_job(method=method))
    assert caught.value.problem.reason == "BaseUnusable"
    assert str(config) in caught.value.problem.message


@pytest.mark.parametrize("what", ["train.csv", "valid.csv"])
def test_data_that_changed_ends_the_run(real: Project, what: str) -> None:
    job = real.train_job()
    real.write(what, EXAMPLES[:3])
    with pytest.raises(BadInput) as caught:
        train(job)
    assert caught.value.problem.reason == "InputChanged"


def test_the_test_split_is_never_trained_on(real: Project) -> None:
    job = real.train_job()
    with pytest.raises(BadInput) as caught:
        train(job.model_copy(update={"train": (job.train[0].model_copy(update={"split": Split.TEST}),)}))
    assert caught.value.problem.reason == "TestSplitUsed"


def test_another_trainer_revision_is_refused(real: Project) -> None:
    job = real.train_job()
    with pytest.raises(BadInput) as caught:
        train(job.model_copy(update={"inputs": job.inputs.model_copy(update={"revision": 99})}))
    assert caught.value.problem.reason == "RevisionDiffers"
