"""Who is woken when."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from detectors.timers import Timers

TIMES = st.lists(st.tuples(st.binary(min_size=1, max_size=3), st.integers(0, 1000)), max_size=60)


@given(TIMES, st.lists(st.integers(0, 1200), max_size=8))
def test_each_is_woken_once_when_its_time_has_come_and_not_before(
    wanted: list[tuple[bytes, int]], looks: list[int]
) -> None:
    timers = Timers()
    for key, due in wanted:
        timers.set(key, due)
    woken: list[tuple[int, bytes]] = []

    for now in [*sorted(looks), 2000]:
        found = list(timers.due(now))
        assert all(due <= now for due, _ in found)
        assert timers.next_ms > now
        woken += found

    assert sorted(woken) == sorted((due, key) for key, due in wanted)
    assert timers.next_ms == inf
    assert len(timers) == 0


@given(TIMES)
def test_many_at_once_are_as_many_one_by_one(wanted: list[tuple[bytes, int]]) -> None:
    one_by_one, at_once = Timers(), Timers()
    for key, due in wanted:
        one_by_one.set(key, due)
    at_once.fill([(due, key) for key, due in wanted])

    assert at_once.next_ms == one_by_one.next_ms
    assert list(at_once.due(inf)) == list(one_by_one.due(inf))
