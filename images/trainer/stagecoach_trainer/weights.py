"""Files of weights: whether all is there that their headers tell of. No torch in here.

A copy that was cut short, or whose disk was full, has the right name; a library sees it hours later, in the run.
"""

import json

from stagecoach.contract.store import Store

# A length before the header, and the most that the format allows for a header.
LENGTH_BYTES, MAX_HEADER_BYTES = 8, 100_000_000


def fault(store: Store, name: str) -> str | None:
    """Return in words what is wrong with a file of safetensors, or None."""
    there = store.size(name)
    with store.open(name) as stream:
        length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
        if not 0 < length <= min(MAX_HEADER_BYTES, there - LENGTH_BYTES):
            return f"its {name} does not begin as safetensors do, or is cut off ({there:,} bytes)"
        header = stream.read(length)
    try:
        tensors = json.loads(header)
        ends = [tensor["data_offsets"][1] for key, tensor in tensors.items() if key != "__metadata__"]
        told = LENGTH_BYTES + length + max(ends, default=0)
    except (ValueError, RecursionError, AttributeError, KeyError, IndexError, TypeError):
        return f"the header of its {name} is broken"
    return None if told == there else f"its {name} has {there:,} bytes, and by its header {told:,}"
