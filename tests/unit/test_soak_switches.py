"""What is wanted in a soak, in which order."""

import itertools
import random

from tests import builders
from tests.soak.served import BAD, GOOD
from tests.soak.switches import wants

RELEASES = {name: builders.digest(letter) for name, letter in zip((*GOOD, BAD), "abc", strict=True)}


def test_every_release_is_wanted_by_each_way_before_any_is_wanted_again() -> None:
    found = list(itertools.islice(wants(RELEASES, random.Random(1)), 14))  # noqa: S311
    rounds = [found[:7], found[7:]]
    for each in rounds:
        ways = [(run, *model) for run, model in each]
        assert sorted(ways) == sorted(
            [(GOOD[-1], "latest"), *((run, way) for run in RELEASES for way in ("run", "release"))]
        )
        assert all(model.get("release", RELEASES[run]) == RELEASES[run] for run, model in each)
    assert rounds[0] != rounds[1]
