"""JSON merge patches (RFC 7386)."""

from typing import Any

Document = dict[str, Any]


def merge_patch(before: Document, after: Document) -> Document:
    """Return the patch that makes `after` of `before`: empty when they are equal, null where a key went.

    A None in `after` means that the key is absent, as it does in the patch's own language.
    """
    patch: Document = {key: None for key, value in before.items() if value is not None and after.get(key) is None}
    for key, value in after.items():
        if value is None or value == before.get(key):
            continue
        old = before.get(key)
        patch[key] = merge_patch(old, value) if isinstance(old, dict) and isinstance(value, dict) else _clean(value)
    return patch


def _clean(value: Any) -> Any:
    """Drop None from dictionaries: a null inside a list, or in a new dictionary, would be stored or refused."""
    if isinstance(value, dict):
        return {key: _clean(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return value
