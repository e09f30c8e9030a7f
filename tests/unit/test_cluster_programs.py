"""Where a control plane's programs come from: what KUBEBUILDER_ASSETS has, and ours for the rest."""

from pathlib import Path

import pytest

from tests.cluster import programs
from tests.cluster.controlplane import APISERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER
from tests.cluster.errors import ClusterError
from tests.cluster.paths import State

ENVTEST = (ETCD, APISERVER, "kubectl")
WITH_CONTROLLERS = [ETCD, APISERVER, CONTROLLER_MANAGER]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[State]:
    """Of which states all was built, which takes minutes."""
    asked: list[State] = []
    monkeypatch.setattr(programs, "ensure", asked.append)
    return asked


def assets(folder: Path, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(folder))
    return folder


@pytest.mark.parametrize(
    ("given", "asked", "ours"),
    [
        (ENVTEST, [ETCD, APISERVER], []),
        (ENVTEST, WITH_CONTROLLERS, [CONTROLLER_MANAGER]),
        ((*ENVTEST, CONTROLLER_MANAGER), WITH_CONTROLLERS, []),
        (ENVTEST, [*WITH_CONTROLLERS, SCHEDULER], [CONTROLLER_MANAGER, SCHEDULER]),
    ],
)
def test_what_the_assets_lack_is_built(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    built: list[State],
    given: tuple[str, ...],
    asked: list[str],
    ours: list[str],
) -> None:
    state, folder = State(tmp_path / "state"), assets(tmp_path / "assets", given, monkeypatch)
    found = programs.find(state, asked)
    assert found == {name: (state.built if name in ours else folder) / name for name in asked}
    assert built == ([state] if ours else [])


def test_without_assets_all_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: list[State]) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    state = State(tmp_path)
    assert programs.find(state, WITH_CONTROLLERS) == {name: state.built / name for name in WITH_CONTROLLERS}
    assert built == [state]


@pytest.mark.parametrize("lacks", [ETCD, APISERVER])
def test_assets_without_an_api_server_or_its_store_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: list[State], lacks: str
) -> None:
    folder = assets(tmp_path / "assets", tuple(name for name in ENVTEST if name != lacks), monkeypatch)
    with pytest.raises(ClusterError, match=f"KUBEBUILDER_ASSETS={folder} has no {lacks}. Unset it"):
        programs.find(State(tmp_path / "state"), WITH_CONTROLLERS)
    assert built == []
