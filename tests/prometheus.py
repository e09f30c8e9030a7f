"""What a Prometheus answers, asked directly or through the API server."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from tests.deploy import OPERATOR_NAMESPACE, RELEASE
from tests.kube import Kube

Object = dict[str, Any]
# How a path of Prometheus' API is asked for.
Ask = Callable[[str], Object]


@dataclass(frozen=True)
class Sample:
    """A series, and what it is now."""

    labels: dict[str, str]
    value: float


def at(url: str) -> Ask:
    """Return how the Prometheus at this address is asked; one that does not answer fails an assertion."""

    def ask(path: str) -> Object:
        try:
            with urlopen(f"{url}{path}", timeout=10) as answer:  # noqa: S310 - of a test's own server
                found: Object = json.load(answer)
        except OSError as error:
            raise AssertionError(f"{url} does not answer: {error}") from error
        return found

    return ask


def of_the_chart(kube: Kube) -> Ask:
    """Return how that of the installed chart is asked, as whoever has this access to the cluster."""
    service = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/services/{RELEASE}-prometheus:http/proxy"
    return lambda path: kube.request("GET", service + path)


def query(ask: Ask, expression: str) -> list[Sample]:
    """Return what an expression is now."""
    answer = ask(f"/api/v1/query?query={quote(expression)}")
    return [Sample(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]


def down(ask: Ask) -> list[str]:
    """Return what cannot be scraped, and why."""
    targets = ask("/api/v1/targets?state=active")["data"]["activeTargets"]
    return [f"{each['scrapeUrl']}: {each['lastError']}" for each in targets if each["health"] == "down"]
