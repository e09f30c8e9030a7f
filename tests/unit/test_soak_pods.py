"""How a soak finds the process of a gateway."""

import os
import signal
import subprocess
from contextlib import suppress
from uuid import uuid4

import pytest

from tests.soak.pods import NotNow, kill_gateway


def test_the_gateway_of_a_pod_is_killed_and_no_other_process_of_it() -> None:
    name = f"gateway-{uuid4().hex[:8]}"
    sleeps = ["bash", "-c", "sleep 60 & wait"]
    gateway, other = (
        subprocess.Popen([*sleeps, program], env=os.environ | {"HOSTNAME": name}, start_new_session=True)
        for program in ("stagecoach_gateway", "tokenizers")
    )
    try:
        kill_gateway({"metadata": {"name": name}})
        assert gateway.wait(10) == -signal.SIGKILL
        with pytest.raises(NotNow):
            kill_gateway({"metadata": {"name": name}})
        assert other.poll() is None
    finally:
        for each in (gateway, other):
            with suppress(ProcessLookupError):  # it may have ended before it had started another
                os.killpg(each.pid, signal.SIGKILL)
            each.wait()
