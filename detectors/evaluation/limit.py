"""The plan-limit forecast as an outside scorer asks for it: day by day, in plain mappings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import inf
from typing import Any

from msgspec.structs import replace

from detectors.cycle_forecast import CycleForecast, ForecastPool, Outlook

_DAY_SECONDS = 86_400.0
_SETTLED_WITHIN = 1e-3  # of a day: a day that ends at 23:59:59 is over


class _Account:
    """One account's forecast and the cycle it is about.

    Attributes:
        used: in the cycle, of the days that were learned.
        cycle_end: of the cycle that was asked about last; 0 for none.
        at: when it was asked about.
        outlook: what was said then, in terms of `used`.
        is_kept: whether that was kept for the cycle's end; once a day is enough.
    """

    __slots__ = ("at", "cycle_end", "forecast", "is_kept", "outlook", "used")

    def __init__(self, pool: ForecastPool) -> None:
        self.forecast = CycleForecast(pool)
        self.used = 0.0
        self.cycle_end = 0.0
        self.at: float | None = None
        self.outlook: Outlook | None = None
        self.is_kept = True


class LimitAdapter:
    """P(usage exceeds the allowance before the cycle ends), by the production detector's own forecast and pools.

    `learn` takes a day's usage with the start of that day, `score` asks at a day's end, before or after that day is learned;
    times are seconds since 1970, whole days in one calendar. What is not finite is ignored and counted.

    Attributes:
        pool: what is learned over all accounts.
        irregularities: what was ignored, by what: `not_finite`.

    >>> adapter = LimitAdapter()
    >>> for day in range(20):
    ...     adapter.learn({"account": "a1", "t": 86400.0 * day, "value": 1.0})
    >>> cycle = {"account": "a1", "t": 86400.0 * 20, "cycle_start": 86400.0 * 10, "cycle_end": 86400.0 * 40}
    >>> adapter.score(cycle | {"used": 10.0, "allowance": 60.0}) < 0.05
    True
    >>> adapter.score(cycle | {"used": 10.0, "allowance": 20.0}) > 0.9
    True
    """

    def __init__(self) -> None:
        self.pool = ForecastPool()
        self.irregularities: Counter[str] = Counter()
        self._accounts: dict[Any, _Account] = {}

    def score(self, event: Mapping[str, Any]) -> float:
        """Return the probability; 1 once the allowance is passed, and 0 or 1 once the cycle is over."""
        account = self._accounts.get(event["account"])
        left, now, end = event["allowance"] - event["used"], event["t"], event["cycle_end"]
        days_left = (end - now) / _DAY_SECONDS
        if not -inf < left + days_left < inf:
            self.irregularities["not_finite"] += 1
            return 0.0
        if account is None or days_left <= _SETTLED_WITHIN:
            return float(left < 0.0)
        outlook = account.outlook
        if outlook is None or account.at != now or account.cycle_end != end:
            if account.cycle_end != end:
                self._settle(account, now)
            outlook = account.forecast.outlook(account.used, days_left, int(now // _DAY_SECONDS))
            account.at, account.cycle_end, account.outlook, account.is_kept = now, end, outlook, False
        return 1.0 if left < 0.0 else outlook.chance_above(left + account.used)

    def learn(self, event: Mapping[str, Any]) -> None:
        """Take in a day's usage."""
        value, at = event["value"], event["t"]
        if not -inf < value + at < inf:
            self.irregularities["not_finite"] += 1
            return
        account = self._accounts.get(event["account"])
        if account is None:
            account = self._accounts[event["account"]] = _Account(self.pool)
        forecast = account.forecast
        if account.cycle_end and at >= account.cycle_end:
            self._settle(account, at)
        elif not account.is_kept and account.outlook is not None:
            outlook = account.outlook
            if account.at is not None and at < account.at:  # asked at the end of a day that is learned only now
                outlook = replace(outlook, end=outlook.end + value)
            forecast.keep(outlook, None)
            account.is_kept = True
        account.used += value
        forecast.learn_day(value, int(at // _DAY_SECONDS))

    def _settle(self, account: _Account, now: float) -> None:
        """Compare the ended cycle with its forecasts; those of a cycle that was moved are dropped."""
        if now >= account.cycle_end:
            account.forecast.settle(account.used, None)
        else:
            account.forecast.forget()
        account.used, account.cycle_end, account.is_kept, account.outlook = 0.0, 0.0, True, None
