"""Numbers, times and rules in the words of the page."""

import math
import re
from collections.abc import Iterable
from datetime import UTC

from markupsafe import Markup, escape

from stagecoach.contract.evaluation_report import Estimate, Measured, SuiteReport, Told, Worst, WorstBy
from stagecoach.contract.evaluations import Criterion, Reference, SuiteType
from stagecoach.contract.metrics import usual
from stagecoach.contract.times import moment

MINUS = "−"
# Tasks whose answers are right in more than one wording.
WRITTEN = ("Generation", "Summarization", "Translation")
# Metrics that are counted to 100, not to 1.
HUNDREDS = {metric.name for task in WRITTEN for metric in usual(task) if metric.high > 1}
SUITES = {
    SuiteType.HELD_OUT: "Held out: rows like those of production, that no run has seen",
    SuiteType.ADVERSARIAL: "Adversarial: rows that are meant to be hard",
    SuiteType.CANARY: "Canary: a few rows that people know by heart",
}
WORST = {
    WorstBy.CONFIDENCE: "the surest first",
    WorstBy.CONFUSIONS: "the most frequent confusions first",
    WorstBy.OVERLAP: "those least like what was expected first",
    WorstBy.RANK: "those whose passage was found last first",
    WorstBy.ENTITIES: "those with the most entities missing or too many first",
}


def figure(value: float, metric: str = "") -> str:
    """Return a number as people compare it: three decimals, or two of a metric that is counted to 100."""
    text = f"{value:.{2 if metric in HUNDREDS else 3}f}"
    return text.replace("-", MINUS) if float(text) else text.removeprefix("-")


def bound(value: float) -> str:
    """Return a number that a person wrote, as it may have been written."""
    return f"{value:.10g}".replace("-", MINUS)


def signed(value: float, metric: str = "") -> str:
    """Return a difference, which has a sign."""
    text = figure(value, metric)
    return text if text.startswith(MINUS) or not any(digit in text for digit in "123456789") else f"+{text}"


def percent(share: float) -> str:
    """Return a share; never 100 % or 0 % of what is not."""
    rounded = round(share * 100)
    if rounded in (0, 100) and share not in (0, 1):
        return "<\u00a01\u00a0%" if share < 0.5 else ">\u00a099\u00a0%"
    return f"{rounded}\u00a0%"


def span(estimate: Estimate, metric: str = "", *, sign: bool = False) -> str:
    """Return an interval, or nothing where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    say = signed if sign else figure
    return f"{say(estimate.low, metric)} to {say(estimate.high, metric)}"


def duration(seconds: float) -> str:
    """Return a time span in the two units that matter."""
    whole = round(seconds)
    for size, name, smaller, other in ((3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name}" + (f" {rest} {other}" if rest else "")
    return f"{whole} s" if whole else "under a second"


def when(time: str) -> str:
    """Return a time as people write it."""
    return moment(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def rows(count: int) -> str:
    """Return so many rows."""
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def asks(criterion: Criterion) -> str:
    """Return what has to hold."""
    other = "the incumbent" if criterion.against is Reference.INCUMBENT else "the base"
    match criterion:
        case Criterion(min=float(value)):
            return f"at least {bound(value)}"
        case Criterion(min_gain=float(value)):
            return f"at least {bound(value)} above {other}"
        case Criterion(allowed_drop=float(value)):
            return f"no more than {bound(value)} below {other}" if value else f"no worse than {other}"
    raise ValueError(f"criterion {criterion.name}: it has no bound")


def held(criterion: Criterion) -> str:
    """Return what is held against the bound."""
    if criterion.against is None and criterion.confidence is None:
        return "by the value itself"
    what = "the value" if criterion.against is None else "the difference"
    return f"by {what}'s interval at {level(criterion.confidence or 0.95)}"


def level(confidence: float) -> str:
    """Return a confidence, of which 99.9 % is not 100 %."""
    return f"{confidence * 100:.10g}\u00a0%"


def verdict_on(difference: Estimate | None) -> tuple[str, str]:
    """Return whether a difference is one, in a word and the class by which it is coloured."""
    if difference is None or difference.low is None or difference.high is None:
        return "", ""
    if difference.low > 0:
        return "▲ better", "better"
    return ("▼ worse", "worse") if difference.high < 0 else ("● too close to tell", "close")


def weight(worst: Worst, row: Told) -> str:
    """Return why a row stands where it does."""
    value = row.weight or 0.0
    match worst.by:
        case WorstBy.CONFIDENCE:
            return f"{percent(value)} sure"
        case WorstBy.CONFUSIONS:
            return f"like {rows(round(value))} in all" if value > 1 else "once"
        case WorstBy.OVERLAP:
            return f"{percent(value)} alike"
        case WorstBy.RANK:
            return f"place {value:,.0f}"
    return f"{value:,.0f} missing or too many"


def enough(suite: SuiteReport) -> str:
    """Return at which confidence a worn-out data set would still tell, rounded to the safe side."""
    needed = 1 - 1 / suite.exposure.releases
    digits = max(3, math.ceil(-math.log10(1 - needed)) + 1)
    return f"{math.ceil(needed * 10**digits) / 10**digits:.10g}"


def shape(measured: Iterable[Measured]) -> dict[bool, tuple[float, float]]:
    """Return the scale that metrics are drawn on: by whether they are counted to 100, to the tenths around them."""
    found: dict[bool, tuple[float, float]] = {}
    for item in measured:
        for estimate in filter(None, (item.candidate, item.baseline, item.incumbent)):
            ends = [
                value / hundreds(item) for value in (estimate.value, estimate.low, estimate.high) if value is not None
            ]
            low, high = found.get(hundreds(item) > 1, (1.0, 0.0))
            found[hundreds(item) > 1] = (min(low, *ends), max(high, *ends))
    return {
        key: (math.floor(round(low * 10, 6)) / 10, math.ceil(round(high * 10, 6)) / 10)
        for key, (low, high) in found.items()
    }


def hundreds(measured: Measured) -> float:
    """Return what a metric is counted to."""
    return 100.0 if measured.metric in HUNDREDS else 1.0


# Control characters, which a page may not hold, and those that turn the letters after them round.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202d\u202e]")


def visible(text: str) -> str:
    """Return a text in which what would change how it looks can be seen itself."""
    return _UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def breakable(text: str) -> Markup:
    """Return a text as it goes into the page: a name may go on in the next line at its joints, a sentence at spaces."""
    made = str(escape(visible(text)))
    # Escaped first; what is put in then holds nothing of the text.
    return Markup(made if any(letter.isspace() for letter in text) else _JOINT.sub(r"\1<wbr>", made))  # noqa: S704


_JOINT = re.compile(r"([_/:@])(?=\w)")
