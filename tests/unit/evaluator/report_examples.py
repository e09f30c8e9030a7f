"""Evaluations to make reports of: drawn, with numbers of the size that real ones have."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluation_report import Estimate, Measured
from stagecoach.contract.evaluations import Criterion, Reference, Scored, SuiteType, WhenAbsent
from stagecoach.contract.jobs import Owner
from stagecoach.contract.verdicts import Verdict
from stagecoach_evaluator.report import Data
from stagecoach_evaluator.report_rows import Case
from tests.unit.contract.documents import PROMPT

from .report_data import HOSTILE, INTENTS, SUBJECT, answers, cases_of, data, drawn, measured, result, suite


def banking(rows: int = 3080, labels: Sequence[str] = INTENTS, *, scores: bool = True) -> Data:
    """Return an evaluation of intents with everything that a page can show, and whatever can go wrong."""
    draw = drawn(17)
    held = cases_of("test", labels, rows, draw)
    held[0] = replace(held[0], text=HOSTILE)
    hard = cases_of("hard", labels, 240, draw)
    canary = [replace(case, place=f"canary.jsonl:{row}") for row, case in enumerate(cases_of("c", labels, 12, draw), 1)]
    held_answers = answers(held, labels, 0.86, draw, scores=scores)
    for row, why in ((5, "the prompt is 141 tokens long, and maxLength is 96"), (9, "CUDA <b>out</b> of memory")):
        held_answers[row] = Answer(row=row, error=why)
    good = Criterion(name="good", suite="held-out", metric="f1_macro", min=0.80, confidence=0.95)
    card = Criterion(name="lost-card", suite="held-out", metric="recall", label="card_lost", min=0.95, confidence=0.95)
    no_worse = Criterion(
        name="no-worse", suite="hard", metric="accuracy", against=Reference.BASELINE, allowed_drop=0.02
    )
    worth = Criterion(name="worth-it", suite="held-out", metric="f1_macro", against=Reference.BASELINE, min_gain=0.05)
    auc = Criterion(name="auc", suite="held-out", metric="auc_roc", min=0.9, advisory=True)
    results = (
        result(good, "Passed", value=0.851, low=0.838, high=0.864, threshold=0.80),
        result(
            card,
            "Failed",
            value=0.872,
            low=0.805,
            high=0.922,
            threshold=0.95,
            message="Its recall of card_lost is 0.872, and min is 0.95. Train on more rows of this label, or look at the wrong answers below: most are taken for card_declined.",
        ),
        result(
            no_worse,
            "Inconclusive",
            value=0.646,
            reference=0.633,
            low=-0.031,
            high=0.057,
            threshold=-0.02,
            scored=240,
            needed=1450,
            message="The difference to the base is between -0.031 and 0.057, and allowedDrop is 0.02. Give the data set about 1,450 rows, or allow a larger drop.",
        ),
        result(worth, "Passed", value=0.851, reference=0.612, low=0.219, high=0.261, threshold=0.05, mcnemar=4.1e-31),
        result(
            auc,
            "Error",
            message="auc_roc needs the probability of every label, which a decoder does not give. Leave the criterion out.",
        ),
    )
    suites = (
        suite(
            "held-out",
            SuiteType.HELD_OUT,
            held,
            held_answers,
            baseline=answers(held, labels, 0.62, draw, scores=scores),
            metrics=(
                measured("accuracy", 0.856, 0.618, 0.0125),
                measured("f1_macro", 0.851, 0.612, 0.0130),
                measured("f1_weighted", 0.855, 0.617, 0.0126),
                measured("mcc", 0.853, 0.611, 0.0128),
                Measured(metric="auc_roc", message="The label refund_help has no row, so that it is undefined."),
                measured("recall", 0.872, 0.883, 0.045).model_copy(update={"label": "card_lost"}),
            ),
            scored=Scored(
                suite="held-out", rows=rows, scored=rows - 2, leaked=("test.csv:1", "test.csv:18"), leaked_rows=2
            ),
            exposures=23,
        ),
        suite(
            "hard",
            SuiteType.ADVERSARIAL,
            hard,
            answers(hard, labels, 0.65, draw),
            baseline=answers(hard, labels, 0.63, draw),
            metrics=(measured("accuracy", 0.646, 0.633, 0.055), measured("f1_macro", 0.631, 0.618, 0.06)),
        ),
        suite(
            "canary",
            SuiteType.CANARY,
            canary,
            answers(canary, labels, 0.8, draw),
            baseline=answers(canary, labels, 0.6, draw),
            metrics=(measured("accuracy", 0.833, 0.583, 0.2),),
        ),
    )
    return data(
        suites,
        (good, card, no_worse, worth, auc),
        results,
        labels=tuple(labels),
        verdict=Verdict.FAILED,
        message="lost-card failed: its recall of card_lost is 0.872, and min is 0.95; and two rows of held-out are in the training data (test.csv:1, test.csv:18).",
        exposures=23,
    )


def routing() -> Data:
    """Return a small evaluation that passed, of a few labels, without a baseline."""
    draw, labels = drawn(3), ("card_lost", "parcel_late", "refund", "other")
    held = cases_of("test", labels, 400, draw)
    good = Criterion(name="good", suite="held-out", metric="accuracy", min=0.9, confidence=0.95)
    one = suite(
        "held-out",
        SuiteType.HELD_OUT,
        held,
        answers(held, labels, 0.95, draw),
        metrics=(measured("accuracy", 0.948, None, 0.021), measured("f1_macro", 0.947, None, 0.022)),
    )
    passed = result(good, "Passed", value=0.948, low=0.927, high=0.969, threshold=0.9, scored=400)
    return data([one], [good], [passed], labels=labels, message="The one criterion passed.")


def summaries() -> Data:
    """Return an evaluation of texts that were written, in several scripts, which is not decided."""
    texts = [
        (
            "The committee met on Tuesday and discussed, for the better part of four hours, whether the harbour should be deepened. "
            * 4,
            "The committee discussed deepening the harbour.",
            "The committee met on Tuesday.",
        ),
        (
            "اجتمعت اللجنة يوم الثلاثاء وناقشت ما إذا كان ينبغي تعميق الميناء.",
            "ناقشت اللجنة تعميق الميناء.",
            "اجتمعت اللجنة.",
        ),
        ("委員会は火曜日に会合を開き、港を深くすべきかどうかを議論した。", "委員会は港の深さを議論した。", ""),
        (
            "Der Ausschuss beriet über die Hafenvertiefung.\n\nEr vertagte sich.",
            "Der Ausschuss vertagte sich.",
            "Der Ausschuss vertagte sich.",
        ),
        (HOSTILE, "nothing", HOSTILE),
    ]
    cases = [Case(f"news.jsonl:{row}", text, target) for row, (text, target, _) in enumerate(texts * 8, 1)]
    said = [Answer(row=row, text=text) for row, (*_, text) in enumerate(texts * 8)]
    base = [Answer(row=row, text=target[::-1]) for row, (_, target, _) in enumerate(texts * 8)]
    enough = Criterion(name="fluent", suite="news", metric="chrf", against=Reference.BASELINE, min_gain=2.0)
    metrics = (
        measured("bleu", 21.3, 19.9, 4.2, 100),
        measured("chrf", 44.8, 41.9, 3.1, 100),
        measured("rouge1", 0.412, 0.388, 0.04),
        measured("rougeL", 0.365, 0.341, 0.04),
        measured("exact_match", 0.2, 0.0, 0.12),
    )
    one = suite("news", SuiteType.HELD_OUT, cases, said, baseline=base, metrics=metrics)
    open_ = result(
        enough,
        "Inconclusive",
        value=44.8,
        reference=41.9,
        low=0.42,
        high=5.38,
        threshold=2.0,
        scored=40,
        needed=310,
        message="The difference to the base is between 0.42 and 5.38, and minGain is 2. Give the data set about 310 rows.",
    )
    return data(
        [one],
        [enough],
        [open_],
        task="Summarization",
        verdict=Verdict.INCONCLUSIVE,
        message="fluent could not be told from 40 rows: about 310 would tell, if the difference stays.",
    )


def names() -> Data:
    """Return an evaluation of tags."""
    draw = drawn(5)
    cases, said = [], []
    for row in range(60):
        tokens = ("Angela", "Merkel", "visited", "the", "port", "of", "Hamburg", "for", "Siemens")
        tags = ("B-PER", "I-PER", "O", "O", "O", "O", "B-LOC", "O", "B-ORG")
        other = tuple(tag if draw.random() < 0.9 else draw.choice(("O", "B-LOC", "B-ORG")) for tag in tags)
        cases.append(Case(f"ner.jsonl:{row + 1}", " ".join(tokens), " ".join(tags), tags, tokens))
        said.append(Answer(row=row, tags=other))
    good = Criterion(name="good", suite="ner", metric="seqeval_f1", min=0.85, confidence=0.95)
    failed = result(
        good,
        "Failed",
        value=0.741,
        low=0.69,
        high=0.79,
        threshold=0.85,
        scored=60,
        message="Its seqeval_f1 is at most 0.79, and min is 0.85.",
    )
    one = suite(
        "ner",
        SuiteType.HELD_OUT,
        cases,
        said,
        metrics=(measured("seqeval_f1", 0.741, None, 0.05), measured("accuracy", 0.91, None, 0.03)),
    )
    return data(
        [one],
        [good],
        [failed],
        task="TokenClassification",
        labels=("B-LOC", "B-ORG", "B-PER", "I-PER", "O"),
        verdict=Verdict.FAILED,
        message="good failed.",
    )


def passages() -> Data:
    """Return an evaluation of an embedding, of which not enough was answered."""
    draw = drawn(7)
    cases = [
        Case(f"faq.csv:{row + 1}", f"how do I reset thing {row}?", f"Thing {row} is reset in the settings.")
        for row in range(50)
    ]
    said = [Answer(row=row, rank=1 if draw.random() < 0.7 else draw.randrange(2, 50)) for row in range(50)]
    said[:20] = [Answer(row=row, error="the text is 300 tokens long, and maxLength is 96") for row in range(20)]
    found = Criterion(name="found", suite="faq", metric="recall_at_5", min=0.9)
    error = result(
        found,
        "Error",
        value=0.8,
        threshold=0.9,
        scored=30,
        message="30 of 50 rows were scored, and minScored is 0.99. Set overflow to Truncate, or shorten the texts.",
    )
    one = suite(
        "faq",
        SuiteType.HELD_OUT,
        cases,
        said,
        metrics=(measured("recall_at_5", 0.8, None, 0.14), measured("mrr", 0.76, None, 0.12)),
        scored=Scored(suite="faq", rows=50, scored=30),
    )
    return data(
        [one],
        [found],
        [error],
        task="Embedding",
        verdict=Verdict.ERROR,
        message="found could not be measured: 30 of 50 rows were scored.",
        inputs={"trained_on": None},
    )


def empty() -> Data:
    """Return an evaluation by a data set that has no rows."""
    good = Criterion(name="good", suite="held-out", metric="accuracy", min=0.9)
    one = suite("held-out", SuiteType.HELD_OUT, [], [])
    error = result(good, "Error", scored=0, message="The suite has no rows.")
    return data(
        [one], [good], [error], verdict=Verdict.ERROR, message="good could not be measured: the suite has no rows."
    )


def hostile() -> Data:
    """Return an evaluation whose every name and text is made to break a page."""
    whole, labels = routing(), ("a" * 300, HOSTILE, "</title><svg onload=alert(1)>", "\u202eabc")
    draw = drawn(11)
    cases = [replace(case, place=HOSTILE) for case in cases_of("test", labels, 60, draw)]
    bad = Criterion(name=HOSTILE, suite=HOSTILE, metric=HOSTILE, label=HOSTILE, min=0.9)
    said = answers(cases, labels, 0.5, draw, scores=True)
    said[3] = Answer(row=3, error=HOSTILE)
    metrics = (measured(HOSTILE, 0.5, 0.4, 0.1), Measured(metric=HOSTILE, label=HOSTILE, message=HOSTILE[:300]))
    scored = Scored(suite=HOSTILE, rows=60, scored=59, leaked=(HOSTILE,), leaked_rows=1)
    one = suite(
        HOSTILE, SuiteType.HELD_OUT, cases, said, baseline=said[::-1], metrics=metrics, scored=scored, exposures=1000
    )
    two = replace(one, suite=one.suite.model_copy(update={"type": SuiteType.CANARY}))
    made = data(
        [one, two], [bad], [result(bad, "Failed", value=0.5, threshold=0.9, message=HOSTILE[:300])], labels=labels
    )
    names = {"project": HOSTILE, "gate": HOSTILE, "run": HOSTILE, "image": HOSTILE}
    owner, subject = (
        Owner(name=HOSTILE, contact=HOSTILE),
        SUBJECT.model_copy(update={"name": HOSTILE, "namespace": HOSTILE}),
    )
    trained = made.job.trained_on[0].model_copy(update={"name": HOSTILE})
    job = made.job.model_copy(update=names | {"owner": owner, "subject": subject, "trained_on": (trained,)})
    prompt = PROMPT.model_copy(update={"system": HOSTILE, "template": HOSTILE + "{text}"})
    base = whole.base.model_copy(update={"name": HOSTILE, "uri": HOSTILE, "license": HOSTILE, "revision": HOSTILE})
    asked = made.asked.model_copy(update={"prompt": prompt})
    return replace(made, job=job, asked=asked, base=base, method=HOSTILE, message=HOSTILE, verdict=Verdict.FAILED)


def beside(*, absent: bool = False) -> Data:
    """Return an evaluation beside what is served, or before anything is."""
    draw, labels = drawn(23), INTENTS[:4]
    held = cases_of("test", labels, 200, draw)
    canary = cases_of("canary", labels, 12, draw)
    drop = Criterion(
        name="as-served",
        suite="held-out",
        metric="accuracy",
        against=Reference.INCUMBENT,
        allowed_drop=0.03,
        when_absent=WhenAbsent.SKIP,
    )
    good = Criterion(name="good", suite="held-out", metric="accuracy", min=0.5)
    told = result(drop, "Passed", value=0.9, reference=0.88, low=-0.01, high=0.05, threshold=-0.03, scored=200)
    if absent:
        told = result(
            drop, "Skipped", scored=0, message="criteria[as-served].whenAbsent (Skip): nothing is served yet."
        )
    row = measured("accuracy", 0.9, 0.7, 0.03)
    compared = row if absent else row.model_copy(update=SERVED)
    suites = [
        suite(
            name,
            kind,
            cases,
            answers(cases, labels, 0.9, draw, scores=True),
            baseline=answers(cases, labels, 0.7, draw, scores=True),
            incumbent=None if absent else answers(cases, labels, 0.88, draw, scores=True),
            metrics=(compared,),
        )
        for name, kind, cases in (("held-out", SuiteType.HELD_OUT, held), ("canary", SuiteType.CANARY, canary))
    ]
    results = (told, result(good, "Passed", value=0.9, threshold=0.5, scored=200))
    return data(suites, (drop, good), results, labels=labels)


SERVED = {
    "incumbent": Estimate(value=0.88, low=0.84, high=0.92),
    "incumbent_difference": Estimate(value=0.02, low=-0.01, high=0.05),
}
ALL: dict[str, Callable[[], Data]] = {
    "beside": beside,
    "first": partial(beside, absent=True),
    "banking": banking,
    "routing": routing,
    "summaries": summaries,
    "names": names,
    "passages": passages,
    "empty": empty,
}
