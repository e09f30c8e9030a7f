"""Splits of a hub's data set: which files they are, and what is told of those that cannot be had."""

from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import Columns, LabelsInput
from stagecoach.contract.jobs import DataSource, HubPart, Split
from stagecoach.contract.reports import BadInput
from stagecoach_trainer import hub_data, sources

from .conftest import EXAMPLES, Project, record_of, train
from .hub_server import NEW, Hub

pytest.importorskip("datasets", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")


def table(*examples: tuple[str, str]) -> bytes:
    return "".join(f'"{first}","{second}"\n' for first, second in (("text", "label"), *examples)).encode()


def card(configs: str) -> bytes:
    return f"---\nconfigs:\n{configs}---\n# Cards\n".encode()


NUMBERED = card("- config_name: 1\n  data_dir: a\n- config_name: 2\n  data_dir: b\n")
NAMED = {"README.md": card("- config_name: x\n  data_files: [a.csv, rows.txt]\n"), "a.csv": b""}
ONE, TWO, THREE = (table((text, "a")) for text in ("one", "two", "three"))
TWO_CONFIGS = card(
    "- config_name: en\n  data_files:\n  - split: train\n    path: [z.csv, a.csv]\n  - split: test\n    path: gone-*.csv\n"
    "- config_name: de\n  data_dir: german\n"
)
FILES = {"README.md": TWO_CONFIGS, "z.csv": ONE, "a.csv": TWO, "german/train.csv": THREE, "german/test.csv": ONE}


def source(split: str = "train", config: str | None = None, **changes: Any) -> DataSource:
    made = DataSource(name="train", uri="hf://datasets/desk/cards", split=Split.TRAIN, columns=Columns())
    return made.model_copy(update={"hub": HubPart(config=config, split=split)} | changes)


def texts(found: sources.Dataset) -> list[str]:
    return [row.text for row in found.rows]


def read(given: DataSource) -> sources.Dataset:
    return sources.read(given, mismatch="InputChanged", remedy="Mend it.")


@pytest.mark.parametrize(
    ("files", "split", "config", "expected"),
    [
        (FILES, "train", "en", ["one", "two"]),
        (FILES, "train", "de", ["three"]),
        (FILES, "test", "de", ["one"]),
        ({"train.csv": ONE, "test.csv": TWO}, "test", None, ["two"]),
        ({"README.md": b"# Cards", "train.csv": ONE}, "train", "default", ["one"]),
        (
            {f"data/train-0000{n}-of-00002.csv": rows for n, rows in enumerate((TWO, ONE))},
            "train",
            None,
            ["two", "one"],
        ),
        ({"README.md": card("- config_name: x\n  data_files: b.csv\n"), "b.csv": ONE}, "train", None, ["one"]),
        ({"rows.csv": ONE}, "train", None, ["one"]),
        ({"rows.csv": ONE, "LICENSE": b"", "LICENSE.txt": b"", ".gitattributes": b""}, "train", None, ["one"]),
        ({"train.csv": ONE, "test.csv": TWO, "train.md": b"# Rows"}, "train", None, ["one"]),
        (FILES | {"german/train": b"not data"}, "train", "de", ["three"]),
    ],
)
def test_the_rows_of_a_split_in_order(
    hub: Hub, files: dict[str, bytes], split: str, config: str | None, expected: list[str]
) -> None:
    hub.add("desk/cards", files)
    assert texts(read(source(split, config))) == expected


def test_only_its_files_count_and_their_order_does(hub: Hub) -> None:
    hub.add("desk/cards", FILES)
    before = read(source(config="en")).digest
    hub.add("desk/cards", FILES | {"german/train.csv": ONE, "more.csv": ONE}).refs["main"] = NEW
    assert read(source(config="en", revision="v1")).digest == before
    hub.add("desk/turned", FILES | {"z.csv": TWO, "a.csv": ONE})
    assert read(source(config="en", uri="hf://datasets/desk/turned")).digest != before
    one = read(source("test", "de"))
    hub.add("desk/plain", {"x.csv": ONE})
    assert read(source(uri="hf://datasets/desk/plain/x.csv", hub=None)).digest == one.digest


@pytest.mark.parametrize(
    ("files", "split", "config", "reason", "field", "words"),
    [
        (FILES, "train", None, "ConfigMissing", "hub.config", "several configs; there are en, de"),
        (FILES, "train", "fr", "ConfigMissing", "hub.config", "no config 'fr'; there are en, de"),
        ({"train.csv": ONE}, "train", "fr", "ConfigMissing", "hub.config", "are none. Leave hub.config out"),
        ({"README.md": NUMBERED}, "train", None, "ConfigMissing", "hub.config", "there are 1, 2"),
        (FILES, "dev", "en", "SplitMissing", "hub.split", "no split 'dev'; there are train, test"),
        (FILES, "test", "en", "SplitMissing", "hub.split", r"gone-\*.csv"),
        ({"README.md": b"# Cards"}, "train", None, "SplitMissing", "hub.split", "no files of data. Correct the URI"),
        ({"cards.py": b"", "train.csv": ONE}, "train", None, "SourceRefused", "uri", "never run"),
        ({"train.txt": b"one"}, "train", None, "UnknownFormat", "uri", "train.txt"),
        ({"a.csv": ONE, "b.csv.gz": b""}, "train", None, "UnknownFormat", "uri", "b.csv.gz"),
        ({"a.csv": ONE, "b.json": b"", "c.json": b""}, "train", None, "UnknownFormat", "uri", "b.json"),
        ({"rows.zip": b""}, "train", None, "UnknownFormat", "uri", "rows.zip"),
        ({"LICENSE": b""}, "train", None, "SplitMissing", "hub.split", "looked for"),
        (NAMED | {"rows.txt": ONE}, "train", None, "UnknownFormat", "uri", "rows.txt"),
        (NAMED, "train", None, "SplitMissing", "hub.split", "looked for: a.csv, rows.txt"),
        (FILES | {"../../x.csv": ONE}, "train", "en", "SourceRefused", "uri", "'../../x.csv'"),
        (FILES | {"/etc/x.csv": ONE}, "train", "en", "SourceRefused", "uri", "'/etc/x.csv'"),
        (FILES | {"\0": ONE}, "train", "en", "SourceRefused", "uri", "outside"),
        (FILES | {f"{'a' * 300}.csv": ONE}, "train", "en", "SourceRefused", "uri", "longer than a file system takes"),
        (FILES | {"folder/" * 700 + "a.csv": ONE}, "train", "en", "SourceRefused", "uri", "longer than a file system"),
        ({"README.md": b"#" * (1 << 20) + b"#"}, "train", None, "CardUnusable", "uri", "more than 1 MiB"),
        ({"README.md": b"---\n: : [\n---\n", "train.csv": ONE}, "train", None, "CardUnusable", "uri", "card"),
        ({"README.md": b"---\nconfigs: 3\n---\n"}, "train", None, "CardUnusable", "uri", "to be a list"),
        ({"README.md": card("- config_name: x\n  sep: ;\n")}, "train", None, "CardUnusable", "uri", "sets sep"),
    ],
)
def test_what_cannot_be_had_is_told(
    hub: Hub, files: dict[str, bytes], split: str, config: str | None, reason: str, field: str, words: str
) -> None:
    hub.add("desk/cards", files)
    with pytest.raises(BadInput, match=words) as caught:
        read(source(split, config))
    problem = caught.value.problem
    assert (problem.reason, problem.field) == (reason, f"data.sets[train].{field}")
    assert problem.remedy


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../a.csv", "https://example.com/a.csv", "zip://a.csv::b.zip", "~/a"]
)
@pytest.mark.parametrize("key", ["data_files", "data_dir"])
def test_a_card_leads_nowhere_else(hub: Hub, key: str, path: str) -> None:
    hub.add("desk/cards", {"README.md": card(f"- config_name: x\n  {key}: '{path}'\n"), "a.csv": ONE})
    with pytest.raises(BadInput) as caught:
        read(source())
    assert caught.value.problem.reason == "CardUnusable"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("data_files: data/train**.csv", "entire path component"),
        ("data_files: '**/**/**/a.csv'", "more wildcards"),
        ("data_files: '*a*a*a*a*a*a*a.csv'", "more wildcards"),
        ("data_files: [{split: [train], path: a.csv}]", "card"),
        ("data_files: 3", "card"),
        ("data_dir: 3", "is no folder"),
        ("features: [1]", "card"),
        ("data_files: " + "x" * 5000 + "/*", "is no path"),
        ("data_dir: " + "x" * 5000, "is no folder"),
        ("data_dir: {a: [b]}", "is no folder"),
        ("data_dir: '**/**/**'", "is no folder"),
        ("data_files: " + "[" * 5000, "card"),
    ],
)
def test_a_card_that_makes_no_sense_is_told(hub: Hub, config: str, words: str) -> None:
    hub.add("desk/cards", {"README.md": card(f"- config_name: x\n  {config}\n"), "a.csv": ONE})
    with pytest.raises(BadInput, match=words) as caught:
        read(source())
    assert caught.value.problem.reason == "CardUnusable"


@pytest.mark.parametrize(
    "files",
    [
        {"rows.csv": ONE, "LICENSE": b"", "LICENSE.txt": b"x", "logo.png": b""},
        {"train.csv": ONE, "train.txt": b"x", "test.csv": TWO},
        {"train/a.csv": ONE, "train/b.csv": TWO, "train/notes.txt": b"x", "test/c.csv": THREE},
        {"data/train-00000-of-00001.csv": ONE, "data/LICENSE": b"", "rows.csv": TWO},
        FILES | {"README.md": card("- config_name: de\n  data_dir: german\n")},
    ],
)
def test_files_are_those_that_the_library_reads(hub: Hub, files: dict[str, bytes], tmp_path: Path) -> None:
    import datasets

    for name, content in files.items():
        (tmp_path / "cards" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cards" / name).write_bytes(content)
    built = datasets.load_dataset_builder(str(tmp_path / "cards"), cache_dir=str(tmp_path / "cache"))
    hub.add("desk/cards", files)
    expected = [str(Path(name).relative_to(tmp_path / "cards")) for name in built.config.data_files["train"]]
    assert [name for name, _ in read(source()).files] == expected


def test_nothing_is_downloaded_that_cannot_be_read_or_held(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("desk/cards", {"train-1.csv": ONE, "train-2.csv.gz": TWO})
    with pytest.raises(BadInput) as caught:
        read(source())
    assert caught.value.problem.reason == "UnknownFormat"
    hub.add("desk/pair", {"train-1.csv": ONE, "train-2.csv": TWO})
    monkeypatch.setattr(hub_data, "MAX_BYTES", len(ONE + TWO) - 1)
    with pytest.raises(BadInput) as caught:
        read(source(uri="hf://datasets/desk/pair"))
    assert caught.value.problem.reason == "SourceTooLarge"
    assert not any("/resolve/" in path for _, path, _ in hub.asked)
    monkeypatch.setattr(hub_data, "MAX_BYTES", len(ONE + TWO))
    assert texts(read(source(uri="hf://datasets/desk/pair"))) == ["one", "two"]


def test_a_card_whose_size_the_hub_does_not_tell(hub: Hub) -> None:
    hub.tells_sizes = False
    hub.add("desk/cards", {"README.md": b"#" * (1 << 20) + b"#", "train.csv": ONE})
    with pytest.raises(BadInput, match="more than 1 MiB") as caught:
        read(source())
    assert caught.value.problem.reason == "CardUnusable"


def test_a_row_is_named_by_its_file(hub: Hub) -> None:
    hub.add("desk/cards", FILES | {"a.csv": table(("two", "b"))})
    with pytest.raises(BadInput) as caught:
        sources.check_labels([read(source(config="en"))], ("a",))
    assert caught.value.problem.value == "a.csv:2"
    hub.add("desk/cards", FILES | {"a.csv": table(("", "b"))})
    hub.repositories["datasets/desk/cards"].refs["main"] = "c" * 40
    hub.repositories["datasets/desk/cards"].commits["c" * 40] = FILES | {"a.csv": table(("", "b"))}
    with pytest.raises(BadInput) as caught:
        read(source(config="en"))
    assert caught.value.problem.value == "a.csv:2"


def test_a_project_is_resolved_and_trained(hub: Hub, real: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    halves = {f"data/train-0000{n}-of-00002.csv": table(*EXAMPLES[8 * n : 8 * n + 8]) for n in (0, 1)}
    hub.add("desk/cards", halves | {"data/validation-00000-of-00001.csv": table(EXAMPLES[8])})
    listed = (source(), source("validation").model_copy(update={"name": "valid", "split": Split.VALIDATION}))
    found = resolve(real.resolve_job(datasets=listed))
    assert [(item.name, item.examples, item.revision) for item in found.datasets] == [
        ("train", 16, NEW),
        ("valid", 1, NEW),
    ]
    assert "(valid:2 = train:data/train-00001-of-00002.csv:2)" in found.findings[0].message
    taken = [
        item.model_copy(update={"digest": known.digest, "revision": known.revision})
        for item, known in zip(listed, found.datasets, strict=True)
    ]
    job = real.train_job(train=(taken[0],), validation=(taken[1],))
    labels = LabelsInput(from_data=taken[0].digest)
    job = job.model_copy(update={"inputs": job.inputs.model_copy(update={"labels": labels})})
    train(job)
    told = [(item.hub, item.revision, item.examples) for item in record_of(real, job).data]
    assert told == [(HubPart(split="train"), NEW, 16), (HubPart(split="validation"), NEW, 1)]
