"""How a soak finds the process of a gateway, or of an engine."""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from tests.soak.pods import NotNow, kill_engine, kill_gateway


@pytest.mark.parametrize(
    ("kill", "programs"),
    [
        (kill_gateway, ("stagecoach_gateway", "tokenizers")),
        # Of what starts the server, its name is a part of a word.
        (kill_engine, ("vllm.entrypoints.openai.api_server", "python3 -m vllm.entrypoints.openai.api_server $told &")),
    ],
)
def test_the_program_of_a_pod_is_killed_and_no_other_process_of_it(
    kill: Callable[[dict[str, Any]], None], programs: tuple[str, str]
) -> None:
    name = f"pod-{uuid4().hex[:8]}"
    sleeps = ["bash", "-c", "sleep 60 & wait"]
    program, other = (
        subprocess.Popen([*sleeps, each], env=os.environ | {"HOSTNAME": name}, start_new_session=True)
        for each in programs
    )
    try:
        kill({"metadata": {"name": name}})
        assert program.wait(10) == -signal.SIGKILL
        with pytest.raises(NotNow):
            kill({"metadata": {"name": name}})
        assert other.poll() is None
    finally:
        for each in (program, other):
            with suppress(ProcessLookupError):  # it may have ended before it had started another
                os.killpg(each.pid, signal.SIGKILL)
            each.wait()
