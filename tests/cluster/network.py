"""Addresses of a local cluster, and the cable between this machine and its node."""

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.shell import run, succeeds

# Routes this wide (a default route, a whole private range) are overridden by ours without harm to anybody nearby.
_WIDEST_CONFLICT = 12


@dataclass(frozen=True)
class Network:
    """Three ranges that share one number, which differs between clusters on the same machine."""

    number: int

    @property
    def pods(self) -> str:
        """Addresses of pods."""
        return f"10.244.{self.number}.0/24"

    @property
    def services(self) -> str:
        """Addresses of Services."""
        return f"10.245.{self.number}.0/24"

    @property
    def link(self) -> str:
        """The two ends of the cable."""
        return f"10.246.{self.number}.0/30"

    @property
    def host(self) -> str:
        """This machine, as pods see it."""
        return f"10.246.{self.number}.1"

    @property
    def node(self) -> str:
        """The node: its API server, DNS and registry, seen from this machine and from pods."""
        return f"10.246.{self.number}.2"


def choose(identity: str) -> Network:
    """Start from the state directory's own number, and skip those whose ranges are in use."""
    routes = [route["dst"] for route in json.loads(run(["ip", "-j", "-4", "route", "show", "table", "all"]))]
    first = int(identity, 16)
    for step in range(256):
        network = Network((first + step) % 256)
        if not conflicts(network, routes):
            return network
    raise ClusterError("Every range 10.244.x.0/24 is in use on this machine (see `ip route`)")


def conflicts(network: Network, routes: Iterable[str]) -> bool:
    """Tell whether one of the network's ranges is already routed elsewhere."""
    ours = [ipaddress.ip_network(cidr) for cidr in (network.pods, network.services, network.link)]
    theirs = [ipaddress.ip_network(route, strict=False) for route in routes if route != "default"]
    return any(a.overlaps(b) for a in ours for b in theirs if b.prefixlen >= _WIDEST_CONFLICT)


def connect(network: Network, identity: str, node_pid: int) -> None:
    """Lay the cable to the node's namespace, and route pods and Services through it."""
    cable = cable_name(identity)
    run(["ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(node_pid)])
    run(["ip", "address", "add", f"{network.host}/30", "dev", cable])
    run(["ip", "link", "set", cable, "up"])
    inside = ["nsenter", "-t", str(node_pid), "-n", "ip"]
    run([*inside, "address", "add", f"{network.node}/30", "dev", "eth0"])
    run([*inside, "link", "set", "eth0", "up"])
    # Locally made connections to a Service need some route before their address is translated.
    run([*inside, "route", "add", network.services, "dev", "lo", "src", network.node])
    for cidr in (network.services, network.pods):
        run(["ip", "route", "add", cidr, "via", network.node, "dev", cable])


def is_connected(network: Network, identity: str) -> bool:
    """Tell whether the last of the steps of `connect` was done, and still holds."""
    routes = json.loads(run(["ip", "-j", "-4", "route", "show", network.pods]))
    return any(route["dev"] == cable_name(identity) for route in routes)


def disconnect(identity: str) -> None:
    """Take the cable away, should it have outlived the node's namespace."""
    if Path(f"/sys/class/net/{cable_name(identity)}").exists():
        # The kernel removes it on its own a moment after the namespace; then this finds nothing.
        succeeds(["ip", "link", "delete", cable_name(identity)])


def cable_name(identity: str) -> str:
    """The interface on this machine's side."""
    return f"sc-{identity}"
