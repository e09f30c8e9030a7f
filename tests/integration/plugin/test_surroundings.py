"""Kubeconfigs and clusters as they are found: whatever is wrong is said in a sentence, with the next step."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import ControlPlane
from tests.integration.plugin.conftest import Answer, Person, PersonOf
from tests.integration.plugin.objects import put
from tests.integration.support.operator import ROOT
from tests.kube import Kube
from tests.unit.plugin import samples

NAME = samples.NAME


@pytest.fixture
def kubeconfig(kube: Kube) -> samples.Object:
    """An administrator's, to be changed."""
    document: samples.Object = yaml.safe_load(kube.kubeconfig.read_text())
    return document


def run(document: samples.Object | str, folder: Path, *arguments: str) -> Answer:
    """Run the plugin by KUBECONFIG, as kubectl would."""
    path = folder / "changed.kubeconfig"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    somebody = Person(path, "", {"KUBECONFIG": str(path)})
    done = subprocess.run([sys.executable, "-m", "stagecoach_plugin", *arguments], env=somebody.surroundings, capture_output=True, text=True, check=False)  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


def test_the_namespace_of_the_context_and_another_context(
    kube: Kube, kubeconfig: samples.Object, tmp_path: Path
) -> None:
    put(kube, samples.decided("Passed", "Passed", "Good."))
    there = kubeconfig["contexts"][0]["context"] | {"namespace": kube.namespace}
    kubeconfig["contexts"].append({"name": "there", "context": there})
    answer = run(kubeconfig, tmp_path, "report", NAME)
    assert "in namespace default" in answer.words
    assert run(kubeconfig, tmp_path, "report", NAME, "-n", kube.namespace).code == 0
    answer = run(kubeconfig, tmp_path, "report", NAME, "--context", "there")
    assert (answer.code, answer.err) == (0, "")
    assert "kubectl stagecoach report" in run(kubeconfig, tmp_path, "why", NAME, "--context", "there").words
    kubeconfig["current-context"] = "there"
    assert run(kubeconfig, tmp_path, "report", NAME).code == 0


def broken(kubeconfig: samples.Object, how: str) -> samples.Object | str:
    user = kubeconfig["users"][0]
    if how == "no current context":
        del kubeconfig["current-context"]
    elif how == "another token":
        user["user"] = {"token": "not-to-be-shown"}
    elif how == "no server":
        kubeconfig["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    elif how == "another authority":
        del kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]
    elif how == "no YAML":
        return "a: [b"
    elif how == "no such user":
        kubeconfig["contexts"][0]["context"]["user"] = "nobody"
    elif how == "no credentials of a program":
        user["user"] = {
            "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "false", "interactiveMode": "Never"}
        }
    return kubeconfig


KUBECONFIGS = [
    ("no current context", "The kubeconfig has no current context: choose one with --context"),
    ("another token", "The API server does not know who you are"),
    ("no server", "The API server at https://127.0.0.1:1 cannot be reached"),
    ("another authority", "cannot be reached"),
    ("no YAML", "The kubeconfig cannot be used"),
    ("no such user", "The kubeconfig has no user 'nobody'"),
    ("no credentials of a program", "Your credentials could not be had"),
]


@pytest.mark.parametrize(("how", "words"), KUBECONFIGS)
def test_what_is_wrong_with_a_kubeconfig(kubeconfig: samples.Object, tmp_path: Path, how: str, words: str) -> None:
    answer = run(broken(kubeconfig, how), tmp_path, "report", NAME)
    assert (answer.code, answer.out) == (1, "")
    assert words in answer.words
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    assert "not-to-be-shown" not in answer.err


def test_an_unknown_context(kubeconfig: samples.Object, tmp_path: Path) -> None:
    answer = run(kubeconfig, tmp_path, "report", NAME, "--context", "none")
    assert answer.code == 1
    assert "The kubeconfig has no context 'none'" in answer.words


def test_no_kubeconfig(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    somebody = Person(missing, "default")
    assert "There is no kubeconfig at" in somebody.run("report", NAME).words
    empty = tmp_path / "empty"
    empty.write_text("")
    assert Person(empty, "default").run("report", NAME).code == 1


def test_credentials_of_a_program(kube: Kube, kubeconfig: samples.Object, tmp_path: Path) -> None:
    put(kube, samples.decided("Passed", "Passed", "Good."))
    token = kubeconfig["users"][0]["user"]["token"]
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
    given = tmp_path / "credential.json"
    given.write_text(json.dumps(credential))
    program = {
        "apiVersion": credential["apiVersion"],
        "command": "cat",
        "args": [str(given)],
        "interactiveMode": "Never",
    }
    kubeconfig["users"][0]["user"] = {"exec": program}
    answer = run(kubeconfig, tmp_path, "report", NAME, "-n", kube.namespace)
    assert (answer.code, answer.err) == (0, "")


def test_somebody_without_any_right(kube: Kube, person: PersonOf) -> None:
    nobody = person("nobody@example.com", rights=False)
    for arguments in (("report", NAME), ("why", f"eval/{NAME}"), ("approve", NAME, "--yes")):
        answer = nobody.run(*arguments)
        assert answer.code == 1
        assert f"You lack the right to get evaluations.stagecoach.dev in namespace {kube.namespace}" in answer.words
    answer = nobody.run("why", NAME)
    assert answer.code == 1
    assert "You lack the right" in answer.words


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[ControlPlane]:
    """A cluster without Stagecoach."""
    with ControlPlane(tmp_path / "bare", controllers=False) as running:
        yield running


@pytest.mark.long
def test_a_cluster_without_stagecoach(bare: ControlPlane) -> None:
    somebody = Person(bare.kubeconfig, "default")
    for arguments in (("report", NAME), ("why", NAME), ("why", "ftr/x"), ("approve", NAME, "--yes")):
        answer = somebody.run(*arguments)
        assert answer.code == 1
        assert "This cluster does not know" in answer.words
        assert "Install Stagecoach's chart in this cluster" in answer.words


def test_kubectl_finds_it(kube: Kube, tmp_path: Path) -> None:
    """As kubectl stagecoach: by a program of this name on the PATH."""
    from tests.cluster.paths import State

    put(kube, samples.decided("Passed", "Passed", "Good."))
    program = tmp_path / "kubectl-stagecoach"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m stagecoach_plugin "$@"\n')
    program.chmod(0o755)
    kubectl = State.from_environment().bin / "kubectl"
    environment = Person(kube.kubeconfig, "").surroundings
    environment |= {"PATH": f"{tmp_path}:{environment['PATH']}", "KUBECONFIG": str(kube.kubeconfig)}
    done = subprocess.run([kubectl, "stagecoach", "report", NAME, "-n", kube.namespace], env=environment, capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "Passed" in done.stdout
    assert shutil.which("kubectl-stagecoach", path=environment["PATH"])
    assert (ROOT / "plugin" / "stagecoach_plugin").is_dir()
