"""The table of what must always hold names tests that say that they hold it."""

import re
from pathlib import Path

import pytest

from tests.soak import verdict

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "CONTRIBUTING.md").read_text()
ROWS = re.findall(r"^\| `(\w+)`(: .+) \|$", PAGE.partition("## What must always hold")[2], re.MULTILINE)
FILES = [(name, path) for name, cells in ROWS for path in re.findall(r"`([\w/]+[.]py)`", cells)]


@pytest.mark.parametrize(("name", "path"), FILES, ids=map("-".join, FILES))
def test_the_tests_of_an_invariant_bear_its_name(name: str, path: str) -> None:
    assert re.search(rf"\b{name}\b", (TESTS / path).read_text())


def test_every_invariant_of_a_soak_is_in_the_table() -> None:
    words = " ".join(check.__doc__ or "" for check in verdict.CHECKS)
    found = set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", words))
    assert found
    assert found <= {name for name, _ in ROWS}
