"""The operator with the account and the options that the chart gives it, outside of a pod."""

from pathlib import Path

import yaml

from tests.cluster.controlplane import ControlPlane
from tests.integration.chart.tools import Cluster, Object
from tests.integration.support.operator import ROOT, OperatorProcess

NAMESPACE = "stagecoach"


def start_operator(
    cluster: Cluster,
    folder: Path,
    name: str = "operator",
    *,
    deployment: str = "sc-stagecoach",
    namespace: str = NAMESPACE,
    code: Path = ROOT / "operator",
) -> OperatorProcess:
    """Start the operator of a release as it is now."""
    made = cluster.get("deployment", deployment, "-n", namespace)
    options = made["spec"]["template"]["spec"]["containers"][0]["args"]
    options = [each for each in options if not each.startswith("--metrics")]
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    token = cluster.kubectl("create", "token", deployment, "-n", namespace).strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    kubeconfig = folder / f"{name}.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    environment = None if code == ROOT / "operator" else {"PYTHONPATH": f"{code}:{ROOT}"}
    return OperatorProcess(kubeconfig, folder / f"{name}.log", options, environment=environment)


class Requests:
    """What the operator itself has asked for since this was made; discovery aside, which everybody may read."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._earlier = len(control_plane.audit_events())

    def events(self) -> list[Object]:
        """Return the API server's records."""
        later = self._control_plane.audit_events()[self._earlier :]
        return [each for each in later if "objectRef" in each and "impersonatedUser" not in each]

    def rights(self) -> set[tuple[str, str, str]]:
        """Return verb, group and resource of each."""
        return {
            (
                verb,
                event["objectRef"].get("apiGroup", ""),
                "/".join(filter(None, (event["objectRef"].get("resource"), event["objectRef"].get("subresource")))),
            )
            for event in self.events()
            for verb in _verbs(event)
        }


def _verbs(event: Object) -> set[str]:
    """Return the rights that a request took: to apply what is not there takes two."""
    made = event["verb"] == "patch" and event["responseStatus"]["code"] == 201
    return {event["verb"], *(["create"] if made else [])}
