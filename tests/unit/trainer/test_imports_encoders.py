"""Imports of what was made of encoders, and of encoder-decoders."""

from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import AnyColumns, Family, FullMethod
from stagecoach_trainer import compare
from tests.unit.contract.documents import METHOD

from . import test_encoder_decoders, test_encoders, test_taggers
from .conftest import Project
from .elsewhere import change, digest_there, import_job, imported_again, problem_of, refusal
from .test_compare import comparing

pytestmark = pytest.mark.filterwarnings("ignore")

LABELS = ("card_lost", "parcel_late")


ENCODERS = [("BertForMaskedLM", METHOD), ("BertForMaskedLM", FullMethod()), ("DistilBertForMaskedLM", METHOD)]


@pytest.mark.parametrize(("architecture", "method"), ENCODERS, ids=["lora", "full", "distil"])
def test_what_was_made_of_an_encoder_is_the_same_artifact(project: Project, architecture: str, method: Any) -> None:
    real = test_encoders.with_base(project, architecture)
    job = imported_again(real, method, Family.ENCODER)
    assert compare.main(comparing(real, inputs=job.inputs.digest, data="pvc://data/valid.csv", limit=2)) == 0


@pytest.mark.parametrize(
    ("columns", "method"), [(test_taggers.WORDS, METHOD), (test_taggers.SPANS, FullMethod())], ids=["lora", "full"]
)
def test_what_was_made_of_a_tagger_is_the_same_artifact(project: Project, columns: AnyColumns, method: Any) -> None:
    tagger = test_taggers.tagging(columns)(test_encoders.with_base(project, "BertForMaskedLM"))
    imported_again(tagger, method, Family.ENCODER)


def test_a_head_for_texts_is_none_for_tokens(project: Project) -> None:
    real = test_encoders.with_base(project, "BertForMaskedLM")
    imported_again(real, METHOD, Family.ENCODER)
    tagger = test_taggers.tagging(test_taggers.WORDS)(real)
    given = tagger.train_job(architecture=Family.ENCODER)
    refusal(tagger, "ImportUnusable", "has task_type", like=given, labels=test_taggers.labels(test_taggers.WORDS))


@pytest.mark.parametrize("method", [METHOD, FullMethod()], ids=["lora", "full"])
def test_what_was_made_of_an_encoder_decoder_is_the_same_artifact(project: Project, method: Any) -> None:
    made_of = test_encoder_decoders.with_base(project, "T5ForConditionalGeneration")
    imported_again(made_of, method, Family.ENCODER_DECODER)


def test_a_head_for_other_labels_is_refused(project: Project) -> None:
    real = test_encoders.with_base(project, "BertForMaskedLM")
    imported_again(real, FullMethod(), Family.ENCODER)
    given = real.train_job(architecture=Family.ENCODER)
    labels = {"id2label": {"0": "parcel_late", "1": "card_lost"}, "label2id": {"parcel_late": 0, "card_lost": 1}}
    for key, value in labels.items():
        change(key, value)(real.root / "pvc" / "made" / "it")
    refusal(real, "ImportUnfit", "the project's labels in their order", like=given)


ENCODER_MODELS = [
    ("problem_type", "multi_label_classification", "ImportUnfit", "does not choose one label"),
    ("hidden_size", "wide", "ImportUnusable", "hidden_size"),
]


@pytest.mark.parametrize(("name", "value", "reason", "words"), ENCODER_MODELS)
def test_an_encoder_that_cannot_be_used_is_refused(
    project: Project, name: str, value: Any, reason: str, words: str
) -> None:
    real = test_encoders.with_base(project, "BertForMaskedLM")
    given = real.train_job(architecture=Family.ENCODER)
    whole_encoder(real.root / "pvc" / "made" / "it", real.root / "pvc" / "models" / "tiny")
    change(name, value)(real.root / "pvc" / "made" / "it")
    refusal(real, reason, words, like=given)


def whole_encoder(folder: Path, base: Path) -> None:
    """Make a classifier elsewhere, as transformers saves it before any training."""
    from transformers import AutoModelForSequenceClassification

    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {label: index for index, label in enumerate(LABELS)}}
    AutoModelForSequenceClassification.from_pretrained(base, **labels).save_pretrained(folder)


def test_an_adapter_without_a_head_is_refused(project: Project) -> None:
    real = test_encoders.with_base(project, "BertForMaskedLM")
    imported_again(real, METHOD, Family.ENCODER)
    given = real.train_job(architecture=Family.ENCODER)
    folder = real.root / "pvc" / "made" / "it"
    change("modules_to_save", ["classifier", "score"])(folder)
    refusal(real, "ImportUnfit", "the base has no weights for", like=given, labels=LABELS)


def test_the_labels_of_an_adapter_have_to_be_said(project: Project) -> None:
    real = test_encoders.with_base(project, "BertForMaskedLM")
    imported_again(real, METHOD, Family.ENCODER)
    given = real.train_job(architecture=Family.ENCODER)
    digest = digest_there(import_job(real, like=given))
    for labels, words in ((None, "which label each row of that is for"), (LABELS[::-1], "in their order")):
        problem = problem_of(import_job(real, digest, like=given, labels=labels))
        assert (problem.reason, problem.field, problem.value) == (
            "ImportUnfit",
            "method.labels",
            ", ".join(labels or ()),
        )
        assert words in problem.message
        assert "The project's labels are card_lost, parcel_late" in problem.remedy
