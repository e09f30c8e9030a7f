"""Review: people who look at a gate's canary rows before a release passes."""

from typing import Annotated

from pydantic import Field, StringConstraints

from stagecoach.api.common import BaseModel, Duration, Matches, Name, Optional, cel, keyed, rules

MAX_REVIEWERS = 16
MAX_APPROVALS = 8
MAX_RUBRIC = 8
# Result of a rubric in status.results. No criterion has this name: theirs have no '_'.
HUMAN = "human_"

# As an API server has it, such as that of a person or system:serviceaccount:argocd:argocd-application-controller.
Account = Annotated[
    str,
    StringConstraints(max_length=256),
    Matches(
        r"^[^\s]([^\r\n\t]*[^\s])?$", "must be a name without white space at its ends, as kubectl auth whoami shows it"
    ),
]


class Reviewer(BaseModel):
    """Who may decide."""

    user: Optional[Account] = Field(None, description="Name of a user, as kubectl auth whoami shows it.")
    group: Optional[Account] = Field(None, description="Name of a group: each of its members may decide.")


REVIEWER_RULES = rules(cel("has(self.user) != has(self.group)", "give exactly one of user and group"))
REVIEWERS_RULES = rules(
    cel("self.all(r, self.exists_one(other, other == r))", "name each user and each group once in reviewers")
)


class Rubric(BaseModel):
    """What people give a score for."""

    name: Name = Field(description="Name by which scores refer to it; its result is human_<name>.")


class Review(BaseModel):
    """Who has to look at which rows before a release passes."""

    suite: Name = Field(description="Name of the gate's suite of type Canary: people read its rows one by one.")
    reviewers: list[Annotated[Reviewer, Field(json_schema_extra=REVIEWER_RULES)]] = Field(
        min_length=1,
        max_length=MAX_REVIEWERS,
        description="Who may decide: users and groups of the cluster.",
        json_schema_extra=REVIEWERS_RULES,
    )
    approvals: int = Field(
        1, ge=1, le=MAX_APPROVALS, description="How many different people have to approve. Default: 1."
    )
    valid_for: Duration = Field(
        "720h", description="How long an approval counts, if the others take their time. Default: 720h."
    )
    rubric: Optional[list[Rubric]] = Field(
        None,
        min_length=1,
        max_length=MAX_RUBRIC,
        description="What each approval has to give a score for, of 1 to 5.",
        json_schema_extra=keyed("name"),
    )
    min_score: Optional[float] = Field(
        None,
        ge=1,
        le=5,
        description="What the mean of the scores that count has to reach, for each of rubric.",
    )


REVIEW_RULES = rules(
    cel("has(self.rubric) == has(self.minScore)", "rubric and minScore go together: give both, or neither"),
    cel(
        "self.reviewers.exists(r, has(r.group)) || self.approvals <= self.reviewers.size()",
        "approvals are of different people: name more reviewers, or ask for fewer approvals",
    ),
)
