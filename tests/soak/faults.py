"""What goes wrong in a soak, and when."""

import random
import signal
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from urllib3.exceptions import HTTPError

from stagecoach.build.labels import ENGINE, GATEWAY, OWNER_NAME
from tests.integration.support.eventually import eventually
from tests.kube import Kube, KubeError, Object
from tests.soak import stream
from tests.soak.deck import Deck, Fault, name_of
from tests.soak.evidence import CONTROL_PLANE, Hit
from tests.soak.ground import POLICY, REAL, SIMULATED, Ground
from tests.soak.operators import Operator
from tests.soak.pods import NotNow, kill_engine, kill_gateway, take_out
from tests.soak.served import SERVED

# Faults at a time, each of another victim, and the pause after each; beside these one at a time to what serves.
AT_ONCE = 2
PAUSES, PAUSES_OF_SERVING = (3.0, 12.0), (5.0, 20.0)
AGAIN = 1.0  # while nobody is free for any fault
ETCD_SECONDS = 30.0
# Shorter than a Lease, and so long that another operator takes it.
BRIEF_SECONDS, FROZEN_SECONDS = (5.0, 12.0), (20.0, 40.0)
KILLED_SECONDS = (0.0, 10.0)
STORAGE_SECONDS = (10.0, 30.0)
CLOCK_SECONDS = (20.0, 60.0)
HOUR = 3600
# How long operators, or the API server, are away once in a long soak, and what is waited for before that: a training.
AWAY_SECONDS = 180.0
TRAINING_SECONDS = 60.0

STORAGE = "storage"
LEADER, OTHER, OPERATORS = "the leader", "an operator that does not lead", "both operators"
GATEWAYS, ENGINES = "a gateway", "the engine"
OPERATORS_AWAY, API_SERVER_AWAY = "operators_away", "api_server_away"


@dataclass
class Faults:
    """Does faults in the order of decks until it is told to stop; what it did is counted by fault and by victim."""

    ground: Ground
    chance: random.Random
    tell: Callable[[str], None]
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    hits: list[Hit] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    bereft: set[tuple[str, str]] = field(default_factory=set)  # the runs of which a pod was deleted

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._held = threading.Condition()  # for decks, victims and counts; told when a victim is free again
        self._victims: set[str] = set()
        self._kept: set[str] = set()  # who is left alone until it is away
        deck, of_serving = (
            Deck(choices, random.Random(self.chance.random()))  # noqa: S311 - it draws accidents, not secrets
            for choices in (self._choices(), self._of_serving())
        )
        lanes = [(deck, PAUSES)] * AT_ONCE + [(of_serving, PAUSES_OF_SERVING)]
        self._threads = [threading.Thread(target=self._go_on, args=lane, daemon=True) for lane in lanes]

    def __enter__(self) -> "Faults":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; what was frozen, refused or ended is as before when this returns."""
        self._stop.set()
        for each in self._threads:
            each.join()

    def _go_on(self, deck: Deck, pauses: tuple[float, float]) -> None:
        try:
            while not self._stop.is_set():
                self._stop.wait(self._next(deck, pauses))
        except Exception as error:  # whatever it is: a soak without faults would say too much
            self.errors.append(f"no more faults: {error}")

    def _next(self, deck: Deck, pauses: tuple[float, float]) -> float:
        """Do the fault that is due; return for how long to pause after it."""
        with self._held:
            drawn = deck.draw(self._free())
            if drawn is None:
                return AGAIN
            card, victim = drawn
            self._victims.add(victim)
        chance = card.chance()
        try:
            self._do(name_of(card.fault), card.whom, [victim], partial(card.fault, victim, chance))
        finally:
            with self._held:
                self._victims.discard(victim)
                self._held.notify_all()
        return chance.uniform(*pauses)

    def _do(self, name: str, whom: str, victims: Sequence[str], act: Callable[[], None]) -> None:
        """Do a fault and count it, if there is something to which it can be done."""
        self.tell(f"{name}: {', '.join(dict.fromkeys([*victims, whom]))}")
        began = datetime.now(UTC)
        try:
            act()
        except (KubeError, HTTPError, NotNow) as error:
            self.tell(f"{name}: not now: {error}"[:120])
            return
        except Exception as error:  # whatever it is: a soak without this fault would say too much
            self.errors.append(f"{name} of {whom}: {error}")
            return
        ended = datetime.now(UTC)
        with self._held:
            self.done[name, whom] += 1
            self.hits += [Hit(name, victim, began, ended) for victim in victims]

    def operators_away(self, seconds: float) -> None:
        """End all operators, and start them again after so long: they find what ended meanwhile."""
        names = [each.name for each in self.ground.operators]
        self._be_away(OPERATORS_AWAY, OPERATORS, names, partial(self._end_operators, seconds))

    def api_server_away(self, seconds: float) -> None:
        """End the API server, and start it again after so long."""
        self._be_away(API_SERVER_AWAY, CONTROL_PLANE, [CONTROL_PLANE], partial(self._end_api_server, seconds))

    def _be_away(self, name: str, whom: str, victims: Sequence[str], act: Callable[[], None]) -> None:
        """Do it while something trains, to victims to whom nothing else is done; nor is anything to what trains."""
        kept = {*victims, CONTROL_PLANE, REAL}
        with self._held:
            self._kept = kept
            self._held.wait_for(lambda: not self._victims & kept)
        try:
            if not self._trains():
                self.tell(f"{name}: not now: nothing trains in both namespaces")
                return
            with self._held:
                self._victims.update(victims)
            self._do(name, whom, victims, act)
        finally:
            with self._held:
                self._victims.difference_update(victims)
                self._kept = set()

    def _trains(self) -> bool:
        """Wait until a pod trains for real and another is simulated; return whether there are such."""
        kubes = [self.ground.kube(namespace) for namespace in (REAL, SIMULATED)]
        try:
            eventually(lambda: all(map(_running, kubes)), TRAINING_SECONDS, every=0.5)
        except (AssertionError, HTTPError):
            return False
        return True

    def not_done(self) -> set[str]:
        """Return what has not happened, and to whom."""
        wanted = {(name_of(fault), whom) for fault, whom in (*self._choices(), *self._of_serving())}
        wanted |= {(OPERATORS_AWAY, OPERATORS), (API_SERVER_AWAY, CONTROL_PLANE)}
        return {f"{name} of {whom}" for name, whom in wanted - self.done.keys()}

    def _choices(self) -> list[tuple[Fault, str]]:
        # Mostly to the one whose late writes would do harm.
        of_operators: tuple[tuple[Fault, tuple[str, ...]], ...] = (
            (self._kill_operator, (LEADER, LEADER, OTHER)),
            (self._freeze_beyond_lease, (LEADER, LEADER, OTHER)),
            (self._cut_watches, (LEADER, LEADER, OTHER)),
            (self._freeze_briefly, (LEADER, OTHER)),
            (self._step_clock, (LEADER, OTHER)),
        )
        others: list[tuple[Fault, str]] = [
            (self._restart_api_server, CONTROL_PLANE),
            (self._pause_etcd, CONTROL_PLANE),
            (self._refuse_storage, STORAGE),
            (self._delete_pod, REAL),
            (self._delete_pod, SIMULATED),
        ]
        return others + [(fault, whom) for fault, each in of_operators for whom in each]

    def _of_serving(self) -> list[tuple[Fault, str]]:
        # Seldom the engine: while it is away, all that clients can show is that they are told so.
        of_gateways: list[tuple[Fault, str]] = [(self._kill_gateway, GATEWAYS), (self._delete_gateway, GATEWAYS)]
        return [*(4 * of_gateways), (self._kill_engine, ENGINES), (self._delete_engine, ENGINES)]

    def _free(self) -> dict[str, list[str]]:
        """Return who could be a victim now, by how cards call them."""
        # No pod is deleted where the API server does not answer.
        of_pods = (REAL, SIMULATED, GATEWAYS, ENGINES)
        others = (STORAGE,) if CONTROL_PLANE in self._victims else (CONTROL_PLANE, STORAGE, *of_pods)
        taken = self._victims | self._kept
        free = {each: [each] for each in others if each not in taken}
        operators = [each for each in self.ground.operators if each.name not in taken]
        leads = {each.name: each.leads() for each in operators}
        return free | {
            LEADER: [name for name, leading in leads.items() if leading],
            OTHER: [name for name, leading in leads.items() if not leading],
        }

    def _operator(self, name: str) -> Operator:
        return next(each for each in self.ground.operators if each.name == name)

    def _kill_operator(self, name: str, chance: random.Random) -> None:
        operator = self._operator(name)
        operator.running().kill()
        self._stop.wait(chance.uniform(*KILLED_SECONDS))
        operator.start()

    def _freeze_briefly(self, name: str, chance: random.Random) -> None:
        self._freeze(name, chance.uniform(*BRIEF_SECONDS))

    def _freeze_beyond_lease(self, name: str, chance: random.Random) -> None:
        self._freeze(name, chance.uniform(*FROZEN_SECONDS))

    def _freeze(self, name: str, seconds: float) -> None:
        process = self._operator(name).running()
        process.freeze()
        try:
            self._stop.wait(seconds)
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

    def _end_operators(self, seconds: float) -> None:
        for process in [each.running() for each in self.ground.operators]:
            process.kill()
        time.sleep(seconds)
        for each in self.ground.operators:
            each.start()

    def _end_api_server(self, seconds: float) -> None:
        self.ground.backend.end_api_server()
        try:
            time.sleep(seconds)
        finally:
            self.ground.backend.start_api_server(POLICY)

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
        folder = self.ground.storages[REAL]
        mode = stat.S_IMODE(folder.stat().st_mode)
        folder.chmod(0)
        try:
            self._stop.wait(chance.uniform(*STORAGE_SECONDS))
        finally:
            folder.chmod(mode)

    def _delete_pod(self, namespace: str, chance: random.Random) -> None:
        kube = self.ground.kube(namespace)
        running = _running(kube)
        if not running:
            raise NotNow("no pod runs")
        metadata = chance.choice(running)["metadata"]
        self.bereft.add((namespace, metadata["labels"].get(OWNER_NAME, "")))
        kube.delete("Pod", metadata["name"])

    def _kill_gateway(self, _victim: str, chance: random.Random) -> None:
        take_out(self.ground.kube(SERVED), GATEWAY, chance, kill_gateway)

    def _delete_gateway(self, _victim: str, chance: random.Random) -> None:
        self._delete(GATEWAY, chance)

    def _kill_engine(self, _victim: str, chance: random.Random) -> None:
        take_out(self.ground.kube(SERVED), ENGINE, chance, kill_engine)

    def _delete_engine(self, _victim: str, chance: random.Random) -> None:
        self._delete(ENGINE, chance)

    def _delete(self, component: str, chance: random.Random) -> None:
        kube = self.ground.kube(SERVED)
        take_out(kube, component, chance, lambda pod: stream.delete(kube, "Pod", pod["metadata"]["name"]))


def _running(kube: Kube) -> list[Object]:
    return [pod for pod in kube.select("Pod") if pod["status"].get("phase") == "Running"]
