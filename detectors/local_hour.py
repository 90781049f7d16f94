"""The hours of time as an account's clock on the wall shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

_SATURDAY = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).toordinal()


class Hour(NamedTuple):
    """An hour of time; what is usual in it goes by the clock on the wall.

    Attributes:
        number: hours since 1970, so that the hour that daylight saving doubles is two.
        on_the_wall: 0 to 23, local.
        is_weekend: Saturday or Sunday, local.
        day: the local day, counted from 1970.
        weekday: 0 is Monday, local.
    """

    number: int
    on_the_wall: int
    is_weekend: bool
    day: int
    weekday: int


class HourCount:
    """Hours counted from 1970. The latest answer is kept: one event asks several times, and converting its time is slow.

    >>> HourCount().number_at(datetime(1970, 1, 2, 3, 59, tzinfo=UTC))
    27
    """

    __slots__ = ("_moment", "_number")

    def __init__(self) -> None:
        self._moment: datetime | None = None
        self._number = 0

    def number_at(self, moment: datetime) -> int:
        """Return the number of the hour that `moment` is in."""
        if moment is not self._moment:
            self._moment, self._number = moment, int(moment.timestamp() // 3600)
        return self._number


@lru_cache(maxsize=100_000)
def local_hour(number: int, zone: ZoneInfo) -> Hour:
    """Return an hour by its number: the accounts of a zone share it, and converting times is slow."""
    local = datetime.fromtimestamp(number * 3600, UTC).astimezone(zone)
    weekday = local.weekday()
    return Hour(number, local.hour, weekday >= _SATURDAY, local.toordinal() - _EPOCH, weekday)
