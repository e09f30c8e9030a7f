"""Which Secret opens which place. The operator mounts by these rules, programs read by them.

A Secret reaches a pod as read-only files and in no other way: it is in no environment variable, no command line and no
document, and the operator itself never reads one.
"""

import os
from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from stagecoach.contract.model import ContractModel

ENVIRONMENT_VARIABLE = "STAGECOACH_ACCESS"


class Credential(ContractModel):
    """A Secret, and the URIs that it is for."""

    match: str = Field(description="The beginning of the URIs, such as s3://lake/ or hf://.")
    secret: str = Field(description="Name of the Secret.")

    def opens(self, uri: str) -> bool:
        """Whether a URI lies at or below `match`. s3://lake is no beginning of s3://lakehouse."""
        if self.match.endswith("://"):
            return uri.startswith(self.match)
        place = self.match.rstrip("/")
        return uri == place or uri.startswith(f"{place}/")


class Access(ContractModel):
    """What a Job has to know about places that are not mounted. Secrets only by name."""

    storage: str | None = Field(None, description="URI of the project's storage; None when it is mounted.")
    credentials: tuple[Credential, ...] = ()


def secret_of(uri: str, credentials: Iterable[Credential]) -> str | None:
    """Return the name of the Secret for a URI: that of the longest match, or None."""
    matching = [item for item in credentials if item.opens(uri)]
    return max(matching, key=lambda item: len(item.match.rstrip("/"))).secret if matching else None


def used(uris: Iterable[str], credentials: Sequence[Credential]) -> tuple[str, ...]:
    """Return the sorted names of the Secrets that these URIs need."""
    return tuple(sorted({secret for uri in uris if (secret := secret_of(uri, credentials))}))


def read_access(environment: Mapping[str, str] = os.environ) -> Access:
    """Return what this pod was told. Raises pydantic's ValidationError."""
    text = environment.get(ENVIRONMENT_VARIABLE)
    return Access.model_validate_json(text) if text else Access()
