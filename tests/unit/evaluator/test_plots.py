"""The page's pictures of numbers that were counted by hand: each number is read back from where it is drawn."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("jinja2", reason="needs the evaluator's libraries: runs inside its image")

from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluation_report import Estimate
from stagecoach.contract.evaluations import SuiteType
from stagecoach_evaluator import plots
from stagecoach_evaluator.report import HTML, render
from stagecoach_evaluator.report_rows import Case

from .report_data import data, suite

LABELS = ("ask", "buy")
# expected, answered, and the probability of the answer
ROWS = [
    ("ask", "ask", 0.9),
    ("ask", "ask", 0.9),
    ("ask", "ask", 0.9),
    ("ask", "buy", 0.6),
    ("buy", "buy", 0.9),
    ("buy", "buy", 0.6),
    ("buy", "ask", 0.6),
    ("buy", "ask", 0.6),
]


def answer(row: int, label: str, sure: float) -> Answer:
    return Answer(row=row, label=label, scores=tuple(sure if each == label else 1 - sure for each in LABELS))


@pytest.fixture(scope="module")
def page() -> str:
    cases = [Case(f"test.csv:{row}", "text", expected) for row, (expected, _, _) in enumerate(ROWS)]
    said = [answer(row, answered, sure) for row, (_, answered, sure) in enumerate(ROWS)]
    one = suite("test", SuiteType.HELD_OUT, cases, said)
    return render(data([one], [], [], labels=LABELS))[HTML].decode()


def picture(page: str, kind: str) -> Any:
    [found] = re.findall(rf'<svg class="{kind}".*?</svg>', page, re.DOTALL)
    return ElementTree.fromstring(found)  # noqa: S314 - our own


def of(top: Any, name: str, *kinds: str) -> list[Any]:
    """Return the elements of these classes."""
    return [each for each in top.iter(name) if not kinds or each.get("class") in kinds]


def numbers(element: Any, *names: str) -> list[float]:
    return [float(element.get(name)) for name in names]


def test_a_cell_of_the_confusion_matrix_is_where_its_labels_are_and_has_its_count(page: str) -> None:
    top = picture(page, "confusion")
    [field] = of(top, "rect", "field")
    left, upper, side = numbers(field, "x", "y", "width")
    size = side / len(LABELS)
    names = [each.text for each in of(top, "text", "name")]
    assert names == ["ask", "ask", "buy", "buy"], "of a row, and of its column"

    def place(element: Any) -> tuple[str, str]:
        x, y = numbers(element, "x", "y")
        return LABELS[int((y - upper) / size)], LABELS[int((x - left) / size)]

    drawn = {place(each): each for each in of(top, "rect", "hit", "miss")}
    assert {at: each.find("title").text for at, each in drawn.items()} == {
        ("ask", "ask"): "ask answered as ask: 3 of 4 (75\u00a0%)",
        ("ask", "buy"): "ask answered as buy: 1 of 4 (25\u00a0%)",
        ("buy", "ask"): "buy answered as ask: 2 of 4 (50\u00a0%)",
        ("buy", "buy"): "buy answered as buy: 2 of 4 (50\u00a0%)",
    }
    assert {at for at, each in drawn.items() if each.get("class") == "hit"} == {(each, each) for each in LABELS}
    counts = {place(each): each.text for each in of(top, "text", "count", "count strong")}
    assert counts == {("ask", "ask"): "3", ("ask", "buy"): "1", ("buy", "ask"): "2", ("buy", "buy"): "2"}
    strength = {at: float(each.get("fill-opacity")) for at, each in drawn.items()}
    assert strength["ask", "ask"] > strength["buy", "buy"]
    assert strength["buy", "ask"] > strength["ask", "buy"]


def test_a_label_has_its_numbers_and_a_bar_of_that_length(page: str) -> None:
    found = {}
    for row in re.findall(r"<tr><th scope=\"row\">.*?</tr>", page, re.DOTALL):
        if "meter" in row:
            width = re.search(r'class="part" width="([\d.]+)"', row)
            assert width
            values = re.findall(r'<td class="number">(.*?)</td>', row)
            name = re.sub(r"<.*?>", "", re.findall(r"<th.*?</th>", row)[0])
            found[name] = (*values, width[1])
    # expected, answered, precision, recall, F1
    assert found == {
        "ask": ("4", "5", "0.600", "0.750", "0.667", "66.7"),
        "buy": ("4", "3", "0.667", "0.500", "0.571", "57.1"),
    }


def test_a_point_of_the_reliability_is_where_its_probability_and_its_share_are(page: str) -> None:
    top = picture(page, "reliability")
    assert top.get("aria-label") == "Reliability: calibration error 0.225 over 8 rows"
    [ideal] = of(top, "line", "ideal")
    left, right, bottom, upper = numbers(ideal, "x1", "x2", "y1", "y2")

    def share(x: float, y: float) -> tuple[float, float]:
        return round((x - left) / (right - left), 3), round((bottom - y) / (bottom - upper), 3)

    dots = of(top, "circle", "now")
    assert [share(*numbers(each, "cx", "cy")) for each in dots] == [(0.6, 0.25), (0.9, 1)]
    assert [each.find("title").text for each in dots] == [
        "4 rows: said 60\u00a0%, right 25\u00a0%",
        "4 rows: said 90\u00a0%, right 100\u00a0%",
    ]
    [curve] = of(top, "polyline", "line now")
    points = [tuple(map(float, point.split(","))) for point in curve.get("points").split()]
    assert [share(*point) for point in points] == [(0.6, 0.25), (0.9, 1)]
    # Wilson's intervals of 1 and of 4 in 4 rows.
    bars = [
        share(float(each.get("x1")), float(each.get(end)))
        for each in of(top, "line", "bar now")
        for end in ("y1", "y2")
    ]
    assert [y for _, y in bars] == pytest.approx([0.046, 0.699, 0.51, 1.0], abs=0.002)


@pytest.mark.parametrize(("value", "passes"), [(0.85, True), (0.75, False)])
def test_what_decides_is_on_its_side_of_the_bound(value: float, passes: bool) -> None:
    estimate = Estimate(value=value, low=value - 0.02, high=value + 0.03)
    top = ElementTree.fromstring(plots.against(estimate, 0.8, outcome="passed", title="it"))  # noqa: S314
    [limit], [dot], [bar] = of(top, "line", "limit"), of(top, "circle", "now"), of(top, "line", "bar now")
    [at], [bound], [low, high] = numbers(dot, "cx"), numbers(limit, "x1"), numbers(bar, "x1", "x2")
    assert (at > bound) is passes
    assert (at - low) / (high - low) == pytest.approx(2 / 5, abs=0.01)
    assert [each.text for each in of(top, "text")] == ["passes ≥ 0.8"]


def test_candidate_and_base_are_on_one_scale() -> None:
    both = Estimate(value=0.8, low=0.7, high=0.9), Estimate(value=0.5, low=0.4, high=0.7)
    top = ElementTree.fromstring(plots.pair(*both, (0.0, 1.0), "it", 0.1))  # noqa: S314
    grid = [numbers(each, "x1")[0] for each in of(top, "line", "grid")]
    assert len(grid) == 11, "a line at each tenth"
    [dot], [base] = of(top, "circle", "now"), of(top, "path", "before")
    assert numbers(dot, "cx")[0] == pytest.approx(grid[8], abs=0.01)
    assert float(base.get("d").split()[0].removeprefix("M")) == pytest.approx(grid[5], abs=0.01)
    ends = [numbers(each, "x1", "x2") for each in of(top, "line", "bar before", "bar now")]
    assert ends == [pytest.approx([grid[4], grid[7]], abs=0.01), pytest.approx([grid[7], grid[9]], abs=0.01)]
