"""What the kinds share."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from kube_custom_resource import schema
from kube_custom_resource.schema import Optional
from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from stagecoach.contract import uris
from stagecoach.contract.digests import DIGEST_PATTERN

__all__ = ["Optional"]

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
# Names of children add up to 13 characters to the name of their owner and must stay below 63.
MAX_NAME = 50


def cel(rule: str, message: str, field: str | None = None) -> dict[str, Any]:
    """Return one validation rule of the Common Expression Language for `rules`."""
    return {"rule": rule, "message": message} | ({"fieldPath": field} if field else {})


def whose(run: str | None, base: str | None) -> str:
    """Return in words whose release is meant: that of a run, or a base itself."""
    return f"run {run}" if run else f"base {base}"


def rules(*validations: dict[str, Any]) -> dict[str, Any]:
    """Return the schema extension that holds CEL rules."""
    return {"x-kubernetes-validations": list(validations)}


@dataclass(frozen=True)
class Matches:
    """A pattern whose violation is told in words: the schema's own `pattern` would only show the expression."""

    pattern: str
    message: str

    @property
    def rule(self) -> dict[str, Any]:
        """The rule by which the API server asks it."""
        quoted = self.pattern.replace("\\", "\\\\")
        return cel(f"self.matches('{quoted}')", self.message)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        matching = core_schema.custom_error_schema(
            core_schema.str_schema(pattern=self.pattern), "does_not_match", custom_error_message=self.message
        )
        return core_schema.chain_schema([handler(source), matching])

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(core["steps"][0]) | {"type": "string"} | rules(self.rule)


# Longer than what is valid: whatever is written instead is told by the rule, which says what to write.
ODD = 32
ODD_DIGEST = 128
Name = Annotated[
    str,
    StringConstraints(max_length=MAX_NAME),
    Matches(NAME_PATTERN, "must be lower-case letters, digits and '-', with a letter or digit at both ends"),
]
SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
# What Kubernetes allows for most of its own kinds.
OBJECT_NAME = Matches(
    f"^{SUBDOMAIN}$",
    "must be the name of an object: lower-case letters, digits, '-' and '.', with a letter or digit at both ends and"
    " beside each '.'",
)
ObjectName = Annotated[str, StringConstraints(max_length=253), OBJECT_NAME]
Digest = Annotated[
    str,
    StringConstraints(max_length=ODD_DIGEST),
    Matches(DIGEST_PATTERN, "must be sha256: and 64 of the digits 0-9 and a-f: copy it from a status"),
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
DURATION = Matches(
    r"^([1-9][0-9]{0,6}s|[1-9][0-9]{0,5}m|[1-9][0-9]{0,3}h|[1-9][0-9]{0,2}d)$",
    "must be a length of time such as 90s, 30m, 24h or 7d, and at most 999d",
)
Duration = Annotated[str, StringConstraints(max_length=ODD), DURATION]


Memory = Annotated[
    str,
    StringConstraints(max_length=ODD),
    Matches(
        r"^([1-9][0-9]{6,13}|[1-9][0-9]{3,10}(k|Ki)|[1-9][0-9]{0,7}(M|Mi)|[1-9][0-9]{0,4}(G|Gi)|[1-9][0-9]?(T|Ti))$",
        "must be an amount of memory such as 512Mi or 8Gi, of at least 1M and at most 99Ti",
    ),
]
Cpu = Annotated[
    str,
    StringConstraints(max_length=ODD),
    Matches(
        r"^([1-9][0-9]{0,5}m|[1-9][0-9]{0,2}([.][0-9]{1,3})?|0[.][0-9]{0,2}[1-9])$",
        "must be a number of CPUs such as 500m, 1.5 or 2, and less than 1000",
    ),
]
URI_RULE = "path segments start with a letter, digit or underscore, without '..', percent signs or credentials"
_WORD = r"[A-Za-z0-9_]([.]?[A-Za-z0-9_-])*"
_WORD_RULE = "letters, digits, '_', '-' and single '.', with a letter, digit or '_' at the start and no '.' at the end"
# A config or a split of a hub's data set.
HubWord = Annotated[str, StringConstraints(max_length=128), Matches(f"^{_WORD}$", f"must be {_WORD_RULE}")]
# Branches may have folders.
Revision = Annotated[
    str,
    StringConstraints(max_length=128),
    Matches(
        f"^{_WORD}(/{_WORD})*$",
        "must be a commit, branch or tag such as main, v1.0 or refs/convert/parquet: parts with a '/' between two, each"
        f" of {_WORD_RULE}",
    ),
]
StorageUri = Annotated[
    str,
    StringConstraints(max_length=uris.MAX_LENGTH),
    Matches(
        uris.STORAGE_URI_PATTERN,
        f"must be pvc://<claim>/<folder>, s3://<bucket>/<folder> or gs://<bucket>/<folder>; {URI_RULE}",
    ),
]
FileUri = Annotated[
    str,
    StringConstraints(max_length=uris.MAX_LENGTH),
    Matches(
        uris.FILE_URI_PATTERN,
        "must be pvc://<claim>/<file>, configmap://<name>/<key>, s3://<bucket>/<file>, gs://<bucket>/<file>,"
        f" https://<full host name>/<file> or hf://datasets/<organization>/<name>[/<file>]; {URI_RULE}",
    ),
]
ModelUri = Annotated[
    str,
    StringConstraints(max_length=uris.MAX_LENGTH),
    Matches(
        uris.MODEL_URI_PATTERN,
        "must be pvc://<claim>/<folder>, s3://<bucket>/<folder>, gs://<bucket>/<folder> or"
        f" hf://<organization>/<name>; {URI_RULE}",
    ),
]
UriBeginning = Annotated[
    str,
    StringConstraints(max_length=uris.MAX_LENGTH),
    Matches(
        uris.MATCH_PATTERN,
        "must be the beginning of URIs: s3://, s3://<bucket>/<folder>/, gs://, gs://<bucket>/<folder>/,"
        f" https://<host>/<folder>/, http://<host>/, hf:// or hf://<organization>; {URI_RULE}",
    ),
]
TrackingUri = Annotated[
    str,
    StringConstraints(max_length=uris.MAX_LENGTH),
    Matches(uris.TRACKING_URI_PATTERN, f"must be https://<host>[:<port>] or http://<host>[:<port>]; {URI_RULE}"),
]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


class BaseModel(schema.BaseModel, extra="forbid"):
    """A part of an object. What people read about it is the description of the field that holds it.

    Definitions that are newer than the operator let fields through that it does not know, and which may change what is
    asked for: they are refused. A new field therefore has no default in the definitions, or an operator that still
    leads while they are upgraded would refuse every object.
    """

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        document = _undescribed(super().__get_pydantic_json_schema__(core_schema, handler))
        # The API server drops what the definitions do not know, and refuses none of it.
        return {key: value for key, value in document.items() if (key, value) != ("additionalProperties", False)}

    def document(self) -> dict[str, Any]:
        """Return the JSON form, as the API server takes it: nothing that is unset."""
        result: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)  # type: ignore[no-untyped-call]
        return result

    def beside_defaults(self, *, without: Collection[str] = ()) -> dict[str, Any]:
        """Return what is said that would not go without saying: it stays the same when a later version knows more."""
        result: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True, exclude=set(without))  # type: ignore[no-untyped-call]
        return result


class Told(BaseModel, extra="allow"):
    """A part of a status: what a later version of the operator wrote into it, and this one does not know, stays."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        document = super().__get_pydantic_json_schema__(core_schema, handler)
        # The API server itself keeps no more than the definitions know.
        return {key: value for key, value in document.items() if key != "x-kubernetes-preserve-unknown-fields"}


class Enum(schema.Enum):
    """One of a few words."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _undescribed(super().__get_pydantic_json_schema__(core_schema, handler))


def _undescribed(document: JsonSchemaValue) -> JsonSchemaValue:
    # A referenced schema's own description would hide that of the field.
    return {key: value for key, value in document.items() if key != "description"}


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str) -> timedelta:
    """Return the length of time that `90s`, `30m`, `24h` or `7d` stands for."""
    return timedelta(seconds=int(text[:-1]) * _SECONDS[text[-1]])


def lasting(message: str, least: str = "1s", most: str = "999d") -> dict[str, Any]:
    """Return the schema extension of a Duration with bounds."""
    factor = " : ".join(f"self.endsWith('{unit}') ? {seconds}" for unit, seconds in _SECONDS.items() if seconds > 1)
    told = f"int(self.substring(0, size(self) - 1)) * ({factor} : 1)"
    bounds = (f"{told} {sign} {duration(bound).total_seconds():.0f}" for sign, bound in ((">=", least), ("<=", most)))
    # An odd string is the other rule's matter: here it must only not be an error.
    return rules(DURATION.rule, cel(f"!self.matches('{DURATION.pattern}') || ({' && '.join(bounds)})", message))


def keyed(*keys: str) -> dict[str, Any]:
    """Return the schema extension of a list whose items are told apart, and merged, by these keys."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def name_rule(longest: int, made: str) -> dict[str, Any]:
    """Return the rule of an object's own name, of which those of what is made for it are made."""
    why = f": the names of {made} are made from it" if longest <= MAX_NAME else ""
    return cel(
        f"size(self.metadata.name) <= {longest} && self.metadata.name.matches('{NAME_PATTERN}')",
        f"metadata.name must be a DNS label of at most {longest} characters (a-z, 0-9, '-'){why}. Choose a shorter or"
        " plainer name.",
    )


class ConditionStatus(Enum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Told):
    """One aspect of an object's state."""

    type: str = Field(max_length=64, description="Name of the aspect, in CamelCase.")
    status: ConditionStatus = Field(description="Whether it holds.")
    observed_generation: int = Field(description="The metadata.generation that this was decided on.")
    last_transition_time: Time = Field(description="When the status last changed.")
    reason: str = Field(max_length=64, description="Why, in one CamelCase word for machines.")
    message: str = Field(max_length=4096, description="Why, in words, with what to do about it.")


class LocalSecret(BaseModel):
    """A Secret of the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class Metadata(BaseModel, extra="ignore"):
    """What the operator reads of an object's metadata."""

    name: str
    namespace: str
    uid: str
    generation: int
    creation_timestamp: str
    deletion_timestamp: Optional[str] = None
    annotations: dict[str, str] = Field(default_factory=dict)


class CustomObject(BaseModel, extra="ignore"):
    """An object as the API server keeps it."""

    metadata: Metadata
