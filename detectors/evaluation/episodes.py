"""Alerts as people get them: episodes, not rows; how many there are for nothing, and how many spikes they find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .measures import Numbers, Truths

MONTH_SECONDS = 30 * 24 * 3600.0
_EPISODE_SECONDS = 24 * 3600.0  # alerts no further apart are one
_FOUND_WITHIN_SECONDS = 3600.0  # of a spike's end: its last bucket may be judged when it has closed
_AFTERMATH_SECONDS = 24 * 3600.0  # alerts so soon after a spike are its own, neither right nor wrong


@dataclass(frozen=True, slots=True)
class Watched:
    """Scored rows of many accounts, by account and time, and the spikes among them.

    Attributes:
        accounts: each row's account, from 0.
        times: in seconds.
        scores: each row's.
        is_outside: rows that belong to no spike and no aftermath of one.
        spikes: of each spike: its account, its first row, the row after the last that may find it.
        months: watched, of each account.
    """

    accounts: npt.NDArray[np.intp]
    times: Numbers
    scores: Numbers
    is_outside: Truths
    spikes: list[tuple[int, int, int]]
    months: Numbers

    @classmethod
    def of(cls, accounts: npt.NDArray[np.intp], times: Numbers, scores: Numbers, is_spike: Truths) -> Watched:
        """Return these rows, sorted; a spike is a run of rows of one account that are marked as such."""
        order = np.lexsort((times, accounts))
        accounts, times, scores, is_spike = accounts[order], times[order], scores[order], is_spike[order]
        is_outside = ~is_spike
        spikes = []
        before = np.concatenate(([False], is_spike[:-1] & (accounts[1:] == accounts[:-1])))
        for first in np.flatnonzero(is_spike & ~before):
            account = int(accounts[first])
            end = int(np.searchsorted(accounts, account, side="right"))
            last = first
            while last + 1 < end and is_spike[last + 1]:
                last += 1
            found_by = int(first + np.searchsorted(times[first:end], times[last] + _FOUND_WITHIN_SECONDS, side="right"))
            spikes.append((account, int(first), found_by))
            over = int(first + np.searchsorted(times[first:end], times[last] + _AFTERMATH_SECONDS, side="right"))
            is_outside[first:over] = False
        number = int(accounts[-1]) + 1 if accounts.size else 0
        months = np.zeros(number)
        for account in range(number):
            own = times[np.searchsorted(accounts, account) : np.searchsorted(accounts, account, side="right")]
            months[account] = (own[-1] - own[0]) / MONTH_SECONDS if own.size else 0.0
        return cls(accounts, times, scores, is_outside, spikes, months)

    def false_episodes(self, line: float) -> npt.NDArray[np.intp]:
        """Return of each account how many episodes of rows at or above `line` there are for nothing."""
        rows = np.flatnonzero(self.is_outside & (self.scores >= line))
        if rows.size == 0:
            return np.zeros(self.months.size, dtype=np.intp)
        accounts, times = self.accounts[rows], self.times[rows]
        begins = np.ones(rows.size, dtype=bool)
        begins[1:] = (accounts[1:] != accounts[:-1]) | (times[1:] - times[:-1] > _EPISODE_SECONDS)
        return np.bincount(accounts[begins], minlength=self.months.size).astype(np.intp)

    def line_for(self, episodes_a_month: float) -> float:
        """Return the lowest line that leaves at most so many false episodes an account-month."""
        lines = np.unique(self.scores[self.is_outside & (self.scores > 0)])
        most = episodes_a_month * float(self.months.sum()) + 1e-9  # rounding is no alert
        low, high = 0, lines.size  # at `high` there is no line that is low enough: one above them all
        while low < high:
            middle = (low + high) // 2
            if int(self.false_episodes(float(lines[middle])).sum()) <= most:
                high = middle
            else:
                low = middle + 1
        if low < lines.size:
            return float(lines[low])
        return float(np.nextafter(lines[-1], np.inf)) if lines.size else float(np.nextafter(0.0, 1.0))

    def found(self, line: float) -> list[tuple[int, float | None]]:
        """Return of each spike its account, and the seconds from its beginning to the first alert; None where it was missed."""
        answers = []
        for account, first, found_by in self.spikes:
            above = np.flatnonzero(self.scores[first:found_by] >= line)
            answers.append((account, float(self.times[first + above[0]] - self.times[first]) if above.size else None))
        return answers
