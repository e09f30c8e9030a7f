"""What the API server refuses of a project, and that it says what to write instead."""

import copy
from typing import Any

import pytest

from tests import builders
from tests.integration.kinds.admission import Change, put, refused, take, written
from tests.kube import Kube, KubeError


def writing(change: Change) -> Change:
    """Return a change of a project whose task is to write texts."""

    def changed(spec: builders.Object) -> None:
        spec["problem"] |= {"task": "Summarization"}
        del spec["problem"]["labels"]
        change(spec)

    return changed


def tagging(change: Change) -> Change:
    """Return a change of a project whose task is to tag tokens."""

    def changed(spec: builders.Object) -> None:
        spec["problem"] |= {"task": "TokenClassification", "architecture": "Encoder"}
        change(spec)

    return changed


def embedding(change: Change) -> Change:
    """Return a change of a project whose task is to make vectors."""

    def changed(spec: builders.Object) -> None:
        spec["problem"] |= {"task": "Embedding", "architecture": "Encoder"}
        del spec["problem"]["labels"]
        change(spec)

    return changed


def credential(match: str) -> builders.Object:
    return {"match": match, "secret": {"name": "s"}}


def with_web(*matches: str) -> Change:
    """Return a change of a project that reads from a web server, tells a tracking server, and has credentials."""

    def changed(spec: builders.Object) -> None:
        spec["data"]["sets"][0]["uri"] = "https://data.example.com/a/rows.csv"
        spec["tracking"] = {"mlflow": {"uri": "http://mlflow.lab:5000/"}}
        spec["credentials"] = [credential(match) for match in matches]

    return changed


CHUNKS = {"maxLength": 128, "overflow": "Chunk", "chunk": {"stride": 64}}


def chunking(change: Change) -> Change:
    """Return a change of a project of an encoder whose long texts are read in chunks."""

    def changed(spec: builders.Object) -> None:
        spec["problem"] |= {"architecture": "Encoder"}
        spec["tokenization"] = copy.deepcopy(CHUNKS)
        change(spec)

    return changed


URI = "data.sets.0.uri"
MODEL = "candidates.0.model"
HUB_SET = {"name": "train", "uri": "hf://datasets/desk/cards/data/train.parquet", "split": "Train"}
HUB_WHOLE = HUB_SET | {"uri": "hf://datasets/desk/cards"}
PROJECTS = [
    ("neither labels", put("problem.labels", {}), "give exactly one of labels.fromDataset"),
    ("both labels", put("problem.labels.values", ["a", "b"]), "give exactly one of labels.fromDataset"),
    ("one label", put("problem.labels", {"values": ["a"]}), "should have at least 2 items"),
    ("labels of no set", put("problem.labels.fromDataset", "more"), "must be the name of one of data.sets"),
    ("labels of the test split", put("problem.labels.fromDataset", "test"), "with split Train"),
    ("unknown task", put("problem.task", "Guessing"), 'supported values: "Classification", "TokenClassification", "Generation", "Summarization", "Translation", "Embedding"'),
    ("a classification without labels", put("problem.labels", None), "labels are what a Classification or TokenClassification chooses from: give them for these tasks"),
    ("labels of a task that writes", writing(put("problem.labels", {"values": ["a", "b"]})), "and leave them out for any other"),
    ("an encoder that writes", writing(put("problem.architecture", "Encoder")), "an Encoder chooses a label or makes a vector, and writes no text: set architecture Decoder or EncoderDecoder"),
    ("texts and targets", put("data.sets.0.columns", {"text": "a", "target": "b"}), "give columns of one kind: text and label, or input and target"),
    ("inputs and messages", writing(put("data.sets.0.columns", {"input": "a", "messages": "b"})), "give columns of one kind"),
    ("prompts and targets", writing(put("data.sets.0.columns", {"prompt": "a", "target": "b"})), "give columns of one kind"),
    ("an empty column", writing(put("data.sets.0.columns", {"input": ""})), "should be at least 1 chars long"),
    ("labels of a summary", writing(put("data.sets.1.columns", {"label": "a"})), "columns.text and columns.label are for Classification: name input and target"),
    ("targets of a classification", put("data.sets.1.columns", {"target": "a"}), "a Classification learns labels: name columns.text and columns.label"),
    ("conversations of a classification", put("data.sets.1.columns", {"messages": "a"}), "a Classification learns labels"),
    ("tags without labels", tagging(put("problem.labels", None)), "labels are what a Classification or TokenClassification chooses from: give them"),
    ("tags by a decoder", tagging(put("problem.architecture", "Decoder")), "the tags of a TokenClassification are chosen by the head of an Encoder: set architecture Encoder"),
    ("tags by an encoder-decoder", tagging(put("problem.architecture", "EncoderDecoder")), "are chosen by the head of an Encoder: set architecture Encoder"),
    ("labels of a text for tags", tagging(put("data.sets.0.columns", {"label": "a"})), "a TokenClassification learns tags of words, or spans of texts: name columns.tokens and columns.tags"),
    ("targets for tags", tagging(put("data.sets.0.columns", {"target": "a"})), "a TokenClassification learns tags of words, or spans of texts"),
    ("words and a text", tagging(put("data.sets.0.columns", {"text": "a", "tags": "b"})), "give columns of one kind"),
    ("tags and spans", tagging(put("data.sets.0.columns", {"spans": "a", "tags": "b"})), "give columns of one kind: text and label"),
    ("a label and spans", tagging(put("data.sets.0.columns", {"spans": "a", "label": "b"})), "or tokens and tags, or text and spans"),
    ("words in one set and spans in another", tagging(put("data.sets.0.columns", {"text": "a", "spans": "b"})), "or columns.text and columns.spans in all"),
    ("tags of a classification", put("data.sets.0.columns", {"tags": "a"}), "columns.tokens, columns.tags and columns.spans are for TokenClassification: set this task"),
    ("spans of a classification", put("data.sets.0.columns", {"text": "a", "spans": "a"}), "columns.spans are for TokenClassification: set this task"),
    ("tags of a summary", writing(put("data.sets.0.columns", {"tokens": "a"})), "columns.spans are for TokenClassification: set this task"),
    ("the length of a tag", tagging(put("tokenization.maxTargetLength", 8)), "tokenization.maxTargetLength is for tasks that write texts"),
    ("the length of a label", put("tokenization.maxTargetLength", 8), "tokenization.maxTargetLength is for tasks that write texts"),
    ("no target", writing(put("tokenization.maxTargetLength", 0)), "should be greater than or equal to 1"),
    ("a template for conversations", writing(put("data.sets.0.columns", {"messages": "turns"})), "let the template of the prompt in force be {text}"),
    ("labels of an embedding", embedding(put("problem.labels", {"values": ["a", "b"]})), "labels are what a Classification or TokenClassification chooses from"),
    ("an embedding of a decoder", embedding(put("problem.architecture", "Decoder")), "the vectors of an Embedding are made by an Encoder: set architecture Encoder"),
    ("an embedding of an encoder-decoder", embedding(put("problem.architecture", "EncoderDecoder")), "set architecture Encoder"),
    ("queries and labels", embedding(put("data.sets.0.columns", {"query": "a", "label": "b"})), "give columns of one kind"),
    ("negatives and targets", embedding(put("data.sets.0.columns", {"negative": "a", "target": "b"})), "or query and positive"),
    ("labels of queries", embedding(put("data.sets.1.columns", {"text": "a"})), "an Embedding learns from queries and passages: name columns.query and columns.positive"),
    ("targets of queries", embedding(put("data.sets.1.columns", {"completion": "a"})), "an Embedding learns from queries and passages"),
    ("conversations of queries", embedding(put("data.sets.1.columns", {"messages": "a"})), "an Embedding learns from queries and passages"),
    ("queries of a classification", put("data.sets.1.columns", {"query": "a"}), "columns.query, columns.positive and columns.negative are for Embedding"),
    ("negatives of a summary", writing(put("data.sets.1.columns", {"negative": "a"})), "are for Embedding: set this task"),
    ("a target length of queries", embedding(put("tokenization.maxTargetLength", 8)), "tokenization.maxTargetLength is for tasks that write texts"),
    ("passages of a classification", put("prompts.0.passageTemplate", "passage: {text}"), "passageTemplate is for the passages of an Embedding"),
    ("passages without a text", embedding(put("prompts.0.passageTemplate", "passage")), "passageTemplate must hold {text} exactly once"),
    ("columns of documents", put("data.sets.2", {"name": "arc", "uri": "pvc://a/b.jsonl", "split": "Benchmark", "columns": {"text": "a"}}), "documents of a benchmark are read whole, by the task that a gate names: leave out columns"),
    ("unknown split", put("data.sets.0.split", "Dev"), 'supported values: "Train", "Validation", "Test"'),
    ("no sets", put("data.sets", []), "should have at least 1 items"),
    ("two sets of a name", put("data.sets.1.name", "train"), "Duplicate value"),
    ("an odd name of a set", put("data.sets.0.name", "Train"), "must be lower-case letters, digits and '-', with a letter or digit at both ends"),
    ("an odd name of a candidate", put("candidates.0.name", "small-"), "with a letter or digit at both ends"),
    ("a long name of a prompt", put("prompts.0.name", "a" * 51), "may not be more than 50"),
    ("thirteen sets", put("data.sets", [{"name": f"s{n}", "uri": "pvc://a/b", "split": "Train"} for n in range(13)]), "must have at most 12 items"),
    ("a bucket without a file", put(URI, "s3://lake"), "s3://<bucket>/<file>"),
    ("a bucket of Google's without a file", put(URI, "gs://lake"), "gs://<bucket>/<file>"),
    ("a bucket that Google would not name so", put(URI, "gs://Lake/a.csv"), "gs://<bucket>/<file>"),
    ("a generation of an object", put(URI, "gs://lake/a.csv#1"), "gs://<bucket>/<file>"),
    ("a bucket by another scheme", put(URI, "gcs://lake/a.csv"), "gs://<bucket>/<file>"),
    ("keys in a URI", put(URI, "s3://key:word@lake/a.csv"), "without '..', percent signs or credentials"),
    ("an address instead of a host", put(URI, "https://127.0.0.1/a.csv"), "https://<full host name>/<file>"),
    ("a query", put(URI, "https://data.example.com/a.csv?key=1"), "https://<full host name>/<file>"),
    ("data of a hub", put(URI, "hf://desk/rows"), "https://<full host name>/<file>"),
    ("a whole data set of a hub", put(URI, "hf://datasets/desk/cards"), "name one by hub.split"),
    ("a revision of what is in no hub", put("data.sets.0.hub", {"revision": "main"}), "hub is for data of a hub"),
    ("an odd revision of a data set", put("data.sets.0", HUB_SET | {"hub": {"revision": "../x"}}), "must be a commit, branch or tag such as main"),
    ("a split of a file", put("data.sets.0", HUB_SET | {"hub": {"split": "train"}}), "leave them out for a file"),
    ("a config alone", put("data.sets.0", HUB_WHOLE | {"hub": {"config": "en"}}), "name one by hub.split"),
    ("a model that is a file of a server", put(MODEL, {"uri": "https://data.example.com/a"}), "hf://<organization>/<name>"),
    ("a revision of a folder", put(MODEL, {"uri": "pvc://models/a", "revision": "main"}), "revision is for a model of a hub"),
    ("a revision with a parent folder", put(MODEL, {"uri": "hf://desk/a", "revision": "refs/../x"}), "must be a commit, branch or tag such as main"),
    ("a revision with dots", put(MODEL, {"uri": "hf://desk/a", "revision": "a..b"}), "must be a commit, branch or tag such as main"),
    ("a revision with an empty part", put(MODEL, {"uri": "hf://desk/a", "revision": "refs//x"}), "must be a commit, branch or tag such as main"),
    ("a revision from a root", put(MODEL, {"uri": "hf://desk/a", "revision": "/x"}), "must be a commit, branch or tag such as main"),
    ("an encoded revision", put(MODEL, {"uri": "hf://desk/a", "revision": "refs%2Fx"}), "must be a commit, branch or tag such as main"),
    ("a split with a slash", put("data.sets.0", HUB_WHOLE | {"hub": {"split": "a/b"}}), "must be letters, digits, '_', '-' and single '.'"),
    ("an odd config", put("data.sets.0", HUB_WHOLE | {"hub": {"split": "a", "config": "a."}}), "and no '.' at the end"),
    ("an odd revision", put(MODEL, {"uri": "hf://desk/a", "revision": "../x"}), "must be a commit, branch or tag such as main"),
    ("keys in the URI of a tracking server", put("tracking", {"mlflow": {"uri": "https://me:word@mlflow"}}), "must be https://<host>[:<port>] or http://"),
    ("tracking without a server", put("tracking", {}), "mlflow: Required value"),
    ("credentials for every host", put("credentials", [{"match": "https://", "secret": {"name": "s"}}]), "must be the beginning of"),
    ("credentials for a claim", put("credentials", [{"match": "pvc://lake/", "secret": {"name": "s"}}]), "must be the beginning of"),
    ("credentials without a Secret", put("credentials", [{"match": "s3://lake/"}]), "secret: Required value"),
    ("credentials that nothing is asked with", put("credentials", [credential("http://mlflow.lab:5000")]), "nothing else is asked with it. Correct it, set tracking"),
    ("credentials of a host that is named otherwise", with_web("https://data.example.co/"), "the beginning of a data set's uri or of tracking.mlflow.uri"),
    ("credentials of half a name", with_web("https://data.example.com/a/ro"), "the beginning of a data set's uri"),
    ("credentials of another scheme", with_web("http://data.example.com"), "the beginning of a data set's uri"),
    ("credentials twice", put("credentials", [{"match": "s3://a/", "secret": {"name": n}} for n in "ab"]), "Duplicate value"),
    ("credentials", put(URI, "pvc://me:word@lake/a.csv"), "without '..', percent signs or credentials"),
    ("another scheme", put(URI, "ftp://lake/a.csv"), "must be pvc://<claim>/<file>, configmap://<name>/<key>, s3://"),
    ("line break", put(URI, "pvc://lake/a\n.csv"), "must be pvc://"),
    ("a folder of a ConfigMap", put("storage.uri", "configmap://desk/a"), "must be pvc://<claim>/<folder>, s3://<bucket>/<folder> or gs://"),
    ("retention of nothing", put("storage.retention", {"runs": 0}), "greater than or equal to 1"),
    ("retention of too much", put("storage.retention", {"runs": 1001}), "less than or equal to 1000"),
    ("retention without a number", put("storage.retention", {"keepFor": "30d"}), "runs: Required value"),
    ("retention for hours", put("storage.retention", {"runs": 1, "keepFor": "12h"}), "must be a number of days"),
    ("retention for no time", put("storage.retention", {"runs": 1, "keepFor": "0d"}), "must be a number of days"),
    ("a pin of a name", put("storage.retention", {"runs": 1, "pinned": [{"digest": "v1", "reason": "x"}]}), "must be sha256: and 64 of the digits"),
    ("a pin without a reason", put("storage.retention", {"runs": 1, "pinned": [{"digest": "sha256:" + "a" * 64}]}), "reason: Required"),
    ("a pin twice", put("storage.retention", {"runs": 1, "pinned": [{"digest": "sha256:" + "a" * 64, "reason": "x"}] * 2}), "Duplicate value"),
    ("a very long URI", put(URI, "pvc://lake/" + "a" * 600), "may not be more than 512"),
    ("bad digest", put("data.sets.0.digest", "md5:1"), "must be sha256: and 64 of the digits 0-9 and a-f: copy it from a status"),
    ("no room", put("tokenization.maxLength", 0), "should be greater than or equal to 8"),
    ("negative", put("tokenization.maxLength", -5), "should be greater than or equal to 8"),
    ("huge", put("tokenization.maxLength", 10**9), "should be less than or equal to 32768"),
    ("chunks of no kind", chunking(put("tokenization.chunk", None)), "tokenization.chunk says how chunks are cut: give it, with a stride, for overflow Chunk"),
    ("chunks without a stride", chunking(put("tokenization.chunk", {"combine": "Max"})), "tokenization.chunk.stride: Required value"),
    ("chunks of what is cut", put("tokenization.chunk", {"stride": 8}), "and leave it out for any other"),
    ("chunks of what is refused", put("tokenization", {"maxLength": 64, "overflow": "Reject", "chunk": {"stride": 8}}), "and leave it out for any other"),
    ("a stride of more than half", chunking(put("tokenization.chunk.stride", 65)), "tokenization.chunk.stride may be at most half of maxLength"),
    ("a negative stride", chunking(put("tokenization.chunk.stride", -1)), "should be greater than or equal to 0"),
    ("a vote of chunks", chunking(put("tokenization.chunk.combine", "Vote")), 'supported values: "Mean", "Max"'),
    ("an unknown overflow", put("tokenization.overflow", "Squeeze"), "must be Truncate, Reject or Chunk"),
    ("an overflow of the wrong type", put("tokenization.overflow", 1), "must be of type string"),
    ("chunks of chunks", chunking(put("tokenization.overflow", "Hierarchical")), "there is no hierarchical overflow: a second-level encoder over the chunks is a model class of its own, which no serving engine loads without remote code. For long texts set overflow Chunk"),
    ("chunks of a decoder", chunking(put("problem.architecture", "Decoder")), "overflow Chunk is for an Encoder: a Decoder writes a label"),
    ("chunks of a summary", writing(put("tokenization", CHUNKS)), "overflow Chunk is for Classification and TokenClassification"),
    ("chunks of a query", embedding(put("tokenization", CHUNKS)), "set overflow Truncate or Reject, or raise maxLength"),
    ("combined tags", tagging(put("tokenization", CHUNKS | {"chunk": {"stride": 8, "combine": "Mean"}})), "tokenization.chunk.combine is for Classification: the tag of a token comes from one chunk"),
    ("a template without text", put("prompts.0.template", "Which queue?"), "must hold {text} exactly once"),
    ("a template with two texts", put("prompts.0.template", "{text} {text}"), "must hold {text} exactly once"),
    ("a prompt that is not there", put("inference.prompt.version", 2), "must be the name and version of one of prompts"),
    ("two candidates, none selected", put("candidates", [{"name": n, "model": {"uri": "pvc://m/a"}} for n in "ab"]), "selected is required with more than one candidate"),
    ("an encoder with a system turn", lambda spec: (spec["problem"].update(architecture="Encoder"), spec["prompts"][0].update(system="Route.")), "an Encoder or EncoderDecoder reads a prompt's template alone: leave out system"),
    ("unknown architecture", put("problem.architecture", "Brain"), 'supported values: "Decoder", "Encoder", "EncoderDecoder"'),
    ("a classifying encoder-decoder", put("problem.architecture", "EncoderDecoder"), "an EncoderDecoder writes a text for a text: set architecture Encoder or Decoder"),
    ("an encoder-decoder with a system turn", writing(lambda spec: (spec["problem"].update(architecture="EncoderDecoder"), spec["prompts"][0].update(system="Be brief."))), "reads a prompt's template alone: leave out system"),
    ("an encoder-decoder that talks", writing(lambda spec: (spec["problem"].update(architecture="EncoderDecoder"), spec["data"]["sets"][0].update(columns={"messages": "m"}))), "an EncoderDecoder reads one text and knows no turns"),
    ("selected is not there", put("selected", "big"), "selected must be the name of one of candidates"),
    ("unknown finding", put("accepted", [{"finding": "Dirt", "reason": "r", "by": "b"}]), "supported values"),
    ("no owner", put("owner", None), "spec.owner"),
    ("unknown field", put("tokenisation", {}), "unknown field"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), [case[1:] for case in PROJECTS], ids=[case[0] for case in PROJECTS])
def test_a_project_is_refused_with_the_remedy(kube: Kube, change: Change, words: str) -> None:
    assert words in refused(kube, written(builders.project, kube.namespace, change))


WRITING = {
    "pairs by their usual names": put("data.sets.0.columns", {}),
    "pairs by other names": put("data.sets.0.columns", {"input": "article", "target": "summary"}),
    "one name of a pair": put("data.sets.0.columns", {"completion": "answer"}),
    "a length of targets": put("tokenization.maxTargetLength", 64),
    "an encoder-decoder with a prefix": lambda spec: (
        spec["problem"].update(architecture="EncoderDecoder"),
        spec["prompts"][0].update(template="summarize: {text}"),
    ),
    "conversations": lambda spec: (
        spec["data"]["sets"][0].update(columns={"messages": "turns"}),
        spec["prompts"][0].update(template="{text}", system="Be brief."),
    ),
}


@pytest.mark.parametrize("change", WRITING.values(), ids=WRITING)
def test_a_project_of_a_task_that_writes_is_taken(kube: Kube, change: Change) -> None:
    take(kube, written(builders.project, kube.namespace, writing(change)))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"hub": {"revision": "v1.0"}},
        {"hub": {"revision": "refs/convert/parquet"}},
        HUB_WHOLE | {"hub": {"split": "train", "config": "en"}},
    ],
    ids=str,
)
def test_a_file_of_a_hub_is_taken(kube: Kube, more: dict[str, Any]) -> None:
    take(kube, written(builders.project, kube.namespace, put("data.sets.0", HUB_SET | more)))


@pytest.mark.parametrize("revision", ["main", "v1.0-rc.1", "feature/new_words", "refs/pr/1", "0" * 40])
def test_a_model_of_a_hub_is_taken(kube: Kube, revision: str) -> None:
    take(kube, written(builders.project, kube.namespace, put(MODEL, {"uri": "hf://desk/a", "revision": revision})))


@pytest.mark.parametrize(
    "matches",
    [
        ("https://data.example.com", "http://mlflow.lab:5000"),
        (
            "https://data.example.com/a/",
            "http://mlflow.lab:5000/",
            "s3://made/elsewhere/",
            "gs://",
            "gs://data_lake/a/",
            "hf://",
        ),
        ("https://data.example.com/a/rows.csv",),
    ],
    ids=str,
)
def test_credentials_of_what_is_asked_are_taken(kube: Kube, matches: tuple[str, ...]) -> None:
    kube.create(written(builders.project, kube.namespace, with_web(*matches)))


TAGGING: dict[str, dict[str, str]] = {
    "words by their usual names": {},
    "words by other names": {"tokens": "words", "tags": "ner"},
    "one name of two": {"tags": "ner"},
    "spans": {"text": "body", "spans": "marks"},
    "a text, and spans by their usual name": {"text": "body"},
}


@pytest.mark.parametrize("columns", TAGGING.values(), ids=TAGGING)
def test_a_project_that_tags_tokens_is_taken(kube: Kube, columns: dict[str, str]) -> None:
    def named(spec: builders.Object) -> None:
        for dataset in spec["data"]["sets"]:
            dataset["columns"] = columns

    take(kube, written(builders.project, kube.namespace, tagging(named)))


EMBEDDING = {
    "columns by their usual names": put("data.sets.0.columns", {}),
    "columns by other names": put("data.sets.0.columns", {"query": "q", "positive": "p", "negative": "n"}),
    "negatives alone named": put("data.sets.0.columns", {"negative": "n"}),
    "prefixes": lambda spec: spec["prompts"][0].update(template="query: {text}", passageTemplate="passage: {text}"),
}


@pytest.mark.parametrize("change", EMBEDDING.values(), ids=EMBEDDING)
def test_a_project_of_an_embedding_is_taken(kube: Kube, change: Change) -> None:
    take(kube, written(builders.project, kube.namespace, embedding(change)))


IN_CHUNKS = {
    "texts": chunking(put("tokenization.chunk.combine", "Max")),
    "texts by default": chunking(put("tokenization.chunk.stride", 0)),
    "tags": tagging(put("tokenization", CHUNKS)),
}


@pytest.mark.parametrize("change", IN_CHUNKS.values(), ids=IN_CHUNKS)
def test_a_project_that_reads_in_chunks_is_taken(kube: Kube, change: Change) -> None:
    take(kube, written(builders.project, kube.namespace, change))


def test_an_encoder_reads_a_template(kube: Kube) -> None:
    obj = builders.project(namespace=kube.namespace)
    obj["spec"]["problem"]["architecture"] = "Encoder"
    obj["spec"]["prompts"].append({"name": "old", "version": 1, "system": "Route.", "template": "{text}"})
    assert kube.create(obj)["spec"]["problem"]["architecture"] == "Encoder", (
        "a prompt that is not in force may have one"
    )


def test_people_write_in_their_own_language(kube: Kube) -> None:
    obj = builders.project(namespace=kube.namespace)
    obj["spec"]["owner"]["name"] = "サポート"
    obj["spec"]["problem"]["labels"] = {"values": ["Rückgabe", "возврат", "返品", "مرتجع", "📦"]}
    obj["spec"]["prompts"][0]["template"] = "Quelle file d’attente ? {text} 🙏"
    obj["spec"]["data"]["sets"][0]["columns"] = {"text": "текст", "label": "étiquette"}
    assert kube.create(obj)["spec"]["problem"]["labels"] == obj["spec"]["problem"]["labels"]


def test_a_version_of_a_prompt_cannot_change_and_the_next_can_be_added(kube: Kube) -> None:
    spec = kube.create(builders.project(namespace=kube.namespace))["spec"]
    changed = [spec["prompts"][0] | {"template": "Else: {text}"}]
    with pytest.raises(KubeError, match="add the prompt with the next version"):
        kube.patch("TransformerProject", "desk", {"spec": {"prompts": changed}})
    added = [*spec["prompts"], changed[0] | {"version": 2}]
    kube.patch("TransformerProject", "desk", {"spec": {"prompts": added}})
