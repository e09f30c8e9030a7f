"""Operators with the toy kind."""

from collections.abc import Callable

import pytest

from tests.cluster import ControlPlane
from tests.integration.conftest import StartOperator, install_kind
from tests.integration.runtime import toy
from tests.integration.support.operator import OperatorProcess
from tests.kube import Kube

StartToys = Callable[..., OperatorProcess]


@pytest.fixture(scope="session", autouse=True)
def _toys(control_plane: ControlPlane) -> None:
    install_kind(Kube(control_plane.kubeconfig), toy.CRD)


@pytest.fixture
def start_toys(start_operator: StartOperator) -> StartToys:
    """Start an operator that knows Toys only."""

    def start(*arguments: str, **details: object) -> OperatorProcess:
        return start_operator(*arguments, module=toy.__name__, **details)

    return start


@pytest.fixture
def toys(start_toys: StartToys) -> OperatorProcess:
    """A leading operator that knows Toys."""
    return start_toys().wait_ready().wait_leading()
