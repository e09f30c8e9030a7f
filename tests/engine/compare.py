"""Hold an engine's answers beside those of transformers, on the same files: `compare decoder|encoder`.

It runs in the main container of a pod whose sidecar is the engine, and prints what it found as JSON; the test judges.
"""

import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from stagecoach_trainer.chooser import Chooser
from tests.engine import asking
from tests.engine.asking import Engine, Labels

URL = "http://127.0.0.1:8000"
ROWS = 48
TOKENS = 12
AT_ONCE = 16
START_SECONDS = 60  # the probe has let this container start: it is there
LABELS = ("card_lost", "card_late", "card", "parcel_late", "parcel_lost", "refund")


def decoder(models: Path, names: dict[str, str]) -> dict[str, Any]:
    """Compare the base, and an adapter that is loaded when it is first asked."""
    folder = models / names["base"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    labels = [(*tokenizer(label, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id) for label in LABELS]
    prompts = _prompts(len(tokenizer))
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = {"base": _beside(base, Engine(URL, "base"), prompts, labels)}
    adapted = PeftModel.from_pretrained(base, str(models / "adapters" / names["adapter"])).eval()
    found["adapter"] = _beside(adapted, Engine(URL, names["adapter"]), prompts, labels)
    found["differ"] = sum(a != b for a, b in zip(found["base"]["written"], found["adapter"]["written"], strict=True))
    found["refused"] = {
        "an adapter that is not there": _refusal(Engine(URL, "0" * 64), prompts[0]),
        "a folder elsewhere": _refusal(Engine(URL, f"../{names['base']}"), prompts[0]),
        "DoRA": _refusal(Engine(URL, names["dora"]), prompts[0]),
        "too long": _refusal(Engine(URL, "base"), prompts[0] * 100),
        "an unknown token": _refusal(Engine(URL, "base"), [len(tokenizer) + 1000]),
    }
    found["afterwards"] = Engine(URL, "base").write(prompts[0], TOKENS) == found["base"]["written"][0]
    return found


def _beside(model: Any, engine: Engine, prompts: Sequence[list[int]], labels: Sequence[tuple[int, ...]]) -> Any:
    written = [_write(model, prompt) for prompt in prompts]
    alone = [engine.write(prompt, TOKENS) for prompt in prompts]
    together = asking.at_once(lambda prompt: engine.write(prompt, TOKENS), prompts, AT_ONCE)
    chosen = Chooser(model, labels).choose([tuple(prompt) for prompt in prompts])
    partings = Labels(labels)
    engines = asking.at_once(lambda prompt: partings.choose(engine, prompt), prompts, AT_ONCE)
    difference = 0.0
    for start, tokens in partings.partings().items():
        told = engine.logarithms([*prompts[0], *start], tokens)
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompts[0], *start]])).logits[0, -1].log_softmax(-1)
        difference = max(difference, *(abs(told[token] - logits[token].item()) for token in tokens))
    return {
        "written": written,
        "alone": sum(map(list.__eq__, written, alone)),
        "together": sum(map(list.__eq__, alone, together)),
        "chosen": sum(ours is not None and ours == theirs for ours, theirs in zip(engines, chosen, strict=True)),
        "labels": len(set(chosen)),
        "difference": difference,
    }


def _write(model: Any, prompt: list[int]) -> list[int]:
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        whole = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=TOKENS, pad_token_id=0
        )
    return list(map(int, whole[0][len(prompt) :]))


def _refusal(engine: Engine, prompt: Sequence[int]) -> str:
    try:
        return f"answered: {engine.write(prompt, 1)}"
    except asking.Refused as error:
        return str(error)
    except asking.Away as error:
        return f"away: {error}"


def encoder(models: Path, names: dict[str, str]) -> dict[str, Any]:
    """Compare the probabilities of a classifier."""
    folder = models / names["classifier"]
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    prompts = _prompts(model.config.vocab_size)
    engine = Engine(URL, "classifier")
    # One request of many prompts: the answers' `index` is the prompt's.
    told = sorted(engine.post("/classify", {"input": prompts})["data"], key=lambda item: item["index"])
    difference = 0.0
    for prompt, item in zip(prompts, told, strict=True):
        with torch.inference_mode():
            expected = model(torch.tensor([prompt])).logits[0].softmax(-1).tolist()
        difference = max(difference, *(abs(a - b) for a, b in zip(expected, item["probs"], strict=True)))
    return {"difference": difference, "rows": len(told)}


def _prompts(vocabulary: int) -> list[list[int]]:
    drawn = random.Random(0)  # noqa: S311 - the same ones each time
    return [[drawn.randrange(3, vocabulary) for _ in range(drawn.randrange(5, 60))] for _ in range(ROWS)]


if __name__ == "__main__":
    waited = Engine(URL, "").wait(START_SECONDS)
    comparison = {"decoder": decoder, "encoder": encoder}[sys.argv[1]]
    print(json.dumps(comparison(Path("/models"), json.loads(os.environ["NAMES"])) | {"waited": waited}))
