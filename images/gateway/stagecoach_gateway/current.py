"""The routes in force: made ready before they are used, and never replaced by older ones."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from stagecoach.contract.gateway_routes import Acknowledgement, BadRoutes, Routes, Target, verified
from stagecoach.contract.inputs import Family
from stagecoach.contract.label_choice import LabelChoice
from stagecoach.contract.prompts import Encoder, encoder_for, for_passages
from stagecoach.contract.reports import BadInput
from stagecoach.contract.schemas import BadSchema
from stagecoach_gateway import tokenizers_of_bases
from stagecoach_gateway.choosing import Shares
from stagecoach_gateway.schemas import Schema
from stagecoach_gateway.tokenizers_of_bases import BadTokenizer

log = logging.getLogger(__name__)


class Refused(Exception):
    """Routes that are not taken; `stale` when those at hand are as new."""

    def __init__(self, message: str, *, stale: bool = False) -> None:
        super().__init__(message)
        self.stale = stale


@dataclass(frozen=True)
class Ready:
    """A release with all that is needed to ask it."""

    target: Target
    release: str
    encoder: Encoder
    passages: Encoder
    choice: LabelChoice  # of a model that writes labels; else there are none


class Loaded(NamedTuple):
    """Routes, and what was made ready for them."""

    routes: Routes
    digest: str
    ready: dict[str, Ready]  # by release
    input: Schema | None
    output: Schema | None

    @property
    def acknowledgement(self) -> Acknowledgement:
        """What the operator is told of them."""
        return Acknowledgement(deployment=self.routes.deployment, revision=self.routes.revision, digest=self.digest)


@dataclass
class Current:
    """What is in force now."""

    deployment: str
    key: bytes
    tokenizers: Path
    changed: Callable[[Loaded], None]
    patience: float  # seconds, after which mounted routes are taken for the newest if nobody has said so
    loaded: Loaded | None = None
    confirmed: bool = False  # whether the operator has said since the start that these are the newest
    shares: Shares = field(default_factory=Shares)
    _began: float = field(default_factory=time.monotonic)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    # Of their own: routes wait for no work of clients.
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "routes"))
    _known: dict[str, tokenizers_of_bases.BaseTokenizer] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether there may be newer routes, of which the operator tells whoever has just begun."""
        return not self.confirmed and time.monotonic() - self._began < self.patience

    def target(self, routes: Routes, session: str | None, now: datetime) -> Target | None:
        """Return who answers a request by these routes; None when nothing is served.

        By routes that may be old no candidate does: it may have been rejected since.
        """
        return self.shares.choose(routes, session, now) if self.confirmed else routes.stable

    async def take(self, text: str | bytes) -> Acknowledgement:
        """Put signed routes into force. Raises Refused.

        Those that are in force already are acknowledged again: who did not hear it asks twice.
        """
        try:
            routes = verified(text, self.key)
        except BadRoutes as error:
            raise Refused(str(error)) from error
        if routes.deployment != self.deployment:
            raise Refused(f"these are routes of deployment {routes.deployment}, and this is {self.deployment}")
        # To the end, even if the one who brought them does not wait for it.
        loaded = await asyncio.shield(self._put(routes))
        return loaded.acknowledgement

    async def _put(self, routes: Routes) -> Loaded:
        async with self._lock:
            loaded = self._same(routes)
            if loaded is None:
                loaded = await asyncio.get_running_loop().run_in_executor(self._thread, self._load, routes)
                self.changed(loaded)  # where it fails, these are not in force, and not acknowledged
                self.loaded = loaded
                log.info("routes of revision %d are in force", routes.revision)
        return loaded

    def _same(self, routes: Routes) -> Loaded | None:
        """Return these if they are in force. Raises Refused when newer ones are, or others of the same revision."""
        if self.loaded is None or routes.revision > self.loaded.routes.revision:
            return None
        if routes.revision == self.loaded.routes.revision and routes.digest == self.loaded.digest:
            return self.loaded
        message = f"revision {routes.revision} is not newer than {self.loaded.routes.revision}, which is in force"
        raise Refused(message, stale=True)

    def _load(self, routes: Routes) -> Loaded:
        before = self.loaded.ready if self.loaded else {}
        ready = {}
        for target in routes.targets:
            known = before.get(target.release)
            ready[target.release] = known if known and known.target == target else self._ready(target)
        self._known = {each.target.described.asked.base.tokenizer: _tokenizer(each) for each in ready.values()}
        try:
            schemas = [Schema(found) if found else None for found in (routes.input_schema, routes.output_schema)]
        except BadSchema as error:
            raise Refused(f"inputSchema or outputSchema is no JSON Schema: {error}") from error
        return Loaded(routes, routes.digest, ready, schemas[0], schemas[1])

    def _ready(self, target: Target) -> Ready:
        asked = target.described.asked
        digest = asked.base.tokenizer
        try:
            tokenizer = self._known.get(digest) or tokenizers_of_bases.load(self.tokenizers, digest)
            encoder = encoder_for(asked.family, tokenizer, asked.prompt, asked.tokenization)
            encoder.chunks("a")  # a prompt, or a stride, that cannot be used is told now
            labels = target.labels if asked.family is Family.DECODER else None
            choice = LabelChoice(tuple(encoder.completion(label) for label in labels or ()))
        except BadTokenizer as error:
            raise Refused(str(error)) from error
        except (BadInput, ValueError) as error:
            raise Refused(f"release {target.release} cannot be asked: {error}") from error
        return Ready(target, target.release, encoder, for_passages(encoder), choice)


def _tokenizer(ready: Ready) -> Any:
    return ready.encoder.tokenizer
