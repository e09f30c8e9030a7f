import os
import subprocess
import sys

import pytest

from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE, GRACE_SECONDS
from stagecoach_trainer import parent
from stagecoach_trainer.__main__ import main


def run(*arguments: str, job: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"STAGECOACH_JOB": job} if job else {}
    command = [sys.executable, "-m", "stagecoach_trainer", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [("--help",), ("resolve", "--help"), ("train", "--help"), ("compare", "--help")])
def test_help(arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert ended.returncode == 0
    assert "usage: stagecoach-trainer" in ended.stdout


def test_a_command_that_is_not_the_documents_is_refused() -> None:
    ended = run("lookup", job='{"kind": "Train"}')
    assert ended.returncode == 64
    assert "holds a Train document; the command is lookup" in ended.stderr


@pytest.mark.parametrize(("kind", "seconds"), [("Train", 110), ("Resolve", 20), ("Unknown", 20)])
def test_the_work_has_less_time_to_stop_than_its_pod(kind: str, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "run", lambda _environment, grace: grace)
    assert main([], {ENVIRONMENT_VARIABLE: f'{{"kind": "{kind}"}}'}) == seconds
    assert seconds < GRACE_SECONDS.get(kind, 30)
