"""Programs from Debian packages."""

import os
import shutil
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.locking import locked
from tests.cluster.paths import State
from tests.cluster.progress import Step

# A program that may also come from elsewhere, and the package that has it.
FOR_A_CONTROL_PLANE = {"openssl": "openssl"}
FOR_A_NODE = {
    "openssl": "openssl",
    "containerd": "containerd",
    "runc": "runc",
    "buildah": "buildah",
    "docker-registry": "docker-registry",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "debootstrap": "debootstrap",
    "ptp": "containernetworking-plugins",
}
_CNI_DIRECTORIES = ("/usr/lib/cni", "/opt/cni/bin")
_SYSTEM_PATH = os.pathsep.join(["/usr/sbin", "/sbin", "/usr/local/sbin"])


def ensure(programs: dict[str, str]) -> None:
    """Install the packages of the programs that are missing."""
    missing = sorted({package for program, package in programs.items() if not find(program)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"These Debian packages are needed, and there is no apt-get: {' '.join(missing)}")
    need_root(f"installing {' '.join(missing)}")
    # RUNLEVEL=1 keeps packages from starting their own containerd and registry as services.
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    with Step("installing Debian packages") as step:
        step.run(["apt-get", "update", "-q"], env=quiet)
        patient = ["-o", "DPkg::Lock::Timeout=600"]
        step.run(["apt-get", *patient, "install", "-q", "-y", "--no-install-recommends", *missing], env=quiet)


def unpacked(state: State, package: str) -> Path:
    """Return a folder with a package's files, of which nothing is installed and nothing started."""
    folder = state.cache / "debian" / package
    with locked(state, "-debian"):
        if not folder.exists():
            _unpack(package, folder)
    return folder


def _unpack(package: str, folder: Path) -> None:
    if not shutil.which("apt-get"):
        raise ClusterError(f"The Debian package {package} is needed, and there is no apt-get")
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    download = ["apt-get", "download", "-q", package]
    with Step(f"unpacking the Debian package {package}") as step:
        try:
            step.run(download, cwd=part)
        except ClusterError:  # lists that are old, or none
            need_root(f"asking for the list of Debian's packages, of which {package} is needed")
            step.run(["apt-get", "update", "-q"])
            step.run(download, cwd=part)
        (archive,) = part.glob("*.deb")
        step.run(["dpkg-deb", "--extract", archive, part])
        archive.unlink()
    part.rename(folder)


def need_root(purpose: str) -> None:
    """Raise unless this is root."""
    if os.geteuid() != 0:
        raise ClusterError(f"Root is needed for {purpose}. Run this as root, or set CLUSTER=current or CLUSTER=kind.")


def find(program: str) -> Path | None:
    """Find a program, also where only root's PATH looks."""
    places = os.pathsep.join([os.environ.get("PATH", ""), _SYSTEM_PATH, *_CNI_DIRECTORIES])
    found = shutil.which(program, path=places)
    return Path(found) if found else None


def path_of(program: str) -> Path:
    """Find a program that `ensure` has provided."""
    found = find(program)
    if found is None:
        raise ClusterError(f"{program} is neither on PATH nor in the usual places")
    return found
