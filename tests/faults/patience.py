"""Waiting for something to become true, without sleeping for luck."""

from collections.abc import Callable
from typing import TypeVar

import tenacity

T = TypeVar("T")


def eventually(look: Callable[[], T | None], seconds: float = 60, every: float = 0.1) -> T:
    """Return the first true answer; fail with the last one after `seconds`."""
    found: T | None = None

    def ask() -> T | None:
        nonlocal found
        found = look()
        return found

    answer = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda answer: not answer),
        wait=tenacity.wait_fixed(every),
        stop=tenacity.stop_after_delay(seconds),
        retry_error_callback=lambda _: None,
    )(ask)
    assert answer, f"still {found!r} after {seconds} s"
    return answer
