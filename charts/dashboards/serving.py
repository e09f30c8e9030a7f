"""What is served, by release: what it is worth, how fast it is, what fails, what it costs, and who has the requests."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row, TextBoxVariable
from grafana_foundation_sdk.models import dashboard as models

from charts.dashboards.panels import CHOSEN, by_release, lines, number, variables

# Feedback is rare: of an hour.
_RARE = "1h"
_SOME = ((None, "red"), (1, "green"))
_OF = f"{{{CHOSEN}}}"
_ENGINES_UP = f'count(up{{job="stagecoach-serving", component="engine", {CHOSEN}}} == 1)'


def dashboard() -> models.Dashboard:
    """Return it."""
    page = Dashboard("Stagecoach: serving").uid("stagecoach-serving").tags(["stagecoach"]).refresh("30s")
    page.description("One ModelDeployment by release. docs/observability.md says what to do about what it shows.")
    page.time("now-6h", "now").timezone("browser").readonly()
    variables(page)
    price = TextBoxVariable("price").label("Price of an engine's pod, per hour").default_value("1")
    page.with_variable(price.description("Of one pod with its GPUs, in your currency: what it costs is taken from it."))
    for add in (_now, _rollout, _quality, _latency, _errors, _cost):
        add(page)
    made = page.build()
    for number_of_panel, panel in enumerate(made.panels or (), 1):
        panel.id_val = number_of_panel
    return made


def _now(page: Dashboard) -> None:
    ready = number("Gateways ready", f"sum(stagecoach_gateway_ready{_OF})", "Those that take requests.", colors=_SOME)
    page.with_panel(ready)
    page.with_panel(number("Engines up", _ENGINES_UP, "Pods of engines that can be scraped.", colors=_SOME))
    requests = f"deployment:stagecoach_gateway_requests:rate5m{_OF}"
    page.with_panel(number("Requests", requests, "A second, those that came to no release too.", unit="reqps"))
    failures = f"deployment:stagecoach_gateway_failures:ratio5m{_OF}"
    words = "Share of requests that failed by our fault."
    page.with_panel(number("Failures", failures, words, unit="percentunit", colors=((None, "green"), (0.05, "red"))))
    unconfirmed = f"count(stagecoach_gateway_routes_confirmed{_OF} == 0) or vector(0)"
    words = "Gateways that were not told that their routes are the newest."
    page.with_panel(number("Unconfirmed", unconfirmed, words, colors=((None, "green"), (1, "red"))))
    revision = f"max(stagecoach_gateway_routes_revision{_OF})"
    page.with_panel(number("Routes", revision, "Their revision: it grows with every change.", unit="none"))


def _rollout(page: Dashboard) -> None:
    page.with_row(Row("Rollout"))
    weight = by_release(f"max by (release) (stagecoach_gateway_weight{_OF})")
    words = "Of 100 requests so many are to go to it."
    page.with_panel(lines("Weight by release", words, (weight, "{{short}}"), unit="percent", stacked=True))
    requests = by_release(f"release:stagecoach_gateway_requests:rate5m{_OF}")
    words = "A second, as they came. Sessions stay where they were, so this follows the weight slowly."
    page.with_panel(lines("Requests by release", words, (requests, "{{short}}"), unit="reqps", stacked=True))
    revision = (f"stagecoach_gateway_routes_revision{_OF}", "{{pod}}")
    page.with_panel(lines("Revision of routes by gateway", "All have the same but for moments.", revision, unit="none"))


def _quality(page: Dashboard) -> None:
    page.with_row(Row("Quality"))
    rating = (
        f"sum by (release) (increase(stagecoach_gateway_rating_sum{_OF}[{_RARE}]))"
        f" / (sum by (release) (increase(stagecoach_gateway_rating_count{_OF}[{_RARE}])) > 0)"
    )
    words = "From 0 to 1, the mean of an hour's feedback that has one."
    page.with_panel(lines("Rating by release", words, (by_release(rating), "{{short}}"), unit="percentunit"))
    words = "An hour's. Few may be too few to tell releases apart."
    page.with_panel(lines("Feedback by release", words, (by_release(_hourly("feedback")), "{{short}}")))
    violations = _share("errors", 'code="contract_violation"')
    words = (
        "Answers that did not fulfil the output schema, clients that left before the end, and what a fallback answered."
    )
    page.with_panel(
        lines(
            "Answers that were of no use, by release",
            words,
            (by_release(violations), "{{short}} contract_violation"),
            (by_release(_share("abandoned")), "{{short}} abandoned"),
            (by_release(_share("fallbacks")), "{{short}} fallback"),
            unit="percentunit",
        )
    )


def _hourly(counter: str) -> str:
    return f"sum by (release) (increase(stagecoach_gateway_{counter}_total{_OF}[{_RARE}]))"


def _share(counter: str, which: str = "") -> str:
    chosen = f"{{{CHOSEN}, {which}}}" if which else _OF
    counted = f"sum by (release) (rate(stagecoach_gateway_{counter}_total{chosen}[5m]))"
    return f"{counted} / (sum by (release) (release:stagecoach_gateway_requests:rate5m{_OF}) > 0)"


def _latency(page: Dashboard) -> None:
    page.with_row(Row("Latency"))
    for title, name, words in (
        ("Until the end of an answer", "latency", "Of answers without an error, by release."),
        ("Until a stream's first part", "first_token", "By release. Requests that are no streams have none."),
    ):
        for quantile, called in (("p50", "Half of them"), ("p99", "All but one of 100")):
            series = by_release(f"release:stagecoach_gateway_{name}_seconds:{quantile}_5m{_OF}")
            page.with_panel(
                lines(f"{title}: {quantile}", f"{called}. {words}", (series, "{{short}}"), unit="s", span=6)
            )


def _errors(page: Dashboard) -> None:
    page.with_row(Row("Errors"))
    codes = f"sum by (code) (release:stagecoach_gateway_errors:rate5m{_OF})"
    words = "A second. docs/gateway.md says what each code means, and whose error it is."
    page.with_panel(lines("Errors by code", words, (codes, "{{code}}"), span=12, stacked=True))
    failures = by_release(f"release:stagecoach_gateway_failures:ratio5m{_OF}")
    words = "Share of its requests that failed by our fault: what ends a rollout."
    page.with_panel(lines("Failures by release", words, (failures, "{{short}}"), unit="percentunit", span=12))


def _cost(page: Dashboard) -> None:
    page.with_row(Row("Tokens and cost"))
    read, written = (
        by_release(f"sum by (release) (rate(stagecoach_gateway_{which}_tokens_total{_OF}[5m]))")
        for which in ("prompt", "completion")
    )
    words = "A second, as engines count them."
    page.with_panel(lines("Tokens by release", words, (read, "{{short}} read"), (written, "{{short}} written")))
    cost = f"{_ENGINES_UP} * $price"
    tokens = " + ".join(
        f"sum(increase(stagecoach_gateway_{which}_tokens_total{_OF}[{_RARE}]))" for which in ("prompt", "completion")
    )
    hourly = f"avg_over_time(({_ENGINES_UP})[{_RARE}:1m]) * $price"
    words = "Pods of engines that are up, times the price above: of an hour, and of each 1000 tokens of the last hour."
    page.with_panel(lines("Cost", words, (cost, "an hour"), (f"1000 * {hourly} / (({tokens}) > 0)", "1000 tokens")))
    running, waiting = (f"sum(vllm:num_requests_{state}{_OF})" for state in ("running", "waiting"))
    cache = f"max(vllm:kv_cache_usage_perc{_OF})"
    words = "Requests that engines answer, and that wait; the cache of the fullest. More replicas help when they wait."
    page.with_panel(
        lines("Engines", words, (running, "running"), (waiting, "waiting"), (f"100 * {cache}", "cache, percent"))
    )
