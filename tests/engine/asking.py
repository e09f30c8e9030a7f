"""Asking an engine in the same pod: what an evaluator does, with nothing but the standard library.

Prompts are token ids, so that nobody tokenizes twice. A label is chosen as the trainer's Chooser does it: by the
likeliest next token that any label still allows, one request of one token for each place where labels part.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

Ids = Sequence[int]
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
# So many the engine tells the probability of in one request.
MOST_TOKENS = 128


class Refused(Exception):
    """The engine will not answer this, whenever it is asked."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Away(Exception):
    """The engine does not answer now: it starts, or starts again."""


@dataclass(frozen=True)
class Engine:
    """An engine by its address, and the model of it that is asked: the served name of the base, or an adapter's."""

    url: str
    model: str
    seconds: float = 300

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the answer. Raises Refused and Away."""
        content = json.dumps({"model": self.model} | body).encode()
        request = urllib.request.Request(self.url + path, content, {"Content-Type": "application/json"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=self.seconds) as answer:  # noqa: S310 - the url is ours
                return json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            if error.code < 500:
                raise Refused(error.code, text) from error
            raise Away(f"{error.code}: {text}") from error
        except OSError as error:
            raise Away(str(error)) from error

    def wait(self, seconds: float) -> float:
        """Return once it is ready, with the seconds that took. Raises Away."""
        start = time.monotonic()
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):  # noqa: S310
                    return time.monotonic() - start
            except OSError as error:
                if time.monotonic() > start + seconds:
                    raise Away(f"not ready within {seconds:g} s: {error}") from error
                time.sleep(0.5)

    def write(self, prompt: Ids, tokens: int) -> list[int]:
        """Return the likeliest continuation."""
        return list(self._complete(prompt, max_tokens=tokens)["token_ids"])

    def next_of(self, prompt: Ids, allowed: Ids) -> int | None:
        """Return the likeliest next token of those allowed; none where what is computed is not a number."""
        token = int(self._complete(prompt, max_tokens=1, allowed_token_ids=list(allowed))["token_ids"][0])
        return token if token in allowed else None

    def logarithms(self, prompt: Ids, tokens: Ids) -> dict[int, float]:
        """Return the logarithm of the probability of each of these tokens to be next."""
        found: dict[int, float] = {}
        for start in range(0, len(tokens), MOST_TOKENS):
            part = list(tokens[start : start + MOST_TOKENS])
            options = {"logprobs": len(part), "logprob_token_ids": part, "return_tokens_as_token_ids": True}
            told = self._complete(prompt, max_tokens=1, **options)["logprobs"]["top_logprobs"][0]
            found |= {token: told[f"token_id:{token}"] for token in part}
        return found

    def _complete(self, prompt: Ids, **options: Any) -> Any:
        body = {"prompt": list(prompt), "temperature": 0, "return_token_ids": True} | options
        choice = self.post("/v1/completions", body)["choices"][0]
        # An answer that was broken off is none.
        if choice["finish_reason"] not in ("stop", "length"):
            raise Away(f"the engine ended an answer: {choice['finish_reason']}")
        return choice


class Labels:
    """Labels as completions (token ids): where they part, and which one a model chooses."""

    def __init__(self, completions: Sequence[tuple[int, ...]]) -> None:
        self._completions = completions

    def choose(self, engine: Engine, prompt: Ids) -> int | None:
        """Return the index of the label that the engine would write if it could write labels only, if any."""
        written: tuple[int, ...] = ()
        while len(left := self._left(written)) > 1:
            following = self._following(left, written)
            if not following:
                break
            one = following[0] if len(following) == 1 else engine.next_of([*prompt, *written], following)
            if one is None:
                return None
            written = (*written, one)
        return left[0]

    def partings(self) -> dict[tuple[int, ...], list[int]]:
        """Return each place where labels part, and the tokens by which they do."""
        starts = {label[:length] for label in self._completions for length in range(len(label))}
        found = {start: self._following(self._left(start), start) for start in sorted(starts)}
        return {start: tokens for start, tokens in found.items() if len(tokens) > 1}

    def _left(self, written: tuple[int, ...]) -> list[int]:
        count = len(written)
        return [index for index, label in enumerate(self._completions) if label[:count] == written]

    def _following(self, left: Sequence[int], written: tuple[int, ...]) -> list[int]:
        labels = (self._completions[index] for index in left)
        return sorted({label[len(written)] for label in labels if len(label) > len(written)})


def at_once(ask: Callable[[Asked], Answer], what: Sequence[Asked], number: int) -> list[Answer]:
    """Ask so many at a time; return the answers in their order."""
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(ask, what))
