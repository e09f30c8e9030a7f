"""The plugin as people run it: a program of its own, with the rights of somebody, and a terminal or none."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.support.operator import ROOT
from tests.kube import Kube

# As the chart's ClusterRole for reviewers.
RULES = [
    {"apiGroups": ["stagecoach.dev"], "resources": ["evalgates", "evaluations", "approvals", "modeldeployments"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["stagecoach.dev"], "resources": ["approvals"], "verbs": ["create"]},
]  # fmt: skip
REVIEWERS = "reviewers-of-the-tests"
DEADLINE = 60


@dataclass(frozen=True)
class Answer:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str = ""

    @property
    def words(self) -> str:
        """All of it, without colours and the breaks of lines."""
        return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", f"{self.out} {self.err}").split())


@dataclass(frozen=True)
class Person:
    """Somebody with a kubeconfig."""

    kubeconfig: Path
    namespace: str
    environment: dict[str, str] = field(default_factory=dict)
    started: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def command(self, *arguments: str) -> list[str]:
        place = ("--kubeconfig", str(self.kubeconfig), "-n", self.namespace)
        return [sys.executable, "-W", "error", "-m", "stagecoach_plugin", *arguments, *place]

    @property
    def surroundings(self) -> dict[str, str]:
        others = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "KUBECONFIG")
        }
        return others | {"PYTHONPATH": str(ROOT / "plugin"), "TERM": "xterm-256color"} | self.environment

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start the plugin where there is no terminal."""
        pipe = subprocess.PIPE
        self.started.append(subprocess.Popen(self.command(*arguments), env=self.surroundings, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True))  # fmt: skip
        return self.started[-1]

    def run(self, *arguments: str) -> Answer:
        """Run the plugin where there is no terminal."""
        return ended(self.start(*arguments))

    def type(
        self, *arguments: str, keys: str = "", columns: int = 100, meanwhile: Callable[[], object] | None = None
    ) -> Answer:
        """Run the plugin in a terminal, in which somebody types: at once, or after what happens while it asks."""
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen(self.command(*arguments), env=self.surroundings, stdin=its, stdout=its, stderr=its)
        os.close(its)
        shown = b""
        try:
            if meanwhile is not None:
                while b"[y/N]" not in shown:
                    shown += os.read(ours, 65536)
                meanwhile()
            os.write(ours, keys.encode())
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # its end is closed
            pass
        os.close(ours)
        return Answer(process.wait(DEADLINE), shown.decode().replace("\r\n", "\n"))


def ended(process: "subprocess.Popen[str]") -> Answer:
    """Return what came of a plugin that was started."""
    out, err = process.communicate(timeout=DEADLINE)
    return Answer(process.returncode, out, err)


def acting_as(kubeconfig: Path, folder: Path, user: str, *groups: str) -> Path:
    """Write a kubeconfig of somebody's into a folder, by that of who may act as anybody."""
    document = yaml.safe_load(kubeconfig.read_text())
    document["users"][0]["user"] |= {"as": user, "as-groups": [*groups, "system:authenticated"]}
    path = folder / f"{user.partition('@')[0].replace(':', '-')}.kubeconfig"
    path.write_text(json.dumps(document))
    return path


PersonOf = Callable[..., Person]


@pytest.fixture
def person(kube: Kube, tmp_path: Path) -> Iterator[PersonOf]:
    """Somebody of this name and these groups, with a reviewer's rights in the test's namespace, unless without."""

    started: list[subprocess.Popen[str]] = []

    def make(
        user: str = "qa@example.com", groups: Sequence[str] = (), *, rights: bool = True, **environment: str
    ) -> Person:
        if rights:
            grant(kube, user)
        return Person(acting_as(kube.kubeconfig, tmp_path, user, *groups), kube.namespace, environment, started)

    yield make
    for each in started:
        with each:  # of a test that failed in between
            each.kill()


def grant(kube: Kube, user: str, rules: Sequence[dict[str, Any]] = RULES) -> None:
    """Give somebody the rights of a reviewer in the test's namespace."""
    name = f"{REVIEWERS}-{user.partition('@')[0]}"
    kube.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name, "namespace": kube.namespace},
            "rules": list(rules),
        }
    )
    kube.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": kube.namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }
    )
