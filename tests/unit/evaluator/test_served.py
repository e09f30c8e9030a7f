"""Evaluations through an engine that speaks as vLLM does. What vLLM itself answers, tests/e2e sees on a cluster."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import layout, serving
from stagecoach.contract.digests import hex_of
from stagecoach.contract.inputs import FullMethod, LoraMethod
from stagecoach.contract.releases import Engine, EngineType, Precision
from stagecoach.contract.reports import BadInput
from stagecoach.contract.verdicts import Verdict
from stagecoach_evaluator import taking
from stagecoach_evaluator.engine import Client
from stagecoach_trainer.failures import WorkFailed
from tests.remedies import speaks
from tests.unit.contract.documents import METHOD
from tests.unit.trainer.conftest import Project, train, writing_pairs

from . import engine_server
from .conftest import ENGINE_IMAGE, HELD_OUT, NO_WORSE, Judging, write

torch = pytest.importorskip("torch", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")

NOT_ALLOWED = {"finish_reason": "length", "token_ids": [0], "logprobs": {"token_logprobs": [-0.5]}}
VLLM = Engine(type=EngineType.VLLM, precision=Precision.FLOAT32)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[engine_server.Engine]:
    """An engine at the port at which the evaluator looks for it."""
    from stagecoach_evaluator.server import Server

    with engine_server.serving() as (made, port):
        monkeypatch.setattr(serving, "PORT", port)
        monkeypatch.setattr("stagecoach_evaluator.served.Server", partial(Server, look=0.02, seconds=20))
        yield made


def by_vllm(one: Judging, engine: engine_server.Engine, **changes: Any) -> Judging:
    engine.file, engine.starts = one.project.root / "models" / "serve", one.project.root / "engine" / "starts"
    engine.starts.parent.mkdir(exist_ok=True)
    return replace(one, engine=VLLM, min_scored=0.0, **changes)


def manifest(one: Judging, release: str | None) -> Any:
    place = layout.outputs_manifest(release or "", one.job().inputs.suites[0].rows)
    return json.loads(one.project.storage.read(place))


def test_the_adapter_and_its_base_are_asked_of_one_engine(judging: Judging, engine: engine_server.Engine) -> None:
    one = by_vllm(judging, engine, criteria=(NO_WORSE,))
    one.judge()
    job, record = one.job(), one.run_record()
    base, adapter = hex_of(record.inputs.base.model), hex_of(record.artifact.digest)
    assert {body["model"] for body in engine.asked} == {base, adapter}
    [words] = engine.words
    assert words[:4] == ["--model", f"/models/{base}", "--served-model-name", base]
    assert words[-4:] == ["float32", "--enable-lora", "--max-lora-rank", "16"]
    assert all(body["max_tokens"] == 1 and body["temperature"] == 0 for body in engine.asked)
    for release in (job.inputs.release, job.inputs.baseline):
        kept = one.answers(release or "", job.inputs.suites[0])
        assert [answer["label"] in record.labels for answer in kept] == [True] * len(HELD_OUT)
        assert manifest(one, release)["engine"] == f"{ENGINE_IMAGE}, vLLM 0.32.0"
    assert one.record().engine_image == ENGINE_IMAGE


def test_it_is_asked_what_transformers_is_asked(judging: Judging, engine: engine_server.Engine) -> None:
    one = by_vllm(judging, engine)
    one.judge()
    from stagecoach.contract.prompts import encoder_for
    from stagecoach_trainer import bases

    inputs = one.run_record().inputs
    base = bases.read(one.run.base, mismatch="", remedy="")
    tokens = encoder_for(inputs.family, bases.load_tokenizer(base), inputs.prompt, inputs.tokenization)
    prompts = {tokens.chunks(text)[0].ids for text, _ in HELD_OUT}
    first = {tuple(body["prompt"]) for body in engine.asked if tuple(body["prompt"]) in prompts}
    assert first == prompts
    labels = [tokens.completion(label) for label in one.run_record().labels]
    assert all(set(body["allowed_token_ids"]) <= {token for each in labels for token in each} for body in engine.asked)


def test_the_engine_reads_what_is_in_the_digests_and_nothing_else(
    judging: Judging, engine: engine_server.Engine
) -> None:
    one = by_vllm(judging, engine)
    base = one.project.root / "pvc" / "models" / "tiny"
    (base / "params.json").write_text("{}")
    one.judge()
    record, models = one.run_record(), one.project.root / "models"
    seen = {each.name for each in (models / hex_of(record.inputs.base.model)).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= seen
    assert "params.json" not in seen
    adapter = models / "adapters" / hex_of(record.artifact.digest)
    assert {each.name for each in adapter.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == f"/models/{hex_of(record.inputs.base.model)}"


def test_kept_answers_need_no_engine(judging: Judging, engine: engine_server.Engine) -> None:
    one = by_vllm(judging, engine)
    one.judge()
    asked = len(engine.asked)
    engine.healthy = False
    other = replace(one, criteria=(one.criteria[0].model_copy(update={"min": 0.1}),))
    assert other.judge().adopted is False
    assert one.judge().adopted
    assert len(engine.asked) == asked


def test_another_engine_is_asked_anew(judging: Judging, engine: engine_server.Engine) -> None:
    judging.judge()
    one = by_vllm(judging, engine)
    one.judge()
    assert engine.asked
    assert one.job().release.digest != judging.job().release.digest


def test_what_is_not_a_number_is_no_answer(judging: Judging, engine: engine_server.Engine) -> None:
    one = by_vllm(judging, engine)
    engine.faults = [engine_server.not_numbers] * 200
    report = replace(one, min_scored=0.5).judge()
    assert report.verdict is Verdict.ERROR
    kept = one.answers(one.job().inputs.release, one.job().inputs.suites[0])
    assert {answer["error"] for answer in kept} == {"what the model computes for this row is not a number"}


@pytest.mark.parametrize("version", ["0.31.2", "dev", None])
def test_a_version_that_was_not_tested_is_refused(
    judging: Judging, engine: engine_server.Engine, version: str | None
) -> None:
    engine.version = version
    with pytest.raises(BadInput) as caught:
        by_vllm(judging, engine).judge()
    assert caught.value.problem.reason == "EngineUnsuited"
    assert "0.32" in caught.value.problem.message
    assert speaks(caught.value.problem.reason, caught.value.problem.sentence)
    assert not engine.asked


@pytest.mark.parametrize("version", ["0.32.0", "0.33.0rc1+cpu", "1.0"])
def test_a_later_version_is_asked(judging: Judging, engine: engine_server.Engine, version: str) -> None:
    engine.version = version
    one = by_vllm(judging, engine)
    one.judge()
    assert manifest(one, one.job().inputs.release)["engine"] == f"{ENGINE_IMAGE}, vLLM {version}"


def test_a_row_that_is_too_long_is_not_asked(judging: Judging, engine: engine_server.Engine) -> None:
    write(judging.project, "test", [("long " * 60, "card_lost"), *HELD_OUT])
    one = by_vllm(judging, engine)
    one.judge()
    first, *others = one.answers(one.job().inputs.release, one.job().inputs.suites[0])
    assert "tokens" in first["error"]
    assert all("label" in answer for answer in others)


@pytest.mark.parametrize(
    ("faults", "error", "reason"),
    [
        ([engine_server.status(404)], BadInput, "EngineRefuses"),
        ([engine_server.status(400)], BadInput, "EngineRefuses"),
        ([engine_server.hang_up] * 200, WorkFailed, serving.LOST),
        ([lambda handler: handler.send(200, {"choices": [NOT_ALLOWED]})] * 200, WorkFailed, serving.LOST),
        ([engine_server.status(500)] * 200, WorkFailed, serving.LOST),
    ],
)
def test_without_an_answer_there_is_no_verdict(
    judging: Judging, engine: engine_server.Engine, faults: list[Any], error: type[Exception], reason: str
) -> None:
    one = by_vllm(judging, engine)
    engine.faults = list(faults)
    with pytest.raises(error) as caught:
        one.judge()
    assert caught.value.problem.reason == reason  # type: ignore[attr-defined]
    engine.faults = []
    assert one.judge().rows == len(HELD_OUT), "nothing half done was kept"


def test_an_engine_that_falls_silent_is_given_up(
    judging: Judging, engine: engine_server.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that it is well, and answers no row, nor when it is asked again."""
    monkeypatch.setattr("stagecoach_evaluator.served.Client", partial(Client, seconds=2))
    one = by_vllm(judging, engine)
    engine.faults = [engine_server.silent] * 200
    with pytest.raises(WorkFailed) as caught:
        one.judge()
    problem = caught.value.problem
    assert problem.reason == serving.LOST
    assert "nor when it was asked again: TimeoutError" in problem.message
    assert speaks(problem.reason, problem.sentence)


def test_an_engine_that_ends_once_is_asked_again(judging: Judging, engine: engine_server.Engine) -> None:
    one = by_vllm(judging, engine)
    engine.faults = [engine_server.hang_up] * 3
    one.judge()
    kept = one.answers(one.job().inputs.release, one.job().inputs.suites[0])
    assert all("label" in answer for answer in kept)


@pytest.fixture
def fresh(project: Project, tiny_base: Path) -> Project:
    """A project of a test's own, on the tiny base."""
    place = project.root / "pvc" / "models" / "tiny"
    for each in place.iterdir():
        each.unlink()
    for each in tiny_base.iterdir():
        (place / each.name).write_bytes(each.read_bytes())
    write(project, "test", HELD_OUT)
    return project


def test_a_whole_model_is_served_in_the_place_of_the_base(fresh: Project, engine: engine_server.Engine) -> None:
    run = fresh.train_job(method=FullMethod(), settings={"epochs": 1})
    train(run)
    one = by_vllm(Judging(fresh, run, criteria=(NO_WORSE,)), engine)
    one.judge()
    record = one.run_record()
    whole, base = hex_of(record.artifact.digest), hex_of(record.inputs.base.model)
    assert [words[1] for words in engine.words] == [f"/models/{whole}", f"/models/{base}"]
    assert all("--enable-lora" not in words for words in engine.words)
    assert [body["model"] for body in engine.asked] == [whole] * (len(engine.asked) // 2) + [base] * (
        len(engine.asked) // 2
    )
    seen = {each.name for each in (fresh.root / "models" / whole).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= seen


def test_what_is_written_ends_where_a_turn_ends(fresh: Project, engine: engine_server.Engine) -> None:
    pairs = writing_pairs(fresh, "Generation")
    write(pairs, "test", [(text, "it is blocked") for text, _ in HELD_OUT], ("input", "target"))
    run = pairs.train_job(settings={"epochs": 1})
    train(run)
    exact = NO_WORSE.model_copy(update={"metric": "exact_match"})
    one = by_vllm(Judging(pairs, run, criteria=(exact,)), engine)
    one.judge()
    body = engine.asked[0]
    assert (body["max_tokens"], body["ignore_eos"], body["stop_token_ids"]) == (16, True, [2])
    kept = one.answers(one.job().inputs.release, one.job().inputs.suites[0])
    assert {len(answer["text"]) for answer in kept} == {2}, "the token that ended the turn is no text"


def test_an_adapter_that_vllm_does_not_take_is_refused_before_anything_is_served(
    fresh: Project, engine: engine_server.Engine
) -> None:
    run = fresh.train_job(
        method=LoraMethod.model_validate(METHOD.model_dump() | {"type": "DoRA"}), settings={"epochs": 1}
    )
    train(run)
    with pytest.raises(BadInput) as caught:
        by_vllm(Judging(fresh, run), engine).judge()
    assert caught.value.problem.reason == "EngineUnsuited"
    assert "use_dora" in caught.value.problem.message
    assert caught.value.problem.remedy
    assert not (fresh.root / "models" / "serve").exists()


@pytest.mark.parametrize(
    ("config", "dtype", "expected"),
    [
        ({"dtype": "bfloat16"}, "F32", "bfloat16"),
        ({"torch_dtype": "torch.float16"}, "F32", "float16"),
        ({}, "BF16", "bfloat16"),
        ({}, "F32", "float32"),
    ],
)
def test_the_number_format_is_that_of_the_files(
    tmp_path: Path, config: dict[str, str], dtype: str, expected: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    header = json.dumps({"__metadata__": {}, "a": {"dtype": "I64"}, "b": {"dtype": dtype}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert taking.numbers(Precision.AUTO, tmp_path) == expected
    assert taking.numbers(Precision.FLOAT32, tmp_path) == "float32"


@pytest.mark.parametrize("dtype", ["float64", "float32 --trust-remote-code", "auto", "*"])
def test_another_number_format_is_refused(tmp_path: Path, dtype: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"dtype": dtype}))
    with pytest.raises(BadInput) as caught:
        taking.numbers(Precision.AUTO, tmp_path)
    problem = caught.value.problem
    assert problem.reason == "EngineUnsuited"
    assert dtype in problem.message
    assert speaks(problem.reason, problem.sentence)
    assert taking.numbers(Precision.BFLOAT16, tmp_path) == "bfloat16"


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"r": 8}, None),
        ({"r": 1024}, "r"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ],
)
def test_an_adapter_that_it_does_not_read_whole_is_refused(
    tmp_path: Path, changes: dict[str, Any], wrong: str | None
) -> None:
    config = tmp_path / "adapter_config.json"
    config.write_text(json.dumps({"peft_type": "LORA", "r": 5, "rank_pattern": {}, "alpha_pattern": {}} | changes))
    if wrong is None:
        assert serving.rank(taking.rank(config)) == 8
        return
    with pytest.raises(BadInput) as caught:
        taking.rank(config)
    assert f"the adapter's {wrong} is" in caught.value.problem.message
