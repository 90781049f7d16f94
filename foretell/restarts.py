"""When a process that ended is started again."""

from __future__ import annotations


class Restarts:
    """How long to wait before each restart: ever longer, until the process has run well for a while.

    Time comes in as an argument: seconds of any clock that does not jump.

    Args:
        first_seconds: the wait after the first end; each further one doubles it.
        most_seconds: no wait is longer.
        settled_after_seconds: a run of so long was a good one, and what came before it is forgotten.

    Raises:
        ValueError: the first wait is not positive, or exceeds the longest.

    >>> restarts = Restarts(first_seconds=1, most_seconds=30, settled_after_seconds=60)
    >>> restarts.started(0)
    >>> restarts.ended(10), restarts.unsettled_seconds(11)
    (1, 11)
    >>> restarts.started(11)
    >>> restarts.ended(12), restarts.unsettled_seconds(14)
    (2, 14)
    >>> restarts.started(14)
    >>> restarts.unsettled_seconds(73), restarts.unsettled_seconds(74), restarts.ended(75)
    (73, 0, 1)
    """

    def __init__(
        self, first_seconds: float = 0.5, most_seconds: float = 30.0, settled_after_seconds: float = 60.0
    ) -> None:
        if not 0 < first_seconds <= most_seconds:
            raise ValueError(
                f"first_seconds={first_seconds} must be above 0 and at most most_seconds={most_seconds}; "
                "without a wait a process that cannot run takes a processor for itself"
            )
        self._first_seconds = first_seconds
        self._most_seconds = most_seconds
        self._settled_after_seconds = settled_after_seconds
        self._wait_seconds = first_seconds
        self._runs_since: float | None = None
        self._unsettled_since: float | None = None

    def started(self, now: float) -> None:
        """Note that it runs."""
        self._runs_since = now
        if self._unsettled_since is None:
            self._unsettled_since = now

    def ended(self, now: float) -> float:
        """Return how many seconds to wait before it is started again, also if it could not be started at all."""
        if self._unsettled_since is None or self._is_settled(now):
            self._wait_seconds = self._first_seconds
            self._unsettled_since = now
        self._runs_since = None
        wait_seconds = self._wait_seconds
        self._wait_seconds = min(self._most_seconds, 2 * wait_seconds)
        return wait_seconds

    def unsettled_seconds(self, now: float) -> float:
        """Return for how long it has not run well: 0 once it has for a while, large when it ends again and again."""
        if self._unsettled_since is None or self._is_settled(now):
            return 0
        return now - self._unsettled_since

    def _is_settled(self, now: float) -> bool:
        return self._runs_since is not None and now - self._runs_since >= self._settled_after_seconds
