"""Documents of the contract for tests: the smallest valid ones, to be changed where a test cares."""

from typing import Any

from stagecoach.contract.inputs import (
    BaseInput,
    Columns,
    DataInput,
    Hyperparameters,
    LabelsInput,
    LoraMethod,
    Overflow,
    Prompt,
    RunInputs,
    Tokenization,
)
from stagecoach.contract.jobs import Owner, Subject

DIGEST = "sha256:" + "ab" * 32
SUBJECT = Subject(kind="FineTuneRun", namespace="team", name="run", uid="uid-1")
OWNER = Owner(name="team", contact="#team")
PROMPT = Prompt(system="Route.", template="{text}")
LENGTHS = Tokenization(max_length=96, overflow=Overflow.REJECT)
METHOD = LoraMethod(rank=16, alpha=32, dropout=0.0, target_modules="all-linear")
SETTINGS = Hyperparameters(
    learning_rate=1e-2,
    learning_rate_schedule="constant",
    per_device_batch_size=4,
    gradient_accumulation_steps=1,
    epochs=12,
    warmup_ratio=0.0,
    weight_decay=0.0,
    max_grad_norm=1.0,
    optimizer="adamw_torch",
    precision="auto",
    seed=17,
)


def run_inputs(**changes: Any) -> RunInputs:
    """Return the inputs of a run on one data set."""
    values = {
        "task": "Classification",
        "labels": LabelsInput(values=("a", "größe")),
        "base": BaseInput(model=DIGEST, tokenizer=DIGEST),
        "train": (DataInput(digest=DIGEST, columns=Columns()),),
        "validation": (),
        "prompt": PROMPT,
        "tokenization": LENGTHS,
        "method": METHOD,
        "hyperparameters": SETTINGS,
        "devices": 0,
    }
    return RunInputs(**(values | changes))
