"""Carries out what a reconcile decided, in the one order that is safe to be interrupted anywhere."""

import logging
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from stagecoach.contract.reviews import MAX_ROWS, CanaryRows
from stagecoach.kinds.approval import guard
from stagecoach.kinds.plan import Object, Plan, key_of
from stagecoach.policies.pods import CONTAINER
from stagecoach.policies.sharing import Claim
from stagecoach.runtime import metrics
from stagecoach.runtime.applying import Applier, check_owner
from stagecoach.runtime.calls import Calls
from stagecoach.runtime.client import Client
from stagecoach.runtime.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    LogUnread,
    NameTaken,
    NotFound,
    Rejected,
    ServerError,
    Unreachable,
)
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.merge import merge_patch
from stagecoach.runtime.problems import Problem, overlay, refused
from stagecoach.runtime.recorder import Recorder
from stagecoach.runtime.refusals import Refusal, Refusals
from stagecoach.runtime.resources import CLAIMS, SECRETS, WATCHED, Resource, Resources

logger = logging.getLogger(__name__)

# The rows of a canary are the last that a program prints, but for what its libraries say at their end.
CANARY_LINES = MAX_ROWS + 100
CANARY_BYTES = 1024 * 1024


class Executor:
    """Carries out plans in their order; its client sends nothing for a former leader."""

    def __init__(
        self,
        client: Client,
        resources: Resources,
        intake: Intake,
        recorder: Recorder,
        calls: Calls,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._resources = resources
        self._intake = intake
        self._recorder = recorder
        self._calls = calls
        self._applier = Applier(client, intake, clock)
        self._refusals = Refusals(clock)

    async def execute(self, obj: Object, plan: Plan, problem: Problem | None, now: datetime) -> None:
        """Carry out a plan that was made for this observed object.

        Raises Conflict when the object or a child has changed since: then the plan is void, and what was not done yet
        is decided anew. What is refused is raised at the end, unless the plan's maker tells it: it is no reason to
        leave what serves as it is.
        """
        if await self.write_status(obj, plan.status, problem, now):
            for event in plan.events:
                await self._recorder.tell(obj, event, now)
        for call in plan.ask:
            self._calls.ask(key_of(obj), call)
        refusals = [*await self._made(obj, plan), *await self._applied(obj, plan)]
        for namespace, name in plan.look:
            await self._look(obj, namespace, name)
        if plan.prove:
            await self._prove(obj)
        if plan.read is not None:
            await self._read(obj, *plan.read)
        if refusals:
            raise refusals[0].with_traceback(None)  # it may be an old one

    async def write_status(self, obj: Object, status: Object | None, problem: Problem | None, now: datetime) -> bool:
        """Write the status if it differs from the observed one; return whether it was written."""
        observed: dict[str, Any] = obj.get("status") or {}
        wanted = observed if status is None else status
        if problem is not None:
            wanted = overlay(obj, wanted, problem, now)
        patch = merge_patch(observed, wanted)
        if not patch:
            return False
        metadata = obj["metadata"]
        # The version makes a stale plan a 409; the name alone could be another object by now, with another version too.
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": patch}
        resource = self._resources.of(obj)
        written = await self._client.patch_status(resource, metadata["namespace"], metadata["name"], body)
        metrics.STATUS_WRITES.labels(obj["kind"]).inc()
        # The answer is an observation like any other: the next step need not wait for the watch to bring it.
        self._intake.own(written)
        return True

    async def _made(self, owner: Object, plan: Plan) -> list[Refusal]:
        """Delete and create, up to what is refused: a Job may need the Service that was to be made before it."""
        for each in plan.delete:
            try:
                await self._delete(each)
            except (Forbidden, Rejected) as error:
                return [error]
        for each in plan.create:
            if refusal := await self._tried(owner, each, self._create(owner, each)):
                return _to_raise(plan, refusal)
        return []

    async def _applied(self, owner: Object, plan: Plan) -> list[Refusal]:
        """Apply each, whatever becomes of others; but nothing runs without the policy that protects it."""
        refusals: list[Refusal] = []
        unprotected = False
        for each in plan.apply:
            if unprotected and each["kind"] == "Deployment":
                continue
            refusal = await self._tried(owner, each, self._applier.apply(owner, self._resources.of(each), each))
            if refusal is not None:
                refusals += _to_raise(plan, refusal)
                unprotected |= each["kind"] == "NetworkPolicy"
        return refusals

    async def _tried(self, owner: Object, wanted: Object, trial: Coroutine[Any, Any, None]) -> Refusal | None:
        """Make or change an object; return why that was refused, now or so lately that it is not tried again."""
        if refusal := self._refusals.standing(wanted):
            trial.close()
            return refusal
        try:
            await trial
        except (Forbidden, Rejected, NameTaken) as error:
            self._refusals.note(wanted, error)
            self._intake.refusal(owner, wanted, refused(error).message)
            return error
        self._refusals.over(wanted)
        self._intake.refusal(owner, wanted, None)
        return None

    async def _delete(self, child: Object) -> None:
        metadata = child["metadata"]
        try:
            await self._client.delete(
                self._resources.of(child),
                metadata["namespace"],
                metadata["name"],
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
            )
        except NotFound:
            logger.debug("already gone: %s/%s", child["kind"], metadata["name"])

    async def _look(self, owner: Object, namespace: str, name: str) -> None:
        try:
            found = await self._client.get(CLAIMS, namespace, name)
            claim = Claim(modes=tuple(found["spec"].get("accessModes") or ()))
        except NotFound:
            claim = Claim(modes=None)
        self._intake.claim(owner, namespace, name, claim)

    async def _read(self, owner: Object, pod: str, uid: str) -> None:
        try:
            log = await self._client.pod_log(
                owner["metadata"]["namespace"], pod, CONTAINER, CANARY_LINES, size=CANARY_BYTES
            )
        except (NotFound, Rejected):  # the pod, or its container, is gone
            log = ""
        except (ServerError, Unreachable) as error:
            namespace = owner["metadata"]["namespace"]
            raise LogUnread(
                f"Pod {pod} has told the rows to review, and its log cannot be read: {error}. It is tried again. If its"
                f" node does not come back: kubectl delete pod {pod} -n {namespace}; another pod tells them again."
            ) from error
        self._intake.canary(owner, uid, CanaryRows.read(log))

    async def _prove(self, owner: Object) -> None:
        namespace = owner["metadata"]["namespace"]
        asked = guard.in_the_name_of_another(namespace)
        try:
            await self._client.create(self._resources.of(asked), namespace, asked, dry_run=True)
        except AlreadyExists:
            guarded = False
        except Forbidden as error:
            if guard.REFUSAL not in str(error):
                raise
            guarded = True
        else:
            guarded = False
        self._intake.guarded(owner, guarded)

    async def _create(self, owner: Object, child: Object) -> None:
        resource, namespace = self._resources.of(child), child["metadata"]["namespace"]
        if resource in self._resources.own.values():
            await self._create_own(resource, namespace, child)
            return
        try:
            made = await self._client.create(resource, namespace, child)
        except AlreadyExists:
            if resource == SECRETS:
                return  # there is no right to read it: its name says what is in it
            made = await self._existing(owner, resource, child)
        if resource in WATCHED:
            self._intake.child(resource, made)

    async def _create_own(self, resource: Resource, namespace: str, obj: Object) -> None:
        """Create an object of one of our own kinds, which is nobody's child; who wanted it sees what has its name."""
        try:
            self._intake.own(await self._client.create(resource, namespace, obj))
        except AlreadyExists:
            logger.debug("already there: %s/%s", resource.kind, obj["metadata"]["name"])

    async def _existing(self, owner: Object, resource: Resource, child: Object) -> Object:
        namespace, name = child["metadata"]["namespace"], child["metadata"]["name"]
        try:
            found = await self._client.get(resource, namespace, name)
        except NotFound as error:  # deleted between the two requests
            raise Conflict(f"{resource.kind} {namespace}/{name} went away while it was looked at") from error
        check_owner(owner, resource, found)
        return found


def _to_raise(plan: Plan, refusal: Refusal) -> list[Refusal]:
    return [] if plan.tells_refusals else [refusal]
