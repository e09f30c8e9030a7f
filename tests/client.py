"""A client of a deployment: asks once, or steadily, and prints a line for each answer. It runs in a pod, and alone."""

import argparse
import itertools
import json
import os
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

# More at a time than wait while an engine is slow.
AT_ONCE = 64
TIMEOUT = 60


def ask(url: str, key: str, text: str) -> dict[str, Any]:
    """Ask once, over a connection of its own."""
    return {"text": text} | post(url, key, {"text": text})


def post(url: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send a document, and return what comes back."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - what a test gave
    began = time.time()
    answer: dict[str, Any]
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
            answer = {"status": response.status, "release": response.headers.get("x-stagecoach-release")}
            answer |= {"request": response.headers.get("x-request-id")}
            answer |= json.load(response)
    except urllib.error.HTTPError as error:
        answer = {"status": error.code, "failed": error.headers.get("x-stagecoach-release")}
        answer |= {"error": error.read(500).decode(errors="replace")}
    except OSError as error:
        answer = {"status": 0, "error": str(error)}
    return {"began": began, "ended": time.time()} | answer


def main() -> None:
    """Ask what the arguments say, of the deployment and with the key of the environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=float, help="seconds; without it, once")
    parser.add_argument("--stranger", action="store_true", help="show no key")
    parser.add_argument("--key", help="show this one")
    parser.add_argument("--feedback", type=json.loads, help="give this, and ask nothing")
    parser.add_argument("texts", nargs="+", help="one after the other, and again")
    given = parser.parse_args()
    key = "" if given.stranger else given.key or os.environ["KEY"]
    if given.feedback:
        url = os.environ["URL"].replace("/v1/predict", "/v1/feedback")
        print(json.dumps(post(url, key, given.feedback)))
        return
    alone = Lock()

    def one(text: str) -> None:
        answer = json.dumps(ask(os.environ["URL"], key, text))
        with alone:  # a line is a line
            print(answer, flush=True)

    if given.every is None:
        for text in given.texts:
            one(text)
        return
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number, text in enumerate(itertools.cycle(given.texts), 1):
            pool.submit(one, text)
            time.sleep(max(0.0, began + number * given.every - time.monotonic()))


if __name__ == "__main__":
    main()
