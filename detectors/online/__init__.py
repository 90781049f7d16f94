"""What learns: estimators of our own on River's base classes, and the one place where River's odd corners are dealt with."""

from .card_habit import CardHabit
from .charge_odds import ChargeOdds
from .charge_population import AmountPopulation, RatioHistogram
from .hourly_habit import WINDOWS, Deviation, HourlyHabit
from .merchant_runs import MerchantRuns
from .pace import Pace
from .question_line import QuestionLine
from .tail import UpperTail

__all__ = [
    "WINDOWS",
    "AmountPopulation",
    "CardHabit",
    "ChargeOdds",
    "Deviation",
    "HourlyHabit",
    "MerchantRuns",
    "Pace",
    "QuestionLine",
    "RatioHistogram",
    "UpperTail",
]
