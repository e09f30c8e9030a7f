"""Where data, models and storage lie: the URIs that a spec may hold, and the rules that keep them harmless."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

# Also read by the API server, whose engine allows no nested counts: lengths are bounded beside the pattern.
NAME = r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?"
SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]*"
# A name with a dot in it whose last part begins with a letter: no address, and no name that only the cluster knows.
HOST = r"(?:[a-z0-9][a-z0-9-]*[.])+[a-z][a-z0-9-]*(?::[1-9][0-9]*)?"
# Of a tracking server, which may be one that only the cluster knows.
SERVER = r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?(?::[1-9][0-9]*)?"
HUB_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"

_CLAIM = rf"pvc://{NAME}"
# Cloud Storage alone has names with an underscore in them.
_BUCKET = rf"(?:s3://{NAME}|gs://[a-z0-9](?:[-_a-z0-9.]*[a-z0-9])?)"
_BELOW = rf"(?:/{SEGMENT})"
_HUB_DATA = rf"hf://datasets/{HUB_NAME}/{HUB_NAME}"
STORAGE_URI_PATTERN = rf"^(?:{_CLAIM}|{_BUCKET}){_BELOW}*$"
FILE_URI_PATTERN = (
    rf"^(?:(?:{_CLAIM}|{_BUCKET}|https://{HOST}){_BELOW}+|{_HUB_DATA}{_BELOW}*|configmap://{NAME}/{SEGMENT})$"
)
MODEL_URI_PATTERN = rf"^(?:(?:{_CLAIM}|{_BUCKET}){_BELOW}*|hf://{HUB_NAME}/{HUB_NAME})$"
TRACKING_URI_PATTERN = rf"^https?://{SERVER}{_BELOW}*/?$"
# What credentials are for: all of S3, Cloud Storage or the hub, or all at a bucket, server, organization or below. No
# password is for every server.
MATCH_PATTERN = (
    rf"^(?:(?:s3|gs|hf)://|(?:{_BUCKET}|https?://{SERVER}){_BELOW}*/?|hf://(?:datasets/)?{HUB_NAME}(?:/{HUB_NAME})?/?)$"
)
MAX_LENGTH = 512

_PATTERNS = {
    "pvc": STORAGE_URI_PATTERN,
    "configmap": FILE_URI_PATTERN,
    "s3": STORAGE_URI_PATTERN,
    "gs": STORAGE_URI_PATTERN,
    "https": FILE_URI_PATTERN,
    "hf": rf"^(?:hf://{HUB_NAME}/{HUB_NAME}|{_HUB_DATA}{_BELOW}*)$",
}
_FORMS = (
    "pvc://<claim>/<path>, configmap://<name>/<key>, s3://<bucket>/<path>, gs://<bucket>/<path>,"
    " https://<host>/<path>, hf://<organization>/<name> or hf://datasets/<organization>/<name>[/<path>]"
)


class BadUri(ValueError):
    """A URI that is refused; the text says why and what to write instead."""


@dataclass(frozen=True)
class Uri:
    """A parsed URI: the name is that of a claim, ConfigMap, bucket, host or organization."""

    scheme: str
    name: str
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}" + (f"/{self.path}" if self.path else "")

    @property
    def mounted(self) -> bool:
        """Whether a pod finds it in its file system; everything else is reached over the network."""
        return self.scheme in ("pvc", "configmap")


def parse(text: str) -> Uri:
    """Parse a URI, or raise BadUri.

    Path segments start with a letter, digit or underscore, so that neither `..` nor a hidden file can be named, in
    any encoding: percent signs are refused altogether.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _PATTERNS:
        raise BadUri(f"{text!r} is not a URI of a known kind; write {_FORMS}")
    if "@" in rest.partition("/")[0]:
        raise BadUri(f"{text!r} holds user information; credentials never belong in a URI")
    if "%" in text:
        raise BadUri(f"{text!r} holds a percent-encoded character ({unquote(text)!r}); write plain path segments")
    if len(text) > MAX_LENGTH:
        raise BadUri(f"{text[:40]!r}… has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    if not re.match(_PATTERNS[scheme].removesuffix("$") + r"\Z", text):
        raise BadUri(
            f"{text!r} is refused: write {_FORMS}; path segments start with a letter, digit or underscore, hold no"
            " '..', and are separated by single slashes; a host is a full name, not an address"
        )
    name, _, path = rest.partition("/")
    return Uri(scheme, name, path)
