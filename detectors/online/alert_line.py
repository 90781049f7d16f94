"""Where the line is that leaves so many alerts a month, learned from how high quiet accounts' scores get."""

from __future__ import annotations

from math import floor, log2, log10

from river import base

BINS = 128
_A_UNIT = 16  # bins
HOURS_A_MONTH = 720
_FIRST_MONTHS = 12  # so many account-months are remembered in full; see `AlertLine`
_MOST_MONTHS = 2400
_REFRESH_SHARE = 0.02
_BODY = 3.0  # runs a month: far more than there are real spikes


class AlertLine(base.Estimator):
    """The score that is passed once in so many account-months: a budget in the place of a threshold.

    Scores come in runs, and a run is one alert, so it is runs that are counted, each by its peak (declustering by runs: Coles,
    An Introduction to Statistical Modeling of Extreme Values, 2001, section 5.3.2). The line is where the number of peaks above
    it is `alerts_a_month` times the months seen; but no further above the score that is passed three times a month than an
    exponential tail reaches, lest real spikes among the accounts push the line out of their own way. Before enough months were
    seen a prior speaks, an exponential tail.

    What is old counts less: scores grow while tails are learned, and a line that remembered the first weeks in full would let
    through too many for months. So all is halved after 12 account-months, and again when twice as many have come as at the
    last halving; from 2,400 on at each 2,400.

    River's `stats.Quantile` would need to see every quiet month as a value.

    Args:
        alerts_a_month: runs above the line, for each account-month.
        prior_line: the line for one alert a month, before anything is learned.
        prior_fall: how much higher a line must be to be passed ten times less, where the tail is exponential.
        prior_months: how many account-months the prior counts for.

    >>> line = AlertLine(alerts_a_month=0.25)
    >>> before = line.value
    >>> for month in range(1000):
    ...     line.pass_hours(720)
    ...     for run in range(4):
    ...         line.learn_one(2.0 + run / 2)
    >>> before < line.value < 3.5  # four runs a month, of which the highest peaks there
    True
    """

    __slots__ = (
        "alerts_a_month",
        "counts",
        "forget_at",
        "hours",
        "prior_fall",
        "prior_line",
        "prior_months",
        "refresh_at",
        "refreshed_at",
        "value",
    )

    def __init__(
        self,
        alerts_a_month: float = 0.25,
        prior_line: float = 1.75,
        prior_fall: float = 0.8,
        prior_months: float = 6.0,
    ) -> None:
        self.alerts_a_month = alerts_a_month
        self.prior_line = prior_line
        self.prior_fall = prior_fall
        self.prior_months = prior_months
        self.counts = [0] * BINS
        self.hours = self.refreshed_at = self.refresh_at = 0
        self.forget_at = _FIRST_MONTHS * HOURS_A_MONTH
        self.value = 0.0
        self.refresh()

    def learn_one(self, x: float) -> None:
        """Count a run of high scores by its peak; what is not a number is not counted."""
        if x > 0.0:
            self.counts[int(x * _A_UNIT) if x < BINS / _A_UNIT else BINS - 1] += 1

    def pass_hours(self, hours: int) -> None:
        """Note how many hours of an account have passed."""
        self.hours += hours
        if self.hours >= self.refresh_at:
            self.refresh()

    def refresh(self) -> None:
        """Work the line out anew."""
        if self.hours >= self.forget_at:
            self.hours //= 2
            self.forget_at = min(2 * self.forget_at, _MOST_MONTHS * HOURS_A_MONTH)
            self._halve()
        self.value = self._passed(self.alerts_a_month)
        if self.alerts_a_month < _BODY:
            far = self._passed(_BODY) + self.prior_fall * log10(_BODY / self.alerts_a_month)
            self.value = min(self.value, far)
        self.refreshed_at, self.refresh_at = self.hours, next_refresh(self.hours)

    def _halve(self) -> None:
        """Halve how many peaks are above each bin, not how many are in it: single ones, far up, are not to be lost."""
        above = halved = 0
        for number in range(BINS - 1, -1, -1):
            above += self.counts[number]
            self.counts[number] = (above + 1) // 2 - halved
            halved += self.counts[number]

    def _passed(self, times: float) -> float:
        """Return the score that is passed so many times in an account-month."""
        months = self.hours / HOURS_A_MONTH
        allowed = times * (months + self.prior_months)
        above, last = 0.0, 0.0
        for number in range(BINS - 1, 0, -1):
            above += self.counts[number]
            passed = above + self.prior_months * 10.0 ** ((self.prior_line - number / _A_UNIT) / self.prior_fall)
            if passed > allowed:
                share = log2(passed / allowed) / log2(passed / last) if 0.0 < last < passed else 0.0
                return (number + share) / _A_UNIT
            last = passed
        return 1 / _A_UNIT

    def restore(self, hours: int, refreshed_at: int, forget_at: int, counts: list[int], value: float) -> None:
        """Take the place of the line that had these; it is as old as it says.

        Raises:
            ValueError: these are not one's numbers.
        """
        if len(counts) != BINS or min(counts) < 0 or not refreshed_at >= 0 or hours < 0 or not value > 0.0:
            raise ValueError(
                f"{len(counts)} counts of {hours} hours and a line at {value}; expected {BINS} and above 0"
            )
        self.counts, self.hours, self.forget_at, self.value = counts, hours, forget_at, value
        self.refreshed_at, self.refresh_at = refreshed_at, next_refresh(refreshed_at)


def next_refresh(after: int) -> int:
    """Return after how many hours the line is next worked out: ever more seldom."""
    return max(after + HOURS_A_MONTH // 2, floor(after / (1 - _REFRESH_SHARE)) + 1)
