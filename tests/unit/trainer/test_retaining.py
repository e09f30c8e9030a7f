"""Which artifacts stay, case by case, and what may never happen whatever the case."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagecoach_trainer.retaining import Fate, Held, Rules, Told, decide

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
A, B, C, D = (letter * 64 for letter in "abcd")
ONE, TWO, THREE, FOUR = (letter * 64 for letter in "1234")
RULES = Rules(project="ours", runs=1, keep=30 * DAY, notice=3 * DAY, now=NOW)
WHOLE = Held(whole=True)


def told(artifact: str, inputs: str = ONE, days: int = 100, project: str | None = "ours", *mentions: str) -> Told:
    return Told(inputs, artifact, NOW - days * DAY, project, frozenset({artifact, inputs, *mentions}))


def left(days: float) -> Held:
    return Held(whole=False, since=NOW - days * DAY)


@pytest.mark.parametrize(
    ("item", "records", "rules", "fate", "why"),
    [
        (WHOLE, [told(A)], {}, Fate.ANNOUNCE, ""),
        (WHOLE, [told(A)], {"runs": 2}, Fate.KEEP, "newest 2"),
        (WHOLE, [], {}, Fate.KEEP, "no record"),
        (WHOLE, [told(A, project=None)], {}, Fate.KEEP, "another project's"),
        (WHOLE, [told(A, project="theirs")], {}, Fate.KEEP, "another project's"),
        (WHOLE, [told(A), told(A, THREE, project="theirs")], {}, Fate.KEEP, "another project's"),
        (WHOLE, [told(A, days=29)], {}, Fate.KEEP, "lately"),
        (WHOLE, [told(A, days=30)], {}, Fate.ANNOUNCE, ""),
        (WHOLE, [told(A, days=100), told(A, THREE, days=29)], {}, Fate.KEEP, "lately"),
        (replace(WHOLE, used=NOW - 29 * DAY), [told(A)], {}, Fate.KEEP, "lately"),
        (replace(WHOLE, used=NOW - 31 * DAY), [told(A)], {}, Fate.ANNOUNCE, ""),
        (replace(WHOLE, used=NOW + 31 * DAY), [told(A)], {}, Fate.KEEP, "lately"),
        (WHOLE, [told(A)], {"pins": frozenset({A})}, Fate.KEEP, "pinned"),
        (WHOLE, [told(A)], {"pins": frozenset({A[:12]})}, Fate.KEEP, "pinned"),
        (WHOLE, [told(A)], {"pins": frozenset({ONE[:20]})}, Fate.KEEP, "pinned"),
        (WHOLE, [told(A)], {"pins": frozenset({THREE})}, Fate.ANNOUNCE, ""),
        (WHOLE, [told(A)], {"protected": frozenset({A[:12]})}, Fate.KEEP, "object of the cluster"),
        (WHOLE, [told(A)], {"protected": frozenset({ONE[:12]})}, Fate.KEEP, "object of the cluster"),
        (Held(whole=True, strange="odd"), [told(A)], {}, Fate.KEEP, "odd"),
        (Held(whole=False, strange="odd"), [told(A)], {}, Fate.KEEP, "odd"),
        (left(2), [told(A)], {}, Fate.WAIT, ""),
        (left(3), [told(A)], {}, Fate.REMOVE, ""),
        (left(-5), [told(A)], {}, Fate.WAIT, ""),
        (left(3), [told(A)], {"runs": 2}, Fate.BRING_BACK, "newest 2"),
        (left(9), [told(A)], {"pins": frozenset({A})}, Fate.BRING_BACK, "pinned"),
        (left(9), [told(A)], {"protected": frozenset({A[:12]})}, Fate.BRING_BACK, "object of the cluster"),
        (left(9), [], {}, Fate.BRING_BACK, "no record"),
        (replace(left(9), used=NOW - DAY), [told(A)], {}, Fate.BRING_BACK, "lately"),
        (replace(left(9), whole=True), [told(A)], {}, Fate.ANNOUNCE, ""),  # published again: the notice begins anew
        (replace(left(9), whole=True), [told(A)], {"runs": 2}, Fate.KEEP, "newest 2"),
    ],
)
def test_what_becomes_of_an_artifact(
    item: Held, records: list[Told], rules: dict[str, Any], fate: Fate, why: str
) -> None:
    # B is the newest, so that A has no reason to stay but that of the case.
    found = decide({A: item, B: WHOLE}, [*records, told(B, TWO, 1)], replace(RULES, **rules))
    assert found[A].fate is fate
    assert why in found[A].why
    assert found[B].fate is Fate.KEEP


def test_an_artifact_that_is_young_says_until_when_it_is_kept() -> None:
    found = decide({A: WHOLE, B: WHOLE}, [told(A, days=10), told(B, TWO, 9)], RULES)
    assert (found[A].fate, found[A].until) == (Fate.KEEP, NOW + 20 * DAY)
    assert found[B].until is None


def test_a_record_without_its_artifact_is_none_of_the_newest() -> None:
    records = [told(A, ONE, 100), told(B, TWO, 90), told(C, THREE, 80)]
    found = decide({A: WHOLE, B: WHOLE}, records, RULES)
    assert {artifact: verdict.fate for artifact, verdict in found.items()} == {A: Fate.ANNOUNCE, B: Fate.KEEP}


def test_what_a_record_that_stays_names_stays_too_and_what_that_names() -> None:
    records = [told(A), told(B, TWO, 95, "ours", A), told(C, THREE, 90, "ours", B), told(D, FOUR, 99, "ours")]
    found = decide(dict.fromkeys((A, B, C, D), WHOLE), records, RULES)
    assert {artifact for artifact, verdict in found.items() if verdict.fate is Fate.KEEP} == {A, B, C}
    assert found[D].fate is Fate.ANNOUNCE


def test_what_only_those_name_that_leave_leaves() -> None:
    records = [told(A), told(B, TWO, 95, "ours", A), told(C, THREE, 90)]
    found = decide(dict.fromkeys((A, B, C), WHOLE), records, RULES)
    assert {artifact for artifact, verdict in found.items() if verdict.fate is Fate.ANNOUNCE} == {A, B}


DIGESTS = st.sampled_from([letter * 64 for letter in "abcdef"])
INPUTS = st.sampled_from([digit * 64 for digit in "123456"])
TIMES = st.integers(-5, 120).map(lambda days: NOW - days * DAY)
HELD = st.builds(
    Held,
    whole=st.booleans(),
    since=TIMES,
    used=st.none() | TIMES,
    strange=st.sampled_from(["", "", "", "odd"]),
)
RECORDS = st.lists(
    st.builds(
        Told,
        inputs=INPUTS,
        artifact=DIGESTS,
        finished=TIMES,
        project=st.sampled_from(["ours", "ours", "ours", "theirs", None]),
        mentions=st.frozensets(DIGESTS, max_size=2),
    ),
    max_size=10,
)
PROTECTED = st.frozensets((DIGESTS | INPUTS).map(lambda digest: digest[:12]), max_size=2)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    held=st.dictionaries(DIGESTS, HELD, max_size=6),
    records=RECORDS,
    protected=PROTECTED,
    pins=PROTECTED,
    runs=st.integers(1, 4),
)
def test_what_is_protected_never_goes(
    held: dict[str, Held], records: list[Told], protected: frozenset[str], pins: frozenset[str], runs: int
) -> None:
    rules = replace(RULES, runs=runs, protected=protected, pins=pins)
    found = decide(held, records, rules)
    assert found.keys() == held.keys()
    going = {artifact for artifact, verdict in found.items() if verdict.fate in (Fate.ANNOUNCE, Fate.REMOVE)}
    own = [record for record in records if record.project == "ours" and record.artifact in held]
    newest = sorted(own, key=lambda record: (record.finished, record.inputs, record.artifact))[-runs:]
    for artifact in going:
        its = [record for record in records if record.artifact == artifact]
        assert its, "what no record names stays"
        assert {record.project for record in its} == {"ours"}
        names = {artifact[:12], *(record.inputs[:12] for record in its)}
        assert not names & (protected | pins)
        assert all(record.finished <= NOW - rules.keep for record in its)
        assert (held[artifact].used or NOW - rules.keep) <= NOW - rules.keep
        assert not held[artifact].strange
        assert not any(record in newest for record in its)
    for record in records:
        stays = record.artifact in held and record.artifact not in going
        waits = stays and found[record.artifact].fate is Fate.WAIT
        assert not (stays and not waits and record.mentions & going), "a record that stays names what goes"
    gone = [artifact for artifact, verdict in found.items() if verdict.fate is Fate.REMOVE]
    assert all(not held[a].whole and (held[a].since or NOW) + rules.notice <= NOW for a in gone)
    # When it is done, nothing more is to do.
    after = {
        artifact: replace(
            item,
            whole=(found[artifact].fate is Fate.KEEP and item.whole) or found[artifact].fate is Fate.BRING_BACK,
            since=NOW if found[artifact].fate is Fate.ANNOUNCE else item.since,
        )
        for artifact, item in held.items()
        if found[artifact].fate is not Fate.REMOVE
    }
    assert all(verdict.fate in (Fate.KEEP, Fate.WAIT) for verdict in decide(after, records, rules).values())
