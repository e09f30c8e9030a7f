"""What a deployment serves, as it was when it was admitted: one document a release, which never changes.

It is in a ConfigMap that cannot be changed. Project, run and verdicts may say something else by now, or be gone: what
is served goes on, and its engine can be started again.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from stagecoach.contract.digests import Digest, digest_of_document
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.model import ContractModel
from stagecoach.contract.releases import DescribedRelease


class Admitted(ContractModel):
    """All that gateway and engine have to know of a release."""

    schema_version: Literal[1] = 1
    described: DescribedRelease
    labels: tuple[str, ...] | None = Field(None, description="Of a Classification: in the order of the model's head.")
    base: ModelSource = Field(description="With digests, and the commit of a hub's model.")
    artifact: Literal["Adapter", "Model"] | None = Field(
        None, description="What the artifact is. None: the base itself."
    )
    storage: str = Field(description="URI of the storage that holds the artifact.")
    run: str | None = Field(None, description="The FineTuneRun that made it. None: the base itself.")

    @model_validator(mode="after")
    def _made_by_a_run(self) -> Self:
        untuned = self.described.release.artifact is None
        if untuned != (self.artifact is None) or untuned != (self.run is None):
            raise ValueError("an artifact is there, is an adapter or a model, and is of a run: all of these, or none")
        return self

    @property
    def release(self) -> Digest:
        """What verdicts, routes and counts name it by."""
        return self.described.release.digest

    @property
    def digest(self) -> Digest:
        """What tells it from another document about the same release."""
        return digest_of_document(self.document())
