"""Whether an engine can serve what a run trains: known before anything is trained.

The engine is vLLM; the tables are what it documents of itself. An architecture is the class that config.json names.
"""

from dataclasses import dataclass

from stagecoach.api.problem import Task
from stagecoach.contract.inputs import Family
from stagecoach.contract.readings import makes_vectors

_CAUSAL = "ForCausalLM"
# Decoders that vLLM serves with LoRA adapters.
WITH_ADAPTERS = {
    f"{name}{_CAUSAL}"
    for name in (
        *("Apertus", "Arcee", "Cohere", "Cohere2", "Deepseek", "DeepseekV2", "DeepseekV3", "Ernie4_5", "Ernie4_5_Moe"),
        *("Exaone4", "FalconH1", "FlexOlmo", "Gemma", "Gemma2", "Gemma3", "Glm", "Glm4", "Glm4Moe", "GptOss"),
        *("GPTBigCode", "Granite", "GraniteMoe", "GraniteMoeHybrid", "GraniteMoeShared", "HunYuanDenseV1", "Jamba"),
        *("Lfm2", "Llama", "Mistral", "Mixtral", "Nemotron", "Olmo", "Olmo2", "Olmo3", "OPT", "Phi", "Phi3", "PhiMoE"),
        *("Qwen2", "Qwen2Moe", "Qwen3", "Qwen3Moe", "Qwen3Next", "SeedOss", "SmolLM3", "Starcoder2", "VaultGemma"),
    )
}
# Decoders that vLLM serves as whole models only.
WHOLE_ONLY = {"GPT2LMHeadModel"} | {
    f"{name}{_CAUSAL}"
    for name in ("Bloom", "Dbrx", "Falcon", "GPTJ", "GPTNeoX", "Mamba", "Mamba2", "Mpt", "MPT", "Olmoe", "StableLm")
}
# Encoders by whose sequence classifiers vLLM answers as transformers does, by the beginning of the class's name.
SERVED_ENCODERS = ("Bert", "Roberta", "XLMRoberta", "ModernBert")
# The same of embeddings. With XLM-RoBERTa it does not start: it asks the configuration for what is not there.
SERVED_EMBEDDERS = ("Bert", "Roberta", "ModernBert")

_MERGE = "It can be served once it is merged into its base, as a whole model."

# What methods make, as far as is known how vLLM takes it. Any other, such as a later one, is not guessed about; nor is
# Import, which is no method that made anything: an import is judged by what its files turn out to be.
_ADAPTERS = ("LoRA", "RsLoRA", "QLoRA")
_OTHER_ADAPTERS = ("DoRA", "IA3")
_VIRTUAL_TOKENS = ("PrefixTuning", "PromptTuning", "PTuning")
_WHOLE = "Full"


@dataclass(frozen=True)
class Verdict:
    """Whether it can be served, and why. `holds` None: it is not known."""

    holds: bool | None
    reason: str
    message: str


def servable(task: Task, family: Family, architecture: str, method: str) -> Verdict:
    """Return whether vLLM can serve what this method makes of this base for this task."""
    if method not in (*_ADAPTERS, *_OTHER_ADAPTERS, *_VIRTUAL_TOKENS, _WHOLE):
        message = f"Whether vLLM serves what {method} makes is not known here. Try it before you rely on it."
        return Verdict(None, "MethodUnknown", message)
    match task:
        case Task.TOKEN_CLASSIFICATION:
            return _tagger(architecture)
        case Task.EMBEDDING:
            return _embedder(architecture, method)
        case _:
            return _by_family(family, architecture, method)


def servable_base(task: Task, family: Family, architecture: str) -> Verdict:
    """Return whether vLLM can serve a base itself for this task: what nobody has trained for it."""
    if family is Family.ENCODER and task is Task.CLASSIFICATION:
        message = f"{architecture} is an encoder, which has a head for the labels only once it is trained for them."
        return Verdict(False, "BaseUntrained", f"{message} To serve it, create a run of it.")
    if task is Task.EMBEDDING and not makes_vectors(architecture):
        message = f"{architecture} is no plain encoder, and vLLM makes vectors by what is trained from it alone."
        return Verdict(False, "ArchitectureNotServed", f"{message} To serve it, create a run of it.")
    return servable(task, family, architecture, _WHOLE)


def _by_family(family: Family, architecture: str, method: str) -> Verdict:
    if method in _VIRTUAL_TOKENS:
        return Verdict(
            False,
            "PromptLearning",
            f"vLLM serves no virtual tokens, and they cannot be merged: {method} is for transformers alone.",
        )
    if family is Family.ENCODER:
        return _encoder(architecture, method)
    if family is Family.ENCODER_DECODER:
        message = f"vLLM serves no text models with encoder and decoder: {architecture} is for transformers alone."
        return Verdict(False, "ArchitectureNotServed", message)
    return _decoder(architecture, method)


def _tagger(architecture: str) -> Verdict:
    # Some it may, but none has been tried.
    message = (
        f"vLLM has not been shown to serve token classifiers of {architecture}'s family. What is trained is for"
        " transformers, as a whole model or with PEFT."
    )
    return Verdict(False, "TaskUnproven", message)


def _embedder(architecture: str, method: str) -> Verdict:
    if not architecture.startswith(SERVED_EMBEDDERS):
        return _unknown(f"embeddings of {architecture}'s family")
    if method != _WHOLE:
        message = f"vLLM is not asked for adapters of an encoder that makes embeddings here. {_MERGE}"
        return Verdict(False, "NeedsMerging", message)
    return Verdict(True, "WholeModel", f"vLLM serves embeddings of {architecture}'s family, with --runner pooling.")


def _encoder(architecture: str, method: str) -> Verdict:
    if not architecture.startswith(SERVED_ENCODERS):
        return _unknown(f"sequence classifiers of {architecture}'s family")
    if method != _WHOLE:
        message = f"vLLM is not asked for adapters of a sequence classifier here, whose head is part of it. {_MERGE}"
        return Verdict(False, "NeedsMerging", message)
    return Verdict(True, "WholeModel", f"vLLM serves sequence classifiers of {architecture}'s family.")


def _decoder(architecture: str, method: str) -> Verdict:
    if architecture not in WITH_ADAPTERS | WHOLE_ONLY:
        return _unknown(architecture)
    if method == _WHOLE:
        return Verdict(True, "WholeModel", f"vLLM serves {architecture}.")
    if method in _OTHER_ADAPTERS:
        return Verdict(False, "NeedsMerging", f"vLLM takes no adapter of type {method}. {_MERGE}")
    if architecture in WHOLE_ONLY:
        return Verdict(False, "NeedsMerging", f"vLLM serves {architecture} without adapters. {_MERGE}")
    message = f"vLLM serves {method} adapters beside a {architecture}."
    if method == "QLoRA":
        # It is no other adapter than one of LoRA. What weights become in 4 bits depends on the library and the device,
        # and has no digest: the base that has one is what is compared and served.
        message += " The base is served as it is, not in the 4 bits of the training."
    return Verdict(True, "Adapter", message)


def _unknown(what: str) -> Verdict:
    message = f"vLLM is not known to serve {what}. It trains all the same; to serve it with vLLM, select another base."
    return Verdict(False, "ArchitectureNotServed", message)
