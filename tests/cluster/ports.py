"""Free ports of the loopback interface."""

import random
import socket

# Below those that the kernel hands out: a server that is started again would find its port taken by somebody's connection.
PORTS = range(20000, 32768)


def free(count: int) -> list[int]:
    """Find ports that nobody listens on, all different."""
    drawn = random.SystemRandom().sample(PORTS, len(PORTS))
    return [port for _, port in zip(range(count), filter(is_free, drawn), strict=False)]


def is_free(port: int) -> bool:
    """Tell whether somebody could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
