"""Whose turn it is among runs of the same inputs."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from stagecoach.policies.twins import Twin, ahead, undecided

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JUST_NOW, LONG_AGO = "2026-01-02T03:04:01Z", "2026-01-02T03:03:00Z"
SELF = ("2026-01-01T00:00:05Z", "m")
ELDER, YOUNGER = ("2026-01-01T00:00:01Z", "z"), ("2026-01-01T00:00:09Z", "a")


def twin(name: str, order: tuple[str, str], **changes: Any) -> Twin:
    return replace(
        Twin(name, "Starting", order, ended=False, succeeded=False, suspended=False, decided="", has_job=False),
        **changes,
    )


CASES = {
    "alone": ([], None),
    "the elder goes first": ([twin("elder", ELDER)], "elder"),
    "of equal age, the order of their uids counts": ([twin("other", (SELF[0], "a"))], "other"),
    "a younger one waits": ([twin("younger", YOUNGER)], None),
    "a younger one that has its Job goes on": ([twin("younger", YOUNGER, decided=LONG_AGO, has_job=True)], "younger"),
    "one that has ended is no reason to wait": ([twin("elder", ELDER, ended=True, decided=LONG_AGO, has_job=True)], None),
    "one that is suspended holds nobody up": ([twin("elder", ELDER, suspended=True, has_job=True)], None),
    "the eldest is named": ([twin("elder", ELDER), twin("eldest", ("2026-01-01T00:00:00Z", "b"))], "eldest"),
}  # fmt: skip


@pytest.mark.parametrize(("twins", "expected"), CASES.values(), ids=list(CASES))
def test_whose_turn_it_is(twins: list[Twin], expected: str | None) -> None:
    found = ahead(SELF, twins)
    assert (found.name if found else None) == expected


MOMENTS = {
    "nobody decided": ([twin("younger", YOUNGER)], False),
    "decided a moment ago": ([twin("younger", YOUNGER, decided=JUST_NOW)], True),
    "a decision that nothing came of holds nobody up": ([twin("younger", YOUNGER, decided=LONG_AGO)], False),
    "it has its Job": ([twin("younger", YOUNGER, decided=JUST_NOW, has_job=True)], False),
    "it is suspended": ([twin("younger", YOUNGER, decided=JUST_NOW, suspended=True)], False),
    "it has ended": ([twin("younger", YOUNGER, decided=JUST_NOW, ended=True)], False),
}


@pytest.mark.parametrize(("twins", "expected"), MOMENTS.values(), ids=list(MOMENTS))
def test_whether_a_twin_may_be_about_to_start(twins: list[Twin], expected: bool) -> None:
    assert undecided(twins, NOW) is expected
