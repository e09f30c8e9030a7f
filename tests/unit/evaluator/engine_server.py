"""A server on this machine that speaks as vLLM does (images/engine-cpu/README.md), and misbehaves as that may."""

import json
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
        self.words: list[list[str]] = []  # what it was told so far
        self.healthy = True
        self.asked: list[Body] = []
        self.faults: list[Fault] = []
        self.at_once = self.most_at_once = 0
        self.seconds = 0.0  # that an answer takes
        self.text = [5, 6, END]
        self.answer: Callable[[Body], list[int]] = self._answer
        self.finish = "stop"
        self.lock = threading.Lock()

    def serves(self) -> set[str]:
        """Return the names of what can be asked."""
        if self.file is None:
            return self.served
        words = self.file.read_text().split()
        if words not in self.words:
            self.words.append(words)
        return {words[words.index("--served-model-name") + 1]}

    def _answer(self, body: Body) -> list[int]:
        allowed = body.get("allowed_token_ids")
        return [allowed[sum(body["prompt"]) % len(allowed)]] if allowed else self.text


def status(code: int, words: str = "no") -> Fault:
    """Answer with an error."""
    return lambda handler: handler.send(code, {"error": {"message": words, "code": code}})


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
        elif self.path == "/version":
            self.send(200, {"version": "0.32.0"})
        else:
            self.send(200, {"data": [{"id": name} for name in sorted(self.engine.serves())]})

    def do_POST(self) -> None:
        engine = self.engine
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with engine.lock:
            engine.asked.append(body)
            engine.at_once += 1
            engine.most_at_once = max(engine.most_at_once, engine.at_once)
            fault = engine.faults.pop(0) if engine.faults else None
        try:
            time.sleep(engine.seconds)
            if fault:
                fault(self)
            else:
                tokens = engine.answer(body)
                self.send(200, {"choices": [{"finish_reason": engine.finish, "token_ids": tokens}]})
        finally:
            with engine.lock:
                engine.at_once -= 1

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
