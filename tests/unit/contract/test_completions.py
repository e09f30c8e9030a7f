"""What is asked of an engine by token ids, and what counts as its answer."""

from typing import Any

import pytest

from stagecoach.contract import completions
from stagecoach.contract.completions import NoAnswer, NotNumbers


def answer(**changes: Any) -> dict[str, Any]:
    logprobs = {"token_logprobs": [-0.5, -1.5]}
    return {"choices": [{"finish_reason": "stop", "token_ids": [5, 2], "logprobs": logprobs} | changes]}


def test_the_likeliest_tokens_are_asked_for_with_their_probabilities() -> None:
    always = {"temperature": 0, "return_token_ids": True, "logprobs": 1}
    assert completions.choosing((33, 45)) == always | {"max_tokens": 1, "allowed_token_ids": [33, 45]}
    assert completions.writing(7, 2) == always | {"max_tokens": 7, "ignore_eos": True, "stop_token_ids": [2]}


@pytest.mark.parametrize("ended", ["stop", "length"])
def test_an_answer_is_its_tokens(ended: str) -> None:
    assert completions.tokens(answer(finish_reason=ended)) == (5, 2)


@pytest.mark.parametrize("said", [None, {}, {"token_logprobs": [-0.5]}, {"token_logprobs": [-0.5, None]}])
def test_a_token_without_a_probability_is_none(said: Any) -> None:
    with pytest.raises(NotNumbers):
        completions.tokens(answer(logprobs=said))


@pytest.mark.parametrize("logprob", [float("nan"), float("-inf"), -9999.0])
def test_a_probability_that_is_no_number_means_nothing(logprob: float) -> None:
    with pytest.raises(NotNumbers):
        completions.tokens(answer(logprobs={"token_logprobs": [-0.5, logprob]}))


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"choices": []},
        {"choices": [None]},
        {"choices": {}},
        answer(token_ids=None),
        answer(token_ids=["x"]),
        answer(logprobs=[1]),
        answer(finish_reason="abort"),
    ],
)
def test_anything_else_is_no_answer(document: Any) -> None:
    with pytest.raises(NoAnswer):
        completions.tokens(document)
