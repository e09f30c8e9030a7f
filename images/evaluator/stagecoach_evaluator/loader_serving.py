"""What a pod serves: the model that its engine was started with, and the adapters of it that are wanted."""

import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from pydantic import ValidationError

from stagecoach.contract import mounts
from stagecoach.contract.digests import Digest, hex_of
from stagecoach.contract.gateway_routes import BadRoutes
from stagecoach.contract.loading import Load, Loaded, Serve, State, Wanted
from stagecoach_evaluator import laying, loader_files
from stagecoach_evaluator.engine import Client
from stagecoach_evaluator.loader_engine import LOOK_SECONDS, Engine
from stagecoach_evaluator.loader_models import Model

# What is not wanted any more may be wanted again in a moment: a candidate that another took over from.
KEEP_SECONDS = 600.0
SWEEP_SECONDS = 5.0
# Keeps what is wanted over an end of the loader.
WANTED = "wanted"


class NotServed(Exception):
    """An engine that serves no adapters was asked for some."""


class Serving:
    """All models of a pod, and who works for them."""

    def __init__(
        self,
        serve: Serve,
        client: Callable[[float], Client],
        routed: Callable[[], tuple[Digest, ...]],
        see: str,
    ) -> None:
        self._serve = serve
        self._routed = routed  # the adapters that gateways ask for; raises BadRoutes
        name = hex_of(serve.model or serve.base.model or "")
        self._engine = Engine(client, name, see, self._wake, serve.reads)
        self._base = Model(name, self._engine, partial(loader_files.bring_base, serve), answered=self._wake)
        self._adapters: dict[str, Model] = {}  # by name
        self._first = ""  # of them, what is served, where this engine serves one: others are about to be
        self._lock = threading.Lock()
        self._asked = False  # somebody has said which adapters are wanted
        self._doubt = ""  # why the routes do not tell it
        self._ready = False  # all that were wanted at first were seen to
        self._unwanted: dict[str, float] = {}  # since when, by name

    def begin(self) -> None:
        """Work, by threads of its own, for what was wanted when the loader ended, too."""
        loader_files.clean()
        self._base.begin()
        with suppress(FileNotFoundError, ValidationError, NotServed):  # whoever wants something says so again
            self.want(Wanted.model_validate_json((laying.models() / WANTED).read_text()))
        works = ((self._engine.look, LOOK_SECONDS), (self.follow, SWEEP_SECONDS), (self.sweep, SWEEP_SECONDS))
        for work, seconds in works:
            threading.Thread(target=_again_and_again, args=(work, seconds), daemon=True).start()

    def want(self, wanted: Wanted) -> None:
        """Have these adapters answer, as soon as they do. Raises NotServed."""
        if wanted.adapters and not self._takes_adapters:
            raise NotServed
        with self._lock:
            laying.write(WANTED, wanted.line())
            self._have(wanted.adapters)
            self._asked = True

    def follow(self) -> None:
        """Until it is said what is wanted, take what gateways ask for: the operator may be away, and others serve."""
        if self._asked or not self._takes_adapters:
            return
        try:
            adapters, self._doubt = self._routed(), ""
        except BadRoutes as error:
            adapters, self._doubt = (), f", and {mounts.ROUTES} does not: {error}"
        with self._lock:
            if adapters and not self._asked:
                self._have(adapters)

    def _have(self, adapters: Iterable[Digest]) -> None:
        digests = {hex_of(digest): digest for digest in adapters}
        self._first = next(iter(digests), "")
        for name in self._adapters.keys() - digests.keys():
            self._adapters.pop(name).leave()
        for name in digests.keys() - self._adapters.keys():
            bring = partial(loader_files.bring_adapter, digests[name], self._serve.max_rank)
            model = Model(name, self._engine, bring, before=self._base)
            self._adapters[name] = model
            model.begin()

    @property
    def loaded(self) -> Loaded:
        """What is to be said of it now."""
        return Loaded(engine=self._engine.version[:64], models=tuple(model.told for model in self._models()))

    def load(self) -> Load:
        """Return how much the engine has to do. Raises Away and Refused."""
        return self._engine.load()

    def unready(self) -> str:
        """Return why the pod should have no requests; nothing when it may."""
        base, *adapters = self.loaded.models
        if not self._base.answers:
            return f"{base.reason}: {base.message}" if base.reason else "no answer has come lately"
        if self._ready or not self._takes_adapters:
            return ""
        # It would refuse what is routed to it, and others may answer.
        if not self._told:
            return f"nobody has said yet which adapters are wanted{self._doubt}"
        if waits := [model.name for model in adapters if model.state is State.LOADING]:
            return f"adapters are being loaded: {', '.join(name[:12] for name in waits)}"
        if failed := next((model for model in adapters if model.name == self._first and model.reason), None):
            return f"adapter {failed.name[:12]} is wanted first, and does not answer: {failed.reason}: {failed.message}"
        self._ready = True
        return ""

    @property
    def _told(self) -> bool:
        """Whether it is known which adapters are wanted."""
        return self._asked or bool(self._adapters)

    @property
    def _takes_adapters(self) -> bool:
        return self._serve.model is None and self._serve.max_adapters > 0

    def _models(self) -> list[Model]:
        with self._lock:
            return [self._base, *self._adapters.values()]

    def _wake(self) -> None:
        for model in self._models():
            model.wake()

    def sweep(self) -> None:
        """Remove adapters that have not been wanted for long."""
        now = time.monotonic()
        with self._lock:
            there = loader_files.laid_adapters() - self._adapters.keys() if self._told else set()
            self._unwanted = {name: self._unwanted.get(name, now) for name in there}
        for name in [name for name, since in self._unwanted.items() if now - since > KEEP_SECONDS]:
            self._engine.forget(name)
            with self._lock:
                if name not in self._adapters:
                    loader_files.remove_adapter(name)


def _again_and_again(work: Callable[[], None], seconds: float) -> None:
    while True:
        try:
            work()
        except Exception:  # what is wrong now may be mended in a moment
            traceback.print_exc()
        time.sleep(seconds)
