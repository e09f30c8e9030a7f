from pathlib import Path

import pytest

from tests.cluster.buildah import pip_configuration, repository_of, tag_of
from tests.cluster.errors import ClusterError
from tests.cluster.paths import State


@pytest.mark.parametrize(
    ("name", "repository", "tag"),
    [
        ("demo", "demo", "latest"),
        ("demo:1", "demo", "1"),
        ("team/demo", "team/demo", "latest"),
        ("localhost/demo:1", "demo", "1"),
        ("registry.example.com:5000/team/demo:1", "team/demo", "1"),
        ("registry.example.com/demo@sha256:00", "demo", "latest"),
    ],
)
def test_an_image_keeps_its_name_in_another_registry(name: str, repository: str, tag: str) -> None:
    assert (repository_of(name), tag_of(name)) == (repository, tag)


def test_wheels_are_added_to_the_machines_own_pip_configuration(tmp_path: Path) -> None:
    machine = tmp_path / "pip.conf"
    machine.write_text("[global]\ncert = /etc/ssl/certs/ca-certificates.crt\nfind-links = /elsewhere\n")
    merged = tmp_path / "merged"
    merged.write_text(pip_configuration(machine, wheels="/wheels"))
    again = pip_configuration(merged, wheels=None)
    assert "cert = /etc/ssl/certs/ca-certificates.crt" in again
    assert again.index("/elsewhere") < again.index("/wheels")


def test_without_wheels_or_configuration_nothing_is_mounted(tmp_path: Path) -> None:
    assert pip_configuration(tmp_path / "absent", wheels=None) == ""


@pytest.mark.parametrize("root", ["/run/cluster", "/var/lib/cluster", "/" + "x" * 80])
def test_a_directory_in_which_a_node_cannot_work_is_refused(root: str) -> None:
    with pytest.raises(ClusterError, match="STAGECOACH_STATE"):
        State(Path(root)).check_usable_by_a_node()


def test_state_directories_have_identities_of_their_own() -> None:
    assert State(Path("/a")).identity != State(Path("/b")).identity
