"""Server-side apply, by which nobody's object is taken over, and a stale writer changes nothing."""

import hashlib
import time
from collections.abc import Callable

import orjson

from stagecoach.kinds.controller import OWNER_UID
from stagecoach.kinds.plan import Object
from stagecoach.runtime.cache import made_for
from stagecoach.runtime.client import Client
from stagecoach.runtime.errors import AlreadyExists, Conflict, NameTaken, NotFound
from stagecoach.runtime.intake import Intake
from stagecoach.runtime.resources import WATCHED, Resource

# No object ever has this version: an apply with it creates, or is refused.
ABSENT = "1"
# What is not watched is applied again after this time, in case that somebody changed it.
REPEAT_SECONDS = 600.0

_Place = tuple[Resource, str, str]


class Applier:
    """Brings objects of an owner to what they should be."""

    def __init__(self, client: Client, intake: Intake, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._intake = intake
        self._clock = clock
        self._applied: dict[_Place, tuple[float, bytes]] = {}  # of what is not watched: when, and a digest of it
        self._swept = clock()

    async def apply(self, owner: Object, resource: Resource, wanted: Object) -> None:
        """Apply an object: the very one that it names by uid and resourceVersion, or whatever has its name.

        Raises Conflict when that is another by now, and NameTaken when it was not made for this owner.
        """
        if resource in WATCHED:
            self._intake.applied(resource, await self._applied_to(owner, resource, wanted))
            return
        place = resource, wanted["metadata"]["namespace"], wanted["metadata"]["name"]
        digest = hashlib.sha256(orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS)).digest()
        now = self._clock()
        self._sweep(now)
        since, applied = self._applied.get(place, (now, b""))
        if applied != digest or now - since >= REPEAT_SECONDS:
            await self._applied_to(owner, resource, wanted)
            self._applied[place] = now, digest

    def _sweep(self, now: float) -> None:
        """Now and then forget what nobody wants any more."""
        if now - self._swept >= REPEAT_SECONDS:
            self._swept = now
            self._applied = {at: each for at, each in self._applied.items() if now - each[0] < REPEAT_SECONDS}

    async def _applied_to(self, owner: Object, resource: Resource, wanted: Object) -> Object:
        if "uid" in wanted["metadata"]:
            return await self._client.apply(resource, wanted)
        try:
            return await self._client.apply(resource, _at(wanted, {"resourceVersion": ABSENT}))
        except (AlreadyExists, Conflict):
            found = await self._found(resource, wanted)
        check_owner(owner, resource, found)
        known = {field: found["metadata"][field] for field in ("uid", "resourceVersion")}
        return await self._client.apply(resource, _at(wanted, known))

    async def _found(self, resource: Resource, wanted: Object) -> Object:
        namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
        try:
            return await self._client.touch(resource, namespace, name)
        except NotFound as error:  # deleted between the two requests
            raise Conflict(f"{resource.kind} {namespace}/{name} went away while it was looked at") from error


def check_owner(owner: Object, resource: Resource, found: Object) -> None:
    """Raise NameTaken when an object was not made for this owner."""
    metadata, uid = found["metadata"], owner["metadata"]["uid"]
    if not made_for(uid, resource, found):
        label = (metadata.get("labels") or {}).get(OWNER_UID)
        whose = f"its label {OWNER_UID} is {label}" if label else f"it has no label {OWNER_UID}"
        if label == uid:
            whose = f"its ownerReferences do not have the uid {uid}"
        raise NameTaken(
            f"{resource.kind} {metadata['namespace']}/{metadata['name']} exists and was not made for this"
            f" {owner['kind']}: {whose}. Delete it, or give the {owner['kind']} another name."
        )


def _at(wanted: Object, version: Object) -> Object:
    return wanted | {"metadata": wanted["metadata"] | version}
