"""Where data, models and storage lie: the URIs that a spec may hold, and the rules that keep them harmless."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

# Also read by the API server, whose engine allows no nested counts: lengths are bounded beside the pattern.
NAME = r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?"
SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]*"
CLAIM_URI_PATTERN = rf"^pvc://{NAME}(?:/{SEGMENT})*$"
FILE_URI_PATTERN = rf"^(?:pvc://{NAME}(?:/{SEGMENT})+|configmap://{NAME}/{SEGMENT})$"
MAX_LENGTH = 512


class BadUri(ValueError):
    """A URI that is refused; the text says why and what to write instead."""


@dataclass(frozen=True)
class Uri:
    """A parsed URI: `pvc://<claim>/<path>` or `configmap://<name>/<key>`."""

    scheme: str
    name: str
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}" + (f"/{self.path}" if self.path else "")


def parse(text: str) -> Uri:
    """Parse a URI, or raise BadUri.

    Path segments start with a letter, digit or underscore, so that neither `..` nor a hidden file can be named, in
    any encoding: percent signs are refused altogether.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("pvc", "configmap"):
        raise BadUri(f"{text!r} is not a URI of a known kind; write pvc://<claim>/<path> or configmap://<name>/<key>")
    if "@" in rest.partition("/")[0]:
        raise BadUri(f"{text!r} holds user information; credentials never belong in a URI")
    if "%" in text:
        raise BadUri(f"{text!r} holds a percent-encoded character ({unquote(text)!r}); write plain path segments")
    if len(text) > MAX_LENGTH:
        raise BadUri(f"{text[:40]!r}… has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    pattern = CLAIM_URI_PATTERN if scheme == "pvc" else FILE_URI_PATTERN
    if not re.match(pattern.removesuffix("$") + r"\Z", text):
        raise BadUri(
            f"{text!r} is refused: path segments start with a letter, digit or underscore, hold no '..', and are"
            " separated by single slashes"
        )
    name, _, path = rest.partition("/")
    return Uri(scheme, name, path)
