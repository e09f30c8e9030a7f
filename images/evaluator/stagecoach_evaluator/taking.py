"""What the engine vLLM takes: which version of it was tested, which models, adapters, and formats of numbers."""

import json
import re
import struct
from pathlib import Path
from typing import Any

from stagecoach.contract import mounts, readings, serving
from stagecoach.contract.inputs import Family, OfTask
from stagecoach.contract.readings import Reads
from stagecoach.contract.releases import Precision
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_evaluator import laying
from stagecoach_trainer import bases, pooling
from stagecoach_trainer.bases import Base

BY_TRANSFORMERS = "Set the project's spec.inference.engine to Transformers."
NUMBERS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
# Encoders are read whole: their prompts are not cut into several steps.
TOKENS_AT_ONCE = 8192
# Of vLLM. Its arguments, the ranks that it takes, how it loads adapters and what it answers were tested with this one.
OLDEST = (0, 32)


def words(name: str, limit: int, precision: Precision) -> list[str]:
    """Return what the server is told of a model that is laid: all that changes its answers, and its limit."""
    told = ["--model", f"{mounts.MODELS}/{name}", "--served-model-name", name, "--max-model-len", str(limit)]
    return [*told, "--dtype", numbers(precision, laying.models() / name)]


def of_an_encoder(what: Reads, base: Base, limit: int) -> list[str]:
    """Return what the server is told beside: what is made of a text, whatever the model's files say of it."""
    told = ["--runner", "pooling", "--max-num-batched-tokens", str(max(limit, TOKENS_AT_ONCE))]
    if what is Reads.LABELS:
        return [*told, "--hf-overrides.problem_type", "single_label_classification"]
    mode = (base.pooling or pooling.MEAN).upper()
    made = ["--pooler-config.pooling_type", mode, "--pooler-config.use_activation", "true"]
    return [*told, *made, "--hf-overrides.architectures+", _family(base.architecture) + readings.PLAIN]


def check_task(of: OfTask, name: str) -> None:
    """Raise BadInput for what the engine is not asked: tags, and texts by an encoder-decoder."""
    if of.family is Family.DECODER or readings.reads(of):
        return
    message = (
        "the engine vLLM is asked for decoders, and for encoders that choose a label for a text or make a vector of it;"
        f" {name} is for {of.task}, by architecture {of.family}."
    )
    raise BadInput(Problem.of("EngineUnsuited", message, remedy=BY_TRANSFORMERS))


def check_adapter(of: OfTask) -> None:
    """Raise BadInput for an adapter of an encoder."""
    if readings.reads(of):
        message = "the engine vLLM is not asked for an adapter of an encoder here."
        remedy = f"Merge it into its base and import that as a whole model. {BY_TRANSFORMERS}"
        raise BadInput(Problem.of("EngineUnsuited", message, remedy=remedy))


def check_base(of: OfTask, base: Base) -> None:
    """Raise BadInput for a base whose weights the engine does not find, to make vectors by."""
    name = base.architecture
    if readings.reads(of) is not Reads.VECTORS or readings.makes_vectors(name):
        return
    message = f"the engine vLLM makes no vectors by a base that is stored as {name}, only by what was trained from it."
    plain = _family(name) + readings.PLAIN
    remedy = f"Leave out the criteria against Baseline, or select a base of {plain}. {BY_TRANSFORMERS}"
    raise BadInput(Problem.of("EngineUnsuited", message, field=f"{bases.field_of(base.source)}.uri", remedy=remedy))


def _family(architecture: str) -> str:
    """Return how the classes of an encoder's family begin."""
    end = next(end for end in bases.ENCODER_SUFFIXES if architecture.endswith(end))
    return architecture.removesuffix(end)


def check_version(version: str, engine: str) -> None:
    """Raise BadInput for an engine that does not say its version, or is older than what was tested."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and tuple(map(int, found.groups())) >= OLDEST:
        return
    oldest = ".".join(map(str, OLDEST))
    message = f"{engine} says version {version!r}, and nothing before vLLM {oldest} was tested."
    remedy = (
        f"Whoever installed the operator sets engine.image of the chart, or engineCpu.image, to vLLM {oldest} or later."
    )
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
