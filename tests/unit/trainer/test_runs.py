"""Real runs of every kind on tiny models: what holds for each of them, whatever is trained and how."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import Family, FullMethod, Method
from stagecoach.contract.jobs import TrainJob
from stagecoach.contract.layout import run_folder
from stagecoach.contract.records import Record
from stagecoach.contract.reports import ArtifactReport
from stagecoach_trainer import places
from tests.unit.contract.documents import METHOD

from . import test_encoder_decoders, test_encoders, test_methods, test_taggers
from .conftest import (
    ANOTHER,
    EXAMPLES,
    Project,
    make_project,
    record_of,
    train,
    writing_completions,
    writing_messages,
    writing_pairs,
)
from .test_compare import comparing

pytestmark = pytest.mark.filterwarnings("ignore")

Change = Callable[[Project], Project]
Check = Callable[[Record, str], None]


@dataclass(frozen=True)
class Case:
    """A run: its base and data, its method and settings, and what is special about what comes of it."""

    base: str  # a class of transformers that is made for it, or a fixture that makes a folder
    data: Change
    method: Method
    settings: dict[str, Any]
    check: Check  # of record and card
    auto: str = "AutoModelForCausalLM"
    family: Family = Family.DECODER
    falls: float = 0.8  # the last loss by the first
    metric: str = "accuracy"
    counts: str = "rows"


def same(project: Project) -> Project:
    """Texts and labels, as a project is made."""
    return project


def pairs(task: str) -> Change:
    """Inputs and targets for a task."""
    return lambda project: writing_pairs(project, task)


def check_method(record: Record, card: str) -> None:
    method = record.inputs.method
    words = {
        "IA3": "| Adapted modules | down_proj, k_proj, v_proj (6 layers) |",
        "PrefixTuning": "PrefixTuning, 4 virtual tokens",
        "PromptTuning": "PromptTuning, 8 virtual tokens",
        "PTuning": "PTuning, 8 virtual tokens, encoder of width 32",
        "Full": "| Frozen | ",
    }.get(method.type, f"{method.type}, rank 16, alpha 32, dropout 0.0")
    assert words in card
    assert "lora" not in card.lower().replace("rslora", "").replace("dora", "")


def check_head(record: Record, card: str) -> None:
    if record.artifact.type == "Model":
        assert record.training.whole_modules is None
        assert "library_name: transformers" in card
        assert record.training.trainable_share == 1
    else:
        assert "classifier" in (record.training.whole_modules or ())
        assert "| Modules trained whole | " in card
        assert record.training.target_modules
    assert "Route." not in card, "an encoder reads no system turn"
    tokens = sum(len(text.encode()) + 2 for text, _ in EXAMPLES)
    assert record.training.tokens == 20 * tokens


def check_tags(record: Record, card: str) -> None:
    check_head(record, card)
    assert "pipeline_tag: token-classification" in card
    assert "trained for the task TokenClassification with 5 labels." in card
    assert "| Tags | of the first token of each word |" in card or "| Tags | of every token; the first of" in card
    assert record.labels == test_taggers.labels(record.inputs.train[0].columns)


def check_task(pipeline: str) -> Check:
    def check(record: Record, card: str) -> None:
        assert record.labels == ()
        assert record.inputs.labels is None
        assert f"pipeline_tag: {pipeline}" in card
        assert f"trained for the task {record.inputs.task}.\n" in card
        assert "| Labels |" not in card
        assert "targets of at most 16" in card

    return check


def rewriting(task: str, base: str, method: Method, settings: dict[str, Any]) -> Case:
    """An encoder-decoder that writes a text for a text."""
    check, auto = check_task(task.lower()), "AutoModelForSeq2SeqLM"
    return Case(base, pairs(task), method, settings, check, auto, Family.ENCODER_DECODER, metric="exactMatch")


WRITING = {"learning_rate": 1e-2, "epochs": 20}
CASES: dict[str, Case] = {
    **{
        name: Case("taught_base", same, method, settings, check_method)
        for name, (method, settings) in test_methods.METHODS.items()
    },
    **{
        name: Case(
            base, same, method, settings, check_head, "AutoModelForSequenceClassification", Family.ENCODER, falls=0.5
        )
        for name, (base, method, settings) in test_encoders.RUNS.items()
    },
    **{
        name: Case(
            base,
            data,
            method,
            settings,
            check_tags,
            "AutoModelForTokenClassification",
            Family.ENCODER,
            falls=0.5,
            metric="f1",
            counts="entities",
        )
        for name, (base, data, method, settings) in test_taggers.RUNS.items()
    },
    # T5 translates and BART summarizes, each with LoRA and as a whole.
    **{
        name: rewriting("Translation" if name.startswith("t5") else "Summarization", *run)
        for name, run in test_encoder_decoders.RUNS.items()
    },
    "bart-lora": rewriting("Summarization", "taught_bart", METHOD, WRITING),
    "bart-dora": rewriting("Summarization", "taught_bart", test_encoder_decoders.DORA, WRITING),
    "translation": Case(
        "tiny_base", pairs("Translation"), METHOD, WRITING, check_task("translation"), metric="exactMatch"
    ),
    "completions": Case(
        "tiny_base", writing_completions, METHOD, WRITING, check_task("text-generation"), metric="exactMatch"
    ),
    "conversations": Case(
        "tiny_base",
        writing_messages,
        FullMethod(),
        WRITING | {"learning_rate": 5e-3},
        check_task("text-generation"),
        metric="exactMatch",
    ),
}


@dataclass(frozen=True)
class Trained:
    """A run that was carried out."""

    case: Case
    project: Project
    job: TrainJob
    report: ArtifactReport

    @property
    def record(self) -> Record:
        """Its record."""
        return record_of(self.project, self.job)


@pytest.fixture(scope="session")
def taught_base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that writes labels, and does not know yet which: few parameters teach a random model nothing."""
    project = make_project(tmp_path_factory.mktemp("taught") / "root")
    shutil.copytree(tiny_base, project.root / "pvc" / "models" / "tiny", dirs_exist_ok=True)
    return _taught(project, {"learning_rate": 3e-3, "epochs": 6})


@pytest.fixture(scope="session")
def taught_bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BART that writes the answers, and does not know yet which."""
    project = make_project(tmp_path_factory.mktemp("taught_bart") / "root")
    test_encoder_decoders.save_base(project.root / "pvc" / "models" / "tiny", "BartForConditionalGeneration")
    settings = {"learning_rate": 1e-2, "epochs": 3}
    return _taught(writing_pairs(project, "Summarization"), settings, architecture=Family.ENCODER_DECODER)


def _taught(project: Project, settings: dict[str, Any], **changes: Any) -> Path:
    """Train the project's base as a whole, and return its folder with the new weights."""
    base = project.root / "pvc" / "models" / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(places.ROOT_VARIABLE, str(project.root))
        report = train(project.train_job(method=FullMethod(), settings=settings, **changes))
    for path in Path(project.storage.path(f"artifacts/sha256/{report.digest[7:]}")).iterdir():
        shutil.copy(path, base)
    return base


@pytest.fixture(scope="module", params=CASES)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """A project with a run of each case."""
    case = CASES[request.param]
    project = make_project(tmp_path_factory.mktemp("case") / "root")
    folder = project.root / "pvc" / "models" / "tiny"
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    if case.base in ("tiny_base", "taught_base", "taught_bart"):
        shutil.copytree(request.getfixturevalue(case.base), folder, dirs_exist_ok=True)
    else:
        bases = test_encoders if case.base in test_encoders.BASES else test_encoder_decoders
        bases.save_base(folder, case.base)
    project = case.data(project)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(places.ROOT_VARIABLE, str(project.root))
        architecture = None if case.family is Family.DECODER else case.family
        job = project.train_job(architecture=architecture, method=case.method, settings=case.settings)
        yield Trained(case, project, job, train(job))


def test_the_loss_falls(trained: Trained) -> None:
    training = trained.record.training
    assert training.losses[-1].loss < training.losses[0].loss * trained.case.falls
    assert training.evaluations[-1].loss < training.losses[0].loss


@dataclass(frozen=True)
class Again:
    """The same training once more: its report, and the model as it is in the end of the training."""

    report: ArtifactReport
    model: Any


@pytest.fixture(scope="module")
def again(trained: Trained) -> Again:
    """Each case, trained anew by another run."""
    from stagecoach_trainer import loop

    models: list[Any] = []

    def kept(*arguments: Any) -> Any:
        result = run(*arguments)
        models.append(result.model)
        return result

    run = loop.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "run", kept)
        report = train(trained.job.model_copy(update={"force": True, "subject": ANOTHER}))
    return Again(report, models[0])


def test_the_same_inputs_give_the_same_bytes(trained: Trained, again: Again) -> None:
    assert (again.report.digest, again.report.adopted) == (trained.report.digest, False)


def test_the_record_and_the_card_tell_what_was_done(trained: Trained) -> None:
    record, method = trained.record, trained.case.method
    assert record.inputs.method == method
    kind = "Model" if isinstance(method, FullMethod) else "Adapter"
    assert record.artifact.type == trained.report.type == kind
    assert 0 < record.training.trainable_share <= 1
    card = trained.project.storage.read(f"{run_folder(trained.job.inputs.digest)}/README.md").decode()
    trained.case.check(record, card)


def test_what_is_published_computes_what_was_trained(trained: Trained, again: Again) -> None:
    """Loaded again by the libraries themselves, as its user would: nothing of the training is at hand but the base."""
    import torch

    from stagecoach_trainer.train import prepare

    prepared = prepare(trained.job)
    model = again.model.eval()
    torch.manual_seed(99)  # whatever the base lacks is drawn otherwise than in the training
    folder = Path(trained.project.storage.path(f"artifacts/sha256/{trained.report.digest[7:]}"))
    example = prepared.train[0].examples[0]
    inputs = {"input_ids": torch.tensor([example.prompt])}
    if trained.case.family is Family.ENCODER_DECODER:
        inputs["labels"] = torch.tensor([example.completion])
    with torch.no_grad():
        expected = model(**inputs).logits
        published = _loaded(trained, folder, prepared.base.folder)(**inputs).logits
        before = _base(trained, prepared.base.folder)(**inputs).logits
    assert torch.allclose(published, expected, atol=1e-5)
    assert not torch.allclose(before, expected[:, -before.shape[1] :], atol=1e-2)


def _loaded(trained: Trained, folder: Path, base: str) -> Any:
    from peft import PeftModel

    if trained.report.type == "Model":
        return _base(trained, str(folder))
    return PeftModel.from_pretrained(_base(trained, base), folder).eval()


def _base(trained: Trained, folder: str) -> Any:
    import torch
    import transformers

    labels = trained.record.labels
    head = {"num_labels": len(labels), "ignore_mismatched_sizes": True} if trained.case.family is Family.ENCODER else {}
    return getattr(transformers, trained.case.auto).from_pretrained(folder, dtype=torch.float32, **head).eval()


def test_comparing(trained: Trained, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from stagecoach_trainer import compare

    data = f"pvc://data/train.{trained.project.suffix}"
    options = comparing(
        trained.project, inputs=trained.job.inputs.digest, data=data, json=str(tmp_path / "n.json"), batch_size=8
    )
    assert compare.main(options) == 0
    name, output = trained.report.type.lower(), capsys.readouterr().out
    assert output.splitlines()[0].split() == [trained.case.counts, "base", name]
    new_head = "The base's head was never trained on these labels: its numbers are chance"
    assert (new_head in output) == (trained.case.family is Family.ENCODER)
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert numbers["inputs"] == trained.job.inputs.digest
    measured = numbers[trained.case.metric]
    assert measured[trained.case.counts] == 16
    assert measured[name] >= 0.9
    if trained.case.metric == "exactMatch":
        assert measured["base"] <= 0.5
        assert numbers["chrf"]["base"] < 80 < 90 < numbers["chrf"][name]
