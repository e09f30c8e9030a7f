"""What a result and a verdict say to people: the field, the numbers, and what to do."""

from collections.abc import Mapping, Sequence

from stagecoach.contract.evaluations import Criterion, Reference, WhenAbsent
from stagecoach.contract.reports import Problem
from stagecoach.contract.verdicts import CriterionResult, Outcome, Verdict
from stagecoach_evaluator.intervals import Undefined
from stagecoach_evaluator.measured import Counted

_REFERENCE = {Reference.BASELINE: "baseline", Reference.INCUMBENT: "incumbent"}
_MAX_RESULT, _MAX_VERDICT = 300, 700
_NAMED, _MAX_PLACE = 3, 60
NOTHING_DECIDES = "criteria: none of them decides. Give the gate a criterion that is not advisory."
TRAINING_UNKNOWN = (
    "it is not known what the release was trained on, so that rows of the suites may be in it."
    " Say in the run's import what it was trained on (trainedOn)."
)


def leaked(suite: str, places: Sequence[str]) -> str:
    """Return what it means that rows were in the training data; some of them are named."""
    are = "row is" if len(places) == 1 else "rows are"
    return (
        f"suites[{suite}]: {len(places)} {are} in the training data too ({_places(places)}), and what was"
        " learned by heart shows nothing. See them in the report, and remove them from the one data set or the other."
    )


def shown(suite: str, places: Mapping[str, str]) -> str:
    """Return what it means that rows stand in the prompt; some of them are named."""
    are = "row is" if len(places) == 1 else "rows are"
    parts = " and ".join(dict.fromkeys(places.values()))
    return (
        f"suites[{suite}]: {len(places)} {are} in {parts} ({_places(list(places))}), where every question shows them."
        " See them in the report, and remove them from the suite, or from a new version of the prompt."
    )


def _places(places: Sequence[str]) -> str:
    return ", ".join([*(_cut(place, _MAX_PLACE) for place in places[:_NAMED]), *["…"] * (len(places) > _NAMED)])


def no_suite(suite: str) -> str:
    """Return that a suite was not measured."""
    return f"suites[{suite}]: it was not measured. Report this: no answer was asked for."


def too_few(suite: str, scored: int, rows: int, least: float) -> str:
    """Return that too few rows can be judged."""
    if not rows:
        return f"suites[{suite}]: it has no rows. Give its data set rows."
    return (
        f"suites[{suite}]: {scored} of {rows} rows can be judged, and minScored is {least:g}. See in the report why the"
        " others have no answer."
    )


def unanswered(criterion: Criterion, counted: Counted, least: float, label: str | None = None) -> tuple[str, str]:
    """Return why a criterion cannot be measured for want of answers, of a label if it is given, and what to do."""
    own = "" if label is None else f" with the label {_shown(label)}"
    alike = "" if label is None or criterion.label else ", all labels count alike"
    why = f"{counted.scored} of {counted.rows} rows{own} can be judged{alike}, and minScored is {least:g}."
    if criterion.against is None or not counted.silent:
        return why, "See in the report why the others have no answer."
    who = _REFERENCE[criterion.against]
    why = f"{why[:-1]}; the {who} has no answer to {counted.silent}."
    return why, f"See in the report why: correct these rows, or take criteria against the {who} out of the gate."


def absent(criterion: Criterion) -> str:
    """Return what it means that nothing is served that a criterion could compare with."""
    field = f"criteria[{criterion.name}].whenAbsent ({criterion.when_absent}): nothing is served yet to compare with"
    if criterion.when_absent is WhenAbsent.SKIP:
        return f"{field}, so it decides nothing."
    return f"{field}. Set it to Skip until something is, or have the gate named by a ModelDeployment that serves."


def error(criterion: Criterion, problem: Undefined) -> str:
    """Return why a criterion could not be measured."""
    of = f"{criterion.metric} of {_shown(criterion.label)}" if criterion.label else criterion.metric
    told = Problem.of("", problem.why, field=f"criteria[{criterion.name}]", value=of, remedy=problem.remedy)
    return _cut(told.sentence, _MAX_RESULT)


def result(
    criterion: Criterion,
    result: CriterionResult,
    decided: float,
    confidence: float | None,
    failing: float,
    repeated: int,
) -> str | None:
    """Return what came of a criterion that was measured; nothing of one that passed and needs no word."""
    field, bound = _bound(criterion)
    what = f"criteria[{criterion.name}].{field} ({bound:g}): {_number(criterion, result, decided)}"
    if result.outcome is Outcome.PASSED:
        return None if result.mcnemar is None else _cut(f"{what}{_test(result)}", _MAX_RESULT)
    if confidence is None:
        return _cut(f"{what}. {_remedy(criterion)}", _MAX_RESULT)
    between = f", {result.low:.4g} to {result.high:.4g} at confidence {confidence:g}{_test(result)}"
    if result.outcome is Outcome.FAILED:
        corrected = f" It fails at {failing:.4g}, too." if failing != confidence else ""
        return _cut(f"{what}{between}.{corrected} {_remedy(criterion)}", _MAX_RESULT)
    unsure = f"{_rows(result.scored, criterion)} do not tell{_repeated(repeated)}"
    return _cut(f"{what}{between}: {unsure}. {_more(criterion, result)}", _MAX_RESULT)


def _bound(criterion: Criterion) -> tuple[str, float]:
    named = {"min": criterion.min, "allowedDrop": criterion.allowed_drop}
    found = next(((name, value) for name, value in named.items() if value is not None), None)
    return found or ("minGain", criterion.min_gain or 0.0)


def _number(criterion: Criterion, result: CriterionResult, decided: float) -> str:
    of = f" of {_shown(criterion.label)}" if criterion.label else ""
    number = f"{criterion.metric}{of} in {criterion.suite} is {result.value:.4g}"
    if result.reference is None or criterion.against is None:
        return number
    return f"{number}, the {_REFERENCE[criterion.against]}'s {result.reference:.4g}: {decided:+.4g}"


def _test(result: CriterionResult) -> str:
    return "" if result.mcnemar is None else f" (McNemar's p {result.mcnemar:.2g})"


def _remedy(criterion: Criterion) -> str:
    milder = {"min": "lower min", "allowedDrop": "allow a larger drop", "minGain": "lower minGain"}
    return f"See the wrong answers in the report, and mend data or training, or {milder[_bound(criterion)[0]]}."


def _repeated(rows: int) -> str:
    return f" (of the suite {rows:,} more repeat others and are not counted)" if rows else ""


def _rows(count: int, criterion: Criterion) -> str:
    return f"{count:,} rows" if criterion.label is None else f"{count:,} rows of {_shown(criterion.label)}"


def _more(criterion: Criterion, result: CriterionResult) -> str:
    if result.needed is None:
        return "Move the bound: no number of rows tells so small a distance from it."
    return f"Give the suite about {_rows(result.needed, criterion)}, or move the bound further away."


def verdict(verdict: Verdict, results: Sequence[CriterionResult], beside: Sequence[str]) -> str:
    """Return the verdict in words; `beside` is what decides that is no criterion."""
    deciding = [each for each in results if not each.advisory and each.outcome is not Outcome.SKIPPED]
    bad = [each for each in deciding if each.outcome.value == verdict.value] if verdict is not Verdict.PASSED else []
    said = [*beside, *(each.message or "" for each in bad)]
    if verdict is Verdict.PASSED:
        head = f"All {len(deciding)} criteria are met." if len(deciding) > 1 else "The criterion is met."
        return _cut(f"{head}{_skipped(results)}{_advisory(results)}", _MAX_VERDICT)
    counted = _counted(verdict, bad, deciding)
    # As many reasons as fit: the results have all of them.
    text = counted
    for number, reason in enumerate(said):
        more = f" And {len(said) - number} more." if number else ""
        if len(f"{text} {reason}") > _MAX_VERDICT - 20 and number:
            return _cut(f"{text}{more}", _MAX_VERDICT)
        text = f"{text} {reason}".strip()
    return _cut(text, _MAX_VERDICT)


def _counted(verdict: Verdict, bad: Sequence[CriterionResult], deciding: Sequence[CriterionResult]) -> str:
    if not bad:
        return ""
    how = {Verdict.FAILED: "not met", Verdict.ERROR: "not measured", Verdict.INCONCLUSIVE: "not decided"}[verdict]
    return f"{len(bad)} of {len(deciding)} criteria {'is' if len(bad) == 1 else 'are'} {how}."


def _skipped(results: Sequence[CriterionResult]) -> str:
    names = [each.criterion for each in results if each.outcome is Outcome.SKIPPED]
    return f" Skipped, since nothing is served yet to compare with: {', '.join(names)}." if names else ""


def _advisory(results: Sequence[CriterionResult]) -> str:
    met = (Outcome.PASSED, Outcome.SKIPPED)
    missed = [each.criterion for each in results if each.advisory and each.outcome not in met]
    return f" Advisory, and not met: {', '.join(missed)}." if missed else ""


def _shown(label: str) -> str:
    return repr(label if len(label) <= 40 else f"{label[:39]}…")


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
