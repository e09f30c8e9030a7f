"""What the demonstration takes for a success."""

from types import SimpleNamespace
from typing import Any

import pytest

from examples import demo
from tests import following
from tests.remedies import speaks


@pytest.mark.parametrize(("failed", "succeeds"), [(0, True), (1, False)])
def test_a_run_that_takes_over_loses_no_request(failed: int, succeeds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [{"status": 200, "release": "sha256:1", "began": 1.0, "ended": 1.1, "label": "billing"}] * 3
    clients: Any = SimpleNamespace(answers=lambda: answers + [{"status": 502}] * failed)
    tools: Any = SimpleNamespace(kube=lambda _: SimpleNamespace(get=lambda *_: {"status": {}}))
    monkeypatch.setattr(following, "served", lambda *_: "")
    trouble = demo.served(tools, demo.BETTER, clients)
    assert not trouble if succeeds else speaks("Failed", trouble)
