"""Which base models fit a project's architecture."""

import json

import pytest

from stagecoach.contract.inputs import Family
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.reports import BadInput
from stagecoach_trainer import bases
from stagecoach_trainer.bases import Base

from .conftest import Project

SOURCE = ModelSource(name="tiny", uri="pvc://models/tiny")


def read(project: Project, family: Family, **config: object) -> Base:
    place = project.root / "pvc" / "models" / "tiny" / "config.json"
    place.write_text(json.dumps({"max_position_embeddings": 128} | config))
    return bases.read(SOURCE, mismatch="", remedy="", family=family)


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [
        ("bert", "BertForMaskedLM"),
        ("bert", "BertForPreTraining"),
        ("roberta", "RobertaModel"),
        ("xlm-roberta", "XLMRobertaForSequenceClassification"),
        ("modernbert", "ModernBertForMaskedLM"),
        ("distilbert", "DistilBertForMaskedLM"),
        ("deberta", "DebertaForMaskedLM"),
        ("deberta-v2", "DebertaV2Model"),
    ],
)
def test_encoders(project: Project, kind: str, architecture: str) -> None:
    assert read(project, Family.ENCODER, model_type=kind, architectures=[architecture]).architecture == architecture


def test_an_encoder_whose_checkpoint_names_its_type_alone(project: Project) -> None:
    assert read(project, Family.ENCODER, model_type="deberta-v2").architecture == "DebertaV2Model"


REFUSED = [
    (Family.DECODER, "bert", ["BertForMaskedLM"], "not a causal language model", "problem.architecture Encoder"),
    (Family.DECODER, "bert", [], "its architecture is nothing", "problem.architecture Encoder"),
    (Family.ENCODER, "llama", ["LlamaForCausalLM"], "its architecture is LlamaForCausalLM", "problem.architecture Decoder"),
    (Family.ENCODER, "bert", ["BertLMHeadModel"], "its architecture is BertLMHeadModel", "problem.architecture Decoder"),
    (Family.ENCODER, "bert", ["BertForQuestionAnswering"], "BertForQuestionAnswering", "ForTokenClassification"),
    (Family.ENCODER, "t5", ["T5EncoderModel"], "its architecture is T5EncoderModel", "Use a checkpoint of Bert, Roberta"),
    (Family.ENCODER, "llama", [], "its architecture is nothing", "Use a checkpoint of Bert, Roberta"),
    (Family.DECODER, "t5", ["T5ForConditionalGeneration"], "not a causal language model", "Encoder or EncoderDecoder"),
    (Family.ENCODER_DECODER, "llama", ["LlamaForCausalLM"], "its architecture is LlamaForCausalLM", "problem.architecture Decoder"),
    (Family.ENCODER_DECODER, "t5", ["T5EncoderModel"], "its architecture is T5EncoderModel", "T5ForConditionalGeneration, MT5ForConditionalGeneration"),
    (Family.ENCODER_DECODER, "bart", ["BartForSequenceClassification"], "BartForSequenceClassification", "MarianMTModel"),
    (Family.ENCODER_DECODER, "mbart", ["MBartForConditionalGeneration"], "MBartForConditionalGeneration", "PegasusForConditionalGeneration"),
    (Family.ENCODER_DECODER, "t5", [], "its architecture is nothing", "Use a checkpoint of T5ForConditionalGeneration"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "kind", "architectures", "words", "remedy"), REFUSED)
def test_a_base_that_does_not_fit_the_projects_architecture(
    project: Project, family: Family, kind: str, architectures: list[str], words: str, remedy: str
) -> None:
    with pytest.raises(BadInput) as caught:
        read(project, family, model_type=kind, architectures=architectures)
    problem = caught.value.problem
    assert (problem.reason, problem.field) == ("BaseUnusable", "candidates[tiny].model.uri")
    assert words in problem.message
    assert remedy in problem.remedy
    assert not problem.remedy.endswith("…")


@pytest.mark.parametrize(
    ("kind", "lengths", "context"),
    [
        ("t5", {"max_position_embeddings": None}, 512),
        ("t5", {"max_position_embeddings": None, "n_positions": 1024}, 1024),
        ("bart", {}, 128),
    ],
)
def test_how_far_an_encoder_decoder_reaches(
    project: Project, kind: str, lengths: dict[str, int | None], context: int
) -> None:
    architecture = {"t5": "T5ForConditionalGeneration", "bart": "BartForConditionalGeneration"}[kind]
    found = read(project, Family.ENCODER_DECODER, model_type=kind, architectures=[architecture], **lengths)
    assert (found.architecture, found.context) == (architecture, context)


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({"model_type": "bert", "pad_token_id": 0}, 128),
        ({"model_type": "roberta", "pad_token_id": 1}, 126),
        ({"model_type": "xlm-roberta"}, 126),
    ],
)
def test_the_context_is_what_a_text_may_have(project: Project, config: dict[str, object], context: int) -> None:
    assert read(project, Family.ENCODER, **config).context == context
