"""Images by way of a docker daemon."""

from collections.abc import Mapping
from pathlib import Path

from tests.cluster.buildah import repository_of, tag_of
from tests.cluster.errors import ClusterError
from tests.cluster.progress import Step
from tests.cluster.shell import run, succeeds


def is_running() -> bool:
    """Tell whether a daemon answers; a client alone says nothing."""
    return succeeds(["docker", "info"])


def build(name: str, dockerfile: Path, context: Path, arguments: Mapping[str, str]) -> None:
    """Build an image."""
    passed = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
    with Step(f"building the image {name}") as step:
        step.run(["docker", "build", *passed, "--file", dockerfile, "--tag", name, context])


def push(name: str, registry: str) -> str:
    """Push an image; return its reference by digest."""
    repository = f"{registry}/{repository_of(name)}"
    target = f"{repository}:{tag_of(name)}"
    run(["docker", "tag", name, target])
    run(["docker", "push", "--quiet", target])
    digests = run(["docker", "image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', target]).split()
    reference = next((digest for digest in digests if digest.startswith(f"{repository}@")), None)
    if reference is None:
        raise ClusterError(f"docker pushed {target}, but does not know its digest")
    return reference
