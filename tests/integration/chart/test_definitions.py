"""The definitions in the chart: generated, small, described, and kept."""

import json
from pathlib import Path

import pytest

from stagecoach.api.crds import GROUP, KINDS, VERSION, Kind, definition
from tests.integration.chart.conftest import Installer
from tests.integration.chart.tools import CHART, REPOSITORY, Cluster, Object, template, walk
from tests.integration.support.eventually import eventually

MAX_BYTES = 100_000


@pytest.fixture(scope="module")
def installed(cluster: Cluster, module_installer: Installer) -> Cluster:
    module_installer.install("sc", "stagecoach")
    return cluster


def test_there_is_one_file_a_kind() -> None:
    assert {path.stem for path in (CHART / "files" / "crds").iterdir()} == {kind.plural for kind in KINDS}


def test_the_chart_renders_what_is_generated(tmp_path: Path) -> None:
    rendered = {
        each["metadata"]["name"]: each
        for each in template(tmp_path / "values.yaml")
        if each["kind"] == "CustomResourceDefinition"
    }
    assert {name: each["spec"] for name, each in rendered.items()} == {
        expected["metadata"]["name"]: expected["spec"] for expected in map(definition, KINDS)
    }
    for each in rendered.values():
        assert each["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_kubectl_can_apply_it(kind: Kind) -> None:
    # Client-side apply keeps a copy in an annotation, as JSON, and annotations end at 256 KiB.
    assert len(json.dumps(definition(kind)).encode()) < MAX_BYTES


def test_the_api_server_takes_the_definitions_by_themselves(cluster: Cluster) -> None:
    folder = str(REPOSITORY / "crds")
    applied = cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", folder)
    assert applied.count("(server dry run)") == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_every_field_is_explained(installed: Cluster, kind: Kind) -> None:
    name = kind.model.__name__
    published = eventually(lambda: _published(installed, name), what=f"{name} in the OpenAPI document")
    fields = dict(walk(published))
    assert ".spec" in fields
    assert ".status.conditions[].lastTransitionTime" in fields
    assert [path for path, field in fields.items() if not field.get("description", "").strip()] == []
    assert published["description"].strip()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_kubectl_explains_it(installed: Cluster, kind: Kind) -> None:
    eventually(lambda: _published(installed, kind.model.__name__), what="the OpenAPI document")
    for path in ("", ".spec", ".status"):
        for more in ((), ("--recursive",)):
            text = installed.kubectl("explain", f"{kind.plural}.{GROUP}{path}", *more)
            assert "<no description>" not in text
            assert "<empty>" not in text


def test_conditions_of_the_definitions_are_good(installed: Cluster) -> None:
    for kind in KINDS:
        found = installed.get("crd", f"{kind.plural}.{GROUP}")
        conditions = {each["type"]: each for each in found["status"]["conditions"]}
        assert conditions["Established"]["status"] == "True"
        # Raised when a schema is not structural.
        assert "NonStructuralSchema" not in conditions


def _published(cluster: Cluster, name: str) -> Object:
    document = json.loads(cluster.kubectl("get", "--raw", f"/openapi/v3/apis/{GROUP}/{VERSION}"))
    schemas = document["components"]["schemas"]
    return next((schema for key, schema in schemas.items() if key.endswith(f".{name}")), {})
