"""What the demonstration takes for a success."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from kubernetes.utils import parse_quantity

from examples import demo
from stagecoach.build.engines import EVALUATOR_CPU
from stagecoach.build.gateway import TOKENIZERS_DEMAND
from tests import clients, deploy, following
from tests.remedies import speaks


@pytest.mark.parametrize(("failed", "succeeds"), [(0, True), (1, False)])
def test_a_run_that_takes_over_loses_no_request(failed: int, succeeds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [{"status": 200, "release": "sha256:1", "began": 1.0, "ended": 1.1, "label": "billing"}] * 3
    asking: Any = SimpleNamespace(answers=lambda: answers + [{"status": 502}] * failed)
    tools: Any = SimpleNamespace(kube=lambda _: SimpleNamespace(get=lambda *_: {"status": {}}))
    monkeypatch.setattr(following, "served", lambda *_: "")
    trouble = demo.served(tools, demo.BETTER, asking)
    assert not trouble if succeeds else speaks("Failed", trouble)


@pytest.mark.parametrize(
    "asks", ["support-desk/run.yaml", "support-desk/gate.yaml", "poisoned-run/run.yaml", "better-run/run.yaml"]
)
def test_what_computes_fits_beside_what_serves_on_two_processors(asks: str) -> None:
    """Else it waits for a node for ever, on a machine that the README says is enough."""
    asked, serves = (spec_of(deploy.ROOT / "examples" / name) for name in (asks, "support-desk/deployment.yaml"))
    chart = yaml.safe_load((deploy.ROOT / "charts/stagecoach/values.yaml").read_text())
    beside = [
        chart["resources"]["requests"]["cpu"],
        deploy.SMALL_PROMETHEUS["prometheus.resources.requests.cpu"],
        clients.RESOURCES["requests"]["cpu"],
        *(serves["engine"]["resources"]["cpu"], EVALUATOR_CPU),
        max(serves["gateway"]["resources"]["cpu"], TOKENIZERS_DEMAND.cpu, key=parse_quantity),
    ]
    assert sum(map(parse_quantity, [asked["resources"]["cpu"], *beside])) <= 2


def spec_of(file: Path) -> dict[str, Any]:
    """Return the spec of an example."""
    spec: dict[str, Any] = yaml.safe_load(file.read_text())["spec"]
    return spec
