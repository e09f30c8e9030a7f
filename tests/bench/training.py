"""`make bench-training`: how fast the trainer trains, as a ratio to a script of a few lines that does the same.

The arms take turns on the same machine, each in a process of its own; what is compared is tokens per second of the
training alone. Of each turn the ratio is taken, and of all turns the mean with a 95 % confidence interval (bootstrap).
Arms that do not train on equally many tokens do not do the same, and nothing is compared.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stagecoach.contract.inputs import BaseInput, Columns, DataInput, LabelsInput, Overflow, Prompt, Tokenization
from stagecoach.contract.jobs import DataSource, ModelSource, Split, TrainJob
from stagecoach.contract.records import Record
from tests.unit.contract.documents import METHOD, OWNER, SETTINGS, SUBJECT, run_inputs

LABELS = ("card_lost", "parcel_late", "refund", "other")
WORDS = (
    "the",
    "customer",
    "asks",
    "when",
    "a",
    "card",
    "that",
    "was",
    "ordered",
    "will",
    "arrive",
    "and",
    "who",
    "pays",
)
ROWS, EPOCHS, BATCH = 384, 1, 8
PROMPT = Prompt(template="{text}")
TO_REACH = 0.98


def arm_stagecoach(root: Path, threads: int) -> dict[str, float]:
    """Train by the trainer's own program code, as a Job does, and read the record."""
    from stagecoach_trainer import bases, lookup, places, sources, train

    os.environ[places.ROOT_VARIABLE] = str(root)
    source = DataSource(name="train", uri="pvc://data/train.csv", split=Split.TRAIN, columns=Columns())
    base = bases.read(ModelSource(name="base", uri="pvc://models/base"), mismatch="", remedy="")
    digest = sources.read(source, mismatch="", remedy="").digest
    settings = {"epochs": EPOCHS, "per_device_batch_size": BATCH, "learning_rate": 1e-4}
    inputs = run_inputs(
        labels=LabelsInput(values=LABELS),
        base=BaseInput(model=base.model, tokenizer=base.tokenizer),
        train=(DataInput(digest=digest, columns=Columns()),),
        prompt=PROMPT,
        tokenization=Tokenization(max_length=512, overflow=Overflow.REJECT),
        hyperparameters=SETTINGS.model_copy(update=settings),
    )
    job = TrainJob(
        subject=SUBJECT,
        project="bench",
        owner=OWNER,
        attempt=1,
        force=True,
        inputs=inputs,
        base=ModelSource(name="base", uri="pvc://models/base", model=base.model, tokenizer=base.tokenizer),
        train=(source.model_copy(update={"digest": digest}),),
        validation=(),
        image="none",
        threads=threads,
    )
    train.train(job)
    found = lookup.read_record(places.storage(), inputs.digest)
    assert found is not None
    assert isinstance(found[0], Record)
    training = found[0].training
    return {"tokens": training.tokens, "seconds": training.seconds}


def arm_script(root: Path, threads: int, *, labelled_only: bool = False) -> dict[str, float]:
    """Train by TRL's SFTTrainer and PEFT as their documentation shows it, with the same settings."""
    import csv
    import time

    import torch
    import trl.trainer.utils
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(threads)
    if labelled_only:
        # What TRL does by itself where there is a GPU: the head scores only positions that have a label.
        trl.trainer.utils._use_triton = lambda _device: True
    with (root / "pvc/data/train.csv").open() as stream:
        rows = [
            {
                "prompt": [{"role": "user", "content": row["text"]}],
                "completion": [{"role": "assistant", "content": row["label"]}],
            }
            for row in csv.DictReader(stream)
        ]
    trainer = SFTTrainer(
        model=str(root / "pvc/models/base"),
        args=SFTConfig(
            output_dir=str(root / "out"),
            learning_rate=1e-4,
            lr_scheduler_type="constant",
            per_device_train_batch_size=BATCH,
            num_train_epochs=EPOCHS,
            model_init_kwargs={"dtype": "float32"},
            gradient_checkpointing=False,
            max_length=512,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            bf16=False,
            seed=SETTINGS.seed,
        ),
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(
            r=METHOD.rank, lora_alpha=METHOD.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    tokens = EPOCHS * sum(len(row["input_ids"]) for row in trainer.train_dataset)
    started = time.monotonic()
    trainer.train()
    return {"tokens": tokens, "seconds": time.monotonic() - started}


def arm_script_labelled(root: Path, threads: int) -> dict[str, float]:
    """The same script, with what TRL does on a GPU by itself."""
    return arm_script(root, threads, labelled_only=True)


ARMS: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "stagecoach": arm_stagecoach,
    "script": arm_script,
    "script, labelled positions only": arm_script_labelled,
}


def make_base(folder: Path) -> None:
    """Write a random Llama of 9 million weights, with a tokenizer of bytes and the output head of 16,000 tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.unit.trainer.conftest import TEMPLATE, save_tokenizer

    save_tokenizer(folder)
    # Nothing comes after the end of a turn: the script would train on that too, the trainer does not.
    (folder / "chat_template.jinja").write_text(TEMPLATE.replace("<|end|>\n", "<|end|>"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16_000,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def make_project(root: Path) -> None:
    """Make the folders that a pod of the trainer would find, with a base and rows of different lengths."""
    for folder in ("storage", "scratch", "pvc/data", "pvc/models/base", "configmap"):
        (root / folder).mkdir(parents=True)
    make_base(root / "pvc/models/base")
    chance = random.Random(17)  # noqa: S311 - it draws words, not secrets
    rows = [f"{' '.join(chance.choices(WORDS, k=chance.randint(8, 24)))},{chance.choice(LABELS)}" for _ in range(ROWS)]
    (root / "pvc/data/train.csv").write_text("\n".join(["text,label", *rows]) + "\n")


def turn(arm: str, root: Path, threads: int) -> tuple[int, float]:
    """Run an arm in a process of its own; return how many tokens it trained on, and its seconds."""
    command = [
        sys.executable,
        "-m",
        "tests.bench.training",
        "--arm",
        arm,
        "--root",
        str(root),
        "--threads",
        str(threads),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{arm} failed: {done.stderr[-2000:]}")
    numbers = json.loads(done.stdout.splitlines()[-1])
    return int(numbers["tokens"]), float(numbers["seconds"])


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Return the mean ratio and the bounds of its 95 % interval, by the bootstrap over turns."""
    chance = random.Random(17)  # noqa: S311 - it draws turns, not secrets
    means = [statistics.fmean(chance.choices(ratios, k=len(ratios))) for _ in range(10_000)]
    cuts = statistics.quantiles(means, n=40)
    return statistics.fmean(ratios), cuts[0], cuts[-1]


def verdict(found: dict[str, tuple[float, float]], to_reach: float) -> int:
    """Print which ratios are missed, by their means, and which may be, by where their intervals begin; 1 if any is."""
    unsure = [f"beside {peer} it begins at {low:.3f}" for peer, (mean, low) in found.items() if low < to_reach <= mean]
    missed = [f"{mean:.3f} of the speed of {peer}" for peer, (mean, _) in found.items() if mean < to_reach]
    if unsure:
        print(f"Reached by the mean, and not by the whole interval: {' and '.join(unsure)}.")
    if missed:
        print(f"Missed: {' and '.join(missed)}, where {to_reach:g} is to be reached.")
    return 1 if missed else 0


def measure(turns: int, threads: int) -> dict[str, list[float]]:
    """Let the arms take turns, in an order that changes, and return their rates."""
    rates: dict[str, list[float]] = {arm: [] for arm in ARMS}
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        root = Path(folder).resolve()
        make_project(root)
        for number in range(turns):
            order = list(ARMS) if number % 2 == 0 else list(reversed(ARMS))
            for arm in order:
                counts[arm], seconds = turn(arm, root, threads)
                rates[arm].append(counts[arm] / seconds)
                shutil.rmtree(root / "storage")
                (root / "storage").mkdir()
            check_same(counts)
            told = ", ".join(f"{arm} {rates[arm][-1]:.0f}" for arm in ARMS)
            print(f"turn {number + 1} of {turns}: {told} tokens/s", file=sys.stderr, flush=True)
    return rates


def check_same(counts: dict[str, int]) -> None:
    """Raise RuntimeError when arms have not trained on equally many tokens."""
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{arm} {count}" for arm, count in counts.items())
        raise RuntimeError(f"the arms trained on different numbers of tokens: {told}")


def main(options: argparse.Namespace) -> int:
    """Measure, and print a table and what was missed."""
    rates = measure(options.turns, options.threads)
    print("| peer | tokens/s of the trainer | of the peer | ratio (95 % interval) |\n|---|---|---|---|")
    found = {}
    ours = rates.pop("stagecoach")
    for peer, theirs in rates.items():
        mean, low, high = interval([one / other for one, other in zip(ours, theirs, strict=True)])
        means = (sum(ours) / len(ours), sum(theirs) / len(theirs))
        print(f"| {peer} | {means[0]:.0f} | {means[1]:.0f} | {mean:.3f} ({low:.3f} to {high:.3f}) |")
        found[peer] = (mean, low)
    return verdict(found, TO_REACH)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=8, help="of each arm (default: 8; a minute and a half each)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of a training (default: 2)")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    given = _options()
    if given.arm:
        numbers: Any = ARMS[given.arm](given.root, given.threads)
        print(json.dumps(numbers), flush=True)
        sys.exit(0)
    sys.exit(main(given))
