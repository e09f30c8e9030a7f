"""Where everything that was seen comes in: into the cache, and as keys onto the queue."""

import logging
from collections.abc import Iterable
from typing import Protocol

from stagecoach.contract.reviews import CanaryRows
from stagecoach.kinds.controller import Controller
from stagecoach.kinds.plan import Call, Key, Object, key_of
from stagecoach.kinds.view import Answer
from stagecoach.policies.sharing import Claim
from stagecoach.runtime.cache import Cache, owner_key
from stagecoach.runtime.guard import guarded
from stagecoach.runtime.resources import Resource

logger = logging.getLogger(__name__)


class Enqueue(Protocol):
    """Where keys go; `later` is for those to which nothing has happened that is known of."""

    def __call__(self, key: Key, *, later: bool = False) -> None:
        """Reconcile the object of this key."""


class Intake:
    """Turns what watches, pollers and our own writes bring into memory and work."""

    def __init__(self, cache: Cache, controllers: Iterable[Controller], enqueue: Enqueue) -> None:
        self._cache = cache
        self._enqueue = enqueue
        self._wakes = {each.kind: guarded(each.wakes) for each in controllers}
        self._rests = {each.kind: each.rests for each in controllers}

    def own(self, obj: Object, *, listed: bool = False) -> None:
        """Take in an object of ours; what is already known makes no work.

        A list has all that there is, and nothing may have happened to most of it.
        """
        key = key_of(obj)
        before = self._cache.get(key)
        if self._cache.store(obj, listed=listed):
            self._enqueue(key, later=listed)
            self._spread(key, before)

    def own_deleted(self, obj: Object) -> None:
        """Take in that an object of ours is gone."""
        key = key_of(obj)
        before = self._cache.get(key)
        if self._cache.remove(obj):
            self._enqueue(key)
            self._spread(key, before)

    def child(self, resource: Resource, obj: Object, *, listed: bool = False) -> None:
        """Take in a child."""
        if self._cache.store_child(resource, obj, listed=listed):
            self.wake_owner(obj, later=listed)

    def applied(self, resource: Resource, obj: Object) -> None:
        """Take in a child as it is after it was applied."""
        self._cache.set_applied(obj)
        self.child(resource, obj)

    def claim(self, owner: Object, namespace: str, name: str, claim: Claim) -> None:
        """Take in what a claim is like, and reconcile the object that asked for it."""
        self._cache.set_claim(namespace, name, claim)
        self._enqueue(key_of(owner))

    def canary(self, owner: Object, pod_uid: str, rows: CanaryRows) -> None:
        """Take in what a pod's log says of a canary, and reconcile the object that asked for it."""
        self._cache.set_canary(pod_uid, rows)
        self._enqueue(key_of(owner))

    def guarded(self, owner: Object, guarded: bool) -> None:
        """Take in whether everybody decides in their own name alone, and reconcile the object that asked for it."""
        self._cache.set_guarded(owner["metadata"]["namespace"], guarded)
        self._enqueue(key_of(owner))

    def refusal(self, owner: Object, wanted: Object, words: str | None) -> None:
        """Take in that an object was refused, or with None that it was not; reconcile its owner if that is news."""
        if self._cache.set_refusal(owner["metadata"]["uid"], wanted, words):
            self._enqueue(key_of(owner))

    def answer(self, key: Key, call: Call, answer: Answer) -> None:
        """Take in what a pod said, and reconcile the object that asked if that is another than before."""
        if self._cache.set_answer(call, answer):
            self._enqueue(key)

    def child_deleted(self, resource: Resource, obj: Object) -> None:
        """Take in that a child is gone."""
        self._cache.remove_child(resource, obj)
        self.wake_owner(obj)

    def wake_owner(self, child: Object, *, later: bool = False) -> None:
        """Reconcile the object that a child was made for."""
        key = owner_key(child)
        if key is not None and key.kind in self._wakes:
            self._enqueue(key, later=later)

    def everything(self) -> None:
        """Reconcile all that does not rest: after a change of leadership, and now and then against the unforeseen."""
        for obj in self._cache.everything():
            key = key_of(obj)
            if not self._at_rest(key, obj):
                self._enqueue(key, later=True)

    def _at_rest(self, key: Key, obj: Object) -> bool:
        try:
            return self._rests[key.kind](self._cache, obj)
        except Exception:
            return False  # its reconcile tells what is wrong with it

    def _spread(self, key: Key, before: Object | None) -> None:
        """Reconcile those for whom it counts that another object has changed."""
        for each in self._wakes[key.kind](key, self._cache, before, self._cache.get(key)):
            self._enqueue(each, later=True)
