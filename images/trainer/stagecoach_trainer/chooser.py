"""Choosing a label by writing it: what a decoder would answer if it could answer labels only."""

from collections.abc import Sequence
from typing import Any

from stagecoach.contract import progress


class Chooser:
    """Chooses among completions by the likeliest next token that any of them still allows.

    Writing ends where only one choice is left: what would follow is that choice whatever the model thinks.
    """

    def __init__(self, model: Any, choices: Sequence[tuple[int, ...]]) -> None:
        self._model = model
        self._choices = choices

    def choose(self, prompts: Sequence[tuple[int, ...]]) -> list[int | None]:
        """Return the index of the choice for each prompt (token ids); none where what is computed is not a number."""
        import torch

        def decided(sequences: Any, _scores: Any) -> Any:
            progress.made()
            return torch.tensor(
                [len(self._left(sequence[width:].tolist())) == 1 for sequence in sequences], device=device
            )

        width = max(map(len, prompts))
        device = self._model.device
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=max(map(len, self._choices)),
                pad_token_id=0,
                prefix_allowed_tokens_fn=lambda _, sequence: self._allowed(sequence[width:].tolist()),
                stopping_criteria=[decided],
            )
        return [next(iter(self._left(sequence[width:].tolist())), None) for sequence in output]

    def _allowed(self, written: list[int]) -> list[int]:
        """Return the tokens that may come next; any for a row that is decided."""
        left = self._left(written)
        following = {self._choices[index][len(written)] for index in left if len(self._choices[index]) > len(written)}
        return sorted(following) if len(left) > 1 else [0]

    def _left(self, written: list[int]) -> list[int]:
        """Return the indices of the choices that begin like this; what comes after the decision is ignored."""
        left = list(range(len(self._choices)))
        for position, token in enumerate(written):
            if len(left) == 1:
                break
            left = [index for index in left if self._choices[index][position : position + 1] == (token,)]
        return left
