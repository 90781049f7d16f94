"""What learns: estimators of our own on River's base classes, and the one place where River's odd corners are dealt with.

Conventions: an estimator is asked before it learns; asking changes nothing that is saved. Where `x` is a dictionary the
names of its keys are parameters, times are seconds since 1970, and other keys are ignored; a key that is missing makes
`learn_one` leave the event out and `score_one` return 0.0. `score_one` is higher for what is odder and does not saturate:
rarity in decades, 3.0 is one in a thousand. `river.utils.check_estimator` passes on all that are exported.
"""

from .alert_line import AlertLine
from .amount_habit import AmountHabit
from .log_tail import LogTail
from .pace import Pace
from .series_anomaly import SeriesAnomaly
from .series_tail import SeriesTail
from .tail import UpperTail
from .usage_cohort import UsageCohort
from .usage_habit import UsageHabit
from .usage_spikes import UsageSpikes

__all__ = [
    "AlertLine",
    "AmountHabit",
    "LogTail",
    "Pace",
    "SeriesAnomaly",
    "SeriesTail",
    "UpperTail",
    "UsageCohort",
    "UsageHabit",
    "UsageSpikes",
]
