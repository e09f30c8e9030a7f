"""Questions to the pure part that are asked outside of a reconcile."""

import logging
from collections.abc import Callable, Iterable

from stagecoach.kinds.plan import Key, Object, key_of

logger = logging.getLogger(__name__)


def guarded(question: Callable[..., Iterable[Key]]) -> Callable[..., tuple[Key, ...]]:
    """Return the question with no answer in place of an exception: a bug in it must not lose the event it is about."""

    def ask(about: Key | Object, *more: object) -> tuple[Key, ...]:
        try:
            return tuple(dict.fromkeys(question(about, *more)))  # each once; and here is where what is no key shows
        except Exception:
            name = str(about if isinstance(about, Key) else key_of(about))
            logger.exception("the neighbours of an object are not known; this is a bug", extra={"object": name})
            return ()

    return ask
