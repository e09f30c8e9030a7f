"""An operator whose process, connections and clock faults can be done to."""

from pathlib import Path
from types import TracebackType
from typing import Self

from tests import deploy
from tests.cluster import packages
from tests.cluster.errors import ClusterError
from tests.integration.support.operator import OperatorProcess
from tests.integration.support.proxy import HoldingProxy

_LIBRARIES = "*/faketime/libfaketime.so.1"


class Operator:
    """A replica outside of the cluster, with an account of its own, behind a proxy, with a clock that can be set."""

    def __init__(self, name: str, kubeconfig: Path, directory: Path, images: deploy.Images) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._clock = directory / f"{name}.clock"
        self._kubeconfig = directory / f"{name}.through-proxy.kubeconfig"
        self._proxy = HoldingProxy(kubeconfig)
        self._arguments = (
            *("--trainer-image", images.trainer, "--evaluator-image", images.evaluator),
            *("--engine-cpu-image", str(images.engine), "--gateway-image", str(images.gateway)),
            *("--lease-namespace", deploy.OPERATOR_NAMESPACE, "--lease-name", deploy.RELEASE, "--log-level", "INFO"),
        )
        self.process: OperatorProcess | None = None

    def __enter__(self) -> Self:
        self._proxy.__enter__()
        self._proxy.kubeconfig(self._kubeconfig)
        self.set_clock(0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process is not None:
            self.process.end()
        self._proxy.__exit__(kind, error, at)

    def start(self) -> OperatorProcess:
        """Start it; it appends to its log."""
        environment = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_CACHE_DURATION": "1",
            # Steps are of the clock that people set, as by NTP; intervals go on as they are.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.process = OperatorProcess(self._kubeconfig, self.log, self._arguments, environment=environment)
        return self.process

    def running(self) -> OperatorProcess:
        """Return its process."""
        if self.process is None or self.process.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended by itself: see {self.log}")
        return self.process

    def leads(self) -> bool:
        """Whether it says that it leads; one that does not answer does not say so."""
        return self.process is not None and self.process.metric("stagecoach_leader") == 1

    def cut(self) -> None:
        """Break its connections."""
        self._proxy.cut()

    def set_clock(self, seconds: int) -> None:
        """Let its clock differ by so many seconds from now on."""
        self._clock.write_text(f"{seconds:+d}\n")


def library() -> Path:
    """Return the library that fakes a process' clock; it is installed if need be."""
    packages.ensure({"faketime": "faketime"})
    found = sorted(Path("/usr/lib").glob(_LIBRARIES))
    if not found:
        raise ClusterError("libfaketime is not where Debian's package faketime has it: /usr/lib/*/faketime")
    return found[0]
