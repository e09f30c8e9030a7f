"""Documents of benchmarks: records that a task of lm-evaluation-harness makes its prompts and its answers of."""

from collections.abc import Mapping
from typing import Any, NamedTuple

# The version whose tasks are asked: with the task's name it says what a task is, and so it is in the keys.
LM_EVAL = "0.4.13"
# A text of fewer words is the name of a subject, a label or a short answer, which other texts have too.
WORDS = 5


class Document(NamedTuple):
    """One document: what is asked of it, what is right, where it is in its file, and the texts that it has.

    And what there is to choose from, where its task says so.
    """

    text: str
    number: int
    target: str = ""
    texts: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


def document(record: Mapping[str, Any], number: int) -> Document:
    """Return a document as its file has it: only its task knows what is asked."""
    texts = texts_of(record)
    return Document("\n".join(texts), number, texts=texts)


def texts_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the texts by which a document is known elsewhere: those of several words, or else the longest.

    What is in lists, such as the choices of a question, is no text of its own.
    """
    texts = [value for value in record.values() if isinstance(value, str) and value.strip()]
    long = [text for text in texts if len(text.split()) >= WORDS]
    return tuple(long or sorted(texts, key=len, reverse=True)[:1])
