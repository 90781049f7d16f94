"""The line above which a question is asked, so that not more are asked than people will answer."""

from __future__ import annotations

from river import base

_HIGHEST = 10.0  # above where it began: evidence never is


class QuestionLine(base.Estimator):
    """A line that rises by a step with each question and falls a little with each charge that was not asked about.

    Adaptive conformal inference (Gibbs and Candes 2021, formula 2): whatever comes, the rate of questions over n charges is
    within (highest - lowest) / (step * n) of the one that is wanted, or below it where the line lies at its lowest.

    Args:
        begin: the line at first, on the scale of the evidence.
        lowest: evidence below is never asked about, however few questions are asked.
        step: how much one question raises it.

    >>> line = QuestionLine(begin=1.0, lowest=0.5, step=0.1)
    >>> line.learn_one(True, 0.01)
    >>> line.value
    1.099
    """

    def __init__(self, begin: float = 3.8, lowest: float = 2.5, step: float = 0.05) -> None:
        self.begin = begin
        self.lowest = lowest
        self.step = step
        self.value = begin

    def learn_one(self, is_asked: bool, share: float) -> None:
        """Take in whether a question was asked; `share` of all charges may be, 0..1."""
        self.value = min(max(self.value + self.step * (is_asked - share), self.lowest), self.begin + _HIGHEST)
