"""Every Job gets the proxies and certificate authorities that the operator was started with."""

from dataclasses import replace
from typing import Any

import pytest

from stagecoach.build.pods import Network
from stagecoach.kinds.controller import Controller
from stagecoach.kinds.finetunerun.reconcile import CONTROLLER as RUNS
from stagecoach.kinds.transformerproject.reconcile import CONTROLLER as PROJECTS
from tests import builders
from tests.unit.kinds import world as worlds
from tests.unit.kinds.world import World

NETWORK = Network(https_proxy="http://proxy:1", no_proxy=".svc", ca_config_map="corporate-ca", ca_key="bundle.pem")


def pod_of(controller: Controller, project: builders.Object | None, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(worlds, "SETTINGS", replace(worlds.SETTINGS, network=NETWORK))
    written = builders.run() if project else builders.project()
    here = World(controller, builders.stored(written), project)
    for _ in range(4):
        here.reconcile()
    [job] = here.job_objects.values()
    return job["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("controller", "project"),
    [(PROJECTS, None), (RUNS, builders.ready_project()), (RUNS, builders.ready_project(records=True))],
    ids=["resolving", "training", "looking-up"],
)
def test_a_pod_has_them(
    controller: Controller, project: builders.Object | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = pod_of(controller, project, monkeypatch)
    [container] = pod["containers"]
    environment = {item["name"]: item["value"] for item in container["env"] if "PROXY" in item["name"]}
    assert environment == {"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": ".svc"}
    source = {"name": "corporate-ca", "items": [{"key": "bundle.pem", "path": "ca.crt"}]}
    assert {"name": "authorities", "configMap": source} in pod["volumes"]
    place = {"name": "authorities", "mountPath": "/stagecoach/authorities", "readOnly": True}
    assert place in container["volumeMounts"]


def test_without_a_proxy_there_is_no_exception_to_it() -> None:
    assert Network(no_proxy=".svc").environment() == []
