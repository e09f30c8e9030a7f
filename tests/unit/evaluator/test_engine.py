"""Requests to an engine: what an answer is, what is refused, and what is asked again."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stagecoach.contract import completions, serving
from stagecoach.contract.completions import NotNumbers
from stagecoach.contract.loading import Load
from stagecoach.contract.reports import BadInput
from stagecoach_evaluator import engine as asking
from stagecoach_evaluator import server as servers
from stagecoach_evaluator.engine import Away, Client, Patience, Refused, side_by_side
from stagecoach_evaluator.laying import lay
from stagecoach_evaluator.server import Server
from stagecoach_trainer import places
from stagecoach_trainer.failures import WorkFailed
from tests.remedies import speaks

from . import engine_server
from .engine_server import Engine, broken_off, hang_up, no_json, nonsense, silent, status

REQUEST = completions.writing(4, 2)
SEE = "See kubectl logs pod -n team -c engine."


@pytest.fixture
def running() -> Iterator[tuple[Engine, Client]]:
    """An engine that serves `base`."""
    with engine_server.serving() as (engine, port):
        yield engine, Client(port, seconds=20)


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the pod's mounts."""
    monkeypatch.setenv(places.ROOT_VARIABLE, str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "engine").mkdir()
    return tmp_path


def patience(client: Client) -> Patience:
    def back() -> None:
        while True:
            try:
                client.served()
            except Away:
                time.sleep(0.05)
            else:
                return

    return Patience(back, SEE)


def test_a_request_is_of_token_ids_and_for_the_likeliest_ones(running: tuple[Engine, Client]) -> None:
    engine, client = running
    assert client.complete("base", (7, 8), REQUEST) == (5, 6, 2)
    assert engine.asked == [{"model": "base", "prompt": [7, 8], **REQUEST}]
    assert client.version() == "0.32.0"


def test_a_token_by_what_is_not_a_number_is_no_answer(running: tuple[Engine, Client]) -> None:
    engine, client = running
    engine.faults = [engine_server.not_numbers]
    with pytest.raises(NotNumbers):
        patience(client).ask("a row", lambda: client.complete("base", (7,), REQUEST))
    assert len(engine.asked) == 1, "it would be none again"


@pytest.mark.parametrize("logprob", [None, float("nan"), float("-inf"), -9999.0])
def test_a_token_without_a_probability_is_no_answer(running: tuple[Engine, Client], logprob: float | None) -> None:
    engine, client = running
    engine.logprob = logprob
    with pytest.raises(NotNumbers):
        client.complete("base", (7,), REQUEST)


def test_an_answer_without_probabilities_is_none(running: tuple[Engine, Client]) -> None:
    engine, client = running
    engine.faults = [lambda handler: handler.send(200, {"choices": [{"finish_reason": "stop", "token_ids": [5]}]})]
    with pytest.raises(NotNumbers):
        client.complete("base", (7,), REQUEST)


def test_no_proxy_is_asked(running: tuple[Engine, Client], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert running[1].served() == {"base"}


@pytest.mark.parametrize("code", [400, 404, 422])
def test_what_is_refused_is_not_asked_again(running: tuple[Engine, Client], code: int) -> None:
    engine, client = running
    engine.faults = [status(code, "no such adapter")]
    with pytest.raises(BadInput) as caught:
        patience(client).ask("test.csv:3", lambda: client.complete("base", (7,), REQUEST))
    problem = caught.value.problem
    assert problem.reason == "EngineRefuses"
    assert "test.csv:3" in problem.message
    assert "no such adapter" in problem.message
    assert speaks(problem.reason, problem.sentence)
    assert len(engine.asked) == 1


AWAY = {
    "it has ended": hang_up,
    "its core has ended": status(500, "EngineCore encountered an issue"),
    "it is about to end": status(503),
    "it has no time": status(429),
    "no answer in time": silent,
    "no completion": nonsense,
    "no JSON": no_json,
    "broken off": broken_off,
}


@pytest.mark.parametrize("fault", AWAY.values(), ids=AWAY.keys())
def test_what_may_pass_is_asked_again_once(running: tuple[Engine, Client], fault: engine_server.Fault) -> None:
    engine, client = running
    client = Client(client.port, seconds=2) if fault is silent else client
    engine.faults = [fault]
    assert patience(client).ask("a row", lambda: client.complete("base", (7,), REQUEST)) == (5, 6, 2)
    engine.faults = [fault, fault]
    with pytest.raises(WorkFailed) as caught:
        patience(client).ask("test.csv:3", lambda: client.complete("base", (7,), REQUEST))
    problem = caught.value.problem
    assert problem.reason == serving.LOST
    assert "test.csv:3" in problem.message
    assert speaks(problem.reason, problem.sentence)


def test_an_engine_that_starts_again_is_waited_for(running: tuple[Engine, Client]) -> None:
    engine, client = running

    def ends(handler: engine_server._Handler) -> None:
        engine.healthy = False
        hang_up(handler)
        threading.Timer(0.5, lambda: setattr(engine, "healthy", True)).start()

    engine.faults = [ends]
    begun = time.monotonic()
    assert patience(client).ask("a row", lambda: client.complete("base", (7,), REQUEST)) == (5, 6, 2)
    assert time.monotonic() - begun > 0.4


def test_many_that_lost_it_at_once_wait_once(running: tuple[Engine, Client]) -> None:
    engine, client = running
    engine.faults = [hang_up] * 8
    all_lost_it = threading.Barrier(8)
    waited: list[float] = []

    def back() -> None:
        time.sleep(0.3)
        waited.append(time.monotonic())

    def ask(row: int) -> tuple[int, ...]:
        try:
            return client.complete("base", (row,), REQUEST)
        except Away:
            all_lost_it.wait(30)  # nobody asks again before each has been hung up on
            raise

    patient = Patience(back, SEE)
    found = side_by_side(lambda row: patient.ask("a row", lambda: ask(row)), list(range(8)), 8, lambda _: None)
    assert found == [(5, 6, 2)] * 8
    assert len(waited) < 8


def test_what_was_refused_after_it_was_away_is_refused(running: tuple[Engine, Client]) -> None:
    engine, client = running
    engine.faults = [hang_up, status(400)]
    with pytest.raises(BadInput):
        patience(client).ask("a row", lambda: client.complete("base", (7,), REQUEST))


def test_so_many_are_asked_at_a_time_and_answered_in_order(running: tuple[Engine, Client]) -> None:
    engine, client = running
    engine.seconds = 0.02
    engine.answer = lambda body: body["prompt"]
    told: list[int] = []
    found = side_by_side(lambda each: client.complete("base", (each,), REQUEST), list(range(40)), 8, told.append)
    assert found == [(each,) for each in range(40)]
    assert told == list(range(1, 41))
    assert 1 < engine.most_at_once <= 8


def test_the_first_error_ends_it_and_nobody_waits_for_the_rest(running: tuple[Engine, Client]) -> None:
    engine, client = running
    engine.seconds = 0.2
    engine.faults = [status(404)]
    begun = time.monotonic()
    with pytest.raises(Refused):
        side_by_side(lambda each: client.complete("base", (each,), REQUEST), list(range(400)), 2, lambda _: None)
    assert time.monotonic() - begun < 5
    time.sleep(0.5)
    assert len(engine.asked) < 8


def test_an_engine_is_told_what_to_serve_and_waited_for(running: tuple[Engine, Client], pod: Path) -> None:
    engine, client = running
    server = Server(client, SEE, look=0.02)
    engine.served = set()

    def starts() -> None:
        (pod / "engine" / "starts").write_text("--model /models/another\n")
        engine.served.add("another")

    threading.Timer(0.3, starts).start()
    assert server.serve(["--model", "/models/another"], "another") == "0.32.0"
    assert (pod / "models" / "serve").read_text() == "--model /models/another\n"
    assert list((pod / "models").iterdir()) == [pod / "models" / "serve"]
    changed = (pod / "models" / "serve").stat().st_mtime_ns
    server.serve(["--model", "/models/another"], "another")
    assert (pod / "models" / "serve").stat().st_mtime_ns == changed, "what is served already goes on"


def test_the_server_of_before_is_not_taken_for_the_one_that_was_told(running: tuple[Engine, Client], pod: Path) -> None:
    engine, client = running
    engine.file, engine.starts, engine.seconds_to_end = pod / "models" / "serve", pod / "engine" / "starts", 0.3
    server = Server(client, SEE, look=0.02)
    for limit in ("108", "64"):
        words = ["--served-model-name", "base", "--max-model-len", limit]
        server.serve(words, "base")
        assert engine.words[-1] == words, "the name is the same, and another limit was served"


@pytest.mark.parametrize("there", [True, False], ids=["it serves another", "it is not there"])
@pytest.mark.usefixtures("pod")
def test_an_engine_that_never_serves_it_is_given_up(running: tuple[Engine, Client], *, there: bool) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        client = running[1] if there else Client(free.getsockname()[1], seconds=0.5)
        with pytest.raises(WorkFailed) as caught:
            Server(client, SEE, seconds=0.3, look=0.02).serve(["--model", "x"], "x")
    problem = caught.value.problem
    assert problem.reason == serving.NOT_READY
    assert "could not be asked within" in problem.message
    assert speaks(problem.reason, problem.sentence)


@pytest.mark.usefixtures("pod")
def test_an_engine_that_takes_questions_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before a request to compute something would be."""
    monkeypatch.setattr(asking, "LOOK_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        begun = time.monotonic()
        with pytest.raises(WorkFailed) as caught:
            Server(Client(listener.getsockname()[1]), SEE, seconds=0.3, look=0.02).serve(["--model", "x"], "x")
    assert time.monotonic() - begun < 60
    assert caught.value.problem.reason == serving.NOT_READY


def test_an_engine_that_ends_at_every_start_is_given_up_soon(running: tuple[Engine, Client], pod: Path) -> None:
    engine, client = running
    engine.healthy = False
    starts = pod / "engine" / "starts"
    starts.write_text("earlier\n" * 9)
    threading.Timer(0.2, lambda: starts.write_text("earlier\n" * 9 + "now\n" * (servers.MOST_STARTS + 1))).start()
    with pytest.raises(WorkFailed) as caught:
        Server(client, SEE, look=0.02).serve(["--model", "x"], "x")
    assert caught.value.problem.reason == serving.NOT_READY
    assert "was started 3 times" in caught.value.problem.message


def test_the_engine_finds_files_where_they_are_and_no_others(pod: Path) -> None:
    source = pod / "pvc"
    source.mkdir()
    for name in ("config.json", "model.safetensors", "params.json"):
        (source / name).write_text(name)
    lay("abc", [(str(source), "config.json"), (str(source), "model.safetensors")])
    lay("abc", [(str(source), "config.json")])
    found = sorted((pod / "models" / "abc").iterdir())
    assert [each.name for each in found] == ["config.json", "model.safetensors"]
    assert found[0].read_text() == "config.json"


def test_an_engine_that_asks_for_a_key_gets_it(running: tuple[Engine, Client]) -> None:
    engine, stranger = running
    engine.key = "k" * 64
    client = replace(stranger, key=engine.key)
    assert client.complete("base", (7,), REQUEST) == (5, 6, 2)
    assert client.served() == {"base"}
    assert engine.key not in repr(client)
    for ask in (lambda: stranger.complete("base", (7,), REQUEST), stranger.served):
        with pytest.raises(Refused, match="401"):
            ask()


def test_an_adapter_is_forgotten_also_when_it_was_not_known(running: tuple[Engine, Client]) -> None:
    engine, client = running
    engine.loaded = ["one", "two"]
    client.unload("one")
    client.unload("one")
    assert engine.loaded == ["two"]
    engine.key = "k" * 64
    with pytest.raises(Refused, match="401"):
        client.unload("two")


def test_what_an_engine_has_computed_is_read_from_its_counters(running: tuple[Engine, Client]) -> None:
    engine, client = running
    engine.computed = 17
    assert client.computed() == 17.0


def test_how_much_waits_is_read_from_its_metrics_and_nothing_is_made_up(running: tuple[Engine, Client]) -> None:
    engine, client = running
    engine.waiting, engine.at_once = 5, 3
    assert client.load() == Load(waiting=5, running=3)
    engine.waiting = None
    with pytest.raises(Away, match="num_requests_waiting"):
        client.load()
