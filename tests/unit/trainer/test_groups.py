"""Trainings by several processes, started by torchrun as in pods: gloo over this machine's own loopback."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import layout, progress, tracking
from stagecoach.contract.inputs import FullMethod, PTuningMethod
from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE, INDEX_VARIABLE, Group, TrainJob
from stagecoach.contract.records import Record
from stagecoach.contract.reports import ExitCode, Outcome, Problem, ProgressLine, Report
from stagecoach_trainer import launch, places
from stagecoach_trainer.train import staging
from tests.unit.contract.documents import METHOD

from . import test_encoder_decoders
from .conftest import Project, make_project, record_of
from .test_checkpoints import HANGS, MARKED, PARENT, attempt, first_steps, job_of, same, saved
from .test_encoders import LOW_RANK, encoder_job, with_base
from .test_taggers import WORDS, tagging
from .test_tracking import server, told_to

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]

# What a pod does, and what may happen in it at the beginning of a step of one process. For that the libraries are
# imported sooner than they are in a pod.
WORK = """\
import os, signal, sys, time
from stagecoach_trainer import credentials, group, work
credentials.may_be_asked = lambda _: True  # a tracking server on this machine
group.SILENT_SECONDS = {silent}
{disturbance}
sys.exit(work.main())
"""
DISTURBANCE = """\
from stagecoach_trainer import loop
inner = loop._Metered.training_step
def step(trainer, *arguments, **options):
    if trainer.state.global_step == {step} and os.environ["RANK"] == "{rank}":
        {happens}
    return inner(trainer, *arguments, **options)
loop._Metered.training_step = step
"""
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
PARENT_ID = "int(open('/proc/%d/stat' % os.getppid()).read().split()[3])"
ASKED = """os.kill({pid}, signal.SIGTERM)
        [request] = [each._request for each in trainer.callback_handler.callbacks if hasattr(each, "_request")]
        while not request.asked: time.sleep(0.01)"""
# From the end of one process to the end of the others, with torch's own time to notice and the time in which a cause
# is waited for.
BOUND = 60.0
# Shorter than outside of a test.
MEETING = "from stagecoach_trainer import launch; launch.MEETING_SECONDS = 5; "


@dataclass
class Pod:
    """A pod of a training, and what became of it."""

    root: Path
    process: subprocess.Popen[str]
    output: str = ""
    ended: float = 0.0

    @property
    def report(self) -> Report | None:
        log = self.root / "termination-log"
        return Report.parse(log.read_text()) if log.exists() else None

    def told(self) -> Report:
        assert self.report is not None, self.output
        return self.report


def group_job(project: Project, nodes: int, processes: int = 1, number: int = 1, **changes: Any) -> TrainJob:
    return grouped(job_of(project, number, **changes), nodes, processes)


def grouped(job: TrainJob, nodes: int, processes: int = 1) -> TrainJob:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    inputs = job.inputs.model_copy(update={"processes": nodes * processes})
    group = Group(nodes=nodes, processes=processes, address="127.0.0.1", port=port)
    return job.model_copy(update={"inputs": inputs, "group": group})


def start(
    project: Project,
    job: TrainJob,
    index: int,
    happens: str = "",
    step: int = 7,
    rank: int = 1,
    *,
    silent: float = 60.0,
    meeting: str = "",
    deadline: str = "",
) -> Pod:
    marked = MARKED.format(str(project.root / "hangs"))
    root = project.root / f"pod-{index}"
    shutil.rmtree(root, ignore_errors=True)
    (root / "scratch").mkdir(parents=True)
    for shared in ("storage", "pvc", "configmap"):
        (root / shared).symlink_to(project.root / shared)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "GLOO_SOCKET_IFNAME": "lo",
        places.ROOT_VARIABLE: str(root),
        places.TERMINATION_LOG_VARIABLE: str(root / "termination-log"),
        ENVIRONMENT_VARIABLE: job.line(),
        INDEX_VARIABLE: str(index),
        progress.DEADLINE_VARIABLE: deadline,
        tracking.ENVIRONMENT_VARIABLE: os.environ.get(tracking.ENVIRONMENT_VARIABLE, ""),
    }
    disturbance = DISTURBANCE.format(step=step, rank=rank, happens=happens) if happens else ""
    work = WORK.format(disturbance=disturbance, silent=silent)
    command = [sys.executable, "-c", marked + meeting + PARENT.format(work)]
    with (root / "output").open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, text=True)
    return Pod(root, process)


def pods(project: Project, job: TrainJob, happens: str = "", step: int = 7, rank: int = 1) -> list[Pod]:
    """Run all pods of a training to their ends."""
    assert job.group is not None
    started = [start(project, job, index, happens, step, rank) for index in range(job.group.nodes)]
    deadline = time.monotonic() + 900
    while any(pod.process.poll() is None for pod in started) and time.monotonic() < deadline:
        for pod in started:
            pod.ended = pod.ended or (time.monotonic() if pod.process.poll() is not None else 0.0)
        time.sleep(0.1)
    for pod in started:
        pod.ended = pod.ended or time.monotonic()
        pod.process.kill()
        pod.output = (pod.root / "output").read_text()
    return started


def codes(ended: list[Pod]) -> list[int]:
    return [pod.process.returncode for pod in ended]


@dataclass(frozen=True)
class Undisturbed:
    """A training by two pods that nothing happened to."""

    project: Project
    record: Record


@pytest.fixture(scope="module")
def undisturbed(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A project with such a training, for all tests."""
    project = make_project(tmp_path_factory.mktemp("undisturbed") / "root")
    shutil.copytree(tiny_base, project.root / "pvc" / "models" / "tiny", dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(places.ROOT_VARIABLE, str(project.root))
        job = group_job(project, nodes=2)
        ended = pods(project, job)
        assert codes(ended) == [0, 0], [pod.output for pod in ended]
        assert ended[0].told().outcome is Outcome.DONE
        assert ended[1].report is None, "the pod of index 0 tells what was done"
        told = [ProgressLine.parse(line) for line in ended[1].output.splitlines() if '"progress"' in line]
        assert not told, "the pod of index 0 tells how far it is"
        return Undisturbed(project, record_of(project, job))


def test_two_pods_train_one_model(undisturbed: Undisturbed) -> None:
    record = undisturbed.record
    training = record.training
    losses = [point.loss for point in training.losses]
    assert losses[-1] < losses[0] / 2
    # 16 rows; 4 in a batch, twice, in each of two processes.
    assert (training.processes, training.effective_batch_size, training.steps) == (2, 16, 6)
    assert record.inputs.processes == 2
    assert "2 processes in turn" in str(training.data_order)
    assert record.hardware.nodes == 2
    assert record.determinism.deterministic


def test_two_processes_of_one_pod_make_the_same(real: Project, undisturbed: Undisturbed) -> None:
    job = group_job(real, nodes=1, processes=2)
    ended = pods(real, job)
    assert codes(ended) == [0], ended[0].output
    same(record_of(real, job), undisturbed.record)


TWO_EPOCHS = {"epochs": 2, "gradient_accumulation_steps": 1, "learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (METHOD, {}),
        (FullMethod(), {"gradient_checkpointing": True}),
        (PTuningMethod(virtual_tokens=4, encoder_hidden_size=16), {}),
    ],
    ids=["lora", "full and activations computed again", "p-tuning"],
)
def test_two_processes_make_of_half_a_batch_each_what_one_makes_of_it(
    real: Project, method: Any, settings: dict[str, Any]
) -> None:
    alone, half = (
        real.train_job(method=method, settings=TWO_EPOCHS | settings | {"per_device_batch_size": rows})
        for rows in (8, 4)
    )
    together = grouped(half, 1, 2)
    ended = pods(real, together)
    assert codes(ended) == [0], ended[0].output
    attempt(real, alone)
    nearly_the_same(record_of(real, together), record_of(real, alone))


FAMILIES: dict[str, tuple[Callable[[Project], Project], Callable[..., TrainJob]]] = {
    "an encoder, with weights of labels": (
        lambda project: with_base(project, "BertForMaskedLM"),
        lambda project, settings: encoder_job(project, LOW_RANK, settings=settings | {"class_weights": "balanced"}),
    ),
    "tags of words": (
        lambda project: tagging(WORDS)(with_base(project, "BertForMaskedLM")),
        partial(encoder_job, method=LOW_RANK),
    ),
    "an encoder-decoder": (
        lambda project: test_encoder_decoders.with_base(project, "T5ForConditionalGeneration"),
        test_encoder_decoders.rewriting_job,
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_of_other_families_too(project: Project, family: str) -> None:
    prepare, job = FAMILIES[family]
    project = prepare(project)
    alone = job(project, settings=TWO_EPOCHS | {"per_device_batch_size": 8})
    half = TWO_EPOCHS | {"per_device_batch_size": 4}
    parts = job(project, settings=half | {"gradient_accumulation_steps": 2})
    together = grouped(job(project, settings=half), 1, 2)
    ended = pods(project, together)
    assert codes(ended) == [0], ended[0].output
    for each in (alone, parts):
        attempt(project, each)
    nearly_the_same(record_of(project, together), record_of(project, alone))
    nearly_the_same(record_of(project, parts), record_of(project, alone))


def nearly_the_same(one: Record, other: Record) -> None:
    """Check that two trainings are the same but for the order in which numbers were added."""
    assert one.training.effective_batch_size == other.training.effective_batch_size
    losses = [[point.loss for point in record.training.losses] for record in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert one.training.eval_loss == pytest.approx(other.training.eval_loss, rel=1e-3)
    assert one.training.tokens == other.training.tokens


def test_a_pod_that_is_asked_to_stop_has_all_save_a_checkpoint_and_go_on_to_the_same(
    real: Project, undisturbed: Undisturbed
) -> None:
    job = group_job(real, nodes=2)
    ended = pods(real, job, ASKED.format(pid=PARENT_ID), step=3, rank=1)
    assert codes(ended) == [ExitCode.PREEMPTED] * 2, [pod.output for pod in ended]
    assert [(pod.told().outcome, pod.told().checkpoint) for pod in ended] == [(Outcome.PREEMPTED, 4)] * 2
    assert [pod.told().index for pod in ended] == [1, 1], "the one that was asked"
    assert saved(real, job) == ["step-4.1"]
    again = group_job(real, nodes=2, number=2)
    ended = pods(real, again)
    assert codes(ended) == [0, 0], [pod.output for pod in ended]
    record = record_of(real, again)
    same(record, undisturbed.record)
    assert first_steps(record) == [0, 4]
    assert saved(real, again) == []


def test_a_process_that_is_killed_ends_all_and_hides_behind_no_other(real: Project, undisturbed: Undisturbed) -> None:
    job = group_job(real, nodes=2, every=2)
    ended = pods(real, job, KILLED, step=4, rank=1)
    assert codes(ended) == [ExitCode.FAILED] * 2
    assert ended[0].ended - ended[1].ended < BOUND
    assert ended[1].ended < ended[0].ended, "the cause comes before its effects"
    problems = [pod.told().problem for pod in ended]
    assert [pod.told().outcome for pod in ended] == [Outcome.PEER_LOST, Outcome.FAILED], [pod.output for pod in ended]
    assert problems[1] is not None
    assert "left no report" in problems[1].message
    again = group_job(real, nodes=2, number=2, every=2)
    ended = pods(real, again)
    assert codes(ended) == [0, 0], [pod.output for pod in ended]
    record = record_of(real, again)
    same(record, undisturbed.record)
    assert first_steps(record) == [0, 4]


def test_the_first_pod_killed_ends_the_others(real: Project) -> None:
    job = group_job(real, nodes=2)
    ended = pods(real, job, KILLED, step=2, rank=0)
    assert [pod.told().outcome for pod in ended] == [Outcome.FAILED, Outcome.PEER_LOST], [pod.output for pod in ended]
    assert 0 < ended[1].ended - ended[0].ended < BOUND


def test_a_pod_that_is_asked_to_stop_while_the_first_one_publishes_has_done_its_part(real: Project) -> None:
    job = group_job(real, nodes=2)
    gone = real.root / "gone"
    publishes = f"""from stagecoach_trainer import artifact
        files = artifact.files
        def late(*arguments):
            while not os.path.exists({str(gone)!r}): time.sleep(0.1)
            return files(*arguments)
        artifact.files = late"""
    asked = f"""part = group.Joined.part
        def asked(*arguments):
            os.kill({PARENT_ID}, signal.SIGTERM)
            part(*arguments)
        group.Joined.part = asked"""
    first, second = start(real, job, 0, publishes, rank=0, step=0), start(real, job, 1, asked, step=0)
    try:
        assert second.process.wait(120) == ExitCode.DONE, (second.root / "output").read_text()
        assert first.process.poll() is None
    finally:
        gone.touch()
        first.process.wait(120)
    assert first.process.returncode == ExitCode.DONE, (first.root / "output").read_text()
    assert first.told().artifact is not None


def test_what_fails_in_one_process_is_told_by_all_and_leaves_neither_staging_nor_a_run_that_seems_to_go_on(
    real: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def note(handler: BaseHTTPRequestHandler) -> None:
        asked = json.loads(handler.rfile.read(int(handler.headers.get("Content-Length") or 0)) or b"{}")
        seen.extend(filter(None, [asked.get("status")]))
        content = b'{"experiment_id": "1", "run": {"info": {"run_id": "r"}}}'
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    job = group_job(real, nodes=2)
    left = real.root / "storage" / layout.staging_folder(staging(job)) / "left"
    happens = f"os.makedirs({str(left)!r}); raise ValueError('of this one')"
    with server(note) as uri:
        told_to(monkeypatch, uri)
        ended = pods(real, job, happens, step=1, rank=1)
    assert codes(ended) == [ExitCode.FAILED] * 2, [pod.output for pod in ended]
    for pod in ended:
        problem = pod.told().problem
        assert problem is not None
        assert (pod.told().index, problem.message) == (1, "ValueError: of this one")
    assert abs(ended[1].ended - ended[0].ended) < BOUND
    assert seen[-1:] == ["FAILED"], [pod.output for pod in ended]
    assert not left.parent.exists()


def test_a_base_that_one_pod_finds_changed_ends_all_before_anything_is_saved_of_it(real: Project) -> None:
    job = group_job(real, nodes=2, every=2)
    ended = pods(real, job, "from stagecoach_trainer import copies; copies.Seen.again = lambda *_: None", 3)
    told = [pod.told() for pod in ended]
    assert [(each.index, each.problem and each.problem.reason) for each in told] == [(1, "SourceChanged")] * 2, [
        pod.output for pod in ended
    ]
    assert saved(real, job) == ["step-2.1"]


def test_bad_input_is_told_by_all(real: Project) -> None:
    job = group_job(real, nodes=2, settings={"learning_rate": 1e30})
    ended = pods(real, job)
    reasons = [pod.told().problem.reason for pod in ended if pod.told().problem is not None]  # type: ignore[union-attr]
    assert reasons == ["LossNotFinite"] * 2, [pod.output for pod in ended]


def test_a_record_of_before_ends_all_at_once(undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.ROOT_VARIABLE, str(undisturbed.project.root))
    again = group_job(undisturbed.project, nodes=2, number=2)
    ended = pods(undisturbed.project, again, "raise ValueError('trained again')", step=0)
    assert codes(ended) == [0, 0], [pod.output for pod in ended]
    assert ended[0].told().artifact is not None


def test_a_process_that_gives_no_sign_of_life_is_missed(real: Project) -> None:
    job = group_job(real, nodes=2)
    place = real.root / "frozen"
    frozen = f"open({str(place)!r}, 'w').write(str(os.getpid())); os.kill(os.getpid(), signal.SIGSTOP)"
    first, second = (start(real, job, index, frozen, step=2, silent=15.0) for index in range(2))
    try:
        first.process.wait(600)
        problem = first.told().problem
        assert first.told().outcome is Outcome.PEER_LOST, (first.root / "output").read_text()
        assert problem is not None
        assert "process 1 gave no sign of life" in problem.message
    finally:
        second.process.kill()
        os.kill(int(place.read_text()), signal.SIGKILL)


SLOW = """from stagecoach.contract import progress
        def slow():
            open({mark!r}, "w").close()
            for _ in range(80):
                time.sleep(0.25)
                progress.made()
            os.remove({mark!r})
        {then}"""
LATE = """from stagecoach_trainer import artifact
        files = artifact.files
        artifact.files = lambda *arguments: (slow(), files(*arguments))[1]"""
DEADLINE = "12"


def test_who_waits_for_one_that_moves_is_not_taken_for_one_that_hangs(real: Project) -> None:
    job = group_job(real, nodes=2)
    # The first publishes slowly, the other takes a slow step.
    happens = [SLOW.format(mark=str(real.root / "hangs"), then=then) for then in (LATE, "slow()")]
    started = [start(real, job, index, happens[index], rank=index, step=0, deadline=DEADLINE) for index in range(2)]
    with ended(started):
        for pod in started:
            assert pod.process.wait(300) == ExitCode.DONE, (pod.root / "output").read_text()
    assert started[0].told().artifact is not None


@contextmanager
def ended(started: list[Pod]) -> Iterator[None]:
    """Leave none of them running, whatever happens."""
    try:
        yield
    finally:
        for pod in started:
            pod.process.terminate()


@pytest.mark.parametrize(("nodes", "processes"), [(2, 1), (1, 2)])
def test_one_process_that_hangs_has_all_ended(real: Project, nodes: int, processes: int) -> None:
    job = group_job(real, nodes=nodes, processes=processes)
    hangs = HANGS.format(str(real.root / "hangs"))
    started = [start(real, job, index, hangs, step=2, deadline="5") for index in range(nodes)]
    with ended(started):
        for pod in started:
            assert pod.process.wait(300) == ExitCode.FAILED
            pod.output = (pod.root / "output").read_text()
    reasons = [found.reason if (found := pod.told().problem) else "" for pod in started]
    assert "ProgressDeadlineExceeded" in reasons, started[0].output
    assert set(reasons) <= {"ProgressDeadlineExceeded", "PeerLost"}
    stacks = started[-1].output.partition("The stacks")[2]
    assert " in step" in stacks, "of the one that hangs"
    assert stacks.count("Current thread") == processes


def test_pods_that_do_not_meet_end(real: Project) -> None:
    alone = start(real, group_job(real, nodes=2), 0, meeting=MEETING)
    assert alone.process.wait(120) == ExitCode.SERVICE_FAILED
    problem = alone.told().problem
    assert problem is not None
    assert problem.reason == "PeersMissing"


def test_what_all_wait_for_may_take_as_long_as_the_first_one_is_waited_for(real: Project) -> None:
    from stagecoach_trainer import group, loop, train

    prepared = train.prepare(real.train_job())
    assert loop._arguments(prepared, "float32", 1).ddp_timeout == group.PATIENCE.total_seconds()


class Left(Exception):
    """A process has ended."""


@pytest.mark.parametrize("fails", ["get", "add"])
def test_a_store_that_goes_while_the_end_is_heard_holds_nobody_up(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer import group

    class Store:
        def check(self, _keys: list[str]) -> bool:
            return True

        def get(self, _key: str) -> Any:
            return self._answer("get", FAILED.line().encode())

        def add(self, _key: str, _number: int) -> Any:
            return self._answer("add", 1)

        def _answer(self, call: str, answer: Any) -> Any:
            if call == fails:
                raise RuntimeError("connection reset by peer")
            return answer

    def leave(report: Report) -> None:
        raise Left(report)

    members = group.Joined.__new__(group.Joined)
    monkeypatch.setattr(members, "_watched", Store(), raising=False)
    monkeypatch.setattr(members, "_ending", threading.Lock(), raising=False)
    monkeypatch.setattr(members, "_leave", leave, raising=False)
    with pytest.raises(RuntimeError if fails == "get" else Left):
        members._hear()
    assert members._ending.locked() == (fails == "add"), "only who leaves keeps others from leaving"


GROUP = Group(nodes=2, processes=2, address="somewhere")
FAILED = Report(outcome=Outcome.FAILED, problem=Problem(reason="X", message="x"))
LOST = Report(outcome=Outcome.PEER_LOST, problem=Problem(reason="PeerLost", message="x"))
DONE = Report(outcome=Outcome.DONE)
STOPPED = Report(outcome=Outcome.TERMINATED, problem=Problem(reason="Terminated", message="x"))


@pytest.mark.parametrize(
    ("reports", "asked", "expected"),
    [
        ([DONE, DONE], False, DONE),
        ([LOST, FAILED], False, FAILED),
        ([None, FAILED], False, FAILED),
        ([LOST, LOST], False, LOST),
        ([LOST, None], False, None),
        ([None, None], False, None),
        ([STOPPED, None], False, None),
        ([STOPPED, FAILED], False, FAILED),
        ([STOPPED, STOPPED], False, STOPPED),
        ([STOPPED, None], True, STOPPED),
    ],
)
def test_what_a_pod_tells_of_its_processes(reports: list[Report | None], asked: bool, expected: Report | None) -> None:
    assert launch.together(reports, GROUP, begun=True, asked=asked) == expected


def test_the_group_of_a_document() -> None:
    assert launch.group_of({}) is None
    assert launch.group_of({ENVIRONMENT_VARIABLE: "{"}) is None
    assert launch.group_of({ENVIRONMENT_VARIABLE: "[]"}) is None
    assert launch.group_of({ENVIRONMENT_VARIABLE: '{"kind": "Lookup"}'}) is None
    assert launch.group_of({ENVIRONMENT_VARIABLE: f'{{"group": {GROUP.line()}}}'}) == GROUP
