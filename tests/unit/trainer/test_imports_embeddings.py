"""Imports of models, and adapters, that make vectors of texts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import Family, FullMethod, Method
from stagecoach_trainer import compare, lookup, pooling

from .conftest import Project
from .elsewhere import change, digest_there, import_job, imported_again, pinned, refusal, weights
from .test_compare import comparing
from .test_embeddings import ANSWERS, HELD_OUT, embedding_job, matching, published, reloaded
from .test_encoders import LOW_RANK

torch = pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")

TEXTS = [*(query for query, _ in HELD_OUT), *ANSWERS.values()]
COLUMNS = json.dumps({"query": "query", "positive": "positive"})


def place(project: Project) -> Path:
    return project.root / "pvc" / "made" / "it"


def pools(folder: Path, mode: str = "mean", *more: str) -> None:
    """Say how a folder's tokens become a vector, as sentence-transformers does."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *((f"2_{kind}", kind) for kind in more)]
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling.document(mode, 32)))


def moved(model: Any) -> Any:
    """Return a model, each of its weights a little otherwise."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def whole(project: Project) -> None:
    """Make a whole model elsewhere, with the pooler that such models have there."""
    from transformers import AutoModel

    model = moved(AutoModel.from_pretrained(project.root / "pvc" / "models" / "tiny"))
    assert model.pooler is not None, "or the test shows nothing"
    model.save_pretrained(place(project))
    pools(place(project), "mean", "Normalize")


def adapter(project: Project) -> None:
    """Make an adapter elsewhere, of a model with its pooler."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    base = AutoModel.from_pretrained(project.root / "pvc" / "models" / "tiny")
    config = LoraConfig(r=4, target_modules=["query", "dense"], task_type="FEATURE_EXTRACTION")
    moved(get_peft_model(base, config)).save_pretrained(place(project))
    pools(place(project))


def made_elsewhere(project: Project) -> Any:
    """Return the vectors of what lies where it is imported from, as its maker has them."""
    from peft import PeftModel
    from transformers import AutoModel, AutoTokenizer

    base, folder = project.root / "pvc" / "models" / "tiny", place(project)
    if (folder / "config.json").exists():
        model = AutoModel.from_pretrained(folder)
    else:
        model = PeftModel.from_pretrained(AutoModel.from_pretrained(base), folder)
    tokenizer = AutoTokenizer.from_pretrained(base)
    found = []
    for text in TEXTS:
        with torch.no_grad():
            vector = (
                model.eval()(input_ids=torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0].mean(dim=0)
            )
        found.append(vector / vector.norm())
    return torch.stack(found)


@pytest.mark.parametrize("make", [whole, adapter], ids=["model", "adapter"])
def test_what_is_imported_makes_the_same_vectors(
    project: Project, make: Callable[[Project], None], capsys: pytest.CaptureFixture[str]
) -> None:
    made = matching(project, "BertModel")
    given = embedding_job(made)
    make(made)
    report = pinned(made, like=given)
    expected = made_elsewhere(made)
    assert torch.allclose(reloaded(made, report, TEXTS), expected, atol=1e-5)
    spread = expected @ expected.T
    assert float(spread.min()) < 0.99, "texts are told apart, or the test shows nothing"
    assert published(made, report, "1_Pooling/config.json")["pooling_mode_mean_tokens"]
    job = import_job(made, digest_there(import_job(made, like=given)), like=given)
    known = lookup.read_record(made.storage, job.inputs.digest)
    assert known is not None
    assert (known[0].base.pooling, known[0].labels) == ("mean", ())
    assert compare.main(comparing(made, inputs=job.inputs.digest, data="pvc://data/valid.csv", columns=COLUMNS)) == 0
    assert "among 8 passages" in capsys.readouterr().out


OWN: list[tuple[str, Method]] = [
    ("BertForMaskedLM", LOW_RANK),
    ("BertModel", FullMethod()),
    ("DistilBertForMaskedLM", FullMethod()),
]


@pytest.mark.parametrize(("architecture", "method"), OWN, ids=["lora", "full", "distil"])
def test_what_was_trained_here_is_the_same_artifact(project: Project, architecture: str, method: Method) -> None:
    imported_again(matching(project, architecture), method, Family.ENCODER)


def test_the_first_token_is_taken_where_the_base_does(project: Project) -> None:
    made = matching(project, "BertModel")
    pools(made.root / "pvc" / "models" / "tiny", "cls")
    given = embedding_job(made)
    whole(made)
    refusal(
        made, "ImportUnfit", "is the mean of the tokens' vectors, as its modules.json says, and of the base", like=given
    )
    (place(made) / "modules.json").unlink()
    refusal(made, "ImportUnfit", "as it is where no modules.json says otherwise", like=given)
    pools(place(made), "cls")
    report = pinned(made, like=given)
    assert published(made, report, "1_Pooling/config.json")["pooling_mode_cls_token"]


def test_how_vectors_are_made_is_part_of_the_digest(project: Project) -> None:
    made = matching(project, "BertModel")
    given = embedding_job(made)
    whole(made)
    job = import_job(made, like=given)
    before = digest_there(job)
    (place(made) / "README.md").write_text("of no matter")
    assert digest_there(job) == before
    pools(place(made), "cls")
    assert digest_there(job) != before


def _pools(mode: str, *more: str) -> Callable[[Path], None]:
    return lambda folder: pools(folder, mode, *more)


def _first(found: dict[str, Any]) -> str:
    return next(name for name in sorted(found) if not name.startswith("pooler."))


MODELS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "another pooling": (_pools("cls"), "ImportUnfit", "is the vector of the first token, as its modules.json says"),
    "a pooling that is not known": (_pools("max"), "ImportUnusable", "neither the mean of all tokens nor the first one"),
    "a layer behind it": (_pools("mean", "Dense"), "ImportUnusable", "lists Transformer, Pooling, Dense"),
    "no pooling": (lambda folder: (folder / "1_Pooling" / "config.json").unlink(), "ImportUnusable", "which is not there"),
    "broken modules": (lambda folder: (folder / "modules.json").write_text("{"), "ImportUnusable", "modules.json is not JSON"),
    "another vocabulary": (change("vocab_size", 300), "ImportUnfit", "vocab_size is 300"),
    "a weight less": (weights(lambda found: found.pop(_first(found))), "ImportUnfit", "1 weights are missing"),
    "a weight more": (weights(lambda found: found.update(odd=found[_first(found)].clone())), "ImportUnfit", "unexpected"),
    "a number that is none": (weights(lambda found: found[_first(found)].fill_(float("nan"))), "NotFinite", "not a number"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "reason", "words"), MODELS.values(), ids=MODELS)
def test_a_model_that_cannot_be_used_is_refused(
    project: Project, spoil: Callable[[Path], object], reason: str, words: str
) -> None:
    made = matching(project, "BertModel")
    given = embedding_job(made)
    whole(made)
    spoil(place(made))
    refusal(made, reason, words, like=given)


ADAPTERS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "another pooling": (_pools("cls"), "ImportUnfit", "and of the base tiny it is the mean"),
    "a head": (change("modules_to_save", ["classifier"]), "ImportUnusable", "modules_to_save"),
    "of a classifier": (change("task_type", "SEQ_CLS"), "ImportUnusable", "task_type"),
    "another rank": (change("r", 8), "ImportUnfit", "has the shape"),
}


@pytest.mark.parametrize(("spoil", "reason", "words"), ADAPTERS.values(), ids=ADAPTERS)
def test_an_adapter_that_cannot_be_used_is_refused(
    project: Project, spoil: Callable[[Path], object], reason: str, words: str
) -> None:
    made = matching(project, "BertModel")
    given = embedding_job(made)
    adapter(made)
    spoil(place(made))
    refusal(made, reason, words, like=given)
