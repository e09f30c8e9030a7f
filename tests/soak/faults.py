"""What goes wrong in a soak, and when."""

import random
import signal
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from urllib3.exceptions import HTTPError

from stagecoach.build.labels import OWNER_NAME
from tests.kube import KubeError
from tests.soak.ground import POLICY, REAL, SIMULATED, Ground
from tests.soak.operators import Operator

# Faults at a time, each of another kind and of another victim, and the pause after each.
AT_ONCE = 2
PAUSES = (3.0, 12.0)
ETCD_SECONDS = 30.0
FROZEN_SECONDS = (5.0, 40.0)  # shorter and longer than a Lease
STORAGE_SECONDS = (10.0, 30.0)
CLOCK_SECONDS = (20.0, 60.0)
HOUR = 3600

Fault = Callable[[str, random.Random], None]  # what is done to a victim, by draws of its own


class NotNow(Exception):
    """There is nothing to which this fault could be done."""


@dataclass
class Faults:
    """Draws faults until it is told to stop; what it did is counted by name."""

    ground: Ground
    chance: random.Random
    tell: Callable[[str], None]
    done: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    bereft: set[tuple[str, str]] = field(default_factory=set)  # the runs of which a pod was deleted

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._held = threading.Lock()
        self._victims: set[str] = set()
        # A draw for each of its own, which does not depend on how fast the others are.
        seeds = [self.chance.random() for _ in range(AT_ONCE)]
        self._threads = [threading.Thread(target=self._go_on, args=(seed,), daemon=True) for seed in seeds]

    def __enter__(self) -> "Faults":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; what was frozen, refused or ended is as before when this returns."""
        self._stop.set()
        for each in self._threads:
            each.join()

    def _go_on(self, seed: float) -> None:
        chance = random.Random(seed)  # noqa: S311 - it draws accidents, not secrets
        while not self._stop.is_set():
            fault, victim = chance.choice(self._choices())
            with self._taken(victim) as free:
                if free:
                    name = _name(fault)
                    self.tell(f"{name}: {victim}")
                    try:
                        fault(victim, chance)
                        self.done[name] += 1
                    except (KubeError, HTTPError, NotNow) as error:
                        self.tell(f"{name}: not now: {error}"[:120])
                    except Exception as error:  # whatever it is: a soak without this fault would say too much
                        self.errors.append(f"{name} of {victim}: {error}")
            self._stop.wait(chance.uniform(*PAUSES))

    def not_done(self) -> set[str]:
        """Return the names of the faults that have not happened."""
        return {_name(fault) for fault, _ in self._choices()} - self.done.keys()

    def _choices(self) -> list[tuple[Fault, str]]:
        of_operators = (self._kill_operator, self._freeze_operator, self._cut_watches, self._step_clock)
        others: list[tuple[Fault, str]] = [
            (self._restart_api_server, "control plane"),
            (self._pause_etcd, "control plane"),
            (self._refuse_storage, "storage"),
            (self._delete_pod, REAL),
            (self._delete_pod, SIMULATED),
        ]
        return others + [(fault, operator.name) for fault in of_operators for operator in self.ground.operators]

    @contextmanager
    def _taken(self, victim: str) -> Iterator[bool]:
        with self._held:
            free = victim not in self._victims
            if free:
                self._victims.add(victim)
        try:
            yield free
        finally:
            if free:
                with self._held:
                    self._victims.discard(victim)

    def _operator(self, name: str) -> Operator:
        return next(each for each in self.ground.operators if each.name == name)

    def _kill_operator(self, name: str, chance: random.Random) -> None:
        operator = self._operator(name)
        operator.running().kill()
        self._stop.wait(chance.uniform(0, 10))
        operator.start()

    def _freeze_operator(self, name: str, chance: random.Random) -> None:
        process = self._operator(name).running()
        process.freeze()
        try:
            self._stop.wait(chance.uniform(*FROZEN_SECONDS))
        finally:
            process.thaw()

    def _cut_watches(self, name: str, _chance: random.Random) -> None:
        self._operator(name).cut()

    def _step_clock(self, name: str, chance: random.Random) -> None:
        operator = self._operator(name)
        operator.set_clock(chance.choice([-HOUR, HOUR]))
        try:
            self._stop.wait(chance.uniform(*CLOCK_SECONDS))
        finally:
            operator.set_clock(0)

    def _restart_api_server(self, _victim: str, _chance: random.Random) -> None:
        self.ground.backend.restart_api_server(POLICY)

    def _pause_etcd(self, _victim: str, _chance: random.Random) -> None:
        etcd = self.ground.backend.processes.find("etcd")
        if etcd is None:
            raise RuntimeError("etcd does not run")
        etcd.signal(signal.SIGSTOP)
        try:
            time.sleep(ETCD_SECONDS)
        finally:
            etcd.signal(signal.SIGCONT)

    def _refuse_storage(self, _victim: str, chance: random.Random) -> None:
        """Take the right to use the volume away from all but root."""
        folder = self.ground.storage
        mode = stat.S_IMODE(folder.stat().st_mode)
        folder.chmod(0)
        try:
            self._stop.wait(chance.uniform(*STORAGE_SECONDS))
        finally:
            folder.chmod(mode)

    def _delete_pod(self, namespace: str, chance: random.Random) -> None:
        kube = self.ground.kube(namespace)
        running = [pod for pod in kube.select("Pod") if pod["status"].get("phase") == "Running"]
        if not running:
            raise NotNow("no pod runs")
        metadata = chance.choice(running)["metadata"]
        self.bereft.add((namespace, metadata["labels"].get(OWNER_NAME, "")))
        kube.delete("Pod", metadata["name"])


def _name(fault: Fault) -> str:
    return fault.__name__.strip("_")
