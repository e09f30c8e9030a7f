"""The base of all images, made from Debian packages where it cannot be pulled."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import disk, packages
from tests.cluster.paths import BASE_IMAGE_SOURCES, State
from tests.cluster.progress import Step
from tests.cluster.shell import run, succeeds

NAME = "docker.io/library/debian:bookworm-slim"
_SUITE = "bookworm"
_LABEL = "stagecoach.dev/base-image-sources"
_GIBIBYTES = 2


def ensure(state: State, buildah: Sequence[str | Path]) -> None:
    """Make the image, unless there is one of these very sources."""
    sources = _fingerprint()
    if _made_from(buildah) == sources:
        return
    disk.need(state.cache, _GIBIBYTES, "Making the base image")
    context = state.cache / "base"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    with Step(f"making the base image ({_SUITE})") as step:
        _bootstrap(context / "rootfs", step)
        dockerfile = BASE_IMAGE_SOURCES / "Dockerfile"
        labels = ["--label", f"{_LABEL}={sources}"]
        step.run([*buildah, "build", "--no-cache", *labels, "--file", dockerfile, "--tag", NAME, context])
    # The image has it all; the directory would only take room.
    shutil.rmtree(context)


def _made_from(buildah: Sequence[str | Path]) -> str | None:
    inspect = [*buildah, "inspect", "--type=image"]
    if not succeeds([*inspect, NAME]):
        return None
    return run([*inspect, "--format", f'{{{{index .OCIv1.Config.Labels "{_LABEL}"}}}}', NAME]).strip()


def _bootstrap(rootfs: Path, step: Step) -> None:
    wanted = ",".join((BASE_IMAGE_SOURCES / "packages.txt").read_text().split())
    mirror = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
    program = packages.path_of("debootstrap")
    step.run([program, "--variant=minbase", f"--include={wanted}", _SUITE, rootfs, mirror])
    shutil.copy(BASE_IMAGE_SOURCES / "dpkg-excludes", rootfs / "etc/dpkg/dpkg.cfg.d/excludes")
    shutil.copy(BASE_IMAGE_SOURCES / "sources.list", rootfs / "etc/apt/sources.list")
    for pattern in _LEFT_OUT:
        for path in rootfs.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


_LEFT_OUT = (
    "var/cache/apt/archives/*.deb",
    "var/cache/apt/*.bin",
    "var/lib/apt/lists/*_*",
    "var/log/*.log",
    "usr/share/man/*",
    "usr/share/info/*",
    "usr/share/lintian/*",
    "usr/share/locale/*",
    "usr/share/doc/*/[!c]*",
    "usr/share/doc/*/changelog*",
)


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted(BASE_IMAGE_SOURCES.iterdir()):
        if path.name != "README.md":
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
