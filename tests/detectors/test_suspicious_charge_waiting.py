"""Charges that wait for their label, as they are packed."""

from random import Random
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from detectors.online.card_habit import look_at, new_card
from detectors.online.charge_cross_numbers import crosses_of, extra_bits, run_bits
from detectors.online.charge_population import AmountPopulation, RatioHistogram
from detectors.online.charge_state import Extra, Sight
from detectors.state import StateError
from detectors.suspicious_charge_memory import (
    KIND,
    MOST_CARDS,
    VERSION,
    Habits,
    Memory,
    accuse_card,
    card_of,
    habits_of,
    keep_card,
    keep_habits,
    restore_memory,
    save_memory,
)
from detectors.suspicious_charge_waiting import (
    SIZE,
    added,
    card_name,
    confirmed,
    currency_of,
    is_confirmed,
    key_of,
    removed,
    start_of,
    tidied,
    time_of,
    unpacked,
)

RUN = run_bits(age=3.0, quiet=1.0, bads=2, goods=1, since=4, share=0)
EXTRA = extra_bits(3, (1, 2, 1, 1), 4, 2, 77, False, 1)


def sight(at: float = 1e9, amount: float = 30.0, run: int = 0, extra: int = 0, card: int = 0) -> Sight:
    look = look_at(new_card(card), at, amount, AmountPopulation(), RatioHistogram())
    return Sight(look, crosses_of(look.bins, run, extra), None, run, Extra(extra))


def filled(merchants: list[str]) -> tuple[bytes, bytes]:
    waiting, ids = b"", b""
    for number, merchant in enumerate(merchants):
        waiting, ids = added(waiting, ids, key_of(f"c{number}"), merchant, sight(1e9 + number))
    return waiting, ids


@given(
    at=st.integers(0, 2**32 - 1),
    amount=st.floats(2**-13, 2**39, width=32),
    run=st.sampled_from([0, RUN]),
    extra=st.sampled_from([0, EXTRA]),
    card=st.builds(card_name, st.from_regex(r"\A[A-Z]{3}\Z"), st.none() | st.from_regex(r"\A[0-9]{4}\Z")),
    merchant=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60),
)
def test_what_waits_is_told_again_as_it_was_seen(
    at: int, amount: float, run: int, extra: int, card: int, merchant: str
) -> None:
    seen = sight(at, amount, run, extra, card)
    waiting, ids = added(b"", b"", key_of("c1"), merchant, seen)
    found = unpacked(waiting, ids, 0)

    assert len(waiting) == SIZE == 31
    assert (found.at, found.amount, found.merchant, found.card) == (at, amount, merchant, card)
    assert found.ratio == seen.look.ratio
    assert list(found.crosses.items()) == list(seen.crosses.items())


@given(currency=st.from_regex(r"\A[A-Z]{3}\Z"), last4=st.none() | st.from_regex(r"\A[0-9]{4}\Z"))
def test_a_cards_number_tells_its_currency_and_fits_29_bits(currency: str, last4: str | None) -> None:
    assert currency_of(card_name(currency, last4)) == currency
    assert card_name(currency, last4) < 2**29


def test_cards_have_numbers_of_their_own() -> None:
    names = {card_name(currency, last4) for currency in ("EUR", "USD") for last4 in (None, "0000", "0001", "9999")}

    assert len(names) == 8


@given(
    moves=st.lists(st.tuples(st.sampled_from(["add", "add", "remove", "first", "tidy"]), st.integers(0, 300))),
)
def test_charges_keep_their_merchants_whatever_comes_and_goes(moves: list[tuple[str, int]]) -> None:
    waiting, ids, count = b"", b"", 0
    expected: dict[str, str] = {}
    for what, number in moves:
        if what == "add" and len(expected) < 100:
            count += 1
            expected[f"c{count}"] = merchant = f"m{number}"
            waiting, ids = added(waiting, ids, key_of(f"c{count}"), merchant, sight())
        elif what == "tidy":
            waiting, ids = tidied(waiting, ids)
        elif expected and what != "add":
            gone = list(expected)[0 if what == "first" else number % len(expected)]
            waiting = removed(waiting, start_of(key_of(gone), waiting))
            del expected[gone]

    found = {name: unpacked(waiting, ids, start_of(key_of(name), waiting)).merchant for name in expected}
    assert found == expected
    tidy, tidy_ids = tidied(waiting, ids)
    assert tidied(tidy, tidy_ids) == (tidy, tidy_ids)
    assert len(tidy_ids) <= sum(len(name) + 1 for name in set(expected.values())) + 1


def test_ids_that_nobody_needs_do_not_pile_up() -> None:
    waiting, ids = b"", b""
    for number in range(5_000):
        waiting, ids = added(waiting, ids, key_of(str(number)), f"merchant-{number}", sight())
        waiting = removed(waiting, 0) if number > 20 else waiting
        assert len(ids) < 4_000
        assert unpacked(waiting, ids, len(waiting) - SIZE).merchant == f"merchant-{number}"


def test_a_key_that_stands_across_two_charges_is_not_theirs() -> None:
    waiting, ids = filled(["m1", "m2", "m3"])

    assert [start_of(key_of(f"c{number}"), waiting) for number in range(3)] == [0, SIZE, 2 * SIZE]
    assert start_of(waiting[20:24], waiting) == -1
    assert start_of(key_of("other"), waiting) == -1
    assert start_of(key_of("c1"), b"") == -1
    assert time_of(waiting) == 1_000_000_000
    assert unpacked(waiting, ids, SIZE).merchant == "m2"


def test_one_that_the_customer_confirmed_is_marked_and_else_the_same() -> None:
    waiting, ids = filled(["m1", "m2"])
    marked = confirmed(waiting, SIZE)

    assert [is_confirmed(marked, start) for start in (0, SIZE)] == [False, True]
    assert unpacked(marked, ids, SIZE) == unpacked(waiting, ids, SIZE)


def memory_of(count: int) -> Memory:
    random = Random(3)
    waiting, ids = filled([f"m{random.randrange(9)}" for _ in range(count)])
    memory = Memory(waiting=waiting, merchants=ids, lately=b"\1\0\0\0")
    keep_card(card_name("EUR", "1234"), save_card("EUR", "1234"), memory)
    keep_habits(Habits(9, (1, 0, 0, 0), (b"abcde", b"", b"", b"fghij")), memory)
    return memory


def save_card(currency: str, last4: str, at: int = 5) -> bytes:
    return pack("<IBII4f", card_name(currency, last4), 3, at, 0, 20.0, 4.0, 0.003, 1.0)


def test_a_memory_is_restored_as_it_was() -> None:
    memory = memory_of(20)

    assert restore_memory(save_memory(memory), VERSION) == memory
    assert restore_memory(save_memory(Memory()), VERSION) == Memory()
    assert len(save_memory(Memory())) < 10


@pytest.mark.parametrize(
    "change",
    [
        {"waiting": b"\0" * (SIZE + 1)},
        {"waiting": b"\0" * SIZE},
        {"waiting": b"\xff" * SIZE},
        {"merchants": b""},
        {"merchants": b"\xffm1\xff"},
        {"merchants": b"m1"},
        {"merchants": b"\xff\xff"},
        {"cards": b"\0" * 29},
        {"cards": b"\xff" * 29},
        {"cards": b"\0" * 28},
        {"lately": b"\0"},
        {"habits": b"\0"},
        {"habits": b"\1" * 14},
        {"confirmed": b"\0" * 8},
    ],
    ids=str,
)
def test_what_was_never_packed_is_refused(change: dict[str, Any]) -> None:
    memory = memory_of(3)
    fields = ("cards", "habits", "lately", "asked", "waiting", "merchants", "confirmed")
    saved = msgpack.encode([change.get(name, getattr(memory, name)) for name in fields])

    with pytest.raises(StateError, match=f"what is saved of {KIND} is damaged"):
        restore_memory(saved, VERSION)


def test_the_card_that_was_not_used_for_longest_is_forgotten() -> None:
    memory = Memory()
    for number in range(MOST_CARDS + 1):
        keep_card(card_name("EUR", f"{number:04}"), save_card("EUR", f"{number:04}", at=number + 1), memory)
    keep_card(card_name("EUR", "0003"), save_card("EUR", "0003", at=99), memory)

    assert len(memory.cards) == MOST_CARDS * 29
    assert card_of(card_name("EUR", "0000"), memory)[2] == 0  # a young copy of another
    assert card_of(card_name("EUR", "0003"), memory)[2] == 99
    assert card_of(card_name("USD", "0003"), memory) == new_card(card_name("USD", "0003"))
    accuse_card(card_name("EUR", "0005"), 50, 60.0, memory)
    assert card_of(card_name("EUR", "0005"), memory)[3] == 50
    assert card_of(card_name("EUR", "0006"), memory)[3] == 0


def test_counts_of_habits_are_halved_before_they_are_too_many() -> None:
    memory = Memory()
    keep_habits(Habits(65_535, (1000, 3, 0, 65_535), (b"", b"", b"", b"")), memory)

    assert habits_of(memory) == Habits(32_767, (500, 1, 0, 32_767), (b"", b"", b"", b""))
