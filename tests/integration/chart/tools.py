"""kubectl and helm against one API server."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import packages
from tests.cluster.paths import State

REPOSITORY = Path(__file__).parents[3]
CHART = REPOSITORY / "charts" / "stagecoach"
DOCUMENTS = REPOSITORY / "docs"
DIGEST = "sha256:" + "a" * 64
IMAGES = {
    "image": {"repository": "registry.example.com/stagecoach/operator", "digest": DIGEST},
    "trainer": {"image": {"repository": "registry.example.com/stagecoach/trainer", "digest": DIGEST}},
    "evaluator": {"image": {"repository": "registry.example.com/stagecoach/evaluator", "digest": DIGEST}},
}

Object = dict[str, Any]


class Refused(AssertionError):
    """A program ended with an error; the text is what it said."""


@dataclass(frozen=True)
class Cluster:
    """An administrator's access to one API server, or that of a user whom he impersonates."""

    kubeconfig: Path
    user: str = ""

    def impersonating(self, user: str) -> "Cluster":
        """Return the same access with the rights of this user."""
        return replace(self, user=user)

    def kubectl(self, *arguments: str, document: str = "") -> str:
        """Run kubectl; return its output."""
        user = ("--as", self.user) if self.user else ()
        return run("kubectl", "--kubeconfig", str(self.kubeconfig), *user, *arguments, document=document)

    def helm(self, *arguments: str) -> str:
        """Run helm; return its output."""
        return run("helm", "--kubeconfig", str(self.kubeconfig), *arguments)

    def get(self, *arguments: str) -> Object:
        """Return what `kubectl get` finds."""
        found: Object = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def names(self, *arguments: str) -> set[str]:
        """Return `kind.group/name` of all objects that `kubectl get` finds."""
        return set(self.kubectl("get", *arguments, "--ignore-not-found", "-o", "name").split())

    def apply(self, *objects: Object) -> None:
        """Create objects, or change them."""
        self.kubectl("apply", "--server-side", "-f", "-", document=yaml.safe_dump_all(objects))

    def namespace(self, name: str, **labels: str) -> str:
        """Create a namespace, unless it exists; return its name."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        return name


def run(program: str, *arguments: str, document: str = "") -> str:
    """Run a program of the test cluster; return its output. Raises Refused."""
    path = State.from_environment().bin / program
    done = subprocess.run([path, *arguments], input=document, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"{program} {' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout


def promtool() -> Path:
    """Return Prometheus' tool, of the same version as in our image of it."""
    return packages.unpacked(State.from_environment(), "prometheus") / "usr/bin/promtool"


def values(file: Path, **more: Any) -> str:
    """Write values, with the images that are always needed but for those that are None, and return the path."""
    file.write_text(yaml.safe_dump({name: value for name, value in (IMAGES | more).items() if value is not None}))
    return str(file)


def template(file: Path, *arguments: str, **more: Any) -> list[Object]:
    """Return what the chart makes of these values."""
    text = run("helm", "template", "sc", str(CHART), "-n", "stagecoach", "-f", values(file, **more), *arguments)
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]  # in C: ten times as fast


def notes(cluster: Cluster, file: Path, **more: Any) -> str:
    """Return what Helm says to who installs the chart with these values."""
    given = values(file, **more)
    text = cluster.helm("install", "sc", str(CHART), "-n", "stagecoach", "--dry-run=client", "-f", given)
    return text.partition("\nNOTES:\n")[2]


def walk(schema: Object, path: str = "") -> Iterator[tuple[str, Object]]:
    """Yield every property of a schema, at every level, with its path."""
    for name, part in schema.get("properties", {}).items():
        yield f"{path}.{name}", part
        yield from walk(part, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield from walk(schema[key], f"{path}{mark}")
    for part in schema.get("allOf", ()):
        yield from walk(part, path)
