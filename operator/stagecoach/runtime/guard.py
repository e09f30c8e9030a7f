"""Questions to the pure part that are asked outside of a reconcile."""

import logging
from collections.abc import Callable

from stagecoach.kinds.plan import Key, Object

logger = logging.getLogger(__name__)

Question = Callable[[Object], tuple[Key, ...]]


def guarded(question: Question) -> Question:
    """Return the question with no answer in place of an exception: a bug in it must not lose the event it is about."""

    def ask(obj: Object) -> tuple[Key, ...]:
        try:
            return tuple(dict.fromkeys(question(obj)))  # each once; and here is where what is no key shows
        except Exception:
            name = f"{obj['metadata'].get('namespace')}/{obj['metadata']['name']}"
            logger.exception("the neighbours of an object are not known; this is a bug", extra={"object": name})
            return ()

    return ask
