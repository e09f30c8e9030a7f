"""Base models from a hub."""

import errno
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.jobs import ImportSource, ModelSource
from stagecoach.contract.reports import BadInput
from stagecoach.contract.store import StorageFailed
from stagecoach_trainer import bases
from stagecoach_trainer.hub import HubRepository

from .conftest import Project
from .elsewhere import import_job
from .hub_server import NEW, OLD, Handler, Hub
from .weights import safetensors_of

constants = pytest.importorskip(
    "huggingface_hub.constants", reason="needs the trainer's libraries: runs inside the trainer image"
)
pytestmark = pytest.mark.filterwarnings("ignore")

SOURCE = ModelSource(name="tiny", uri="hf://desk/tiny")


def read(source: ModelSource = SOURCE, **changes: Any) -> bases.Base:
    return bases.read(source.model_copy(update=changes), mismatch="InputChanged", remedy="Mend it.")


def test_a_model_of_a_hub_is_that_of_a_folder_and_its_commit_is_known(hub: Hub, project: Project) -> None:
    found = read(revision="v1")
    mounted = read(ModelSource(name="tiny", uri="pvc://models/tiny"))
    assert (found.model, found.tokenizer) == (mounted.model, mounted.tokenizer)
    assert (found.revision, mounted.revision) == (OLD, None)
    assert Path(found.folder).is_relative_to(project.root / "scratch")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in Path(found.folder).iterdir()
    }
    assert not (Path(found.folder) / "README.md").exists(), "only what is needed is copied"
    assert {asked[2] for asked in hub.asked} == {"Bearer t0ken"}
    assert constants.HF_HUB_OFFLINE is True


@pytest.mark.usefixtures("hub")
def test_without_a_revision_it_is_what_main_stands_for() -> None:
    latest = read()
    assert latest.revision == NEW
    assert latest.model != read(revision="v1").model


@pytest.mark.usefixtures("hub")
def test_a_branch_may_have_a_slash_in_its_name() -> None:
    assert read(revision="refs/pr/1").revision == OLD


@pytest.mark.usefixtures("hub")
def test_two_commits_are_not_mixed() -> None:
    one, other = read(revision="v1"), read()
    assert one.folder != other.folder
    assert (Path(one.folder) / "model.safetensors").read_bytes() == safetensors_of(b"weights")
    assert (Path(other.folder) / "model.safetensors").read_bytes() == safetensors_of(b"newer weights")


def test_a_run_takes_the_commit_that_was_resolved(hub: Hub) -> None:
    resolved = read(revision="main")
    hub.model.refs["main"] = OLD
    source = SOURCE.model_copy(update={"model": resolved.model, "tokenizer": resolved.tokenizer})
    assert read(source, revision=resolved.revision).revision == NEW
    with pytest.raises(BadInput) as caught:
        read(source, revision="main")
    assert caught.value.problem.reason == "InputChanged"


@pytest.mark.parametrize(
    ("changes", "reason", "field", "words"),
    [
        ({"uri": "hf://desk/absent"}, "BaseMissing", "uri", "no such repository"),
        ({"uri": "hf://desk/secret"}, "BaseMissing", "uri", "the token in Secret hub was not accepted"),
        ({"uri": "hf://desk/gated"}, "AccessDenied", "uri", "accept its terms"),
        ({"revision": "v2"}, "RevisionMissing", "revision", "desk/tiny has no revision 'v2'"),
        ({"revision": "refs/pr/2"}, "RevisionMissing", "revision", "desk/tiny has no revision 'refs/pr/2'"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_a_model_that_cannot_be_had(changes: dict[str, Any], reason: str, field: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        read(**changes)
    problem = caught.value.problem
    assert (problem.reason, problem.field) == (reason, f"candidates[tiny].model.{field}")
    assert changes.get("uri", "hf://desk/tiny") in problem.sentence
    assert "t0ken" not in problem.line()


@pytest.mark.parametrize(
    ("name", "token", "secret", "words"),
    [
        ("secret", "t0ken", "hub", "the token in Secret hub was not accepted"),
        ("absent", "t0ken", "hub", "the token in Secret hub may not read it"),
        ("gated", "t0ken", "hub", "the account of the token in Secret hub"),
        ("secret", "", "hub", "Put a token into Secret hub"),
        ("gated", "", "hub", "Put a token into Secret hub"),
        ("secret", "", "", "Let spec.credentials name a Secret"),
        ("absent", "", "", "Let spec.credentials name a Secret"),
        ("gated", "", "", "Let spec.credentials name a Secret"),
    ],
)
def test_a_remedy_knows_what_was_sent(hub: Hub, tmp_path: Path, name: str, token: str, secret: str, words: str) -> None:
    keys = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "token": token}
    with pytest.raises(BadInput) as caught:
        HubRepository(f"desk/{name}", "model", None, keys, tmp_path, secret)
    sentence = caught.value.problem.sentence
    assert sentence.startswith(f"hf://desk/{name}: ")
    assert words in sentence
    assert "t0ken" not in sentence


@pytest.mark.usefixtures("hub")
def test_a_revision_of_an_import_that_is_not_there(project: Project) -> None:
    from stagecoach_trainer.importing import read as read_import

    job = import_job(project, source=ImportSource(uri="hf://desk/tiny", revision="v2"))
    with pytest.raises(BadInput) as caught:
        read_import(job)
    assert (caught.value.problem.reason, caught.value.problem.field) == ("RevisionMissing", "method.revision")


def test_a_file_that_is_missing_is_the_models_fault(hub: Hub) -> None:
    del hub.model.commits[NEW]["tokenizer.json"]
    with pytest.raises(BadInput, match=r"no tokenizer\.json"):
        read()


def test_a_hub_that_fails(hub: Hub) -> None:
    hub.down = 500
    with pytest.raises(StorageFailed) as caught:
        read()
    assert caught.value.problem.reason == "ServerFailed"
    assert "hf://desk/tiny" in caught.value.problem.sentence
    assert "t0ken" not in caught.value.problem.line()


@pytest.mark.usefixtures("hub")
def test_a_hub_that_does_not_answer(project: Project) -> None:
    (project.root / "credentials" / "hub" / "HF_ENDPOINT").write_text("http://127.0.0.1:1")
    with pytest.raises(StorageFailed) as caught:
        read()
    assert caught.value.problem.reason == "EndpointUnreachable"
    assert "HF_ENDPOINT in Secret hub" in caught.value.problem.remedy
    (project.root / "credentials" / "hub" / "HF_ENDPOINT").write_text("file:///etc")
    with pytest.raises(BadInput) as refused:
        read()
    assert refused.value.problem.reason == "EndpointInvalid"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "ScratchFull"),
        (errno.EDQUOT, "ScratchFull"),
        (errno.EACCES, "ScratchUnusable"),
        (errno.EROFS, "ScratchUnusable"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_a_disk_that_takes_no_copy(monkeypatch: pytest.MonkeyPatch, number: int, reason: str) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", fails)
    with pytest.raises(StorageFailed) as caught:
        read()
    assert caught.value.problem.reason == reason
    assert "hub" not in caught.value.problem.message


@pytest.mark.usefixtures("hub")
def test_a_hub_that_fails_between_two_files(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Handler.answer

    def fails(self: Handler, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        if self.path.endswith("model.safetensors"):
            status, content = 505, b""  # the library tries again after most others
        answer(self, status, content, headers)

    monkeypatch.setattr(Handler, "answer", fails)
    with pytest.raises(StorageFailed):
        read()
