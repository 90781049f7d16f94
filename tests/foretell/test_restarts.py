import pytest

from foretell.restarts import Restarts


def test_each_wait_is_twice_the_one_before_up_to_the_longest() -> None:
    restarts = Restarts(first_seconds=0.5, most_seconds=10, settled_after_seconds=60)
    waits: list[float] = []

    now = 0.0
    for _ in range(8):
        restarts.started(now)
        now += 1
        waits.append(restarts.ended(now))
        now += waits[-1]

    assert waits == [0.5, 1, 2, 4, 8, 10, 10, 10]


def test_a_good_run_is_followed_by_a_short_wait_again() -> None:
    restarts = Restarts(first_seconds=1, most_seconds=30, settled_after_seconds=60)
    restarts.started(0)
    restarts.ended(1)
    restarts.started(2)
    restarts.ended(3)

    restarts.started(5)

    assert restarts.ended(64.9) == 4
    restarts.started(70)
    assert restarts.ended(130) == 1


def test_what_could_never_be_started_waits_longer_and_longer_and_is_unsettled() -> None:
    restarts = Restarts(first_seconds=1, most_seconds=30, settled_after_seconds=60)

    waits = [restarts.ended(100), restarts.ended(101), restarts.ended(103)]

    assert waits == [1, 2, 4]
    assert restarts.unsettled_seconds(500) == 400


def test_it_is_unsettled_from_the_end_of_its_last_good_run() -> None:
    restarts = Restarts(first_seconds=1, most_seconds=30, settled_after_seconds=60)
    assert restarts.unsettled_seconds(5) == 0

    restarts.started(10)
    assert restarts.unsettled_seconds(69) == 59
    assert restarts.unsettled_seconds(70) == 0
    restarts.ended(1000)
    assert restarts.unsettled_seconds(1001) == 1
    restarts.started(1001)
    assert restarts.unsettled_seconds(1030) == 30
    restarts.ended(1040)
    assert restarts.unsettled_seconds(1041) == 41
    restarts.started(1042)
    assert restarts.unsettled_seconds(1102) == 0


@pytest.mark.parametrize("first_seconds", [0, -1, 31])
def test_a_wait_that_is_none_or_exceeds_the_longest_is_refused(first_seconds: float) -> None:
    with pytest.raises(ValueError, match=rf"first_seconds={first_seconds} must be above 0 and at most"):
        Restarts(first_seconds=first_seconds, most_seconds=30)
