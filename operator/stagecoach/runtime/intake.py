"""Where everything that was seen comes in: into the cache, and as keys onto the queue."""

import logging
from collections.abc import Callable, Iterable

from stagecoach.kinds.controller import Controller
from stagecoach.kinds.plan import Key, Object, key_of
from stagecoach.policies.sharing import Claim
from stagecoach.runtime.cache import Cache, owner_key
from stagecoach.runtime.guard import guarded
from stagecoach.runtime.resources import Resource

logger = logging.getLogger(__name__)


class Intake:
    """Turns what watches, pollers and our own writes bring into memory and work."""

    def __init__(self, cache: Cache, controllers: Iterable[Controller], enqueue: Callable[[Key], None]) -> None:
        self._cache = cache
        self._enqueue = enqueue
        self._wakes = {each.kind: guarded(each.wakes) for each in controllers}

    def own(self, obj: Object, *, listed: bool = False) -> None:
        """Take in an object of ours; what is already known makes no work."""
        key = key_of(obj)
        before = self._cache.get(key)
        if self._cache.store(obj, listed=listed):
            self._spread(key, before)

    def own_deleted(self, obj: Object) -> None:
        """Take in that an object of ours is gone."""
        key = key_of(obj)
        before = self._cache.get(key)
        if self._cache.remove(obj):
            self._spread(key, before)

    def child(self, resource: Resource, obj: Object, *, listed: bool = False) -> None:
        """Take in a child."""
        if self._cache.store_child(resource, obj, listed=listed):
            self.wake_owner(obj)

    def claim(self, owner: Object, namespace: str, name: str, claim: Claim) -> None:
        """Take in what a claim is like, and reconcile the object that asked for it."""
        self._cache.set_claim(namespace, name, claim)
        self._enqueue(key_of(owner))

    def child_deleted(self, resource: Resource, obj: Object) -> None:
        """Take in that a child is gone."""
        self._cache.remove_child(resource, obj)
        self.wake_owner(obj)

    def wake_owner(self, child: Object) -> None:
        """Reconcile the object that a child was made for."""
        key = owner_key(child)
        if key is not None and key.kind in self._wakes:
            self._enqueue(key)

    def everything(self) -> None:
        """Reconcile all: after a change of leadership, and now and then against what nobody foresaw."""
        for key in self._cache.keys():  # noqa: SIM118 - not a dictionary
            self._enqueue(key)

    def _spread(self, key: Key, before: Object | None) -> None:
        """Reconcile an object that has changed, and those for whom that counts."""
        self._enqueue(key)
        for each in self._wakes[key.kind](key, self._cache, before, self._cache.get(key)):
            self._enqueue(each)
