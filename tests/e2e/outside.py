"""What is asked from outside of the cluster, as people try a deployment."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.conftest import Desk


@contextmanager
def forwarded(desk: Desk, deployment: str) -> Iterator[str]:
    """Yield where a deployment's gateway is asked from here, until the end: by `kubectl port-forward`."""
    command = [str(desk.tools.cluster.kubectl), "port-forward", "-n", desk.namespace, f"service/{deployment}", ":80"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=desk.tools.environment()
    ) as kubectl:
        try:
            assert kubectl.stdout
            said = kubectl.stdout.readline()
            port = re.search(r"127\.0\.0\.1:(\d+)", said)
            assert port, said
            yield f"http://127.0.0.1:{port[1]}"
        finally:
            kubectl.terminate()
