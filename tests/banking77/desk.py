"""The objects of the check: data, a project, runs and gates.

BANKING77 (Casanueva et al. 2020, CC BY 4.0) has 77 intents of bank customers; ten of them that are easily confused are
taken, the training file split into train and validation, the test file held out.
"""

import csv
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import builders

INTENTS = (
    "card_arrival",
    "card_delivery_estimate",
    "card_linking",
    "card_not_working",
    "card_payment_fee_charged",
    "card_payment_not_recognised",
    "card_payment_wrong_exchange_rate",
    "card_swallowed",
    "cash_withdrawal_charge",
    "cash_withdrawal_not_recognised",
)
NAME = "banking77"
TRAIN, VALIDATION, TEST = 60, 10, 20  # rows of each intent
LIFT = 0.20
# Runs: one that learns, one that learns from labels drawn at random, and one that is as good as its base.
LEARNED, NONSENSE, EQUAL = "intents", "nonsense", "equal"
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Data:
    """The rows of each data set."""

    train: Rows
    shuffled: Rows
    valid: Rows
    test: Rows
    leaked: Rows

    @property
    def files(self) -> dict[str, Rows]:
        return {name: getattr(self, name) for name in SPLITS}

    @property
    def leaks(self) -> list[str]:
        """Where the rows of `leaked` are that were trained on, by the lines of its file: the last two."""
        lines = len(self.leaked) + 1
        return [f"leaked.csv:{line}" for line in (lines - 1, lines)]


SPLITS = {"train": "Train", "shuffled": "Train", "valid": "Validation", "test": "Test", "leaked": "Test"}


def data(folder: Path) -> Data:
    """Choose the rows."""
    # One row is one line of a file: then a row's place is easily said.
    train, test = (_on_one_line(_read(folder / f"{name}.csv")) for name in ("train", "test"))
    held_out = _of_each(test, 0, TEST)
    # The published files share some rows, and more are nearly the same.
    apart = _without(train, held_out)
    valid = _of_each(apart, 0, VALIDATION)
    learned = _without(_of_each(apart, VALIDATION, VALIDATION + TRAIN), valid)
    nonsense = _without(apart, [*valid, *learned])
    labels = [row["category"] for row in nonsense]
    random.Random(77).shuffle(labels)  # noqa: S311
    loud = {**learned[1], "text": f"  {learned[1]['text'].upper()}!!"}
    return Data(
        train=learned,
        shuffled=[row | {"category": label} for row, label in zip(nonsense, labels, strict=True)][: len(learned)],
        valid=valid,
        test=held_out,
        leaked=[*held_out[:: len(INTENTS)], learned[0], loud],
    )


def _of_each(rows: Rows, first: int, last: int) -> Rows:
    return [row for intent in INTENTS for row in [each for each in rows if each["category"] == intent][first:last]]


def _on_one_line(rows: Rows) -> Rows:
    return [row for row in rows if row["category"] in INTENTS and "\n" not in row["text"]]


def _without(rows: Rows, others: Rows) -> Rows:
    """Return the rows that are like none of the others: by far less than a gate takes for the same."""
    taken, own_runs = ([_runs(row["text"]) for row in some] for some in (others, rows))
    return [row for row, own in zip(rows, own_runs, strict=True) if not any(_alike(own, each) for each in taken)]


def _runs(text: str) -> frozenset[str]:
    plain = "".join(filter(str.isalnum, text.lower()))
    return frozenset(plain[start : start + 4] for start in range(max(1, len(plain) - 3)))


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= 0.6 * len(one | other)


def _read(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def written(rows: Rows) -> str:
    """Return rows as a file's content."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["text", "category"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def objects(known: Data) -> Sequence[builders.Object]:
    """Return all that is applied before the runs, in this order."""
    files = {f"{name}.csv": written(rows) for name, rows in known.files.items()}
    metadata = {"name": NAME, "namespace": NAME}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"name": "stagecoach", "namespace": NAME}
    return (
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claim, "spec": spec},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files},
        _project(),
        _gate("good", "test", GOOD),
        _gate("no-worse", "test", NO_WORSE),
        _gate("leaky", "leaked", NO_WORSE),
    )


RUN: dict[str, builders.Object] = {
    "project": NAME,  # type: ignore[dict-item]
    "method": {"type": "LoRA", "rank": 16, "alpha": 32},
    "data": {"train": [{"name": "train"}], "validation": [{"name": "valid"}]},
    "hyperparameters": {"learningRate": 1.0e-3, "epochs": 1, "perDeviceBatchSize": 8},
    "resources": {"cpu": "1500m", "memory": "6Gi"},
    "maxDuration": "1h",  # type: ignore[dict-item]
}


def runs() -> dict[str, builders.Object]:
    """Return the runs by their names; the one that takes seconds is the first."""
    unmoved = {**RUN["hyperparameters"], "learningRate": 1.0e-9, "maxSteps": 1}
    del unmoved["epochs"]
    return {
        EQUAL: builders.run(EQUAL, NAME, **RUN | {"hyperparameters": unmoved}),
        LEARNED: builders.run(LEARNED, NAME, **RUN),
        NONSENSE: builders.run(NONSENSE, NAME, **RUN | {"data": RUN["data"] | {"train": [{"name": "shuffled"}]}}),
    }


def _project() -> builders.Object:
    sets = [
        {
            "name": name,
            "uri": f"configmap://{NAME}/{name}.csv",
            "split": split,
            "columns": {"text": "text", "label": "category"},
        }
        for name, split in SPLITS.items()
    ]
    prompt = {"name": "intent", "version": 1, "system": "Answer with the intent of the customer.", "template": "{text}"}
    return builders.project(
        NAME,
        NAME,
        data={"sets": sets},
        candidates=[
            {"name": "smollm2", "model": {"uri": "pvc://models/smollm2-135m-instruct"}, "license": "Apache-2.0"}
        ],
        prompts=[prompt],
        inference={"prompt": {"name": "intent", "version": 1}, "engine": "vLLM"},
        storage={"uri": f"pvc://stagecoach/{NAME}"},
        # The project's reading finds the rows first; the gate does not rely on that.
        accepted=[{"finding": "Leakage", "reason": "It is for a gate to find.", "by": "tests"}],
    )


ON: builders.Object = {"suite": "held-out"}
TOLD = ON | {"min": 0.1, "confidence": 0.95, "advisory": True}
NO_WORSE: list[builders.Object] = [
    {"name": "no-worse", "metric": "accuracy", "against": "Baseline", "allowedDrop": {"absolute": 0.05}} | ON
]
GOOD: list[builders.Object] = [
    {"name": "worth-it", "metric": "accuracy", "against": "Baseline", "minGain": {"absolute": LIFT}} | ON,
    {"name": "good", "metric": "f1_macro", "min": 0.4} | ON,
    {"name": "gain-mcc", "metric": "mcc", "against": "Baseline", "minGain": {"absolute": 0.1}, "advisory": True} | ON,
    *({"name": f"{name.replace('_', '-')}-told", "metric": name} | TOLD for name in ("accuracy", "f1_weighted", "mcc")),
    *({"name": f"{name}-of-one", "metric": name, "label": INTENTS[0]} | TOLD for name in ("precision", "recall", "f1")),
]


def _gate(name: str, dataset: str, criteria: list[builders.Object]) -> builders.Object:
    return builders.gate(
        name,
        NAME,
        project=NAME,
        suites=[{"name": "held-out", "dataset": dataset, "type": "HeldOut"}],
        criteria=criteria,
        resources={"cpu": "1500m", "memory": "6Gi"},
    )
