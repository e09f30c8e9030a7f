"""Which weights of a model stay as they are when all others are trained."""

from typing import Any

import torch

from stagecoach.contract.inputs import Freeze
from stagecoach.contract.reports import BadInput, Problem


def freeze(model: Any, asked: Freeze | None) -> None:
    """Freeze embeddings and lowest layers. Raises BadInput when there are not as many layers, or nothing is left."""
    if asked is None:
        return
    layers = _layers(model)
    if asked.layers > len(layers):
        _refuse(asked, f"the base has {len(layers)} layers.", f"Freeze at most {len(layers)}.")
    if asked.embeddings:
        for module in _embeddings(model):
            module.requires_grad_(requires_grad=False)
    for layer in layers[: asked.layers]:
        layer.requires_grad_(requires_grad=False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        _refuse(asked, "nothing is left to train.", "Freeze fewer layers.")


def told(model: Any, asked: Freeze | None) -> str:
    """Return in words what was frozen."""
    if asked is None:
        return "Nothing: all weights were trained."
    parts = []
    if asked.embeddings:
        head = model.get_output_embeddings()
        tied = head is not None and head.weight is model.get_input_embeddings().weight
        parts.append("the embeddings, and the output head that shares them" if tied else "the embeddings")
    if asked.layers:
        parts.append(f"the lowest {asked.layers} of {len(_layers(model))} layers")
    return f"{' and '.join(parts)}; all other weights were trained.".capitalize()


def _layers(model: Any) -> Any:
    """Return the transformer's layers, from the input on: those of an encoder, then those of its decoder."""
    if model.config.is_encoder_decoder:
        return [layer for half in (model.get_encoder(), model.get_decoder()) for layer in _stack(half)]
    count = model.config.num_hidden_layers
    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) == count]
    return lists[0] if lists else torch.nn.ModuleList()


def _stack(half: Any) -> Any:
    return next(module for module in half.modules() if isinstance(module, torch.nn.ModuleList))


def _embeddings(model: Any) -> list[Any]:
    """Return all embeddings, with the normalization right behind them where the model keeps them in one module."""
    whole = [module for name, module in model.named_modules() if name.rpartition(".")[2] == "embeddings"]
    inside = {id(module) for layer in _layers(model) for module in layer.modules()}
    tables = [
        module for module in model.modules() if isinstance(module, torch.nn.Embedding) and id(module) not in inside
    ]
    return [*whole, *tables]


def _refuse(asked: Freeze, message: str, remedy: str) -> None:
    value = f"layers: {asked.layers}"
    raise BadInput(Problem.of("FreezeTooMuch", message, field="method.freeze", value=value, remedy=remedy))
