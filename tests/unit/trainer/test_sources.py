import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.digests import Manifest
from stagecoach.contract.inputs import Columns, LabelsInput
from stagecoach.contract.jobs import DataSource, Labels, ModelSource, Split
from stagecoach.contract.reports import BadInput
from stagecoach.contract.store import StorageFailed, Store
from stagecoach_trainer import bases, copies, findings, resolve, sources
from tests.remedies import speaks

from .conftest import EXAMPLES, Project
from .weights import safetensors_of


def read(project: Project, name: str, **options: Any) -> sources.Dataset:
    return sources.read(project.source(name, **options), mismatch="DigestMismatch", remedy="Mend it.")


def test_the_name_of_a_file_is_no_part_of_its_identity(project: Project) -> None:
    project.write("other.csv", EXAMPLES)
    assert read(project, "train").digest == read(project, "other").digest
    assert read(project, "train").digest != read(project, "valid").digest
    assert len(read(project, "train").rows) == len(EXAMPLES)


def test_a_pinned_digest_is_compared(project: Project) -> None:
    digest = read(project, "train").digest
    assert read(project, "train", digest=digest).digest == digest
    with pytest.raises(BadInput) as caught:
        read(project, "valid", digest=digest)
    assert caught.value.problem.reason == "DigestMismatch"
    assert caught.value.problem.field == "data.sets[valid].digest"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("pvc://data/absent.csv", "there are train.csv, valid.csv"),
        ("pvc://data/absent/train.csv", "no such file"),
        ("pvc://absent/train.csv", "no such file"),
        ("configmap://absent/train.csv", "no such key"),
        ("configmap://data/absent.csv", "no such key in this ConfigMap; there are rows.csv"),
    ],
)
def test_a_source_that_is_not_there(project: Project, uri: str, words: str) -> None:
    folder = project.root / "configmap" / "data"
    folder.mkdir()
    (folder / "rows.csv").touch()
    source = DataSource(name="d", uri=uri, split=Split.TRAIN, columns=Columns())
    with pytest.raises(BadInput, match=words) as caught:
        sources.read(source, mismatch="", remedy="")
    assert caught.value.problem.reason == "SourceMissing"
    assert caught.value.problem.value == uri
    assert caught.value.problem.sentence.startswith(f"data.sets[d].uri ({uri}): ")


def test_a_secret_is_not_read_through_a_link_in_a_claim(project: Project) -> None:
    key = project.root / "credentials" / "lake" / "AWS_SECRET_ACCESS_KEY"
    key.parent.mkdir(parents=True)
    key.write_text("verysecret")
    (project.root / "pvc" / "data" / "rows.csv").symlink_to(key)
    (project.root / "pvc" / "data" / "folder").symlink_to(key.parent)
    for name in ("rows", "folder/AWS_SECRET_ACCESS_KEY"):
        with pytest.raises(BadInput, match="leads out of the claim") as caught:
            read(project, name)
        problem = caught.value.problem
        assert (problem.reason, problem.field) == ("LinkLeadsOutside", f"data.sets[{name}].uri")
        assert "verysecret" not in problem.sentence
    (folder(project) / "config.json").unlink()
    (folder(project) / "config.json").symlink_to(key)
    with pytest.raises(BadInput, match="leads out of the claim") as caught:
        base()
    assert caught.value.problem.field == "candidates[tiny].model.uri"


def test_a_base_may_share_files_with_others_of_its_claim(project: Project) -> None:
    digest = base().model
    (project.root / "pvc" / "models" / "blobs").mkdir()
    weights = folder(project) / "model.safetensors"
    weights.rename(project.root / "pvc" / "models" / "blobs" / "1234")
    weights.symlink_to("../blobs/1234")  # as a hub's own cache has it
    assert base().model == digest


def test_labels_of_a_run(project: Project) -> None:
    train, valid = read(project, "train"), read(project, "valid")
    assert sources.run_labels(LabelsInput(values=("b", "a")), [train]) == ("b", "a")
    assert sources.run_labels(LabelsInput(from_data=train.digest), [valid, train]) == ("card_lost", "parcel_late")
    assert sources.run_labels(LabelsInput(from_data="sha256:" + "0" * 64), [valid]) == (), "never those of another set"
    assert sources.run_labels(None, [train]) == ()


def test_labels_are_in_code_point_order(project: Project) -> None:
    project.write("train.csv", [("x", label) for label in ("é", "b", "B", "a", "ß", "👋", "_")])
    assert sources.labels_of([read(project, "train")]) == ("B", "_", "a", "b", "ß", "é", "👋")


def resolved_labels(project: Project, labels: Labels) -> tuple[str, ...]:
    return resolve._labels(labels, [read(project, "train"), read(project, "valid")])


@pytest.mark.parametrize(
    ("labels", "reason", "words"),
    [
        (Labels(values=("card_lost", "x")), "LabelUnknown", "row 3 has the label 'parcel_late'"),
        (Labels(from_dataset="absent"), "UnknownDataset", "Name one of train, valid"),
    ],
)
def test_labels_that_do_not_fit(project: Project, labels: Labels, reason: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        resolved_labels(project, labels)
    assert caught.value.problem.reason == reason


@pytest.mark.parametrize(("count", "reason"), [(1, "TooFewLabels"), (501, "TooManyLabels")])
def test_a_column_with_too_few_or_too_many_labels(project: Project, count: int, reason: str) -> None:
    project.write("train.csv", [(f"t{number}", f"l{number}") for number in range(count)])
    with pytest.raises(BadInput) as caught:
        resolved_labels(project, Labels(from_dataset="train"))
    assert caught.value.problem.reason == reason


def test_a_label_that_only_another_set_has_is_unknown(project: Project) -> None:
    project.write("valid.csv", [("x", "other")])
    with pytest.raises(BadInput, match="row 2 has the label 'other'"):
        resolved_labels(project, Labels(from_dataset="train"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Hello  World", "hello world", True),
        ("ＨＥＬＬＯ\tworld\n", "hello world", True),
        ("STRASSE", "straße", True),
        ("hello world", "hello, world", False),
    ],
)
def test_texts_that_leak(one: str, other: str, same: bool) -> None:
    assert (findings.normalized(one) == findings.normalized(other)) is same


def test_leakage_names_count_and_place(project: Project) -> None:
    project.write("valid.csv", [("HELLO,  my card is lost", "card_lost"), ("new", "card_lost")])
    (message,) = findings._leaks([read(project, "train"), read(project, "valid", split=Split.VALIDATION)])
    assert message == "1 of 2 rows of valid are training rows too (valid:2 = train:4)."


@pytest.mark.parametrize("judging", [Split.TEST, Split.ADVERSARIAL, Split.CANARY])
def test_what_a_model_is_chosen_by_is_not_what_it_is_judged_by(project: Project, judging: Split) -> None:
    project.write("valid.csv", [("new", "card_lost"), ("newer", "card_lost")])
    project.write("test.csv", [("Newer", "card_lost"), ("HELLO,  my card is lost", "card_lost")])
    valid, test = read(project, "valid", split=Split.VALIDATION), read(project, "test", split=judging)
    assert list(findings._leaks([test, valid, read(project, "train")])) == [
        "1 of 2 rows of test are training rows too (test:3 = train:4).",
        "1 of 2 rows of test are validation rows too (test:2 = valid:3).",
    ]
    assert list(findings._leaks([valid, read(project, "train")])) == []


MODEL = ModelSource(name="tiny", uri="pvc://models/tiny")
INDEX = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}


def base(source: ModelSource = MODEL) -> bases.Base:
    return bases.read(source, mismatch="InputChanged", remedy="Mend it.")


def folder(project: Project) -> Path:
    return project.root / "pvc" / "models" / "tiny"


def test_a_base_is_identified_by_its_files(project: Project) -> None:
    first = base()
    assert (first.architecture, first.context) == ("LlamaForCausalLM", 128)
    (folder(project) / "README.md").write_text("not part of it")
    assert base() == first
    (folder(project) / "chat_template.jinja").write_text("{{ messages }}")
    assert base().model == first.model
    assert base().tokenizer != first.tokenizer
    (folder(project) / "model.safetensors").write_bytes(safetensors_of(b"other"))
    assert base().model != first.model


def test_a_base_that_changed_is_told(project: Project) -> None:
    digest = base().model
    (folder(project) / "model.safetensors").write_bytes(safetensors_of(b"other"))
    with pytest.raises(BadInput, match="the model's files") as caught:
        base(MODEL.model_copy(update={"model": digest}))
    assert caught.value.problem.reason == "InputChanged"


def test_a_base_that_changes_while_it_is_used_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(project) / "model.safetensors"
    before, times = place.read_bytes(), place.stat()
    known = bases.parse(bases.line(base()))
    bases.check_unchanged(known)
    place.chmod(0o600)
    (folder(project) / "README.md").write_text("not part of it")
    bases.check_unchanged(known)
    place.write_bytes(before)
    known = bases.check_unchanged(known)
    with monkeypatch.context() as patch:
        patch.setattr(copies, "file_entry", None)  # once more it is not hashed
        bases.check_unchanged(known)

    def told() -> None:
        with pytest.raises(StorageFailed, match=r"model\.safetensors is no longer that") as caught:
            bases.check_unchanged(known)
        assert speaks(caught.value.problem.reason, caught.value.problem.sentence)
        assert caught.value.problem.field == "candidates[tiny].model.uri"

    place.write_bytes(bytes(len(before)))
    told()
    os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
    told()
    place.unlink()
    told()


def write(name: str, content: Any) -> Any:
    def change(place: Path) -> None:
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(content if isinstance(content, str) else json.dumps(content))

    return change


def remove(name: str) -> Any:
    return lambda place: (place / name).unlink()


VERSIONED = {"fast_tokenizer_files": ["tokenizer.5.2.json", "tokenizer.json", "tokenizer.4.0.json"]}
LLAMA = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 128}


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (remove("config.json"), "BaseMissing", "no config.json"),
        (write("config.json", "{"), "BaseUnusable", "not JSON"),
        (write("config.json", "[]"), "BaseUnusable", "not an object"),
        (write("config.json", LLAMA | {"auto_map": {"AutoModel": "x.Y"}}), "BaseUnusable", "auto_map"),
        (write("config.json", LLAMA | {"architectures": ["BertForMaskedLM"]}), "BaseUnusable", "BertForMaskedLM"),
        (write("config.json", {"max_position_embeddings": 1}), "BaseUnusable", "nothing"),
        (write("config.json", {"architectures": ["LlamaForCausalLM"]}), "BaseUnusable", "how long its context"),
        (write("config.json", LLAMA | {"architectures": {"a": 1}}), "BaseUnusable", "architectures is not a list"),
        (write("config.json", LLAMA | {"model_type": "roberta", "pad_token_id": None}), "BaseUnusable", "pad_token_id"),
        (write("generation_config.json", "{"), "BaseUnusable", "generation_config.json is not a JSON object"),
        (write("generation_config.json", "[]"), "BaseUnusable", "generation_config.json is not a JSON object"),
        (write("model.safetensors.index.json", {"weight_map": {"a": 1}}), "BaseMissing", "not there: 1"),
        (write("config.json", LLAMA | {"quantization_config": {"bits": 4}}), "BaseUnusable", "quantized"),
        (remove("model.safetensors"), "BaseUnusable", "no .safetensors weights"),
        (write("model.safetensors.index.json", INDEX), "BaseMissing", "model-1.safetensors, model-2.safetensors"),
        (write("model.safetensors.index.json", "{}"), "BaseUnusable", "broken"),
        (write("config.json", LLAMA | {"transformers_weights": "w"}), "BaseUnusable", "transformers_weights"),
        (remove("tokenizer.json"), "BaseUnusable", "no tokenizer.json"),
        (write("tokenizer_config.json", VERSIONED), "BaseUnusable", "tokenizer.5.2.json, tokenizer.4.0.json"),
        (write("tokenizer_config.json", {"fast_tokenizer_files": 4}), "BaseUnusable", "broken"),
        (write("tokenizer_config.json", "{"), "BaseUnusable", "broken"),
        (write("tokenizer_config.json", "[]"), "BaseUnusable", "broken"),
        (write("additional_chat_templates/default.jinja", "{{ x }}"), "BaseUnusable", "additional_chat_templates"),
    ],
)
def test_a_base_that_cannot_be_used(project: Project, change: Any, reason: str, words: str) -> None:
    change(folder(project))
    with pytest.raises(BadInput, match=words) as caught:
        base()
    assert caught.value.problem.reason == reason
    assert caught.value.problem.field == "candidates[tiny].model.uri"
    assert caught.value.problem.remedy


def with_header(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content[:-1], "and by its header"),
        (lambda content: content + b"x", "and by its header"),
        (lambda _: b"", "cut off (0 bytes)"),
        (lambda content: content[:5], "cut off (5 bytes)"),
        (lambda content: content[:20], "cut off (20 bytes)"),
        (lambda content: content[9:], "does not begin as safetensors do"),
        (lambda _: with_header(b"{"), "the header of its model.safetensors is broken"),
        (lambda _: with_header(b"[]"), "the header of its model.safetensors is broken"),
        (lambda _: with_header(b'{"a": {"dtype": "F32"}}'), "the header of its model.safetensors is broken"),
        (lambda _: with_header(b"[" * 100_000), "the header of its model.safetensors is broken"),
    ],
)
def test_weights_that_are_not_whole(project: Project, change: Callable[[bytes], bytes], words: str) -> None:
    file = folder(project) / "model.safetensors"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(BadInput, match=re.escape(words)) as caught:
        base()
    problem = caught.value.problem
    assert (problem.reason, problem.field, problem.value) == ("BaseUnusable", "candidates[tiny].model.uri", MODEL.uri)
    assert problem.remedy == "Put the whole model.safetensors there again."


POINTER = b"version https://git-lfs.github.com/spec/v1"


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"model.safetensors": safetensors_of(b"a"), "consolidated.safetensors": POINTER}, None),
        ({"model-1.safetensors": safetensors_of(b"a"), "consolidated.safetensors": POINTER}, None),
        ({"model-1.safetensors": POINTER, "consolidated.safetensors": safetensors_of(b"a")}, "model-1.safetensors"),
        ({"model.safetensors": POINTER, "model-1.safetensors": safetensors_of(b"a")}, "model.safetensors"),
        ({"consolidated.safetensors": POINTER}, "consolidated.safetensors"),
    ],
)
def test_only_weights_that_are_loaded_have_to_be_whole(
    project: Project, files: dict[str, bytes], fault: str | None
) -> None:
    (folder(project) / "model.safetensors").unlink()
    for name, content in files.items():
        (folder(project) / name).write_bytes(content)
    if "model-1.safetensors" in files:
        write("model.safetensors.index.json", {"weight_map": {"content": "model-1.safetensors"}})(folder(project))
    if fault is None:
        assert base().context == 128
        return
    with pytest.raises(BadInput, match=f"its {re.escape(fault)} does not begin"):
        base()


def test_of_a_base_that_is_known_the_digest_alone_decides(project: Project) -> None:
    """IncumbentStays: what is served may have been admitted before anybody looked at its weights."""
    (folder(project) / "model.safetensors").write_bytes(POINTER)
    there = Store.local(str(folder(project)))
    digest = Manifest.of(there.entry(name, name) for name in ("config.json", "model.safetensors")).digest
    assert base(MODEL.model_copy(update={"model": digest})).model == digest


def test_weights_without_a_tensor_are_whole(project: Project) -> None:
    header = b'{"__metadata__": {"format": "pt"}}'
    (folder(project) / "model.safetensors").write_bytes(with_header(header))
    assert base().context == 128


@pytest.mark.parametrize("settings", [{}, {"fast_tokenizer_files": []}, {"fast_tokenizer_files": ["tokenizer.json"]}])
def test_settings_of_a_tokenizer_that_name_no_other_file(project: Project, settings: Any) -> None:
    write("tokenizer_config.json", settings)(folder(project))
    assert base().context == 128


def test_pickled_weights_are_named(project: Project) -> None:
    (folder(project) / "model.safetensors").rename(folder(project) / "pytorch_model.bin")
    with pytest.raises(BadInput, match=r"pytorch_model\.bin"):
        base()


@pytest.mark.usefixtures("project")
def test_a_base_that_is_not_there() -> None:
    with pytest.raises(BadInput, match="no such folder") as caught:
        base(MODEL.model_copy(update={"uri": "pvc://models/absent"}))
    assert caught.value.problem.reason == "BaseMissing"
