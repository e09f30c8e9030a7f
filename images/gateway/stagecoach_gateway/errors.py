"""What goes wrong, as exceptions on the way and as OpenAI's error document on the wire."""

from collections.abc import Mapping

import orjson

from stagecoach.contract.gateway_errors import ERRORS

NO_NUMBER = "What the model computes for this is not a number."


class Refusal(Exception):
    """A request that gets an error for an answer."""

    def __init__(
        self, code: str, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.kind = ERRORS[code]
        self.message = message
        self.param = param
        self.headers = headers or {}

    @property
    def body(self) -> bytes:
        """The error document."""
        return orjson.dumps(self.document)

    @property
    def document(self) -> dict[str, object]:
        """The same, not yet text."""
        error = {"message": self.message, "type": self.kind.type, "param": self.param, "code": self.code}
        return {"error": error}


class Closing(Exception):
    """The client cannot be answered any more: it has left, or reads too slowly."""
