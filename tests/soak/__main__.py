"""`make soak`: random faults for a stated time under a stream of runs and gates, real and simulated, and under clients of
a deployment that is switched between two releases; and a verdict.

Operators, mostly the one that leads, are killed, frozen and woken, their connections cut and their clocks set an hour
off; the API server is restarted, etcd stands still for 30 seconds, pods are deleted, the storage refuses; gateways are
killed and deleted, as is the engine. Once both operators are away for 3 minutes, and once the API server (in less than
10 minutes for as much less), which comes on top of the stated time. Then all may end, and what has to hold is judged by
the API server's audit log, by its objects, by the storage and by what clients were answered.
"""

import argparse
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from rich.console import Console

from tests.cluster.errors import ClusterError
from tests.cluster.paths import State, remove_tree
from tests.integration.support.eventually import eventually
from tests.soak import answers, audit, report, stream
from tests.soak.enough import LONG_SECONDS, too_little
from tests.soak.evidence import Evidence, Recorded, within
from tests.soak.faults import AWAY_SECONDS, Faults
from tests.soak.ground import REAL, SIMULATED, Ground, ground
from tests.soak.served import SERVED
from tests.soak.storage import look_into, records
from tests.soak.switches import LAST, Switches, serves
from tests.soak.verdict import judge

# What runs may need to end once nothing goes wrong any more: what failed with the storage goes on within ten minutes.
DRAIN_SECONDS = 1500.0
RESTING_SECONDS = 5.0
SHOWN = 5


def main(options: argparse.Namespace, console: Console) -> int:
    """Run it; return 0 when everything held."""
    directory = State.from_environment().run("soak")
    remove_tree(directory)
    directory.mkdir(parents=True)
    seed = options.seed if options.seed is not None else random.randrange(10**6)  # noqa: S311 - no secret
    console.print(f"soak of {options.minutes:g} minutes with seed {seed}; logs of operators and clients: {directory}")
    with ground(directory) as made:
        evidence, faults, seconds = _soaked(made, options.minutes * 60, random.Random(seed), console)  # noqa: S311
    (directory / "clients.log").write_text("".join(f"{answer}\n" for answer in evidence.answers))
    verdict = judge(evidence)
    for table in (
        report.did(faults.done),
        report.counted(evidence, seconds),
        report.answered(evidence),
        report.judged(verdict),
    ):
        console.print(table)
    for name, wrong in verdict.items():
        for words in wrong[:SHOWN]:
            console.print(f"{name}: {words}", markup=False)
    for words in faults.errors:
        console.print(f"not done: {words}", markup=False)
    return 1 if any(verdict.values()) or faults.errors else 0


def _soaked(made: Ground, seconds: float, chance: random.Random, console: Console) -> tuple[Evidence, Faults, float]:
    began = time.monotonic()

    def tell(what: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {what}", markup=False, highlight=False)

    made.operators[1].start().wait_ready()
    faults = Faults(made, random.Random(chance.random()), tell)  # noqa: S311
    with ExitStack() as streams:
        real = streams.enter_context(stream.Stream(made, REAL, stream.REAL_AT_ONCE, stream.real(chance)))
        simulated = streams.enter_context(stream.Stream(made, SIMULATED, stream.SIMULATED_AT_ONCE, stream.simulated))
        switches = streams.enter_context(Switches(made, random.Random(chance.random())))  # noqa: S311

        def go_on(seconds: float) -> None:
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                time.sleep(min(60.0, left))
                counts = len(real.made), len(simulated.made), switches.wanted.total()
                tell("so far {} real runs, {} simulated ones, {} changes of mind".format(*counts))

        with faults:
            for absence in (faults.operators_away, faults.api_server_away):
                go_on(seconds / 3)
                absence(AWAY_SECONDS * min(1.0, seconds / LONG_SECONDS))
            go_on(seconds / 3)
    faults.errors += filter(None, (real.error, simulated.error, switches.error))
    tell("no more faults and runs; what was begun may end")
    try:
        eventually(partial(_rests, made), DRAIN_SECONDS, "all has ended, is judged, and is served", every=2.0)
    except AssertionError as error:
        tell(str(error))
    took = time.monotonic() - began
    evidence = _gathered(made, faults, real.made | simulated.made, switches.wanted)
    if seconds >= LONG_SECONDS:
        faults.errors += [f"{what}: it has not happened" for what in sorted(faults.not_done())]
        faults.errors += too_little(evidence)
    return evidence, faults, took


def _rests(made: Ground) -> bool:
    """Whether all has ended, and stays so: a gate is idle until it sees the run that has just succeeded."""
    kubes = [made.kube(namespace) for namespace in (REAL, SIMULATED)]

    def ended() -> bool:
        return not any(stream.unfinished(stream.runs(kube)) or stream.unjudged(kube) for kube in kubes)

    if not (ended() and serves(made.kube(SERVED), LAST)):
        return False
    time.sleep(RESTING_SECONDS)
    return ended()


def _gathered(made: Ground, faults: Faults, runs_made: set[tuple[str, str]], wanted: Counter[str]) -> Evidence:
    kubes = [made.kube(namespace) for namespace in (REAL, SIMULATED, SERVED)]
    runs, gates, evaluations, deployments, pods, events = (
        [obj for kube in kubes for obj in kube.select(kind)]
        for kind in ("FineTuneRun", "EvalGate", "Evaluation", "ModelDeployment", "Pod", "Event")
    )
    storage: dict[str, str] = {}
    of_evaluations: dict[str, Recorded | str] = {}
    for namespace, folder in made.storages.items():
        storage |= look_into(folder, within(namespace, runs))
        of_evaluations |= records(folder, within(namespace, evaluations))
    return Evidence(
        writes=audit.read(made.audit_log),
        runs=runs,
        pods=pods,
        events=events,
        made=frozenset(runs_made),
        bereft=frozenset(faults.bereft),
        hits=tuple(faults.hits),
        storage=storage,
        gates=gates,
        evaluations=evaluations,
        records=of_evaluations,
        deployments=deployments,
        wanted=dict(wanted),
        answers=answers.read(made.served.clients.answers()),
    )


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=15.0,
        help="how long things go wrong, beside two absences of up to 3 minutes (default: 15)",
    )
    parser.add_argument("--seed", type=int, help="of the draw of faults (default: another one each time)")
    options = parser.parse_args(arguments)
    if options.minutes <= 0:
        parser.error(f"--minutes is {options.minutes:g}, and has to be more than 0")
    return options


def _end(number: int, _frame: object) -> None:
    """End by an exception: what is frozen, refused and left must be put right again."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    console = Console(highlight=False)
    try:
        sys.exit(main(options_of(), console))
    except (ClusterError, RuntimeError) as error:
        console.print(str(error), markup=False)
        sys.exit(1)
