"""`compare`: how often base and adapter choose the right label, asked with the same prompt, free to choose labels only.

It is a look at a run for people. Whether a model may be served is decided by a gate, on data that no run has seen.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagecoach.contract.inputs import Columns
from stagecoach.contract.jobs import DataSource, ModelSource, Split
from stagecoach.contract.prompts import Encoder, TooLong
from stagecoach.contract.records import Record
from stagecoach.contract.reports import BadInput
from stagecoach.contract.rows import File, Row
from stagecoach.contract.store import StorageFailed, require_storage
from stagecoach.contract.uris import BadUri
from stagecoach_trainer import bases, cgroup, copies, lookup, places, quiet, sources

ANY_DIFFERENCE = "Use the content that the record names."


@dataclass(frozen=True)
class Score:
    """How many rows of a label there were, and how many of them each model got right."""

    rows: int
    base: int
    adapter: int


def main(options: argparse.Namespace) -> int:
    """Measure, print a table, and return the exit code."""
    try:
        _compare(options)
    except (BadInput, StorageFailed) as error:
        print(error, file=sys.stderr)
        return 64 if isinstance(error, BadInput) else 69
    except (BadUri, OSError, TooLong) as error:
        print(error, file=sys.stderr)
        return 64
    return 0


def _compare(options: argparse.Namespace) -> None:
    storage = places.storage()
    require_storage(storage)
    known = lookup.read_record(storage, options.inputs)
    manifest = storage.verified(known[0].artifact.digest) if known else None
    if known is None or manifest is None:
        raise FileNotFoundError(f"{storage.path()} holds no complete run with the inputs {options.inputs}")
    record = known[0]
    quiet.prepare(options.threads or min(record.hardware.threads, cgroup.cpus()))
    rows = list(_rows(options.data, record))[: options.limit]
    scores = _measure(record, copies.artifact(storage, manifest), rows, options)
    print(table(scores))
    if options.json:
        Path(options.json).write_text(json.dumps(numbers(record, scores), ensure_ascii=False, indent=2) + "\n")


def _rows(place: str | None, record: Record) -> Iterator[Row]:
    columns = (record.inputs.validation or record.inputs.train)[0].columns
    if place is not None and "://" not in place:
        yield from sources.rows(Path(place).read_bytes(), File(Path(place).name, columns))
        return
    for source in _sources(place, columns, record):
        yield from sources.read(source, mismatch="InputChanged", remedy=ANY_DIFFERENCE).rows


def _sources(uri: str | None, columns: Columns, record: Record) -> list[DataSource]:
    if uri is not None:
        return [DataSource(name="data", uri=uri, split=Split.VALIDATION, columns=columns)]
    used = [item for item in record.data if item.split is Split.VALIDATION]
    if not used:
        raise FileNotFoundError("the run had no validation set: name a file by --data")
    return [
        DataSource(name=item.name, uri=item.uri, split=item.split, columns=given.columns, digest=item.digest)
        for item, given in zip(used, record.inputs.validation, strict=True)
    ]


def _measure(record: Record, adapter: str, rows: list[Row], options: argparse.Namespace) -> dict[str, Score]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = _base(record, options.base)
    encoder = Encoder(bases.load_tokenizer(base), record.inputs.prompt, record.inputs.tokenization)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, record.training.precision)
    loaded: Any = AutoModelForCausalLM.from_pretrained(base.folder, dtype=dtype, local_files_only=True)
    model = PeftModel.from_pretrained(loaded, adapter).to(device).eval()
    chooser = Chooser(model, [encoder.completion(label) for label in record.labels])
    prompts = [encoder.encode(row.text).ids for row in rows]
    with model.disable_adapter():
        before = _chosen(chooser, prompts, options.batch_size, "base")
    after = _chosen(chooser, prompts, options.batch_size, "adapter")
    return _scores(record, rows, before, after)


def _base(record: Record, folder: str | None) -> bases.Base:
    source = ModelSource(
        name=record.base.name,
        uri=record.base.uri,
        revision=record.base.revision,
        model=record.base.model,
        tokenizer=record.base.tokenizer,
    )
    return bases.read(source, mismatch="InputChanged", remedy=ANY_DIFFERENCE, folder=folder)


class Chooser:
    """Chooses among completions by the likeliest next token that any of them still allows.

    Writing ends where only one choice is left: what would follow is that choice whatever the model thinks.
    """

    def __init__(self, model: Any, choices: Sequence[tuple[int, ...]]) -> None:
        self._model = model
        self._choices = choices

    def choose(self, prompts: Sequence[tuple[int, ...]]) -> list[int]:
        """Return the index of the choice for each prompt (token ids)."""
        import torch

        width = max(map(len, prompts))
        device = self._model.device
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=max(map(len, self._choices)),
                pad_token_id=0,
                prefix_allowed_tokens_fn=lambda _, sequence: self._allowed(sequence[width:].tolist()),
                stopping_criteria=[
                    lambda sequences, _: torch.tensor(
                        [len(self._left(sequence[width:].tolist())) == 1 for sequence in sequences], device=device
                    )
                ],
            )
        return [self._left(sequence[width:].tolist())[0] for sequence in output]

    def _allowed(self, written: list[int]) -> list[int]:
        """Return the tokens that may come next; any for a row that is decided."""
        left = self._left(written)
        following = {self._choices[index][len(written)] for index in left if len(self._choices[index]) > len(written)}
        return sorted(following) if len(left) > 1 else [0]

    def _left(self, written: list[int]) -> list[int]:
        """Return the indices of the choices that begin like this; what comes after the decision is ignored."""
        left = list(range(len(self._choices)))
        for position, token in enumerate(written):
            if len(left) == 1:
                break
            left = [index for index in left if self._choices[index][position : position + 1] == (token,)]
        return left


def _chosen(chooser: Chooser, prompts: list[tuple[int, ...]], batch: int, name: str) -> list[int]:
    """Choose for all prompts, those of similar length together; return choices in the prompts' order."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    found = [0] * len(prompts)
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        for index, choice in zip(part, chooser.choose([prompts[index] for index in part]), strict=True):
            found[index] = choice
        print(f"{name}: {min(start + batch, len(order))} of {len(order)} rows", file=sys.stderr, flush=True)
    return found


def _scores(record: Record, rows: list[Row], before: list[int], after: list[int]) -> dict[str, Score]:
    total = Counter(row.label for row in rows)
    right = [
        Counter(row.label for row, choice in zip(rows, chosen, strict=True) if record.labels[choice] == row.label)
        for chosen in (before, after)
    ]
    return {label: Score(total[label], right[0][label], right[1][label]) for label in sorted(total)}


def overall(scores: dict[str, Score]) -> Score:
    """Return the scores of all labels together."""
    values = scores.values()
    return Score(sum(s.rows for s in values), sum(s.base for s in values), sum(s.adapter for s in values))


def table(scores: dict[str, Score]) -> str:
    """Return accuracy by label and overall, as plain text."""
    width = max(len("accuracy"), *map(len, scores))
    lines = [f"{'':{width}}  {'rows':>6}  {'base':>6}  {'adapter':>7}"]
    for name, score in ({"accuracy": overall(scores)} | scores).items():
        lines.append(
            f"{name:{width}}  {score.rows:>6}  {score.base / score.rows:>6.3f}  {score.adapter / score.rows:>7.3f}"
        )
    return "\n".join(lines)


def numbers(record: Record, scores: dict[str, Score]) -> dict[str, Any]:
    """Return the same for programs."""

    def accuracy(score: Score) -> dict[str, Any]:
        return {"rows": score.rows, "base": score.base / score.rows, "adapter": score.adapter / score.rows}

    return {
        "inputs": record.inputs_digest,
        "artifact": record.artifact.digest,
        "accuracy": accuracy(overall(scores)),
        "labels": {label: accuracy(score) for label, score in scores.items()},
    }
