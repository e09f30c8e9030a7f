"""An adapter that was made elsewhere: settings that are known, and weights that fit the base one by one."""

import copy
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from peft import get_peft_model, get_peft_model_state_dict
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from transformers import AutoModel, AutoModelForSeq2SeqLM

from stagecoach.contract.inputs import Family, ImportInputs
from stagecoach.contract.jobs import ImportJob
from stagecoach.contract.reports import BadInput
from stagecoach_trainer import artifact, bases, lengths, modules, sentences
from stagecoach_trainer.bases import Base
from stagecoach_trainer.families import embedding, encoder, tagger
from stagecoach_trainer.foreign_settings import OF_THE_BASE, SETTINGS, misformed
from stagecoach_trainer.importing import URI, Folder, Found, check_finite, has_head, loading, refuse

METHODS = {"IA3": "IA3", "PREFIX_TUNING": "PrefixTuning", "PROMPT_TUNING": "PromptTuning", "P_TUNING": "PTuning"}
# What is checked by itself, or decides nothing once there are weights.
_NAMES = ("peft_type", "task_type", "base_model_name_or_path", "revision", "auto_mapping", "peft_version")
ASIDE = {*_NAMES, "inference_mode", "init_lora_weights", "init_ia3_weights"}
# Beginnings that leave the base's weights alone; the others are for a base that was changed too.
BEGINNINGS = (None, True, False, "gaussian", "orthogonal", "eva")
RESAVE = "Merge the adapter into its base and import the whole model, or train it with plain settings."
SAVE = "Save the adapter again with PEFT."


def found(folder: Folder, base: Base, labels: tuple[str, ...]) -> Found:
    """Return the adapter in canonical form. Raises BadInput when it does not fit the base."""
    job = folder.job
    config = _config(job, Path(folder.path, artifact.CONFIG))
    _check_virtual(job, config, base, labels)
    weights = _weights(job, Path(folder.path, artifact.WEIGHTS))
    precision = check_finite(job, weights)
    model = _model(job, config, base, labels)
    expected = _expected(job, config, model)
    _compare(job, expected, weights, base)
    files = artifact.adapter_files(weights, config, base)
    if job.inputs.embeds:
        files |= sentences.files(base, job.inputs, width=model.config.hidden_size, whole=False)
    return Found(
        files=files,
        method=_method(config),
        precision=precision,
        parameters=sum(tensor.numel() for tensor in weights.values()),
        target_modules=_listed(getattr(config, "target_modules", None)),
        whole_modules=_listed(getattr(config, "modules_to_save", None)) or None,
    )


def _check_virtual(job: ImportJob, config: Any, base: Base, labels: tuple[str, ...]) -> None:
    """Refuse more virtual tokens than the base has positions for."""
    virtual = getattr(config, "num_virtual_tokens", None) or 0
    try:
        lengths.check(base, lengths.decided(job.inputs, base, labels, virtual))
    except BadInput as error:
        raise BadInput(error.problem.model_copy(update={"field": URI, "value": job.source.uri})) from error


def _listed(names: Any) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(sorted(set(names or ())))


def _config(job: ImportJob, place: Path) -> Any:
    """Return PEFT's settings, built from what is known of them."""
    try:
        document = json.loads(place.read_text())
        kind = document["peft_type"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        refuse(job, "ImportUnusable", f"its {place.name} is broken: {error!r}", SAVE)
    allowed = tuple(SETTINGS) if job.inputs.family is Family.DECODER else tuple(SETTINGS)[:1]
    if kind not in allowed:
        message = f"its peft_type is {kind}; for an {job.inputs.family} it has to be one of {', '.join(allowed)}."
        refuse(job, "ImportUnusable", message, RESAVE)
    _check_settings(job, kind, document)
    given = {key: document[key] for key in SETTINGS[kind].model_fields if key in document}
    if odd := misformed(kind, given):
        message = f"its {place.name} has {odd}: {json.dumps(given[odd])[:80]}, which is not of the form that is taken."
        refuse(job, "ImportUnusable", message, "Name the modules one by one; numbers have to be finite.")
    given |= {"task_type": _task(job.inputs), "inference_mode": True}
    with loading(job, f"PEFT does not accept its {place.name}", SAVE):
        return PEFT_TYPE_TO_CONFIG_MAPPING[kind](**given)


def _check_settings(job: ImportJob, kind: str, document: dict[str, Any]) -> None:
    """Refuse every setting that is used and not known here."""
    usual = PEFT_TYPE_TO_CONFIG_MAPPING[kind]().to_dict()
    odd = {
        key: value
        for key, value in document.items()
        if key not in {*SETTINGS[kind].model_fields, *ASIDE}
        and value not in (None, False, [], {}, "")
        and value != usual.get(key)
    }
    if document.get("init_lora_weights") not in BEGINNINGS:
        odd["init_lora_weights"] = document["init_lora_weights"]
    if document.get("task_type") not in (None, _task(job.inputs)):
        odd["task_type"] = document["task_type"]
    if document.get("modules_to_save") and not has_head(job):
        odd["modules_to_save"] = document["modules_to_save"]
    if document.get("use_dora") and document.get("use_rslora"):
        odd["use_dora with use_rslora"] = True
    if odd:
        key, value = next(iter(odd.items()))
        message = f"its adapter_config.json has {key}: {json.dumps(value)[:80]}; such adapters are not taken here."
        refuse(job, "ImportUnusable", message, RESAVE)


def _task(inputs: ImportInputs) -> str:
    """Return PEFT's word for what these models do."""
    match inputs.family:
        case Family.DECODER:
            return "CAUSAL_LM"
        case Family.ENCODER if inputs.embeds:
            return embedding.TASK
        case Family.ENCODER:
            return tagger.head_of(inputs).task
        case Family.ENCODER_DECODER:
            return "SEQ_2_SEQ_LM"


def _method(config: Any) -> str:
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if kind in METHODS:
        return METHODS[kind]
    if config.use_dora:
        return "DoRA"
    return "RsLoRA" if config.use_rslora else "LoRA"


def _weights(job: ImportJob, place: Path) -> dict[str, torch.Tensor]:
    try:
        tensors: dict[str, torch.Tensor] = safetensors.torch.load_file(place)
    except safetensors.SafetensorError as error:
        refuse(job, "ImportUnusable", f"its {place.name} is broken: {error}", "Copy the adapter again.")
    return tensors


def _model(job: ImportJob, config: Any, base: Base, labels: tuple[str, ...]) -> Any:
    """Return the base that the adapter is held against: without weights, unless these say what an encoder lacks."""
    if job.inputs.family is Family.DECODER:
        return modules.skeleton(base)
    if job.inputs.family is Family.ENCODER_DECODER:
        return modules.skeleton(base, AutoModelForSeq2SeqLM)
    if job.inputs.embeds:
        # With its pooler, if it has one: the user of an adapter has it too.
        return modules.skeleton(base, AutoModel)
    with bases.loading(base):
        loaded = encoder.load(base.folder, labels, "float32", 0, tagger.head_of(job.inputs))
    brought = {*encoder.HEADS, *(config.modules_to_save or ())}
    lacking = [name for name in loaded.fresh if not any(name == one or name.endswith(f".{one}") for one in brought)]
    if lacking:
        message = f"the base has no weights for {', '.join(lacking)}, and the adapter does not bring them."
        refuse(job, "ImportUnfit", message, "Train it with these modules in modules_to_save.")
    return loaded.model


def _expected(job: ImportJob, config: Any, model: Any) -> dict[str, Any]:
    """Return the weights of such an adapter of this base, whose names and shapes count, and complete its settings."""
    fresh = copy.deepcopy(config)
    for key in OF_THE_BASE:
        if hasattr(fresh, key):
            setattr(fresh, key, None)
    remedy = "Name the base that it was trained for in base.candidate."
    with loading(job, "the adapter cannot be put onto the base", remedy, "ImportUnfit"):
        with torch.device(model.device):
            built = get_peft_model(model, fresh)
        state = get_peft_model_state_dict(built, save_embedding_layers=False)
    for key in (*OF_THE_BASE, "target_modules", "feedforward_modules"):
        if hasattr(config, key):
            _complete(job, config, key, getattr(fresh, key))
    return dict(state)


def _complete(job: ImportJob, config: Any, key: str, value: Any) -> None:
    """Fill in what the base decides. Raises BadInput when the settings say otherwise."""
    given = getattr(config, key)
    if given is None:
        setattr(config, key, value)
    elif key in OF_THE_BASE and given != value:
        message = f"its {key} is {given}, and that of the base {value}."
        refuse(job, "ImportUnfit", message, "Name the base that it was trained for in base.candidate.")


def _compare(job: ImportJob, expected: dict[str, Any], given: dict[str, torch.Tensor], base: Base) -> None:
    """Refuse an adapter that has not just the weights that it should."""
    missing, odd = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
    words = [f"{len(missing)} weights are missing, such as {missing[0]}"] if missing else []
    words += [f"{len(odd)} weights belong nowhere, such as {odd[0]}"] if odd else []
    words += [
        f"{name} has the shape {list(given[name].shape)}, and {list(expected[name].shape)} fits"
        for name in sorted(expected.keys() & given.keys())
        if expected[name].shape != given[name].shape
    ][:1]
    if words:
        message = f"the adapter does not fit the base {base.source.name}: {'; '.join(words)}."
        refuse(job, "ImportUnfit", message, "Name the base that it was trained for in base.candidate.")
