"""How an Evaluation and its rows look in a terminal, wide or narrow, in colour or not."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from stagecoach_plugin import evaluations
from stagecoach_plugin.evaluations import Line
from stagecoach_plugin.problems import Object
from stagecoach_plugin.texts import ago, number, plain, several, short
from stagecoach_plugin.texts import now as clock

# Below, texts of rows stand under each other: beside each other there would be a word on a line.
WIDE = 100
STYLES = {
    "Passed": "green",
    "Counted": "green",
    "Failed": "red",
    "Error": "red",
    "Inconclusive": "yellow",
    evaluations.AWAITING: "yellow",
}


def styled(word: str) -> Text:
    """Return a word of the API in its colour; the word alone says it, too."""
    return Text(plain(word), style=STYLES.get(word, ""))


def heading(text: str) -> Text:
    """Return the title of a part."""
    return Text(plain(text), style="bold")


def fields(pairs: Sequence[tuple[str, RenderableType]]) -> Table:
    """Return names and values under each other."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(plain(name), plain(value) if isinstance(value, str) else value)
    return table


def summary(evaluation: Object) -> Table:
    """Return what is judged, and what came of it so far."""
    spec, status = evaluation["spec"], evaluation.get("status", {})
    ready = evaluations.condition(evaluation)
    pairs: list[tuple[str, RenderableType]] = [
        ("Evaluation", f"{evaluation['metadata']['name']} (namespace {evaluation['metadata']['namespace']})"),
        ("Verdict", styled(evaluations.state(evaluation))),
    ]
    message = status.get("message") or ready.get("message")
    if message:
        pairs.append(("", plain(message)))
    pairs += [
        ("Gate", f"{spec['gate']}, of project {spec['project']}"),
        ("Run", spec["run"]) if spec.get("run") else ("Base", spec["base"]["candidate"]),
        ("Release", release_of(evaluation)),
    ]
    decided = status.get("completionTime")
    if decided:
        pairs.append(("Decided", f"{decided}, {ago(decided, clock())} ago"))
    return fields(pairs)


COLUMNS = ("Criterion", "Outcome", "Measured", "Beside", "Interval", "Threshold")
GAP = 2
CUT = "…"  # at the end of a text of which there is more
LEAST = 9  # of the first column: else the numbers stand under each other


def results(evaluation: Object, width: int) -> RenderableType:
    """Return the criteria with what was measured, interval beside threshold, and below each what it asks for."""
    found = evaluations.lines(evaluation)
    cells = [_cells(line) for line in found]
    based = any(row[3].plain for row in cells)
    kept = [place for place, name in enumerate(COLUMNS) if based or name != "Beside"]
    widths = [max(len(COLUMNS[place]), *(cell_len(row[place].plain) for row in cells)) for place in kept]
    # The criterion's name may be long, and takes what the others leave.
    left = width - sum(widths[1:]) - GAP * (len(widths) - 1)
    if left < LEAST:
        return Group(heading("Results"), *(_narrow(line) for line in found))
    widths[0] = min(widths[0], left)
    head = _row([Text(COLUMNS[place], style="dim") for place in kept], widths)
    parts: list[RenderableType] = [heading("Results"), head]
    for line, row in zip(found, cells, strict=True):
        below = "\n".join(filter(None, (line.asks, line.more)))
        parts += [_row([row[place] for place in kept], widths), Padding(Text(plain(below), style="dim"), (0, 0, 0, 4))]
    return Group(*parts)


def _narrow(line: Line) -> RenderableType:
    named = zip(COLUMNS[2:], (line.measured, line.beside, line.interval, line.threshold), strict=True)
    numbers = ", ".join(f"{name.lower()} {value}" for name, value in named if value)
    below = "\n".join(filter(None, (line.asks, numbers, line.more)))
    head = Text.assemble((plain(line.criterion), "bold"), "  ", styled(line.outcome))
    return Group(head, Padding(Text(plain(below), style="dim"), (0, 0, 0, 4)))


def _cells(line: Line) -> list[Text]:
    words = (line.measured, line.beside, line.interval, line.threshold)
    return [Text(plain(line.criterion), style="bold"), styled(line.outcome), *map(Text, words)]


def _row(cells: Sequence[Text], widths: Sequence[int]) -> Table:
    table = Table.grid(padding=(0, GAP, 0, 0))
    for wide in widths:
        table.add_column(width=wide, overflow="fold")
    table.add_row(*cells)
    return table


def evidence(evaluation: Object) -> Table:
    """Return how much the results are worth: rows, leakage, exposures; and where the whole page lies."""
    return fields([(name, value) for name, value in _evidence(evaluation, evaluation.get("status", {})) if value])


def _evidence(evaluation: Object, status: Object) -> Iterator[tuple[str, str]]:
    rows = status.get("rows")
    yield "Rows", f"{rows} of all suites" if rows is not None else ""
    yield "Leakage", _leakage(status)
    exposures = status.get("exposures")
    yield "Exposures", _exposures(exposures) if exposures else ""
    page = evaluations.page(evaluation)
    yield "Full report", f"{page}{_how_to_open(page)}" if page else "there is none yet"


def _leakage(status: Object) -> str:
    leaked = status.get("leaked")
    if leaked:
        return f"{several(leaked, 'row')} of the suites in the training data or the prompt: the report names them"
    if leaked == 0:
        return "no row of the suites is in the training data or the prompt"
    return "not known: nobody says what it was trained on" if status.get("rows") is not None else ""


def _exposures(releases: int) -> str:
    told = f"the suites' data have judged {several(releases, 'release')}, this one included"
    return f"{told}: the more, the less a pass is worth" if releases > 1 else told


def _how_to_open(page: str) -> str:
    if page.startswith("s3://"):
        return f"\n  aws s3 cp {page} ."
    if page.startswith("gs://"):
        return f"\n  gcloud storage cp {page} ."
    claim = page.removeprefix("pvc://").partition("/")[0]
    return f"\n  in the PersistentVolumeClaim {claim}: docs/evaluation-report.md has a pod that prints it"


def rows(evaluation: Object, width: int) -> RenderableType:
    """Return the rows that people read: what was asked, expected and answered."""
    shown = evaluations.review(evaluation).get("rows") or []
    title = heading(f"Rows to read ({len(shown)})")
    if not shown:
        return Group(title, Text("none are in the status; the full report has them", style="dim"))
    others = [name for name in ("baseline", "incumbent") if any(name in row for row in shown)]
    names = ["candidate", *others]
    hint = Text("= the same as expected, to the letter: not told of what is cut (…); – no answer", style="dim")
    body = _beside(shown, names) if width >= WIDE else Group(*_below(shown, names))
    return Group(title, hint, body)


def _beside(shown: Sequence[Object], names: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=True, expand=True)
    table.add_column("Row", overflow="fold", max_width=20)
    table.add_column("Input", overflow="fold", ratio=3)
    table.add_column("Expected", overflow="fold", ratio=2)
    for name in names:
        table.add_column(width=1)
        table.add_column(name.title(), overflow="fold", ratio=2)
    for row in shown:
        answers = (part for name in names for part in _answer(row, name))
        table.add_row(*(plain(row.get(name, "")) for name in ("row", "input", "expected")), *answers)
    return table


def _below(shown: Sequence[Object], names: Sequence[str]) -> Iterator[RenderableType]:
    for row in shown:
        yield Rule(f"row {plain(row.get('row', ''))}", align="left", style="dim")
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(width=1)
        table.add_column(overflow="fold")
        for name in ("input", "expected"):
            table.add_row(name, "", plain(row.get(name, "")))
        for name in names:
            table.add_row(name, *_answer(row, name))
        yield table


def _answer(row: Object, name: str) -> tuple[Text, Text]:
    """Return an answer, and before it what is said of it: in a column of its own, where no answer can write."""
    answer = row.get(name)
    if answer is None:
        return Text("–", style="red"), Text("no answer", style="red")
    same = answer == row.get("expected") and not answer.endswith(CUT)
    return Text("=" if same else "", style="green"), Text(plain(answer))


def review(evaluation: Object) -> RenderableType:
    """Return who may decide, how many it takes, and who has."""
    asked, told = evaluations.asked_review(evaluation), evaluations.review(evaluation)
    if not asked:
        return Text("")
    counted = evaluations.approvals(evaluation)
    needed = asked.get("approvals", 1)
    who = ", ".join(map(str, evaluations.reviewers(evaluation)))
    pairs: list[tuple[str, RenderableType]] = [
        ("Reviewers", who),
        ("Approvals", f"{len(counted)} of {needed}"),
        *(("", _approval(each)) for each in counted),
    ]
    rejected = told.get("rejected")
    if rejected:
        pairs.append(("Rejected", f"by {rejected.get('reviewer')}: {rejected.get('reason', '')}"))
    rubrics = evaluations.rubrics(evaluation)
    if rubrics:
        pairs.append(
            ("Scores", f"{', '.join(rubrics)}: each 1 to 5, on average at least {number(asked.get('minScore'))}")
        )
    return Group(heading("Review"), fields(pairs))


def _approval(counted: Object) -> str:
    member = f" as a member of {counted['as']}" if counted.get("as") else ""
    scores = ", ".join(f"{each['name']} {each['score']}" for each in counted.get("scores") or ())
    return f"{counted.get('reviewer')}{member}, {counted.get('at', '')}{f' ({scores})' if scores else ''}"


def show(console: Console, *parts: RenderableType) -> None:
    """Print parts with an empty line between two."""
    with console.capture() as captured:
        console.print(Group(*(Padding(part, (0, 0, 1, 0)) for part in parts)))
    # What fills lines up to the terminal's width would be in the way of grep and diff.
    for line in captured.get().removesuffix("\n").split("\n"):
        console.file.write(line.rstrip() + "\n")


def release_of(evaluation: Object) -> str:
    """Return the release as tables show it."""
    return short(evaluation["spec"]["release"]["digest"])


def whole(evaluation: Object, width: int) -> list[RenderableType]:
    """Return all that is known of an Evaluation, in the order in which it is read."""
    parts = [summary(evaluation), results(evaluation, width)]
    if evaluations.review(evaluation).get("rows"):
        parts.append(rows(evaluation, width))
    if evaluations.asked_review(evaluation):
        parts.append(review(evaluation))
    return [*parts, evidence(evaluation)]
