import os
import subprocess
import sys

import pytest


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
    assert "holds a train document; the command is lookup" in ended.stderr
