"""What simulated pods do: run for some seconds, and end in one way or another, by chance."""

from typing import Any

from tests import simulation

Object = dict[str, Any]

# Simulated pods are at work for at least so long.
MILLISECONDS = 3000
AFTER = {"delay": {"durationMilliseconds": MILLISECONDS, "jitterDurationMilliseconds": 3 * MILLISECONDS}}
# Of 100 simulated evaluating pods so many come to a verdict, and to which.
VERDICTS = {"Passed": 50, "Failed": 20, "Inconclusive": 10, "Error": 5}
SERVICE_FAILED = '{"outcome":"ServiceFailed","problem":{"reason":"StorageFailed","message":"the storage is away."}}'


def stages() -> list[Object]:
    """Return what simulated pods do: most go well; the rest fails in ways that are tried again, or not."""
    started, resolve, train = simulation.stages(MILLISECONDS)
    train["spec"] |= AFTER | {"weight": 85}
    verdicts = [
        simulation.stage(
            f"judge-{verdict.lower()}",
            [simulation.HERE, simulation.RUNNING, simulation.JUDGES],
            simulation.ended(simulation.judged(verdict)),
            weight=weight,
            **AFTER,
        )
        for verdict, weight in VERDICTS.items()
    ]
    failures = [*_failures("train", simulation.TRAINS), *_failures("judge", simulation.JUDGES)]
    return [started, resolve, train, *verdicts, *failures, *simulation.leaving()]


def _failures(what: str, which: Object) -> list[Object]:
    """Return how 15 of 100 pods fail, beside stages in which the others go well."""
    evicted = 'phase: Failed\nreason: Evicted\nmessage: "The node was low on resource: memory."\n'
    ends = {
        "refused": (simulation.ended(SERVICE_FAILED, 69, "Error"), 6),
        "killed": (simulation.ended("", 137, "OOMKilled"), 2),
        "silent": (simulation.ended("", 1, "Error"), 3),
        "evicted": (evicted, 4),
    }
    running: list[Object] = [simulation.HERE, simulation.RUNNING, which]
    return [
        simulation.stage(f"{what}-{name}", running, end, weight=weight, **AFTER) for name, (end, weight) in ends.items()
    ]
