"""What GitOps tools take objects for, asked of the libraries and the interpreter that they use themselves."""

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from tests.cluster import programs
from tests.cluster.locking import locked
from tests.cluster.paths import REPOSITORY, State

Object = dict[str, Any]

ARGOCD = REPOSITORY / "examples" / "gitops" / "argocd-cm.yaml"
PAGE = REPOSITORY / "docs" / "gitops.md"
_HEALTH = "resource.customizations.health.stagecoach.dev_"


@dataclass(frozen=True)
class Answer:
    """What each takes an object for; None where nobody asks the script or the expressions."""

    kstatus: str
    argocd: str | None
    flux: str | None  # with the page's expressions, in place of kstatus
    message: str  # kstatus'
    shown: str  # by Argo CD


class GitOps:
    """The program that answers, with what we give people for Argo CD and Flux."""

    def __init__(self) -> None:
        state = State.from_environment()
        with locked(state):  # what builds the cluster's programs compiles most of this one
            self._program = programs.single(state, "gitops")
        self.scripts = {key.removeprefix(_HEALTH): script for key, script in _config_map()["data"].items()}
        self.expressions = {item["kind"]: item for item in _kustomization()["spec"]["healthCheckExprs"]}

    def ask(self, objects: Iterable[Object]) -> list[Answer]:
        """Return what the tools take each object for."""
        asked = {"objects": list(objects), "argocd": self.scripts, "flux": self.expressions}
        done = subprocess.run([self._program], input=json.dumps(asked), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return [_answer(told) for told in json.loads(done.stdout)]


def _answer(told: Object) -> Answer:
    kstatus, argocd, flux = (told[tool] or {"status": None, "message": ""} for tool in ("kstatus", "argocd", "flux"))
    return Answer(kstatus["status"], argocd["status"], flux["status"], kstatus["message"], argocd["message"])


def _config_map() -> Object:
    found: Object = yaml.safe_load(ARGOCD.read_text())
    return found


def _kustomization() -> Object:
    found: Object = yaml.safe_load(PAGE.read_text().split("```yaml\n")[1].split("```")[0])
    return found
