"""Suites that are tasks of lm-evaluation-harness: its task and its prompts, over documents that the gate pins.

Nothing is fetched: whatever data set a task names, its documents are those of the project's data set, and Python that
comes with a task is that of the pinned version. What would run a model's code, or draw its answers by chance, is
refused.
"""

import difflib
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from stagecoach.contract import progress
from stagecoach.contract.benchmarks import Document, texts_of
from stagecoach.contract.evaluations import Suite
from stagecoach.contract.inputs import TaskDocuments
from stagecoach.contract.metrics import Metric
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.rows import suffix_of
from stagecoach_evaluator.intervals import Undefined
from stagecoach_trainer import places, quiet
from stagecoach_trainer.sources import Dataset

# What reads a file for `datasets`, by how its name ends.
_READERS = {".csv": "csv", ".jsonl": "json", ".parquet": "parquet"}
# All documents are asked, and none is an example for another.
_OURS = {
    "dataset_name": None,
    "training_split": None,
    "validation_split": None,
    "test_split": "test",
    "fewshot_split": None,
    "fewshot_config": None,
    "num_fewshot": 0,
}
_SHOWN = 8


@dataclass(frozen=True)
class Task:
    """A task with its documents, as lm-evaluation-harness has it."""

    name: str
    made: Any  # lm_eval.api.task.ConfigurableTask

    @cached_property
    def filters(self) -> list[str]:
        """The ways in which it reads an answer: with several, a metric is named with one of them."""
        return [each.name for each in self.made._filters]

    @cached_property
    def aggregations(self) -> dict[str, Callable[[Sequence[Any]], float]]:
        """By the names of all metrics how that of all rows is made of those of each."""
        known: Mapping[str, Callable[[Sequence[Any]], float]] = self.made.aggregation()
        return {self.called(name, way): of for name, of in known.items() for way in self.filters}

    def called(self, metric: str, way: str) -> str:
        """Return what a metric is called here, as in lm-evaluation-harness' tables."""
        return metric if len(self.filters) == 1 else f"{metric},{way}"

    def metrics(self) -> tuple[Metric, ...]:
        """Return the metrics of which more is better."""
        better = self.made.higher_is_better()
        return tuple(Metric(name) for name in self.aggregations if better.get(name.partition(",")[0]) is True)

    def metric(self, name: str) -> Metric:
        """Return a metric. Raises Undefined."""
        there = {metric.name: metric for metric in self.metrics()}
        if name in there:
            return there[name]
        why = f"the task {self.name} of lm-evaluation-harness has no metric {name!r}."
        if name in self.aggregations:
            why = f"of {name} of the task {self.name} less is better, or nobody says, and a criterion asks for more."
        raise Undefined(why, f"Choose one of {', '.join(there) or 'another task: this one has none'}.")

    def is_mean(self, name: str) -> bool:
        """Whether a metric is the mean of what each row has."""
        from lm_eval.api.metrics import mean

        return self.aggregations[name] is mean

    @cached_property
    def documents(self) -> tuple[Any, ...]:
        """What is asked about, in the order of lm-evaluation-harness."""
        return tuple(self.made.eval_docs)


def ready(suite: Suite, dataset: Dataset) -> tuple[Dataset, Task]:
    """Return a suite's documents as its task makes rows of them, and the task. Raises BadInput."""
    columns = suite.columns
    assert isinstance(columns, TaskDocuments)  # noqa: S101 - for mypy: whoever calls has seen it
    name, field = columns.task or "", f"suites[{suite.name}].task"
    with quiet.importing():
        import lm_eval

        from stagecoach_evaluator import harness_documents as documents
    if columns.lm_eval != lm_eval.__version__:
        message = f"the gate asks for lm-eval {columns.lm_eval}, and this image has {lm_eval.__version__}."
        remedy = "Set the operator's evaluator image to the one of its own version."
        raise BadInput(Problem.of("RevisionDiffers", message, field=field, value=name, remedy=remedy))
    progress.begins(f"looking for the task {name} of lm-evaluation-harness")
    config = _config(name, field)
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        given = _given(dataset, Path(folder))
        with _told(name, dataset):
            documents.seed()
            task = Task(name, documents.Fixed(config={**config, **_OURS, **given}))
            rows = tuple(_row(task, number, each) for number, each in enumerate(task.documents, start=1))
    # As a rule a document is a row of the file. Python of a task may leave some out, or put them in another order.
    files = dataset.files
    if task.made.config.process_docs is None and len(rows) == len(dataset.rows):
        rows = tuple(row._replace(number=read.number) for row, read in zip(rows, dataset.rows, strict=True))
    else:
        files = ((f"{dataset.source.name}:{name}", len(rows)),)
    return replace(dataset, rows=rows, files=files, contents=()), task


def _scratch() -> Path | None:
    folder = places.scratch()
    return folder if folder.is_dir() else None


@cache
def _index() -> Mapping[str, Any]:
    """Return all that lm-evaluation-harness has, by name: it reads thousands of files, so only once."""
    from lm_eval.tasks import TaskManager

    index: Mapping[str, Any] = TaskManager().task_index
    return index


def _config(name: str, field: str) -> dict[str, Any]:
    """Return the text of a task, with the functions in it. Raises BadInput for one that is not run here."""
    from lm_eval.tasks._yaml_loader import load_yaml

    from stagecoach_evaluator.harness_documents import raise_of_the_machine, short

    index = _index()
    if name not in index:
        message = "lm-evaluation-harness has no task of this name."
        near = ", ".join(difflib.get_close_matches(name, list(index), n=_SHOWN, cutoff=0.5))
        remedy = f"Correct the name; these are like it: {near}." if near else "Correct the name."
        raise BadInput(Problem.of("UnknownTask", message, field=field, value=name, remedy=remedy))
    entry = index[name]
    text = load_yaml(entry.yaml_path, resolve_func=False) if entry.yaml_path else {}
    why, remedy = _unfit(entry, text)
    if why:
        raise BadInput(Problem.of("TaskUnsupported", why, field=field, value=name, remedy=remedy))
    _forget_chance()
    try:
        config: dict[str, Any] = deepcopy(load_yaml(entry.yaml_path, resolve_func=True))
    except Exception as error:  # Python of the task, which may want anything
        raise_of_the_machine(error)
        message = f"the task cannot be loaded: {short(error)}."
        remedy = "Choose another task: this image has no library that only some tasks need."
        raise BadInput(Problem.of("TaskUnsupported", message, field=field, value=name, remedy=remedy)) from error
    return {key: value for key, value in config.items() if key not in ("tag", "group", "task_list")}


def _forget_chance() -> None:
    """Have what draws by chance in a task's Python begin anew: another suite may have had the same task."""
    for name, module in list(sys.modules.items()):
        of_a_task = hasattr(module, "__mtime__")  # lm-evaluation-harness keeps what it has read
        if of_a_task and any(isinstance(each, random.Random) for each in vars(module).values()):
            del sys.modules[name]


def _unfit(entry: Any, text: Mapping[str, Any]) -> tuple[str, str]:
    """Return why a task is not run here, if it is not, and what to do."""
    kind, another = entry.kind.name, "Choose another task."
    if kind in ("GROUP", "TAG"):
        members = entry.tags if kind == "TAG" else {_member(each) for each in text.get("task") or ()}
        listed = sorted(members)
        more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
        why = f"this is a group of tasks: {', '.join(listed[:_SHOWN])}{more}."
        return why, "Give each task that counts a suite of its own, with a data set of its documents."
    generation = text.get("generation_kwargs") or {}
    # As lm-evaluation-harness has it: without a word on sampling it is the temperature that says so.
    drawn = generation.get("do_sample")
    if drawn is None:
        drawn = float(generation.get("temperature") or 0) > 0
    reasons = {
        "a class of its own in Python reads its documents.": kind != "TASK" or bool(text.get("custom_dataset")),
        "it runs what the model writes as a program.": bool(text.get("unsafe_code")),
        "it shows the model pictures, or lets it hear sounds.": any(text.get(f"doc_to_{each}") for each in _SENSES),
        "its answers are drawn by chance, so that no two evaluations are the same.": bool(
            drawn or int(text.get("repeats") or 1) > 1
        ),
    }
    return next(((why, another) for why, true in reasons.items() if true), ("", ""))


_SENSES = ("image", "audio")


def _member(each: Any) -> str:
    return str(each.get("task") or each.get("group")) if isinstance(each, Mapping) else str(each)


def _given(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Return what has a task read the documents of a data set, whose files are written into a folder for it."""
    paths = []
    for number, (name, content) in enumerate(dataset.contents):
        path = folder / f"{number:05}{suffix_of(name)}"
        path.write_bytes(content)
        paths.append(str(path))
    return {
        "dataset_path": _READERS[suffix_of(paths[0])],
        "dataset_kwargs": {"data_files": {"test": paths}, "cache_dir": str(folder / "cache"), "keep_in_memory": True},
    }


def _row(task: Task, number: int, document: Mapping[str, Any]) -> Document:
    progress.made()
    asked, right = task.made.doc_to_text(document), task.made.doc_to_target(document)
    choices = task.made.doc_to_choice(document) if task.made.config.doc_to_choice is not None else None
    if isinstance(asked, int):  # the choices are what is asked, and go before the same text
        asked, choices = "\n".join(choices or ()), None
    several = right if isinstance(right, list) else [right]
    target = " | ".join(str(choices[each] if choices and isinstance(each, int) else each) for each in several)
    # What is read may be put together of what is in no column alone.
    texts = dict.fromkeys((*texts_of(document), asked))
    return Document(asked, number, target, tuple(texts), tuple(map(str, choices or ())))


@contextmanager
def _told(name: str, dataset: Dataset) -> Iterator[None]:
    """Turn what a task says of documents that it cannot read into BadInput."""
    from stagecoach_evaluator.harness_documents import raise_of_the_machine, short

    try:
        yield
    except ImportError as error:
        message = f"the task {name} needs what this image does not have: {short(error)}."
        raise BadInput(Problem.of("TaskUnsupported", message, value=name, remedy="Choose another task.")) from error
    except Exception as error:  # templates and Python of the task meet documents of any shape
        raise_of_the_machine(error)
        missing = isinstance(error, KeyError | TemplateError)
        what = "lacks a column that the task reads" if missing else "does not have the documents of the task"
        there = ", ".join(_columns(dataset))
        message = f"{dataset.source.name} {what} {name}: {short(error)}; there are the columns {there}."
        remedy = "Give the documents as the task's own data set has them, from the split that it is judged by."
        field = dataset.field
        raise BadInput(
            Problem.of("DocumentsUnfit", message, field=field, value=dataset.source.name, remedy=remedy)
        ) from error


def _columns(dataset: Dataset) -> list[str]:
    """Return the columns of the first file, as they are."""
    from datasets import Dataset as Table

    name, content = dataset.contents[0]
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        path = Path(folder) / f"documents{suffix_of(name)}"
        path.write_bytes(content)
        try:
            read = getattr(Table, f"from_{_READERS[path.suffix]}")
            return list(read(str(path), cache_dir=folder, keep_in_memory=True).column_names)
        except Exception:  # it is for a message about another fault
            return []
