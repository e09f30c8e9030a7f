"""A folder that stands for the mounts of a pod that serves, an engine that speaks as vLLM does, and the loader."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from stagecoach.contract import loading, releases
from stagecoach.contract.digests import Manifest, hex_of
from stagecoach.contract.gateway_routes import ROUTES_FILE, Candidate, Routes, Target, sign
from stagecoach.contract.inputs import BaseInput, LabelsInput, Overflow, Prompt, Tokenization
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.loading import Loaded, LoadedModel, Serve, State
from stagecoach.contract.releases import Asked, DescribedRelease, EngineType, Release
from stagecoach.contract.store import Store
from stagecoach_trainer import bases, places

from .engine_server import Engine

Found = TypeVar("Found")
TOKEN, KEY, ROUTES_KEY = "t" * 64, "k" * 64, "r" * 64
URL, OTHER_URL = "http://intents-e-1.team.svc:8000", "http://intents-e-2.team.svc:8000"
SOON = 60.0
CONFIG = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 256, "dtype": "float32"}
# What passes in an hour of a pod passes in a test.
FAST = {
    "loader_models.PROBE_SECONDS": 0.2,
    "loader_models.FAILED_SECONDS": 0.3,
    "loader_models.REFUSED_SECONDS": 0.1,
    "loader_models.MOST_SECONDS": 0.3,
    "loader_serving.LOOK_SECONDS": 0.05,
    "loader_serving.SWEEP_SECONDS": 0.05,
}
PROGRAM = """
import importlib, json, sys
for name, value in json.loads(sys.argv[1]).items():
    module, _, constant = name.rpartition(".")
    setattr(importlib.import_module(module), constant, value)
from stagecoach_evaluator import loader, programs
programs.main(loader.serve)
"""


class LaterRoutes(Routes):
    """Routes with what this version knows nothing of."""

    later: str = "something that is none of an engine's"


@dataclass
class Pod:
    """All of it."""

    root: Path
    engine: Engine
    engine_port: int
    port: int = 0
    log: Path = Path()

    @property
    def storage(self) -> Store:
        """The project's storage."""
        return Store.local(str(self.root / "storage"))

    @property
    def models(self) -> Path:
        """Where the engine finds models."""
        return self.root / "models"

    @property
    def base(self) -> ModelSource:
        """The base, with its digests."""
        folder = Store.local(str(self.root / "pvc" / "models" / "base"))
        model = Manifest.of(folder.entry(name, name) for name in ("config.json", "model.safetensors")).digest
        tokenizer = Manifest.of([folder.entry("tokenizer.json", "tokenizer.json")]).digest
        return ModelSource(name="base", uri="pvc://models/base", model=model, tokenizer=tokenizer)

    def serve(self, **changes: Any) -> Serve:
        """Return the document that the operator would write."""
        made = Serve(base=self.base, storage="pvc://store", max_length=4096, max_adapters=2, max_rank=64, at_once=8)
        return made.model_copy(update=changes)

    def publish(self, weights: str = "weights", **changes: Any) -> str:
        """Publish an adapter; return its digest."""
        config = {"peft_type": "LORA", "r": 16, "base_model_name_or_path": f"/models/{hex_of(self.base.model or '')}"}
        files = {"adapter_config.json": json.dumps(config | changes).encode(), "notes.bin": b"of no use"}
        return self.storage.publish(files | {"adapter_model.safetensors": weights.encode()}, "run").digest

    def route(self, stable: str, candidate: str, engines: tuple[str, str], key: str = ROUTES_KEY) -> None:
        """Lay the routes of two adapters, by the URLs of their engines, as a later operator signs them."""
        one, other = (self._target(*pair) for pair in zip((stable, candidate), engines, strict=True))
        until = datetime.now(UTC) + timedelta(minutes=10)
        routes = LaterRoutes(
            deployment="uid", name="intents", revision=1, api="Task", keys=False, stable=one,
            candidate=Candidate(target=other, weight=10, until=until),
        )  # fmt: skip
        (self.root / "routes" / ROUTES_FILE).write_text(sign(routes, key.encode()).line())

    def _target(self, artifact: str, engine: str) -> Target:
        base = BaseInput(model=self.base.model or "", tokenizer=self.base.tokenizer or "")
        rule = Tokenization(max_length=64, overflow=Overflow.TRUNCATE)
        asked = Asked(
            task="Classification", base=base, labels=LabelsInput(values=("a", "b")), prompt=Prompt(template="{text}"),
            tokenization=rule,
        )  # fmt: skip
        release = Release(asked=asked.digest, artifact=artifact, engine=releases.Engine(type=EngineType.VLLM))
        described = DescribedRelease(release=release, asked=asked)
        return Target(described=described, labels=("a", "b"), model=hex_of(artifact), engines=(engine,))

    @contextmanager
    def loader(self, serve: Serve | None = None, **seconds: float) -> Iterator[subprocess.Popen[bytes]]:
        """Run the loader; it listens when this is entered."""
        fast = {f"stagecoach_evaluator.{name}": value for name, value in FAST.items()}
        fast |= {f"stagecoach_evaluator.{name.replace('__', '.')}": value for name, value in seconds.items()}
        ports = {"stagecoach.contract.loading.PORT": self.port, "stagecoach.contract.serving.PORT": self.engine_port}
        environment = os.environ | {
            places.ROOT_VARIABLE: str(self.root),
            places.TERMINATION_LOG_VARIABLE: str(self.root / "termination"),
            loading.ENVIRONMENT_VARIABLE: (serve or self.serve()).line(),
            loading.URL_VARIABLE: URL,
        }
        command = [sys.executable, "-c", PROGRAM, json.dumps(fast | ports)]
        with self.log.open("ab") as log, subprocess.Popen(command, env=environment, stderr=log) as process:
            try:
                until(lambda: self.ask("GET", "/health")[0], lambda: self.log.read_text())
                yield process
            finally:
                process.kill()

    def ask(self, method: str, path: str, body: bytes | None = None, token: str = "") -> tuple[int, str]:
        """Ask the loader; status 0 is no answer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def want(self, *digests: str) -> Loaded:
        """Say which adapters are wanted."""
        code, text = self.ask("PUT", loading.PATH, json.dumps({"adapters": digests}).encode(), TOKEN)
        assert code == 200, text
        return Loaded.model_validate_json(text)

    @property
    def told(self) -> Loaded:
        """What it says."""
        code, text = self.ask("GET", loading.PATH, token=TOKEN)
        assert code == 200, text
        return Loaded.model_validate_json(text)

    def model(self, digest: str) -> LoadedModel:
        """What it says of one."""
        return next(model for model in self.told.models if model.name == hex_of(digest))

    def until(self, digest: str, state: State, reason: str = "") -> LoadedModel:
        """Wait until a model is in a state."""

        def is_so() -> LoadedModel | None:
            found = self.model(digest)
            return found if found.state is state and (not reason or found.reason == reason) else None

        return until(is_so, lambda: f"{self.told}\n{self.log.read_text()}")

    def until_ready(self) -> None:
        """Wait until it may have requests."""
        until(lambda: self.ask("GET", "/health")[0] == 200, lambda: f"{self.ask('GET', '/health')}")


def until(look: Callable[[], Found | None], told: Callable[[], str]) -> Found:
    """Wait until there is something, and return it."""
    deadline = time.monotonic() + SOON
    while not (found := look()):
        assert time.monotonic() < deadline, told()
        time.sleep(0.02)
    return found


def make(root: Path, engine: Engine, engine_port: int) -> Pod:
    """Make the folders of a pod, with a base that nothing computes with."""
    base = root / "pvc" / "models" / "base"
    for folder in (
        base,
        root / "models",
        root / "engine",
        root / "storage",
        root / "scratch",
        root / "keys",
        root / "routes",
    ):
        folder.mkdir(parents=True)
    header = json.dumps({"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}).encode()
    (base / bases.CONFIG).write_text(json.dumps(CONFIG))
    (base / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    (base / bases.TOKENIZER).write_text("{}")
    (base / "pytorch_model.bin").write_text("of no use")
    (root / "keys" / loading.TOKEN_FILE).write_text(f"{TOKEN}\n")
    (root / "keys" / loading.ENGINE_KEY_FILE).write_text(KEY)
    (root / "keys" / loading.ROUTES_KEY_FILE).write_text(ROUTES_KEY)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    engine.key, engine.adapters = KEY, root / "models" / "adapters"
    engine.file, engine.starts = root / "models" / "serve", root / "engine" / "starts"
    return Pod(root, engine, engine_port, port, log=root / "log")
