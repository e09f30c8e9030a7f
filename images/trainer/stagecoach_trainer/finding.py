"""How well a model finds what answers a query: what `compare` counts, and a gate judges, of an Embedding.

Every passage that is an answer in any of the rows stands among the candidates; an answer to the same query that another
row has is neither right nor wrong. The rank of the one right passage is all that the usual numbers are made of.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from stagecoach.contract.prompts import Encoder, encoder_for, for_passages
from stagecoach.contract.records import RunRecord
from stagecoach.contract.rows import Match
from stagecoach_trainer import asking, bases, nearest
from stagecoach_trainer.asking import Ask, Prompts, Questions
from stagecoach_trainer.bases import Base
from stagecoach_trainer.families import embedding, with_padding

CUT = 10
# By rank, from 1 on; each is the mean over all rows.
MEASURES: dict[str, Callable[[int], float]] = {
    "recall@1": lambda rank: float(rank == 1),
    f"recall@{CUT}": lambda rank: float(rank <= CUT),
    f"MRR@{CUT}": lambda rank: 1 / rank if rank <= CUT else 0.0,
    f"nDCG@{CUT}": lambda rank: 1 / math.log2(1 + rank) if rank <= CUT else 0.0,
}


def ranks(
    record: RunRecord, base: Base, artifact: str, rows: Sequence[Match], batch: int
) -> tuple[list[int], list[int], int]:
    """Return at which rank the base, and what was trained from it, find each row's passage, and among how many."""
    inputs = record.inputs
    queries = encoder_for(inputs.family, bases.load_tokenizer(base), inputs.prompt, inputs.tokenization)
    before, after = asking.both(record, base, artifact, questions(base.pooling, queries, rows), batch)
    return before, after, len({row.positive for row in rows})


def questions(
    pooling: str | None, queries: Encoder, rows: Sequence[Match], others: Sequence[str] = ()
) -> Questions[Any, list[int]]:
    """Return what is asked of rows: the rank of each row's passage among these and others. Raises as `encode` does."""
    passages = for_passages(queries)
    asked, there = list(dict.fromkeys(row.query for row in rows)), list(dict.fromkeys(row.positive for row in rows))
    there = list(dict.fromkeys([*there, *others]))
    prompts = [queries.encode(text).ids for text in asked] + [passages.encode(text).ids for text in there]

    def ranks(vectors: list[Any]) -> list[int]:
        each = [vector.numpy() for vector in vectors]
        own, others = each[: len(asked)], each[len(asked) :]
        return nearest.ranks(rows, dict(zip(asked, own, strict=True)), dict(zip(there, others, strict=True)))

    return Questions(prompts, lambda model: _embedder(model, pooling, queries.tokenizer), ranks)


def _embedder(model: Any, mode: str | None, tokenizer: Any) -> Ask[Any]:
    pad = with_padding(tokenizer).pad

    def embed(prompts: Prompts) -> list[Any]:
        texts = pad({"input_ids": [list(prompt) for prompt in prompts]}, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            return list(embedding.vectors(model, mode, texts).cpu())

    return embed


def mean(measure: Callable[[int], float], found: Sequence[int]) -> float:
    """Return the mean of a measure over ranks."""
    return sum(map(measure, found)) / len(found)


def table(base: Sequence[int], tuned: Sequence[int], passages: int, name: str) -> str:
    """Return both as plain text; `name` is what was trained: adapter or model."""
    lines = [f"{'':9}  {'rows':>6}  {'base':>6}  {name:>7}"]
    for title, measure in MEASURES.items():
        lines.append(f"{title:9}  {len(base):>6}  {mean(measure, base):>6.3f}  {mean(measure, tuned):>7.3f}")
    return "\n".join((*lines, f"Each row's positive is looked for among {passages} passages."))


def numbers(base: Sequence[int], tuned: Sequence[int], passages: int, name: str) -> dict[str, Any]:
    """Return both for programs."""
    return {"passages": passages} | {
        title: {"rows": len(base), "base": mean(measure, base), name: mean(measure, tuned)}
        for title, measure in MEASURES.items()
    }
