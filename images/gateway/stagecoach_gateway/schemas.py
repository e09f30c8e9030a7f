"""JSON Schema: bodies in, answers out."""

from typing import Any

from stagecoach.contract.schemas import validator
from stagecoach_gateway.errors import Refusal


class Schema:
    """A compiled schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._validator = validator(schema)

    def check(self, body: Any) -> None:
        """Raise Refusal when a request's body does not fulfil it."""
        if not self._validator.is_valid(body):
            error = next(self._validator.iter_errors(body))
            place = ".".join(map(str, error.instance_path))
            raise Refusal("invalid_request", f"{place or 'body'}: {error.message}"[:500], param=place or None)

    def wrong(self, answer: Any) -> str | None:
        """Return what an answer does not fulfil, or None."""
        if self._validator.is_valid(answer):
            return None
        error = next(self._validator.iter_errors(answer))
        return f"{'.'.join(map(str, error.instance_path)) or 'answer'}: {error.message}"[:300]
