"""Make what the engine serves, by the trainer: a base, adapters of it, and a classifier. Prints their names as JSON.

It runs in the image of the trainer's tests, which has their tiny models: `prepare FOLDER`.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM

from stagecoach.contract.digests import hex_of
from stagecoach.contract.inputs import Family, FullMethod, LoraMethod
from stagecoach.contract.layout import artifact_folder
from stagecoach_trainer import places
from tests.unit.contract.documents import METHOD
from tests.unit.trainer import test_encoders
from tests.unit.trainer.conftest import Project, make_project, save_tokenizer, train

# vLLM's attention on a CPU knows heads of 32, 64 and more, and those of the trainer's tiny models are smaller.
WIDTH, HEADS = 64, 2
SIZES = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "num_hidden_layers": 2, "intermediate_size": 128}


def main(target: Path) -> None:
    """Train and copy."""
    root = Path(tempfile.mkdtemp())
    decoder = within(root / "decoder")
    base = decoder.root / "pvc" / "models" / "tiny"
    save_decoder(base)
    job = decoder.train_job(method={"rank": 8, "alpha": 16}, settings={"epochs": 4})
    names = {"base": hex_of(str(job.base.model)), "adapter": publish(decoder, train(job).digest, target / "adapters")}
    dora = LoraMethod.model_validate(METHOD.model_dump() | {"type": "DoRA"})
    job = decoder.train_job(method=dora, settings={"epochs": 1})
    names["dora"] = publish(decoder, train(job).digest, target / "adapters")
    shutil.copytree(base, target / names["base"])

    encoder = within(root / "encoder")
    base = encoder.root / "pvc" / "models" / "tiny"
    save_encoder(base)
    job = encoder.train_job(architecture=Family.ENCODER, method=FullMethod(), settings={"epochs": 2})
    names["classifier"] = publish(encoder, train(job).digest, target)
    shutil.copytree(base, target / names["classifier"] / "tokenizer")
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    print(json.dumps(names))


def save_decoder(folder: Path) -> None:
    """Write a random Llama with a tokenizer of bytes."""
    save_tokenizer(folder)
    torch.manual_seed(0)
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = LlamaConfig(vocab_size=259, max_position_embeddings=256, num_key_value_heads=1, **SIZES, **special)
    model = LlamaForCausalLM(config)
    # As initialized, all tokens are as good as equally likely.
    model.lm_head.weight.data.mul_(20)
    model.save_pretrained(folder)


def save_encoder(folder: Path) -> None:
    """Write a random Bert with a tokenizer of bytes."""
    test_encoders.save_base(folder, "BertForMaskedLM")
    torch.manual_seed(0)
    BertForMaskedLM(BertConfig(vocab_size=260, max_position_embeddings=130, **SIZES)).save_pretrained(folder)


def within(root: Path) -> Project:
    """Make a project, and let it be what the trainer finds mounted."""
    os.environ[places.ROOT_VARIABLE] = str(root)
    return make_project(root)


def publish(project: Project, digest: str, folder: Path) -> str:
    """Copy an artifact out of the storage; return its name."""
    name = hex_of(digest)
    shutil.copytree(project.root / "storage" / artifact_folder(digest), folder / name)
    return name


if __name__ == "__main__":
    main(Path(sys.argv[1]))
