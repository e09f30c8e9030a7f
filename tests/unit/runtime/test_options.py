"""The command line."""

from pathlib import Path

import pytest

from stagecoach.build.pods import Network
from stagecoach.runtime import options

PINNED = "registry.example/trainer@sha256:" + "a" * 64
EVALUATOR = "registry.example/evaluator@sha256:" + "b" * 64
SERVES = "registry.example/serves@sha256:" + "c" * 64
IMAGES = ("--trainer-image", PINNED, "--evaluator-image", EVALUATOR)


def parse(*arguments: str, **environment: str) -> options.Options:
    return options.parse(arguments, environment)


def test_defaults() -> None:
    chosen = parse(*IMAGES)
    assert (chosen.namespaces, chosen.workers, chosen.metrics_port) == ((), 16, 8080)
    assert (chosen.settings.trainer_image, chosen.settings.evaluator_image) == (PINNED, EVALUATOR)


def test_the_operators_own_namespace_is_that_of_its_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert parse(*IMAGES).settings.namespace == parse(*IMAGES).lease_namespace == "default"
    (tmp_path / "namespace").write_text("mine\n")
    monkeypatch.setattr(options, "_NAMESPACE_FILE", tmp_path / "namespace")
    assert parse(*IMAGES).settings.namespace == parse(*IMAGES).lease_namespace == "mine"
    elsewhere = parse(*IMAGES, "--lease-namespace=ops")
    assert (elsewhere.settings.namespace, elsewhere.lease_namespace) == ("mine", "ops")


def test_the_key_is_beside_the_lease_and_is_called_like_it() -> None:
    chosen = parse(*IMAGES, "--lease-namespace=ops", "--lease-name=desk")
    assert (chosen.lease_namespace, chosen.key_secret) == ("ops", "desk-key")
    assert parse(*IMAGES, "--key-secret", chosen.lease_name).key_secret == chosen.lease_name
    assert chosen.settings.master_key == b""


def test_everything_may_be_a_variable() -> None:
    chosen = parse(
        STAGECOACH_TRAINER_IMAGE="trainer:dev",
        STAGECOACH_EVALUATOR_IMAGE="evaluator:dev",
        STAGECOACH_ALLOW_UNPINNED_IMAGES="true",
        STAGECOACH_NAMESPACE="a, b",
        STAGECOACH_WORKERS="3",
        STAGECOACH_LOG_LEVEL="debug",
    )
    assert (chosen.namespaces, chosen.workers, chosen.log_level) == (("a", "b"), 3, "DEBUG")


def test_a_flag_replaces_its_variable() -> None:
    chosen = parse(*IMAGES, "--namespace=c", STAGECOACH_NAMESPACE="a,b", STAGECOACH_TRAINER_IMAGE="x")
    assert chosen.namespaces == ("c",)
    assert chosen.settings.trainer_image == PINNED


@pytest.mark.parametrize("name", ["engine", "engine-cpu", "gateway"])
def test_what_serves_is_optional_and_pinned_like_the_others(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    field = name.replace("-", "_")
    assert getattr(parse(*IMAGES).settings, f"{field}_image") == ""
    chosen = parse(*IMAGES, f"--{name}-image", SERVES, f"--{name}-pull-policy", "Always").settings
    assert (getattr(chosen, f"{field}_image"), getattr(chosen, f"{field}_pull_policy")) == (SERVES, "Always")
    with pytest.raises(SystemExit):
        parse(*IMAGES, f"--{name}-image", "any:latest")
    assert f"--{name}-image any:latest is not pinned" in capsys.readouterr().err


def test_the_tag_of_a_version_is_enough_for_the_vendors_engine_alone(capsys: pytest.CaptureFixture[str]) -> None:
    version = "docker.io/vllm/vllm-openai:v0.32.0"
    assert parse(*IMAGES, "--engine-image", version).settings.engine_image == version
    for name, image in (("engine", f"{version}-cu129"), ("engine-cpu", version), ("gateway", version)):
        with pytest.raises(SystemExit):
            parse(*IMAGES, f"--{name}-image", image)
        assert "is not pinned" in capsys.readouterr().err


@pytest.mark.parametrize("image", ["trainer:latest", "trainer", "trainer@sha256:abc"])
def test_an_image_that_can_change_is_refused_with_the_way_out(image: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(*IMAGES, "--trainer-image", image)
    assert f"--trainer-image {image} is not pinned" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(*IMAGES, "--evaluator-image", image)
    said = capsys.readouterr().err
    assert f"--evaluator-image {image} is not pinned" in said
    assert "--allow-unpinned-images" in said


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--workers", "0"),
        ("--lease-duration", "1"),
        ("--log-level", "LOUD"),
        ("--trainer-pull-policy", "Maybe"),
        ("--evaluator-pull-policy", "Maybe"),
        ("--ca-bundle", "bundle"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...]) -> None:
    image = IMAGES if arguments else ()
    with pytest.raises(SystemExit):
        parse(*image, *arguments)


def test_what_the_jobs_need_for_the_network() -> None:
    chosen = parse(*IMAGES, "--https-proxy=http://p:1", "--no-proxy=.svc", "--ca-bundle=bundle/ca.pem")
    expected = Network(https_proxy="http://p:1", no_proxy=".svc", ca_config_map="bundle", ca_key="ca.pem")
    assert chosen.settings.network == expected
    assert parse(*IMAGES).settings.network == Network()


def test_no_two_processes_are_alike() -> None:
    assert parse(*IMAGES).identity != parse(*IMAGES).identity


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    text = capsys.readouterr().out
    assert all(word in text for word in ("example:", "STAGECOACH_TRAINER_IMAGE", "/readyz", "KUBECONFIG"))
