"""What is printed, at the widths of terminals."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from stagecoach_plugin import screen
from tests.unit.plugin import samples

WIDTHS = (40, 60, 80, 120)


def printed(evaluation: samples.Object, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    screen.show(console, *screen.whole(evaluation, width))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_terminal_and_nothing_is_cut(width: int) -> None:
    text = printed(samples.awaiting(samples.NAME, samples.FIRST), width)
    assert [line for line in text.splitlines() if cell_len(line) > width] == []
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    joined = "".join(text.split())
    for words in (samples.NAME, "AwaitingReview", "f5aadf0949ff", "support-desk-lora", "-0.012…+0.0911", "≥+0.05"):
        assert words in joined
    for row in samples.ROWS:
        assert "".join(row["expected"].split()) in joined
    assert "mlleads" not in joined


def test_a_narrow_terminal_has_texts_under_each_other_and_a_wide_one_beside() -> None:
    narrow, wide = (printed(samples.awaiting(), width) for width in (80, 120))
    assert "row canary, row 1 ───" in narrow
    assert "expected      card_arrival\ncandidate  =  card_arrival\nbaseline      lost_card\n" in narrow
    [first] = [line for line in wide.splitlines() if line.startswith(" canary, row 1")]
    assert first.split("  ")[-1].strip() == "lost_card"
    assert " =   card_arrival " in first


def test_results_are_a_table_with_what_each_asks_for() -> None:
    text = printed(samples.awaiting(), 80)
    assert (
        "Criterion  Outcome       Measured  Beside  Interval          Threshold\n"
        "good       Passed        0.9137            0.8811 … 0.9424   ≥ 0.8\n"
        "    f1_macro on held-out: at least 0.8\n"
    ) in text
    assert "no-worse   Passed        0.92      0.7133  +0.1533 … +0.26   ≥ -0.03\n" in text


def test_without_a_comparison_there_is_no_base() -> None:
    criteria = [{"name": "good", "suite": "held-out", "metric": "f1_macro", "min": 0.8}]
    assert "Beside" not in printed(samples.evaluation(spec={"criteria": criteria}, phase="Running"), 80)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_a_model_wrote_is_neither_obeyed_nor_markup(width: int) -> None:
    text = printed(samples.awaiting(), width)
    joined = "".join(text.split())
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[U+001B][2J[U+001B][31mSay[bold]approved[/bold]:smile:[U+202E]abc" in joined.replace("─", "")


REJECTED = {"reviewer": "lead@example.com", "reason": "rude", "at": samples.AT, "name": "lead-1", "uid": "u2"}


@pytest.mark.parametrize("width", WIDTHS)
def test_no_field_can_make_a_terminal_obey_or_begin_a_line(width: int) -> None:
    evaluation = samples.awaiting(samples.NAME, samples.FIRST | {"as": "ml-leads"})
    evaluation["status"]["review"]["rejected"] = REJECTED
    evaluation["status"] |= {"message": "Good.", "completionTime": samples.AT}
    assert samples.harmless(printed(samples.poisoned(evaluation), width))


def rows_of(*rows: samples.Object) -> samples.Object:
    evaluation = samples.awaiting()
    evaluation["status"]["review"]["rows"] = list(rows)
    return evaluation


ANSWERS = [
    ("the same", "b", "b", "=", "b"),
    ("space at the end", "b", "b ", "", "b"),
    ("another line", "b", "b\n", "", "b"),
    ("the mark itself", "b", "= b", "", "= b"),
    ("both are the mark", "= b", "= b", "=", "= b"),
    ("both are cut", "b…", "b…", "", "b…"),
    ("none", "b", None, "–", "no answer"),
    ("the words for none", "b", "no answer", "", "no answer"),
    ("the mark and the words for none", "b", "–  no answer", "", "–  no answer"),
    ("all that is empty", "", "", "=", ""),
]


@pytest.mark.parametrize(
    ("expected", "answer", "mark", "shown"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS]
)
def test_what_is_said_of_an_answer_stands_where_no_answer_can(
    expected: str, answer: str | None, mark: str, shown: str
) -> None:
    row = {"row": "canary, row 1", "input": "a", "expected": expected}
    row |= {} if answer is None else {"candidate": answer}
    narrow = printed(rows_of(row), 80).splitlines()
    [line] = [line for line in narrow if line.startswith("candidate")]
    assert line == f"candidate  {mark or ' '}  {shown}".rstrip()
    lines = printed(rows_of(row), 120).splitlines()
    [head] = [line for line in lines if "Candidate" in line]
    [line] = [line for line in lines if line.startswith(" canary, row 1")]
    place = head.index("Candidate")
    assert (line[place - 4 : place].strip(), line[place:].strip()) == (mark, shown)


def test_an_answer_of_many_lines_stays_in_its_column() -> None:
    answer = "b\nbaseline   =  c\n\nrow canary, row 2 ───"
    text = printed(rows_of({"row": "canary, row 1", "input": "a", "expected": "c", "candidate": answer}), 80)
    assert [line for line in text.splitlines() if line.startswith(("baseline", "row canary, row 2"))] == []
    assert "\n              baseline   =  c\n" in text


def test_an_answer_that_is_missing_is_said() -> None:
    assert "candidate  –  no answer\nbaseline   =  other\n" in printed(samples.awaiting(), 80)


def test_without_a_baseline_there_is_no_column_for_it() -> None:
    rows = [{"row": "canary, row 1", "input": "a", "expected": "b", "candidate": "c"}]
    evaluation = samples.awaiting()
    evaluation["status"]["review"]["rows"] = rows
    assert "Baseline" not in printed(evaluation, 120)
    assert "baseline" not in printed(evaluation, 80)


def test_what_is_served_has_a_column_where_it_is_compared_with() -> None:
    rows = [{"row": "canary, row 1", "input": "a", "expected": "b", "candidate": "c", "incumbent": "b"}]
    evaluation = samples.awaiting()
    evaluation["status"]["review"]["rows"] = rows
    assert "Incumbent" in printed(evaluation, 120)
    assert "candidate     c\nincumbent  =  b\n" in printed(evaluation, 80)


def test_who_may_decide_and_who_has() -> None:
    text = printed(samples.awaiting(samples.NAME, samples.FIRST | {"as": "ml-leads"}), 80)
    assert "Reviewers  qa@example.com, a member of ml-leads\n" in text
    assert "Approvals  1 of 2\n           qa@example.com as a member of ml-leads, 2026-03-01T11:57:00Z" in text
    assert "(fluency 5, accuracy 4)" in " ".join(text.split())
    assert "each 1 to 5, on average at least 4" in text


def test_who_rejected() -> None:
    evaluation = samples.decided("Failed", "Rejected", "lead@example.com rejects it: rude.")
    evaluation["spec"]["review"] = samples.REVIEW
    evaluation["status"]["review"] = {
        "asked": samples.CREATED,
        "rows": [],
        "rejected": {"reviewer": "lead@example.com", "reason": "rude"},
    }
    assert "Rejected   by lead@example.com: rude\n" in printed(evaluation, 80)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"leaked": 0}, "no row of the suites is in the training data or the prompt"),
        ({"leaked": 1}, "1 row of the suites in the training data or the prompt: the report names them"),
        ({"leaked": 2}, "2 rows of the suites in the training data or the prompt"),
        ({"leaked": None}, "not known: nobody says what it was trained on"),
        ({"exposures": 1}, "have judged 1 release, this one included\n"),
        ({"exposures": 30}, "have judged 30 releases, this one included: the more, the less a pass is worth\n"),
        ({"report": {"uri": "s3://bucket/x"}}, "aws s3 cp s3://bucket/x/report.html ."),
        ({"report": {"uri": "gs://bucket/x"}}, "gcloud storage cp gs://bucket/x/report.html ."),
        (
            {"report": {"uri": "pvc://store/x"}},
            "in the PersistentVolumeClaim store: docs/evaluation-report.md has a pod",
        ),
        ({"report": None}, "Full report  there is none yet"),
    ],
)
def test_what_it_is_worth_and_where_the_page_is(changes: samples.Object, words: str) -> None:
    assert words in printed(samples.decided("Passed", "Passed", "Good.", **changes), 120)


def test_what_was_not_looked_at_yet() -> None:
    text = printed(samples.evaluation(), 80)
    assert "Verdict     New\n" in text
    assert "Rows to read" not in text
    assert "Review" not in text


def test_long_names_of_criteria_take_what_is_left() -> None:
    criteria = [{"name": "c" * 50, "suite": "held-out", "metric": "f1_macro", "min": 0.8}]
    results = [{"criterion": "c" * 50, "outcome": "Failed", "value": 0.1, "low": 0.0, "high": 0.2, "scored": 9}]
    text = printed(samples.evaluation(spec={"criteria": criteria}, phase="Decided", results=results), 80)
    assert "".join(text.split()).count("c" * 20) >= 1
    assert max(map(cell_len, text.splitlines())) <= 80
