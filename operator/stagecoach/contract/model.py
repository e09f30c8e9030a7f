"""The base of every document that crosses a process boundary."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class ContractModel(BaseModel):
    """An immutable document with camelCase keys that refuses what it does not know.

    An unknown key means that the two sides run different versions: guessing would be worse than stopping.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid", frozen=True
    )

    def document(self) -> dict[str, Any]:
        """Return the JSON form: camelCase keys, nothing that is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def line(self) -> str:
        """Return the JSON text on one line, as it goes into environment variables and termination messages."""
        return json.dumps(self.document(), ensure_ascii=False, separators=(",", ":"))


def canonical_json(document: Any) -> bytes:
    """Return the one byte string that stands for a JSON document, whoever writes it.

    Keys are sorted by code point, there is no white space, text is UTF-8. Raises ValueError for NaN and infinities,
    which have no JSON form.
    """
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
