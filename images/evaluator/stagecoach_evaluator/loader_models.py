"""The models that a serving engine has to answer with: each is brought, asked, and asked again while it is wanted."""

import math
import threading
import time
import traceback
from collections.abc import Callable, Iterator

from stagecoach.contract import serving
from stagecoach.contract.completions import NotNumbers
from stagecoach.contract.loading import FRESH_SECONDS, PROBE_SECONDS, LoadedModel, State
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import StorageFailed
from stagecoach_evaluator.engine import Away, Refused
from stagecoach_evaluator.loader_engine import Engine

# What failed is looked at again so often: somebody may have mended it.
FAILED_SECONDS = 60.0
MOST_SECONDS = 30.0
REFUSED_SECONDS = 2.0
_NONE = Problem(reason="", message="")


class Model:
    """One of them, with a thread of its own. `bring` makes it ready to be asked, once; `before` has to answer first."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        bring: Callable[[], None],
        before: "Model | None" = None,
        answered: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._engine = engine
        self._bring = bring
        self._before = before
        self._answered = answered  # called when it begins to answer
        self._brought = self._left = self._asks = False
        self._state, self._problem = State.LOADING, _NONE
        self._at = 0.0  # when it last answered, if it did
        self._start = 0  # of the engine, in which it did
        self._refused = 0  # of the engine, in which it was refused
        self._pauses = _growing()
        self._woken = threading.Event()

    def begin(self) -> None:
        """Work for it from now on."""
        threading.Thread(target=self._run, name=f"model-{self.name[:12]}", daemon=True).start()

    def wake(self) -> None:
        """Look again now."""
        self._woken.set()

    def leave(self) -> None:
        """Work for it no more."""
        self._left = True
        self._woken.set()

    @property
    def told(self) -> LoadedModel:
        """What is to be said of it now."""
        state, problem, at = self._state, self._problem, self._at
        if state is not State.FAILED and self._brought and self._engine.problem:
            state = State.FAILED if self._engine.hopeless else State.LOADING
            problem = self._engine.problem
        elif state is State.ANSWERS and self._start != self._engine.start:
            state = State.LOADING
        elif state is State.ANSWERS and self._asks:
            at = max(at, self._engine.seen)  # it waits for its turn, in an engine that does not hang
        if state is State.ANSWERS:
            return LoadedModel(name=self.name, state=state, age=_rounded(time.monotonic() - at))
        message = problem.sentence[:1024]
        return LoadedModel(name=self.name, state=state, reason=problem.reason, message=message)

    @property
    def answers(self) -> bool:
        """Whether it answers now."""
        return self.told.answers

    def _run(self) -> None:
        while not self._left:
            pause = self._step()
            self._woken.wait(pause)
            self._woken.clear()

    def _step(self) -> float:
        """Do what is next; return after how many seconds to do what comes then."""
        try:
            if not self._brought:
                self._bring()
                self._brought = True
                self._say(State.LOADING, _NONE)
            if not self._engine.start or not (self._before is None or self._before.answers):
                return MOST_SECONDS
            return self._ask()
        except BadInput as error:
            self._say(State.FAILED, error.problem)
            return FAILED_SECONDS
        except StorageFailed as error:
            self._say(State.LOADING, error.problem)
        except Exception as error:
            traceback.print_exc()
            remedy = "See the log of the container loader."
            self._say(State.LOADING, Problem.of("Unexpected", f"{type(error).__name__}: {error}.", remedy=remedy))
        return next(self._pauses)

    def _ask(self) -> float:
        start, self._asks = self._engine.start, True
        try:
            self._engine.ask(self.name)
        except NotNumbers:
            message = "what the model computes is not a number."
            remedy = "Create a run with a lower learning rate, or try another precision: this model can answer nothing."
            raise BadInput(Problem.of("NotNumbers", message, remedy=remedy)) from None
        except Refused as error:
            problem = Problem.of("EngineRefuses", f"the engine refuses it: {error}.", remedy="See the engine's log.")
            if self._refused == start:
                raise BadInput(problem) from error
            # An engine that is about to end says so of any adapter: once is not enough.
            self._refused = start
            self._say(State.LOADING, problem)
            return REFUSED_SECONDS
        except Away as error:
            message = f"the engine gave no answer: {error}."
            self._say(State.LOADING, Problem.of(serving.LOST, message, remedy="See the engine's log."))
            return next(self._pauses)
        finally:
            self._asks = False
        began = self._state is not State.ANSWERS or self._start != start
        self._at, self._start, self._state = time.monotonic(), start, State.ANSWERS
        self._pauses, self._refused = _growing(), 0
        if began:
            self._answered()
        return PROBE_SECONDS

    def _say(self, state: State, problem: Problem) -> None:
        self._state, self._problem = state, problem


def _rounded(age: float) -> int:
    return FRESH_SECONDS * max(1, math.ceil(age / FRESH_SECONDS))


def _growing() -> Iterator[float]:
    """Yield the pauses between attempts at what may pass."""
    pause = 1.0
    while True:
        yield pause
        pause = min(2 * pause, MOST_SECONDS)
