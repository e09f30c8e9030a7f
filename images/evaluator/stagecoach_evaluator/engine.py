"""Requests to an engine in the same pod, and what becomes of one that is not answered.

Prompts are token ids: nobody tokenizes twice. What the engine refuses it would refuse again; where it is away it
starts, or starts again, and is asked once more when it is back.
"""

import http.client
import json
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from stagecoach.contract import completions, readings, serving
from stagecoach.contract.completions import NoAnswer, NotNumbers
from stagecoach.contract.loading import Load
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer.failures import WorkFailed

# Of one request: the machine may be busy. What was asked goes on until the connection is closed.
REQUEST_SECONDS = 600.0
# Of a question about the engine itself, for which nothing is computed: who waits for it has to see how long that is.
LOOK_SECONDS = 30.0
# Said of the moment, not of the request.
OF_THE_MOMENT = (408, 425, 429)
WORDS = 300  # characters of an engine's own that are told
# Counters of what it has read and written; they grow while it computes.
COMPUTED = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
# Gauges of the requests that wait, and that are computed.
WAITING, RUNNING = "vllm:num_requests_waiting{", "vllm:num_requests_running{"

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Refused(Exception):
    """The engine will not answer this, whenever it is asked."""


class Away(Exception):
    """The engine does not answer now."""


@dataclass(frozen=True)
class Client:
    """An engine by its port. It is reached directly: a proxy is for what is outside of the cluster."""

    port: int = serving.PORT
    seconds: float = REQUEST_SECONDS
    key: str = field(default="", repr=False)  # that it asks for, if it does

    def complete(self, model: str, prompt: Sequence[int], request: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the tokens that a request of contract/completions.py asks for. Raises Refused, Away and NotNumbers."""
        return self._answered("/v1/completions", model, {"prompt": list(prompt), **request}, completions.tokens)

    def classify(self, model: str, prompts: Sequence[Sequence[int]], labels: int | None = None) -> list[list[float]]:
        """Return the probability of each label, of each prompt. Raises Refused, Away and NotNumbers."""
        read = partial(readings.probabilities, prompts=len(prompts), labels=labels)
        return self._answered(readings.CLASSIFY, model, readings.classifying(prompts), read)

    def embed(self, model: str, prompt: Sequence[int]) -> list[float]:
        """Return the vector of a prompt. Raises Refused, Away and NotNumbers."""
        return self._answered(readings.EMBED, model, readings.embedding(prompt), readings.vector)

    def check_health(self) -> None:
        """Raise Refused or Away where the engine says that it cannot be asked, or says nothing."""
        self._said("GET", "/health")

    def computed(self) -> float:
        """Return how many tokens it has read and written since it began. Raises Refused and Away."""
        return sum(_numbers(self._said("GET", "/metrics"), *COMPUTED))

    def load(self) -> Load:
        """Return how many requests wait for it, and are computed. Raises Refused, and Away where it does not say so."""
        text = self._said("GET", "/metrics")
        waiting, running = _numbers(text, WAITING), _numbers(text, RUNNING)
        if not waiting or not running:
            raise Away("its metrics do not have vllm:num_requests_waiting and vllm:num_requests_running")
        return Load(waiting=round(sum(waiting)), running=round(sum(running)))

    def unload(self, adapter: str) -> None:
        """Have it forget an adapter, which it would look for in its folder again. Raises Refused and Away."""
        try:
            self._said("POST", "/v1/unload_lora_adapter", {"lora_name": adapter})
        except Refused as error:
            if not str(error).startswith("404 "):  # it was not loaded
                raise

    def served(self) -> set[str]:
        """Return the names of what can be asked now. Raises Refused and Away."""
        self.check_health()
        try:
            return {str(each["id"]) for each in self._call("GET", "/v1/models")["data"]}
        except (KeyError, TypeError) as error:
            raise Away("what it said is no list of models") from error

    def version(self) -> str:
        """Return the version of vLLM; nothing where it says none. Raises Away."""
        try:
            return str(self._call("GET", "/version")["version"])
        except (Refused, KeyError, TypeError):
            return ""

    def _answered(self, path: str, model: str, request: Mapping[str, Any], read: Callable[[Any], Answer]) -> Answer:
        try:
            return read(self._call("POST", path, {"model": model, **request}))
        except NoAnswer as error:
            raise Away(str(error)) from error
        except Refused as error:
            if completions.NOT_JSON in str(error):
                raise NotNumbers from error
            raise

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        try:
            return json.loads(self._said(method, path, body))
        except ValueError as error:
            raise Away("what it said is not JSON") from error

    def _said(self, method: str, path: str, body: Any = None) -> str:
        seconds = min(self.seconds, LOOK_SECONDS) if method == "GET" else self.seconds
        connection = http.client.HTTPConnection(serving.HOST, self.port, timeout=seconds)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise Away(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        finally:
            connection.close()
        if answer.status >= 500 or answer.status in OF_THE_MOMENT:
            raise Away(f"{answer.status} {text[:WORDS]}")
        if answer.status != 200:
            raise Refused(f"{answer.status} {text[:WORDS]}")
        return text


def _numbers(metrics: str, *names: str) -> list[float]:
    """Return the values of the lines that begin so."""
    return [float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith(names)]


class Patience:
    """Asks once more where the engine was away, once it is back: `back` waits for it, `see` says where its log is."""

    def __init__(self, back: Callable[[], object], see: str) -> None:
        self._back = back
        self._see = see
        self._one_waits = threading.Lock()
        self._was_back = 0.0

    def ask(self, what: str, ask: Callable[[], Answer]) -> Answer:
        """Return the answer. Raises BadInput for what is refused, and WorkFailed where there is none twice."""
        try:
            return ask()
        except Refused as error:
            raise self._refused(what, error) from error
        except Away:
            self._wait(time.monotonic())
        try:
            return ask()
        except Refused as error:
            raise self._refused(what, error) from error
        except Away as error:
            message = f"the engine gave no answer to {what}, nor when it was asked again: {error}."
            remedy = f"{self._see} If it was short of memory or time, raise the gate's resources."
            raise WorkFailed(Problem.of(serving.LOST, message, remedy=remedy)) from error

    def _wait(self, since: float) -> None:
        """Wait until it is back; whom others have waited for meanwhile need not."""
        with self._one_waits:
            if self._was_back <= since:
                self._back()
                self._was_back = time.monotonic()

    def _refused(self, what: str, error: Refused) -> BadInput:
        message = f"the engine refuses {what}: {error}."
        remedy = f"{self._see} Or set the project's spec.inference.engine to Transformers."
        return BadInput(Problem.of("EngineRefuses", message, remedy=remedy))


@dataclass(frozen=True)
class Served:
    """A release that the engine serves, by the name that it is asked by."""

    client: Client
    model: str
    patience: Patience


def side_by_side(
    ask: Callable[[Asked], Answer], what: Sequence[Asked], number: int, tell: Callable[[int], None]
) -> list[Answer]:
    """Ask so many at a time; return the answers in their order. The first error ends it.

    A request that is under way keeps nobody: its thread ends with the process.
    """
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Answer | None, BaseException | None]] = queue.SimpleQueue()
    for index in range(len(what)):
        left.put(index)
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                index = left.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((index, ask(what[index]), None))
            except BaseException as error:  # it is raised where the answers are waited for
                done.put((index, None, error))

    for _ in range(min(number, len(what))):
        threading.Thread(target=work, daemon=True).start()
    found: dict[int, Any] = {}
    try:
        while len(found) < len(what):
            index, answer, error = done.get()
            if error is not None:
                raise error
            found[index] = answer
            tell(len(found))
    finally:
        over.set()
    return [found[index] for index in range(len(what))]
