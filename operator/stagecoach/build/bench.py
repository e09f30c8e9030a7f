"""The program of a load test: it waits until a model answers, asks it as clients would, and tells how long that took.

It runs in the engine's image, which has nothing of ours: a Job has it as text. It sends what `vllm bench serve` sends,
whose command not every build of vLLM has.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Of each answer its text and the time of each of its tokens are let go: they would fill the memory.
BENCH = """\
import asyncio, os, sys
from vllm.benchmarks import serve
from vllm.utils.argparse_utils import FlexibleArgumentParser
ask, said = serve.ASYNC_REQUEST_FUNCS["vllm"], set()
async def asked(*given, **named):
    output = await ask(*given, **named)
    name = "answered" if output.success else "error"
    if name not in said:
        said.add(name)
        with open(name, "w") as file:
            file.write(output.error.strip())
    output.itl, output.generated_text, output.error = [], "", output.error[:200]
    return output
serve.ASYNC_REQUEST_FUNCS["vllm"] = asked
parser = FlexibleArgumentParser()
serve.add_cli_args(parser)
args = parser.parse_args(sys.argv[1:])
os.chdir(args.result_dir)
asyncio.run(serve.main_async(args))
"""
LOOK_SECONDS = 2.0
WARMUPS = 5
FRESH_SECONDS = 30
CONNECT_SECONDS = 10
MESSAGE_BYTES, ERROR_BYTES = 700, 200  # a termination message has 4096 for all
NOT_READY = "EngineNotReady"


class Ended(Exception):
    """The test has no numbers; the arguments are an outcome, a reason, what happened, and what to do."""


def main(engine: str, loader: str, serve: Path, log: Path) -> None:
    """Test, and leave a report."""
    signal.signal(signal.SIGTERM, lambda *_: _end(log, {"outcome": "Terminated"}, 70))
    job = json.loads(os.environ["STAGECOACH_JOB"])
    try:
        _wait(job, lambda: _loaded(job, loader))
        numbers = _numbers(_result(job, engine, serve.read_text().split()))
    except Ended as ended:
        outcome, reason, message, remedy = ended.args
        problem = {"reason": reason[:64], "message": _cut(message, MESSAGE_BYTES), "remedy": remedy}
        _end(log, {"outcome": outcome, "problem": problem}, 64 if outcome == "BadInput" else 70)
    else:
        _end(log, {"outcome": "Done", "loadTest": {"identity": job["identity"], **numbers}}, 0)


def _end(log: Path, report: dict[str, Any], code: int) -> None:
    log.write_bytes(json.dumps(report, ensure_ascii=False).encode())
    sys.exit(code)


def _cut(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")


def _wait(job: dict[str, Any], loaded: Callable[[], tuple[bool, str]]) -> None:
    """Wait until the model answers, and has done so lately."""
    until = time.monotonic() + job["startSeconds"]
    while True:
        answers, words = loaded()
        if answers:
            return
        if time.monotonic() > until:
            message = f"the model did not answer in {job['startSeconds']} seconds: {words}"
            raise Ended("BadInput", NOT_READY, message, "Raise spec.engine.startDeadline, if that was too short.")
        time.sleep(LOOK_SECONDS)


def _loaded(job: dict[str, Any], loader: str) -> tuple[bool, str]:
    """Tell the loader what is wanted; return whether the model answers, and what is said of it."""
    headers = {"Authorization": f"Bearer {os.environ['STAGECOACH_LOADER_TOKEN']}"}
    request = urllib.request.Request(loader, json.dumps(job["wanted"]).encode(), headers, method="PUT")  # noqa: S310 - of this pod
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_SECONDS) as response:  # noqa: S310
            models = json.load(response)["models"]
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            return False, f"the loader says {error.code}"
        words = error.read()[:300].decode(errors="replace")
        remedy = "Whoever installed the operator sets all images of the chart to one version."
        raise Ended("BadInput", "LoaderRefuses", f"the loader says {error.code}: {words}", remedy) from None
    except OSError as error:
        return False, f"the loader cannot be asked: {error}"
    model = next((each for each in models if each["name"] == job["model"]), models[0])
    for each in (models[0], model):
        if each["state"] == "Failed":
            remedy = "See the log of the container loader; or try another release."
            raise Ended("BadInput", each.get("reason", NOT_READY), each.get("message", "it cannot be loaded."), remedy)
    answers = model["name"] == job["model"] and model["state"] == "Answers" and model.get("age") == FRESH_SECONDS
    return answers, model.get("message", "it is being loaded.")


def _result(job: dict[str, Any], engine: str, words: list[str]) -> dict[str, Any]:
    """Put the load on the engine, which was told these words."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-c", BENCH, *_arguments(job, engine, words[words.index("--model") + 1], result)]
        try:
            done = subprocess.run(  # noqa: S603 - our own words
                command, timeout=job["loadSeconds"], check=False, stderr=subprocess.PIPE, text=True, errors="replace"
            )
        except subprocess.TimeoutExpired:
            raise _too_slow(job, answered=(Path(folder) / "answered").exists()) from None
        sys.stderr.write(done.stderr)
        if "No module named 'vllm.benchmarks'" in done.stderr:
            remedy = (
                "Whoever installed the operator sets engine.image of the chart, or engineCpu.image, to one that has it."
            )
            raise Ended("BadInput", "BenchMissing", "the engine's image has no vllm.benchmarks.", remedy)
        if done.returncode == -signal.SIGKILL:
            raise Ended("OutOfMemory", "BenchKilled", "vLLM's benchmark was killed, mostly for its memory.", "")
        if done.returncode or not result.exists():
            end = done.stderr.encode()[-500:].decode(errors="ignore").strip()
            message = f"vLLM's benchmark ended with exit code {done.returncode}: {end}"
            raise Ended("Failed", "BenchFailed", message, "See the pod's log.")
        found: dict[str, Any] = json.loads(result.read_text())
        error = Path(folder) / "error"
        return found | {"error": error.read_text(errors="replace") if error.exists() else ""}


def _too_slow(job: dict[str, Any], *, answered: bool) -> Ended:
    """Return what takes too long: the load, or a single answer."""
    seconds = job["loadSeconds"]
    if answered:
        message = f"{job['requests']} requests were not answered in {seconds} seconds."
        remedy = "Lower spec.sla.load.requestsPerSecond, or give spec.engine.resources more."
    else:
        message = f"not one answer of {job['outputTokens']} tokens was whole in {seconds} seconds."
        remedy = "Lower spec.sla.load.outputTokens or promptTokens, or give spec.engine.resources more."
    return Ended("BadInput", "TooSlow", message, remedy)


def _arguments(job: dict[str, Any], engine: str, base: str, result: Path) -> list[str]:
    told = {
        "backend": "vllm",
        "base-url": engine,
        "endpoint": "/v1/completions",
        "model": job["model"],
        "tokenizer": base,
        "dataset-name": "random",
        "random-input-len": job["promptTokens"],
        "random-output-len": job["outputTokens"],
        "num-prompts": job["requests"],
        "num-warmups": WARMUPS,
        "request-rate": job["requestsPerSecond"],
        "temperature": 0,
        "percentile-metrics": "ttft,e2el",
        "metric-percentiles": "50,99",
        "result-dir": result.parent,
        "result-filename": result.name,
    }
    named = [word for name, value in told.items() for word in (f"--{name}", str(value))]
    return [*named, "--ignore-eos", "--save-result", "--disable-tqdm"]


def _numbers(result: dict[str, Any]) -> dict[str, Any]:
    wanted = {
        "completed": "completed",
        "failed": "failed",
        "inputTokens": "total_input_tokens",
        "outputTokens": "total_output_tokens",
        "seconds": "duration",
        "p50": "p50_e2el_ms",
        "p99": "p99_e2el_ms",
        "firstToken": "p99_ttft_ms",
    }
    if missing := [name for name in wanted.values() if name not in result]:
        raise Ended("BadInput", "BenchUnknown", f"vLLM's benchmark does not say {', '.join(missing)}.", "Report it.")
    error = next(reversed(result["error"].splitlines()), "")  # of a traceback, what it comes to
    return {ours: result[theirs] for ours, theirs in wanted.items()} | {"error": _cut(error, ERROR_BYTES)}


if __name__ == "__main__":
    main("http://127.0.0.1:8000", "http://127.0.0.1:8001/models", Path("/models/serve"), Path("/dev/termination-log"))
