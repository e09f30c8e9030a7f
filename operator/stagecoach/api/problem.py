"""Stage 1 of a project: what is to be solved, and with which kind of model."""

from typing import Annotated

from pydantic import Field, StringConstraints

from stagecoach.api.common import BaseModel, Enum, Name, Optional, Text, cel, rules

Label = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Task(Enum):
    """What the model does."""

    CLASSIFICATION = "Classification"
    TOKEN_CLASSIFICATION = "TokenClassification"  # noqa: S105 - a task, no password
    GENERATION = "Generation"
    SUMMARIZATION = "Summarization"
    TRANSLATION = "Translation"
    EMBEDDING = "Embedding"


class Architecture(Enum):
    """The transformer family."""

    DECODER = "Decoder"
    ENCODER = "Encoder"
    ENCODER_DECODER = "EncoderDecoder"


class Labels(BaseModel):
    """The label set; its order is fixed once resolved."""

    from_dataset: Optional[Name] = Field(
        None,
        description="Take the labels that occur in this data set, in code point order; of columns.spans O, and then B-"
        " and I- for each label of a span.",
    )
    values: Optional[list[Label]] = Field(
        None,
        min_length=2,
        max_length=500,
        description="The labels, in this order. A row with another label is refused.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


PROBLEM_RULES = rules(
    cel(
        "has(self.labels) == (self.task in ['Classification', 'TokenClassification'])",
        "labels are what a Classification or TokenClassification chooses from: give them for these tasks, and leave"
        " them out for any other",
    ),
    cel(
        "self.architecture != 'Encoder' || self.task in ['Classification', 'TokenClassification', 'Embedding']",
        "an Encoder chooses a label or makes a vector, and writes no text: set architecture Decoder or EncoderDecoder,"
        " or task Classification, TokenClassification or Embedding",
    ),
    cel(
        "self.task != 'TokenClassification' || self.architecture == 'Encoder'",
        "the tags of a TokenClassification are chosen by the head of an Encoder: set architecture Encoder",
    ),
    cel(
        "self.task != 'Embedding' || self.architecture == 'Encoder'",
        "the vectors of an Embedding are made by an Encoder: set architecture Encoder",
    ),
    cel(
        "self.architecture != 'EncoderDecoder' || self.task != 'Classification'",
        "an EncoderDecoder writes a text for a text: set architecture Encoder or Decoder, or a task that writes",
    ),
)


class Problem(BaseModel, json_schema_extra=PROBLEM_RULES):
    """Stage 1: what is to be solved, and with which kind of model."""

    statement: Text = Field(
        description="What the model is for, in a sentence or two: for people who read the object. Nothing computes with"
        " it, and no record or card has it."
    )
    task: Task = Field(
        description="What the model does. Classification: one label for one text. TokenClassification: a tag for each"
        " token of a text, such as for names in it. Generation, Summarization,"
        " Translation: a text for a text; the three are trained alike, and told apart in card and record. Embedding: a"
        " vector for a text, such that queries are near the passages that answer them."
    )
    labels: Optional[Labels] = Field(
        None,
        description="The labels of a Classification, or the tags of a TokenClassification, given or taken from a data"
        " set; no other task has any.",
        json_schema_extra=rules(
            cel(
                "has(self.fromDataset) != has(self.values)",
                "give exactly one of labels.fromDataset (a data set's name) and labels.values (the list)",
            )
        ),
    )
    architecture: Architecture = Field(
        description="The transformer family. Decoder: a causal language model that writes the label or text. Encoder: a"
        " model such as BERT that gets a classification head, for the text or for each token, or makes vectors."
        " EncoderDecoder: a model such as T5 that reads a text whole and then writes another."
    )
    rationale: Optional[Text] = Field(
        None,
        description="Why this architecture. Asked for where it is unusual, as is a decoder that classifies.",
    )
