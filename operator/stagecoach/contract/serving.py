"""The engine in a pod beside what asks it: where it listens, and how it hears what to serve.

The engine's container waits for a file that names what to serve, and serves that until the file says something else.
Whoever asks writes it when the model lies in the folder that both see: the engine needs no model while nobody asks.
"""

from stagecoach.contract import mounts

CONTAINER = "engine"
# Nobody outside of the pod reaches it.
HOST, PORT = "127.0.0.1", 8000
ADAPTERS = f"{mounts.MODELS}/adapters"
# Arguments of the server, in one line. It is written whole, or not at all.
SERVE = f"{mounts.MODELS}/serve"
# The engine adds a line for each start of the server: what it was told to serve.
STARTS = f"{mounts.ENGINE}/starts"
# So many prompts are asked at a time.
AT_ONCE = 32
# What is the same wherever a release is served. A model's own settings of generation, such as penalties for what was
# said already, would change answers: they are left out.
ARGUMENTS = (
    *("--host", HOST, "--port", str(PORT), "--generation-config", "vllm"),
    *("--max-num-seqs", str(AT_ONCE), "--disable-uvicorn-access-log"),
)
# Of adapters; the engine takes no others.
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
# The reasons of an evaluator that lost its engine, or never had it.
LOST, NOT_READY = "EngineLost", "EngineNotReady"
