"""Any order of trainings, adoptions, deletions, late and interrupted Jobs: what an object has is never lost."""

import shutil
import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stagecoach.contract import layout
from stagecoach.contract.digests import hex_of
from stagecoach.contract.jobs import RetainJob
from stagecoach.contract.store import Store
from stagecoach.contract.times import moment
from stagecoach_trainer import uses
from stagecoach_trainer.retain import Pass

from .conftest import ANOTHER
from .storehouse import DAY, NOW, Crash, Crashing, Storehouse, inputs_of

NUMBERS = st.integers(1, 5)


class Storehouses(RuleBasedStateMachine):
    """A storage, the runs that have artifacts in it, and the Jobs that were decided and not yet carried out."""

    def __init__(self) -> None:
        super().__init__()
        self.root = tempfile.mkdtemp()
        self.here = Storehouse(Store.local(self.root))
        self.days = 0.0
        self.digests = {number: self.here.make(number, days=10 - number) for number in range(1, 6)}
        self.having: set[int] = set()
        self.pinned: set[int] = set()
        self.decided: list[RetainJob] = []

    @rule(number=NUMBERS)
    def a_run_adopts_or_trains(self, number: int) -> None:
        digest = self.digests[number]
        if self.here.store.manifest(digest):
            uses.note(self.here.store, digest, ANOTHER, NOW + self.days * DAY)
            if self.here.store.verified(digest):
                self.having.add(number)
                return
        self.here.make(number, days=-self.days)
        self.having.add(number)

    @rule(number=NUMBERS)
    def a_run_is_deleted(self, number: int) -> None:
        self.having.discard(number)

    @rule(number=NUMBERS)
    def somebody_pins(self, number: int) -> None:
        if self.here.state(self.digests[number]) in ("whole", "whole, and announced"):
            self.here.pin(self.digests[number])
            self.pinned.add(number)

    @rule(number=NUMBERS)
    def a_pin_goes(self, number: int) -> None:
        if number in self.pinned:
            self.here.store.remove(f"{layout.PINS}/{hex_of(self.digests[number])}")
            self.pinned.remove(number)

    @rule(days=st.sampled_from([0.1, 1, 3, 4, 20]))
    def time_passes(self, days: float) -> None:
        self.days += days

    @rule(runs=st.integers(1, 3))
    def the_operator_decides(self, runs: int) -> None:
        self.decided.append(self._job(runs))

    @rule(at=st.integers(1, 30), late=st.booleans())
    def a_job_runs_and_may_crash(self, at: int, late: bool) -> None:
        clock = NOW + self.days * DAY
        held = [job for job in self.decided if clock - moment(job.decided) <= 7 * DAY]
        job = held[0] if held and late else self._job(1)
        try:
            Pass(Crashing(self.here.store, at), job, clock).run()
        except Crash:
            pass
        else:
            self.decided = [each for each in self.decided if each is not job]

    def _job(self, runs: int) -> RetainJob:
        named = {hex_of(self.digests[number])[:12] for number in self.having}
        named |= {hex_of(inputs_of(number))[:12] for number in self.having}
        return self.here.job(self.days, runs=runs, keep_seconds=86400, protected=tuple(sorted(named)))

    @invariant()
    def what_is_had_or_pinned_is_there(self) -> None:
        for number in self.having | self.pinned:
            assert self.here.state(self.digests[number]) in ("whole", "whole, and announced", "leaving")
            there = {item.path for item in self.here.store.listing(layout.artifact_folder(self.digests[number]))}
            assert there == {"adapter_config.json", "adapter_model.safetensors"}

    @invariant()
    def a_manifest_tells_the_truth(self) -> None:
        assert "broken" not in map(self.here.state, self.digests.values())

    def teardown(self) -> None:
        """In the end what is had is whole, and all else but the newest is gone."""
        for days in (0, 10, 14, 18):
            self.here.look(self.days + days, keep_seconds=86400, protected=self._job(1).protected)
        states = {number: self.here.state(digest) for number, digest in self.digests.items()}
        assert all(states[number] == "whole" for number in self.having | self.pinned)
        assert all(state in ("whole", "gone") for state in states.values())
        assert list(states.values()).count("whole") <= len(self.having | self.pinned) + 1
        shutil.rmtree(self.root)


TestStorehouses = Storehouses.TestCase
TestStorehouses.settings = settings(max_examples=80, stateful_step_count=30, deadline=None, derandomize=True)
