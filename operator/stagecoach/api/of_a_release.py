"""Whose release it is that a status tells of: a run has made it, or it is a base of the project itself."""

from typing import Self

from pydantic import Field, model_validator

from stagecoach.api.common import Optional, Told, whose


class OfARelease(Told):
    """Whose release it is."""

    # What the operator writes itself needs no rules of names in the definition, which have to be small.
    run: Optional[str] = Field(None, max_length=63, description="The FineTuneRun.")
    base: Optional[str] = Field(None, max_length=63, description="Instead of run: the candidate that it is itself.")

    @model_validator(mode="after")
    def _of_one(self) -> Self:
        if (self.run is None) == (self.base is None):
            raise ValueError("a release is of a run, or it is a base itself: one of run and base is there")
        return self

    @property
    def named(self) -> str:
        """Whose it is, in words."""
        return whose(self.run, self.base)

    @property
    def title(self) -> str:
        """The same, at the beginning of a sentence."""
        return self.named[0].upper() + self.named[1:]
