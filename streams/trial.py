"""Which record kills the process? Tried in a fork, so that the answer costs a child and not the worker."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

R = TypeVar("R")

_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.005


def find_killer(records: Sequence[R], apply: Callable[[Sequence[R]], object]) -> int | None:
    """Return the index of the first record that a process does not survive applying, or None.

    Args:
        records: to be applied in order.
        apply: what is done with them; what it raises is survived, what ends the process or hangs is not.
    """
    if _survives(lambda: apply(records)):
        return None
    alive, dead = 0, len(records)
    while dead - alive > 1:
        middle = (alive + dead) // 2
        if _survives(lambda: apply(records[:middle])):  # noqa: B023 - asked before the loop goes on
            alive = middle
        else:
            dead = middle
    return dead - 1


def _survives(work: Callable[[], object]) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads do not come along; the child needs none
        child = os.fork()
    if child == 0:
        code = 0
        try:
            work()
        except Exception:  # noqa: BLE001 - raising is the parent's affair: it is survived
            code = 0
        except BaseException:  # noqa: BLE001 - as when a detector calls sys.exit
            code = 1
        os._exit(code)
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(_LOOK_SECONDS)
