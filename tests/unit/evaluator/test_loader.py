"""The loader as a process, beside an engine that speaks as vLLM does. What vLLM itself does, tests/e2e sees."""

import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from stagecoach.contract import layout, loading, serving
from stagecoach.contract.digests import FileEntry, hex_of
from stagecoach.contract.loading import Load, LoadedModel, State
from stagecoach.contract.readings import Reads
from stagecoach_evaluator import loader_files
from stagecoach_evaluator.loader_engine import Engine
from stagecoach_evaluator.loader_models import Model
from stagecoach_trainer import copies, places
from tests.remedies import speaks

from . import engine_server, loader_pod
from .loader_pod import OTHER_URL, TOKEN, URL, Pod, until


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    """A pod whose engine runs, and waits to be told what to serve."""
    with engine_server.serving() as (engine, port):
        yield loader_pod.make(tmp_path, engine, port)


def adapter(pod: Pod, digest: str) -> Path:
    return pod.models / "adapters" / hex_of(digest)


def base_of(pod: Pod) -> str:
    return pod.base.model or ""


def test_the_engine_is_told_all_that_changes_answers_once_the_base_is_verified(pod: Pod) -> None:
    with pod.loader():
        pod.until(base_of(pod), State.ANSWERS)
    name = hex_of(base_of(pod))
    assert pod.engine.words == [
        [
            *("--model", f"/models/{name}", "--served-model-name", name),
            *("--max-model-len", "256", "--dtype", "float32", "--max-num-seqs", "8"),
            *("--enable-lora", "--max-lora-rank", "64", "--max-loras", "2", "--max-cpu-loras", "4"),
        ]
    ]
    assert {each.name for each in (pod.models / name).iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }


def test_a_shorter_limit_than_the_base_has_is_kept_and_a_rank_is_one_that_vllm_knows(pod: Pod) -> None:
    with pod.loader(pod.serve(max_length=100, max_rank=48)):
        pod.until(base_of(pod), State.ANSWERS)
    words = " ".join(pod.engine.words[0])
    assert "--max-model-len 100 " in words
    assert "--max-lora-rank 64 " in words


ENCODER = {"architectures": ["BertForMaskedLM"], "model_type": "bert", "max_position_embeddings": 256}


@pytest.mark.parametrize(
    ("reads", "words", "path"),
    [
        (Reads.LABELS, ["--hf-overrides.problem_type", "single_label_classification"], "/classify"),
        (
            Reads.VECTORS,
            [
                *("--pooler-config.pooling_type", "MEAN", "--pooler-config.use_activation", "true"),
                *("--hf-overrides.architectures+", "BertModel"),
            ],
            "/v1/embeddings",
        ),
    ],
)
def test_an_encoder_is_served_whole_and_asked_for_what_it_makes_of_a_text(
    pod: Pod, reads: Reads, words: list[str], path: str
) -> None:
    (pod.root / "pvc" / "models" / "base" / "config.json").write_text(json.dumps(loader_pod.CONFIG | ENCODER))
    model = {"config.json": json.dumps(loader_pod.CONFIG | ENCODER).encode(), "model.safetensors": b"weights"}
    digest = pod.storage.publish(model, "run").digest
    with pod.loader(pod.serve(reads=reads, model=digest, max_adapters=0, max_rank=0)):
        pod.until(digest, State.ANSWERS)
        pod.until_ready()
        pod.engine.read = lambda *_: [math.nan, 0.0]
        assert speaks(*told_of(pod.until(digest, State.FAILED, "NotNumbers")))
    name = hex_of(digest)
    assert pod.engine.words == [
        [
            *("--model", f"/models/{name}", "--served-model-name", name, "--max-model-len", "256"),
            *("--dtype", "float32", "--max-num-seqs", "8"),
            *("--runner", "pooling", "--max-num-batched-tokens", "8192", *words),
        ]
    ]
    assert set(pod.engine.paths) == {path}


def told_of(model: LoadedModel) -> tuple[str, str]:
    return model.reason, model.message


def test_a_base_that_is_another_than_was_admitted_is_not_served(pod: Pod) -> None:
    serve = pod.serve()
    (pod.root / "pvc" / "models" / "base" / "config.json").write_text(json.dumps(loader_pod.CONFIG | {"x": 1}))
    with pod.loader(serve):
        said = pod.until(serve.base.model or "", State.FAILED, "InputChanged")
        assert speaks(said.reason, said.message)
        code, text = pod.ask("GET", loading.HEALTH_PATH)
        assert (code, "InputChanged" in text) == (503, True)
        assert not (pod.models / "serve").exists()
        (pod.root / "pvc" / "models" / "base" / "config.json").write_text(json.dumps(loader_pod.CONFIG))
        pod.until(serve.base.model or "", State.ANSWERS)


def test_a_pod_may_have_requests_once_what_is_wanted_of_it_answers(pod: Pod) -> None:
    with pod.loader():
        pod.until(base_of(pod), State.ANSWERS)
        code, why = pod.ask("GET", loading.HEALTH_PATH)
        assert (code, why) == (503, "nobody has said yet which adapters are wanted")
        pod.engine.seconds = 0.5
        digest = pod.publish()
        pod.want(digest)
        assert pod.ask("GET", loading.HEALTH_PATH)[0] == 503
        pod.until(digest, State.ANSWERS)
        pod.until_ready()


def test_a_new_pod_serves_what_gateways_ask_it_for_while_the_operator_is_away(pod: Pod) -> None:
    own, elsewhere, later = (pod.publish(each) for each in ("own", "elsewhere", "later"))
    pod.route(own, elsewhere, (URL, OTHER_URL))
    with pod.loader():
        pod.until_ready()
        assert [model.name for model in pod.told.models] == [hex_of(base_of(pod)), hex_of(own)]
        assert pod.model(own).state is State.ANSWERS
        pod.route(own, later, (URL, URL))
        until(lambda: len(pod.told.models) == 3, lambda: str(pod.told))
        pod.until(later, State.ANSWERS)
        pod.want(elsewhere)
        time.sleep(0.3)
        assert [model.name for model in pod.told.models][1:] == [hex_of(elsewhere)], "who wants something is heard"


def test_routes_that_come_late_are_read_then(pod: Pod) -> None:
    own, other = pod.publish("own"), pod.publish("other")
    with pod.loader():
        pod.until(base_of(pod), State.ANSWERS)
        pod.route(own, other, (OTHER_URL, OTHER_URL))
        time.sleep(0.3)
        assert pod.ask("GET", loading.HEALTH_PATH)[0] == 503, "nobody asks it for anything"
        pod.route(other, own, (OTHER_URL, URL))
        pod.until_ready()
        assert pod.model(own).state is State.ANSWERS


def test_routes_of_others_are_not_believed(pod: Pod) -> None:
    own, other = pod.publish("own"), pod.publish("other")
    pod.route(own, other, (URL, URL), key="x" * 64)
    with pod.loader():
        pod.until(base_of(pod), State.ANSWERS)
        until(lambda: "signature" in pod.ask("GET", loading.HEALTH_PATH)[1], lambda: "it says why")
        assert pod.ask("GET", loading.HEALTH_PATH)[0] == 503
        assert len(pod.told.models) == 1
        pod.want(own)
        pod.until_ready()


def test_a_new_pod_whose_adapters_have_all_failed_gets_no_requests(pod: Pod) -> None:
    wide = pod.publish(r=128)
    with pod.loader():
        pod.want(wide)
        pod.until(wide, State.FAILED)
        pod.until(base_of(pod), State.ANSWERS)
        code, why = pod.ask("GET", loading.HEALTH_PATH)
        assert (code, "RankTooLarge" in why) == (503, True)
        pod.want()
        pod.until_ready()


def test_a_pod_that_serves_a_base_alone_need_not_be_told(pod: Pod) -> None:
    with pod.loader(pod.serve(max_adapters=0, max_rank=0)):
        pod.until_ready()
    assert "--enable-lora" not in pod.engine.words[0]


def test_a_pod_may_have_requests_though_one_of_several_adapters_has_failed(pod: Pod) -> None:
    good = pod.publish()
    with pod.loader():
        pod.want(good, f"sha256:{'0' * 64}")
        pod.until_ready()
        assert pod.model(good).state is State.ANSWERS
        pod.want(good, pod.publish("later", r=128))
        assert pod.ask("GET", loading.HEALTH_PATH)[0] == 200, "what is wanted later takes no pod away"


def test_a_new_pod_has_no_requests_before_both_releases_of_a_rollout_answer(pod: Pod) -> None:
    stable, candidate = pod.publish("one"), pod.publish("two")
    answer = pod.engine._answer
    may = threading.Event()

    def the_last_one_late(body: engine_server.Body) -> list[int]:
        if body["model"] == hex_of(candidate):
            may.wait(30)
        return answer(body)

    pod.engine.answer = the_last_one_late
    with pod.loader():
        pod.want(stable, candidate)
        pod.until(stable, State.ANSWERS)
        code, why = pod.ask("GET", loading.HEALTH_PATH)
        assert (code, hex_of(candidate)[:12] in why) == (503, True)
        may.set()
        pod.until_ready()
        assert pod.model(candidate).state is State.ANSWERS


def test_a_new_pod_that_cannot_serve_what_comes_first_has_no_requests(pod: Pod) -> None:
    """The others of its engine answer with it."""
    stable, candidate = pod.publish("wide", r=128), pod.publish()
    with pod.loader():
        pod.want(stable, candidate)
        pod.until(candidate, State.ANSWERS)
        pod.until(stable, State.FAILED)
        code, why = pod.ask("GET", loading.HEALTH_PATH)
        assert (code, "RankTooLarge" in why) == (503, True)
        pod.want(candidate)
        pod.until_ready()


def test_how_much_the_engine_has_to_do_is_told_to_the_operator_alone(pod: Pod) -> None:
    with pod.loader():
        pod.until(base_of(pod), State.ANSWERS)
        pod.engine.waiting = 7
        code, text = pod.ask("GET", loading.LOAD_PATH, token=TOKEN)
        assert (code, Load.model_validate_json(text).waiting) == (200, 7)
        assert pod.ask("GET", loading.LOAD_PATH)[0] == 401
        pod.engine.healthy = False
        assert pod.ask("GET", loading.LOAD_PATH, token=TOKEN)[0] == 503


def test_an_adapter_is_brought_and_asked_and_only_then_said_to_answer(pod: Pod) -> None:
    digest = pod.publish()
    with pod.loader():
        assert pod.want(digest).models[1].state is State.LOADING
        assert pod.until(digest, State.ANSWERS).answers
        before = len(pod.engine.asked)
        until(lambda: len(pod.engine.asked) > before + 4, lambda: "it is asked again")
        assert pod.told.engine == "0.32.0"
    asked = [body for body in pod.engine.asked if body["model"] == hex_of(digest)]
    assert {"max_tokens": 1, "logprobs": 1}.items() <= asked[0].items()
    folder = adapter(pod, digest)
    assert {each.name for each in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert not any(each.is_symlink() for each in folder.iterdir()), "the storage may be away when it is read again"


def test_the_same_is_said_while_all_goes_well(pod: Pod) -> None:
    with pod.loader():
        pod.until(base_of(pod), State.ANSWERS)
        said, asked = pod.told, len(pod.engine.asked)
        until(lambda: pod.told != said or len(pod.engine.asked) > asked + 3, lambda: "it is asked again")
        assert pod.told == said


def test_how_long_ago_a_model_answered_is_told_by_a_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(Mock(), "base", "", Mock())
    engine.start, engine._problem = 1, None
    model = Model("base", engine, bring=Mock())
    model._step()
    now = time.monotonic()
    for later, age in ((0, 30), (29, 30), (31, 60), (95, 120)):
        monkeypatch.setattr(time, "monotonic", lambda passed=later: now + passed)
        assert (model.told.age, model.answers) == (age, later < 30)


def test_to_want_the_same_again_changes_nothing(pod: Pod) -> None:
    first, second = pod.publish("one"), pod.publish("two")
    with pod.loader(loader_models__PROBE_SECONDS=60.0):
        pod.want(first, second)
        for digest in (first, second):
            pod.until(digest, State.ANSWERS)
        asked = len(pod.engine.asked)
        said = [pod.want(second, first) for _ in range(5)]
        assert {model.state for each in said for model in each.models} == {State.ANSWERS}
        assert len(pod.engine.asked) == asked


@pytest.mark.parametrize(
    ("changes", "reason", "names"),
    [
        ({"r": 128}, "RankTooLarge", "spec.engine.maxLoraRank"),
        ({"use_dora": True}, "EngineUnsuited", "use_dora"),
        ({"r": 1024}, "EngineUnsuited", "the adapter's r is 1024"),
    ],
)
def test_an_adapter_that_is_not_served_is_refused(pod: Pod, changes: dict[str, Any], reason: str, names: str) -> None:
    digest = pod.publish(**changes)
    with pod.loader():
        pod.want(digest)
        said = pod.until(digest, State.FAILED)
    assert said.reason == reason
    assert names in said.message
    assert speaks(said.reason, said.message)
    assert not adapter(pod, digest).exists()


def test_an_adapter_that_is_not_there_is_served_once_it_is(pod: Pod) -> None:
    digest = pod.publish()
    place = pod.root / "storage" / layout.manifest_file(digest)
    manifest = place.read_bytes()
    place.unlink()
    with pod.loader():
        pod.want(digest)
        said = pod.until(digest, State.FAILED)
        assert said.reason == "ArtifactMissing"
        assert speaks(said.reason, said.message)
        place.write_bytes(manifest)
        pod.until(digest, State.ANSWERS)


@pytest.mark.parametrize("content", [b"changes", b"other length", None])
def test_an_adapter_that_is_not_what_its_digest_says_is_not_served(pod: Pod, content: bytes | None) -> None:
    digest = pod.publish()
    weights = pod.root / "storage" / layout.artifact_folder(digest) / "adapter_model.safetensors"
    weights.unlink()
    if content:
        weights.write_bytes(content)
    with pod.loader():
        pod.want(digest)
        said = pod.until(digest, State.FAILED)
    assert said.reason == "ArtifactCorrupt"
    assert speaks(said.reason, said.message)
    assert not adapter(pod, digest).exists()


def test_a_storage_that_is_away_for_a_moment_is_waited_for(pod: Pod) -> None:
    digest = pod.publish()
    storage = pod.root / "storage"
    storage.rename(pod.root / "away")
    with pod.loader():
        pod.want(digest)
        said = pod.until(digest, State.LOADING, "StorageMissing")
        assert speaks(said.reason, said.message)
        (pod.root / "away").rename(storage)
        pod.until(digest, State.ANSWERS)


def test_a_model_that_computes_no_numbers_has_failed(pod: Pod) -> None:
    digest, good = pod.publish("nan"), pod.publish()
    answer = pod.engine._answer

    def by_model(body: engine_server.Body) -> list[int]:
        pod.engine.logprob = float("nan") if body["model"] == hex_of(digest) else -0.5
        return answer(body)

    pod.engine.answer = by_model
    with pod.loader():
        pod.want(digest, good)
        said = pod.until(digest, State.FAILED)
        pod.until(good, State.ANSWERS)
        assert said.reason == "NotNumbers"
        assert speaks(said.reason, said.message)
        assert pod.model(base_of(pod)).state is State.ANSWERS


def test_what_the_engine_refuses_has_failed_when_it_does_so_again(pod: Pod) -> None:
    digest = pod.publish()
    with pod.loader(loader_models__REFUSED_SECONDS=1.0, loader_models__PROBE_SECONDS=60.0):
        pod.until(base_of(pod), State.ANSWERS)
        pod.engine.faults = [engine_server.status(400, "could not be loaded")]
        pod.want(digest)
        said = pod.until(digest, State.LOADING, "EngineRefuses")
        assert "could not be loaded" in said.message
        pod.until(digest, State.ANSWERS)
        other = pod.publish("other")
        pod.engine.faults = [engine_server.status(400, "could not be loaded")] * 2
        pod.want(digest, other)
        said = pod.until(other, State.FAILED, "EngineRefuses")
        assert speaks(said.reason, said.message)


def test_an_engine_that_is_lost_is_told_and_found_again(pod: Pod) -> None:
    digest = pod.publish()
    with pod.loader():
        pod.want(digest)
        pod.until(digest, State.ANSWERS)
        pod.until_ready()
        pod.engine.healthy = False
        for model in (digest, base_of(pod)):
            said = pod.until(model, State.LOADING, serving.LOST)
            assert speaks(said.reason, said.message)
        assert pod.ask("GET", loading.HEALTH_PATH)[0] == 503
        pod.engine.loaded.clear()
        asked = len(pod.engine.asked)
        pod.engine.healthy = True
        for model in (digest, base_of(pod)):
            pod.until(model, State.ANSWERS)
        assert {body["model"] for body in pod.engine.asked[asked:]} >= {hex_of(digest), hex_of(base_of(pod))}
        pod.until_ready()


def test_an_engine_that_never_begins_is_not_ready(pod: Pod) -> None:
    pod.engine.healthy = False
    with pod.loader():
        said = pod.until(base_of(pod), State.LOADING, serving.NOT_READY)
        assert speaks(said.reason, said.message)
        (pod.root / "engine" / "starts").write_text("once\nagain\n")
        until(lambda: "started 2 times" in pod.model(base_of(pod)).message, lambda: str(pod.told))


def test_an_engine_that_hangs_is_lost_and_one_that_is_busy_is_not(pod: Pod) -> None:
    with pod.loader(loader_models__PROBE_SECONDS=0.1, loader_engine__STUCK_SECONDS=4.0):
        pod.until(base_of(pod), State.ANSWERS)
        pod.engine.seconds = 60.0
        begun = time.monotonic()
        while time.monotonic() - begun < 6:
            pod.engine.computed += 1  # for others
            assert pod.model(base_of(pod)).state is State.ANSWERS
            time.sleep(0.05)
        said = pod.until(base_of(pod), State.LOADING, serving.LOST)
        assert "computes nothing" in said.message
        assert speaks(said.reason, said.message)
        pod.engine.computed += 1
        pod.until(base_of(pod), State.ANSWERS)


def test_a_version_that_was_not_tested_is_not_asked(pod: Pod) -> None:
    pod.engine.version = "0.31.0"
    with pod.loader():
        said = pod.until(base_of(pod), State.FAILED, "EngineUnsuited")
        assert speaks(said.reason, said.message)
    assert not pod.engine.asked


def test_another_key_than_the_engine_asks_for_is_told(pod: Pod) -> None:
    pod.engine.key = "another"
    with pod.loader():
        until(lambda: "401" in pod.model(base_of(pod)).message, lambda: str(pod.told))
        (pod.root / "keys" / loading.ENGINE_KEY_FILE).write_text("n" * 64)
        pod.engine.key = "n" * 64
        pod.until(base_of(pod), State.ANSWERS)


def test_what_is_not_wanted_any_more_is_removed_later(pod: Pod) -> None:
    first, second = pod.publish("one"), pod.publish("two")
    place = {digest: adapter(pod, digest) for digest in (first, second)}
    with pod.loader(loader_serving__KEEP_SECONDS=1.0):
        pod.want(first, second)
        for digest in (first, second):
            pod.until(digest, State.ANSWERS)
        pod.want(second)
        assert [model.name for model in pod.told.models][1:] == [hex_of(second)]
        time.sleep(0.3)
        assert place[first].exists()
        until(lambda: not place[first].exists(), lambda: "it stays")
        assert pod.engine.loaded == [hex_of(second)], "the engine would look for its files, and end without them"
        time.sleep(1.2)
        assert place[second].exists()
        assert (pod.models / hex_of(base_of(pod)) / "config.json").exists()
        pod.want(first, second)
        pod.until(first, State.ANSWERS)


def test_one_that_is_wanted_again_while_it_is_still_copied_is_there_whole(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(places.ROOT_VARIABLE, str(pod.root))
    digest, copied, goes_on, fetched = pod.publish(), threading.Event(), threading.Event(), copies.fetched

    def pauses(*asked: Any) -> FileEntry:
        found = fetched(*asked)
        if not copied.is_set():
            copied.set()
            assert goes_on.wait(10)
        return found

    monkeypatch.setattr(copies, "fetched", pauses)
    with ThreadPoolExecutor(1) as other:
        late = other.submit(loader_files.bring_adapter, digest, 64)
        assert copied.wait(10)
        loader_files.bring_adapter(digest, 64)
        files = {file.name: file.read_bytes() for file in adapter(pod, digest).iterdir()}
        goes_on.set()
        late.result(10)
    assert set(files) == {"adapter_config.json", "adapter_model.safetensors"}
    assert files == {file.name: file.read_bytes() for file in adapter(pod, digest).iterdir()}
    assert [each.name for each in (pod.models / "adapters").iterdir()] == [hex_of(digest)]


def test_a_loader_that_starts_again_goes_on_without_storage_and_without_being_told(pod: Pod) -> None:
    digest, serve = pod.publish(), pod.serve()
    with pod.loader(serve):
        pod.want(digest)
        pod.until(digest, State.ANSWERS)
    (pod.models / "adapters" / "half.part").mkdir()
    for folder in ("storage", "pvc"):
        (pod.root / folder).rename(pod.root / f"{folder} away")
    with pod.loader(serve):
        for model in (digest, serve.base.model or ""):
            pod.until(model, State.ANSWERS)
        pod.until_ready()
    assert len(pod.engine.words) == 1
    assert [each.name for each in (pod.models / "adapters").iterdir()] == [hex_of(digest)]


def test_a_whole_model_is_served_in_the_place_of_the_base(pod: Pod) -> None:
    files = {"config.json": json.dumps(loader_pod.CONFIG | {"dtype": "bfloat16"}).encode()}
    weights = (pod.root / "pvc" / "models" / "base" / "model.safetensors").read_bytes()
    whole = pod.storage.publish(files | {"model.safetensors": weights}, "run").digest
    with pod.loader(pod.serve(model=whole, max_adapters=0, max_rank=0)):
        pod.until(whole, State.ANSWERS)
        pod.until_ready()
        code, text = pod.ask("PUT", loading.PATH, json.dumps({"adapters": [whole]}).encode(), TOKEN)
        assert code == 422
        assert speaks("NotServed", text)
    words = pod.engine.words[0]
    assert words[:2] == ["--model", f"/models/{hex_of(whole)}"]
    assert "bfloat16" in words
    assert "--enable-lora" not in words
    assert (pod.models / hex_of(whole) / "tokenizer.json").exists()


def test_a_whole_model_that_was_changed_is_not_served(pod: Pod) -> None:
    whole = pod.storage.publish({"config.json": b"{}", "model.safetensors": b"x"}, "run").digest
    (pod.root / "storage" / layout.artifact_folder(whole) / "model.safetensors").write_bytes(b"y")
    with pod.loader(pod.serve(model=whole, max_adapters=0, max_rank=0)):
        said = pod.until(whole, State.FAILED, "ArtifactCorrupt")
        assert speaks(said.reason, said.message)
    assert not (pod.models / "serve").exists()


def test_nobody_else_is_answered(pod: Pod) -> None:
    with pod.loader():
        for token in ("", "x", TOKEN[:-1], f"{TOKEN}t"):
            for method, body in (("GET", None), ("PUT", b'{"adapters":[]}')):
                assert pod.ask(method, loading.PATH, body, token)[0] == 401
        assert pod.ask("PUT", loading.PATH, b"x" * 70_000, TOKEN)[0] == 413
        for body in (b"", b"[]", b'{"adapters":["../x"]}', b'{"adapters":"x"}', b'{"others":[]}'):
            code, text = pod.ask("PUT", loading.PATH, body, TOKEN)
            assert code == 400
            assert speaks("BadRequest", text)
        assert pod.ask("GET", "/other")[0] == 404
        (pod.root / "keys" / loading.TOKEN_FILE).write_text("")
        assert pod.ask("GET", loading.PATH, token=TOKEN)[0] == 500, "an empty token lets nobody in"


def test_it_ends_at_once_when_it_is_told_to(pod: Pod) -> None:
    pod.engine.seconds = 30.0
    with pod.loader() as process:
        until(lambda: pod.engine.asked, lambda: "it was asked")
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 128 + signal.SIGTERM
        assert time.monotonic() - begun < 1
