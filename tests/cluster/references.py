"""Which digest each loaded image has."""

import json

from tests.cluster.errors import ClusterError
from tests.cluster.paths import State


def remember(state: State, name: str, reference: str) -> str:
    """Write a reference down, and return it."""
    file = state.cache / "images.json"
    known = read(state)
    known[name] = reference
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(known, indent=2, sort_keys=True))
    return reference


def recall(state: State, name: str) -> str:
    """Return the reference of an image that was loaded."""
    known = read(state)
    if name not in known:
        loaded = ", ".join(sorted(known)) or "none"
        raise ClusterError(f"{name} was not loaded (loaded: {loaded}). Run: python -m tests.cluster load {name}")
    return known[name]


def read(state: State) -> dict[str, str]:
    """All references, by the name that was loaded."""
    file = state.cache / "images.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}
