"""Where everything lies: one directory, with caches kept apart from what runs."""

import contextlib
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).resolve().parent / "k8s"
BASE_IMAGE_SOURCES = REPOSITORY / "images" / "base"

# A unix socket's path has at most 107 bytes; the longest suffix below a run directory takes 40 of them.
_LONGEST_STATE = 60
# The node's processes see a private, empty directory in these places.
_HIDDEN_FROM_THE_NODE = (Path("/run"), Path("/var/lib"), Path("/var/log"), Path("/var/run"))


@dataclass(frozen=True)
class State:
    """The state directory and the names derived from it."""

    root: Path

    @classmethod
    def from_environment(cls) -> "State":
        """Use STAGECOACH_STATE, or ~/.cache/stagecoach."""
        named = os.environ.get("STAGECOACH_STATE")
        root = Path(named).expanduser() if named else Path.home() / ".cache" / "stagecoach"
        return cls(root.resolve())

    @property
    def bin(self) -> Path:
        """Programs for people: kubectl and helm."""
        return self.root / "bin"

    @property
    def cache(self) -> Path:
        """What is slow to make again: survives `down`, not `down --purge`."""
        return self.root / "cache"

    @property
    def built(self) -> Path:
        """The programs that were built from Go modules."""
        return self.cache / "bin"

    @property
    def lock(self) -> Path:
        """Held by whoever changes this state."""
        return self.root / "lock"

    def run(self, name: str) -> Path:
        """Everything of one running cluster: removed by `down`."""
        return self.root / "run" / name

    @property
    def identity(self) -> str:
        """A short name that differs between state directories."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:8]

    def purge(self) -> None:
        """Remove everything that this package has ever put here, and nothing else."""
        # A build that was killed leaves the storage of images mounted on itself.
        for mounted in reversed(_mounted_below(self.root)):
            subprocess.run(["umount", mounted], check=True)
        for directory in (self.root / "run", self.bin, self.cache):
            remove_tree(directory)
        for lock in self.root.glob(f"{self.lock.name}*"):
            lock.unlink()
        with contextlib.suppress(OSError):
            self.root.rmdir()

    def check_usable_by_a_node(self) -> None:
        """Fail early where a node could not work from this directory."""
        if len(str(self.root)) > _LONGEST_STATE:
            raise ClusterError(
                f"The state directory {self.root} has a path of more than {_LONGEST_STATE} characters, which does not "
                "leave room for socket names. Set STAGECOACH_STATE to a shorter one."
            )
        for hidden in _HIDDEN_FROM_THE_NODE:
            if self.root.is_relative_to(hidden):
                raise ClusterError(
                    f"The state directory {self.root} lies under {hidden}, which the node replaces with an empty "
                    "directory of its own. Set STAGECOACH_STATE to another place."
                )


def _mounted_below(directory: Path) -> list[str]:
    """Return what is mounted there, in the order of mounting; nothing on a machine without /proc."""
    table = Path("/proc/self/mounts")
    # Spaces in it are \040: a directory with one is not found here, and cannot be removed then.
    places = [line.split()[1] for line in table.read_text().splitlines()] if table.exists() else []
    return [place for place in places if Path(place).is_relative_to(directory)]


def remove_tree(directory: Path) -> None:
    """Remove a directory, of which processes that are just ending may still write parts."""
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        shutil.rmtree(directory)
