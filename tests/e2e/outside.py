"""What is asked from outside of the cluster, as people try a deployment; and what its engine says of itself."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from stagecoach.build.labels import ENGINE
from stagecoach.contract import serving
from tests.e2e.conftest import Desk
from tests.e2e.shop import Shop

METRICS = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{serving.PORT}/metrics').read().decode())"


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


def metric(shop: Shop, name: str) -> float:
    """Return what vLLM itself counts under a name, in all."""
    lines = in_engine(shop, "python3", "-c", METRICS).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


def kill_engine(shop: Shop) -> None:
    """Kill what runs in the engine's container without a warning: with its server that ends, too."""
    in_engine(shop, "sh", "-c", "kill -9 $(cat /proc/1/task/1/children)", check=False)


def in_engine(shop: Shop, *command: str, check: bool = True) -> str:
    """Run a command in the engine's container, and return what it prints."""
    [pod] = shop.pods(ENGINE)
    where = ("-n", shop.desk.namespace, pod["metadata"]["name"], "-c", serving.CONTAINER)
    return shop.desk.tools.kubectl("exec", *where, "--", *command, check=check)
