"""Speed is measured by benchmarks: no test fails because a machine is busy."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Say it again where the project's configuration is not: in images."""
    config.addinivalue_line("markers", "long: a test that `make test` leaves to `make test-all`")
