"""Programs that begin with the operator's libraries imported, as a `python -m` that took no time to start."""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubernetes.aio.config import kube_config

# They are forked from a process that has done nothing but import these, and has no threads.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["stagecoach.runtime.main", "stagecoach.kinds.registry", __name__])


class Forked:
    """A module that runs as a program; what tests do with it is named as of subprocess.Popen."""

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        log.touch()
        self._process = _SERVER.Process(target=_run, args=(module, arguments, environment, log), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float) -> int:
        """Return its exit code once it has ended. Raises TimeoutExpired."""
        self._process.join(seconds)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, seconds)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a warning."""
        self._process.kill()


def _run(module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = environment["KUBECONFIG"]  # else that of when it was imported
    sys.argv = [module, *arguments]
    warnings.simplefilter("default")
    runpy.run_module(module, run_name="__main__", alter_sys=True)
