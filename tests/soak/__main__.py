"""`make soak`: random faults for a stated time under a stream of runs and gates, real and simulated, and under clients of
a deployment that is switched between two releases; and a verdict.

Operators, mostly the one that leads, are killed, frozen and woken, their connections cut and their clocks set an hour
off; the API server is restarted, etcd stands still for 30 seconds, pods are deleted, the storage refuses; gateways are
killed and deleted, and the engine is deleted. Once both operators are away for 3 minutes, and once the API server (in
less than 10 minutes for as much less), which comes on top of the stated time. Then all may end, and what has to hold is
judged by the API server's audit log, by its objects, by the storage and by what clients were answered.
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
from rich.table import Table

from tests.cluster.errors import ClusterError
from tests.cluster.paths import State, remove_tree
from tests.integration.support.eventually import eventually
from tests.soak import answers, audit, stream, timeline
from tests.soak.enough import LONG_SECONDS, too_little
from tests.soak.evidence import LEASES, STATUS, VERDICT, Evidence, Object, Recorded
from tests.soak.faults import AWAY_SECONDS, Faults
from tests.soak.ground import REAL, SIMULATED, Ground, ground
from tests.soak.served import SERVED
from tests.soak.storage import look_into, records
from tests.soak.switches import LAST, Switches, serves
from tests.soak.telling import taken
from tests.soak.verdict import judge

# What runs may need to end once nothing goes wrong any more.
DRAIN_SECONDS = 900.0
RESTING_SECONDS = 5.0
SHOWN = 5


def main(options: argparse.Namespace, console: Console) -> int:
    """Run it; return 0 when everything held."""
    directory = State.from_environment().run("soak")
    remove_tree(directory)
    directory.mkdir(parents=True)
    seed = options.seed if options.seed is not None else random.randrange(10**6)  # noqa: S311 - no secret
    console.print(f"soak of {options.minutes:g} minutes with seed {seed}; logs of the operators: {directory}")
    with ground(directory) as made:
        evidence, faults, seconds = _soaked(made, options.minutes * 60, random.Random(seed), console)  # noqa: S311
    verdict = judge(evidence)
    for table in (_did(faults), _counted(evidence, seconds), _answered(evidence), _judged(verdict)):
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
                wanted = switches.wanted.total()
                tell(
                    f"so far {len(real.made)} real runs, {len(simulated.made)} simulated ones, {wanted} changes of mind"
                )

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
        storage |= look_into(folder, _in(namespace, runs))
        of_evaluations |= records(folder, _in(namespace, evaluations))
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


def _in(namespace: str, objects: Sequence[Object]) -> list[Object]:
    return [each for each in objects if each["metadata"]["namespace"] == namespace]


def _did(faults: Faults) -> Table:
    table = Table("fault", "of", "times", title="faults", title_justify="left")
    for (name, whom), count in sorted(faults.done.items()):
        table.add_row(name.replace("_", " "), whom, str(count))
    return table


def _counted(evidence: Evidence, seconds: float) -> Table:
    table = Table("what", "count", title="what happened", title_justify="left")
    for namespace in (REAL, SIMULATED):
        here = _in(namespace, evidence.runs)
        phases = Counter(str(run.get("status", {}).get("phase", "none")) for run in here)
        words = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items()))
        attempts = sum(len(run.get("status", {}).get("attempts", ())) for run in here)
        table.add_row(f"{namespace}: runs", f"{len(here)}: {words}")
        table.add_row(f"{namespace}: attempts", str(attempts))
        judged = [each.get("status", {}) for each in _in(namespace, evidence.evaluations)]
        verdicts = Counter(str(status.get("verdict", "none")) for status in judged)
        words = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        table.add_row(f"{namespace}: Evaluations", f"{len(judged)}: {words}")
        again = sum(status.get("attempt", {}).get("number", 0) for status in judged)
        table.add_row(f"{namespace}: attempts at these", str(again))
    refused = Counter(write.code for write in evidence.writes if not write.accepted)
    writes = [write for write in evidence.accepted if write.resource != LEASES]
    table.add_row("changes of the leader", str(len(evidence.holders()) - 1))
    table.add_row("writes accepted, without Leases", str(len(writes)))
    table.add_row(
        "- of a run's status, for a run",
        f"{sum(w.resource == STATUS for w in writes) / max(1, len(evidence.runs)):.2f}",
    )
    judged_writes = sum(w.resource == VERDICT for w in writes)
    table.add_row("- of an Evaluation's status, for one", f"{judged_writes / max(1, len(evidence.evaluations)):.2f}")
    table.add_row("writes refused, by code", ", ".join(f"{count} × {code}" for code, count in sorted(refused.items())))
    table.add_row("Events that faults may have taken", str(len(taken(evidence))))
    table.add_row("seconds in all", f"{seconds:.0f}")
    return table


def _answered(evidence: Evidence) -> Table:
    table = Table("what", "count", title="what clients were answered", title_justify="left")
    runs = {each["spec"]["release"]["digest"]: each["spec"]["run"] for each in evidence.evaluations}
    well = [each for each in evidence.answers if each.status == 200]
    errors = answers.failed(evidence.answers)
    table.add_row("requests", str(len(evidence.answers)))
    for release, count in sorted(Counter(each.release for each in well).items()):
        table.add_row(f"- answered by run {runs.get(release, release)}", str(count))
    table.add_row("- failed", f"{len(errors)}: {len(errors) / max(1, len(evidence.answers)):.2%}")
    told = Counter((answers.cause(each, evidence.hits), each.status, each.error) for each in errors)
    for (fault, status, error), count in sorted(told.items()):
        table.add_row(f"  {fault.replace('_', ' ') or 'not explained'}: {status} {error}"[:80], str(count))
    took = sorted((each.ended - each.began).total_seconds() for each in well)
    if took:
        p50, p99 = (took[int(share * (len(took) - 1))] for share in (0.5, 0.99))
        table.add_row("seconds to an answer", f"p50 {p50:.2f}, p99 {p99:.2f}, at most {took[-1]:.2f}")
    table.add_row("something else was served", f"{sum(timeline.switches(evidence))} times")
    for how, count in sorted(evidence.wanted.items()):
        table.add_row(f"- wanted: {how}", f"{count} times")
    return table


def _judged(verdict: dict[str, list[str]]) -> Table:
    table = Table(
        "invariant", "verdict", title="verdict, by the audit log, the objects and the storage", title_justify="left"
    )
    for name, wrong in verdict.items():
        table.add_row(name.replace("_", " "), "holds" if not wrong else f"violated {len(wrong)} times")
    return table


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
