"""Conversations: lists of turns, checked strictly.

A conversation may begin with a turn of the system; then user and assistant take turns, and the assistant has the last
word. That one is what is learned, and all before it is the prompt.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from stagecoach.contract.cells import BadCell, is_text, shown

SYSTEM, USER, ASSISTANT = ROLES = ("system", "user", "assistant")
ORDER = "Begin with user, or with system and then user; let user and assistant alternate, and end with assistant."


class Turn(NamedTuple):
    """What one side says."""

    role: str
    content: str


def parse(value: Any) -> tuple[tuple[Turn, ...], str]:
    """Return the turns of the prompt, and what the assistant says last. Raises BadCell."""
    if not isinstance(value, list) or not value:
        message = f"it holds {shown(value)}, which is not a list of turns."
        _refuse(message, 'Write a list of {"role": …, "content": …}.')
    turns = [_turn(item, number) for number, item in enumerate(value, start=1)]
    _check_order(turns)
    *before, last = turns
    if not last.content.strip():
        remedy = "Give the assistant's last turn a content, or remove the row."
        _refuse(f"turn {len(turns)}, which is to be learned, is empty.", remedy, "EmptyTarget")
    return tuple(before), last.content


def _turn(item: Any, number: int) -> Turn:
    if not isinstance(item, dict):
        _refuse(f"turn {number} is {shown(item)}, not an object.", 'Write every turn as {"role": …, "content": …}.')
    # A table of turns has all keys in every turn, and null where a turn has none.
    others = sorted(str(key) for key in item if key not in ("role", "content") and item[key] is not None)
    if others:
        message = f"turn {number} has the keys {', '.join(map(repr, others))[:100]}, of which nothing would be learned."
        _refuse(message, "Leave in role and content only, and remove rows that call tools.")
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        _refuse(f"turn {number} has the role {shown(role)}.", f"The roles are {', '.join(ROLES)}.")
    if not is_text(content):
        message = f"turn {number} has the content {shown(content)}, which is not a string of Unicode characters."
        _refuse(message, "Write it as a string in quotes.")
    return Turn(str(role), str(content))


def _check_order(turns: Sequence[Turn]) -> None:
    first = 1 if turns[0].role == SYSTEM else 0
    for index, turn in enumerate(turns):
        due = SYSTEM if index < first else (USER, ASSISTANT)[(index - first) % 2]
        if turn.role != due:
            _refuse(f"turn {index + 1} is of {turn.role}, where one of {due} is due.", ORDER)
        if index < len(turns) - 1 and not turn.content.strip():
            _refuse(f"turn {index + 1}, of {turn.role}, is empty.", "Give it a content, or remove the row.")
    if turns[-1].role != ASSISTANT:
        _refuse(f"it ends with a turn of {turns[-1].role}, and the assistant's last turn is what is learned.", ORDER)


def _refuse(message: str, remedy: str, reason: str = "BrokenConversation") -> NoReturn:
    raise BadCell(reason, message, remedy)
