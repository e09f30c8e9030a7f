"""What the benchmark of scale says, and what it calls missed."""

from tests.bench.scale import Arm, Measured, report


def measured() -> Measured:
    return Measured(
        arms={
            "runs": Arm(rates=[30.0, 35.0], milliseconds={"operator": 1200.0, "etcd": 900.0}, ended=100),
            "jobs": Arm(rates=[40.0, 50.0], milliseconds={"operator": 0.0, "etcd": 400.0}, ended=100),
        },
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
    assert "| pod changed → status, ms, p99 | 20 | < 250 |" in lines


def test_each_target_that_is_missed_is_named() -> None:
    found = measured()
    found.arms["runs"].rates = [20.0, 25.0]
    found.failures, found.mebibytes, found.latencies, found.restart = 1, 600.0, [0.3] * 10, 31.0
    _, missed = report(found)
    assert missed == [
        "ratio (95 % interval): 0.500 (0.500 to 0.500), to reach ≥ 0.60",
        "failures, and Jobs too many: 1, to reach 0",
        "the operator's memory, MiB: 600, to reach < 512",
        "pod changed → status, ms, p99: 300, to reach < 250",
        "restart beside 110 runs → idle, s: 31.0, to reach < 30",
    ]
