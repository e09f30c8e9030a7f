"""A model of which several processes hold a part each: FSDP2, as transformers shards a base while it is read.

Of an adapter's base only the frozen weights are shared out: the adapter is whole in each process, and saved as ever.
Where the weights are trained themselves, none of the processes ever holds all of them: checkpoints are written tensor
by tensor. transformers itself has no way to save and resume such a training.
"""

import gc
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from safetensors import safe_open
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.distributed import DistributedConfig

from stagecoach.contract import progress
from stagecoach.contract.inputs import RunInputs
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer import cgroup, modules
from stagecoach_trainer.bases import Base
from stagecoach_trainer.families import freezing

FIELD = "resources.sharding"
# What a pod has in its memory beside a model, at the least: the libraries.
BESIDE_BYTES = 2**30
# What the writing process holds of a checkpoint at a time.
PART_BYTES = 2 * 10**9
OPTIMIZER, GROUPS = "optimizer", "optimizer-groups.pt"
ADAPTER_TOLD = (
    "Full: of every weight of the base each of the {} processes held a part, by PyTorch's FSDP2; each held the whole"
    " adapter and its optimizer's state."
)
MODEL_TOLD = (
    "Full: of every weight, its gradient and its optimizer's state each of the {} processes held a part, by PyTorch's"
    " FSDP2."
)


def options(inputs: RunInputs, base: Base, precision: str) -> dict[str, Any]:
    """Return how a decoder is loaded where its weights are shared out. Raises BadInput when they cannot be."""
    if inputs.sharding is None:
        return {}
    _check(modules.skeleton(base), inputs, base, precision)
    return {"distributed_config": DistributedConfig(fsdp_size=inputs.processes)}


def told(inputs: RunInputs, *, adapter: bool) -> str | None:
    """Return in words what was shared out."""
    if inputs.sharding is None:
        return None
    return (ADAPTER_TOLD if adapter else MODEL_TOLD).format(inputs.processes)


def shares(parameters: Iterable[Any]) -> bool:
    """Whether of some of these parameters each process holds a part."""
    return any(isinstance(parameter, DTensor) for parameter in parameters)


def beside_parts(model: Any) -> dict[str, Any] | None:
    """Return the state of a model without the weights that are shared out; None when none are.

    To take an adapter out of it PEFT would gather all of the base, for which the other processes are no longer there.
    """
    if not shares(model.parameters()):
        return None
    return {name: tensor for name, tensor in model.state_dict().items() if not isinstance(tensor, DTensor)}


def let_go(trainer: Any) -> None:
    """Free what a trainer has in memory, when the training is over: its model, and the optimizer's state."""
    handler = trainer.callback_handler
    trainer.model = trainer.model_wrapped = trainer.optimizer = trainer.lr_scheduler = None
    handler.model = handler.optimizer = handler.lr_scheduler = None
    trainer.accelerator.free_memory()
    gc.collect()  # FSDP2's hooks refer to what they belong to


def settle(model: Any) -> None:
    """Give up what an evaluation has left gathered: then parameters are those that the optimizer knows."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def write(folder: Path, name: str, tensors: Iterable[tuple[str, Any]], *, writes: bool) -> None:
    """Write tensors whole, in files of limited size: all processes bring their parts, and one of them `writes`."""
    part: dict[str, Any] = {}
    number = size = 0
    for key, tensor in tensors:
        whole = (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach()
        progress.made()
        if not writes:
            continue
        if part and size + whole.nbytes > PART_BYTES:
            safetensors.torch.save_file(part, folder / f"{name}-{number:05}.safetensors")
            part, number, size = {}, number + 1, 0
        part[key] = whole.cpu().contiguous()
        size += whole.nbytes
    if part:
        safetensors.torch.save_file(part, folder / f"{name}-{number:05}.safetensors")


def read(folder: Path, name: str) -> Iterator[tuple[str, Any]]:
    """Return the tensors in the files of this name, one after the other."""
    for path in sorted(folder.glob(f"{name}*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - it is no dictionary
                yield key, file.get_tensor(key)
                progress.made()


def like(whole: Any, parameter: Any) -> Any:
    """Return of a tensor what this process holds of the parameter that it is for."""
    if not isinstance(parameter, DTensor) or whole.shape != parameter.shape:
        return whole
    mesh, placements = parameter.device_mesh, parameter.placements
    # Every process has read it itself: nothing has to be sent.
    return distribute_tensor(whole.to(parameter.device), mesh, placements, src_data_rank=None)


def save_optimizer(optimizer: Any, folder: Path, *, writes: bool) -> None:
    """Write the optimizer's state, with parameters by their numbers as in torch's own."""
    state = optimizer.state_dict()
    tensors = ((f"{number}.{key}", value) for number, values in state["state"].items() for key, value in values.items())
    write(folder, OPTIMIZER, tensors, writes=writes)
    if writes:
        torch.save(state["param_groups"], folder / GROUPS)


def load_optimizer(optimizer: Any, folder: Path) -> None:
    """Restore the optimizer's state."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, whole in read(folder, OPTIMIZER):
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = like(whole, parameters[int(number)])
    groups = torch.load(folder / GROUPS, weights_only=True)
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _check(skeleton: Any, inputs: RunInputs, base: Base, precision: str) -> None:
    if not _has_layers(skeleton):
        message = f"transformers' plan of how to shard {base.architecture} finds no layers in it."
        remedy = "Create a run without sharding, or with another candidate, such as a Llama, Mistral, Qwen or Gemma."
        raise BadInput(Problem.of("ShardingUnsuited", message, field=FIELD, value="Full", remedy=remedy))
    if inputs.method.type != "Full":
        return
    _check_memory(skeleton, precision)
    freezing.freeze(skeleton, inputs.method.freeze)
    for name in _uneven(skeleton, cast(int, inputs.processes)):
        # FSDP2 pads such parts, each place of the weight apart: one of them would never see what the other has learned.
        message = (
            f"{name} is used in two places of {base.architecture}, and its rows are no multiple of"
            f" {inputs.processes} processes."
        )
        remedy = "Create a run with another number of processes, with method.freeze.embeddings, or without sharding."
        raise BadInput(Problem.of("ShardingUnsuited", message, field=FIELD, value="Full", remedy=remedy))


def _check_memory(skeleton: Any, precision: str) -> None:
    """Raise BadInput when what is published would not fit in memory: that is after the last step, and loses them all.

    No pod but that of index 0 needs it, and all have the same.
    """
    weights = sum(parameter.numel() for parameter in skeleton.parameters())
    needed, there = weights * getattr(torch, precision).itemsize + BESIDE_BYTES, cgroup.memory_limit()
    if needed <= there:
        return
    message = (
        f"in the end the pod of index 0 has the whole model in its memory, {weights:,} weights in {precision}: with the"
        f" libraries that is {needed / 2**30:.1f} GiB."
    )
    remedy = f"Create a run with a memory of {math.ceil(needed / 2**30)}Gi or more"
    remedy += (
        ", or with LoRA." if precision == "bfloat16" else ", with hyperparameters.precision bfloat16, or with LoRA."
    )
    value = f"{there / 2**30:.1f}Gi"
    raise BadInput(Problem.of("MemoryTooSmall", message, field="resources.memory", value=value, remedy=remedy))


def _has_layers(model: Any) -> bool:
    """Whether the plan names the layers of a model: else it would be gathered as one, and none of it be saved."""
    layers = [re.escape(rule).replace(r"\*", r"\d+") for rule in model.fsdp_plan if rule.endswith(".*")]
    return any(re.fullmatch(layer, name) for name, _ in model.named_modules() for layer in layers)


def _uneven(model: Any, processes: int) -> list[str]:
    """Return the trained weights that several modules have in common and that do not divide evenly."""
    seen: set[int] = set()
    found = []
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in seen and parameter.requires_grad and parameter.shape[0] % processes:
            found.append(name)
        seen.add(id(parameter))
    return found
