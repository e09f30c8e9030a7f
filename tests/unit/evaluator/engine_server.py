"""A server on this machine that speaks as vLLM does (images/engine-cpu/README.md), and misbehaves as that may."""

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Body = dict[str, Any]
END = 2
# What is done in the place of an answer, once.
Fault = Callable[["_Handler"], None]


class Engine:
    """What it serves, what it was asked, and what it is going to do wrong."""

    def __init__(self) -> None:
        self.served: set[str] = {"base"}
        self.file: Path | None = None  # that says what to serve, as the pod's engine reads it
        self.starts: Path | None = None  # where it says what it was started with
        self.words: list[list[str]] = []  # what it was told so far
        self.seconds_to_end = 0.0  # so long after it is told another it serves what it served
        self.told_another: float | None = None
        self.version: str | None = "0.32.0"
        self.key = ""  # that it asks for
        self.adapters: Path | None = None  # where it looks for what it does not serve yet
        self.loaded: list[str] = []  # adapters that it found there, and was not told to forget
        self.computed = 0  # tokens
        self.waiting: int | None = 0  # requests; None: it does not say
        self.healthy = True
        self.asked: list[Body] = []
        self.faults: list[Fault] = []
        self.at_once = self.most_at_once = 0
        self.seconds = 0.0  # that an answer takes
        self.text = [5, 6, END]
        self.answer: Callable[[Body], list[int]] = self._answer
        self.logprob: float | None = -0.5  # of each token
        self.finish = "stop"
        self.labels = 2  # that a head of it chooses among
        self.read: Callable[[str, list[int]], list[float]] = self._read
        self.paths: list[str] = []  # of what it was asked
        self.lock = threading.Lock()

    def serves(self) -> set[str]:
        """Return the names of what can be asked."""
        if self.file is None:
            return self.served
        words = self.file.read_text().split() if self.file.exists() else []
        with self.lock:
            if words and words not in self.words[-1:]:
                self._switch(words)
        return {each[each.index("--served-model-name") + 1] for each in self.words[-1:]}

    def knows(self, model: str) -> bool:
        """Whether it can be asked; an adapter is looked for where adapters are."""
        if self.adapters is None or model in self.serves() or model in self.loaded:
            return True
        found = (self.adapters / model / "adapter_config.json").is_file()
        self.loaded += [model] if found else []
        return found

    def metrics(self) -> str:
        """Return what it counts, as vLLM 0.32 says it."""
        told = {"vllm:prompt_tokens_total": self.computed}
        if self.waiting is not None:
            told |= {"vllm:num_requests_running": self.at_once, "vllm:num_requests_waiting": self.waiting}
        lines = [f'{name}{{engine="0",model_name="a"}} {value}.0' for name, value in told.items()]
        by_reason = 'vllm:num_requests_waiting_by_reason{engine="0",model_name="a",reason="capacity"} 7.0'
        return "\n".join(["# HELP x", *lines, by_reason, ""])

    def _switch(self, words: list[str]) -> None:
        """Serve something else, as soon as what was served has ended."""
        now = time.monotonic()
        self.told_another = self.told_another or now
        if self.words and now - self.told_another < self.seconds_to_end:
            return
        self.told_another = None
        self.words.append(words)
        if self.starts:
            with self.starts.open("a") as stream:
                stream.write(" ".join(words) + "\n")

    def _read(self, path: str, prompt: list[int]) -> list[float]:
        """Return what an encoder makes of a prompt: two that are alike make the same."""
        if path == "/v1/embeddings":
            return [math.cos(sum(prompt)), math.sin(sum(prompt))]
        share = sum(prompt) % 8 / 10
        return [share, 1 - share, *[0.0] * (self.labels - 2)]

    def encoded(self, path: str, body: Body) -> Body:
        """Return the answer to a request that an encoder reads."""
        prompts = body["input"] if isinstance(body["input"][0], list) else [body["input"]]
        name = "embedding" if path == "/v1/embeddings" else "probs"
        rows = [{"index": index, name: self.read(path, prompt)} for index, prompt in enumerate(prompts)]
        return {"data": rows[::-1]}

    def _answer(self, body: Body) -> list[int]:
        allowed = body.get("allowed_token_ids")
        return [allowed[sum(body["prompt"]) % len(allowed)]] if allowed else self.text


def status(code: int, words: str = "no") -> Fault:
    """Answer with an error."""
    return lambda handler: handler.send(code, {"error": {"message": words, "code": code}})


def not_numbers(handler: "_Handler") -> None:
    """Say what vLLM 0.32 says where the logarithm of a probability is not a number."""
    message = "Out of range float values are not JSON compliant"
    handler.send(400, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}})


def hang_up(handler: "_Handler") -> None:
    """Close the connection, as one that was killed does."""
    handler.close_connection = True
    handler.connection.close()


def nonsense(handler: "_Handler") -> None:
    """Say something that is no completion."""
    handler.send(200, {"choices": []})


def no_json(handler: "_Handler") -> None:
    """Say something that is not JSON."""
    handler.raw(200, b"<html>")


def broken_off(handler: "_Handler") -> None:
    """Break an answer off."""
    handler.send(200, {"choices": [{"finish_reason": "abort", "token_ids": [5]}]})


def silent(handler: "_Handler") -> None:
    """Say nothing for longer than anybody waits."""
    time.sleep(3)
    hang_up(handler)


class _Handler(BaseHTTPRequestHandler):
    engine: Engine

    def do_GET(self) -> None:
        if not self.engine.healthy:
            self.send(503, {})
        elif self.path == "/health":
            self.raw(200, b"")
        elif self.path == "/metrics":
            self.raw(200, self.engine.metrics().encode())
        elif self.stranger():
            self.send(401, {"error": "Unauthorized"})
        elif self.path == "/version":
            self.send(200, {"version": self.engine.version} if self.engine.version else {})
        else:
            self.send(200, {"data": [{"id": name} for name in sorted(self.engine.serves())]})

    def do_POST(self) -> None:
        engine = self.engine
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not engine.healthy or self.stranger():
            self.send(401 if engine.healthy else 503, {})
            return
        if self.path == "/v1/unload_lora_adapter":
            known = body["lora_name"] in engine.loaded
            engine.loaded = [name for name in engine.loaded if name != body["lora_name"]]
            self.raw(200 if known else 404, b"Success")
            return
        with engine.lock:
            engine.asked.append(body)
            engine.paths.append(self.path)
            engine.at_once += 1
            engine.most_at_once = max(engine.most_at_once, engine.at_once)
            fault = engine.faults.pop(0) if engine.faults else None
        time.sleep(engine.seconds)
        with engine.lock:
            engine.at_once -= 1  # before it answers: whoever has the answer may ask the next
        if fault:
            fault(self)
            return
        if not engine.knows(body["model"]):
            self.send(404, {"error": {"message": f"LoRA adapter {body['model']} does not exist", "code": 404}})
            return
        if "input" in body:
            self.send(200, engine.encoded(self.path, body))
            return
        tokens = engine.answer(body)
        choice: Body = {"finish_reason": engine.finish, "token_ids": tokens}
        if "logprobs" in body:
            choice["logprobs"] = {"token_logprobs": [engine.logprob] * len(tokens)}
        self.send(200, {"choices": [choice]})

    def stranger(self) -> bool:
        guarded = self.path.startswith("/v1") and self.engine.key
        return bool(guarded) and self.headers["Authorization"] != f"Bearer {self.engine.key}"

    def send(self, code: int, document: Any) -> None:
        self.raw(code, json.dumps(document).encode())

    def raw(self, code: int, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[tuple[Engine, int]]:
    """Serve; yield the engine, and its port."""
    engine = Engine()
    handler = type("Handler", (_Handler,), {"engine": engine})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield engine, server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
