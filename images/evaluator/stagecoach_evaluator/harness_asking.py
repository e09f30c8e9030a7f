"""Asking a model as lm-evaluation-harness asks it: by its own model class and its own evaluation."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM

from stagecoach.contract import progress
from stagecoach.contract.answers import Answer
from stagecoach_evaluator.harness import Task
from stagecoach_evaluator.harness_documents import seed, unfit
from stagecoach_evaluator.reading import NOT_NUMBERS

# Bytes of what a model says of all tokens at all positions of a batch, in float32. Their probabilities come on top.
LOGITS = 2**30
_TOO_SHORT = "must be less than model's maximum sequence length"


class _Told(HFLM):  # type: ignore[misc] # a class of a library without types
    """That model class, which says that it moves, and draws no bars into a log.

    Of a batch it looks at the last positions alone, in which all continuations are: lm-evaluation-harness takes the
    logarithms of the probabilities of all tokens at all positions, and then those. They are the same to the bit.
    """

    task = ""
    _longest = 0  # tokens of a continuation

    def loglikelihood(self, requests: Any, disable_tqdm: bool = True) -> Any:
        return super().loglikelihood(requests, disable_tqdm)

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = True) -> Any:
        return super().loglikelihood_rolling(requests, disable_tqdm)

    def generate_until(self, requests: Any, disable_tqdm: bool = True) -> Any:
        return super().generate_until(requests, disable_tqdm)

    def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = True, override_bs: int | None = None) -> Any:
        # What it has of these are assertions without a word.
        if any(not context or not continuation for _, context, continuation in requests):
            raise unfit(self.task, "a document of the task leaves nothing to be asked, or nothing to be answered.")
        self._longest = max((len(continuation) for _, _, continuation in requests), default=0)
        if self._longest > self.max_length:
            message = f"an answer of {self._longest} tokens is longer than the base's context of {self.max_length}."
            raise unfit(self.task, message)
        whole: int = self.batch_size_per_gpu  # type: ignore[has-type] # that class sets it
        self.batch_size_per_gpu = min(whole, self._most(requests))
        try:
            return super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
        finally:
            self.batch_size_per_gpu = whole

    def _most(self, requests: Any) -> int:
        """Return how many of the longest prompts are asked at once, so that what is said of them fits."""
        longest = max((len(context) + len(continuation) for _, context, continuation in requests), default=1)
        positions: int = min(longest, self.max_length)
        vocabulary: int = self.config.get_text_config().vocab_size
        return max(1, LOGITS // (4 * positions * vocabulary))

    def _model_call(self, inps: Any, *args: Any, **kwargs: Any) -> Any:
        progress.made()
        logits = super()._model_call(inps, *args, **kwargs)
        # Padding is of zeros, at the end; a token that is 0 itself makes no more than a position too many.
        width = inps.shape[1]
        positions = torch.arange(1, width + 1, device=inps.device)
        padding = width - int(((inps != 0) * positions).amax(dim=1).min())
        return logits[:, -min(self._longest + padding, logits.shape[1]) :]

    def _model_generate(self, *args: Any, **kwargs: Any) -> Any:
        progress.made()
        return super()._model_generate(*args, **kwargs)


def answers(task: Task, model: Any, tokenizer: Any, batch: int) -> list[Answer]:
    """Return what a model that is in memory says to each document of a task. Raises BadInput."""
    asked = _Told(pretrained=model, tokenizer=tokenizer, batch_size=batch)
    asked.task = task.name
    seed()  # a task may judge by chance: for all releases by the same
    try:
        with torch.inference_mode():
            found = evaluate(lm=asked, task_dict={"tasks": {task.name: task.made}}, bootstrap_iters=0, log_samples=True)
    except AssertionError as error:
        if _TOO_SHORT not in str(error):
            raise
        raise unfit(task.name, f"lm-evaluation-harness cannot ask this of the model: {error}") from error
    samples: dict[int, list[Mapping[str, Any]]] = {}
    for each in found["samples"][task.name]:
        samples.setdefault(each["doc_id"], []).append(each)
    return [_answer(task, row, samples[row]) for row in range(len(task.documents))]


def _answer(task: Task, row: int, samples: Sequence[Mapping[str, Any]]) -> Answer:
    values = {
        task.called(metric, each["filter"]): _plain(each[metric])
        for each in samples
        for metric in each["metrics"]
        if task.called(metric, each["filter"]) in task.aggregations
    }
    said = samples[0]
    if not all(map(_is_told, (*values.values(), _plain(said["resps"])))):
        return Answer(row=row, error=NOT_NUMBERS)
    return Answer(row=row, text=_text(task, said), values=values)


def _text(task: Task, said: Mapping[str, Any]) -> str | None:
    """Return what was written, or which choice is the likeliest."""
    first = said["filtered_resps"][0]
    if isinstance(first, str):
        return first
    if task.made.OUTPUT_TYPE != "multiple_choice":
        return None
    choices: list[str] = task.made.doc_to_choice(said["doc"])
    likely = [float(each[0]) for each in said["filtered_resps"][: len(choices)]]
    return choices[likely.index(max(likely))]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: numbers of numpy are numbers, and tuples are lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    as_plain: Callable[[], Any] | None = getattr(value, "tolist", None)
    return value if as_plain is None else as_plain()


def _is_told(value: Any) -> bool:
    """Whether there is no number in it that is none."""
    if isinstance(value, dict):
        return all(map(_is_told, value.values()))
    if isinstance(value, list):
        return all(map(_is_told, value))
    return not isinstance(value, float) or math.isfinite(value)
