"""Which fields name a claim: whoever misspelt one is told where to look."""

from collections.abc import Mapping

from stagecoach.api.transformerproject import TransformerProjectSpec
from stagecoach.contract import uris

# As many as people look through; one mistake is mostly in all of them.
SHOWN = 3


def places(spec: TransformerProjectSpec) -> dict[str, str]:
    """Return the fields of a project that say where something lies, each with its URI."""
    return {
        **{f"candidates[{item.name}].model.uri": item.model.uri for item in spec.candidates},
        **{f"data.sets[{item.name}].uri": item.uri for item in spec.data.sets},
        "storage.uri": spec.storage.uri,
    }


def named_by(claim: str, fields: Mapping[str, str]) -> str:
    """Say which of these fields, each with its URI, name a claim; nothing when none does, or no claim is meant."""
    found = [field for field, uri in fields.items() if _claim(uri) == claim]
    if not found:
        return ""
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"It is named by {', '.join(found[:SHOWN])}{more}."


def _claim(uri: str) -> str | None:
    parsed = uris.parse(uri)
    return parsed.name if parsed.scheme == "pvc" else None
