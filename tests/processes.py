"""Processes of pods, where these run on this machine, as those of the local cluster do."""

from pathlib import Path

GATEWAY, ENGINE = b"stagecoach_gateway", b"vllm.entrypoints.openai.api_server"


def of_pod(pod: str, program: bytes) -> int | None:
    """Return the process of a pod that runs a program, if there is one."""
    found = (each for each in Path("/proc").glob("[0-9]*") if _runs(each, pod, program))
    return next((int(each.name) for each in found), None)


def _runs(process: Path, pod: str, program: bytes) -> bool:
    try:
        words, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
    except OSError:  # it has ended
        return False
    return program in words.split(b"\0") and f"HOSTNAME={pod}".encode() in environment.split(b"\0")
