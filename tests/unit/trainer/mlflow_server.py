"""A real MLflow tracking server as a child process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAM = "mlflow"
# It imports a lot and makes its tables, which takes long where others use the processor too.
START_SECONDS = 300
SETTINGS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@contextmanager
def started(folder: Path) -> Iterator[str]:
    """Start a server that keeps what it is told in a folder, and yield its URI; skip where there is none."""
    program = shutil.which(PROGRAM)
    if program is None:
        pytest.skip("needs mlflow of locks/mlflow.txt: runs inside the image of the trainer's tests")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    place = ("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [program, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *place],
            env=os.environ | SETTINGS,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        uri = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_SECONDS
        while not _answers(uri):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(uri: str, path: str, **asked: Any) -> Any:
    """Return what the server says to a POST, or a GET when nothing is sent."""
    request = urllib.request.Request(  # noqa: S310 - of this machine
        f"{uri}/api/2.0/mlflow/{path}",
        data=json.dumps(asked).encode() if asked else None,
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return json.loads(answer.read())


def runs_of(uri: str, experiment: str) -> list[dict[str, Any]]:
    """Return all runs of an experiment."""
    found = ask(uri, f"experiments/get-by-name?experiment_name={experiment}")["experiment"]
    runs: list[dict[str, Any]] = ask(uri, "runs/search", experiment_ids=[found["experiment_id"]]).get("runs", [])
    return runs


def history(uri: str, run: str, metric: str) -> list[tuple[int, float]]:
    """Return a metric of a run, by step."""
    found = ask(uri, f"metrics/get-history?run_id={run}&metric_key={metric}").get("metrics", [])
    return sorted((int(item.get("step", 0)), item["value"]) for item in found)


def _answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
