"""The trainer's own tests, in its image and with its libraries: real trainings of a tiny model."""

import pytest

from tests import deploy
from tests.e2e.conftest import TRAINER_TESTS, Desk, passed


def test_the_trainers_tests_pass_in_its_image(trainer_tests: Desk | None, tests_image: str) -> None:
    if trainer_tests is None:
        pytest.skip(f"they have passed in this very image; to run them again, remove {passed(tests_image)}")
    output = deploy.await_job(trainer_tests.tools, trainer_tests.namespace, TRAINER_TESTS, seconds=1200)
    last = output.strip().splitlines()[-1]
    assert " passed" in last, output
    assert "failed" not in last
    assert "skipped" not in last, "in its image every one of them runs"
    passed(tests_image).parent.mkdir(parents=True, exist_ok=True)
    passed(tests_image).touch()
