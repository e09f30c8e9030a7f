"""Whether what is there is what was last wanted: by a digest of the latter, since the API server adds defaults."""

from typing import Any

from stagecoach.build.labels import APPLIED
from stagecoach.contract.digests import digest_of_document, short

Object = dict[str, Any]

# Where others have a hand in it, and the digest stays. What is signed, such as routes, they cannot change unseen.
_TOUCHED = (("spec", "replicas"), ("spec", "selector"))


def marked(wanted: Object) -> Object:
    """Return an object with a digest of it in an annotation."""
    metadata = wanted["metadata"]
    others = {key: value for key, value in metadata.get("annotations", {}).items() if key != APPLIED}
    digest = digest_of_document({**wanted, "metadata": {**metadata, "annotations": others}})
    return {**wanted, "metadata": {**metadata, "annotations": {**others, APPLIED: short(digest)}}}


def needs_apply(observed: Object | None, wanted: Object) -> Object | None:
    """Return what to apply, with the version on which that was decided; None when it is there."""
    new = marked(wanted)
    if observed is None:
        return new
    metadata = observed["metadata"]
    same = (metadata.get("annotations") or {}).get(APPLIED) == new["metadata"]["annotations"][APPLIED]
    if same and all(_kept(observed, new, path) for path in _TOUCHED):
        return None
    decided_on = {key: metadata[key] for key in ("uid", "resourceVersion")}
    return {**new, "metadata": {**new["metadata"], **decided_on}}


def _kept(observed: Any, wanted: Any, path: tuple[str, ...]) -> bool:
    """Whether what is wanted at a path is there, whatever others have added."""
    for key in path:
        observed, wanted = (observed or {}).get(key), (wanted or {}).get(key)
    if isinstance(wanted, dict):
        return all(_kept(observed, wanted, (key,)) for key in wanted)
    return wanted is None or observed == wanted
