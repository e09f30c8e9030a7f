"""What the benchmark of scale says, and what it calls missed."""

import cProfile
import math
from pathlib import Path

import pytest

from stagecoach.build.labels import MANAGED_BY, OWNER_KIND, OWNER_UID, REPORTS_PROGRESS
from tests.bench import profiled, usage
from tests.bench.profiled import Function
from tests.bench.report import Arm, Failures, Measured, report
from tests.bench.scale import Runs, bare_job, options_of
from tests.bench.usage import Histogram
from tests.integration.support.metrics import Metrics

METRICS = """\
# HELP stagecoach_api_request_seconds Latency of answered requests to the API server.
stagecoach_api_request_seconds_bucket{le="0.1",resource="jobs",verb="create"} 2.0
stagecoach_api_request_seconds_bucket{le="0.5",resource="jobs",verb="create"} 3.0
stagecoach_api_request_seconds_bucket{le="+Inf",resource="jobs",verb="create"} 4.0
stagecoach_api_request_seconds_count{resource="jobs",verb="create"} 4.0
stagecoach_api_request_seconds_sum{resource="jobs",verb="create"} 8.0
stagecoach_queue_wait_seconds_bucket{le="0.1"} 0.0
stagecoach_queue_wait_seconds_bucket{le="+Inf"} 0.0
stagecoach_queue_wait_seconds_sum 0.0
"""


def measured() -> Measured:
    return Measured(
        arms={
            "runs": Arm(rates=[30.0, 35.0], milliseconds={"operator": 1200.0, "etcd": 900.0}, ended=100),
            "jobs": Arm(rates=[40.0, 50.0], milliseconds={"operator": 0.0, "etcd": 400.0}, ended=100),
        },
        failures=Failures(),
        requests={("create", "jobs"): 100.0, ("patch", "finetuneruns"): 300.0},
        mebibytes=100.0,
        active=10,
        latencies=[0.02] * 10,
        objects=110,
        restart=5.0,
    )


def test_what_is_reached_is_in_the_table_and_nothing_is_missed() -> None:
    lines, missed = report(measured())
    assert not missed
    assert "| ratio (95 % interval) | 0.725 (0.700 to 0.750) | ≥ 0.60 |" in lines
    assert "| CPU ms of a run, of a bare Job | 21.0, 4.0 |  |" in lines
    assert "| - operator | 12.0 (57 %), 0.0 (0 %) |  |" in lines
    assert "| the operator's requests for a run | 4.00 |  |" in lines
    assert "| - patch finetuneruns | 3.00 |  |" in lines
    assert "| pod changed → status, ms, p50 of 10 beside 10 at work | 20 |  |" in lines
    assert "| pod changed → status, ms, p99 | 20 | < 250 |" in lines
    assert "| runs without a Job | 0 | 0 |" in lines


def test_each_target_that_is_missed_is_named() -> None:
    found = measured()
    found.arms["runs"].rates = [20.0, 25.0]
    found.mebibytes, found.latencies, found.restart = 600.0, [0.3] * 10, 31.0
    found.failures = Failures(["run-3"], ["run-3", "job-1"], ["run-4"], [f"run-{number}" for number in range(6)])
    _, missed = report(found)
    assert missed == [
        "ratio (95 % interval): 0.500 (0.500 to 0.500), to reach ≥ 0.60",
        "runs that failed: 1: run-3, to reach 0",
        "Jobs that failed: 2: run-3, job-1, to reach 0",
        "Jobs too many: 1: run-4, to reach 0",
        "runs without a Job: 6: run-0, run-1, run-2, run-3, run-4, …, to reach 0",
        "the operator's memory, MiB: 600, to reach < 512",
        "pod changed → status, ms, p99: 300, to reach < 250",
        "restart beside 110 runs → idle, s: 31.0, to reach < 30",
    ]


def test_what_was_not_measured_is_told_and_what_was_is_kept() -> None:
    found = Measured()
    lines, missed = report(found)
    assert "| restart beside 0 runs → idle, s | not measured | < 30 |" in lines
    assert [each.partition(":")[0] for each in missed] == [
        "ratio (95 % interval)",
        "runs that failed",
        "Jobs that failed",
        "Jobs too many",
        "runs without a Job",
        "the operator's memory, MiB",
        "pod changed → status, ms, p99",
        "restart beside 0 runs → idle, s",
    ]
    found.arms["runs"].rates, found.arms["jobs"].rates = [30.0, 35.0], [40.0]
    found.arms["runs"].milliseconds, found.arms["runs"].ended = {"operator": 1200.0}, 100
    found.latencies = [0.02]
    lines, _ = report(found)
    assert "| ratio (95 % interval) | 0.750 (0.750 to 0.750) | ≥ 0.60 |" in lines
    assert "| - operator | 12.0 (100 %), – |  |" in lines
    assert "| pod changed → status, ms, p99 | not measured | < 250 |" in lines


@pytest.mark.parametrize(
    ("owners", "surplus", "missing"),
    [
        (["a", "b"], [], []),
        (["b", "b"], ["b"], ["a"]),
        (["a", "b", "b", "b"], ["b", "b"], []),
        (["a", "b", "nobody"], ["nobody"], []),
        ([], [], ["a", "b"]),
    ],
)
def test_a_job_too_many_does_not_stand_for_one_that_is_missing(
    owners: list[str], surplus: list[str], missing: list[str]
) -> None:
    found = Failures.of({"a", "b"}, ["b"], [], owners)
    assert found == Failures(["b"], [], surplus, missing)


def test_a_bare_job_is_as_a_runs_and_not_the_operators() -> None:
    labels = MANAGED_BY | {OWNER_KIND: "FineTuneRun", OWNER_UID: "u"}
    given = {"controller-uid": "j", "batch.kubernetes.io/controller-uid": "j", "job-name": "n"}
    pod_labels = labels | {REPORTS_PROGRESS: "true"}
    template = {"metadata": {"labels": pod_labels | given, "annotations": {"a": "b"}}, "spec": {"containers": []}}
    spec = {"backoffLimit": 0, "completions": 1, "selector": {"matchLabels": {"controller-uid": "j"}}}
    owners = [{"kind": "FineTuneRun", "name": "first", "uid": "u"}]
    metadata = {"name": "n", "uid": "j", "ownerReferences": owners, "labels": labels}
    job = {"metadata": metadata, "spec": spec | {"template": template}, "status": {"succeeded": 1}}
    bare = bare_job(job)
    of_pod = bare["spec"]["template"]["metadata"]
    assert bare["spec"] == {
        "backoffLimit": 0,
        "completions": 1,
        "template": {"metadata": of_pod, "spec": {"containers": []}},
    }
    assert of_pod["annotations"] == {"a": "b"}
    assert set(bare) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(bare["metadata"]) == {"labels", "annotations"}
    for made, was in ((bare["metadata"]["labels"], labels), (of_pod["labels"], pod_labels)):
        assert len(made) == len(was)
        assert made["bench"] == "bare"
        assert not made.keys() & (was.keys() | given.keys())


def test_no_two_runs_have_the_same_inputs() -> None:
    new_runs = Runs()
    made = [*new_runs(["first"]), *new_runs(["run-0", "run-1"]), *new_runs(["held-0"], "held")]
    assert [each["metadata"]["name"] for each in made] == ["first", "run-0", "run-1", "held-0"]
    assert [each["spec"]["project"] for each in made] == ["desk", "desk", "desk", "held"]
    assert [each["spec"]["hyperparameters"]["seed"] for each in made] == [1, 2, 3, 4]


def test_too_few_runs_are_refused_before_anything_is_started(capsys: pytest.CaptureFixture[str]) -> None:
    assert options_of(["--runs", "2"]).runs == 2
    with pytest.raises(SystemExit):
        options_of(["--runs", "1"])
    assert "--runs is 1, and has to be 2 or more" in capsys.readouterr().err


def test_the_operators_own_times_are_read_from_its_metrics() -> None:
    found = usage.histograms(Metrics(METRICS))
    assert found["request create jobs"] == Histogram(8.0, {0.1: 2.0, 0.5: 3.0, math.inf: 4.0})
    assert usage.since(found, {}).keys() == {"request create jobs"}
    before = {"request create jobs": Histogram(7.0, {0.1: 1.0, 0.5: 1.0, math.inf: 2.0})}
    between = usage.since(found, before)
    assert between == {"request create jobs": Histogram(1.0, {0.1: 1.0, 0.5: 2.0, math.inf: 2.0})}
    lines, _ = report(Measured(histograms=between))
    assert "| request create jobs | 2 | 500.0 | 100.0 | 492.0 |" in lines


@pytest.mark.parametrize(("share", "seconds"), [(0.25, 0.05), (0.5, 0.1), (0.75, 0.5), (0.9, 0.5)])
def test_a_quantile_lies_within_its_bucket(share: float, seconds: float) -> None:
    histogram = Histogram(8.0, {0.1: 2.0, 0.5: 3.0, math.inf: 4.0})
    assert histogram.quantile(share) == pytest.approx(seconds)


def test_a_profile_tells_what_took_longest_and_not_what_waited() -> None:
    found = [
        Function("method 'poll' of 'select.epoll' objects", 5, 9.5, 9.5),
        Function("selectors.py:1 select", 5, 0.0, 9.5),
        Function("asyncio/base_events.py:1 _run_once", 10, 1.0, 19.5),
        Function("stagecoach/runtime/loop.py:1 work", 20, 3.0, 9.0),
        Function("method 'loads'", 40, 6.0, 6.0),
    ]
    lines = profiled.tables(found, runs=10)
    second = lines.index("", 1)
    own, cumulative = lines[:second], lines[second:]
    assert own[1] == "| profile of the operator: longest in itself | calls for a run | ms for a run | of 1000 ms |"
    assert own[3:] == [
        "| `method 'loads'` | 4.0 | 600.00 | 60 % |",
        "| `stagecoach/runtime/loop.py:1 work` | 2.0 | 300.00 | 30 % |",
        "| `asyncio/base_events.py:1 _run_once` | 1.0 | 100.00 | 10 % |",
        "| `selectors.py:1 select` | 0.5 | 0.00 | 0 % |",
    ]
    assert cumulative[3:] == [
        "| `stagecoach/runtime/loop.py:1 work` | 2.0 | 900.00 | 90 % |",
        "| `method 'loads'` | 4.0 | 600.00 | 60 % |",
    ]


def test_functions_go_by_the_place_in_their_package(tmp_path: Path) -> None:
    profiler = cProfile.Profile()
    profiler.runcall(Metrics(METRICS).series, "stagecoach_queue_wait_seconds_sum")
    profiler.dump_stats(tmp_path / "profile")
    names = [each.name for each in profiled.functions(tmp_path / "profile")]
    assert "method 'splitlines' of 'str' objects" in names
    assert [name for name in names if name.endswith(" series")]
