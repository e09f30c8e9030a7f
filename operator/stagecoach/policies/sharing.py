"""Whether pods on several nodes can all mount a claim: by its access modes, whatever its driver would let pass."""

from collections.abc import Mapping
from dataclasses import dataclass

MANY = "ReadWriteMany"
READ_MANY = "ReadOnlyMany"


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim as it was seen. `modes` None: there is none of this name."""

    modes: tuple[str, ...] | None


def refusal(name: str, claim: Claim, *, written: bool, nodes: int) -> str:
    """Return why pods on so many nodes cannot share a claim, and what to do, or nothing when they can.

    ReadWriteOnce lets several pods of one node in, and which node a pod gets is not ours to choose: it is refused even
    where it would happen to work.
    """
    if claim.modes is None:
        return f"There is no PersistentVolumeClaim {name!r}. Create it with accessModes [{MANY}]."
    if MANY in claim.modes or (READ_MANY in claim.modes and not written):
        return ""
    use = "the project's storage, which the pod of every node writes" if written else "read by the pod of every node"
    or_else = "" if written else f" or [{READ_MANY}]"
    return (
        f"PersistentVolumeClaim {name!r} has accessModes [{', '.join(claim.modes)}], and it is {use}: with"
        f" resources.nodes {nodes} it has to be [{MANY}]{or_else}, of a StorageClass that has it. Move what is in it to"
        " such a claim, or to an s3:// or gs:// place; or delete this run and create one with resources.nodes 1: of as"
        " many processes it has the same inputs, and would wait for this one."
    )


def first_refusal(uses: Mapping[str, bool], claims: Mapping[str, Claim], nodes: int) -> str:
    """Return the first refusal of these claims, each with whether it is written."""
    told = (refusal(name, claims[name], written=written, nodes=nodes) for name, written in uses.items())
    return next((words for words in told if words), "")
