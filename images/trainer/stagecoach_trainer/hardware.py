"""What this process runs on and with."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from stagecoach.contract.records import Hardware, Software
from stagecoach_trainer import cgroup

PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "tokenizers", "safetensors", "numpy")


def hardware(threads: int, devices: int, nodes: int = 1) -> Hardware:
    """Return the machine's description as far as it decides speed and numbers."""
    gpu = torch.cuda.get_device_properties(0) if devices else None
    return Hardware(
        cpu=_cpu_name(),
        threads=threads,
        memory_bytes=cgroup.memory_limit(),
        nodes=nodes if nodes > 1 else None,
        gpu=gpu.name if gpu else None,
        gpu_memory_bytes=gpu.total_memory if gpu else None,
    )


def software(image: str) -> Software:
    """Return image, Python, platform, and the versions of the libraries that decide the result."""
    found = {name: _version(name) for name in PACKAGES}
    return Software(image=image, python=platform.python_version(), platform=platform.platform(), packages=found)


def cpu_hours() -> float:
    """Return the CPU time that this process has used so far."""
    used = os.times()
    return (used.user + used.system) / 3600


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
