"""Building images without a container daemon."""

import configparser
import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster import baseimage, disk, ingredients, packages
from tests.cluster.errors import ClusterError
from tests.cluster.locking import locked
from tests.cluster.paths import State
from tests.cluster.progress import Step
from tests.cluster.shell import run, succeeds

_GIBIBYTES_TO_BUILD = 3


class Buildah:
    """buildah with its storage in the state's cache."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def command(self) -> list[str | Path]:
        """The program and the options that every use of it needs."""
        return [
            packages.path_of("buildah"),
            *("--root", self._state.cache / "containers" / "storage"),
            # What is mounted is forgotten with each boot, and so must be the record of it.
            *("--runroot", self._state.cache / "containers" / _boot()),
            *("--storage-driver", "overlay" if self._may_overlay() else "vfs"),
        ]

    def build(self, name: str, dockerfile: Path, context: Path, arguments: Mapping[str, str]) -> None:
        """Build an image from a Dockerfile, reusing unchanged layers; not if it is made of the same as the last time.

        Only to find that every layer is unchanged, buildah reads gigabytes.
        """
        packages.ensure(packages.FOR_A_NODE)
        disk.need(self._state.cache, _GIBIBYTES_TO_BUILD, f"Building the image {name}")
        with locked(self._state, "-base-image"):
            baseimage.ensure(self._state, self.command)
        wheels = Path(os.environ["WHEELS"]) if os.environ.get("WHEELS") else None
        if wheels and not wheels.is_dir():
            raise ClusterError(f"WHEELS={wheels} is not a directory")
        made_of = ingredients.digest_of(dockerfile, context, arguments, self._id, wheels)
        known = self._state.cache / "images" / repository_of(name)
        if made_of and known.exists() and known.read_text() == f"{made_of} {self._id(name)}":
            return
        if "ARG WHEELS=" in dockerfile.read_text():
            arguments = {**arguments, "WHEELS": ingredients.digest_of_wheels(wheels)}
        passed = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
        command = [
            *self.command,
            "build",
            "--layers",
            # crun does not run on machines that mount both versions of control groups.
            *("--runtime", packages.path_of("runc")),
            *("--network", "host"),
            *("--format", "oci"),
            *self._mounts(wheels),
            *passed,
            *("--file", dockerfile),
            *("--tag", _local(name)),
            context,
        ]
        with Step(f"building the image {name}") as step:
            step.run(command)
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(f"{made_of} {self._id(name)}")

    def push(self, name: str, registry: str, *, prefix: Sequence[str] = (), insecure: bool = False) -> str:
        """Push an image that was built or can be pulled; return its reference by digest."""
        source = self._find(name)
        repository = f"{registry}/{repository_of(name)}"
        with tempfile.NamedTemporaryFile("r") as digest, Step(f"loading the image {name}") as step:
            step.run(
                [
                    *prefix,
                    *self.command,
                    *("push", "--format", "oci", "--digestfile", digest.name),
                    # A registry on this machine's loopback: to compress and unpack would take longer than to copy.
                    *(["--tls-verify=false", "--disable-compression"] if insecure else []),
                    source,
                    f"docker://{repository}:{tag_of(name)}",
                ]
            )
            return f"{repository}@{digest.read().strip()}"

    def _find(self, name: str) -> str:
        if found := self._found(name):
            return found
        if not _names_a_registry(name):
            raise ClusterError(
                f"There is no image {name}. Build it first: python -m tests.cluster build {name} DOCKERFILE"
            )
        with Step(f"pulling {name}") as step:
            step.run([*self.command, "pull", name])
        return name

    def _found(self, name: str) -> str | None:
        candidates = (_local(name), name)
        return next((each for each in candidates if succeeds([*self._inspect, each])), None)

    def _id(self, name: str) -> str | None:
        """Return what is the same as long as an image is, or None without one."""
        found = self._found(name)
        return run([*self._inspect, "--format", "{{.FromImageID}}", found]).strip() if found else None

    @property
    def _inspect(self) -> list[str | Path]:
        return [*self.command, "inspect", "--type=image"]

    def _mounts(self, wheels: Path | None) -> list[str]:
        """Lend a build what this machine knows about reaching package indexes."""
        certificates = Path("/etc/ssl/certs")
        mounts = [f"{certificates}:{certificates}:ro"] if certificates.exists() else []
        if wheels:
            mounts.append(f"{wheels.resolve()}:/wheels:ro")
        if configuration := pip_configuration(Path("/etc/pip.conf"), wheels="/wheels" if wheels else None):
            path = self._state.cache / "pip.conf"
            path.write_text(configuration)
            mounts.append(f"{path}:/etc/pip.conf:ro")
        return [part for mount in mounts for part in ("--volume", mount)]

    def _may_overlay(self) -> bool:
        kind = run(["stat", "--file-system", "--format=%T", self._state.root]).strip()
        return not kind.startswith("overlay")


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]


def pip_configuration(machine: Path, *, wheels: str | None) -> str:
    """Merge this machine's pip configuration with a folder of wheels."""
    config = configparser.RawConfigParser()
    config.read(machine)
    if wheels:
        if not config.has_section("global"):
            config.add_section("global")
        present = config.get("global", "find-links", fallback="")
        config.set("global", "find-links", f"{present}\n{wheels}".strip())
    text = io.StringIO()
    config.write(text)
    return text.getvalue()


def repository_of(name: str) -> str:
    """The name without a registry, tag or digest: what it is called in another registry."""
    path = name.partition("@")[0]
    first, slash, rest = path.partition("/")
    if slash and _is_registry(first):
        path = rest
    head, colon, tail = path.rpartition(":")
    return head if colon and "/" not in tail else path


def tag_of(name: str) -> str:
    """The name's tag, or `latest`."""
    last = name.partition("@")[0].rpartition("/")[2]
    return last.partition(":")[2] or "latest"


def _names_a_registry(name: str) -> bool:
    first, slash, _rest = name.partition("/")
    return bool(slash) and _is_registry(first)


def _is_registry(part: str) -> bool:
    return "." in part or ":" in part or part == "localhost"


def _local(name: str) -> str:
    return name if _names_a_registry(name) else f"localhost/{repository_of(name)}:{tag_of(name)}"
