"""How an encoder, or its adapter, makes vectors, in the files that sentence-transformers and vLLM look for."""

import json
from pathlib import Path
from typing import Any

from stagecoach.contract.inputs import Decided, Prompt
from stagecoach.contract.prompts import PLACEHOLDER
from stagecoach.contract.store import Content
from stagecoach_trainer import pooling
from stagecoach_trainer.bases import TOKENIZER_CONFIG, TOKENIZER_FILES, Base

SETTINGS = LENGTH, PROMPTS = "sentence_bert_config.json", "config_sentence_transformers.json"
POOLING, NORMALIZE = "1_Pooling", "2_Normalize"
PATHS = {"Transformer": "", "Pooling": POOLING, "Normalize": NORMALIZE}
# Both look for these names.
PACKAGE = "sentence_transformers.models"


def files(base: Base, inputs: Decided, *, width: int, whole: bool) -> dict[str, Content]:
    """Return what is published beside the weights: how tokens become vectors; beside a whole model its tokenizer."""
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"{PACKAGE}.{kind}"}
        for index, (kind, path) in enumerate(PATHS.items())
    ]
    documents: dict[str, Any] = {
        pooling.MODULES: modules,
        f"{POOLING}/{pooling.CONFIG}": pooling.document(base.pooling or pooling.MEAN, width),
        LENGTH: {"max_seq_length": inputs.tokenization.max_length, "do_lower_case": False},
        PROMPTS: {"prompts": prompts(inputs.prompt), "similarity_fn_name": "cosine"},
    }
    written: dict[str, Content] = {name: _json(document) for name, document in documents.items()}
    return written | (_tokenizer(Path(base.folder)) if whole else {})


def prompts(prompt: Prompt) -> dict[str, str]:
    """Return the templates as prefixes, where they are no more than that: there is nothing else to say it by."""
    templates = {"query": prompt.template, "document": prompt.passage_template or PLACEHOLDER}
    return {
        use: template.removesuffix(PLACEHOLDER) for use, template in templates.items() if template.endswith(PLACEHOLDER)
    }


def _tokenizer(base: Path) -> dict[str, Content]:
    found: dict[str, Content] = {name: base / name for name in sorted(TOKENIZER_FILES) if (base / name).is_file()}
    settings = json.loads((base / TOKENIZER_CONFIG).read_text()) if TOKENIZER_CONFIG in found else {}
    if settings.get("padding_side") == "left":
        # Padding before a text would move it to other positions than those that it was trained at.
        found[TOKENIZER_CONFIG] = _json(settings | {"padding_side": "right"})
    return found


def _json(document: Any) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
