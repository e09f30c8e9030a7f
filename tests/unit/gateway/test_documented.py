"""The commands of docs/gateway.md, as they stand there: each is run, and answered as it says."""

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.unit.gateway import releases, running
from tests.unit.gateway.running import MockEngine, Running

TEXT = (running.ROOT / "docs/gateway.md").read_text()
# By path: a command, and what comes after it.
COMMANDS = {
    match["path"]: match
    for match in re.finditer(
        r"^    (?P<command>curl http://[^/\s]+(?P<path>\S+) (?:.*\\\n)*.*)\n(?: {4}(?P<answer>{.*})\n)?",
        TEXT,
        re.MULTILINE,
    )
}
HOST, KEY = "http://intents.team.svc", "web-key"


async def run(gateway: Running, path: str, **changes: str) -> str:
    """Run the command that asks at a path, at this gateway and in a shell, and return what it prints."""
    command = COMMANDS[path]["command"]
    for ours, theirs in {HOST: gateway.url, **changes}.items():
        assert ours in command
        command = command.replace(ours, theirs)
    done = await asyncio.to_thread(
        subprocess.run,
        ["sh", "-c", command],
        env=os.environ | {"KEY": KEY},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_every_command_is_run_here() -> None:
    assert TEXT.count("\n    curl ") == len(COMMANDS)
    assert COMMANDS.keys() == {"/v1/chat/completions", "/v1/predict", "/v1/feedback"}


async def test_a_conversation_is_streamed_and_feedback_on_an_answer_is_taken(
    root: Path, tokenizer: str, engine: MockEngine
) -> None:
    (root / "samples").mkdir()
    sampling: Any = {"rate": 0, "redact": (), "keep_seconds": 3600}
    target = releases.target(tokenizer, (engine.url,))
    running.write_root(root, releases.routes(target, keys=True, sampling=sampling), {"web": KEY})
    async with running.gateway(root) as gateway:
        said = await run(gateway, "/v1/chat/completions")
        assert (said.count("data: {"), said.rstrip().endswith("data: [DONE]")) == (3, True)
        asked: Any = {"model": "intents", "messages": [{"role": "user", "content": "hello"}]}
        _, _, headers = await gateway.post("/v1/chat/completions", asked, authorization=f"Bearer {KEY}")
        await run(gateway, "/v1/feedback", **{"req-…": headers["x-request-id"]})
        assert (await gateway.counts())["releases"][0]["feedback"] == 1


async def test_a_text_gets_its_label(root: Path, tokenizer: str, engine: MockEngine) -> None:
    engine.answers = lambda _, body: running.completion(body["allowed_token_ids"][:1])
    running.write_root(
        root, releases.routes(releases.target(tokenizer, (engine.url,)), api="Task", keys=True), {"web": KEY}
    )
    async with running.gateway(root) as gateway:
        answer = json.loads(await run(gateway, "/v1/predict"))
    documented = json.loads(COMMANDS["/v1/predict"]["answer"])
    assert answer.keys() == documented.keys()
    assert answer["label"] in releases.LABELS
