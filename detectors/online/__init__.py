"""What learns: estimators of our own on River's base classes, and the one place where River's odd corners are dealt with."""

from .amount_habit import AmountHabit
from .hourly_habit import WINDOWS, Deviation, HourlyHabit
from .pace import Pace
from .tail import UpperTail

__all__ = ["WINDOWS", "AmountHabit", "Deviation", "HourlyHabit", "Pace", "UpperTail"]
