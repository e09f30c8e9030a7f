"""The operator as a process under test."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from tests.integration.support.eventually import eventually
from tests.integration.support.forked import Forked
from tests.integration.support.metrics import Metrics

ROOT = Path(__file__).parents[3]
TRAINER_IMAGE = "registry.example/trainer@sha256:" + "a" * 64
EVALUATOR_IMAGE = "registry.example/evaluator@sha256:" + "b" * 64
OPERATOR_MODULE = "stagecoach.runtime.main"


class OperatorProcess:
    """One running operator; `start` it with the module of a `main`.

    Without an environment of its own it begins with its libraries imported: that takes most of what a start takes.
    """

    def __init__(
        self,
        kubeconfig: Path,
        log: Path,
        arguments: Sequence[str] = (),
        module: str = OPERATOR_MODULE,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        self.port = _free_port()
        own = {"KUBECONFIG": str(kubeconfig), "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", **(environment or {})}
        own["STAGECOACH_EVALUATOR_IMAGE"] = (
            EVALUATOR_IMAGE  # an operator of before there was one does not know the flag
        )
        whole = {name: value for name, value in os.environ.items() if not name.startswith("STAGECOACH_")} | own
        given = [
            *("--trainer-image", TRAINER_IMAGE, "--metrics-address", "127.0.0.1", "--metrics-port", str(self.port)),
            *("--log-level", "DEBUG", *arguments),
        ]
        self.process: Forked | subprocess.Popen[bytes]
        if environment is None:
            self.process = Forked(module, given, whole, log)
            return
        command = [sys.executable, "-W", "default", "-m", module, *given]
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, env=whole, stdout=output, stderr=output)

    def wait_ready(self, seconds: float = 60.0) -> "OperatorProcess":
        """Return once the operator has seen everything."""

        def look() -> bool:
            assert self.process.poll() is None, f"the operator ended: {self.text()[-3000:]}"
            return self.probe("/readyz") == 200

        eventually(look, seconds, "the operator is ready")
        return self

    def wait_leading(self, seconds: float = 60.0) -> "OperatorProcess":
        """Return once the operator leads."""
        eventually(lambda: self.metric("stagecoach_leader") == 1, seconds, "the operator leads")
        return self

    def probe(self, path: str) -> int:
        """Return the HTTP status of a probe, 0 when nothing listens."""
        return self._fetch(path)[0]

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over the series that have these labels."""
        return self.metrics().total(name, **labels)

    def metrics(self) -> Metrics:
        """Return all of its metrics; its event loop renders them all, whichever is asked for."""
        return Metrics(self._fetch("/metrics")[1])

    def records(self, message: str = "") -> list[dict[str, Any]]:
        """Return the log records whose message contains this text."""
        whole = self.text().rpartition("\n")[0]  # it may be writing the next one
        lines = [line for line in whole.split("\n") if line.startswith("{")]
        records = [cast(dict[str, Any], json.loads(line)) for line in lines]
        return [record for record in records if message in record["message"]]

    def text(self) -> str:
        """Return all of the log."""
        return self.log.read_text(errors="replace")

    def stop(self, seconds: float = 15.0) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it without a warning."""
        self.process.kill()
        self.process.wait(10)

    def freeze(self) -> None:
        """Stop its clock, as a long pause of the machine would."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Make sure that it does not run, whatever state it is in."""
        if self.process.poll() is None:
            self.thaw()
            self.kill()

    def _fetch(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""


@contextmanager
def running(*operators: OperatorProcess) -> Iterator[None]:
    """End these operators at the end of the block, and show the log of those that died by themselves."""
    try:
        yield
    finally:
        for each in operators:
            each.end()


def _free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return cast(int, chosen.getsockname()[1])
