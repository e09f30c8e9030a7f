"""What an MLflow server is told of a training, and that no server can fail one or hold it up.

Needs the trainer's libraries: runs inside its image.
"""

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from stagecoach.contract import access, tracking
from stagecoach.contract.jobs import TrainJob
from stagecoach.contract.layout import record_file
from stagecoach.contract.reports import TrackingReport
from stagecoach.contract.tracking import Tracking
from stagecoach_trainer import credentials

from . import mlflow_server
from .conftest import ANOTHER, Project, record_of, train
from .test_checkpoints import attempt, job_of

pytestmark = pytest.mark.filterwarnings("ignore")
pytest.importorskip("transformers", reason="needs the trainer's libraries: runs inside the trainer image")

EXPERIMENT = "team/desk"


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server.started(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


def told_to(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv(tracking.ENVIRONMENT_VARIABLE, Tracking(mlflow=uri).line())


def tracker_of(job: TrainJob, uri: str, connect: Callable[[], Any] | None = None, secret: str = "", **keys: str) -> Any:
    from stagecoach_trainer.mlflow import Server
    from stagecoach_trainer.tracking import Tracker

    return Tracker(uri, job, connect or (lambda: Server(uri, keys, secret)))


def run_of(uri: str, uid: str) -> dict[str, Any]:
    """Return the one run with the uid of ours."""
    [found] = [run for run in mlflow_server.runs_of(uri, EXPERIMENT) if tags_of(run).get("stagecoach.uid") == uid]
    return found


def tags_of(run: dict[str, Any]) -> dict[str, str]:
    return {item["key"]: item["value"] for item in run["data"].get("tags", ())}


# A real server


def test_a_training_is_told_with_all_that_belongs_to_it(
    real: Project, mlflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_to(monkeypatch, mlflow)
    job = real.train_job(subject=ANOTHER)
    report = train(job)
    run = run_of(mlflow, ANOTHER.uid)
    assert report.tracking == TrackingReport(mlflow=mlflow, run=run["info"]["run_id"])
    assert (run["info"]["status"], run["info"]["run_name"]) == ("FINISHED", "another")
    record = record_of(real, job)
    assert record.tracking == report.tracking
    parameters = {item["key"]: item["value"] for item in run["data"]["params"]}
    assert (parameters["method.rank"], parameters["hyperparameters.learningRate"]) == ("16", "0.01")
    assert (parameters["base.name"], parameters["train.names"]) == ("tiny", "train")
    assert job.train[0].digest in parameters["train"], "what it was trained on, by digest"
    found = tags_of(run)
    assert (
        found.items()
        >= {
            "stagecoach.project": "desk",
            "stagecoach.run": "another",
            "stagecoach.owner": "team (#team)",
            "stagecoach.inputs": job.inputs.digest,
            "stagecoach.artifact": report.digest,
            "stagecoach.record": report.record,
            "stagecoach.record.path": record_file(job.inputs.digest),
        }.items()
    )
    assert "## How it was trained" in found["mlflow.note.content"]
    identity, training = run["info"]["run_id"], record.training
    expected = [(point.step, point.loss) for point in training.losses]
    assert mlflow_server.history(mlflow, identity, "loss") == expected
    expected = [(point.step, point.loss) for point in training.evaluations]
    assert mlflow_server.history(mlflow, identity, "eval_loss") == expected
    assert mlflow_server.history(mlflow, identity, "train_loss") == [(48, training.train_loss)]


def test_another_attempt_goes_on_with_the_same_run_and_says_nothing_twice(
    real: Project, mlflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_to(monkeypatch, mlflow)
    job = job_of(real, every=3)
    attempt(real, job, asked=4)
    assert run_of(mlflow, job.subject.uid)["info"]["status"] == "KILLED"
    attempt(real, job_of(real, number=2, every=3))
    run = run_of(mlflow, job.subject.uid)
    assert run["info"]["status"] == "FINISHED"
    steps = [step for step, _ in mlflow_server.history(mlflow, run["info"]["run_id"], "loss")]
    assert steps == list(range(1, 13))


def test_an_answer_that_is_lost_makes_no_second_run(project: Project, mlflow: str) -> None:
    from stagecoach_trainer.mlflow import MlflowFailed, Server

    lost: list[Any] = []

    class Losing(Server):
        def create(self, *arguments: Any) -> Any:
            made = super().create(*arguments)
            if not lost:
                lost.append(made)
                raise MlflowFailed("the answer is lost.", "Wait.")
            return made

    job = project.train_job(subject=ANOTHER.model_copy(update={"uid": "uid-lost"}))
    tracker = tracker_of(job, mlflow, lambda: Losing(mlflow, {}))
    for step in range(1, 1500):
        tracker.note(step, {"loss": 1 / step})
    tracker.note(1500, {"loss": math.nan, "grad_norm": None})  # what a library may log, and MLflow does not take
    reports = [tracker.settle(60), tracker.settle(60)]
    assert reports[-1] == TrackingReport(mlflow=mlflow, run=lost[0].id)
    assert tracker.finish("FINISHED", 60).problem is None
    assert run_of(mlflow, "uid-lost")["info"]["run_id"] == lost[0].id
    assert len(mlflow_server.history(mlflow, lost[0].id, "loss")) == 1499


@pytest.mark.parametrize(
    ("host", "path", "words"),
    [
        ("127.0.0.1", "/elsewhere", "it answers 404 to experiments/get-by-name. Let the URI be that of"),
        # A name of this machine that the server was not started with.
        ("127.1", "", "it answers 403 to experiments/get-by-name. Start the server with --allowed-hosts"),
    ],
)
def test_a_real_server_that_is_asked_wrongly_is_told_with_what_to_do(
    project: Project, mlflow: str, host: str, path: str, words: str
) -> None:
    uri = f"{mlflow.replace('127.0.0.1', host)}{path}"
    told = tracker_of(project.train_job(), uri).finish("FINISHED", 60)
    assert told.problem is not None
    assert told.problem.startswith(f"spec.tracking.mlflow.uri ({uri}): MLflow does not have all of this training: ")
    assert words in told.problem


# Servers that are no good


@contextmanager
def server(respond: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            respond(self)

        def do_POST(self) -> None:
            respond(self)

        def log_message(self, *_: Any) -> None:
            pass

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.daemon_threads = True
    threading.Thread(target=found.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{found.server_port}"
    finally:
        found.shutdown()
        found.server_close()


def refuses(handler: BaseHTTPRequestHandler) -> None:
    content = b'{"error_code": "PERMISSION_DENIED", "message": "no such\\nuser"}'
    handler.send_response(401)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def never_ends(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while not handler.wfile.closed:
        handler.wfile.write(b"x" * 10_000)


def drips(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while not handler.wfile.closed:
        handler.wfile.write(b"x")
        time.sleep(0.02)


def answers(status: int, content: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    return respond


@pytest.mark.parametrize(
    ("respond", "words"),
    [
        (
            refuses,
            "401 to experiments/get-by-name: no such user. The server does not accept the token in Secret tracker",
        ),
        (never_ends, "its answer does not end. Let the URI be that of an MLflow server"),
        (drips, "its answer took more than 0.2 seconds. See the server's own log"),
        (answers(200, b"hello"), "it answers experiments/get-by-name as no MLflow server does. Let the URI be"),
        (answers(200, b'{"experiment": 1}'), "its answer is not what an MLflow server says. Let the URI be"),
        (answers(302, b"", Location="http://127.0.0.1"), "it answers 302 to experiments/get-by-name. Let the URI be"),
        (answers(404, b"hello"), "it answers 404 to experiments/get-by-name. Let the URI be"),
        (answers(400, b'{"error_code": "INVALID", "message": "no."}'), "get-by-name: no. See the server's own log"),
        (answers(503, b"hello"), "it answers 503 to experiments/get-by-name. See the server's own log"),
    ],
    ids=["refuses", "never ends", "drips", "nonsense", "otherwise", "redirects", "missing", "invalid", "fails"],
)
def test_a_server_that_is_no_good_is_told_in_a_sentence(
    project: Project, respond: Callable[[BaseHTTPRequestHandler], None], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stagecoach_trainer import mlflow

    monkeypatch.setattr(mlflow, "DEADLINE", 0.2)
    monkeypatch.setattr(mlflow, "MAX_ANSWER", 1 << 20 if respond is never_ends else mlflow.MAX_ANSWER)
    if respond is never_ends:
        monkeypatch.setattr(mlflow, "DEADLINE", 60.0)
    with server(respond) as uri:
        told = tracker_of(project.train_job(), uri, secret="tracker", token="secret-token").finish("FINISHED", 60)
    assert told.run is None
    assert told.problem is not None
    assert told.problem.startswith(f"spec.tracking.mlflow.uri ({uri}): MLflow does not have all of this training: ")
    assert words in told.problem
    assert "secret-token" not in told.problem


@pytest.mark.parametrize(
    ("secret", "words"),
    [("", "Let spec.credentials name a Secret"), ("tracker", "a token, into Secret tracker")],
)
def test_a_server_that_was_sent_nothing_and_wants_something(project: Project, secret: str, words: str) -> None:
    with server(refuses) as uri:
        told = tracker_of(project.train_job(), uri, secret=secret).finish("FINISHED", 60)
    assert words in (told.problem or "")


def test_what_to_do_is_told_however_much_a_server_says(project: Project) -> None:
    from stagecoach_trainer.mlflow import MlflowFailed

    def connect() -> Any:
        raise MlflowFailed("x" * 5000, "Mend it.")

    told = tracker_of(project.train_job(), "http://mlflow.example/" + "a" * 490, connect).finish("FINISHED", 60)
    assert (told.problem or "").endswith(" Mend it.")


def test_a_server_that_is_away_or_speaks_no_tls_is_told_in_a_sentence(project: Project) -> None:
    with socket.socket() as held, server(refuses) as plain:
        held.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{held.getsockname()[1]}"
        for uri in (away, plain.replace("http:", "https:")):
            told = tracker_of(project.train_job(), uri).finish("FINISHED", 60)
            assert told.problem is not None
            assert "it does not answer: ConnectError" in told.problem
            assert told.problem.endswith(". See that the server is up, and that pods may reach it.")


def test_a_server_that_is_silent_is_told_as_such_by_whoever_waits(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stagecoach_trainer import mlflow

    monkeypatch.setattr(mlflow, "TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        told = tracker_of(project.train_job(), f"http://127.0.0.1:{silent.getsockname()[1]}").finish("FINISHED", 60)
    assert (told.problem or "").endswith(
        "it did not answer in time. See that the server is up, and that pods may reach it."
    )


@pytest.mark.parametrize("uri", ["http://169.254.169.254", "http://127.0.0.1:5000", "http://localhost:5000"])
def test_what_only_a_machine_can_mean_is_not_asked(project: Project, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(credentials.LOOPBACK_VARIABLE)
    told = tracker_of(project.train_job(), uri).finish("FINISHED", 60)
    assert told.problem is not None
    assert "only a machine itself can mean" in told.problem


def resolving(monkeypatch: pytest.MonkeyPatch, name: str, *answers: list[str]) -> None:
    """Let a name lead to other addresses each time it is looked up, and at the end to the last ones."""
    left, known = list(answers), socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> list[Any]:
        if host != name:
            return known(host, *arguments, **options)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [item for address in found for item in known(address, *arguments, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_a_name_that_leads_elsewhere_later_is_not_asked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def look(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers["Authorization"])
        refuses(handler)

    monkeypatch.delenv(credentials.LOOPBACK_VARIABLE)
    resolving(monkeypatch, "mlflow.example", ["203.0.113.1"], ["127.0.0.1"])
    with server(look) as uri:
        named = uri.replace("127.0.0.1", "mlflow.example")
        told = tracker_of(project.train_job(), named, token="secret-token").finish("FINISHED", 60)
    assert asked == []
    assert "only a machine itself can mean" in (told.problem or "")


def test_a_server_is_asked_by_its_name_at_the_address_that_answers(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts: set[str | None] = set()

    def look(handler: BaseHTTPRequestHandler) -> None:
        hosts.add(handler.headers["Host"])
        refuses(handler)

    resolving(monkeypatch, "mlflow.example", ["127.0.0.9", "127.0.0.1"])
    with server(look) as uri:
        named = uri.replace("127.0.0.1", "mlflow.example")
        told = tracker_of(project.train_job(), named).finish("FINISHED", 60)
    assert hosts == {named.removeprefix("http://")}
    assert "it answers 401" in (told.problem or "")


@pytest.mark.parametrize("uri", [f"http://{'a' * 64}.example", "http://a..example", "http://mlflow.example:99999"])
def test_what_can_be_no_server_is_told_as_such(project: Project, uri: str) -> None:
    told = tracker_of(project.train_job(), uri).finish("FINISHED", 60)
    assert "it can be no address of a server. Correct the URI." in (told.problem or "")


def test_the_secret_is_sent_and_a_bad_one_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer.tracking import told

    seen: list[str | None] = []

    def look(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Authorization"])
        refuses(handler)

    folder = project.root / "credentials" / "tracker"
    folder.mkdir(parents=True)
    (folder / "username").write_text("jo")
    with server(look) as uri:
        told_to(monkeypatch, uri)
        given = access.Access(credentials=(access.Credential(match=uri, secret="tracker"),))
        monkeypatch.setenv(access.ENVIRONMENT_VARIABLE, given.line())
        with told(project.train_job()) as tracker:
            assert tracker is not None
            assert "credentials: Secret tracker has username and not password" in (tracker.settle(60).problem or "")
            (folder / "password").write_text("pass")
            assert "the username and password in Secret tracker" in (tracker.settle(60).problem or "")
            tracker.finish("FINISHED", 60)
    assert seen[0] == "Basic am86cGFzcw=="


def test_a_server_that_hangs_fails_no_training_and_holds_it_up_for_seconds(
    real: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stagecoach_trainer import tracking

    monkeypatch.setattr(tracking, "PATIENCE", 0.2)
    waited: list[float] = []
    inner = tracking.Tracker.settle

    def settle(tracker: Any, *arguments: Any) -> Any:
        begun = time.monotonic()
        try:
            return inner(tracker, *arguments or (0.2,))
        finally:
            waited.append(time.monotonic() - begun)

    monkeypatch.setattr(tracking.Tracker, "settle", settle)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        told_to(monkeypatch, uri)
        job = real.train_job(settings={"epochs": 1})
        report = train(job)
    assert report.tracking is not None
    assert report.tracking.problem is not None
    assert "did not answer in time" in report.tracking.problem
    assert record_of(real, job).tracking == report.tracking
    assert len(waited) == 2
    assert sum(waited) < 30
    assert real.storage.verified(report.digest) is not None


def test_what_is_not_understood_is_not_tracked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer.tracking import told

    monkeypatch.setenv(tracking.ENVIRONMENT_VARIABLE, '{"other": 1}')
    with told(project.train_job()) as tracker:
        assert tracker is None


def test_parameters_are_small_whatever_a_project_says(project: Project) -> None:
    from stagecoach_trainer.tracking import parameters

    job = project.train_job()
    prompt = job.inputs.prompt.model_copy(update={"template": "{text}" + "x" * 8000})
    found = parameters(job.model_copy(update={"inputs": job.inputs.model_copy(update={"prompt": prompt})}))
    assert max(map(len, found.values())) == 500
