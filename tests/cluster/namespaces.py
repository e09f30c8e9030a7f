"""The namespaces in which a local cluster's processes live.

One process holds a network, a mount and a process namespace open, and the whole node runs inside.
So nothing of it (ports, interfaces, packet filter rules, mounts) can collide with this machine or
with another cluster, and when the holder ends the kernel ends and removes everything else.
"""

from pathlib import Path

from tests.cluster import network
from tests.cluster.network import Network
from tests.cluster.processes import Process, Processes

HOLDER = "pause"

# Paths that containerd, the kubelet and CNI plugins insist on are emptied in the node's own view.
_SETUP = """
set -eu
mount --make-rshared /
for directory in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 node "$directory"; done
mkdir -p /run/lock /run/netns
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
exec "$0"
"""


def ensure(processes: Processes, pause: Path, identity: str, addresses: Network) -> list[str]:
    """Start the holder if need be; return the command prefix that runs a program inside."""
    holder = processes.find(HOLDER)
    if holder is None or not network.is_connected(addresses, identity):
        # What ran inside died with the holder, or a start was cut off between the two.
        processes.end_all()
        network.disconnect(identity)
        holder = _start(processes, pause)
        network.connect(addresses, identity, holder.pid)
    return enter(holder.pid)


def _start(processes: Processes, pause: Path) -> Process:
    new = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    processes.start([pause], prefix=[*new, "sh", "-c", _SETUP])
    processes.wait(HOLDER, lambda: processes.find(HOLDER) is not None)
    holder = processes.find(HOLDER)
    if holder is None:
        raise processes.failed(HOLDER, "ended")
    return holder


def enter(holder: int) -> list[str]:
    """Run a program as if it was on the node."""
    return ["nsenter", "-t", str(holder), "-n", "-m", "-p"]
