"""What is found before a training, with a real tokenizer. Needs the trainer's libraries: runs inside its image."""

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from stagecoach.contract.inputs import Overflow, Prompt, TaskDocuments, Tokenization
from stagecoach.contract.jobs import Split
from stagecoach.contract.prompts import Encoder
from stagecoach.contract.reports import ArtifactReport, BadInput
from tests.unit.contract.documents import PROMPT

from .conftest import EXAMPLES, Project, writing_messages, writing_pairs

pytestmark = pytest.mark.filterwarnings("ignore")


def test_resolving(real: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    real.write("valid.csv", [EXAMPLES[0], ("new", "card_lost")])
    found = resolve(real.resolve_job())
    assert [(item.name, item.examples) for item in found.datasets] == [("train", 16), ("valid", 2)]
    assert found.labels is not None
    assert (found.labels.count, found.labels.first) == (2, ("card_lost", "parcel_late"))
    assert (found.candidates[0].architecture, found.candidates[0].context) == ("LlamaForCausalLM", 256)
    assert [item.code for item in found.findings] == ["Leakage"]
    assert not found.has_records


def test_documents_of_a_benchmark_are_no_rows_of_the_task(real: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    place = real.root / "pvc" / "data" / "arc.jsonl"
    place.write_text(f'{{"question": "{"long " * 500}"}}\n{{"question": "{EXAMPLES[0][0]}"}}\n')
    source = real.source("arc", Split.BENCHMARK).model_copy(
        update={"uri": "pvc://data/arc.jsonl", "columns": TaskDocuments()}
    )
    job = real.resolve_job()
    found = resolve(job.model_copy(update={"datasets": (*job.datasets, source)}))
    assert [(item.name, item.examples) for item in found.datasets][2:] == [("arc", 2)]
    assert found.findings == resolve(job).findings


def test_resolving_finds_records(trained: tuple[Project, ArtifactReport]) -> None:
    from stagecoach_trainer.resolve import resolve

    assert resolve(trained[0].resolve_job()).has_records


def test_a_row_that_is_too_long_is_named(real: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    real.write("valid.csv", [("short", "card_lost"), ("long " * 50, "card_lost")])
    with pytest.raises(BadInput, match="row 3 has") as caught:
        resolve(real.resolve_job())
    problem = caught.value.problem
    assert (problem.reason, problem.field, problem.value) == ("RowTooLong", "data.sets[valid]", "valid.csv:3")


def test_cut_rows_and_a_short_context_are_findings(real: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    real.write("valid.csv", [("short", "card_lost"), ("long " * 500, "card_lost")])
    found = resolve(real.resolve_job(tokenization=Tokenization(max_length=300, overflow=Overflow.TRUNCATE)))
    assert {item.code: item.message for item in found.findings} == {
        "OverflowAboveOnePercent": "1 of 2 rows of valid are cut (50.0 %).",
        "LongerThanContext": (
            "tokenization.maxLength is 300, the longest label has 12 tokens with its end, and tiny has a context of 256."
        ),
    }


@pytest.mark.parametrize(("length", "codes"), [(244, []), (245, ["LongerThanContext"])])
def test_what_is_written_behind_a_prompt_takes_context_too(real: Project, length: int, codes: list[str]) -> None:
    from stagecoach_trainer.resolve import resolve

    found = resolve(real.resolve_job(tokenization=Tokenization(max_length=length, overflow=Overflow.REJECT)))
    assert [item.code for item in found.findings] == codes


@pytest.mark.parametrize("text", ["{text}", "dé 👋🏽 <|end|>", "x" * 300, "Ω" * 300, "👋🏽" * 100])
def test_truncation_with_a_real_tokenizer(real: Project, text: str) -> None:
    from stagecoach_trainer import bases

    base = bases.read(real.resolve_job().candidates[0], mismatch="", remedy="")
    tokenizer: Any = bases.load_tokenizer(base)
    encoder = Encoder(tokenizer, PROMPT, Tokenization(max_length=96, overflow=Overflow.TRUNCATE))
    encoded = encoder.encode(text)
    assert len(encoded.ids) <= 96
    assert encoded.truncated == (len(text) >= 100)
    assert tokenizer.decode(list(encoded.ids)) == encoder.render(encoded.kept)
    assert text.startswith(encoded.kept)
    assert not encoded.truncated or len(encoded.ids) > 96 - 18
    assert tokenizer.decode(list(encoder.completion("card_lost"))) == "card_lost<|end|>"


def test_a_tokenizer_is_read_from_files_of_its_digest_only(real: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers.tokenization_utils_base as transformers

    from stagecoach_trainer import bases

    reader = Mock(wraps=transformers.cached_file)
    monkeypatch.setattr(transformers, "cached_file", reader)
    bases.load_tokenizer(bases.read(real.resolve_job().candidates[0], mismatch="", remedy=""))
    asked = {call.args[1] for call in reader.call_args_list}
    assert "tokenizer.json" in asked
    assert asked <= bases.TOKENIZER_FILES


def test_a_template_that_knows_no_system_turn(real: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    (real.root / "pvc" / "models" / "tiny" / "chat_template.jinja").write_text(template)
    with pytest.raises(BadInput, match="System role not supported"):
        resolve(real.resolve_job())


@pytest.mark.parametrize("writing", [writing_messages, lambda project: writing_pairs(project, "Summarization")])
def test_resolving_a_task_that_writes(real: Project, writing: Callable[[Project], Project]) -> None:
    from stagecoach_trainer.resolve import resolve

    project = writing(real)
    found = resolve(project.resolve_job())
    assert found.labels is None
    assert [(item.name, item.examples) for item in found.datasets] == [("train", 16), ("valid", 4)]
    # The validation rows of these projects are training rows.
    assert [item.code for item in found.findings] == ["Leakage"]
    assert found.findings[0].message.startswith("4 of 4 rows of valid are training rows too (valid:")
    rule = Tokenization(max_length=250, max_target_length=16, overflow=Overflow.TRUNCATE)
    found = resolve(project.resolve_job(tokenization=rule))
    assert found.findings[1].message == (
        "tokenization.maxLength is 250 and maxTargetLength 16, and tiny has a context of 256."
    )


@pytest.mark.parametrize("overflow", [Overflow.TRUNCATE, Overflow.REJECT])
def test_a_target_is_never_cut(real: Project, overflow: Overflow) -> None:
    from stagecoach_trainer.resolve import resolve

    rule = Tokenization(max_length=128, max_target_length=13, overflow=overflow)
    with pytest.raises(BadInput) as caught:
        resolve(writing_messages(real).resolve_job(tokenization=rule))
    problem = caught.value.problem
    assert (problem.reason, problem.field, problem.value) == ("TargetTooLong", "data.sets[train]", "train.jsonl:1")
    assert "the target of row 1 has 14 tokens with its end, and tokenization.maxTargetLength is 13" in problem.message


def test_a_conversation_with_a_template_is_refused(real: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    prompt = Prompt(template="Answer: {text}")
    with pytest.raises(BadInput) as caught:
        resolve(writing_messages(real).resolve_job(prompt=prompt))
    assert caught.value.problem.reason == "TemplateUnused"


def test_long_conversations_are_cut_and_counted(real: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    rule = Tokenization(max_length=80, max_target_length=16, overflow=Overflow.TRUNCATE)
    found = resolve(writing_messages(real).resolve_job(tokenization=rule))
    assert "16 of 16 rows of train are cut (100.0 %)" in found.findings[1].message
