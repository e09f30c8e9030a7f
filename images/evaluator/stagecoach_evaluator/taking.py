"""What the engine vLLM takes: which version of it was tested, which adapters, and which formats of numbers."""

import json
import re
import struct
from pathlib import Path
from typing import Any

from stagecoach.contract import mounts, serving
from stagecoach.contract.releases import Precision
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_evaluator import laying
from stagecoach_trainer import bases

BY_TRANSFORMERS = "Set the project's spec.inference.engine to Transformers."
NUMBERS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
# Of vLLM. Its arguments, the ranks that it takes, how it loads adapters and what it answers were tested with this one.
OLDEST = (0, 32)


def words(name: str, limit: int, precision: Precision) -> list[str]:
    """Return what the server is told of a model that is laid: all that changes its answers, and its limit."""
    told = ["--model", f"{mounts.MODELS}/{name}", "--served-model-name", name, "--max-model-len", str(limit)]
    return [*told, "--dtype", numbers(precision, laying.models() / name)]


def check_version(version: str, engine: str) -> None:
    """Raise BadInput for an engine that does not say its version, or is older than what was tested."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and tuple(map(int, found.groups())) >= OLDEST:
        return
    oldest = ".".join(map(str, OLDEST))
    message = f"{engine} says version {version!r}, and nothing before vLLM {oldest} was tested."
    remedy = f"Whoever installed the operator sets engine.image of the chart to vLLM {oldest} or later."
    raise BadInput(Problem.of("EngineUnsuited", message, remedy=remedy))


def rank(config: Path, remedy: str = BY_TRANSFORMERS) -> int:
    """Return the rank of an adapter. Raises BadInput for one that the engine does not take."""
    found: dict[str, Any] = json.loads(config.read_text())
    others = (
        ("peft_type", found.get("peft_type") != "LORA"),
        ("use_dora", found.get("use_dora")),
        ("modules_to_save", found.get("modules_to_save")),
        # The engine has one rank for all modules, and reads neither.
        ("rank_pattern", found.get("rank_pattern")),
        ("alpha_pattern", found.get("alpha_pattern")),
    )
    known = found.get("r") or 0
    wrong = next((name for name, other in others if other), None) or (None if serving.rank(known) else "r")
    if wrong:
        message = f"the adapter's {wrong} is {found.get(wrong)}, which the engine vLLM does not take."
        raise BadInput(Problem.of("EngineUnsuited", message, remedy=remedy))
    return int(known)


def numbers(precision: Precision, folder: Path) -> str:
    """Return the number format: as the model's files say, as transformers reads them; vLLM's own `auto` is another.

    Raises BadInput for any other word: it becomes an argument in a command line.
    """
    if precision is not Precision.AUTO:
        return precision.value
    config = json.loads((folder / bases.CONFIG).read_text())
    said = config.get("dtype") or config.get("torch_dtype")
    if not said:
        return _of_weights(folder)
    word = str(said).removeprefix("torch.")
    if word not in NUMBERS.values():
        message = (
            f"dtype in the model's {bases.CONFIG} is {word[:60]!r}, and the engine takes {', '.join(NUMBERS.values())}."
        )
        remedy = f"Set the project's spec.inference.precision to one of these. {BY_TRANSFORMERS}"
        raise BadInput(Problem.of("EngineUnsuited", message, remedy=remedy))
    return word


def _of_weights(folder: Path) -> str:
    """Return the number format of the first weights that are fractions."""
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        kinds = [each["dtype"] for name, each in header.items() if name != "__metadata__"]
        if found := next((NUMBERS[kind] for kind in kinds if kind in NUMBERS), None):
            return found
    return "float32"
