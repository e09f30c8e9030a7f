"""`make bench-evaluation`: how fast rows are asked, as a ratio to lm-evaluation-harness on the same model in memory.

Both are given the same prompts and the same batch, and take turns in one process on the same model. What is timed
begins with texts and ends with an answer to each row, with the making of tokens on both sides; the clock is that of the
process's own CPU, on one thread, so that what else the machine does counts for neither. Of each turn the ratio is taken,
and of all turns the mean with a 95 % confidence interval (bootstrap). Where the two have not done the same work (other
tokens, other texts written), nothing is compared.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stagecoach.contract.inputs import BaseInput, LabelsInput, Overflow, Prompt, Tokenization
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.prompts import Encoder, encoder_for
from stagecoach.contract.releases import Asked, Engine, Precision, Release
from stagecoach.contract.rows import AnyRow, Pair, Row
from tests.bench.training import WORDS, interval, verdict

ROWS, WRITTEN, BATCH = 32, 16, 16
TO_REACH = 1.0
LETTERS = ("A", "B", "C", "D")
NAMES = ("card_lost", "parcel_late", "refund", "other")

Arm = Callable[[], list[str]]


@dataclass(frozen=True)
class Match:
    """What is asked in two ways: ours and that of lm-evaluation-harness, on one model."""

    name: str
    ours: Arm
    theirs: Arm
    alike: bool = True  # whether the answers have to be the same: of long labels each weighs them in its own way


def _party(labels: Sequence[str], base: Any) -> Any:
    from stagecoach_evaluator.parties import Party

    asked = Asked(
        task="Classification" if labels else "Generation",
        labels=LabelsInput(values=tuple(labels)) if labels else None,
        base=BaseInput(model=base.model, tokenizer=base.tokenizer),
        prompt=Prompt(template="{text}"),
        tokenization=Tokenization(
            max_length=256, max_target_length=None if labels else WRITTEN, overflow=Overflow.REJECT
        ),
    )
    release = Release(asked=asked.digest, artifact=None, engine=Engine(precision=Precision.FLOAT32))
    return Party("the base", release, asked, tuple(labels), None, None)


def _ours(labels: Sequence[str], rows: Sequence[AnyRow], base: Any, loaded: Any, tokens: Encoder) -> list[str]:
    from stagecoach_evaluator import asking

    answers = asking._Rows(_party(labels, base), tokens, base).answers(rows, loaded, lambda *_: None)
    return [(answer.label if labels else answer.text) or "" for answer in answers]


def _task(documents: Sequence[dict[str, str]], **settings: Any) -> Any:
    """Return a task as people write one in YAML."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    data = Dataset.from_list(list(documents))
    given = {"task": "bench", "custom_dataset": lambda **_: {"test": data}, "test_split": "test"}
    metric = {"aggregation": "mean", "higher_is_better": True}
    name = "acc" if settings["output_type"] == "multiple_choice" else "exact_match"
    words = {"doc_to_text": "{{prompt}}", "doc_to_target": "{{target}}", "target_delimiter": "", "num_fewshot": 0}
    return ConfigurableTask(config=given | words | {"metric_list": [{"metric": name, **metric}]} | settings)


def _theirs(task: Any, model: Any, tokenizer: Any) -> list[str]:
    """Run it as `lm_eval` does, and return what each row was answered."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    asked = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=BATCH)
    found = evaluate(lm=asked, task_dict={"tasks": {"bench": task}}, bootstrap_iters=0)
    return [_said(task, each) for each in found["samples"]["bench"]]


def _said(task: Any, sample: Any) -> str:
    first = sample["filtered_resps"][0]
    if isinstance(first, str):
        return first
    likely = [each[0] for each in sample["filtered_resps"]]
    return str(task.doc_to_choice(sample["doc"])[likely.index(max(likely))])


def _by_us(task: Any, model: Any, tokenizer: Any) -> list[str]:
    from stagecoach_evaluator import harness_asking
    from stagecoach_evaluator.harness import Task

    return [answer.text or "" for answer in harness_asking.answers(Task("bench", task), model, tokenizer, BATCH)]


def matches(root: Path) -> list[Match]:
    """Return what is compared, with the model in memory."""
    from stagecoach_evaluator import harness_asking  # noqa: F401 - libraries are imported before anything is timed
    from stagecoach_trainer import asking, bases, places

    os.environ[places.ROOT_VARIABLE] = str(root)
    base = bases.read(ModelSource(name="base", uri="pvc://models/base"), mismatch="", remedy="")
    chance = random.Random(17)  # noqa: S311 - it draws words, not secrets
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(6, 18))) for _ in range(ROWS)]
    tokenizer = bases.load_tokenizer(base)
    found = []
    for name, labels in (("labels of one token", LETTERS), ("labels of several tokens", NAMES), ("texts", ())):
        party = _party(labels, base)
        tokens = encoder_for(party.asked.family, tokenizer, party.asked.prompt, party.asked.tokenization)
        loaded = asking.Loaded(asking.Model(party.asked, party.labels, base, None, "float32"))
        rows = [Row(text, labels[0], 1) if labels else Pair(text, "none", 1) for text in texts]
        prompts = [_prompt(tokens, row, tokenizer) for row in rows]
        documents = [{"prompt": prompt, "target": labels[0] if labels else "none"} for prompt in prompts]
        settings: dict[str, Any] = {"output_type": "multiple_choice", "doc_to_choice": list(labels)}
        if not labels:
            generation = {"until": [], "max_gen_toks": WRITTEN, "do_sample": False}
            settings = {"output_type": "generate_until", "generation_kwargs": generation}
        task = _task(documents, **settings)
        theirs = partial(_theirs, task, loaded.model, tokenizer)
        ours = partial(_ours, labels, rows, base, loaded, tokens)
        found.append(Match(name, ours, theirs, alike=labels != NAMES))
        if labels == NAMES:
            found.append(Match("a task of lm-eval", partial(_by_us, task, loaded.model, tokenizer), theirs))
    return found


def _prompt(tokens: Encoder, row: AnyRow, tokenizer: Any) -> str:
    """Return a prompt as text, of which lm-evaluation-harness makes the same tokens."""
    [encoded] = tokens.all_of(row)
    text = str(tokenizer.decode(list(encoded.ids), skip_special_tokens=False))
    if tokenizer.encode(text, add_special_tokens=False) != list(encoded.ids):
        raise RuntimeError(f"the text of a prompt has other tokens than the prompt: {text!r}")
    return text


def make_base(folder: Path) -> None:
    """Write a random Llama of 4 million weights, with a tokenizer of bytes and the output head of 8,000 tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.unit.trainer.conftest import save_tokenizer

    save_tokenizer(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8_000,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def timed(arm: Arm) -> tuple[float, list[str]]:
    """Return the rows per second of CPU of an arm, and its answers."""
    begun = time.process_time()
    answers = arm()
    return len(answers) / (time.process_time() - begun), answers


def measure(found: Sequence[Match], turns: int) -> dict[str, list[tuple[float, float]]]:
    """Let the two of each match take turns, in an order that changes, and return their rates."""
    rates: dict[str, list[tuple[float, float]]] = {match.name: [] for match in found}
    for number in range(-1, turns):  # the first is for whatever is only done once
        for match in found:
            arms = (match.ours, match.theirs) if number % 2 else (match.theirs, match.ours)
            both = [timed(arm) for arm in arms]
            (ours, one), (theirs, other) = both if number % 2 else reversed(both)
            if len(one) != len(other) or (match.alike and one != other):
                differ = sum(a != b for a, b in zip(one, other, strict=False))
                raise RuntimeError(f"{match.name}: {differ} of {len(one)} answers differ, so the work is not the same")
            if number >= 0:
                rates[match.name].append((ours, theirs))
        told = ", ".join(f"{name} {each[-1][0]:.1f} / {each[-1][1]:.1f}" for name, each in rates.items() if each)
        print(f"turn {number + 1} of {turns}: {told} rows/s", file=sys.stderr, flush=True)
    return rates


def tell(rates: dict[str, list[tuple[float, float]]]) -> int:
    """Print a table and what was missed."""
    print("| asked | rows/s of the evaluator | of lm-eval | ratio (95 % interval) |\n|---|---|---|---|")
    found = {}
    for name, each in rates.items():
        mean, low, high = interval([ours / theirs for ours, theirs in each])
        ours, theirs = (sum(numbers) / len(each) for numbers in zip(*each, strict=True))
        print(f"| {name} | {ours:.1f} | {theirs:.1f} | {mean:.3f} ({low:.3f} to {high:.3f}) |")
        found[f"lm-eval with {name}"] = (mean, low)
    return verdict(found, TO_REACH)


def main(options: argparse.Namespace) -> int:
    """Measure and tell."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        for each in ("storage", "scratch", "pvc/models/base"):
            (root / each).mkdir(parents=True)
        make_base(root / "pvc/models/base")
        return tell(measure(matches(root), options.turns))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=12, help="of each (default: 12)")
    sys.exit(main(parser.parse_args()))
