"""What learns: estimators of our own on River's base classes, and the one place where River's odd corners are dealt with."""

from .alert_line import AlertLine
from .amount_habit import AmountHabit
from .log_tail import LogTail
from .pace import Pace
from .tail import UpperTail
from .usage_cohort import UsageCohort
from .usage_habit import UsageHabit
from .usage_spikes import UsageSpikes

__all__ = ["AlertLine", "AmountHabit", "LogTail", "Pace", "UpperTail", "UsageCohort", "UsageHabit", "UsageSpikes"]
