"""Speed is measured by benchmarks: no test fails because a machine is busy."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


# Where long tests are left out, of the examples of state machines as well: one of so many stays.
FEWER = 6


def pytest_configure(config: pytest.Config) -> None:
    """Say it again where the project's configuration is not: in images."""
    config.addinivalue_line("markers", "long: a test that `make test` leaves to `make test-all`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let state machines be short where `make test` leaves long tests out."""
    if config.getoption("markexpr") != "not long":
        return
    for case in {item.cls for item in items if isinstance(item, pytest.Function) and item.cls}:
        of_a_machine = getattr(case, "settings", None)
        if isinstance(of_a_machine, settings):
            case.settings = settings(of_a_machine, max_examples=of_a_machine.max_examples // FEWER)
