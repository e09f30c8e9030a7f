"""Imports of adapters as PEFT itself saves them, of which no trainer of ours has seen anything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stagecoach.contract.inputs import Family
from stagecoach.contract.layout import artifact_folder

from . import test_encoder_decoders, test_encoders
from .conftest import Project
from .elsewhere import pinned
from .test_imports_encoders import LABELS

torch = pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")


class Kind(NamedTuple):
    """What an adapter is for: the base that is put in place of the decoder, and the class that its maker loads."""

    base: Callable[[Project], Project]
    auto: str
    architecture: Family | None = None
    labels: tuple[str, ...] | None = None


KINDS = {
    "CAUSAL_LM": Kind(lambda project: project, "AutoModelForCausalLM"),
    # With a pooler: PEFT saves the head, and nothing else that a base may lack.
    "SEQ_CLS": Kind(
        lambda project: test_encoders.with_base(project, "BertModel"),
        "AutoModelForSequenceClassification",
        Family.ENCODER,
        LABELS,
    ),
    "SEQ_2_SEQ_LM": Kind(
        lambda project: test_encoder_decoders.with_base(project, "T5ForConditionalGeneration"),
        "AutoModelForSeq2SeqLM",
        Family.ENCODER_DECODER,
    ),
}


@pytest.mark.parametrize(
    ("task", "config", "settings", "method"),
    [
        ("CAUSAL_LM", "LoraConfig", {"r": 4, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"]}, "LoRA"),
        ("CAUSAL_LM", "LoraConfig", {"use_rslora": True, "target_modules": "all-linear"}, "RsLoRA"),
        ("CAUSAL_LM", "IA3Config", {}, "IA3"),
        ("CAUSAL_LM", "PromptTuningConfig", {"num_virtual_tokens": 4}, "PromptTuning"),
        ("SEQ_CLS", "LoraConfig", {"target_modules": ["query", "value"]}, "LoRA"),
        ("SEQ_2_SEQ_LM", "LoraConfig", {}, "LoRA"),
    ],
)
def test_what_peft_saved_computes_the_same_once_it_is_imported(
    real: Project, task: str, config: str, settings: dict[str, Any], method: str
) -> None:
    import peft

    kind = KINDS[task]
    project = kind.base(real)
    made = peft.get_peft_model(loaded(project, kind), getattr(peft, config)(task_type=task, **settings))
    moved(made).save_pretrained(project.root / "pvc" / "made" / "it")
    report = pinned(project, like=project.train_job(architecture=kind.architecture), labels=kind.labels)
    assert report.method == method
    published = project.storage.path(artifact_folder(report.digest))
    again = peft.PeftModel.from_pretrained(loaded(project, kind), published)
    base, expected, found = (logits(model, kind) for model in (loaded(project, kind), made, again))
    assert torch.equal(found, expected)
    assert not torch.allclose(base, expected[:, -base.shape[1] :], atol=1e-2)


def loaded(project: Project, kind: Kind) -> Any:
    """Return the base as the maker of an adapter loads it; what it lacks is drawn otherwise each time."""
    import transformers

    folder: Path = project.root / "pvc" / "models" / "tiny"
    head = {"num_labels": len(kind.labels)} if kind.labels else {}
    return getattr(transformers, kind.auto).from_pretrained(folder, dtype=torch.float32, **head)


def moved(model: Any) -> Any:
    """Return the model, all of it a little otherwise that a training may change."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def logits(model: Any, kind: Kind) -> Any:
    """Return what a model makes of a few tokens."""
    ids = torch.tensor([[40, 41, 42, 2]])
    more = {"labels": ids} if kind.architecture is Family.ENCODER_DECODER else {}
    with torch.no_grad():
        return model.eval()(input_ids=ids, **more).logits
