"""The Task API, task by task: what engines are asked is what the contract's Encoder makes of a text."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from stagecoach.contract import completions
from stagecoach.contract.inputs import Chunk, Combine, Family, Overflow, Prompt, Tokenization
from stagecoach.contract.profiles import Profiler
from stagecoach.contract.prompts import encoder_for
from stagecoach_gateway import tokenizers_of_bases
from stagecoach_gateway.errors import NO_NUMBER
from tests.unit.gateway import releases, running
from tests.unit.gateway.releases import LABELS
from tests.unit.gateway.running import MockEngine

WRITES = Tokenization(max_length=64, max_target_length=7, overflow=Overflow.TRUNCATE)
CHUNKS = Tokenization(max_length=8, overflow=Overflow.CHUNK, chunk=Chunk(stride=1, combine=Combine.MAX))
ENCODER: dict[str, Any] = {"architecture": "Encoder", "prompt": Prompt(template="{text}")}

# What vLLM 0.32 says where the logarithm of a probability is not a number.
OUT_OF_RANGE = {"error": {"message": "Out of range float values are not JSON compliant", "code": 400}}


def probabilities(*rows: list[float]) -> dict[str, Any]:
    return {"data": [{"index": index, "probs": row} for index, row in reversed(list(enumerate(rows)))]}


async def test_a_decoder_chooses_among_labels_where_their_tokens_part(
    root: Path, tokenizer: str, engine: MockEngine
) -> None:
    target = releases.target(tokenizer, (engine.url,))
    asked = target.described.asked
    encoder = encoder_for(
        Family.DECODER, tokenizers_of_bases.load(root / "tokenizers", tokenizer), asked.prompt, asked.tokenization
    )
    lost, pin = (encoder.completion(word)[0] for word in ("lost", "pin"))
    engine.answers = lambda _, body: {
        **running.completion([lost if lost in body["allowed_token_ids"] else pin]),
        "usage": {"prompt_tokens": 10, "completion_tokens": 1},
    }
    running.write_root(root, releases.routes(target, api="Task"))
    async with running.gateway(root) as gateway:
        status, document, headers = await gateway.post("/v1/predict", {"text": "my card was lost again"})
        assert (status, document) == (200, {"label": "lost pin"})
        assert headers["x-stagecoach-release"] == target.release
        prompt = list(encoder.encode("my card was lost again").ids)
        assert [body["prompt"] for _, body, _ in engine.asked] == [prompt, [*prompt, lost]]
        assert {body["model"] for _, body, _ in engine.asked} == {"internal-name"}
        found = (await gateway.counts())["releases"][0]
        profiler = Profiler.of(encoder)
        profiler.add(encoder.encode("my card was lost again"))
        assert found["profile"] == profiler.profile().document()  # the same as a training's
        assert (found["promptTokens"], found["completionTokens"]) == (20, 2)
        engine.answers = lambda _, __: running.completion([0])
        status, document, _ = await gateway.post("/v1/predict", {"text": "a"})
        assert (status, document["error"]["message"]) == (502, "What the engine computed is no label.")
        # Among tokens that are not numbers the engine takes one that is allowed, and says so only where it is asked.
        engine.answers = lambda _, body: running.completion(body["allowed_token_ids"][:1], logprob=None)
        assert (await gateway.post("/v1/predict", {"text": "a"}))[1]["error"]["message"] == NO_NUMBER
        engine.answers = lambda _, __: web.json_response(OUT_OF_RANGE, status=400)
        status, document, _ = await gateway.post("/v1/predict", {"text": "a"})
        assert (status, document["error"]["message"]) == (502, NO_NUMBER)


async def test_what_an_engine_refuses_of_what_the_gateway_wrote_is_no_fault_of_the_client(
    root: Path, tokenizer: str, engine: MockEngine
) -> None:
    running.write_root(root, releases.routes(releases.target(tokenizer, (engine.url,)), api="Task"))
    error = {"error": {"message": "internal-name reads 8 tokens", "type": "BadRequestError", "code": 400}}
    engine.answers = lambda _, __: web.json_response(error, status=400)
    async with running.gateway(root) as gateway:
        status, document, _ = await gateway.post("/v1/predict", {"text": "lost my card"})
        assert (status, document["error"]["code"]) == (502, "engine_error")
        assert document["error"]["message"].endswith("what was made of this text: intents reads 8 tokens")
        assert (await gateway.counts())["releases"][0]["errors"] == {"engine_error": 1}


async def test_a_head_gives_each_label_a_probability_in_each_chunk(root: Path, engine: MockEngine) -> None:
    tokenizer = releases.tokenizer(root / "tokenizers", chat=False)
    engine.answers = lambda _, body: (
        probabilities([0.2, 0.5, 0.3], [0.7, 0.2, 0.1]) if len(body["input"]) == 2 else probabilities([0.1, 0.1, 0.8])
    )
    target = releases.target(tokenizer, (engine.url,), tokenization=CHUNKS, **ENCODER)
    running.write_root(root, releases.routes(target, api="Task"))
    async with running.gateway(root) as gateway:
        status, document, _ = await gateway.post(
            "/v1/predict", {"text": "one two three four five six seven eight nine"}
        )
        assert (status, document) == (
            200,
            {"label": LABELS[0], "scores": dict(zip(LABELS, [0.7, 0.5, 0.3], strict=True))},
        )
        assert [len(chunk) for chunk in engine.asked[0][1]["input"]] == [8, 6]
        assert (await gateway.post("/v1/predict", {"text": "one"}))[1]["label"] == LABELS[2]
        for wrong in ([0.5, 0.5], [0.1, None, 0.9], [0.1, 0.2, "x"], [0.1, 0.1, 7]):
            engine.answers = lambda _, __, wrong=wrong: probabilities(wrong)
            status, document, _ = await gateway.post("/v1/predict", {"text": "one"})
            assert (status, document["error"]["code"]) == (502, "engine_error")


@pytest.mark.parametrize("task", ["Generation", "Summarization", "Translation"])
async def test_what_is_written_is_decoded_as_in_an_evaluation(
    task: str, root: Path, tokenizer: str, engine: MockEngine
) -> None:
    loaded = tokenizers_of_bases.load(root / "tokenizers", tokenizer)
    ids = [*loaded("the card is lost")["input_ids"], loaded.eos_token_id]
    engine.answers = lambda _, __: running.completion(ids, "stop")
    running.write_root(
        root, releases.routes(releases.target(tokenizer, (engine.url,), task=task, tokenization=WRITES), api="Task")
    )
    async with running.gateway(root) as gateway:
        assert (await gateway.post("/v1/predict", {"text": "card"}))[:2] == (200, {"text": "the card is lost"})
        body = engine.asked[0][1]
        assert body | completions.writing(7, ids[-1]) == body
        engine.answers = lambda _, __: running.completion(ids, "abort")
        assert (await gateway.post("/v1/predict", {"text": "card"}))[1]["error"]["code"] == "engine_error"


async def test_queries_and_passages_have_templates_of_their_own(root: Path, engine: MockEngine) -> None:
    tokenizer = releases.tokenizer(root / "tokenizers", chat=False)
    prompt = Prompt(template="query : {text}", passage_template="passage : {text}")
    target = releases.target(tokenizer, (engine.url,), task="Embedding", architecture="Encoder", prompt=prompt)
    running.write_root(root, releases.routes(target, api="Task"))
    async with running.gateway(root) as gateway:
        assert (await gateway.post("/v1/predict", {"text": "one"}))[:2] == (200, {"embedding": [0.6, 0.8]})
        assert (await gateway.post("/v1/predict", {"text": "one", "kind": "passage"}))[0] == 200
        query, passage = (body["input"] for _, body, _ in engine.asked)
        assert query[1] != passage[1]
        assert query[2:] == passage[2:]
        assert (await gateway.counts())["releases"][0]["profile"]["prompts"] == 1


async def test_what_is_no_question_of_the_task(root: Path, tokenizer: str, engine: MockEngine) -> None:
    rejects = Tokenization(max_length=20, overflow=Overflow.REJECT)
    target = releases.target(tokenizer, (engine.url,), tokenization=rejects)
    schema = {"properties": {"text": {"maxLength": 200}}}
    running.write_root(root, releases.routes(target, api="Task", input_schema=schema))
    async with running.gateway(root) as gateway:
        for body, code, param in [
            ({}, "invalid_request", None),
            ({"text": ""}, "invalid_request", "text"),
            ({"text": 3}, "invalid_request", "text"),
            ({"text": "a", "model": "../x"}, "invalid_request", None),
            ({"text": "a" * 300}, "invalid_request", "text"),
            ({"text": "one " * 30}, "text_too_long", "text"),
            ({"text": "one " * 50_001}, "invalid_request", "text"),
        ]:
            status, document, _ = await gateway.post("/v1/predict", body)
            assert (status, document["error"]["code"], document["error"]["param"]) == (400, code, param), body
        assert engine.asked == []
        assert (await gateway.post("/v1/chat/completions", {}))[1]["error"]["code"] == "unknown_path"


async def test_what_is_answered_when_no_engine_does(root: Path, tokenizer: str, engine: MockEngine) -> None:
    target = releases.target(tokenizer, (engine.url,))
    fallback = {"static": {"label": "top up"}}
    running.write_root(
        root,
        releases.routes(
            target,
            api="Task",
            fallback=fallback,
            output_schema={"properties": {"label": {"not": {"const": "lost pin"}}}},
        ),
    )
    engine.answers = lambda _, __: web.Response(status=500)
    async with running.gateway(root) as gateway:
        status, document, headers = await gateway.post("/v1/predict", {"text": "a"})
        assert (status, document, headers["x-stagecoach-fallback"]) == (200, {"label": "top up"}, "static")
        assert "x-stagecoach-release" not in headers
        assert headers["x-request-id"][28:40] == "0" * 12  # an id of no release: feedback on it is of none
        assert (await gateway.post("/v1/predict", {}))[0] == 400  # the client's own errors stay errors
        counted = (await gateway.counts())["releases"][0]
        assert (counted["requests"], counted["errors"], counted["fallbacks"]) == (1, {"engine_error": 1}, 1)
        assert sum(counted["latency"]["bins"]) == 0


async def test_deployments_that_fall_back_to_each_other_end_with_an_error(
    root: Path, tokenizer: str, engine: MockEngine
) -> None:
    engine.answers = lambda _, __: web.Response(status=500)
    target = releases.target(tokenizer, (engine.url,))
    running.write_root(root, releases.routes(target, api="Task"))
    async with running.gateway(root) as one, running.gateway(root) as other:
        for from_, to in ((one, other), (other, one)):
            url = f"http://localhost:{to.port}"
            assert (await from_.put(releases.routes(target, api="Task", revision=2, fallback={"gateway": url})))[
                0
            ] == 200
        status, document, _ = await one.post("/v1/predict", {"text": "a"})
        assert (status, document["error"]["code"]) == (508, "too_many_hops")
        assert len(engine.asked) == 3

        def fails_once(_: str, body: dict[str, Any]) -> Any:
            if len(engine.asked) == 4:
                return web.Response(status=500)
            return running.completion(body["allowed_token_ids"][:1], "stop")

        engine.answers = fails_once
        status, document, headers = await one.post("/v1/predict", {"text": "a"})
        assert (status, headers["x-stagecoach-fallback"]) == (200, "gateway")
        assert headers["x-stagecoach-release"] == target.release  # which the other gateway has, too
        assert document["label"] in LABELS
        await other.put(releases.routes(target, api="Task", revision=3, fallback={"static": {"label": "lost pin"}}))
        engine.answers = lambda _, __: web.Response(status=500)
        status, _, headers = await one.post("/v1/predict", {"text": "a"})
        assert (status, "x-stagecoach-release" in headers) == (200, False)
        promised = releases.routes(
            target,
            api="Task",
            revision=3,
            fallback={"gateway": f"http://localhost:{other.port}"},
            output_schema={"properties": {"label": {"not": {"const": "lost pin"}}}},
        )
        assert (await one.put(promised))[0] == 200
        status, document, _ = await one.post("/v1/predict", {"text": "a"})
        assert (status, document["error"]["code"]) == (502, "contract_violation")


async def test_all_requests_to_engines_for_an_answer_have_one_time(
    root: Path, tokenizer: str, engine: MockEngine
) -> None:
    async def late(body: dict[str, Any]) -> web.Response:
        await asyncio.sleep(0.7)
        return web.json_response(running.completion(body["allowed_token_ids"][:1]))

    engine.answers = lambda _, body: late(body)
    running.write_root(root, releases.routes(releases.target(tokenizer, (engine.url,)), api="Task", timeout=1.0))
    async with running.gateway(root) as gateway:
        status, document, _ = await gateway.post("/v1/predict", {"text": "a"})
        assert (status, document["error"]["code"]) == (504, "engine_timeout")
        assert len(engine.asked) == 2


async def test_before_the_first_release_is_admitted(root: Path) -> None:
    async with running.gateway(root) as gateway:
        assert (await gateway.put(releases.routes(None, api="Task")))[0] == 200
        status, document, headers = await gateway.post("/v1/predict", {"text": "a"})
        assert (status, document["error"]["code"]) == (503, "nothing_served")
        assert "x-stagecoach-release" not in headers
        fallback = {"static": {"label": "top up"}}
        assert (await gateway.put(releases.routes(None, api="Task", revision=2, fallback=fallback)))[0] == 200
        assert (await gateway.post("/v1/predict", {"text": "a"}))[:2] == (200, {"label": "top up"})
