"""Pods of a deployment: one is taken out, and its successor, or itself, has to come back."""

import os
import random
import signal
from collections.abc import Callable

from urllib3.exceptions import HTTPError

from stagecoach.build.labels import COMPONENT
from tests import processes
from tests.integration.support.eventually import eventually
from tests.kube import Kube, Object

# vLLM needs a minute, on a machine that has nothing else to do; the API server may be away for longer than that.
BACK_SECONDS = 600.0


class NotNow(Exception):
    """There is nothing to which this fault could be done."""


def take_out(kube: Kube, component: str, chance: random.Random, act: Callable[[Object], None]) -> None:
    """Do something to one of a component's pods, and return once there are as many as before, and ready."""
    there = _staying(kube, component)
    if not there or not all(map(_is_ready, there)):
        raise NotNow(f"not every {component} is ready")
    pod = chance.choice(there)
    act(pod)

    def back() -> bool:
        try:
            now = _staying(kube, component)
        except HTTPError:  # the API server is away
            return False
        return len(now) == len(there) and all(_is_ready(each) and _is_another(each, pod) for each in now)

    eventually(back, BACK_SECONDS, f"every {component} is ready again", every=1.0)


def kill_gateway(pod: Object) -> None:
    """Kill the process of a gateway without a warning: its container begins anew."""
    _kill(pod, processes.GATEWAY)


def kill_engine(pod: Object) -> None:
    """Kill vLLM's server likewise."""
    _kill(pod, processes.ENGINE)


def _kill(pod: Object, program: bytes) -> None:
    name = pod["metadata"]["name"]
    process = processes.of_pod(name, program)
    if process is None:
        raise NotNow(f"{name} has no process")
    os.kill(process, signal.SIGKILL)


def _staying(kube: Kube, component: str) -> list[Object]:
    found = kube.select("Pod", f"{COMPONENT}={component}")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def _is_ready(pod: Object) -> bool:
    return ("Ready", "True") in [(each["type"], each["status"]) for each in pod["status"].get("conditions", ())]


def _is_another(pod: Object, before: Object) -> bool:
    """Whether it is not the pod of before, or begun anew."""
    return pod["metadata"]["uid"] != before["metadata"]["uid"] or _restarts(pod) > _restarts(before)


def _restarts(pod: Object) -> int:
    return sum(each["restartCount"] for each in pod["status"].get("containerStatuses", ()))
