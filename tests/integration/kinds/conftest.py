"""What tests of several kinds stand on: namespaces as restricted as they may be, and one in which models are deployed."""

from collections.abc import Iterator

import pytest

from tests.integration.conftest import StartOperator
from tests.integration.support.house import INSTALLED, House
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.players import Players
from tests.kube import Kube


@pytest.fixture
def namespace_labels() -> dict[str, str]:
    """What the operator makes is admitted where others' pods are not: only restricted ones may run in these namespaces."""
    return {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture
def house(kube: Kube, kubelet: FakeKubelet, start_operator: StartOperator) -> House:
    """A namespace with a project by vLLM and its gate, and an operator that can deploy."""
    start_operator(*INSTALLED).wait_ready().wait_leading()
    house = House(kube, kubelet)
    house.open()
    return house


@pytest.fixture
def players(house: House) -> Iterator[Players]:
    """Loaders and gateways that answer."""
    with Players(house.kube, house.kubelet).playing() as players:
        yield players
