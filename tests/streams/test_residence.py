"""Accounts in memory, as bytes and on disk: to whoever asks, they are just there."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.residence import Residents

KEYS = st.integers(0, 60).map(lambda number: b"account-%d" % number)


class Cell:
    """What an account is here: a number that only counts up."""

    def __init__(self, count: int) -> None:
        self.count = count


def residents(most_bytes: int, idle: dict[bytes, bytes] | None = None) -> Residents[Cell]:
    return Residents(
        lambda cell: str(cell.count).rjust(200).encode(),
        lambda _, saved: Cell(int(saved)),
        most_bytes=most_bytes,
        idle=idle,
    )


class Residence(RuleBasedStateMachine):
    """Whatever is done in whatever order, accounts are as a dictionary would have them, and so are cuts."""

    def __init__(self) -> None:
        super().__init__()
        self.residents = residents(most_bytes=20_000)
        self.expected: dict[bytes, int] = {}
        self.topic: dict[bytes, int] = {}
        self.at_the_cut: dict[bytes, int] | None = None

    @rule(key=KEYS)
    def count_up(self, key: bytes) -> None:
        cell = self.residents.get(key)
        assert (None if cell is None else cell.count) == self.expected.get(key)
        if cell is None:
            cell = Cell(0)
            self.residents.add(key, cell)
        cell.count += 1
        self.expected[key] = self.expected.get(key, 0) + 1

    @rule()
    def count_all_up(self) -> None:
        for number in range(61):
            self.count_up(b"account-%d" % number)

    @rule(key=KEYS)
    def forget(self, key: bytes) -> None:
        self.residents.remove(key)
        self.expected.pop(key, None)

    @precondition(lambda self: self.at_the_cut is None)
    @rule()
    def begin_a_checkpoint(self) -> None:
        self.residents.begin_cut()
        self.at_the_cut = dict(self.expected)

    @precondition(lambda self: self.at_the_cut is not None)
    @rule(most=st.integers(1, 40))
    def go_on_with_the_checkpoint(self, most: int) -> None:
        if self.residents.cut_some(most):
            return
        cut = self.residents.end_cut()
        assert len({key for key, _ in cut}) == len(cut)
        for key, saved in cut:
            if saved is None:
                self.topic.pop(key, None)
            else:
                self.topic[key] = int(saved)
        assert self.topic == self.at_the_cut
        self.at_the_cut = None

    @invariant()
    def none_is_lost_or_doubled(self) -> None:
        assert len(self.residents) == len(self.expected)

    def teardown(self) -> None:
        self.residents.close()


TestResidence = Residence.TestCase
TestResidence.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.fixture
def small() -> Iterator[Residents[Cell]]:
    made = residents(most_bytes=200_000)
    yield made
    made.close()


def test_memory_is_bounded_and_accounts_return_as_they_were(small: Residents[Cell]) -> None:
    for number in range(5000):
        small.add(b"%d" % number, Cell(number))

    counts = small.counts()
    assert counts.disk > counts.idle > 0
    assert counts.hot > 0
    assert sum(counts) == len(small) == 5000
    for number in range(5000):
        cell = small.get(b"%d" % number)
        assert cell is not None
        assert cell.count == number


def test_restored_accounts_that_do_not_fit_go_to_disk_at_once() -> None:
    idle = {b"%d" % number: str(number).rjust(200).encode() for number in range(5000)}

    made = residents(200_000, idle)

    assert made.counts().disk > 4000
    cell = made.get(b"17")
    assert cell is not None
    assert cell.count == 17
    made.close()


def test_an_account_in_hand_is_never_put_to_rest() -> None:
    """Whoever got it is about to change it: what is changed after it was saved would be lost."""
    made = residents(most_bytes=1)
    for round_ in range(50):
        for number in range(8):
            key = b"%d" % number
            if round_ % 3 == 0:
                made.remove(key)
                made.add(key, Cell(round_))
            cell = made.get(key)
            assert cell is not None
            cell.count += 1
            again = made.get(key)
            assert again is cell
    made.close()
