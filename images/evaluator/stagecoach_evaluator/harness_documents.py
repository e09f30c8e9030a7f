"""A task of lm-evaluation-harness whose documents are made once, and what is told of those that it cannot read.

lm-evaluation-harness makes the documents anew whenever they are read. Some tasks shuffle the choices in them by
chance: each release would be asked other questions.
"""

import errno
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from lm_eval.api.task import ConfigurableTask

from stagecoach.contract.reports import BadInput, Problem

_MAX_TEXT = 200
# What the machine is at fault for, and no document: without room, memory or files that can be opened.
_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EIO, errno.EMFILE, errno.ENFILE}


def seed() -> None:
    """Have chance be the same as in lm-evaluation-harness, by the seeds of its simple_evaluate."""
    random.seed(0)
    np.random.seed(1234)


class Fixed(ConfigurableTask):  # type: ignore[misc] # a class of a library without types
    """That library's class, which makes its documents once."""

    _documents: Any = None

    def test_docs(self) -> Any:
        """Return the documents, always the same."""
        if self._documents is None:
            self._documents = super().test_docs()
        return self._documents

    def build_all_requests(self, **given: Any) -> None:
        """Make the requests. Raises BadInput for a document of which there are none."""
        with self._unfit("make requests of the documents"):
            super().build_all_requests(**given)

    def process_results(self, doc: Any, results: Any) -> Any:
        """Return by metric what the answers to a document are. Raises BadInput where its Python fails."""
        with self._unfit("judge an answer by its document"):
            return super().process_results(doc, results)

    @contextmanager
    def _unfit(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # templates and Python of the task
            raise_of_the_machine(error)
            raise unfit(self.config.task, f"lm-evaluation-harness cannot {what}: {short(error)}.") from error


def unfit(task: str, message: str) -> BadInput:
    """Return what is told of a task that this model cannot be asked."""
    remedy = "Correct the documents, or choose another task or a base with a longer context."
    return BadInput(Problem.of("TaskUnfit", message, value=task, remedy=remedy))


def raise_of_the_machine(error: BaseException) -> None:
    """Raise what an error comes of, if that is the machine: it may be gone when it is tried again."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in _OF_THE_MACHINE):
            raise cause from None
        cause = cause.__cause__ or cause.__context__


def short(error: Exception) -> str:
    """Return what went wrong in a line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
