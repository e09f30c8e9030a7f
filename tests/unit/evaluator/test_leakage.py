"""Which rows of a suite are in the training data."""

import random
from typing import Any

import pytest

from stagecoach.contract.inputs import Columns, Prompt
from stagecoach.contract.jobs import DataSource, Split
from stagecoach.contract.rows import AnyRow, Conversation, Match, Pair, Row
from stagecoach.contract.tagged import Marked, Words
from stagecoach.contract.turns import Turn
from stagecoach_evaluator import leakage
from stagecoach_trainer.sources import Dataset

WORDS = [f"word{number}" for number in range(400)]


def dataset(name: str, rows: list[AnyRow]) -> Dataset:
    source = DataSource(name=name, uri=f"pvc://data/{name}.csv", split=Split.TEST, columns=Columns())
    return Dataset(source, "sha256:" + "0" * 64, tuple(rows), ((f"{name}.csv", len(rows)),))


def texts(name: str, *lines: str) -> Dataset:
    return dataset(name, [Row(line, "a", number) for number, line in enumerate(lines, start=2)])


def leaks(suite: str, *trained: str) -> dict[int, str]:
    return leakage.find([texts("suite", suite)], [texts("train", *trained)])[0]


def sentence(count: int, start: int = 0) -> list[str]:
    return WORDS[start : start + count]


@pytest.mark.parametrize(
    ("suite", "trained", "found"),
    [
        ("Where is my card?", "where  is my\tCARD", True),
        ("Where is my card?", "where-is: my card!!", True),
        ("ｗｈｅｒｅ is my card", "where is my card", True),
        ("Straße", "STRASSE", True),
        ("i lost it", "i love it", False),
        ("hi", "hi there", False),
        ("hi", "Hi!", True),
        ("???", "!!!", False),
        ("???", " ??? ", True),
        ("c", "c++", False),
        # A character of about sixty, and one of twenty: by runs of characters.
        (
            "how long does a transfer to another country usually take now",
            "how long does a transfer to another country usually takes now",
            True,
        ),
        ("where is parcel 17", "where is parcel 18", False),
        # A text of many words, with another end, and with every tenth word another.
        (" ".join(sentence(100)), " ".join([*sentence(95), "quite", "another", "end"]), True),
        (
            " ".join(sentence(100)),
            " ".join(word if place % 10 else "other" for place, word in enumerate(sentence(100))),
            False,
        ),
        # About as many words as make the difference between words and characters.
        (" ".join(sentence(49)), " ".join([*sentence(49), "more"]), True),
        (" ".join(sentence(52)), " ".join(sentence(49)), True),
        (" ".join(sentence(49)), " ".join(sentence(49, 200)), False),
        ("你好，我的卡丢了。", "你好、我的卡丢了", True),
        ("नमस्ते दुनिया", "नमसत दनय", False),
        ("", "x", False),
    ],
)
def test_what_is_the_same(suite: str, trained: str, found: bool) -> None:
    assert leaks(suite, "nothing like it", trained) == ({0: "train:train.csv:3"} if found else {})


def test_the_first_place_is_named_and_all_rows_of_all_suites() -> None:
    one, other = texts("one", "a b c", "new", "A b c!"), texts("other", "new", "a b c")
    trained = [texts("first", "x", "a b c", "a b c"), texts("second", "NEW", "a b c")]
    assert leakage.find([one, other], iter(trained)) == (
        {0: "first:first.csv:3", 1: "second:second.csv:2", 2: "first:first.csv:3"},
        {0: "second:second.csv:2", 1: "first:first.csv:3"},
    )


LONG = "You are the assistant of a bank. " * 40


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (Row("t", "l", 1), "t"),
        (Pair("in", "out", 1), "in"),
        (Match("q", "p", 1, "n"), "q"),
        (Words(("a", "b"), ("O", "O"), 1), "a b"),
        (Marked("a b", (), 1), "a b"),
        (
            Conversation((Turn("system", LONG), Turn("user", "u"), Turn("assistant", "a"), Turn("user", "v")), "t", 1),
            "u\na\nv",
        ),
    ],
)
def test_what_is_compared_of_a_row(row: AnyRow, text: str) -> None:
    assert leakage.text_of(row) == text


def test_a_long_turn_of_the_system_is_in_all_conversations_and_leaks_none() -> None:
    def talk(said: str) -> Any:
        return Conversation((Turn("system", LONG), Turn("user", said)), "t", 2)

    suite, trained = (
        dataset("suite", [talk("my card"), talk("my parcel")]),
        dataset("train", [talk("my bill"), talk("My card.")]),
    )
    assert leakage.find([suite], [trained]) == ({0: "train:train.csv:2"},)


def similar(draw: random.Random, length: int, changed: int) -> tuple[str, str]:
    text = draw.choices("abcdefghijklmnopqrstuvwxyz ", k=length)
    other = text.copy()
    for place in draw.sample(range(length), changed):
        other[place] = draw.choice("0123456789")
    return "".join(text), "".join(other)


def test_what_is_found_is_what_counting_all_pairs_finds() -> None:
    draw = random.Random(17)  # noqa: S311 - nothing is kept secret with it
    pairs = [similar(draw, draw.randrange(30, 200), draw.randrange(4)) for _ in range(400)]
    suite, trained = (
        texts(name, *each) for name, each in zip(("suite", "train"), zip(*pairs, strict=True), strict=True)
    )
    (found,) = leakage.find([suite], [trained])
    expected = {}
    for position, (one, other) in enumerate(pairs):
        runs = [leakage._runs(leakage.folded(text), by_words=False) for text in (one, other)]
        if leakage.folded(one) == leakage.folded(other) or len(runs[0] & runs[1]) >= 0.8 * len(runs[0] | runs[1]):
            expected[position] = f"train:train.csv:{position + 2}"
    assert found == expected
    assert 50 < len(found) < 390


PROMPT = Prompt(
    system="You answer customers. Example: 'Where is my card? I ordered it!' is card_arrival.",
    template="Labels: card_arrival, lost_or_stolen_card\n{text}",
    passage_template="A passage: {text}",
)


@pytest.mark.parametrize(
    ("row", "part"),
    [
        (Row("Where is my card? I ordered it!", "card_arrival", 2), "the prompt's system"),
        (Row("where is my card i ordered it", "card_arrival", 2), "the prompt's system"),
        (Row("Where is my card? I ordered", "card_arrival", 2), "the prompt's system"),
        (Row("here is my card? I ordered it!", "card_arrival", 2), None),
        (Row("Where is my card? I order it!", "card_arrival", 2), None),
        (Row("Where is my card?", "card_arrival", 2), None),
        (Row("lost or stolen card", "lost", 2), None),
        (Pair("card_arrival, lost_or_stolen_card", "?", 2), "the prompt's template"),
    ],
)
def test_a_row_in_the_prompt_is_found_as_a_whole(row: AnyRow, part: str | None) -> None:
    assert leakage.find_in_prompt(dataset("suite", [row]), PROMPT) == ({} if part is None else {0: part})
