"""Bases whose weights are held in 4 bits while an adapter is trained beside them (QLoRA), quantized by bitsandbytes.

What is published is an adapter for the base as it is. What its weights become in 4 bits depends on library and device.
"""

import math
import os
from importlib.metadata import version
from typing import Any

import torch
from transformers import BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.base import get_keys_to_not_convert
from transformers.quantizers.quantizers_utils import should_convert_module

from stagecoach.contract.records import Quantization
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer.bases import Base
from stagecoach_trainer.families import pretrained

TYPE = "nf4"
STORAGE = "uint8"
# Numbers with one scale. On a CPU with AVX-512, bitsandbytes takes wrong scales when a row ends within a block.
BLOCK = 64
# Of the weights in a model's layers, at least as many have to fit: or there is no memory to be saved.
ENOUGH = 0.5
STATEMENT = (
    "In training the base's linear layers were held in 4 bits, and the losses are those of that base. The adapter is"
    " compared, and to be served, beside the base as it is."
)


def load(kind: Any, skeleton: Any, base: Base, precision: str, devices: int) -> Any:
    """Return the base, its linear layers quantized one by one as they are read; no other copy of it is ever whole.

    The `skeleton` is the same model without weights. Raises BadInput when most of its weights cannot be quantized.
    """
    left = _left(skeleton)
    _check(skeleton, left, base)
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=TYPE,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_quant_storage=STORAGE,
        bnb_4bit_compute_dtype=precision,
        llm_int8_skip_modules=sorted(left),
    )
    # Quantized weights cannot be moved later; by default all processes of a pod would take the first GPU.
    place = int(os.environ.get("LOCAL_RANK", "0")) if devices else "cpu"
    model = pretrained(kind, base.folder, precision, quantization_config=settings, device_map={"": place}).model
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # Else an evaluation on such a CPU would round the scales for good, and no gradient pass after it.
            module.support_avx512bf16_for_cpu = False
    return model


def told(model: Any, precision: str) -> Quantization | None:
    """Return how the weights of a model were quantized, if any were."""
    sizes = [size(parameter) for parameter in model.parameters() if _is_quantized(parameter)]
    if not sizes:
        return None
    return Quantization(
        type=TYPE,
        double=True,
        block=BLOCK,
        storage=STORAGE,
        compute=precision,
        library=f"bitsandbytes {version('bitsandbytes')}",
        layers=len(sizes),
        parameters=sum(sizes),
        statement=STATEMENT,
    )


def size(parameter: Any) -> int:
    """Return how many numbers a parameter stands for: two of 4 bits are in one byte."""
    return math.prod(parameter.quant_state.shape) if _is_quantized(parameter) else parameter.numel()


def _is_quantized(parameter: Any) -> bool:
    return getattr(parameter, "quant_state", None) is not None


def _left(skeleton: Any) -> set[str]:
    """Return the modules that are not quantized: output head, what shares weights, and rows that blocks do not fit."""
    odd = {name for name, module in skeleton.named_modules() if _is_linear(module) and _row(module) % BLOCK}
    return odd | {str(name) for name in get_keys_to_not_convert(skeleton)} | set(skeleton._keep_in_fp32_modules or ())


def _is_linear(module: Any) -> bool:
    return type(module) is torch.nn.Linear or isinstance(module, Conv1D)


def _row(module: Any) -> int:
    return int(module.weight.shape[0] if isinstance(module, Conv1D) else module.in_features)


def _check(skeleton: Any, left: set[str], base: Base) -> None:
    """Raise BadInput when most of the weights would stay as they are: such as those of experts, which are no layers."""
    outside = {id(skeleton.get_output_embeddings()), id(skeleton.get_input_embeddings())}
    fits, others = 0, {}
    for name, module in skeleton.named_modules():
        matrices = [item for item in module.parameters(recurse=False) if item.dim() > 1]
        if id(module) in outside or isinstance(module, torch.nn.Embedding) or not matrices:
            continue
        count = sum(matrix.numel() for matrix in matrices)
        if _is_linear(module) and should_convert_module(name, sorted(left)):
            fits += count
        else:
            others[name] = count
    whole = fits + sum(others.values())
    if whole == 0 or fits < ENOUGH * whole:
        most = max(others, key=lambda name: others[name], default="")
        message = (
            f"bitsandbytes can hold {100 * fits // max(1, whole)} % of the weights of {base.architecture}'s layers in 4"
            f" bits: linear layers, with rows that are a multiple of {BLOCK} numbers. Most of the others are in {most}."
        )
        remedy = "Create a run with LoRA, or select another candidate."
        raise BadInput(Problem.of("MethodUnsuited", message, field="method.type", value="QLoRA", remedy=remedy))
