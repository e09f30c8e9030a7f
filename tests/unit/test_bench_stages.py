"""What the benchmark of scale does, with nothing behind it that would be measured."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stagecoach.build.labels import MANAGED_BY
from tests.bench import profiled, scale
from tests.bench.report import Measured
from tests.integration.support.metrics import Metrics

Object = dict[str, Any]

IDLE = """\
stagecoach_reconcile_seconds_count{kind="FineTuneRun"} 100000.0
stagecoach_synced 1.0
stagecoach_queue_depth 0.0
stagecoach_status_writes_total{kind="FineTuneRun"} 3.0
"""
METADATA: Object = {"labels": MANAGED_BY}
JOB: Object = {"metadata": METADATA, "spec": {"template": {"metadata": METADATA, "spec": {}}}}


class Crowd:
    silence = 60.0

    def __init__(self) -> None:
        self.made: list[Object] = []

    @property
    def runs(self) -> set[str]:
        return {each["metadata"]["name"] for each in self.made if each["kind"] == "FineTuneRun"}

    async def make_ready_project(self, *_: Any, **__: Any) -> None: ...

    async def await_records(self, *_: Any, **__: Any) -> None: ...

    async def await_progress(self, *_: Any, **__: Any) -> None: ...

    async def make(self, objects: Sequence[Object]) -> None:
        self.made += objects

    async def see_through(self, objects: Sequence[Object], within: float) -> float:
        self.made += objects
        return within

    async def job_of(self, _: str) -> Object:
        return JOB

    async def pods_at_work(self, runs: Sequence[str], within: float) -> dict[str, Object]:
        return {run: {"within": within} for run in runs}

    async def end_pod(self, *_: Any, **__: Any) -> float:
        return 0.01


class Operator:
    def __init__(self, *, ends: bool = True) -> None:
        self.ends = ends
        self.process = SimpleNamespace(pid=os.getpid(), send_signal=lambda _: None)

    def metrics(self) -> Metrics:
        return Metrics(IDLE)

    def metric(self, name: str) -> float:
        return self.metrics().total(name)

    def stop(self, seconds: float) -> None:
        if not self.ends:
            raise subprocess.TimeoutExpired("operator", seconds)


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    for name in ("PACE", "LOOK", "SILENCE"):
        monkeypatch.setattr(scale, name, 0.0)
    monkeypatch.setattr(profiled, "functions", lambda _: [])
    log, profile = tmp_path / "log", tmp_path / "profile"
    return SimpleNamespace(log=log, profile=profile, pids=dict, start_operator=lambda _: Operator())


def bench(running: SimpleNamespace, operator: Operator, crowd: Crowd, found: Measured) -> scale.Bench:
    return scale.Bench(cast(Any, running), cast(Any, operator), cast(Any, crowd), found)


async def test_no_two_runs_of_the_whole_benchmark_have_the_same_inputs(running: SimpleNamespace, crowd: Crowd) -> None:
    found = Measured()
    await bench(running, Operator(), crowd, found).run(300)
    runs = [each for each in crowd.made if each["kind"] == "FineTuneRun"]
    # The one that gives the bare Job, three blocks, those at work and the one that ends before them, the profile's.
    assert len(runs) == 1 + 300 + scale.CHANGES + 1 + 100
    assert len(crowd.runs) == len(runs)
    assert len({each["spec"]["hyperparameters"]["seed"] for each in runs}) == len(runs)
    assert len(crowd.made) == len(runs) + 300
    assert len(found.latencies) == scale.CHANGES
    assert found.objects == len(runs) - 100
    assert found.restart is not None
    assert found.writes_after_restart == 3


async def test_an_operator_that_does_not_end_loses_no_number(running: SimpleNamespace, crowd: Crowd) -> None:
    found = Measured()
    with pytest.raises(subprocess.TimeoutExpired):
        await bench(running, Operator(ends=False), crowd, found).run(2)
    assert [len(arm.rates) for arm in found.arms.values()] == [2, 2]
    assert len(found.latencies) == scale.CHANGES
    assert found.mebibytes
    assert found.restart is None
