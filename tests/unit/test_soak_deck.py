"""In which order a soak's faults come."""

import random
from collections.abc import Sequence

from tests.soak.deck import Deck, Fault, name_of


def _kill(_victim: str, _chance: random.Random) -> None: ...


def _freeze(_victim: str, _chance: random.Random) -> None: ...


def _pause(_victim: str, _chance: random.Random) -> None: ...


CHOICES: list[tuple[Fault, str]] = [
    (_kill, "leader"),
    (_kill, "leader"),
    (_kill, "other"),
    (_freeze, "leader"),
    (_pause, "etcd"),
]
FREE = {"leader": ["a"], "other": ["b"], "etcd": ["etcd"]}


def deck(seed: int = 1) -> Deck:
    return Deck(CHOICES, random.Random(seed))  # noqa: S311


def drawn(cards: Deck, count: int, free: dict[str, list[str]]) -> list[tuple[str, str]]:
    found = [cards.draw(free) for _ in range(count)]
    return [(name_of(card.fault), victim) for card, victim in filter(None, found)]


def test_everything_comes_up_before_anything_comes_up_again() -> None:
    cards, number = deck(), len(CHOICES)
    wanted = sorted((name_of(fault), FREE[whom][0]) for fault, whom in CHOICES)
    rounds: Sequence[list[tuple[str, str]]] = [drawn(cards, number, FREE) for _ in range(3)]
    assert [sorted(each) for each in rounds] == [wanted] * 3
    assert rounds[0] != rounds[1] or rounds[1] != rounds[2]


def test_the_seed_decides_the_order_and_what_faults_draw() -> None:
    first, again = deck(7), deck(7)
    cards = [first.draw(FREE) for _ in range(20)]
    assert cards == [again.draw(FREE) for _ in range(20)]
    assert len({card.chance().random() for card, _ in filter(None, cards)}) == 20
    assert drawn(deck(7), 20, FREE) != drawn(deck(8), 20, FREE)


def test_a_card_for_nobody_waits_and_comes_first_when_there_is_somebody() -> None:
    cards = deck()
    nobody_leads = FREE | {"leader": []}
    assert "a" not in {victim for _, victim in drawn(cards, 6, nobody_leads)}
    assert [victim for _, victim in drawn(cards, 3, FREE)] == ["a"] * 3


def test_where_everybody_is_taken_nothing_is_drawn_and_nothing_is_lost() -> None:
    cards = deck()
    for _ in range(100):
        assert cards.draw({}) is None
    assert drawn(cards, 5, FREE) == drawn(deck(), 5, FREE)
