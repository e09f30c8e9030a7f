"""When a storage is looked through for what may leave it, and what must not."""

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stagecoach.contract.retention import SHORT, digests_in

# From the announcement of an artifact to its removal: longer than a weekend.
NOTICE = timedelta(days=3)
# Between two looks, however many runs end meanwhile.
PAUSE = timedelta(hours=1)
# After an end that only a person can mend. Who mended it need not say so.
AFTER_FAULT = timedelta(days=1)


@dataclass(frozen=True)
class Look:
    """The last time that the storage was looked through, and what has changed since."""

    end: datetime
    succeeded: bool
    retry_at: datetime | None  # of what failed and may pass
    asked_anew: bool  # the spec says something else
    made_anew: bool  # a run has an artifact now, or has it no more
    again: datetime | None  # when time alone may have changed something


def due(last: Look) -> datetime | None:
    """Return when the next look is due, or None as long as nothing happens."""
    if last.asked_anew:
        return last.end
    if last.retry_at is not None:
        return last.retry_at
    times = [last.end + PAUSE] if last.made_anew else []
    if not last.succeeded:
        times.append(last.end + AFTER_FAULT)
    elif last.again is not None:
        times.append(max(last.again, last.end + PAUSE))
    return min(times, default=None)


def named(objects: Iterable[dict[str, Any]], documents: Iterable[dict[str, Any]] = ()) -> tuple[str, ...]:
    """Return how the digests begin that these objects name: what they have, and what they may ask for.

    All that looks like a digest counts, wherever it stands: a pin, the source of an import, an artifact that is the
    base of another. `documents`: ConfigMaps, which say in full what is served and may be started again.
    """
    texts = itertools.chain(map(_text, objects), (json.dumps(item.get("data")) for item in documents))
    return tuple(sorted({digest[:SHORT] for text in texts for digest in digests_in(text)}))


def _text(item: dict[str, Any]) -> str:
    """Return the parts of an object in which it names what it needs; the others would only take room."""
    status, spec = item.get("status") or {}, item.get("spec") or {}
    if item["kind"] == "Evaluation":
        # Most of its digests are of what is no artifact. What it is compared with may have to be asked, until it ends.
        beside = {} if "completionTime" in status else spec.get("incumbent", {})
        both = ((each.get("release", {}).get("artifact"), each.get("runInputs")) for each in (spec, beside))
        return json.dumps([*itertools.chain(*both)])
    if item["kind"] == "ModelDeployment":
        # What is served, is about to be, or was lately; a release, or the key of a verdict, is no artifact.
        served = (status.get("serving"), status.get("candidate"), *status.get("history", ()))
        return json.dumps([item["metadata"].get("annotations"), *(each.get("artifact") for each in served if each)])
    return json.dumps(
        [
            spec,
            item["metadata"].get("annotations"),
            *(status.get(name) for name in ("inputs", "artifact", "candidates")),
        ]
    )
