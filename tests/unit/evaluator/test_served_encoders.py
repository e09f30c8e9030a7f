"""Encoders judged through an engine that speaks as vLLM does. What vLLM itself answers, tests/e2e sees on a cluster."""

import math
from dataclasses import replace
from typing import Any

import pytest

from stagecoach.contract import serving
from stagecoach.contract.digests import hex_of
from stagecoach.contract.evaluations import Criterion, Reference
from stagecoach.contract.inputs import Chunk, Combine, FullMethod, Overflow, Tokenization
from stagecoach.contract.prompts import encoder_for, for_passages
from stagecoach.contract.reports import BadInput
from stagecoach.contract.verdicts import Verdict
from stagecoach_trainer.failures import WorkFailed
from tests.remedies import speaks
from tests.unit.trainer import test_embeddings, test_encoders
from tests.unit.trainer.conftest import Project, train

from . import engine_server
from .conftest import HELD_OUT, NO_WORSE, Judging, write
from .test_served import by_vllm, engine  # noqa: F401
from .test_tasks import QUERIES, SHORT

torch = pytest.importorskip("torch", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")

FOUND = Criterion(name="found", suite="held-out", metric="mrr", min=0.0)
NEARER = Criterion(name="nearer", suite="held-out", metric="mrr", against=Reference.BASELINE, allowed_drop=100.0)
NOT_NUMBERS = "what the model computes for this row is not a number"


def classifier(project: Project, method: Any = None, tokenization: Tokenization | None = None) -> Judging:
    """Return a trained classifier, to be judged."""
    made = test_encoders.with_base(project, "BertForMaskedLM")
    write(made, "test", HELD_OUT)
    run = test_encoders.encoder_job(made, method or FullMethod(), settings=SHORT)
    changed = {"tokenization": tokenization or made.lengths}
    run = run.model_copy(update={"inputs": run.inputs.model_copy(update=changed)})
    train(run)
    return Judging(made, run)


def embedder(project: Project, architecture: str = "BertModel", method: Any = None) -> Judging:
    """Return a trained model that makes vectors, to be judged."""
    made = test_embeddings.matching(project, architecture)
    write(made, "test", QUERIES, ("query", "positive"))
    run = test_embeddings.embedding_job(made, method or FullMethod(), settings=SHORT | {"per_device_batch_size": 8})
    train(run)
    return Judging(made, run, (FOUND,))


def tokens(one: Judging) -> Any:
    from stagecoach_trainer import bases

    inputs = one.run_record().inputs
    base = bases.read(one.run.base, mismatch="", remedy="", family=inputs.family, embeds=inputs.embeds)
    return encoder_for(inputs.family, bases.load_tokenizer(base), inputs.prompt, inputs.tokenization)


def told(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_a_classifier_is_asked_for_the_probability_of_each_label(
    project: Project,
    engine: engine_server.Engine,  # noqa: F811
) -> None:
    one = by_vllm(classifier(project), engine)
    one.judge()
    whole, record = hex_of(one.run_record().artifact.digest), one.run_record()
    [words] = engine.words
    assert words[:4] == ["--model", f"/models/{whole}", "--served-model-name", whole]
    assert (told(words, "--runner"), told(words, "--max-model-len")) == ("pooling", str(project.lengths.max_length))
    assert told(words, "--hf-overrides.problem_type") == "single_label_classification"
    assert "--enable-lora" not in words
    assert {(body["model"], path) for body, path in zip(engine.asked, engine.paths, strict=True)} == {
        (whole, "/classify")
    }
    encoder = tokens(one)
    assert {tuple(body["input"][0]) for body in engine.asked} == {encoder.encode(text).ids for text, _ in HELD_OUT}
    kept = one.answers(one.job().inputs.release, one.job().inputs.suites[0])
    for answer, (text, _) in zip(kept, HELD_OUT, strict=True):
        expected = engine.read("/classify", list(encoder.encode(text).ids))
        assert answer["scores"] == pytest.approx(expected)
        assert answer["label"] == record.labels[expected.index(max(expected))]


def test_the_chunks_of_a_row_are_combined(project: Project, engine: engine_server.Engine) -> None:  # noqa: F811
    chunks = Tokenization(max_length=16, overflow=Overflow.CHUNK, chunk=Chunk(stride=2, combine=Combine.MAX))
    one = by_vllm(classifier(project, tokenization=chunks), engine)
    one.judge()
    assert {len(body["input"]) > 1 for body in engine.asked} == {True}
    encoder = tokens(one)
    kept = one.answers(one.job().inputs.release, one.job().inputs.suites[0])
    each = [engine.read("/classify", list(chunk.ids)) for chunk in encoder.chunks(HELD_OUT[0][0])]
    assert kept[0]["scores"] == pytest.approx([max(of_label) for of_label in zip(*each, strict=True)])


def test_a_base_without_a_head_is_not_asked(project: Project, engine: engine_server.Engine) -> None:  # noqa: F811
    one = by_vllm(classifier(project), engine, criteria=(NO_WORSE,))
    report = one.judge()
    assert report.verdict is Verdict.ERROR
    assert "chance" in (report.results[0].message or "")
    assert len(engine.words) == 1


@pytest.mark.parametrize("make", [classifier, embedder])
def test_what_is_not_a_number_is_no_answer(
    project: Project,
    engine: engine_server.Engine,  # noqa: F811
    make: Any,
) -> None:
    one = by_vllm(make(project), engine)
    engine.read = lambda *_: [math.nan, math.nan]
    report = replace(one, min_scored=0.5).judge()
    assert report.verdict is Verdict.ERROR
    kept = one.answers(one.job().inputs.release, one.job().inputs.suites[0])
    assert {answer["error"] for answer in kept} == {NOT_NUMBERS}


def test_what_is_refused_for_one_row_is_no_answer_of_that_row(
    project: Project,
    engine: engine_server.Engine,  # noqa: F811
) -> None:
    one = by_vllm(embedder(project), engine)
    engine.faults = [engine_server.not_numbers]
    one.judge()
    kept = one.answers(one.job().inputs.release, one.job().inputs.suites[0])
    assert [answer.get("error") for answer in kept].count(NOT_NUMBERS) == 1


@pytest.mark.parametrize(
    ("said", "make"),
    [([0.5, 0.25, 0.25], classifier), ([0.9, 0.9], classifier), ([], classifier), ([], embedder)],
)
def test_without_an_answer_there_is_no_verdict(
    project: Project,
    engine: engine_server.Engine,  # noqa: F811
    said: list[float],
    make: Any,
) -> None:
    one = by_vllm(make(project), engine)
    engine.read = lambda *_: said
    with pytest.raises(WorkFailed) as caught:
        one.judge()
    assert caught.value.problem.reason == serving.LOST
    assert speaks(caught.value.problem.reason, caught.value.problem.sentence)


def test_passages_are_found_by_the_vectors_of_the_engine(
    project: Project,
    engine: engine_server.Engine,  # noqa: F811
) -> None:
    one = by_vllm(embedder(project), engine, criteria=(FOUND, NEARER))
    one.judge()
    record = one.run_record()
    whole, base = hex_of(record.artifact.digest), hex_of(record.inputs.base.model)
    assert [words[1] for words in engine.words] == [f"/models/{whole}", f"/models/{base}"]
    for words in engine.words:
        assert told(words, "--pooler-config.pooling_type") == "MEAN"
        assert told(words, "--pooler-config.use_activation") == "true"
        assert told(words, "--hf-overrides.architectures+") == "BertModel"
    assert set(engine.paths) == {"/v1/embeddings"}
    queries = tokens(one)
    passages = for_passages(queries)

    def vector(encoder: Any, text: str) -> Any:
        return engine.read("/v1/embeddings", list(encoder.encode(text).ids))

    among = {text: vector(passages, text) for _, text in QUERIES}
    kept = one.answers(one.job().inputs.release, one.job().inputs.suites[0])
    for answer, (query, positive) in zip(kept, QUERIES, strict=True):
        own = vector(queries, query)
        cosines = {text: sum(a * b for a, b in zip(own, other, strict=True)) for text, other in among.items()}
        better = sum(cosine >= cosines[positive] - 1e-6 for text, cosine in cosines.items() if text != positive)
        assert answer["rank"] == 1 + better


@pytest.mark.parametrize("make", [classifier, embedder])
def test_an_adapter_of_an_encoder_is_refused_before_anything_is_served(
    project: Project,
    engine: engine_server.Engine,  # noqa: F811
    make: Any,
) -> None:
    one = by_vllm(make(project, method=test_encoders.LOW_RANK), engine)
    with pytest.raises(BadInput) as caught:
        one.judge()
    problem = caught.value.problem
    assert (problem.reason, "adapter of an encoder" in problem.message) == ("EngineUnsuited", True)
    assert speaks(problem.reason, problem.sentence)
    assert not engine.words


def test_a_base_whose_weights_the_engine_does_not_find_is_not_compared_with(
    project: Project,
    engine: engine_server.Engine,  # noqa: F811
) -> None:
    one = by_vllm(embedder(project, "BertForMaskedLM"), engine, criteria=(FOUND, NEARER))
    with pytest.raises(BadInput) as caught:
        one.judge()
    problem = caught.value.problem
    assert (problem.reason, "BertForMaskedLM" in problem.message) == ("EngineUnsuited", True)
    assert speaks(problem.reason, problem.sentence)
    replace(one, criteria=(FOUND,)).judge()
    assert [told(words, "--hf-overrides.architectures+") for words in engine.words] == ["BertModel"]
