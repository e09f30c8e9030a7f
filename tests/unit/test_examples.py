"""The example's parts fit together."""

from typing import Any

import yaml

from stagecoach.contract import mounts
from stagecoach.contract.uris import Uri, parse
from tests.deploy import ROOT

EXAMPLE = ROOT / "examples" / "support-desk"


def document(name: str) -> Any:
    return yaml.safe_load((EXAMPLE / name).read_text())


def test_the_job_that_compares_mounts_what_the_project_names() -> None:
    project = document("project.yaml")["spec"]
    pod = document("compare/job.yaml")["spec"]["template"]["spec"]
    volumes = {item.pop("name"): item for item in pod["volumes"]}
    mounted = {
        item["mountPath"]: (volumes[item["name"]], item.get("subPath", ""))
        for item in pod["containers"][0]["volumeMounts"]
    }
    rows = [item["uri"] for item in project["data"]["sets"] if item["split"] == "Validation"]
    read = map(parse, [*rows, *(item["model"]["uri"] for item in project["candidates"])])
    storage = parse(project["storage"]["uri"])
    assert mounted == {
        mounts.STORAGE: (source(storage), storage.path),
        mounts.SCRATCH: ({"emptyDir": {}}, ""),
        **{mounts.folder_of(uri): (source(uri), "") for uri in read},
    }


def source(uri: Uri) -> dict[str, Any]:
    """Return the volume in which a URI lies."""
    if uri.scheme == "configmap":
        return {"configMap": {"name": uri.name}}
    return {"persistentVolumeClaim": {"claimName": uri.name}}
