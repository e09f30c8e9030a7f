"""The Job of a load test: what its pod is, and the program in it, which runs where nothing of ours is."""

import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from stagecoach.build import bench
from stagecoach.build.load_tests import load_test
from stagecoach.build.recipes import recipe
from stagecoach.build.serving_engine import engine
from stagecoach.contract.load_tests import LoadTestJob
from stagecoach.contract.loading import FRESH_SECONDS, Loaded, LoadedModel, State, Wanted
from stagecoach.contract.reports import Outcome, Report
from tests import builders
from tests.unit.build.serving import IMAGES, admitted, deployment, project, settings

MODEL, BASE = "a" * 64, "b" * 64
JOB = LoadTestJob(
    identity=builders.digest("1"),
    model=MODEL,
    wanted=Wanted(adapters=(f"sha256:{MODEL}",)),
    requests=100,
    requests_per_second=5,
    prompt_tokens=60,
    output_tokens=8,
    start_seconds=4,
    load_seconds=60,
)
# Stands for vLLM's benchmark: it writes what it was told to, and what it has found.
FAKE = """
import json, sys
told = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert told["--tokenizer"] == "/models/base" and told["--num-prompts"] == "100" and told["--request-rate"] == "5.0", told
found = {"completed": 99, "failed": 1, "duration": 20.5, "p50_e2el_ms": 120.0, "p99_e2el_ms": 480.5,
    "p99_ttft_ms": 90.25, "total_input_tokens": 5940, "total_output_tokens": 792}
open(told["--result-dir"] + "/error", "w").write("Traceback\\nBad Gateway")
open(told["--result-dir"] + "/" + told["--result-filename"], "w").write(json.dumps(found))
"""


def pod(obj: builders.Object) -> builders.Object:
    found: builders.Object = obj["spec"]["template"]["spec"]
    return found


def test_its_engine_is_the_one_that_would_serve_and_nobody_else_reaches_it() -> None:
    mine, installed = deployment(), settings()
    made_of = recipe(mine, admitted(), IMAGES, project())
    job, serves = load_test(mine, made_of, "answers-s1", JOB, installed), engine(mine, made_of, installed, 1)
    [loader, spare], [asker] = pod(job)["initContainers"], pod(job)["containers"]
    [server] = pod(serves)["containers"]
    assert [loader] == pod(serves)["initContainers"]
    for same in ("image", "resources", "env", "volumeMounts", "securityContext"):
        assert spare[same] == server[same]
    assert "127.0.0.1" in spare["command"]
    assert "0.0.0.0" in server["command"]  # noqa: S104
    told = [word for word in server["command"] if word not in ("0.0.0.0", "--shutdown-timeout", "30")]  # noqa: S104
    assert [word for word in spare["command"] if word != "127.0.0.1"] == told
    assert pod(job)["volumes"] == pod(serves)["volumes"]
    assert asker["image"] == builders.ENGINE_IMAGE
    assert asker["command"] == ["python3", "-c", inspect.getsource(bench)]
    assert {"VLLM_API_KEY"}.isdisjoint(each["name"] for each in asker["env"])
    assert job["spec"]["backoffLimit"] == 0
    assert pod(job)["activeDeadlineSeconds"] == 4 + 4 + 60
    assert "suspend" not in job["spec"]


class Loader:
    """Answers the program as a loader does, with what it is given to say, one after the other."""

    def __init__(self) -> None:
        self.says: list[tuple[int, str]] = []
        self.asked: list[tuple[str, bytes]] = []

    def answer(self) -> tuple[int, str]:
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[tuple[Loader, str]]:
    found = Loader()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.asked.append((self.headers["Authorization"], body))
            code, text = found.answer()
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Be silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "serve").write_text("--model /models/base --served-model-name base\n")
    yield found, f"http://127.0.0.1:{server.server_port}/models"
    server.shutdown()
    server.server_close()


def said(state: State, **more: Any) -> tuple[int, str]:
    base = LoadedModel(name=BASE, state=State.ANSWERS, age=FRESH_SECONDS)
    model = LoadedModel.model_validate({"name": MODEL, "state": state} | more)
    return 200, Loaded(models=(base, model)).line()


ANSWERS = said(State.ANSWERS, age=FRESH_SECONDS)


def run(folder: Path, url: str, fake: str = FAKE, job: LoadTestJob = JOB) -> tuple[Report, int]:
    """Run the program as the pod does, with a benchmark that is not vLLM's."""
    source = inspect.getsource(bench).partition("if __name__")[0]
    call = f"BENCH, LOOK_SECONDS = {fake!r}, 0.05\nmain('http://engine', {url!r}, Path('serve'), Path('log'))"
    told = {"STAGECOACH_JOB": job.line(), "STAGECOACH_LOADER_TOKEN": "token"}
    done = subprocess.run([sys.executable, "-c", source + call], cwd=folder, env=told, check=False, capture_output=True)
    report = Report.parse((folder / "log").read_text())
    assert report is not None, done.stderr
    return report, done.returncode


def test_it_tells_what_the_benchmark_has_measured_once_the_model_answers(
    tmp_path: Path, loader: tuple[Loader, str]
) -> None:
    there, url = loader
    old = said(State.ANSWERS, age=2 * FRESH_SECONDS)
    there.says = [said(State.LOADING, message="It is copied."), (503, "busy"), old, ANSWERS]
    report, code = run(tmp_path, url)
    assert (report.outcome, code) == (Outcome.DONE, 0)
    assert report.load_test is not None
    assert report.load_test.document() == {
        "identity": JOB.identity,
        "completed": 99,
        "failed": 1,
        "inputTokens": 5940,
        "outputTokens": 792,
        "seconds": 20.5,
        "p50": 120.0,
        "p99": 480.5,
        "firstToken": 90.25,
        "error": "Bad Gateway",
    }
    assert [token for token, _ in there.asked] == ["Bearer token"] * 4
    assert Wanted.model_validate_json(there.asked[0][1]) == JOB.wanted


@pytest.mark.parametrize(
    ("says", "fake", "outcome", "words"),
    [
        (said(State.FAILED, reason="WrongDigest", message="Other files."), FAKE, Outcome.BAD_INPUT, "Other files."),
        (said(State.LOADING, message="It is copied."), FAKE, Outcome.BAD_INPUT, "did not answer in 4 seconds: It is"),
        ((401, "show the token"), FAKE, Outcome.BAD_INPUT, "the loader says 401: show the token"),
        (ANSWERS, "import sys; sys.exit('it broke')", Outcome.FAILED, "ended with exit code 1: it broke"),
        (ANSWERS, "pass", Outcome.FAILED, "ended with exit code 0"),
        (ANSWERS, "raise ImportError(\"No module named 'vllm.benchmarks'\")", Outcome.BAD_INPUT, "no vllm.benchmarks"),
        (ANSWERS, "import os; os.kill(os.getpid(), 9)", Outcome.OUT_OF_MEMORY, "was killed, mostly for its memory"),
        (ANSWERS, FAKE.replace("p99_ttft_ms", "other"), Outcome.BAD_INPUT, "does not say p99_ttft_ms"),
    ],
)
def test_what_keeps_it_from_numbers_is_said(
    tmp_path: Path, loader: tuple[Loader, str], says: tuple[int, str], fake: str, outcome: Outcome, words: str
) -> None:
    there, url = loader
    there.says = [says]
    report, code = run(tmp_path, url, fake)
    assert report.outcome is outcome
    assert code != 0
    assert report.problem is not None
    assert words in report.problem.message
    assert report.problem.remedy or outcome is Outcome.OUT_OF_MEMORY, "of memory the operator knows more"


def test_where_not_one_answer_comes_in_time_answers_are_too_long(tmp_path: Path, loader: tuple[Loader, str]) -> None:
    there, url = loader
    there.says = [ANSWERS]
    report, _ = run(tmp_path, url, "import time; time.sleep(60)", JOB.model_copy(update={"load_seconds": 1}))
    assert report.problem is not None
    assert report.problem.reason == "TooSlow"
    assert "not one answer of 8 tokens was whole in 1 seconds" in report.problem.message
    assert "outputTokens" in report.problem.remedy


def test_where_some_come_it_is_the_load_that_is_too_much() -> None:
    _, reason, message, remedy = bench._too_slow(JOB.document(), answered=True).args
    assert (reason, message) == ("TooSlow", "100 requests were not answered in 60 seconds.")
    assert "requestsPerSecond" in remedy


def test_its_last_words_fit_whatever_letters_they_have(tmp_path: Path, loader: tuple[Loader, str]) -> None:
    there, url = loader
    there.says = [ANSWERS]
    report, _ = run(tmp_path, url, f"import sys; sys.exit({'語' * 3000!r} + 'the end')")
    assert report.problem is not None
    assert report.problem.message.startswith("vLLM's benchmark ended with exit code 1: 語")
    assert report.problem.message.endswith("語the end")
    assert len((tmp_path / "log").read_bytes()) < 1024
    there.says = [said(State.FAILED, message="字" * 700)]
    report, _ = run(tmp_path, url)
    assert report.problem is not None
    assert len((tmp_path / "log").read_bytes()) < 1024


# Stand for vLLM's own modules: one request is answered, and two fail.
SERVE = """
import asyncio, json, types
async def ask(number):
    return types.SimpleNamespace(success=number == 0, itl=[0.1], generated_text="text", error=f"error {number}")
ASYNC_REQUEST_FUNCS = {"vllm": ask}
def add_cli_args(parser):
    parser.add_argument("--result-dir")
async def main_async(args):
    found = [await ASYNC_REQUEST_FUNCS["vllm"](number) for number in range(3)]
    assert [(each.itl, each.generated_text) for each in found] == [([], "")] * 3
"""


def test_what_is_known_of_each_answer_is_let_go_but_the_first_error(tmp_path: Path) -> None:
    for name in ("vllm", "vllm/benchmarks", "vllm/utils", "result"):
        (tmp_path / name).mkdir()
    (tmp_path / "vllm/benchmarks/serve.py").write_text(SERVE)
    (tmp_path / "vllm/utils/argparse_utils.py").write_text(
        "from argparse import ArgumentParser as FlexibleArgumentParser"
    )
    told = ["--result-dir", str(tmp_path / "result")]
    subprocess.run([sys.executable, "-c", bench.BENCH, *told], cwd=tmp_path, check=True)
    assert (tmp_path / "result/answered").exists()
    assert (tmp_path / "result/error").read_text() == "error 1"
