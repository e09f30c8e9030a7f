"""`compare`: how often base and tuned model choose the right label, what they find in a text, how like the targets is
what they write, or at which rank they find what answers a query.

It is a look at a run for people. Whether a model may be served is decided by a gate, on data that no run has seen.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from stagecoach.contract.digests import Manifest
from stagecoach.contract.inputs import (
    AnyColumns,
    Columns,
    CompletionColumns,
    Family,
    MatchColumns,
    MessagesColumns,
    PairColumns,
    SpanColumns,
    WordColumns,
)
from stagecoach.contract.jobs import DataSource, ModelSource, Split
from stagecoach.contract.prompts import TooLong
from stagecoach.contract.records import Record, RunRecord
from stagecoach.contract.reports import BadInput
from stagecoach.contract.rows import AnyRow, File, Match, Row
from stagecoach.contract.store import StorageFailed, Store, require_storage
from stagecoach.contract.tagged import Marked, Words
from stagecoach.contract.uris import BadUri
from stagecoach_trainer import authorities, bases, cgroup, copies, lookup, places, quiet, sources

UNTRAINED_HEAD = (
    "The base's head was never trained on these labels: its numbers are chance, and only show what was there to win."
)
ANY_DIFFERENCE = "Use the content that the record names."


class Unsaid(Exception):
    """What there is to say on the command line; the text says what."""


@dataclass(frozen=True)
class Score:
    """How many rows of a label there were, and how many of them base and tuned model got right."""

    rows: int
    base: int
    tuned: int


def main(options: argparse.Namespace) -> int:
    """Measure, print a table, and return the exit code."""
    try:
        _compare(options)
    except (BadInput, StorageFailed) as error:
        print(error, file=sys.stderr)
        return 64 if isinstance(error, BadInput) else 69
    except (BadUri, OSError, TooLong, Unsaid) as error:
        print(error, file=sys.stderr)
        return 64
    return 0


def _compare(options: argparse.Namespace) -> None:
    authorities.trust()
    storage = places.storage()
    require_storage(storage)
    record, manifest = _made(storage, options.inputs, options.artifact)
    threads = record.hardware.threads if isinstance(record, Record) else cgroup.cpus()
    quiet.prepare(options.threads or min(threads, cgroup.cpus()))
    measure, kinds = _measure(record)
    rows = list(_rows(options.data, options.columns, record, kinds))[: options.limit]
    base = _base(record, options.base)
    found = measure(record, base, copies.artifact(storage, manifest), rows, options.batch_size)
    if options.json:
        document = {"inputs": record.inputs_digest, "artifact": record.artifact.digest} | found
        Path(options.json).write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


def _made(storage: Store, inputs: str, artifact: str | None) -> tuple[RunRecord, Manifest]:
    """Return the newest run with these inputs that has its artifact, or of those that made the one that is named."""
    known = [each.record for each in lookup.records(storage, inputs)]
    made = [record for record in known if artifact in (None, record.artifact.digest)]
    if not made:
        which = f" that made the artifact {artifact}" if known else ""
        raise FileNotFoundError(f"{storage.path()} holds no complete run with the inputs {inputs}{which}")
    for record in made:
        if manifest := storage.verified(record.artifact.digest):
            return record, manifest
    raise FileNotFoundError(lookup.absent(storage, made[0]))


def _measure(record: RunRecord) -> tuple[Callable[..., dict[str, Any]], tuple[type[BaseModel], ...]]:
    """Return what there is to compare in models of the record's task, and which columns such rows may have."""
    if record.inputs.embeds:
        return _finding, (MatchColumns,)
    if record.inputs.tags:
        return _tagging, (WordColumns, SpanColumns)
    if record.inputs.labels:
        return _choosing, (Columns,)
    return _writing, (PairColumns, CompletionColumns, MessagesColumns)


def _rows(
    place: str | None, columns: str | None, record: RunRecord, kinds: tuple[type[BaseModel], ...]
) -> Iterator[AnyRow]:
    if place is None:
        if columns is not None:
            raise Unsaid("--columns is for the file of --data: name that too")
        found = _validation(record)
    elif "://" in place:
        known = _columns(columns, record, kinds)
        found = [DataSource(name="data", uri=place, split=Split.VALIDATION, columns=known)]
    else:
        file = File(Path(place).name, _columns(columns, record, kinds))
        yield from sources.rows(Path(place).read_bytes(), file)
        return
    for source in found:
        yield from sources.read(source, mismatch="InputChanged", remedy=ANY_DIFFERENCE).rows


def _columns(given: str | None, record: RunRecord, kinds: tuple[type[BaseModel], ...]) -> AnyColumns:
    """Return what the columns of a named file are called: as it is said, or as those of the record's own data."""
    forms = " or ".join(json.dumps(dict.fromkeys(kind.model_fields, "…"), ensure_ascii=False) for kind in kinds)
    if given is not None:
        with suppress(ValidationError):
            found = TypeAdapter[AnyColumns](AnyColumns).validate_json(given)
            if isinstance(found, kinds):
                return found
        raise Unsaid(f"--columns {given} does not name the columns of a {record.inputs.task}, as {forms} does")
    if isinstance(record, Record):
        return (record.inputs.validation or record.inputs.train)[0].columns
    if record.inputs.label_columns is None:
        raise Unsaid(f"the record of an import does not know the columns of other data: name them by --columns {forms}")
    return record.inputs.label_columns


def _validation(record: RunRecord) -> list[DataSource]:
    if not isinstance(record, Record):
        raise Unsaid("the run is an import, and its record names no validation set: name a file of rows by --data")
    used = [item for item in record.data if item.split is Split.VALIDATION]
    if not used:
        raise Unsaid("the run had no validation set: name a file of rows by --data")
    return [
        DataSource(
            name=item.name,
            uri=item.uri,
            revision=item.revision,
            hub=item.hub,
            split=item.split,
            columns=given.columns,
            digest=item.digest,
        )
        for item, given in zip(used, record.inputs.validation, strict=True)
    ]


def _choosing(record: RunRecord, base: bases.Base, artifact: str, rows: list[AnyRow], batch: int) -> dict[str, Any]:
    """Print how often the right label is chosen, and return it for programs."""
    from stagecoach_trainer import choosing

    labelled = [row for row in rows if isinstance(row, Row)]
    chosen = choosing.choices(record, base, artifact, [row.text for row in labelled], batch)
    scores = _scores(record, labelled, *chosen)
    print(table(scores, _name(record)))
    if _has_new_head(record, base):
        print(UNTRAINED_HEAD)
    return numbers(record, scores)


def _tagging(record: RunRecord, base: bases.Base, artifact: str, rows: list[AnyRow], batch: int) -> dict[str, Any]:
    """Print how much of what is marked is found, and return it for programs."""
    from stagecoach_trainer import tagging

    tagged = [row for row in rows if isinstance(row, Words | Marked)]
    before, after = tagging.found(record, base, artifact, tagged, batch)
    print(tagging.table(before, after, _name(record)))
    if _has_new_head(record, base):
        print(UNTRAINED_HEAD)
    return tagging.numbers(before, after, _name(record))


def _writing(record: RunRecord, base: bases.Base, artifact: str, rows: list[AnyRow], batch: int) -> dict[str, Any]:
    """Print how like the targets is what is written, and return it for programs."""
    from stagecoach_trainer import likeness, writing

    targets = [row.target for row in rows]
    before, after = (likeness.likeness(texts, targets) for texts in writing.texts(record, base, artifact, rows, batch))
    print(likeness.table(len(rows), before, after, _name(record)))
    return likeness.numbers(len(rows), before, after, _name(record))


def _finding(record: RunRecord, base: bases.Base, artifact: str, rows: list[AnyRow], batch: int) -> dict[str, Any]:
    """Print how well passages are found, and return it for programs."""
    from stagecoach_trainer import finding

    matches = [row for row in rows if isinstance(row, Match)]
    ranks = finding.ranks(record, base, artifact, matches, batch)
    print(finding.table(*ranks, _name(record)))
    return finding.numbers(*ranks, _name(record))


def _has_new_head(record: RunRecord, base: bases.Base) -> bool:
    if record.inputs.family is not Family.ENCODER:
        return False
    from stagecoach_trainer.families import encoder, tagger

    return not encoder.keeps_head(base.folder, record.labels, tagger.head_of(record.inputs))


def _base(record: RunRecord, folder: str | None) -> bases.Base:
    source = ModelSource(
        name=record.base.name,
        uri=record.base.uri,
        revision=record.base.revision,
        model=record.base.model,
        tokenizer=record.base.tokenizer,
    )
    inputs = record.inputs
    return bases.read(
        source,
        mismatch="InputChanged",
        remedy=ANY_DIFFERENCE,
        folder=folder,
        family=inputs.family,
        embeds=inputs.embeds,
    )


def _name(record: RunRecord) -> str:
    return record.artifact.type.lower()


def _scores(record: RunRecord, rows: list[Row], before: list[int | None], after: list[int | None]) -> dict[str, Score]:
    total = Counter(row.label for row in rows)
    right = [
        Counter(
            row.label
            for row, choice in zip(rows, chosen, strict=True)
            if choice is not None and record.labels[choice] == row.label
        )
        for chosen in (before, after)
    ]
    return {label: Score(total[label], right[0][label], right[1][label]) for label in sorted(total)}


def overall(scores: dict[str, Score]) -> Score:
    """Return the scores of all labels together."""
    values = scores.values()
    return Score(sum(s.rows for s in values), sum(s.base for s in values), sum(s.tuned for s in values))


def table(scores: dict[str, Score], tuned: str) -> str:
    """Return accuracy by label and overall, as plain text; `tuned` is what was trained: adapter or model."""
    width = max(len("accuracy"), *map(len, scores))
    lines = [f"{'':{width}}  {'rows':>6}  {'base':>6}  {tuned:>7}"]
    for name, score in ({"accuracy": overall(scores)} | scores).items():
        lines.append(
            f"{name:{width}}  {score.rows:>6}  {score.base / score.rows:>6.3f}  {score.tuned / score.rows:>7.3f}"
        )
    return "\n".join(lines)


def numbers(record: RunRecord, scores: dict[str, Score]) -> dict[str, Any]:
    """Return the same for programs."""

    name = _name(record)

    def accuracy(score: Score) -> dict[str, Any]:
        return {"rows": score.rows, "base": score.base / score.rows, name: score.tuned / score.rows}

    return {
        "accuracy": accuracy(overall(scores)),
        "labels": {label: accuracy(score) for label, score in scores.items()},
    }
