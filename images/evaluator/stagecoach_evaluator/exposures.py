"""How many releases a data set has judged: the more it has chosen among, the less it says of the one that it chose."""

from collections import defaultdict
from collections.abc import Iterable

from stagecoach.contract import layout, progress
from stagecoach.contract.store import Store
from stagecoach_evaluator import records


def count(storage: Store, release: str, data: Iterable[str]) -> dict[str, int]:
    """Return by the digests of data sets how many releases they have judged in this storage, this one included."""
    judged: dict[str, set[str]] = defaultdict(set)
    for name in storage.folders(layout.EVALUATIONS):
        progress.made()
        known = next(records.read(storage, name), None)
        if known is not None:
            for suite in known[0].inputs.suites:
                judged[suite.data].add(known[0].inputs.release)
    return {digest: len(judged[digest] | {release}) for digest in data}
