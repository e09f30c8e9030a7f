"""The page's pictures: SVG that takes its colours from the page, in light and dark, and says in words what it shows.

They are written rather than drawn by a library, whose colours are fixed, and which takes a hundred times the bytes.
"""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

from stagecoach.contract.evaluation_report import Bin, Confusion, Estimate, Reliability
from stagecoach_evaluator.phrases import bound, figure, percent, visible

Domain = tuple[float, float]


def _svg(width: float, height: float, title: str, kind: str) -> Element:
    size = {"viewBox": f"0 0 {_at(width)} {_at(height)}", "width": _at(width), "height": _at(height)}
    top = Element("svg", {"class": kind, "role": "img", "aria-label": title, **size})
    SubElement(top, "title").text = title
    return top


def _put(parent: Element, name: str, kind: str, **places: float | str) -> Element:
    attributes = {
        key.replace("_", "-"): value if isinstance(value, str) else _at(value) for key, value in places.items()
    }
    return SubElement(parent, name, {"class": kind, **attributes})


def _write(parent: Element, text: str, kind: str, **places: float | str) -> None:
    _put(parent, "text", kind, **places).text = visible(text)


def _at(value: float) -> str:
    """Return a length: the same text whatever the last digits of the number."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _done(top: Element) -> Markup:
    # Made of elements, which escape what they hold.
    return Markup(tostring(top, encoding="unicode"))  # noqa: S704


class Scale:
    """From numbers to places on a line."""

    def __init__(self, domain: Domain, start: float, end: float) -> None:
        self.domain, self.start, self.end = domain, start, end

    def __call__(self, value: float) -> float:
        """Return the place; that of the nearer end for what lies outside."""
        low, high = self.domain
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + (self.end - self.start) * min(1.0, max(0.0, share))


WIDTH, HEIGHT = 240.0, 46.0


def against(decides: Estimate, threshold: float, *, outcome: str, title: str) -> Markup:
    """Return what decides a criterion, with its interval, and from where on it passes."""
    ends = [value for value in (decides.value, decides.low, decides.high, threshold) if value is not None]
    pad = 0.15 * ((max(ends) - min(ends)) or max(abs(threshold) * 0.1, 0.01))
    scale = Scale((min(ends) - pad, max(ends) + pad), 6, WIDTH - 6)
    limit, middle = scale(threshold), 16.0
    top = _svg(WIDTH, HEIGHT, title, f"interval {outcome}")
    _put(top, "rect", "side", x=limit, y=4, width=max(WIDTH - 6 - limit, 0), height=24, rx=3)
    _put(top, "line", "axis", x1=6, x2=WIDTH - 6, y1=28, y2=28)
    _put(top, "line", "limit", x1=limit, x2=limit, y1=2, y2=32)
    _whisker(top, decides, scale, middle, "now")
    _put(top, "circle", "now", cx=scale(decides.value), cy=middle, r=5)
    anchor = "start" if limit < WIDTH * 0.25 else "end" if limit > WIDTH * 0.75 else "middle"
    _write(top, f"passes ≥ {bound(threshold)}", "tick", x=limit, y=43, text_anchor=anchor)
    return _done(top)


def _whisker(top: Element, estimate: Estimate, scale: Scale, middle: float, kind: str) -> None:
    if estimate.low is None or estimate.high is None:
        return
    low, high = scale(estimate.low), scale(estimate.high)
    _put(top, "line", f"bar {kind}", x1=low, x2=high, y1=middle, y2=middle)
    for end in (low, high):
        _put(top, "line", f"end {kind}", x1=end, x2=end, y1=middle - 5, y2=middle + 5)


def pair(candidate: Estimate | None, other: Estimate | None, domain: Domain, title: str, step: float) -> Markup:
    """Return candidate and what it is compared with on the table's common scale, which has a line at every step."""
    top = _svg(200, 34, title, "pair")
    scale = Scale(domain, 6, 194)
    for number in range(round((domain[1] - domain[0]) / step) + 1):
        place = scale(domain[0] + number * step)
        _put(top, "line", "grid", x1=place, x2=place, y1=0, y2=34)
    if other:
        _whisker(top, other, scale, 25, "before")
        place = scale(other.value)
        _put(top, "path", "before", d=f"M{_at(place)} 20.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z")
    if candidate:
        middle = 10.0 if other else 17.0
        _whisker(top, candidate, scale, middle, "now")
        _put(top, "circle", "now", cx=scale(candidate.value), cy=middle, r=4.5)
    return _done(top)


def confusion(matrix: Confusion) -> Markup:
    """Return the matrix of labels: rows what was expected, columns what was answered."""
    labels, many = matrix.labels, len(matrix.labels)
    size, font = (34.0, 12.0) if many <= 12 else (20.0, 10.0) if many <= 30 else (11.0, 9.0)
    names = [_short(label) for label in labels]
    gutter = max(84.0, max(map(len, names)) * font * 0.62 + 10)
    title = f"Confusion matrix of {many} labels. The most frequent mistakes are in the table beside it."
    top = _svg(gutter + many * size + 2, gutter + many * size + 2, title, "confusion")
    side = many * size
    _put(top, "rect", "field", x=gutter, y=gutter, width=side, height=side)
    _write(top, "answered →", "tick", x=gutter - 6, y=gutter - 22, text_anchor="end")
    _write(top, "expected ↓", "tick", x=gutter - 6, y=gutter - 7, text_anchor="end")
    for place, name in enumerate(names):
        middle = gutter + (place + 0.5) * size
        line: dict[str, float | str] = {"font_size": font, "dominant_baseline": "central"}
        _write(top, name, "name", x=gutter - 5, y=middle, text_anchor="end", **line)
        _write(top, name, "name", x=0, y=0, transform=f"translate({_at(middle)} {_at(gutter - 5)}) rotate(-90)", **line)
    _cells(top, matrix, gutter, size, font)
    return _done(top)


def _cells(top: Element, matrix: Confusion, gutter: float, size: float, font: float) -> None:
    place = {label: number for number, label in enumerate(matrix.labels)}
    rows = dict.fromkeys(matrix.labels, 0)
    for cell in matrix.cells:
        rows[cell.expected] += cell.count
    for cell in matrix.cells:
        share = cell.count / rows[cell.expected]
        kind = "hit" if cell.expected == cell.answered else "miss"
        x, y = gutter + place[cell.answered] * size, gutter + place[cell.expected] * size
        gap = 1.0 if size > 15 else 0.5
        box = _put(
            top,
            "rect",
            kind,
            x=x + gap,
            y=y + gap,
            width=size - 2 * gap,
            height=size - 2 * gap,
            # By the root: single mistakes are to be seen.
            fill_opacity=0.15 + 0.85 * (share if kind == "hit" else share**0.5),
        )
        said = (
            f"{cell.expected} answered as {cell.answered}: {cell.count:,} of {rows[cell.expected]:,} ({percent(share)})"
        )
        SubElement(box, "title").text = visible(said)
        if size > 15:
            kind = "count strong" if share > (0.5 if kind == "hit" else 0.25) else "count"
            line: dict[str, float | str] = {"font_size": font - 1, "dominant_baseline": "central"}
            _write(top, f"{cell.count}", kind, x=x + size / 2, y=y + size / 2, text_anchor="middle", **line)


def _short(label: str, most: int = 22) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"


SIDE = 260.0


def reliability(candidate: Reliability, other: Reliability | None, who: str) -> Markup:
    """Return how often answers are right, by the probability that the model gave them: beside what is compared with."""
    title = f"Reliability: calibration error {figure(candidate.error)} over {candidate.rows:,} rows"
    if other:
        title += f"; of the {who} {figure(other.error)}"
    top = _svg(SIDE + 90, SIDE + 54, title, "reliability")
    across, up = Scale((0, 1), 62, 62 + SIDE), Scale((0, 1), 8 + SIDE, 8)
    for tenth in range(0, 11, 2):
        share = tenth / 10
        _put(top, "line", "grid", x1=across(share), x2=across(share), y1=up(0), y2=up(1))
        _put(top, "line", "grid", x1=across(0), x2=across(1), y1=up(share), y2=up(share))
        _write(top, percent(share), "tick", x=across(share), y=up(0) + 16, text_anchor="middle")
        _write(top, percent(share), "tick", x=across(0) - 8, y=up(share) + 4, text_anchor="end")
    _put(top, "line", "ideal", x1=across(0), x2=across(1), y1=up(0), y2=up(1))
    if other:
        _curve(top, other.bins, across, up, "before")
    _curve(top, candidate.bins, across, up, "now")
    _write(top, "probability that the model gave", "tick", x=across(0.5), y=up(0) + 36, text_anchor="middle")
    _write(
        top,
        "share that is right",
        "tick",
        x=0,
        y=0,
        transform=f"translate(12 {_at(up(0.5))}) rotate(-90)",
        text_anchor="middle",
    )
    return _done(top)


def _curve(top: Element, bins: Sequence[Bin], across: Scale, up: Scale, kind: str) -> None:
    points = " ".join(f"{_at(across(item.confidence))},{_at(up(item.accuracy))}" for item in bins)
    _put(top, "polyline", f"line {kind}", points=points)
    most = max(item.rows for item in bins)
    for item in bins:
        x = across(item.confidence)
        _put(top, "line", f"bar {kind}", x1=x, x2=x, y1=up(item.accuracy_low), y2=up(item.accuracy_high))
        dot = _put(top, "circle", kind, cx=x, cy=up(item.accuracy), r=2.5 + 5 * (item.rows / most) ** 0.5)
        said = f"{item.rows:,} rows: said {percent(item.confidence)}, right {percent(item.accuracy)}"
        SubElement(dot, "title").text = said
