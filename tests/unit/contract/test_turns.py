"""Conversations that can be learned from, and those that cannot."""

from typing import Any

import pytest

from stagecoach.contract.cells import BadCell
from stagecoach.contract.turns import Turn, parse


def turn(role: Any, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content} | more


S, U, A = turn("system", "Be brief."), turn("user", "Who?"), turn("assistant", "I.")


@pytest.mark.parametrize(
    ("value", "turns", "target"),
    [
        ([U, A], [("user", "Who?")], "I."),
        ([S, U, A], [("system", "Be brief."), ("user", "Who?")], "I."),
        ([U, A, U, A], [("user", "Who?"), ("assistant", "I."), ("user", "Who?")], "I."),
        ([U, turn("assistant", " I. ", name=None)], [("user", "Who?")], " I. "),
    ],
)
def test_the_last_turn_is_learned(value: Any, turns: list[tuple[str, str]], target: str) -> None:
    assert parse(value) == (tuple(Turn(*item) for item in turns), target)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "it holds None, which is not a list of turns"),
        ("", "it holds '', which is not a list"),
        ([], "it holds [], which is not a list"),
        ({"role": "user"}, "which is not a list of turns"),
        (["hi", A], "turn 1 is 'hi', not an object"),
        ([U], "ends with a turn of user"),
        ([S], "ends with a turn of system"),
        ([U, A, U], "ends with a turn of user"),
        ([A], "turn 1 is of assistant, where one of user is due"),
        ([S, A], "turn 2 is of assistant, where one of user is due"),
        ([U, U, A], "turn 2 is of user, where one of assistant is due"),
        ([U, A, A], "turn 3 is of assistant, where one of user is due"),
        ([U, S, A], "turn 2 is of system, where one of assistant is due"),
        ([S, S, U, A], "turn 2 is of system, where one of user is due"),
        ([turn("human", "Who?"), A], "turn 1 has the role 'human'"),
        ([{"content": "Who?"}, A], "turn 1 has the role None"),
        ([turn(["user"], "Who?"), A], "turn 1 has the role ['user']"),
        ([U, turn("tool", "{}"), A], "turn 2 has the role 'tool'"),
        ([U, turn("assistant", None)], "turn 2 has the content None"),
        ([turn("user", [{"type": "text", "text": "Who?"}]), A], "turn 1 has the content [{"),
        ([turn("user", "\ud800"), A], "which is not a string of Unicode characters"),
        ([U, turn("assistant", "I.", tool_calls=[{"id": 1}])], "turn 2 has the keys 'tool_calls'"),
        ([turn("user", " "), A], "turn 1, of user, is empty"),
        ([turn("system", ""), U, A], "turn 1, of system, is empty"),
        ([U, turn("assistant", ""), U, A], "turn 2, of assistant, is empty"),
    ],
)
def test_what_is_no_conversation_is_told(value: Any, words: str) -> None:
    with pytest.raises(BadCell) as caught:
        parse(value)
    assert caught.value.reason == "BrokenConversation"
    assert words in caught.value.message
    assert caught.value.remedy


def test_an_empty_answer_is_told_as_an_empty_target() -> None:
    with pytest.raises(BadCell, match="turn 2, which is to be learned, is empty") as caught:
        parse([U, turn("assistant", " ")])
    assert caught.value.reason == "EmptyTarget"
