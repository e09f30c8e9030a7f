"""Real runs of QLoRA: the base is held in 4 bits on the CPU, and what is published is for the base as it is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import LoraMethod, Method, QloraMethod
from stagecoach.contract.layout import artifact_folder, run_folder, served_base_path
from stagecoach.contract.reports import ArtifactReport, BadInput
from stagecoach_trainer import compare, places

from . import test_encoder_decoders, test_encoders
from .conftest import Project, fit, make_project, record_of, save_tokenizer, train
from .elsewhere import import_job
from .elsewhere import work as imports
from .test_checkpoints import SETTINGS, attempt, check_going_on
from .test_compare import comparing
from .test_embeddings import embedding_job, matching
from .test_groups import codes, grouped, nearly_the_same, pods
from .weights import thin_out

pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")

QLORA = QloraMethod(rank=16, alpha=32, dropout=0.0, target_modules="all-linear")
SPECIAL = {"vocab_size": 259, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
DEEP = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
ONE_STEP = {"max_steps": 1, "epochs": None}
LLAMA = SPECIAL | DEEP | {"num_key_value_heads": 2, "max_position_embeddings": 256}
GPT2 = SPECIAL | {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}


def save_base(folder: Path, architecture: str = "LlamaForCausalLM", config: str = "LlamaConfig", **sizes: Any) -> None:
    """Save a random model for the tokenizer of bytes."""
    import torch
    import transformers

    torch.manual_seed(0)
    model = getattr(transformers, architecture)(getattr(transformers, config)(**sizes))
    # The head stays frozen: as initialized, its logits are too close together for any label to be likely.
    model.get_output_embeddings().weight.data.mul_(20)
    model.save_pretrained(folder)
    save_tokenizer(folder)


def with_base(project: Project, *names: str, **sizes: Any) -> Project:
    folder = project.root / "pvc" / "models" / "tiny"
    shutil.rmtree(folder)
    save_base(folder, *names, **sizes)
    return project


@pytest.fixture
def real(project: Project) -> Project:
    """A project with a base whose weights can be quantized."""
    return with_base(project, **LLAMA)


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, ArtifactReport]:
    made = with_base(make_project(tmp_path_factory.mktemp("quantized") / "root"), **LLAMA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(places.ROOT_VARIABLE, str(made.root))
        return made, train(made.train_job(method=QLORA))


@pytest.fixture
def made(
    _made: tuple[Project, ArtifactReport], monkeypatch: pytest.MonkeyPatch
) -> tuple[Project, ArtifactReport, Path]:
    """A project whose base was trained in 4 bits, once for all tests, the report, and the artifact's folder."""
    monkeypatch.setenv(places.ROOT_VARIABLE, str(_made[0].root))
    return *_made, Path(_made[0].storage.path(artifact_folder(_made[1].digest)))


def in_four_bits(project: Project, precision: str = "float32") -> Any:
    """Return the project's base as it is in a training."""
    from transformers import AutoModelForCausalLM

    from stagecoach_trainer import bases, modules
    from stagecoach_trainer.families import quantized

    base = bases.read(project.resolve_job().candidates[0], mismatch="", remedy="")
    return quantized.load(AutoModelForCausalLM, modules.skeleton(base), base, precision, 0)


def test_a_base_that_lacks_weights(project: Project) -> None:
    with_base(project, **LLAMA)
    thin_out(project.root / "pvc" / "models" / "tiny", "model.layers.1.self_attn.q_proj.", "model.norm.")
    with pytest.raises(BadInput, match=r"2 are missing, such as model\.layers\.1\.self_attn\.q_proj\.weight"):
        in_four_bits(project)


def as_it_is(project: Project) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(project.root / "pvc" / "models" / "tiny", dtype="float32")


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(3, 35).unsqueeze(0)).logits


def test_the_loss_falls_and_the_record_says_how_the_base_was_held(made: tuple[Project, ArtifactReport, Path]) -> None:
    project, _, folder = made
    record = record_of(project, project.train_job(method=QLORA))
    training = record.training
    assert training.losses[-1].loss < training.losses[0].loss * 0.2
    assert training.evaluations[-1].loss < training.evaluations[0].loss * 0.5
    assert record.determinism.deterministic
    held = training.quantization
    assert held is not None
    assert (held.type, held.double, held.block, held.storage, held.compute) == ("nf4", True, 64, "uint8", "float32")
    assert (held.layers, held.library.partition(" ")[0]) == (14, "bitsandbytes")
    whole = as_it_is(project)
    linear = sum(each.weight.numel() for each in whole.model.layers.modules() if hasattr(each, "in_features"))
    assert held.parameters == linear
    added = sum(item.numel() for item in weights(folder).values())
    assert training.trainable_parameters == added
    assert training.total_parameters == added + sum(item.numel() for item in whole.parameters())
    card = project.storage.read(f"{run_folder(record.inputs_digest)}/README.md").decode()
    assert f"| Quantized in training | 14 layers with {linear} parameters: nf4, scales quantized too, by bitsan" in card
    assert "The adapter is compared, and to be served, beside the base as it is." in card
    assert "| Method | QLoRA, rank 16, alpha 32, dropout 0.0 |" in card


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(folder / "adapter_model.safetensors")
    return found


def test_the_artifact_is_a_plain_adapter(made: tuple[Project, ArtifactReport, Path]) -> None:
    import torch

    project, _, folder = made
    plain = train(project.train_job(method=LoraMethod(**QLORA.model_dump(exclude={"type"})), settings=ONE_STEP))
    configs = [json.loads((place / "adapter_config.json").read_text()) for place in (
        folder, Path(project.storage.path(artifact_folder(plain.digest)))
    )]  # fmt: skip
    assert configs[0] == configs[1]
    assert configs[0]["base_model_name_or_path"] == served_base_path(
        record_of(project, project.train_job(method=QLORA)).base.model
    )
    assert {tensor.dtype for tensor in weights(folder).values()} == {torch.float32}


def test_peft_loads_it_beside_both_bases(made: tuple[Project, ArtifactReport, Path]) -> None:
    import torch
    from peft import PeftModel

    from stagecoach_trainer.train import prepare

    project, _, folder = made
    trained = fit(prepare(project.train_job(method=QLORA))).model
    base = in_four_bits(project)
    before = logits(base)
    found = logits(PeftModel.from_pretrained(base, folder))
    assert torch.equal(found, logits(trained))
    assert not torch.allclose(found, before, atol=0.1)
    served = logits(PeftModel.from_pretrained(as_it_is(project), folder))
    assert not torch.equal(served, found)
    agree = (served.argmax(-1) == found.argmax(-1)).float().mean()
    assert agree > 0.7, "4 bits are not far from what they stand for"


def test_it_is_compared_beside_the_base_as_it_is(
    made: tuple[Project, ArtifactReport, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    project, report, folder = made
    there = project.root / "pvc" / "made" / "it"
    shutil.copytree(folder, there)
    again = import_job(project, report.digest)
    assert (imports(again).digest, imports(again).method) == (report.digest, "LoRA"), "its files say nothing of 4 bits"
    tables = []
    for inputs in (project.train_job(method=QLORA).inputs.digest, again.inputs.digest):
        assert compare.main(comparing(project, inputs=inputs, data="pvc://data/train.csv")) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1]
    _, base, adapter = tables[0].splitlines()[1].split()[1:]
    assert float(adapter) > float(base)


def test_evaluations_leave_the_weights_as_they_are(real: Project) -> None:
    """On some CPUs the library would repack them for good, and pass no gradients after that."""
    settings = {"epochs": 3}
    seen = real.train_job(method=QLORA, settings=settings)
    unseen = real.train_job(method=QLORA, settings=settings, validation=())
    unseen = unseen.model_copy(update={"inputs": unseen.inputs.model_copy(update={"validation": ()})})
    assert train(seen).digest == train(unseen).digest
    assert len(record_of(real, seen).training.evaluations) == 3


def test_a_training_that_was_interrupted_ends_the_same(real: Project) -> None:
    method = QLORA.model_copy(update={"dropout": 0.1})
    check_going_on(real, real.train_job(method=method, settings=SETTINGS | {"epochs": 3}))


def test_activations_computed_again_and_another_precision(real: Project) -> None:
    steps = {"max_steps": 4, "epochs": None}
    plain, thrifty, short = (
        real.train_job(method=QLORA, settings=steps | more)
        for more in ({}, {"gradient_checkpointing": True}, {"precision": "bfloat16"})
    )
    found = {}
    for job in (plain, thrifty, short):
        report = train(job)
        dtypes = {str(item.dtype) for item in weights(Path(real.storage.path(artifact_folder(report.digest)))).values()}
        assert dtypes == {"torch.float32"}, "what is trained is never rounded to a few bits"
        found[job.inputs.digest] = record_of(real, job).training
    losses = [[point.loss for point in found[job.inputs.digest].losses] for job in (plain, thrifty, short)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][0] == pytest.approx(losses[2][0], rel=0.05)
    held = found[short.inputs.digest].quantization
    assert held is not None
    assert held.compute == "bfloat16"


@pytest.mark.long
def test_two_processes_make_of_half_a_batch_each_what_one_makes_of_it(real: Project) -> None:
    settings = {"epochs": 2, "gradient_accumulation_steps": 1, "learning_rate": 1e-3}
    alone, half = (real.train_job(method=QLORA, settings=settings | {"per_device_batch_size": rows}) for rows in (8, 4))
    together = grouped(half, 1, 2)
    ended = pods(real, together)
    assert codes(ended) == [0], ended[0].output
    attempt(real, alone)
    nearly_the_same(record_of(real, together), record_of(real, alone))
    assert record_of(real, together).training.quantization == record_of(real, alone).training.quantization


# The class, its configuration and its sizes; how many layers are held in 4 bits, and of how many that get an adapter.
OTHERS: dict[str, tuple[tuple[str, ...], dict[str, Any], int, int]] = {
    "an output head that shares the embeddings": ((), LLAMA | {"tie_word_embeddings": True}, 14, 14),
    "layers that lie the other way round": (("GPT2LMHeadModel", "GPT2Config"), GPT2, 8, 8),
    "rows that end within a block": ((), LLAMA | {"intermediate_size": 96}, 12, 14),
    "with biases": (("Qwen2ForCausalLM", "Qwen2Config"), LLAMA, 14, 14),
}


@pytest.mark.parametrize(("names", "sizes", "held", "adapted"), OTHERS.values(), ids=OTHERS)
def test_other_bases(project: Project, names: tuple[str, ...], sizes: dict[str, Any], held: int, adapted: int) -> None:
    import torch
    from peft import PeftModel

    real = with_base(project, *names, **sizes)
    job = real.train_job(method=QLORA, settings={"max_steps": 3, "epochs": None})
    folder = real.storage.path(artifact_folder(train(job).digest))
    training = record_of(real, job).training
    assert training.quantization is not None
    assert (training.quantization.layers, training.adapted_layers) == (held, adapted)
    whole = as_it_is(real)
    assert training.total_parameters == training.trainable_parameters + sum(item.numel() for item in whole.parameters())
    four = in_four_bits(real)
    assert torch.nn.functional.cosine_similarity(logits(four), logits(whole), dim=-1).mean() > 0.9
    before = logits(whole)
    assert not torch.equal(before, logits(PeftModel.from_pretrained(whole, folder)))


EXPERTS = LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2}
UNFIT: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
    "experts": (("MixtralForCausalLM", "MixtralConfig"), EXPERTS, "Most of the others are in model.layers.0.mlp"),
    "rows": ((), LLAMA | {"hidden_size": 48}, "with rows that are a multiple of 64 numbers"),
}


@pytest.mark.parametrize(("names", "sizes", "words"), UNFIT.values(), ids=UNFIT)
def test_a_base_most_of_which_cannot_be_held_in_4_bits_is_refused(
    project: Project, names: tuple[str, ...], sizes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        train(with_base(project, *names, **sizes).train_job(method=QLORA))
    assert caught.value.problem.reason == "MethodUnsuited"
    assert "Create a run with LoRA" in (caught.value.problem.remedy or "")


@pytest.mark.parametrize("architecture", ["T5ForConditionalGeneration", "BartForConditionalGeneration"])
def test_an_encoder_decoder(project: Project, architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSeq2SeqLM

    name, sizes = test_encoder_decoders.BASES[architecture]
    wide = sizes | {"d_model": 64, "d_ff": 128, "d_kv": 16, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
    monkeypatch.setitem(test_encoder_decoders.BASES, architecture, (name, wide))
    real = test_encoder_decoders.with_base(project, architecture)
    settings = {"epochs": 8, "learning_rate": 1e-2, "gradient_checkpointing": True}
    job = test_encoder_decoders.rewriting_job(real, QLORA, settings=settings)
    folder = real.storage.path(artifact_folder(train(job).digest))
    training = record_of(real, job).training
    assert training.losses[-1].loss < training.losses[0].loss * 0.8
    assert training.quantization is not None
    # T5 computes the second half of its feed-forward layers in float32, so that stays as it is.
    assert training.quantization.layers == (28 if architecture.startswith("T5") else 32)
    model = AutoModelForSeq2SeqLM.from_pretrained(real.root / "pvc" / "models" / "tiny", dtype=torch.float32)
    assert training.total_parameters == training.trainable_parameters + sum(item.numel() for item in model.parameters())
    PeftModel.from_pretrained(model, folder)


def of_encoder(project: Project, method: Method) -> Any:
    return test_encoders.encoder_job(test_encoders.with_base(project, "BertForMaskedLM"), method)


def of_embedding(project: Project, method: Method) -> Any:
    return embedding_job(matching(project), method)


@pytest.mark.parametrize("job", [of_encoder, of_embedding])
def test_an_encoder_is_refused(project: Project, job: Any) -> None:
    with pytest.raises(BadInput, match="the base is an encoder, and this method is not for") as caught:
        train(job(project, QLORA))
    assert caught.value.problem.reason == "MethodUnsuited"
    assert caught.value.problem.remedy == "Create a run with LoRA, RsLoRA, DoRA or Full."
