"""The order in which faults are due."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Fault = Callable[[str, random.Random], None]  # what is done to a victim, by draws of its own


@dataclass(frozen=True)
class Card:
    """A fault that is due, and to whom: who that is shows when it is played."""

    fault: Fault
    whom: str
    seed: float

    def chance(self) -> random.Random:
        """Return a source of draws that depends on no other card."""
        return random.Random(self.seed)  # noqa: S311 - it draws accidents, not secrets


def name_of(fault: Fault) -> str:
    """Return how a fault is called."""
    return fault.__name__.strip("_")


class Deck:
    """Cards in an order that the seed decides: everything comes up before anything comes up again.

    A card that cannot be played yet waits, and is the first that is played once it can be.
    """

    def __init__(self, choices: Sequence[tuple[Fault, str]], chance: random.Random) -> None:
        self._choices = choices
        self._chance = chance
        self._cards: list[Card] = []

    def draw(self, free: Mapping[str, Sequence[str]]) -> tuple[Card, str] | None:
        """Take a card and one of those who are free to be its victim; None when there is nobody for any card."""
        card = self._playable(free)
        if card is None and len(self._cards) < len(self._choices):
            self._deal()
            card = self._playable(free)
        if card is None:
            return None
        self._cards.remove(card)
        return card, card.chance().choice(free[card.whom])

    def _playable(self, free: Mapping[str, Sequence[str]]) -> Card | None:
        return next((card for card in self._cards if free.get(card.whom)), None)

    def _deal(self) -> None:
        """Put everything into the deck again that does not wait in it."""
        waiting = Counter((card.fault, card.whom) for card in self._cards)
        for choice in self._chance.sample(self._choices, len(self._choices)):
            seed = self._chance.random()
            if waiting[choice]:
                waiting[choice] -= 1
            else:
                self._cards.append(Card(*choice, seed))
