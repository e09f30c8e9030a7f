"""A whole model that was made elsewhere: of the project's family, for its labels, and with the base's vocabulary."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from stagecoach.contract.inputs import Family, ImportInputs
from stagecoach.contract.reports import BadInput
from stagecoach_trainer import artifact, bases, lengths, sentences
from stagecoach_trainer.bases import Base
from stagecoach_trainer.families import POOLER, embedding, encoder, tagger, telling
from stagecoach_trainer.importing import URI, Folder, Found, check_finite, has_head, loading, refuse

FORMATS = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
ANOTHER = "Name the base that it was made from in base.candidate; add it to the project if it is not there."


def found(folder: Folder, base: Base, labels: tuple[str, ...]) -> Found:
    """Return the model in canonical form. Raises BadInput when it does not fit the project."""
    job = folder.job
    config = _check_config(folder, base, labels)
    with loading(job, "transformers cannot load it", "Save it again with transformers."):
        if has_head(job):
            _check_head(folder, config, labels)
        model = _load(folder)
    precision = check_finite(job, dict(model.state_dict()))
    files = artifact.files(model, base, precision)
    if job.inputs.embeds:
        files |= sentences.files(base, job.inputs, width=model.config.hidden_size, whole=True)
    return Found(
        files=files,
        method="Full",
        precision=precision,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def _check_config(folder: Folder, base: Base, labels: tuple[str, ...]) -> dict[str, Any]:
    job, family, store = folder.job, folder.job.inputs.family, folder.store
    try:
        config = bases.read_config(store, folder.source)
        architecture = bases.architecture_of(config, folder.source, family)
        bases.check_weights(store, list(folder.names), folder.source)
        context = bases.context_of(config, folder.source, architecture)
    except BadInput as error:
        reason = "ImportMissing" if error.problem.reason == "BaseMissing" else "ImportUnusable"
        raise BadInput(error.problem.model_copy(update={"field": URI, "reason": reason})) from error
    there = replace(base, architecture=architecture, context=context)
    lengths.check(there, lengths.decided(job.inputs, base, labels))
    of_base = json.loads(Path(base.folder, bases.CONFIG).read_text())
    for key in ("model_type", "vocab_size"):
        if config.get(key) != of_base.get(key):
            message = f"its {key} is {config.get(key)}, and that of the base {base.source.name} is {of_base.get(key)}."
            refuse(job, "ImportUnfit", message, ANOTHER)
    return config


def _check_head(folder: Folder, config: dict[str, Any], labels: tuple[str, ...]) -> None:
    """Refuse an encoder whose head does not choose one of the project's labels."""
    job, head = folder.job, tagger.head_of(folder.job.inputs)
    if not encoder.keeps_head(folder.path, labels, head):
        message = (
            "its config.json names no classification head for just the project's labels in their order (id2label)."
        )
        remedy = f"The labels are {', '.join(labels)[:200]}: import a model with these, or correct problem.labels."
        refuse(job, "ImportUnfit", message, remedy)
    for key, value in head.options.items():
        if config.get(key) not in (None, value):
            message = f"its {key} is {config[key]}: it does not choose one label for a text."
            refuse(job, "ImportUnfit", message, f"Import a model whose {key} is {value}, as it was trained.")


def _load(folder: Folder) -> Any:
    with telling():
        model, told = _kind(folder.job.inputs).from_pretrained(
            folder.path,
            dtype=_dtype(folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    if folder.job.inputs.embeds:
        # It makes no such vector; a folder may have its weights or not.
        embedding.drop_pooler(model)
        told["missing_keys"] = [name for name in told["missing_keys"] if not name.startswith(f"{POOLER}.")]
    wrong = {what: sorted(map(str, told[f"{what}_keys"])) for what in ("missing", "unexpected", "mismatched")}
    words = [f"{len(names)} weights are {what}, such as {names[0]}" for what, names in wrong.items() if names]
    if words:
        message = f"its weights are not those of its config.json: {'; '.join(words)}."
        refuse(folder.job, "ImportUnfit", message, "Save it again with save_pretrained, in the class of its training.")
    return model


def _kind(inputs: ImportInputs) -> Any:
    """Return the class of transformers whose models these are."""
    match inputs.family:
        case Family.DECODER:
            return AutoModelForCausalLM
        case Family.ENCODER if inputs.embeds:
            return AutoModel
        case Family.ENCODER:
            return tagger.head_of(inputs).auto
        case Family.ENCODER_DECODER:
            return AutoModelForSeq2SeqLM


def _dtype(folder: Folder) -> Any:
    """Return the number format of the weights as they lie there: nothing is converted."""
    kinds: set[str] = set()
    for name in folder.names:
        if name.endswith(".safetensors"):
            with safetensors.safe_open(Path(folder.path, name), "pt") as weights:
                kinds |= {weights.get_slice(key).get_dtype() for key in weights.keys()}  # noqa: SIM118 - no mapping
    floats = {kind for kind in kinds if kind.startswith(("F", "BF"))}
    if len(floats) != 1 or not floats <= FORMATS.keys():
        message = f"its weights are {', '.join(sorted(kinds))}, and have to be all of one of {', '.join(FORMATS)}."
        remedy = "Load it, convert it with .to(torch.bfloat16), and save it again."
        refuse(folder.job, "ImportUnusable", message, remedy)
    return FORMATS[floats.pop()]
