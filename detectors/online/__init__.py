"""What learns: estimators of our own on River's base classes, and the one place where River's odd corners are dealt with.

Conventions: an estimator is asked before it learns; asking changes nothing that is saved. Where `x` is a dictionary the
names of its keys are parameters, times are seconds since 1970, and other keys are ignored; a key that is missing makes
`learn_one` leave the event out and `score_one` return 0.0. `score_one` is higher for what is odder and does not saturate:
rarity in decades, 3.0 is one in a thousand. `river.utils.check_estimator` passes on all that are exported.
"""

from .alert_line import AlertLine
from .card_habit import CardHabit
from .charge_crosses import ChargeCrosses
from .charge_odds import ChargeOdds
from .charge_population import AmountPopulation, BinRarity, RatioHistogram
from .daily_cohort import DailyCohort
from .forecast_errors import ForecastErrors
from .log_tail import LogTail
from .merchant_runs import MerchantRuns
from .question_line import QuestionLine
from .reliability import Reliability
from .series_anomaly import SeriesAnomaly
from .series_tail import SeriesTail
from .tail import UpperTail
from .usage_cohort import UsageCohort
from .usage_forecaster import UsageForecaster
from .usage_habit import UsageHabit
from .usage_spikes import UsageSpikes

__all__ = [
    "AlertLine",
    "AmountPopulation",
    "BinRarity",
    "CardHabit",
    "ChargeCrosses",
    "ChargeOdds",
    "DailyCohort",
    "ForecastErrors",
    "LogTail",
    "MerchantRuns",
    "QuestionLine",
    "RatioHistogram",
    "Reliability",
    "SeriesAnomaly",
    "SeriesTail",
    "UpperTail",
    "UsageCohort",
    "UsageForecaster",
    "UsageHabit",
    "UsageSpikes",
]
