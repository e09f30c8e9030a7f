"""Counts by release: plain numbers while requests are answered, a document or Prometheus' text when somebody asks."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from stagecoach.contract.gateway_counts import SECONDS, Durations, GatewayCounts, ReleaseCounts
from stagecoach.contract.gateway_routes import Routes
from stagecoach.contract.profiles import Profiler
from stagecoach.contract.prompts import Encoded

# Releases that are counted; those that are in no route any more are forgotten first.
MOST_RELEASES = 32
# What `release` says where no release had to answer.
NONE = "none"
_BOUNDS = [*map(str, SECONDS), "+Inf"]


class Times:
    """Durations by bins."""

    __slots__ = ("bins", "total")

    def __init__(self) -> None:
        self.bins = [0] * (len(SECONDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.bins[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    def told(self) -> Durations:
        """Return them as they are told."""
        return Durations(bins=tuple(self.bins), total=self.total)


class Counted:
    """What came of one release's requests."""

    def __init__(self, release: str) -> None:
        self.release = release
        self.requests = self.abandoned = self.fallbacks = self.feedback = 0
        self.prompt_tokens = self.completion_tokens = 0
        self.errors: dict[str, int] = {}
        self.ratings = 0
        self.rated = 0.0  # the sum of them
        self.latency = Times()
        self.first_token = Times()
        self._profiler: Profiler | None = None

    def failed(self, code: str) -> None:
        """Count an error."""
        self.errors[code] = self.errors.get(code, 0) + 1

    def usage(self, prompt: object, completion: object) -> None:
        """Count tokens, as an engine says."""
        self.prompt_tokens += prompt if isinstance(prompt, int) and prompt > 0 else 0
        self.completion_tokens += completion if isinstance(completion, int) and completion > 0 else 0

    def said(self, rating: float | None) -> None:
        """Count feedback, and how good it says that an answer was, if it does."""
        self.feedback += 1
        if rating is not None:
            self.ratings += 1
            self.rated += rating

    def text(self, frame: tuple[int, ...], max_length: int, parts: Iterable[Encoded]) -> None:
        """Count what a text looks like."""
        if self._profiler is None:
            self._profiler = Profiler(frame, max_length)
        self._profiler.add(*parts)

    def texts(self, profiler: Profiler) -> None:
        """Count texts that were looked at beside the loop."""
        if self._profiler is None:
            self._profiler = profiler
        else:
            self._profiler.merge(profiler)

    def told(self) -> ReleaseCounts:
        """Return it as it is told."""
        return ReleaseCounts(
            release=self.release,
            requests=self.requests,
            errors=dict(sorted(self.errors.items())),
            abandoned=self.abandoned,
            fallbacks=self.fallbacks,
            latency=self.latency.told(),
            first_token=self.first_token.told(),
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            feedback=self.feedback,
            profile=self._profiler.profile() if self._profiler else None,
        )


class Counts:
    """All releases, and the requests that came to none of them."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment
        self._started = datetime.now(UTC)
        self._releases: dict[str, Counted] = {}
        self.none = Counted(NONE)  # no release had to answer: no document has these, and of metrics only two

    def of(self, release: str) -> Counted:
        """Return where a release is counted."""
        found = self._releases.get(release)
        if found is None:
            found = self._releases[release] = Counted(release)
        return found

    def forget(self, but: Collection[str]) -> None:
        """Forget the oldest where there are too many, but none of those that are served."""
        gone = [release for release in self._releases if release not in but]
        for release in gone[: max(0, len(self._releases) - MOST_RELEASES)]:
            del self._releases[release]

    def beginning(self, digits: str) -> Counted | None:
        """Return where the release is counted whose digest begins so."""
        return next((each for name, each in self._releases.items() if name[7:19] == digits), None)

    def refuse(self, code: str) -> None:
        """Count a request that came to no release."""
        self.none.failed(code)

    def told(self, revision: int) -> GatewayCounts:
        """Return the document."""
        releases = tuple(each.told() for each in self._releases.values())
        return GatewayCounts(deployment=self._deployment, revision=revision, started=self._started, releases=releases)

    def metrics(self) -> Iterator[Metric]:
        """Return the same for Prometheus."""
        each = self._releases
        yield _counter("requests", "Requests that a release had to answer.", {r: c.requests for r, c in each.items()})
        errors = CounterMetricFamily("stagecoach_gateway_errors", "Errors by code.", labels=["release", "code"])
        for release, counted in {NONE: self.none, **each}.items():
            for code, number in counted.errors.items():
                errors.add_metric([release, code], number)
        yield errors
        fallbacks = {release: counted.fallbacks for release, counted in {NONE: self.none, **each}.items()}
        yield _counter("abandoned", "Clients that left before the end.", {r: c.abandoned for r, c in each.items()})
        yield _counter("fallbacks", "Errors that a fallback answered.", fallbacks)
        yield _counter("feedback", "Feedback on answers.", {r: c.feedback for r, c in each.items()})
        ratings = SummaryMetricFamily("stagecoach_gateway_rating", "How good feedback says it was.", labels=["release"])
        for release, counted in each.items():
            ratings.add_metric([release], counted.ratings, counted.rated)
        yield ratings
        yield _counter("prompt_tokens", "Tokens read.", {r: c.prompt_tokens for r, c in each.items()})
        yield _counter("completion_tokens", "Tokens written.", {r: c.completion_tokens for r, c in each.items()})
        yield _histogram("latency", "Until the end of an answer.", {r: c.latency for r, c in each.items()})
        yield _histogram("first_token", "Until a stream's first part.", {r: c.first_token for r, c in each.items()})


def gauge(name: str, description: str, value: float) -> Metric:
    """Return one number for Prometheus."""
    return GaugeMetricFamily(f"stagecoach_gateway_{name}", description, value=value)


def weights(routes: Routes | None, now: datetime, *, confirmed: bool) -> Metric:
    """Return the share of each release that may answer, for Prometheus."""
    family = GaugeMetricFamily("stagecoach_gateway_weight", "Of 100 requests so many.", labels=["release"])
    if routes and routes.stable:
        candidate = routes.candidate
        share = candidate.share(now) if candidate and confirmed else 0
        shares = {routes.stable.release: 0}
        if candidate:
            shares[candidate.target.release] = share
        shares[routes.stable.release] += 100 - share
        for release, weight in shares.items():
            family.add_metric([release], weight)
    return family


def _counter(name: str, description: str, by_release: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"stagecoach_gateway_{name}", description, labels=["release"])
    for release, number in by_release.items():
        family.add_metric([release], number)
    return family


def _histogram(name: str, description: str, by_release: dict[str, Times]) -> Metric:
    family = HistogramMetricFamily(f"stagecoach_gateway_{name}_seconds", description, labels=["release"])
    for release, times in by_release.items():
        sums = [sum(times.bins[: index + 1]) for index in range(len(times.bins))]
        family.add_metric([release], list(zip(_BOUNDS, sums, strict=True)), times.total)
    return family
