"""Specs of a kind, drawn from its schema: valid ones that are changed in a few places, for better or worse.

The schema's cross-field rules make a spec that is drawn as a whole almost never valid. So a draw begins with one that
is known to be taken, and changes it at one to three places of the schema: another value that the place allows, one that
it does not, nothing, or something that nobody knows.
"""

import ast
import copy
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

Object = dict[str, Any]
Draw = st.DrawFn
Values = st.SearchStrategy[Any]

_WHOLE = re.compile(r"^self\.matches\('(.*)'\)$")
_EACH_KEY = re.compile(r"^self\.all\(key, .*key\.matches\('(.*)'\)\)$")
_ONE_OF = re.compile(r"^self in (\[.*\])$")
# Longer than what a rule of a whole spec can be asked about, or than anything should be.
_HUGE = 100_000
# Of the wrong type for most places, and odd for the others.
ODD: Sequence[Any] = (
    *(None, True, 0, -1, 1.5, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 1e30, 1e308, 5e-324, -0.0),
    *("", " ", "0", "null", "\x00", "é\u202e😀\ufeff", "{text}", "$(HOME)", "../..", "x" * _HUGE, "😀" * 10_000),
    *([], {}, [None], [[]], {"a": {}}, [{"name": "a"}] * 2, [""] * 1000),
)
_GOOD = ("allowed",)
_ANY = ("allowed", "odd", "outside", "gone", "unknown")
_SUFFIXES = ("\n", " ", "/", "/..", "%2e", "é", "\x00", "A", "-", "x" * 600)


def drawn(values: Values, count: int, seed: int) -> list[Any]:
    """Return so many draws, the same for the same seed."""
    found: list[Any] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(values)
    def collect(each: Any) -> None:
        found.append(each)

    collect()
    return found


def specs(schema: Object, seeds: Sequence[Object]) -> Values:
    """Return specs: those that are known to be taken, changed at up to three places."""

    @st.composite
    def changed(draw: Draw) -> Object:
        spec = copy.deepcopy(draw(st.sampled_from(seeds)))
        ways = draw(st.sampled_from([_GOOD, _GOOD, _ANY]))
        for _ in range(draw(st.integers(1, 3))):
            _change(draw, draw(st.sampled_from(list(_places(schema, spec)))), draw(st.sampled_from(ways)))
        return spec

    return changed()


@dataclass(frozen=True)
class _Place:
    """Where a value is, or could be."""

    parent: Any
    key: Any
    schema: Object

    @property
    def there(self) -> bool:
        return isinstance(self.parent, list) or self.key in self.parent


def _places(schema: Object, value: Any) -> Iterator[_Place]:
    if isinstance(value, dict):
        for name, part in schema.get("properties", {}).items():
            yield _Place(value, name, part)
            if name in value:
                yield from _places(part, value[name])
        for name in value if "additionalProperties" in schema else ():
            yield _Place(value, name, schema["additionalProperties"])
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield _Place(value, number, schema.get("items", {}))
            yield from _places(schema.get("items", {}), item)


def _change(draw: Draw, place: _Place, how: str) -> None:
    if how == "gone" and place.there:
        del place.parent[place.key]
    elif how == "unknown" and isinstance(place.parent, dict):
        place.parent[f"{place.key}s"] = copy.deepcopy(draw(st.sampled_from(ODD)))
    else:
        values = {"odd": st.sampled_from(ODD), "outside": _outside(place.schema)}.get(how, allowed(place.schema))
        place.parent[place.key] = copy.deepcopy(draw(values))


def allowed(schema: Object) -> Values:
    """Return values that a schema allows, apart from its rules about several fields."""
    return _allowed(json.dumps(schema))


@cache  # a pattern takes longer to be made than to be drawn from
def _allowed(text: str) -> Values:
    schema = json.loads(text)
    if words := _words(schema):
        return st.sampled_from(words)
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    match schema.get("type"):
        case "boolean":
            return st.booleans()
        case "integer":
            whole = st.integers(lowest, highest)
            return st.one_of(
                whole, whole, st.sampled_from([each for each in (lowest, highest) if each is not None] or [0])
            )
        case "number":
            return st.floats(lowest, highest, allow_nan=False, allow_infinity=False)
        case "string":
            return _text(schema)
        case "array":
            return _list(schema)
        case _:
            return _object(schema)


def _text(schema: Object) -> Values:
    most = schema.get("maxLength", 2048)
    if pattern := _pattern(schema):
        plain = st.from_regex(pattern, fullmatch=True).filter(lambda text: len(text) <= most)
        return plain | plain.map(lambda text: _longest(text, pattern, most))
    least = schema.get("minLength", 0)
    long = [character * length for character in 'x😀$"' for length in (least, most)]
    if any("{text}" in rule["rule"] for rule in schema.get("x-kubernetes-validations", ())):
        return st.text(max_size=100).map(lambda text: f"{text}{{text}}") | st.just("x" * (most - 6) + "{text}")
    return st.text(min_size=least, max_size=min(most, 100)) | st.sampled_from(long)


def _longest(text: str, pattern: str, most: int) -> str:
    """Return a text as long as it may be, if more of the same may follow it."""
    for more in ("a", "1"):
        if re.fullmatch(pattern, longer := text + more * (most - len(text))):
            return longer
    return text


def _pattern(schema: Object, rule: re.Pattern[str] = _WHOLE) -> str:
    """Return the pattern of a text, or of the keys of an object: the schema's own, or that of a rule in words."""
    found = (rule.match(each["rule"]) for each in schema.get("x-kubernetes-validations", ()))
    inner = next((match.group(1).replace("\\\\", "\\") for match in found if match), "")
    return str(schema.get("pattern", inner))


def _words(schema: Object) -> list[Any]:
    """Return the words, or numbers, of which a value is one: those of the schema, or of a rule in words."""
    found = (_ONE_OF.match(each["rule"]) for each in schema.get("x-kubernetes-validations", ()))
    inner: list[Any] = next((ast.literal_eval(match.group(1)) for match in found if match), [])
    return list(schema.get("enum", inner))


def _list(schema: Object) -> Values:
    keys = schema.get("x-kubernetes-list-map-keys")
    unique: Callable[[Any], Any] | None = (lambda item: tuple(item.get(key) for key in keys)) if keys else None
    if schema.get("x-kubernetes-list-type") == "set":
        unique = repr
    least, most = schema.get("minItems", 0), schema.get("maxItems", 8)
    return st.lists(allowed(schema["items"]), min_size=least, max_size=min(most, least + 3), unique_by=unique)


# Any object may be written there: schemas, good ones and such as are none.
_ANYTHING: Sequence[Object] = ({}, {"properties": {"text": {"maxLength": 9}}}, {"type": "nonsense"}, {"$ref": "#/no"})


def _object(schema: Object) -> Values:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return st.sampled_from(_ANYTHING)
    if "additionalProperties" in schema:
        key = _pattern(schema, _EACH_KEY)
        keys = st.from_regex(key, fullmatch=True) if key else st.text(min_size=1, max_size=20)
        return st.dictionaries(keys, allowed(schema["additionalProperties"]), max_size=3)
    parts = {name: allowed(part) for name, part in schema.get("properties", {}).items()}
    required = {name: parts.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=parts)


def _outside(schema: Object) -> Values:
    """Return values that are just outside of what a schema allows, as far as it says what that is."""
    beyond: list[Any] = [*ODD[:6]]
    beyond += [schema[bound] + by for bound, by in (("minimum", -1), ("maximum", 1)) if bound in schema]
    beyond += [float(schema[bound]) for bound in ("minimum", "maximum") if bound in schema]
    if words := _words(schema):
        beyond += [change(str(word)) for word in words for change in (str.swapcase, lambda word: f"{word} ")]
    elif schema.get("type") == "string":
        beyond += ["", "x" * (schema.get("maxLength", 2048) + 1), "😀" * (schema.get("maxLength", 2048) + 1)]
        return st.sampled_from(beyond) | st.builds(str.__add__, _text(schema), st.sampled_from(_SUFFIXES))
    elif schema.get("type") == "array":
        most = schema.get("maxItems", 8)
        return allowed(schema["items"]).map(lambda item: [item] * (most + 1)) | st.sampled_from(beyond)
    elif schema.get("required"):
        name = st.sampled_from(schema["required"])
        return st.builds(lambda whole, gone: {k: v for k, v in whole.items() if k != gone}, allowed(schema), name)
    return st.sampled_from(beyond)
