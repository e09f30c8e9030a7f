"""Requests of the gateway with every feature on, beside LiteLLM's proxy and nginx, each on one core, in turns.

What a request costs is counted in CPU seconds of the proxy: the clients, which are slower than nginx, do not limit it then.
Only answers with 200 count; where a request or a stream fails, or a target is missed, the exit status is 1.
A peer is taken from PATH, or from the variables NGINX and LITELLM; one that is not there is left out, and said so, as is
what could not be measured: neither is a target that is missed.
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from stagecoach.contract.gateway_routes import RateLimit, RedactionType, Routes, Sampling, sign
from tests.bench import asking
from tests.bench.report import NOT_MEASURED
from tests.unit.gateway import releases, running

ROOT = Path(__file__).parents[2]
KEY = "sk-of-the-benchmark-0123456789abcdef0123456789"
TEXT = "I lost my card yesterday in the supermarket, and now somebody has paid with it. How do I block it, and when do I get another one?"
CLIENTS = 32
STREAMS = 300
OPEN_STREAMS = 1000
START_SECONDS = 180
OPENING_SECONDS = 30
WARM_SECONDS = 5  # LiteLLM takes that long
# The proxy has the first, all else the last.
CORES = sorted(os.sched_getaffinity(0))


@dataclass
class Proxy:
    """One of those that are compared."""

    name: str
    port: int
    model: str
    process: subprocess.Popen[bytes] | None = None
    cost: list[float] = field(default_factory=list)  # CPU seconds a request
    alone: list[float] = field(default_factory=list)  # seconds a request, one at a time
    chunk: list[float] = field(default_factory=list)  # CPU seconds a streamed chunk
    failed: int = 0
    memory: tuple[float, float] = (0, 0)  # MiB at rest, and with streams open

    def body(self, *, stream: bool) -> bytes:
        """Return what is asked."""
        messages = [{"role": "system", "content": "Route the message."}, {"role": "user", "content": TEXT}]
        return json.dumps({"model": self.model, "messages": messages} | ({"stream": True} if stream else {})).encode()

    def request(self, *, stream: bool = False) -> bytes:
        """Return it as it is sent."""
        return asking.request("/v1/chat/completions", self.body(stream=stream), KEY)


def _family(pid: int) -> list[int]:
    """Return a process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]


def cpu(proxy: Proxy) -> float:
    """Return the CPU seconds that a proxy has used so far."""
    total = 0
    for pid in _family(proxy.process.pid) if proxy.process else []:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def resident(proxy: Proxy) -> float:
    """Return its memory in MiB."""
    pages = (
        sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _family(proxy.process.pid))
        if proxy.process
        else 0
    )
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def turn(proxy: Proxy, seconds: float) -> None:
    """Measure once."""
    await asking.ask(proxy.port, proxy.request(), CLIENTS, WARM_SECONDS)
    before = cpu(proxy)
    found = await asking.ask(proxy.port, proxy.request(), CLIENTS, seconds)
    proxy.failed += found.failed
    if found.requests and proxy.process:
        proxy.cost.append((cpu(proxy) - before) / found.requests)
    alone = await asking.ask(proxy.port, proxy.request(), 1, seconds / 2)
    proxy.failed += alone.failed
    if alone.requests:
        proxy.alone.append(alone.median)


async def turn_of_streams(proxy: Proxy, seconds: float) -> None:
    """Measure streams once: chunks at a pace, so that they are not passed on several at a time."""
    open_ones = await asking.streams(proxy.port, proxy.request(stream=True), STREAMS)
    await asyncio.sleep(1)
    before, parts = cpu(proxy), sum(stream.parts for stream in open_ones)
    await asyncio.sleep(seconds)
    passed = sum(stream.parts for stream in open_ones) - parts
    if passed:
        proxy.chunk.append((cpu(proxy) - before) / passed)
    proxy.failed += left(open_ones)
    await asyncio.sleep(0.5)


async def open_streams(proxy: Proxy) -> None:
    """Measure memory, at rest and with streams open: with fewer than all of them it says nothing."""
    rest = resident(proxy)
    open_ones = await asking.streams(proxy.port, proxy.request(stream=True), OPEN_STREAMS)
    for _ in range(OPENING_SECONDS):
        if all(stream.flows for stream in open_ones):
            break
        await asyncio.sleep(1)
    await asyncio.sleep(2)
    used = resident(proxy)
    if missing := left(open_ones):
        proxy.failed += missing
    else:
        proxy.memory = (rest, used)
    await asyncio.sleep(1)


def left(streams: list[asking.Stream]) -> int:
    """Leave streams; return how many of them did not flow."""
    missing = sum(not stream.flows for stream in streams)
    for stream in streams:
        stream.close()
    return missing


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def started(command: list[str], port: int, core: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program on one core until the end, and wait until it listens."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}/operator:{ROOT}/images/gateway:{ROOT}"} | environment
    command = ["taskset", "-c", str(CORES[core % len(CORES)]), *command]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{command[3]} did not start: {log.read().decode(errors='replace')[-2000:]}")
                time.sleep(0.2)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def our_gateway(folder: Path, engine: int, stack: ExitStack) -> Proxy:
    """Start the gateway with keys, limits, a contract, two releases, counts, and samples."""
    tokenizer = releases.tokenizer(folder / "tokenizers")
    url = (f"http://127.0.0.1:{engine}",)
    stable = releases.target(tokenizer, url, model="engine-model")
    routes = releases.routes(
        stable,
        keys=True,
        candidate=releases.candidate(
            releases.target(tokenizer, url, model="other-model", artifact="22"), 5, seconds=86_400
        ),
        rate_limits=(RateLimit(requests=10_000_000, seconds=1),),
        input_schema={"properties": {"messages": {"maxItems": 64}}},
        sampling=Sampling(rate=0.05, redact=(RedactionType.EMAIL, RedactionType.CARD), keep_seconds=3600),
    )
    (folder / "samples").mkdir()
    running.write_root(folder, routes, {"bench": KEY})
    proxy, admin = Proxy("stagecoach", free_port(), "intents"), free_port()
    proxy.process = stack.enter_context(
        started(
            [sys.executable, "-m", "stagecoach_gateway"],
            proxy.port,
            0,
            STAGECOACH_ROOT=str(folder),
            STAGECOACH_DEPLOYMENT=releases.DEPLOYMENT,
            STAGECOACH_HOST="127.0.0.1",
            STAGECOACH_PORT=str(proxy.port),
            STAGECOACH_ADMIN_PORT=str(admin),
        )
    )
    while not _listens(admin):
        time.sleep(0.1)
    asyncio.run(_told(admin, routes))  # or it would give the candidate nothing
    return proxy


async def _told(admin: int, routes: Routes) -> None:
    """Hand routes over, as the operator does."""
    headers = {"authorization": f"Bearer {releases.ADMIN_TOKEN}"}
    body = sign(routes, releases.ROUTES_KEY).line()
    async with (
        aiohttp.ClientSession() as session,
        session.put(f"http://127.0.0.1:{admin}/routes", data=body.encode(), headers=headers) as response,
    ):
        response.raise_for_status()


def nginx(folder: Path, engine: int, stack: ExitStack) -> Proxy | None:
    """Start nginx as a plain proxy, if it is there."""
    program = os.environ.get("NGINX") or shutil.which("nginx")
    if not program:
        return None
    proxy = Proxy("nginx", free_port(), "engine-model")
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; events {{ worker_connections 8192; }}"
        f"http {{ access_log off; {places} upstream engine {{ server 127.0.0.1:{engine}; keepalive 1024; }}"
        f" server {{ listen 127.0.0.1:{proxy.port} backlog=2048; keepalive_requests 100000000; location / {{ proxy_pass http://engine;"
        " proxy_http_version 1.1; proxy_set_header Connection ''; proxy_buffering off; } } }"
    )
    command = [program, "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]
    proxy.process = stack.enter_context(started(command, proxy.port, 0))
    return proxy


def litellm(folder: Path, engine: int, stack: ExitStack) -> Proxy | None:
    """Start LiteLLM's proxy with a route and nothing else, if it is there."""
    program = os.environ.get("LITELLM") or shutil.which("litellm")
    if not program:
        return None
    proxy = Proxy("LiteLLM", free_port(), "intents")
    parameters = {"model": "openai/engine-model", "api_base": f"http://127.0.0.1:{engine}/v1", "api_key": "none"}
    models = [{"model_name": "intents", "litellm_params": parameters}]
    config = {"model_list": models, "general_settings": {"master_key": KEY}}  # without a key it does not start
    (folder / "litellm.yaml").write_text(json.dumps(config))
    command = [
        program,
        "--config",
        f"{folder}/litellm.yaml",
        "--host",
        "127.0.0.1",
        "--port",
        str(proxy.port),
        "--num_workers",
        "1",
    ]
    quiet = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "DISABLE_ADMIN_UI": "True",
    }
    proxy.process = stack.enter_context(started(command, proxy.port, 0, **quiet))
    return proxy


@dataclass(frozen=True)
class Target:
    """A number to reach."""

    what: str
    value: float | None  # None: not measured
    least: float | None = None
    most: float | None = None

    @property
    def missed(self) -> bool:
        """Whether it was measured, and not reached."""
        return self.value is not None and not (
            (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)
        )

    @property
    def line(self) -> str:
        """The same in words."""
        aim = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        if self.value is None:
            return f"{self.what}: {NOT_MEASURED} (to reach: {aim})"
        return f"{self.what}: {self.value:.3g} (to reach: {aim}{', MISSED' if self.missed else ''})"


def targets(ours: Proxy, direct: Proxy, peers: dict[str, Proxy]) -> list[Target]:
    """Return what is to be reached, from medians."""

    def ratio(name: str) -> float | None:
        peer = peers.get(name)
        return statistics.median(peer.cost) / statistics.median(ours.cost) if peer and peer.cost and ours.cost else None

    to_nginx = ratio("nginx")
    both = ours.alone and direct.alone
    added = (statistics.median(ours.alone) - statistics.median(direct.alone)) * 1000 if both else None
    chunk = statistics.median(ours.chunk) * 1e6 if ours.chunk else None
    return [
        Target("requests per CPU second, times LiteLLM's", ratio("LiteLLM"), least=40),
        Target("requests per CPU second, % of nginx's", to_nginx and to_nginx * 100, least=6),
        Target("added at the median to one request at a time, ms", added, most=0.5),
        Target("CPU per streamed chunk, µs", chunk, most=35),
    ]


def table(proxies: list[Proxy]) -> str:
    """Return all numbers, medians over the turns."""
    head = f"{'':12}{'CPU µs/request':>16}{'requests/CPU s':>16}{'alone, ms':>12}{'CPU µs/chunk':>14}{'MiB, rest → streams':>22}{'failed':>8}"
    lines = [head]
    for proxy in proxies:
        cost = statistics.median(proxy.cost) if proxy.cost else None
        chunk = f"{statistics.median(proxy.chunk) * 1e6:.1f}" if proxy.chunk else "-"
        memory = f"{proxy.memory[0]:.0f} → {proxy.memory[1]:.0f}" if proxy.memory[1] else NOT_MEASURED
        each = [f"{cost * 1e6:.1f}", f"{1 / cost:.0f}"] if cost else ["-", "-"]
        alone = f"{statistics.median(proxy.alone) * 1000:.3f}" if proxy.alone else "-"
        lines.append(f"{proxy.name:12}{each[0]:>16}{each[1]:>16}{alone:>12}{chunk:>14}{memory:>22}{proxy.failed:>8}")
    return "\n".join(lines)


def rotated(proxies: list[Proxy], number: int) -> list[Proxy]:
    """Return them in the order of a turn."""
    first = number % len(proxies)
    return [*proxies[first:], *proxies[:first]]


def outcome(found: list[Target], proxies: list[Proxy]) -> int:
    """Return the exit status: 1 where a target is missed, or any request or stream failed."""
    return int(any(target.missed for target in found) or any(proxy.failed for proxy in proxies))


async def measure(ours: Proxy, others: list[Proxy], turns: int, seconds: float) -> None:
    """Measure all in turns, each time beginning with another one, and streams afterwards."""
    for number in range(turns):
        for proxy in rotated([ours, *others], number):
            await turn(proxy, seconds)
    streaming = [ours, *(each for each in others if each.name == "nginx")]
    for number in range(turns):
        for proxy in rotated(streaming, number):
            await turn_of_streams(proxy, seconds)
    await open_streams(ours)


def main(arguments: list[str]) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="tests.bench.gateway")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args(arguments)
    print(f"load before: {os.getloadavg()}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = free_port()
        stack.enter_context(started([sys.executable, "-m", "tests.bench.canned", str(engine)], engine, 1))
        os.sched_setaffinity(0, {CORES[-1]})
        direct = Proxy("no proxy", engine, "engine-model")
        ours = our_gateway(folder / "ours", engine, stack)
        made = {each.name: each for each in (nginx(folder, engine, stack), litellm(folder, engine, stack)) if each}
        for name in ("nginx", "LiteLLM"):
            if name not in made:
                print(f"{name} is not there and is left out")
        asyncio.run(measure(ours, [direct, *made.values()], options.turns, options.seconds))
        print(table([ours, *made.values(), direct]))
        found = targets(ours, direct, made)
        for target in found:
            print(target.line)
    print(f"load after: {os.getloadavg()}")
    return outcome(found, [ours, direct, *made.values()])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
