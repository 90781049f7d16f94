"""What learns: estimators of our own on River's base classes, and the one place where River's odd corners are dealt with.

from .alert_line import AlertLine
from .card_habit import CardHabit
from .charge_odds import ChargeOdds
from .charge_population import AmountPopulation, RatioHistogram
from .log_tail import LogTail
from .merchant_runs import MerchantRuns
from .pace import Pace
from .question_line import QuestionLine
from .series_anomaly import SeriesAnomaly
from .series_tail import SeriesTail
from .tail import UpperTail
from .usage_cohort import UsageCohort
from .usage_habit import UsageHabit
from .usage_spikes import UsageSpikes

__all__ = [
    "AlertLine",
    "AmountPopulation",
    "CardHabit",
    "ChargeOdds",
    "LogTail",
    "MerchantRuns",
    "Pace",
    "QuestionLine",
    "RatioHistogram",
    "SeriesAnomaly",
    "SeriesTail",
    "UpperTail",
    "UsageCohort",
    "UsageHabit",
    "UsageSpikes",
]
