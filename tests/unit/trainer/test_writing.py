"""What is written by a model that computes no numbers is no text, row by row."""

from math import inf, nan
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")

END = 2


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([[0.0, 1.0]], True),
        ([[-inf, 1.0]], True),
        ([[nan, 1.0]], False),
        ([[1.0, inf]], False),
        ([[-inf, -inf]], False),
        ([[0.0, 1.0], [nan, nan]], False),
        ([[nan, nan], [0.0, 1.0]], False),
    ],
)
def test_every_token_that_is_written_is_chosen_by_numbers(steps: list[list[float]], expected: bool) -> None:
    from stagecoach_trainer.writing import Numbers

    numbers = Numbers(END, written_from=3)
    for step, scores in enumerate(steps):
        # What is read may hold the end's token, by which it is padded; beside it is a row that is well.
        sequences = torch.tensor([[END, 5, END, *[7] * step]] * 2)
        given = torch.tensor([scores, [0.0, 1.0]])
        assert numbers(sequences, given) is given, "it changes nothing"
    assert numbers.were_computed == [expected, True]


def test_what_comes_after_a_texts_end_does_not_count() -> None:
    from stagecoach_trainer.writing import Numbers

    numbers = Numbers(END, written_from=1)
    numbers(torch.tensor([[END], [END]]), torch.tensor([[0.0], [0.0]]))
    numbers(torch.tensor([[END, END], [END, 7]]), torch.tensor([[nan], [0.0]]))
    numbers(torch.tensor([[END, END, END], [END, 7, 7]]), torch.tensor([[nan], [nan]]))
    assert numbers.were_computed == [True, False]


def test_what_is_no_text_is_like_nothing_where_base_and_artifact_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer import asking, bases, writing

    of_nothing: Any = SimpleNamespace(family=None, prompt=None, tokenization=SimpleNamespace(max_target_length=9))
    monkeypatch.setattr(bases, "load_tokenizer", lambda _: None)
    monkeypatch.setattr(writing, "encoder_for", lambda *_: of_nothing)
    monkeypatch.setattr(asking, "both", lambda *_: ([None, "a"], ["b", None]))
    record: Any = SimpleNamespace(inputs=of_nothing)
    assert writing.texts(record, of_nothing, "folder", [], 1) == (["", "a"], ["b", ""])
