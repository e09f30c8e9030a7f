"""What the API server refused: each is tried again ever more rarely, however often its object is looked at."""

import time
from collections.abc import Callable

from stagecoach.kinds.plan import Object
from stagecoach.runtime.backoff import Backoff
from stagecoach.runtime.errors import Forbidden, NameTaken, Rejected

Refusal = Forbidden | Rejected | NameTaken
# Somebody has to mend it, and may wait for that to be seen.
FIRST, LONGEST = 0.5, 30.0
# Nobody has wanted it for so long that it is not wanted any more.
FORGOTTEN = 300.0

_Place = tuple[str, str, str]


class Refusals:
    """The last refusal of each object that is not as it should be."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all: dict[_Place, tuple[float, Object, Refusal, Backoff]] = {}  # until when, and of what

    def standing(self, wanted: Object) -> Refusal | None:
        """Return why this very object is not tried now."""
        until, refused, error, _ = self._all.get(_place(wanted), (0.0, None, None, None))
        return error if refused == wanted and self._clock() < until else None

    def note(self, wanted: Object, error: Refusal) -> None:
        """Remember that an object was refused."""
        now, place = self._clock(), _place(wanted)
        self._all = {at: each for at, each in self._all.items() if now - each[0] < FORGOTTEN}
        _, refused, _, backoff = self._all.get(place, (0.0, None, error, None))
        if backoff is None or refused != wanted:
            backoff = Backoff(FIRST, LONGEST)
        self._all[place] = now + backoff.next(), wanted, error, backoff

    def over(self, wanted: Object) -> None:
        """Forget it: the object is as it should be."""
        self._all.pop(_place(wanted), None)


def _place(wanted: Object) -> _Place:
    metadata = wanted["metadata"]
    return metadata["namespace"], wanted["kind"], metadata["name"]
