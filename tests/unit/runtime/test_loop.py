"""The loop and the executor against a server that knows the rules about versions."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from stagecoach.contract.reviews import CanaryRows
from stagecoach.kinds.approval.reconcile import CONTROLLER as APPROVALS
from stagecoach.kinds.controller import OWNER_KIND, OWNER_NAME, OWNER_UID, Settings
from stagecoach.kinds.plan import Call, Event, Key, Object, Plan
from stagecoach.policies.sharing import Claim
from stagecoach.runtime import metrics
from stagecoach.runtime.backoff import Backoff
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    NotFound,
    Rejected,
    ServerError,
    Throttled,
    Unreachable,
)
from stagecoach.runtime.executor import Executor
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.lease import Leadership
from stagecoach.runtime.loop import Loop
from stagecoach.runtime.queue import WorkQueue
from stagecoach.runtime.recorder import Recorder
from stagecoach.runtime.resources import CLAIMS, Resources
from tests import builders
from tests.remedies import speaks
from tests.unit.runtime.fakes import NAMESPACE, Clock, FakeServer, Woken, controller, key, toy

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Decide = Callable[[Object], Plan]


def job(name: str = "a-1", owner: str = "uid-a") -> Object:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {OWNER_UID: owner}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}}


def config_map(name: str = "a-routes") -> Object:
    labels = {OWNER_KIND: "Toy", OWNER_NAME: "a", OWNER_UID: "uid-a"}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels, "ownerReferences": [{"uid": "uid-a"}]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"x": "y"}}


def counted() -> float:
    """Return how many reconciles the operator has told of."""
    [told] = metrics.RECONCILE_SECONDS.collect()
    return sum(each.value for each in told.samples if each.name.endswith("_count") and each.labels["kind"] == "Toy")


def ready(obj: Object) -> Object:
    return next(each for each in obj["status"]["conditions"] if each["type"] == "Ready")


class World:
    """One loop with its queue, its cache and its server; `decide` is what the pure part does."""

    def __init__(self, decide: Decide, server: FakeServer | None = None) -> None:
        self.decide = decide
        self.reconciles = 0
        self.keys: list[bytes] = []  # the operator's own, as each reconcile was given it
        kinds = (controller(self._reconcile),)
        self.clock = Clock()
        self.server = server or FakeServer()
        client: Any = self.server
        self.queue = WorkQueue(self.clock, lambda: Backoff(first=1.0, spread=lambda: 0.5))
        self.cache = Cache(kinds, self.clock)
        self.intake = Intake(self.cache, kinds, self.queue.add)
        self.leadership = Leadership(self.clock)
        self.leadership.extend(self.clock.now + 1e9)
        self.asked: list[tuple[Key, Call]] = []
        calls: Any = SimpleNamespace(ask=lambda *asked: self.asked.append(asked))
        executor = Executor(
            client, Resources((*kinds, APPROVALS)), self.intake, Recorder(client, "me"), calls, self.clock
        )
        settings = Settings("trainer", "evaluator")
        self.current = {NAMESPACE: True}
        current = self.current.__getitem__
        self.loop = Loop(kinds, settings, self.cache, self.queue, executor, self.leadership, current, lambda: NOW)

    def _reconcile(self, _view: object, obj: Object, now: datetime, settings: Settings) -> Plan:
        assert now == NOW
        self.keys.append(settings.master_key)
        self.reconciles += 1
        return self.decide(obj)

    def see(self, obj: Object) -> None:
        """The watch brings an object that the server has."""
        self.intake.own(self.server.add(obj))

    async def settle(self) -> int:
        """Work until nothing is ready; return how many reconciles that took."""
        before = self.reconciles
        worker = asyncio.create_task(self.loop.work())
        for _ in range(100):
            await asyncio.sleep(0)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        assert self.queue.depth == 0
        return self.reconciles - before

    @property
    def stored(self) -> Object:
        return self.server.objects["Toy", "a"]


async def test_a_status_is_written_and_seen_without_a_watch() -> None:
    world = World(lambda obj: Plan(status={"phase": "B" if obj.get("status") else "A"}))
    world.see(toy("a"))
    assert await world.settle() == 3  # A, B, and once more to find nothing to do
    assert world.stored["status"] == {"phase": "B"}
    assert world.server.made("patch") == ["a", "a"]


async def test_nothing_is_decided_while_the_children_of_a_namespace_are_not_known() -> None:
    world = World(lambda _: Plan(status={"phase": "A"}, create=(job(),)))
    world.current[NAMESPACE] = False
    world.see(toy("a"))
    before = counted()
    for _ in range(3):
        assert await world.settle() == 0
        world.clock.now += 10
    assert world.server.calls == []
    assert counted() == before, "what is put off is no reconcile"
    world.current[NAMESPACE] = True
    made = await world.settle()
    assert counted() - before == made > 0
    assert set(world.server.made("create")) == {"a-1"}


async def test_an_equal_status_is_not_written_and_its_events_are_not_told() -> None:
    world = World(lambda _: Plan(status={"phase": "A"}, events=(Event("Said", "again"),)))
    world.see(toy("a", status={"phase": "A"}))
    await world.settle()
    assert world.server.calls == []


async def test_the_order_is_status_events_deletions_creations_applies() -> None:
    def decide(obj: Object) -> Plan:
        old = world.server.objects.get(("Job", "old"))
        made = () if obj.get("status") else (job(),)
        applied = () if obj.get("status") else (config_map(),)
        return Plan({"phase": "A"}, (Event("E", "e"),), (old,) if old else (), made, applied)

    world = World(decide)
    world.server.add(job("old") | {"metadata": job("old")["metadata"] | {"uid": "u", "resourceVersion": "1"}})
    world.see(toy("a"))
    await world.settle()
    assert [verb for verb, _, _ in world.server.calls] == ["patch", "create", "delete", "create", "apply"]
    assert [kind for _, kind, _ in world.server.calls] == ["Toy", "Event", "Job", "Job", "ConfigMap"]


async def test_what_is_refused_holds_up_no_question_to_a_pod() -> None:
    call = Call("uid-p", "10.0.0.1", 8001, "GET", "/models", "token")
    world = World(lambda _: Plan(status={"phase": "A"}, ask=(call,), create=(job(),)))
    world.server.fail("create", *[Forbidden("the quota says no", 403, "Forbidden")] * 5)
    world.see(toy("a"))
    await world.settle()
    assert set(world.asked) == {(key("a"), call)}
    world.asked.clear()
    world.server.fail("patch", Conflict("changed", 409))
    world.decide = lambda _: Plan(status={"phase": "B"}, ask=(call,))
    world.queue.add(key("a"))
    await world.settle()
    assert world.asked == [], "a plan that is void asks nothing"


async def test_a_name_that_is_taken_by_somebody_elses_object_is_said_of_what_is_applied_too() -> None:
    world = World(lambda _: Plan(status={"phase": "A"}, apply=(config_map(),)))
    world.server.add(config_map() | {"metadata": config_map()["metadata"] | {"labels": {}, "resourceVersion": "9"}})
    world.see(toy("a"))
    await world.settle()
    condition = ready(world.stored)
    assert condition["reason"] == "NameTaken"
    assert "ConfigMap ns/a-routes exists and was not made for this Toy" in condition["message"]
    assert speaks("NameTaken", condition["message"])


async def test_what_is_applied_is_seen_without_a_watch() -> None:
    world = World(lambda _: Plan() if world.cache.config_maps("uid-a") else Plan(apply=(config_map(),)))
    world.see(toy("a"))
    assert await world.settle() == 2
    assert [each["metadata"]["name"] for each in world.cache.config_maps("uid-a")] == ["a-routes"]


async def test_the_operators_own_key_is_among_the_settings() -> None:
    found: list[bytes] = []
    world = World(lambda _: Plan())
    world.keys = found
    world.loop.use_key(b"k" * 32)
    world.see(toy("a"))
    await world.settle()
    assert found == [b"k" * 32]


async def test_a_claim_that_a_plan_asks_for_is_looked_at_and_known_for_a_while() -> None:
    def decide(_: Object) -> Plan:
        asked = ("store", "missing")
        return Plan(look=tuple((NAMESPACE, name) for name in asked if world.cache.claim(NAMESPACE, name) is None))

    world = World(decide)
    metadata = {"name": "store", "namespace": NAMESPACE}
    spec = {"accessModes": ["ReadWriteMany"]}
    world.server.add({"apiVersion": "v1", "kind": CLAIMS.kind, "metadata": metadata, "spec": spec})
    world.see(toy("a"))
    assert await world.settle() == 2  # once more when the answers are there
    assert world.cache.claim(NAMESPACE, "store") == Claim(("ReadWriteMany",))
    assert world.cache.claim(NAMESPACE, "missing") == Claim(None)
    assert world.cache.claim("elsewhere", "store") is None
    world.clock.now += 100
    assert world.cache.claim(NAMESPACE, "store") is None, "it may be another by now"


async def test_the_rows_in_a_log_that_a_plan_asks_for_are_read_and_known_for_a_while() -> None:
    rows = builders.canary_rows()

    def decide(_: Object) -> Plan:
        return Plan(read=("p", "uid-p")) if world.cache.canary("uid-p") is None else Plan()

    world = World(decide)
    world.server.logs["p"] = "\n".join(["asking", *rows.lines(), "farewell"])
    world.see(toy("a"))
    assert await world.settle() == 2  # once more when they are there
    assert world.cache.canary("uid-p") == rows
    world.clock.now += 100
    assert world.cache.canary("uid-p") is None


@pytest.mark.parametrize("error", [NotFound("gone", 404), Rejected("no host assigned", 400)])
async def test_a_log_that_is_gone_has_no_rows(error: BaseException) -> None:
    world = World(lambda _: Plan(read=("p", "uid-p")) if world.cache.canary("uid-p") is None else Plan())
    world.server.fail("log", error)
    world.see(toy("a"))
    assert await world.settle() == 2
    assert world.cache.canary("uid-p") == CanaryRows(rows=())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ServerError("the node does not answer", 502), "LogUnread"),
        (Unreachable("timed out"), "LogUnread"),
        (Forbidden("may not get pods/log. Grant it", 403, "Forbidden"), "Forbidden"),
    ],
)
async def test_a_log_that_nobody_can_read_now_is_asked_for_again(error: BaseException, reason: str) -> None:
    world = World(lambda _: Plan(read=("p", "uid-p")) if world.cache.canary("uid-p") is None else Plan())
    world.server.fail("log", error, error)  # it is tried again at once when that is shown
    world.see(toy("a"))
    await world.settle()
    assert world.cache.canary("uid-p") is None
    told = ready(world.stored)
    assert told["reason"] == reason
    assert speaks(reason, told["message"])
    world.server.logs["p"] = "\n".join(builders.canary_rows().lines())
    world.clock.now += 10
    await world.settle()
    assert world.cache.canary("uid-p") == builders.canary_rows()


POLICY = "denied request: spec.reviewer is x, and you are y: everybody decides in their own name. Write your own"


@pytest.mark.parametrize(
    ("answer", "guarded"),
    [
        ((), False),
        ((AlreadyExists("there is one", 409, "AlreadyExists"),), False),
        ((Forbidden(POLICY, 403, "Forbidden"),), True),
        ((Forbidden("may not create approvals. Grant it", 403, "Forbidden"),) * 2, None),
        ((Rejected("unknown field", 400),) * 2, None),
        ((ServerError("the webhook failed", 500),), None),
    ],
)
async def test_whether_the_policy_holds_is_tried_and_known_for_a_while(
    answer: tuple[BaseException, ...], guarded: bool | None
) -> None:
    world = World(lambda _: Plan(prove=True) if world.cache.guarded(NAMESPACE) is None else Plan())
    world.server.fail("try", *answer)
    world.see(toy("a"))
    await world.settle()
    assert world.cache.guarded(NAMESPACE) is guarded
    assert world.cache.guarded("elsewhere") is None
    assert not world.server.made("create")
    world.clock.now += 100
    assert world.cache.guarded(NAMESPACE) is None, "somebody may have taken it away"


async def test_a_refused_status_write_ends_the_plan() -> None:
    world = World(lambda _: Plan(status={"phase": "A"}, events=(Event("E", "e"),), create=(job(),)))
    world.see(toy("a"))
    world.server.add(toy("a", version=50))  # changed, and the watch has not said so yet
    assert await world.settle() == 1
    assert world.server.made("create") == []
    world.clock.now += 1
    world.see(toy("a", version=50))
    await world.settle()
    assert world.stored["status"] == {"phase": "A"}


QUOTA = Rejected("exceeded quota", 403, "Forbidden")


def refusals(world: World) -> Mapping[tuple[str, str], str]:
    return world.cache.refusals(world.stored["metadata"]["uid"])


def policy() -> Object:
    return config_map("a-policy") | {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}


def deployment(name: str = "a-engine") -> Object:
    return config_map(name) | {"apiVersion": "apps/v1", "kind": "Deployment"}


async def test_what_is_refused_leaves_the_rest_to_be_done_and_looked_at_again() -> None:
    plan = Plan({"phase": "A"}, create=(job(), job("a-2")), apply=(config_map("a-x"), config_map("a-y")))
    world = World(lambda _: replace(plan, requeue_after=0.5, look=((NAMESPACE, "data"),)))
    world.server.add({"kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {}})
    world.server.fail("create", QUOTA)
    world.server.fail("apply", QUOTA)
    world.see(toy("a"))
    await world.loop._one(key("a"))
    assert world.server.made("create") == [], "the second may need the first"
    assert world.server.made("apply") == ["a-y"]
    assert world.cache.claim(NAMESPACE, "data")
    assert ready(world.stored)["message"].startswith("exceeded quota. Correct what it names")
    words = ready(world.stored)["message"]
    assert refusals(world) == {("Job", "a-1"): words, ("ConfigMap", "a-x"): words}
    assert world.queue._deadlines[key("a")] == world.clock.now + 0.5, "the backoff alone is longer"
    world.clock.now += 1
    await world.loop._one(key("a"))
    assert world.server.made("create") == ["a-1", "a-2"]
    assert refusals(world) == {}


async def test_what_is_refused_again_and_again_is_looked_at_as_the_plan_says_and_tried_rarely() -> None:
    tried: list[float] = []
    world = World(lambda _: Plan(apply=(config_map(),), requeue_after=2.0))
    apply = world.server.apply

    async def refuse(resource: Any, obj: Object) -> Object:
        tried.append(world.clock.now)
        world.server.fail("apply", QUOTA)
        return await apply(resource, obj)

    world.server.apply = refuse  # type: ignore[method-assign]
    world.see(toy("a"))
    for _ in range(200):
        await world.settle()
        world.clock.now += 2
    assert world.reconciles >= 200
    assert 400 / 40 <= len(tried) <= 400 / 20
    world.decide = lambda _: Plan(apply=(config_map() | {"data": {}},))
    before = len(tried)
    await world.settle()
    assert len(tried) == before + 1, "what was mended is tried at once"


async def test_a_refusal_that_the_plans_maker_tells_is_not_shown_in_ready() -> None:
    plan = Plan({"phase": "A"}, create=(job(),), apply=(config_map("a-x"),), tells_refusals=True)
    world = World(lambda _: plan)
    world.server.fail("create", QUOTA)
    world.server.fail("apply", QUOTA)
    world.see(toy("a"))
    await world.loop._one(key("a"))
    assert world.stored["status"] == {"phase": "A"}
    assert refusals(world).keys() == {("ConfigMap", "a-x"), ("Job", "a-1")}
    assert all("exceeded quota" in words for words in refusals(world).values())
    assert world.queue.depth, "and its maker is asked again"
    world.clock.now += 121
    assert refusals(world) == {}, "nobody has tried since"


async def test_nothing_runs_without_the_policy_that_protects_it() -> None:
    world = World(lambda _: Plan(apply=(policy(), deployment(), config_map())))
    world.server.fail("apply", QUOTA)
    world.see(toy("a"))
    await world.loop._one(key("a"))
    assert world.server.made("apply") == ["a-routes"]
    world.clock.now += 1
    await world.loop._one(key("a"))
    assert "a-engine" in world.server.made("apply")


async def test_a_refused_deletion_makes_nothing_and_applies_the_rest() -> None:
    old = job("old")
    old["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    world = World(lambda _: Plan(delete=(old,), create=(job(),), apply=(config_map(),)))
    world.server.fail("delete", QUOTA)
    world.see(toy("a"))
    await world.loop._one(key("a"))
    assert world.server.made("create") == []
    assert world.server.made("apply") == ["a-routes"]
    assert ready(world.stored)["reason"] == "Forbidden"


async def test_a_name_that_is_taken_by_our_own_job_is_success() -> None:
    world = World(lambda _: Plan(create=(job(),)))
    world.server.add(job() | {"metadata": job()["metadata"] | {"uid": "u", "resourceVersion": "1"}})
    world.see(toy("a"))
    await world.settle()
    assert [each["metadata"]["name"] for each in world.cache.jobs("uid-a")] == ["a-1"]


@pytest.mark.parametrize("owner", ["uid-of-another", ""])
async def test_a_name_that_is_taken_by_somebody_else_is_said(owner: str) -> None:
    world = World(lambda _: Plan(status={"phase": "A"}, create=(job(),)))
    world.server.add(job(owner=owner) | {"metadata": job(owner=owner)["metadata"] | {"uid": "u"}})
    world.see(toy("a"))
    await world.settle()
    condition = ready(world.stored)
    assert (condition["status"], condition["reason"]) == ("False", "NameTaken")
    assert "Job ns/a-1 exists and was not made for this Toy" in condition["message"]
    assert world.stored["status"]["phase"] == "A"


async def test_a_secret_that_is_there_is_not_read() -> None:
    secret = job("a-keys-0123") | {"apiVersion": "v1", "kind": "Secret"}
    world = World(lambda _: Plan(status={"phase": "A"}, create=(secret,)))
    world.server.add(secret)
    world.see(toy("a"))
    await world.settle()
    assert world.stored["status"] == {"phase": "A"}
    assert world.server.made("get") == []


async def test_an_object_of_our_own_is_made_and_is_nobodys_child() -> None:
    world = World(lambda obj: Plan(create=(toy("b"),)) if obj["metadata"]["name"] == "a" else Plan())
    world.see(toy("a"))
    await world.settle()
    assert world.server.made("create") == ["b"]
    assert world.cache.get(key("b")), "the answer is an observation like any other"


async def test_an_object_of_our_own_that_is_there_is_left_as_it_is() -> None:
    world = World(lambda _: Plan(status={"phase": "A"}, create=(toy("b"),)))
    world.server.add(toy("b", uid="of-another"))
    world.see(toy("a"))
    await world.settle()
    assert world.stored["status"] == {"phase": "A"}
    assert world.server.made("get") == []


async def test_a_problem_is_shown_once_and_lifted_when_it_is_over() -> None:
    fine = {"type": "Ready", "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": "t"}
    world = World(lambda _: Plan(status={"phase": "A", "conditions": [fine]}, create=(job(),)))
    world.server.fail("create", *[Forbidden("no right", 403, "Forbidden")] * 4)
    world.see(toy("a"))
    await world.settle()
    assert ready(world.stored)["reason"] == "Forbidden"
    writes = len(world.server.made("patch"))
    for _ in range(3):
        world.clock.now += 30
        assert await world.settle() == 1
    assert len(world.server.made("patch")) == writes
    world.clock.now += 60
    await world.settle()
    assert ready(world.stored) == fine


async def test_a_bug_is_shown_kept_apart_and_tried_again() -> None:
    kept = {"type": "Other", "status": "True", "lastTransitionTime": "t"}
    failing = True

    def decide(_obj: Object) -> Plan:
        if failing:
            raise ZeroDivisionError("by zero")
        return Plan(status={"phase": "A", "conditions": [kept]})

    world = World(decide)
    world.see(toy("a", status={"phase": "A", "conditions": [kept]}))
    await world.settle()
    condition = ready(world.stored)
    assert condition["reason"] == "InternalError"
    assert "ZeroDivisionError: by zero" in condition["message"]
    assert kept in world.stored["status"]["conditions"]
    assert world.server.made("patch") == ["a"]
    failing = False
    world.clock.now += 10
    await world.settle()
    assert world.stored["status"] == {"phase": "A", "conditions": [kept]}


async def test_what_a_leader_remembers_of_a_problem_is_worth_nothing_once_another_has_got_on() -> None:
    done = {"type": "Ready", "status": "True", "reason": "Done", "message": "", "lastTransitionTime": "t"}
    starting = done | {"status": "False", "reason": "Starting"}

    def decide(obj: Object) -> Plan:
        if (obj.get("status") or {}).get("phase") == "Done":
            return Plan(status=obj["status"])
        return Plan(status={"phase": "Going", "conditions": [starting]}, create=(job(),))

    first = World(decide)
    first.server.fail("create", *[Rejected("the quota says no", 403, "Forbidden")] * 5)
    first.see(toy("a"))
    await first.settle()
    assert ready(first.stored)["reason"] == "Forbidden"
    first.leadership.extend(first.clock.now)

    second = World(lambda _: Plan(status={"phase": "Done", "conditions": [done]}), first.server)
    second.see(first.stored)
    await second.settle()
    assert ready(second.stored) == done

    first.clock.now += 10
    first.leadership.extend(first.clock.now + 1e9)
    writes = len(first.server.made("patch"))
    first.see(first.stored)
    await first.settle()
    assert ready(first.stored) == done
    assert len(first.server.made("patch")) == writes, "not even for a moment does it say anything else"


async def test_a_new_process_finds_a_problem_that_is_over_and_says_what_is_true() -> None:
    fine = {"type": "Ready", "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": "t"}
    old = fine | {"status": "False", "reason": "InternalError", "message": "This is a bug."}
    world = World(lambda _: Plan(status={"phase": "A", "conditions": [fine]}))
    world.see(toy("a", status={"phase": "A", "conditions": [old]}))
    await world.settle()
    assert ready(world.stored) == fine
    assert world.server.made("patch") == ["a"]


async def test_changing_words_of_one_problem_are_no_endless_writes() -> None:
    world = World(lambda _: Plan(create=(job(),)))
    world.server.fail("create", *[Rejected(f"used: {number}", 422, "Invalid") for number in range(50)])
    world.see(toy("a"))
    assert await world.settle() == 2
    assert world.server.made("patch") == ["a"]


async def test_a_throttled_key_comes_back_when_the_server_said() -> None:
    world = World(lambda _: Plan(status={"phase": "A"}))
    world.server.fail("patch", Throttled("slow down", 7))
    world.see(toy("a"))
    await world.settle()
    world.clock.now += 6.9
    assert await world.settle() == 0
    world.clock.now += 0.1
    assert await world.settle() == 2
    assert world.stored["status"] == {"phase": "A"}


@pytest.mark.parametrize("error", [ServerError("down", 503), Unreachable("refused"), Conflict("changed", 409)])
async def test_what_may_pass_is_tried_again_and_not_shown(error: Exception) -> None:
    world = World(lambda _: Plan(status={"phase": "A"}))
    world.server.fail("patch", error)
    world.see(toy("a"))
    await world.settle()
    assert "status" not in world.stored
    world.clock.now += 1.5
    await world.settle()
    assert world.stored["status"] == {"phase": "A"}


async def test_a_deadline_is_kept() -> None:
    world = World(lambda _: Plan(requeue_after=30))
    world.see(toy("a"))
    assert await world.settle() == 1
    world.clock.now += 29
    assert await world.settle() == 0
    world.clock.now += 1
    assert await world.settle() == 1


async def test_an_object_on_its_way_out_is_left_alone() -> None:
    world = World(lambda _: Plan(create=(job(),)))
    world.see(toy("a", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))
    assert await world.settle() == 0


async def test_a_former_leader_does_nothing_and_the_key_is_kept() -> None:
    world = World(lambda _: Plan(status={"phase": "A"}))
    world.see(toy("a"))
    world.leadership.extend(world.clock.now)
    worker = asyncio.create_task(world.loop.work())
    for _ in range(20):
        await asyncio.sleep(0)
    assert (world.reconciles, world.queue.depth) == (0, 1)
    world.leadership.extend(world.clock.now + 10)
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.stored["status"] == {"phase": "A"}
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_events_are_told_once_under_a_name_of_their_content() -> None:
    phases = iter(range(100))
    event = Event("Said", "the same")
    world = World(lambda obj: Plan({"n": next(phases)}, (event,)) if obj["metadata"]["generation"] == 1 else Plan())
    world.see(toy("a"))
    world.queue.add(key("a"))
    for _ in range(3):
        await world.loop._one(key("a"))
    made = world.server.made("create")
    assert len(made) == 1
    written = world.server.objects["Event", made[0]]
    assert written["involvedObject"]["uid"] == "uid-a"
    assert written["reportingComponent"] == "stagecoach"


async def test_an_event_that_cannot_be_written_does_not_stop_the_plan() -> None:
    world = World(lambda obj: Plan({"phase": "A"}, (Event("E", "e"),), create=() if obj.get("status") else (job(),)))
    world.server.fail("create", Forbidden("no right to events", 403))
    world.see(toy("a"))
    await world.settle()
    assert ("Job", "a-1") in world.server.objects


async def test_referrers_and_those_to_wake_are_reconciled() -> None:
    world = World(lambda _: Plan())
    world.see(toy("child", spec={"parent": "a"}))
    world.see(toy("other"))
    await world.settle()
    world.see(toy("a", spec={"wakes": "other"}))
    assert world.queue.depth == 3
    await world.settle()


async def test_looking_at_everything_again_holds_up_nothing_that_happens() -> None:
    world = World(lambda _: Plan())
    for number in range(20):
        world.see(toy(str(number)))
    await world.settle()
    world.intake.everything()
    assert world.queue.depth == 20
    world.see(toy("19", version=2))
    world.see(toy("new"))
    assert [world.queue.take(), world.queue.take()] == [key("19"), key("new")]
    for name in ("19", "new"):
        world.queue.done(key(name))
    await world.settle()


def test_what_rests_is_not_looked_at_again_and_what_cannot_be_told_is() -> None:
    kinds = (replace(controller(), rests=lambda _, obj: obj["spec"]["rests"]),)
    cache, woken = Cache(kinds), Woken()
    intake = Intake(cache, kinds, woken.add)
    for obj in (toy("rests", spec={"rests": True}), toy("busy", spec={"rests": False}), toy("odd")):
        cache.store(obj)
    intake.everything()
    assert woken == woken.later == [key("busy"), key("odd")]


async def test_of_a_thousand_ready_keys_the_loop_lets_others_run() -> None:
    world = World(lambda _: Plan())
    for number in range(1000):
        world.see(toy(str(number)))
    worker = asyncio.create_task(world.loop.work())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert world.reconciles <= 3
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
