"""The few calls of MLflow's REST API that tell a training, each bounded in time and size.

MLflow's own client takes seconds to import and a hundred megabytes of the training's memory, and waits for minutes.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from stagecoach_trainer import credentials
from stagecoach_trainer.direct import Direct

# For connecting, and for each piece of an answer; and for all of it, however slowly the pieces come.
TIMEOUT = 10.0
DEADLINE = 30.0
MAX_ANSWER = 4 << 20
# What the API takes at once.
MAX_METRICS = 1000
MAX_PARAMETERS = 100
# What servers of all versions take.
MAX_VALUE = 500
MAX_NOTE = 5000
NOTHING: Mapping[str, str] = {}
# Of what a server says: a report has room for little more.
MAX_WORDS = 170
LATE = "it did not answer in time."
AWAY = "See that the server is up, and that pods may reach it."
BUSY = "See the server's own log."
FOREIGN = "Let the URI be that of an MLflow server itself: redirects are not followed."
# What MLflow says to whoever calls it by a name that it was not started with.
UNKNOWN_HOST = b"Invalid Host header"


class MlflowFailed(Exception):
    """The server does not do what it should; the text says what, and what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message if len(message) <= MAX_WORDS else f'{message[: MAX_WORDS - 1]}…'} {remedy}")


@dataclass(frozen=True)
class Point:
    """A metric at a step."""

    key: str
    value: float
    step: int
    timestamp: int

    def document(self) -> dict[str, Any]:
        """Return it as the API takes it."""
        return {"key": self.key, "value": self.value, "step": self.step, "timestamp": self.timestamp}


@dataclass(frozen=True)
class Run:
    """A run at the server, the newest step that it has of each metric, and the names of its parameters."""

    id: str
    steps: Mapping[str, int]
    parameters: frozenset[str]


class Server:
    """A tracking server, asked with the content of its Secret."""

    def __init__(self, uri: str, keys: Mapping[str, str], secret: str = "") -> None:
        self._keys, self._secret = keys, secret
        token, user = keys.get("token"), keys.get("username")
        self._client = httpx2.Client(
            base_url=f"{uri.rstrip('/')}/api/2.0/mlflow/",
            headers={"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {}),
            auth=(user, keys["password"]) if user and not token else None,
            timeout=TIMEOUT,
            transport=_transport(uri),
            follow_redirects=False,
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is made when it is missing."""
        found = self._call("GET", "experiments/get-by-name", {"experiment_name": name}, missing=True)
        if found is None:
            made = self._call("POST", "experiments/create", {"name": name}, there=True)
            found = made or self._call("GET", "experiments/get-by-name", {"experiment_name": name})
        with _understood():
            return str(found["experiment_id"] if "experiment_id" in found else found["experiment"]["experiment_id"])

    def find(self, experiment: str, tag: str, value: str) -> Run | None:
        """Return the oldest run of an experiment with a tag."""
        asked = {
            "experiment_ids": [experiment],
            "filter": f"tags.`{tag}` = '{value}'",
            "order_by": ["attributes.start_time ASC"],
            "max_results": 1,
        }
        runs = self._call("POST", "runs/search", asked).get("runs") or ()
        with _understood():
            return _run(runs[0]) if runs else None

    def create(self, experiment: str, name: str, tags: Mapping[str, str], started: int) -> Run:
        """Make a run."""
        asked = {"experiment_id": experiment, "run_name": name, "start_time": started, "tags": _pairs(tags)}
        made = self._call("POST", "runs/create", asked)
        with _understood():
            return _run(made["run"])

    def log(
        self,
        run: str,
        points: Sequence[Point] = (),
        parameters: Mapping[str, str] = NOTHING,
        tags: Mapping[str, str] = NOTHING,
    ) -> None:
        """Add metrics, parameters and tags to a run; the same once more changes nothing."""
        metrics = [point.document() for point in points]
        asked = {"run_id": run, "metrics": metrics, "params": _pairs(parameters), "tags": _pairs(tags)}
        self._call("POST", "runs/log-batch", asked)

    def update(self, run: str, status: str, ended: int | None = None) -> None:
        """Say where a run is."""
        end = {} if ended is None else {"end_time": ended}
        self._call("POST", "runs/update", {"run_id": run, "status": status} | end)

    def _call(
        self, method: str, path: str, asked: dict[str, Any], *, missing: bool = False, there: bool = False
    ) -> Any:
        """Return the answer; None to what is missing, or is there already, where the caller knows what to do then."""
        what = {"params": asked} if method == "GET" else {"json": asked}
        try:
            with self._client.stream(method, path, **what) as answer:
                content = _content(answer)
        except httpx2.TimeoutException as error:
            raise MlflowFailed(LATE, AWAY) from error
        except (httpx2.HTTPError, OSError) as error:
            untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
            remedy = "Use a server whose certificate pods trust: see caBundle of the chart." if untrusted else AWAY
            words = f"{type(error).__name__}: {error}".rstrip(". ")
            raise MlflowFailed(f"it does not answer: {words}.", remedy) from error
        found = _document(content)
        code = found.get("error_code") if found and answer.status_code >= 400 else None
        if (missing and code == "RESOURCE_DOES_NOT_EXIST") or (there and code == "RESOURCE_ALREADY_EXISTS"):
            return None
        if answer.status_code != 200:
            raise self._refused(path, answer.status_code, content)
        if found is None:
            raise MlflowFailed(f"it answers {path} as no MLflow server does.", FOREIGN)
        return found

    def _refused(self, path: str, status: int, content: bytes) -> MlflowFailed:
        said = _document(content) or {}
        words = " ".join(str(said.get("message", "")).split()).rstrip(".")
        message = f"it answers {status} to {path}{': ' if words else ''}{words}."
        if UNKNOWN_HOST in content:
            return MlflowFailed(message, "Start the server with --allowed-hosts that has the host and port of the URI.")
        if status in (401, 403):
            return MlflowFailed(message, credentials.opening(self._keys, self._secret, "write there"))
        return MlflowFailed(message, BUSY if status == 429 or status >= 500 or said.get("error_code") else FOREIGN)


def _transport(uri: str) -> httpx2.HTTPTransport:
    """Return what connects to a server, and looks at its addresses each time; or to a proxy, which resolves itself."""
    found = credentials.addresses(uri)
    if found is None:
        raise MlflowFailed("it can be no address of a server.", "Correct the URI.")
    _check(found)
    # For one batch: a server closes what was idle until the next one.
    limits = httpx2.Limits(keepalive_expiry=2)
    place = urlsplit(uri)
    proxy = None if proxy_bypass(place.netloc) else getproxies().get(place.scheme)
    return httpx2.HTTPTransport(proxy=proxy, limits=limits) if proxy else Direct(_check, limits=limits)


def _check(addresses: Iterable[str]) -> None:
    if not credentials.may_be_asked(addresses):
        message = "it has an address that only a machine itself can mean."
        raise MlflowFailed(message, "Use the address of a server, not a loopback or link-local one.")


def _content(answer: Any) -> bytes:
    content, deadline = bytearray(), time.monotonic() + DEADLINE
    for part in answer.iter_raw():
        content += part
        if len(content) > MAX_ANSWER:
            raise MlflowFailed("its answer does not end.", FOREIGN)
        if time.monotonic() > deadline:
            raise MlflowFailed(f"its answer took more than {DEADLINE:g} seconds.", BUSY)
    return bytes(content)


def _document(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


@contextmanager
def _understood() -> Iterator[None]:
    """Tell of an answer in which something is missing, or is something else."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise MlflowFailed("its answer is not what an MLflow server says.", FOREIGN) from error


def _run(found: dict[str, Any]) -> Run:
    data = found.get("data", {})
    steps = {item["key"]: int(item.get("step", 0)) for item in data.get("metrics", ())}
    return Run(found["info"]["run_id"], steps, frozenset(item["key"] for item in data.get("params", ())))


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]
