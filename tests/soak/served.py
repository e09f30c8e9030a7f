"""What a soak serves: a deployment with an engine of vLLM and two gateways, two releases that passed, one that failed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests import deploy
from tests.clients import Clients
from tests.e2e import servers
from tests.e2e.conftest import Desk
from tests.e2e.shop import NAME, Shop
from tests.e2e.test_deployment import CLIENTS_JSON, DATA, GREETING, KEY, TRACK, objects, run
from tests.e2e.test_gates import evaluation

SERVED = "soak-served"
GATE = "good"
# In the order in which they are made: the newest of all is not to be served.
GOOD, BAD = ("first", "second"), "poisoned"
VERDICTS = {**dict.fromkeys(GOOD, "Passed"), BAD: "Failed"}
JUDGED_SECONDS, SERVED_SECONDS = 900.0, 600.0
# Seconds between two requests.
EVERY = 0.5


@dataclass(frozen=True)
class Served:
    """The deployment's releases, and who asks it."""

    clients: Clients
    releases: Mapping[str, str]  # by run


def serve(tools: deploy.Tools, tests_image: str) -> Served:
    """Have the newest run that passed served, and asked all the time; the namespace is there."""
    desk = Desk(tools, SERVED, tests_image)
    desk.bases()
    desk.claim("store")
    desk.data(DATA)
    servers.secret(desk, "web", {"clients.json": CLIENTS_JSON})
    desk.apply(*objects(SERVED))
    for name in VERDICTS:
        desk.apply(run(name, SERVED, **TRACK))
        time.sleep(1.1)  # the time of a creation has whole seconds
    for name in VERDICTS:
        desk.awaits("ftr", name, "Succeeded")
    judged = {name: evaluation(desk, GATE, name, JUDGED_SECONDS) for name in VERDICTS}
    if (verdicts := {name: each["status"]["verdict"] for name, each in judged.items()}) != VERDICTS:
        raise RuntimeError(f"A soak needs runs of which the gate says {VERDICTS}, and it says {verdicts}.")
    clients = Clients(tools, SERVED, NAME, tests_image, KEY)
    Shop(desk, clients).serves(GOOD[-1], SERVED_SECONDS)
    clients.start([GREETING], EVERY)
    return Served(clients, {name: each["spec"]["release"]["digest"] for name, each in judged.items()})
