"""What the benchmark of scale says, and what it calls missed."""

import pytest

from stagecoach.build.labels import MANAGED_BY, OWNER_KIND, OWNER_UID, REPORTS_PROGRESS
from tests.bench.report import Arm, Failures, Measured, report
from tests.bench.scale import Runs, bare_job, options_of


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
    assert "| - operator | 12.0, 0.0 |  |" in lines
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
    assert "| - operator | 12.0, – |  |" in lines
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
