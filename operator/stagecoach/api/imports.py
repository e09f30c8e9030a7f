"""What an import does not take: a field that would have no effect is refused, so that nobody relies on it."""

from typing import Any

from stagecoach.api.common import BaseModel, Enum, cel


def import_rules(hyperparameters: type[BaseModel], checkpoints: type[BaseModel]) -> tuple[dict[str, Any], ...]:
    """Return the rules of a run's spec about method.type Import."""
    return (
        cel("self.method.type == 'Import' || has(self.data)", "data.train is required: name data sets of split Train"),
        cel(
            "self.method.type != 'Import' || !has(self.data)",
            "an Import trains on nothing: leave out data, and name what it was trained on in method.trainedOn",
        ),
        cel(
            f"self.method.type != 'Import' || ({_untouched('hyperparameters', hyperparameters)})",
            "an Import trains nothing: leave out hyperparameters",
        ),
        cel(
            f"self.method.type != 'Import' || ({_untouched('checkpoints', checkpoints)})",
            "an Import saves no checkpoints: leave out checkpoints",
        ),
        cel(
            "self.method.type != 'Import' || (self.resources.nodes == 1 && self.resources.gpusPerNode == 0)",
            "an Import runs in one pod on the CPU: leave out resources.nodes and resources.gpusPerNode",
        ),
    )


def _untouched(name: str, model: type[BaseModel]) -> str:
    """Return the condition that every field is absent or has its default, which the API server writes out."""
    fields = {field.alias or key: field.default for key, field in model.model_fields.items()}
    return " && ".join(
        f"!has(self.{name}.{field})" if default is None else f"self.{name}.{field} == {_literal(default)}"
        for field, default in fields.items()
    )


def _literal(value: Any) -> str:
    return repr(value.value if isinstance(value, Enum) else value)
