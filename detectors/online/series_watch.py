"""One long series, watched: how odd is what it does, and is that worth an alarm?"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from math import exp, inf, isfinite, sqrt
from typing import NamedTuple

import msgspec

from .series_habit import Looked, SeriesHabit
from .series_tail import EDGES, FULL, SeriesTail, place_of

GATE = 1.6
"""Decades of oddness from which on there may be an alarm."""

ERRORS = 5
LEAST_GATE = 0.5
_WARM_UP = 60  # readings
_TAILS_AFTER = 4  # readings: before, spreads mean nothing
_LIFT = 0.15  # decades, by which each alarm raises this series' own bar
_COOLING = 4000.0  # readings
_REFRACTORY = 100  # readings in which only what is
_AGAIN = 1.5  # times as odd as the last alarm is one again
_MEETING = 0.5  # of the way that the long mean goes to a new level when that was told
_BOUNDS_FROM = 128  # readings, from which on bounds are worked out
_BOUNDS_KEPT = 256  # readings at most, and until there are half as many again
_GROWTH = 0.2  # decades, a little above log10(1.5): by so much may become rarer in that time what is not seen
_LARGEST = 1e30  # a profile's cell has four bytes: differences must stay below 3e38
_ALARM_NUMBERS = 4
_LATEST = 1e12  # seconds; 30,000 years from 1970

IRREGULARITIES = ("not_a_number", "absurd_value", "not_a_time", "time_went_back")
"""What may be wrong with a reading: the first three are ignored, the last is learned all the same."""


LEVEL, MOVE, DAY_HOUR, WEEK_HOUR, VALUES = range(ERRORS)


class Why(NamedTuple):
    """What of a reading is odd.

    Attributes:
        rarest: which error, `LEVEL` (the last 200 readings), `MOVE` (the last 8), `DAY_HOUR`, `WEEK_HOUR` or `VALUES`.
        seen: what was compared, in the series' unit, with
        usual: what is usual; `spread` is the standard deviation around it.
    """

    rarest: int
    seen: float
    usual: float
    spread: float


class _Ahead(msgspec.Struct, gc=False):
    """What was worked out for a reading that was scored and not yet learned."""

    t: float
    x: float
    look: Looked
    places: tuple[int, int, int, int, int]
    oddness: float
    alarm: float


class SeriesWatch(msgspec.Struct):
    """The whole of what is known of one series, and the rule for alarms, on plain numbers.

    How odd a reading is: five errors (`SeriesHabit`), each as rare as it is among this series' own past ones
    (`SeriesTail`, in decades), as their cubic mean: it takes one that is very rare or several that are rather rare, and it
    does not saturate. Each alarm raises the series' own bar, so that noisy series quieten themselves; for a while after it
    only what is odder by half is an alarm again; and the long mean goes half of the way to the level that was told.

    What is below the gate is not worked out to the end: for each tail the first place is kept that may pass the gate, and
    when no error reaches it the oddness cannot either. That is exact, so it need not be saved.

    Attributes:
        last_alarm: number of the reading that raised it; `strength`: its oddness.
        heat: alarms so far, fading.
        latest: time of the latest reading.
    """

    gate: float = GATE
    direction: int = 0
    habit: SeriesHabit = msgspec.field(default_factory=SeriesHabit)
    tails: tuple[SeriesTail, ...] = msgspec.field(default_factory=lambda: tuple(SeriesTail() for _ in range(ERRORS)))
    last_alarm: int = 0
    strength: float = 0.0
    heat: float = 0.0
    latest: float = -inf
    ahead: _Ahead | None = None
    bounds: tuple[int, ...] = (0,) * ERRORS
    bounds_until: int = 0

    def irregularity(self, t: float, x: float) -> str:
        """Return what is wrong with a reading, one of `IRREGULARITIES`; empty when nothing is."""
        if t >= self.latest and -_LARGEST < x < _LARGEST and t < _LATEST and t > -_LATEST:
            return ""
        if not isfinite(x):
            return "not_a_number"
        if abs(x) >= _LARGEST:
            return "absurd_value"
        return "time_went_back" if abs(t) < _LATEST else "not_a_time"

    def score(self, t: float, x: float) -> float:
        """Return the oddness over the series' own bar if this is an alarm, else 0.0. Changes nothing but a cache.

        Args:
            t: seconds since 1970.
            x: the value. What is not finite, or absurd, scores 0.0.
        """
        ahead = self._seen_ahead(t, x)
        return 0.0 if ahead is None else ahead.alarm

    def oddness(self, t: float, x: float) -> float:
        """Return how odd the reading is in decades, alarm or not; 0.0 during the warm-up and for what is no number."""
        ahead = self._seen_ahead(t, x)
        return 0.0 if ahead is None or self.habit.n < _WARM_UP else self._mean_decades(ahead.places)

    def is_odd(self, t: float, x: float) -> bool:
        """Return whether the reading is past the gate, be it an alarm or one that follows it."""
        ahead = self._seen_ahead(t, x)
        return ahead is not None and ahead.oddness > self.gate

    def why(self, t: float, x: float) -> Why:
        """Return which of the errors of a reading, which must be finite, is the rarest, and what it compares."""
        habit = self.habit
        look = habit.look(t, x, self.direction)
        decades = [tail.decades_at(place_of(error)) for tail, error in zip(self.tails, look.errors, strict=True)]
        rarest = decades.index(max(decades))
        spread = sqrt(habit.square / habit.n) if habit.n else 0.0
        if rarest == LEVEL:
            return Why(rarest, habit.origin + look.slow, habit.origin + habit.mean, spread)
        if rarest == MOVE:
            return Why(rarest, habit.origin + look.quick, habit.origin + look.long, spread)
        if rarest == VALUES:
            return Why(rarest, x, habit.origin + habit.mean, spread)
        usual, spread = habit.usual(look.day if rarest == DAY_HOUR else look.week)
        return Why(rarest, x, usual, spread)

    def learn(self, t: float, x: float) -> None:
        """Take in a reading. What is not finite, or absurd, is left out."""
        ahead = self.ahead
        if ahead is None or ahead.x != x or ahead.t != t:
            ahead = self._seen_ahead(t, x)
            if ahead is None:
                return
        self.ahead = None
        habit = self.habit
        habit.learn(ahead.look, x)
        if t > self.latest:  # noqa: PLR1730 - a call for every reading
            self.latest = t
        n = habit.n
        if n > _TAILS_AFTER:
            for tail, place in zip(self.tails, ahead.places, strict=True):
                counts = tail.counts
                if counts[place] == FULL:
                    tail.halve()
                    counts = tail.counts
                counts[place] += 1
                tail.n += 1
        if ahead.alarm > 0:
            self.heat = self._heat_at(n) + 1
            self.last_alarm, self.strength = n, ahead.oddness
            habit.meet(_MEETING)
        if n >= self.bounds_until and n >= _BOUNDS_FROM:
            self.bounds = tuple([tail.place_from(self.gate - _GROWTH) for tail in self.tails])
            self.bounds_until = n + min(n // 2, _BOUNDS_KEPT)

    def _seen_ahead(self, t: float, x: float) -> _Ahead | None:
        """Return what the reading would change; None for one that is ignored."""
        ahead = self.ahead
        if ahead is not None and ahead.x == x and ahead.t == t:
            return ahead
        return self._look_ahead(t, x) if -_LARGEST < x < _LARGEST and -_LATEST < t < _LATEST else None

    def _look_ahead(self, t: float, x: float) -> _Ahead:
        habit = self.habit
        look = habit.looked(t, x, self.direction)
        level, move, day, week, values = look[1]
        first, second, third, fourth, fifth = places = (
            bisect(EDGES, level), bisect(EDGES, move), bisect(EDGES, day), bisect(EDGES, week), bisect(EDGES, values),
        )  # fmt: skip
        oddness = alarm = 0.0
        n = habit.n + 1
        one, two, three, four, five = self.bounds
        if n > _WARM_UP and (
            n > self.bounds_until or first >= one or second >= two or third >= three or fourth >= four or fifth >= five
        ):
            oddness = self._mean_decades(places)
            if oddness > self.gate:
                above = oddness - _LIFT * self._heat_at(n)
                is_tired = self.last_alarm and n - self.last_alarm < _REFRACTORY and oddness <= self.strength * _AGAIN
                alarm = above if above > self.gate and not is_tired else 0.0
        self.ahead = ahead = _Ahead(t, x, look, places, oddness, alarm)
        return ahead

    def _mean_decades(self, places: Sequence[int]) -> float:
        total = 0.0
        for tail, place in zip(self.tails, places, strict=True):
            decades = tail.decades_at(place)
            total += decades * decades * decades
        return (total / ERRORS) ** (1 / 3) if total > 0 else 0.0

    def _heat_at(self, n: int) -> float:
        return self.heat * exp((self.last_alarm - n) / _COOLING) if self.heat else 0.0

    def save(self) -> tuple[int, tuple[float, ...], bytes, bytes]:
        """Return the number of readings, what else is a number, the packed habit and the packed tails."""
        n, numbers, packed = self.habit.save()
        alarms = (self.latest, float(self.last_alarm), self.strength, self.heat)
        return n, (*alarms, *numbers), packed, b"".join(tail.save() for tail in self.tails)

    @classmethod
    def restored(
        cls, saved: tuple[int, tuple[float, ...], bytes, bytes], gate: float = GATE, direction: int = 0
    ) -> SeriesWatch:
        """Return the watch that was saved; its rule is given anew.

        Raises:
            ValueError: these are not a watch's numbers.
        """
        n, numbers, packed, tails = saved
        if len(numbers) < _ALARM_NUMBERS or len(tails) % ERRORS or not all(map(isfinite, numbers[1:])):
            raise ValueError(f"a watch of {len(numbers)} numbers and {len(tails)} bytes of tails")
        latest, last_alarm, strength, heat = numbers[:_ALARM_NUMBERS]
        size = len(tails) // ERRORS
        return cls(
            gate,
            direction,
            SeriesHabit.restored(n, numbers[_ALARM_NUMBERS:], packed),
            tuple(SeriesTail.restored(tails[at * size : (at + 1) * size]) for at in range(ERRORS)),
            int(last_alarm),
            strength,
            heat,
            latest,
        )
