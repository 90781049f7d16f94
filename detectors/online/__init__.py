"""What learns: estimators of our own on River's base classes, and the one place where River's odd corners are dealt with."""

from .amount_habit import AmountHabit
from .forecast_errors import ForecastErrors
from .hourly_habit import WINDOWS, Deviation, HourlyHabit
from .reliability import Reliability
from .tail import UpperTail
from .usage_cohort import UsageCohort
from .usage_forecaster import UsageForecaster

__all__ = [
    "WINDOWS",
    "AmountHabit",
    "Deviation",
    "ForecastErrors",
    "HourlyHabit",
    "Reliability",
    "UpperTail",
    "UsageCohort",
    "UsageForecaster",
]
