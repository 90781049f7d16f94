"""Finding the record that kills, at the cost of a child."""

import os
import signal
from collections.abc import Callable, Sequence

import pytest

from streams.trial import find_killer


def dies_of(killer: int, how: str) -> Callable[[Sequence[int]], None]:
    def apply(records: Sequence[int]) -> None:
        for record in records:
            if record == killer:
                if how == "exit":
                    os._exit(3)
                if how == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                if how == "sys.exit":
                    raise SystemExit(1)

    return apply


@pytest.mark.parametrize("how", ["exit", "killed", "sys.exit"])
@pytest.mark.parametrize("killer", [0, 1, 41, 99])
def test_the_record_that_kills_is_found(killer: int, how: str) -> None:
    assert find_killer(range(100), dies_of(killer, how)) == killer


def test_the_first_of_several_is_found() -> None:
    def apply(records: Sequence[int]) -> None:
        if any(record in {7, 70} for record in records):
            os._exit(1)

    assert find_killer(range(100), apply) == 7


def test_a_record_that_only_raises_is_survived() -> None:
    def apply(_: Sequence[int]) -> None:
        raise ValueError("bad event")

    assert find_killer(range(10), apply) is None
