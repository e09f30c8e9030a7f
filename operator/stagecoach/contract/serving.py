"""The engine in a pod beside what asks it: where it listens, and how it hears what to serve.

The engine's container waits for a file that names what to serve, and serves that until the file says something else.
Whoever asks writes it when the model lies in the folder that both see: the engine needs no model while nobody asks.
"""

from stagecoach.contract import mounts

CONTAINER = "engine"
# Judged by, nobody outside of the pod reaches it; what serves listens on all addresses, and asks for a key.
HOST, EVERYWHERE, PORT = "127.0.0.1", "0.0.0.0", 8000  # noqa: S104 - a NetworkPolicy says who reaches it
ADAPTERS = f"{mounts.MODELS}/adapters"
# Arguments of the server, in one line. It is written whole, or not at all.
SERVE = f"{mounts.MODELS}/serve"
# The engine adds a line for each start of the server: what it was told to serve.
STARTS = f"{mounts.ENGINE}/starts"
# So many prompts are asked at a time by an evaluation.
AT_ONCE = 32
# Of adapters; the engine takes no others.
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
# The reasons of who lost the engine, or never had it.
LOST, NOT_READY = "EngineLost", "EngineNotReady"


def arguments(host: str) -> tuple[str, ...]:
    """Return what is the same wherever a release is served, but for the address at which the server listens.

    A model's own settings of generation, such as penalties for what was said already, would change answers: they are
    left out.
    """
    return ("--host", host, "--port", str(PORT), "--generation-config", "vllm", "--disable-uvicorn-access-log")


def rank(wanted: int) -> int | None:
    """Return the rank for which an engine has to be prepared, or None when it takes none as large."""
    return next((each for each in RANKS if each >= wanted), None)
